"""Transactions: what is recorded of them while they run (4.8, 4.10, 4.7). How that is sent: transaction_messages.py.

It is loaded for one event and dropped again. All that is recorded is durable when a function returns. At most 600
messages wait for the central system: those that start and stop transactions are never dropped, MeterValues become
fewer from 100 on, and none from 200 on, so that 200 transactions fit in any case. When it is full no transaction
begins; there is always room for the end of those that run.
"""

from micropython import const

from .charge_point import Transaction
from .transaction_record import MESSAGE, SAMPLES, START, STOP, VALUES, Record, pack

_MOST = const(600)  # messages
_FULL = const(28)  # ENOSPC
_NOTE = const(300)  # seconds between two looks at the meter, for the case that the power fails
# Of the transactionData of StopTransaction: samples, and bytes of them as they are packed.
_SAMPLES = const(10)
_BYTES = const(900)
# ... while more than so many messages wait: a file of at most 128 bytes takes no block of its own.
_MANY = const(60)
_FEW_SAMPLES = const(2)
_FEW_BYTES = const(120)
_TOLERANCE = const(5)  # seconds
_LONGEST_GAP = const(43200)  # seconds
_RESERVE = "reserve"  # a file that makes room for the end of transactions by going
_RESERVE_LINES = const(128)


def begin(charge_point, connector, tag, parent, reservation_id=None):
    """Begin a transaction at a connector, and set its `transaction`; StartTransaction is sent as soon as may be.

    Return whether that is so: False, with the reason in the log, if it can't be recorded. After a MemoryError it may be
    tried again.
    """
    try:
        record = Record(charge_point)
        _make_up(record)
        _reserve(charge_point)
        if charge_point.unsent + len(record.running) + 2 > _MOST:
            raise OSError("%d messages wait for the central system, the charger has to reach it" % charge_point.unsent)
        number = record.next
        energy = _energy(connector)
        now = record.now()
        record.running.append([number, connector.number, now, energy, energy])
        record.add([START, number, now, connector.number, energy, tag, reservation_id])
    except OSError as error:
        why = "the file system is full, remove files" if error.args[:1] == (_FULL,) else error
        charge_point.log("no transaction on connector %d: %s" % (connector.number, why))
        return False
    connector.transaction = Transaction(number, tag, parent, energy, charge_point.clock.uptime())
    charge_point.after(_NOTE, "transactions", "note")
    return True


def end(charge_point, connector, reason, tag=None):
    """End the transaction of a connector. reason: 7.36; tag: the idTag that has ended it, if any.

    After a MemoryError it still runs, for the record: it is to be ended once more.
    """
    transaction = connector.transaction
    if not transaction:
        return
    _keep(charge_point, connector)
    _end(charge_point, transaction.number, None, _energy(connector), reason, tag)
    connector.transaction = None


def _end(charge_point, number, time, energy, reason, tag=None):
    """Record the end of a transaction, in place of the reserve if need be. time: None for now."""
    for in_the_way in (None, _RESERVE):
        try:
            if in_the_way:
                charge_point.files.remove(in_the_way)
            record = Record(charge_point)
            _stop(record, number, record.now() if time is None else time, energy, reason, tag)
            return
        except OSError as error:
            why = error
    charge_point.log("StopTransaction can't be recorded, that is tried again later: %s" % why)


def _stop(record, number, now, energy, reason, tag=None):
    for running in record.running:
        if running[0] == number:
            record.running.remove(running)
            record.add([STOP, number, now, running[1], max(energy, running[3]), reason, tag, running[4]])
            return


def _make_up(record):
    """Record the end of transactions whose end could not be recorded when it came."""
    for number, index, _, _, _ in list(record.running):
        connector = _connector(record.charge_point, index)
        if not connector.transaction or connector.transaction.number != number:
            _stop(record, number, record.now(), _energy(connector), "Other")


def _connector(charge_point, index):
    # 0, which never has a meter, stands for one that has been taken out of config.json.
    return charge_point.connectors[index if index < len(charge_point.connectors) else 0]


def _energy(connector):
    return connector.outlet.energy if connector.outlet else 0


def _keep(charge_point, connector):
    try:
        if connector.outlet:
            connector.outlet.keep()
    except OSError as error:
        charge_point.log("the meter of connector %d can't be kept: %s" % (connector.number, error))


def _note(record):
    """Put time and energy of what runs into the record; return the time."""
    now = record.now()
    for running in record.running:
        connector = _connector(record.charge_point, running[1])
        if connector.transaction and connector.transaction.number == running[0]:
            _keep(record.charge_point, connector)  # first: the register must not fall behind what is told of it
            running[2], running[3] = now, _energy(connector)
    return now


def note(charge_point):
    """Note time and energy of the transactions that run: after a power cut they end with that."""
    record = Record(charge_point)
    if not record.running:
        return
    charge_point.after(_NOTE, "transactions", "note")
    _make_up(record)
    _note(record)
    record.save()


def meter_values(charge_point, connector, value):
    """Record MeterValues of the transaction of a connector. value: MeterValue (7.33) without timestamp."""
    transaction = connector.transaction
    if not transaction:
        return
    transaction.samples += 1
    every = _every(charge_point.unsent)
    if every != transaction.every:
        transaction.every = every
        words = "none" if not every else "1 in %d" % every
        charge_point.log("%d messages wait, of the MeterValues is kept: %s" % (charge_point.unsent, words))
    if not every or transaction.samples % every:
        return
    try:
        record = Record(charge_point)
        now = _note(record)
        record.add([VALUES, transaction.number, now, connector.number], pack(value))
    except OSError as error:
        charge_point.log("MeterValues of connector %d dropped: %s" % (connector.number, error))


def _every(unsent):
    """Return of how many MeterValues one is kept, 0 for none."""
    if unsent < _MOST // 6:
        return 1
    if unsent < _MOST // 4:
        return 4
    return 16 if unsent < _MOST // 3 else 0


def transaction_data(charge_point, connector, value):
    """Record a sample for the transactionData of StopTransaction. value: MeterValue (7.33) without timestamp.

    When there are too many every second one goes, and the next ones are kept as far apart as those that stay.
    """
    transaction = connector.transaction
    if not transaction:
        return
    name = SAMPLES % transaction.number
    try:
        record = Record(charge_point)
        if not any(running[0] == transaction.number for running in record.running):
            return  # the central system has refused it
        now = record.now()
        lines = list(charge_point.files.lines(name))
        gap = int(lines.pop(0)) if lines else 0
        passed = 0
        if lines:
            passed = now - (record.date(int(lines[-1].split(" ")[0])) or now)
            # What belongs to its end is the last one in any case.
            if 0 <= passed < gap and "Transaction.End" not in str(value):
                return
        lines.append("%d %s" % (now, pack(value)))
        if _thin(lines, charge_point.unsent > _MANY):
            gap = min(max(2 * passed - _TOLERANCE, passed + 1), _LONGEST_GAP)
        charge_point.files.write(name, "\n".join([str(gap)] + lines))
        _note(record)
        record.save()
    except (OSError, ValueError) as error:
        charge_point.log("a sample of connector %d is not recorded: %s" % (connector.number, error))


def _thin(lines, few):
    """Drop every second line, but neither the first nor the last, until they fit; return whether they didn't."""
    most, size = (_FEW_SAMPLES, _FEW_BYTES) if few else (_SAMPLES, _BYTES)
    fit = True
    while len(lines) > most or sum(len(line) for line in lines) > size:
        fit = False
        if len(lines) < 3:
            lines.pop(0)
        else:
            lines[:] = [lines[i] for i in range(len(lines) - 1) if not i % 2] + [lines[-1]]
            if len(lines) == 3 and most < 3:
                lines.pop(1)
    return not fit


def resume(charge_point, reason="PowerLoss"):
    """After a reset: find out what has to be sent, and end the transactions that ran, for a Reason (7.36).

    They end with the time and the energy noted last, or with what the meter says now if that is more: it measures
    nothing between transactions, and may have been made durable later than the note.
    """
    try:
        record = Record(charge_point)
        record.clean()
        first = record.first
        while first < record.next and not charge_point.files.read(MESSAGE % first):
            first += 1
        charge_point.unsent = record.next - first
        pending = charge_point.unsent or record.running
        for number, index, time, _, _ in record.running:
            charge_point.log("a reset has ended the transaction on connector %d" % index)
            _end(charge_point, number, time, _energy(_connector(charge_point, index)), reason)
        record = Record(charge_point)
        if not pending:
            record.last = 0
            record.dates = []
        if record.due or record.base != record.last:
            record.due = 0
            record.base = record.last
            record.save()
        _reserve(charge_point)
    except (OSError, MemoryError) as error:
        charge_point.log("transactions can't be recorded, the file system fails: %s" % error)


def _reserve(charge_point):
    """See that there is a file whose blocks the end of transactions can have; OSError if that can't be."""
    files = charge_point.files
    if _RESERVE not in files.names():
        files.write(_RESERVE, ("." * 127 + "\n" for _ in range(_RESERVE_LINES)))
