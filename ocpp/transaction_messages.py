"""The messages of transactions on their way to the central system: a queue of the outbox (3.7, 4.7, 4.8, 4.10)."""

from micropython import const

from .timestamps import format_time
from .transaction_record import MESSAGE, SAMPLES, START, STOP, VALUES, Record, unpack, words

_LOOK_AGAIN = const(60)  # seconds, while the time is not known
_RARELY = const(16)  # MeterValues after which the record is written again, so that a reset finds the head soon
_LARGEST_ID = const(1 << 62)


def peek(charge_point):
    """Return the oldest message that can be sent, as (action, payload), or None.

    It is the same until pop(). None also while a message that was refused waits for its next attempt, and while it
    can't be said when it was: no clock has been set yet.
    """
    if not charge_point.unsent:
        return None
    record = Record(charge_point)
    if record.settle():
        record.save()
    if record.attempts and charge_point.clock.uptime() < record.due:
        return None
    while charge_point.unsent:
        message, packed = record.head()
        try:
            if message and _is_known(record, message):
                date = record.date(message[2])
                if date is None:
                    charge_point.after(_LOOK_AGAIN, "transaction_messages", "wake")
                    return None
                return _request(record, message, packed, format_time(date))
        except (ValueError, TypeError, IndexError):
            message = None  # damaged
        _drop(record, message)
    return None


def _is_known(record, message):
    """Whether the central system knows the transaction, or gets to know it by this message."""
    return message[0] == START or _id(record, message[1]) is not None


def _id(record, number):
    for transaction, identifier in record.told:
        if transaction == number:
            return identifier
    return None


def _request(record, message, packed, timestamp):
    """Return the action and the payload of a message."""
    kind, number, _, connector = message[:4]
    if kind == START:
        _, _, _, _, energy, tag, reservation = message
        payload = {"connectorId": connector, "idTag": tag, "meterStart": energy, "timestamp": timestamp}
        if reservation is not None:
            payload["reservationId"] = reservation
        return "StartTransaction", payload
    if kind == VALUES:
        value = _meter_value(packed, timestamp, words())
        payload = {"connectorId": connector, "transactionId": _id(record, number), "meterValue": [value]}
        return "MeterValues", payload
    _, _, _, _, energy, reason, tag, _ = message
    payload = {"transactionId": _id(record, number), "meterStop": energy, "timestamp": timestamp, "reason": reason}
    if tag is not None:
        payload["idTag"] = tag
    data = []
    table = words()
    for line in record.charge_point.files.lines(SAMPLES % number):
        time, _, packed = line.partition(" ")
        date = record.date(int(time)) if packed else None
        if date is not None:
            data.append(_meter_value(packed, format_time(date), table))
    if data:
        payload["transactionData"] = data
    return "StopTransaction", payload


def _meter_value(packed, timestamp, table):
    value = unpack(packed, table)
    value["timestamp"] = timestamp
    return value


def pop(charge_point, answer):
    """The message that peek() gave was answered. answer: its payload, None for a CALLERROR.

    A message that was refused is sent again after TransactionMessageRetryInterval, twice that, and so on; when
    TransactionMessageAttempts are used up it is dropped, and with StartTransaction its whole transaction: without a
    transactionId nothing of it can be told. StartTransaction.conf without a transactionId counts as refused.
    """
    if not charge_point.unsent:
        return
    record = Record(charge_point)
    message, _ = record.head()
    if not message:
        _drop(record, None)
        return
    identifier = None
    if answer is not None and message[0] == START:
        identifier = answer.get("transactionId")
        if type(identifier) is not int or not -_LARGEST_ID < identifier < _LARGEST_ID:
            charge_point.log("StartTransaction was answered without a transactionId")
            answer = None
    if answer is None and _try_again(record, message):
        return
    if answer is None:
        _drop(record, message)
        return
    # What follows from it comes first: if it can't be recorded the message is sent and answered again.
    info = answer.get("idTagInfo")
    tag = None
    if message[0] == START:
        tag = message[5]
        record.told.append([message[1], identifier])
        connector = _running(charge_point, message[1])
        if connector:
            connector.transaction.id = identifier
            charge_point.after(0, "charging", "confirmed", connector.number, info if isinstance(info, dict) else {})
    elif message[0] == STOP:
        tag = message[6]
    if tag is not None and info is not None:
        charge_point.after(0, "authorization", "remember", tag, info)
    _forget(record, message)


def _running(charge_point, number):
    """Return the connector where a transaction runs, or None."""
    for connector in charge_point.connectors:
        if connector.transaction and connector.transaction.number == number:
            return connector
    return None


def _try_again(record, message):
    """A message was refused: return whether it is to be sent again, and note when."""
    charge_point = record.charge_point
    get = charge_point.configuration.get
    record.attempts += 1
    if record.attempts >= get("TransactionMessageAttempts"):
        return False
    wait = get("TransactionMessageRetryInterval") * record.attempts
    record.due = charge_point.clock.uptime() + wait
    record.save()
    charge_point.log("message %d of the transactions is sent again in %d s" % (record.first, wait))
    charge_point.after(wait, "transaction_messages", "wake")
    return True


def _drop(record, message):
    """Give the oldest message up. message: None if it is damaged."""
    charge_point = record.charge_point
    number = message[1] if message else record.first
    kind = message[0] if message else START
    if not message:
        charge_point.log("message %d of the transactions is damaged, it can't be sent" % record.first)
    elif kind == START or _id(record, number) is not None:
        charge_point.log("message %d of the transactions is dropped: the central system refuses it" % record.first)
    connector = _running(charge_point, number) if kind == START else None
    if connector:
        energy = connector.outlet.energy if connector.outlet else 0
        _log_loss(charge_point, connector.number, energy - connector.transaction.start)
        record.running = [running for running in record.running if running[0] != number]
        charge_point.after(0, "charging", "confirmed", connector.number, None)
    elif kind == STOP:
        _log_loss(charge_point, message[3], message[4] - message[7])
    _forget(record, message or [START, number])


def _log_loss(charge_point, number, energy):
    charge_point.log("%d Wh on connector %d are lost for the central system" % (energy, number))


def _forget(record, message):
    """The oldest message is done with; what has changed in the record is durable with that."""
    charge_point = record.charge_point
    kind, number = message[:2]
    if kind == VALUES and not record.attempts and record.first % _RARELY:
        charge_point.files.remove(MESSAGE % record.first)
        charge_point.unsent -= 1
        return
    record.attempts = record.due = 0
    if kind == STOP or _id(record, number) is None:
        record.told = [told for told in record.told if told[0] != number]
        record.done = number
    record.save(-1)
    charge_point.unsent -= 1
    record.clean()


def wake(charge_point):
    """A message that had to wait may be sent now."""
    charge_point.outbox.wake()
