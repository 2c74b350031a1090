"""What is durable of the transactions: messages in a queue, each a file of its own, and one record of the rest.

A message is a file "tx/<number>": a line of JSON, and for a MeterValue another one with it, packed. The first line is
    [START, transaction, time, connector, meterStart, idTag, reservationId or None]
    [VALUES, transaction, time, connector]
    [STOP, transaction, time, connector, meterStop, Reason, idTag or None, meterStart]
where a transaction has the number of its StartTransaction. The samples of a transaction for its StopTransaction are in
"samples/<transaction>". A message is written before the record knows of it, and the record forgets it before its file
is removed: so a power cut leaves things as they were before or after. Of MeterValues only the file is removed; after a
reset the queue begins with the first file that is there.

A time is Unix time, or, where the clock has not been set, the seconds that the charger has been running without a
clock: over all such starts, as if there were nothing between them. When the clock comes the record notes how far the
two are apart. That makes the time right for all that has happened since the start, and an estimate for what had
happened before a power cut with no clock: as late as can be, and in order. So a time becomes the same date whenever
it is asked for.
"""

import json

from micropython import const

START = const(0)
VALUES = const(1)
STOP = const(2)
_FIELDS = (7, 4, 8)  # of the kinds of messages
MESSAGE = "tx/%d"
SAMPLES = "samples/%d"
_NAME = "transactions"
_NOTHING = "[0,0,[],[],0,0,-1,0,0,[]]"
_START_OF_2024 = const(1704067200)  # no clock is set to an earlier time
_MOST_DATES = const(8)
# What MeterValues are full of; each becomes one of the control characters, which JSON never contains.
_WORDS = (
    '"sampledValue":[{ "value":" "context":" "measurand":" "unit":" "location":" "phase":" "format":" '
    "Energy.Active.Import.Register Power.Active.Import Current.Import Energy. Power. Current. Active. Reactive. "
    "Import Export Offered Voltage Sample. Periodic Transaction. Outlet Temperature"
)


class Record:
    """The record as it was read: what is changed here is durable after save() or add().

    running: [transaction, connector, time, Wh, meterStart] of those that run, with what was noted last
    told: [transaction, transactionId] of those that the central system knows and has not seen the end of
    attempts: CALLERRORs in answer to the oldest message; due: uptime before which it is not sent again
    done: the transaction that ended last for the central system
    base, last: time without a clock at the start of the charger, and when it was asked for last
    dates: [until, offset], what has to be added to times without a clock up to `until`
    """

    def __init__(self, charge_point):
        self.charge_point = charge_point
        try:
            values = json.loads(charge_point.files.read(_NAME) or _NOTHING)
            self.first, self.next, self.running, self.told, *values = values
            self.attempts, self.due, self.done, self.base, self.last, self.dates = values
        except (ValueError, TypeError):
            charge_point.log("the record of the transactions is damaged: only messages that wait to be sent are left")
            self._rebuild()

    def _rebuild(self):
        numbers = [int(name) for name in self.charge_point.files.names("tx") if name.isdigit()]
        self.first, self.next = (min(numbers), max(numbers) + 1) if numbers else (0, 0)
        self.running, self.told, self.dates = [], [], []
        self.attempts = self.due = self.base = self.last = 0
        self.done = -1

    def save(self, added=0):
        """Write it. added: messages (may be negative) that the charge point has not counted yet."""
        self.first = self.next - self.charge_point.unsent - added
        values = [self.first, self.next, self.running, self.told, self.attempts, self.due, self.done]
        values += [self.base, self.last, self.dates]
        self.charge_point.files.write(_NAME, json.dumps(values, separators=(",", ":")))

    def add(self, message, packed=""):
        """Put a message behind the others; it is durable on return. OSError: nothing has changed."""
        charge_point = self.charge_point
        text = json.dumps(message, separators=(",", ":"))
        charge_point.files.write(MESSAGE % self.next, text + "\n" + packed if packed else text)
        self.next += 1
        self.save(1)
        charge_point.unsent += 1
        charge_point.outbox.wake()

    def head(self):
        """Return (message, packed MeterValue) of the oldest message, (None, "") if it is damaged."""
        self.first = self.next - self.charge_point.unsent
        try:
            text, _, packed = (self.charge_point.files.read(MESSAGE % self.first) or b"").decode().partition("\n")
            message = json.loads(text)
            if len(message) == _FIELDS[message[0]]:
                return message, packed
        except (ValueError, TypeError, IndexError, KeyError):
            pass
        return None, ""

    def clean(self):
        """Remove the files of what is done with: of the message before the oldest one, of a transaction's samples."""
        files = self.charge_point.files
        try:
            files.remove(MESSAGE % (self.first - 1))
            files.remove(SAMPLES % self.done)
        except (OSError, MemoryError) as error:
            self.charge_point.log("a file of a transaction can't be removed: %s" % error)

    def now(self):
        """Return the time of what happens now."""
        now = self.charge_point.clock.now()
        if now is None:
            now = self.last = self._uptime()
        else:
            self.settle()
        return now

    def settle(self):
        """If the clock has come since a time was noted without one, note what that means; return whether it is so."""
        now = self.charge_point.clock.now()
        if now is None or self.last <= (self.dates[-1][0] if self.dates else 0):
            return False
        self.last = self._uptime()
        if len(self.dates) < _MOST_DATES:
            self.dates.append([self.last, now - self.last])
        else:
            self.dates[-1][0] = self.last  # an estimate: nothing of that many starts has been sent for very long
        return True

    def _uptime(self):
        return self.base + 1 + self.charge_point.clock.uptime()  # above all times of earlier starts

    def date(self, time):
        """Return a time as Unix seconds, None while that is not known."""
        if time >= _START_OF_2024:
            return time
        for until, offset in self.dates:
            if time <= until:
                return time + offset
        return None


def pack(value):
    """Return a MeterValue as short text without line feeds."""
    text = json.dumps(value, separators=(",", ":"))
    code = 0
    for word in words():
        code = 14 if code == 8 else code + 1  # those between end a line
        text = text.replace(word, chr(code))
    return text


def unpack(text, words):
    """Return the MeterValue that pack() was given; ValueError if it is damaged. words: words()."""
    data = bytearray()
    for byte in text.encode():
        if byte >= 32:
            data.append(byte)
        else:
            data.extend(words[byte - (1 if byte <= 8 else 6)])
    return json.loads(data)  # type: ignore[type-var]


def words():
    """Return what pack() makes shorter."""
    return _WORDS.split(" ")
