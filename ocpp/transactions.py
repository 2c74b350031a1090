"""Transactions, in their plain form: the central system starts and stops them.

It is loaded for one event and dropped again: all that there is to know is in the store. "transactions" is a list:
    the number of the oldest message that was not answered, the number of the next one,
    the transactions: [number of StartTransaction, connector (negative once it has ended), transactionId or None],
    the last time noted (Unix seconds).
"transaction0" to "transaction15" are the messages, [action, payload, number of StartTransaction]; message n is in
n % 16. A message is written before the list knows of it, so that a power cut leaves things as they were before or
after.
"""

import asyncio
import json

from micropython import const

from .timestamps import format_time

_FIRST = const(0)
_NEXT = const(1)
_ALL = const(2)
_NOTED = const(3)
# of a transaction
_NUMBER = const(0)
_CONNECTOR = const(1)
_ID = const(2)

_MOST = const(16)  # messages; there is always room for the StopTransaction of what runs
_PATIENCE = const(10)  # seconds
_ENERGY = const(0)  # Wh: there is no meter


def load(charge_point):
    """Return the record."""
    try:
        record = json.loads(charge_point.store.get("transactions") or b"[0, 0, [], 0]")
        if len(record) == 4:
            return record
    except (ValueError, TypeError):
        pass
    charge_point.log("the record of the transactions is damaged, it counts as not there")
    return [0, 0, [], 0]


def _save(charge_point, record, message=None):
    """Write the record, and before it the message, if any, that it is the first to know of."""
    if message:
        charge_point.store.set("transaction%d" % (record[_NEXT] % _MOST), json.dumps(message).encode())
        record[_NEXT] += 1
    charge_point.store.set("transactions", json.dumps(record).encode())
    charge_point.unsent = record[_NEXT] - record[_FIRST]


def start(charge_point, connector, tag):
    """Start a transaction. Return whether that is so: StartTransaction is on flash then, and is sent soon.

    The contactor is closed when the central system has accepted it.
    """
    record = load(charge_point)
    now = record[_NOTED] = charge_point.clock.now()
    running = [transaction[_CONNECTOR] for transaction in record[_ALL] if transaction[_CONNECTOR] > 0]
    number = record[_NEXT]
    try:
        if now is None:
            raise OSError("the time is not known")
        if connector in running or number - record[_FIRST] + len(running) + 2 > _MOST:
            raise OSError("messages of earlier ones are in the way")
        record[_ALL].append([number, connector, None])
        payload = {"connectorId": connector, "idTag": tag, "meterStart": _ENERGY, "timestamp": format_time(now)}
        _save(charge_point, record, ["StartTransaction", payload, number])
    except OSError as error:
        charge_point.log("no transaction on connector %d: %s" % (connector, error))
        return False
    charge_point.set_status(connector, "Preparing")
    return True


def stop(charge_point, connector, reason, date=None):
    """End the transaction of a connector. reason: 7.36; date: Unix seconds, None for now."""
    charge_point.contactor(connector, False)
    record = load(charge_point)
    time = format_time(charge_point.clock.now() if date is None else date)
    try:
        for transaction in record[_ALL]:
            if transaction[_CONNECTOR] == connector:
                transaction[_CONNECTOR] = -connector
                payload = {"meterStop": _ENERGY, "timestamp": time, "reason": reason}
                _save(charge_point, record, ["StopTransaction", payload, transaction[_NUMBER]])
    except OSError as error:
        charge_point.log("StopTransaction can't be recorded; it is made up after the next reset: %s" % error)
    charge_point.set_status(connector, "Finishing")


def stop_all(charge_point, reason):
    """End every transaction that runs."""
    for transaction in load(charge_point)[_ALL]:
        if transaction[_CONNECTOR] > 0:
            stop(charge_point, transaction[_CONNECTOR], reason)


async def reset(charge_point, kind, restart):
    """End every transaction, give the central system a while to hear of it after a soft Reset, and restart."""
    await charge_point.stop_charging(kind + "Reset")
    for _ in range(0 if kind == "Hard" else _PATIENCE):
        if not charge_point.unsent:
            break
        await asyncio.sleep(1)
    await restart()


def note(charge_point):
    """Note the time, for a power cut."""
    record = load(charge_point)
    record[_NOTED] = charge_point.clock.now()
    try:
        _save(charge_point, record)
    except OSError as error:
        charge_point.log("can't note the time: %s" % error)


def resume(charge_point):
    """After a reset: end what ran before it, and find out what is to be sent."""
    record = load(charge_point)
    charge_point.unsent = record[_NEXT] - record[_FIRST]
    for _, connector, _ in record[_ALL]:
        if connector > 0:
            charge_point.log("a reset has ended the transaction on connector %d" % connector)
            stop(charge_point, connector, "PowerLoss", record[_NOTED])
            charge_point.set_status(connector, "Available")


def _head(charge_point, record):
    """Return the oldest message that was not answered: action, payload, its transaction; None where there is none."""
    message = charge_point.store.get("transaction%d" % (record[_FIRST] % _MOST))
    try:
        action, payload, number = json.loads(message or b"")
    except (ValueError, TypeError):
        charge_point.log("a transaction's message is damaged, it can't be sent")
        action = payload = None
        number = record[_FIRST]
    for transaction in record[_ALL]:
        if transaction[_NUMBER] == number:
            return action, payload, transaction
    return action, payload, None


def peek(charge_point):
    """Return the oldest message that can be sent, as (action, payload), or None."""
    while charge_point.unsent:
        action, payload, transaction = _head(charge_point, load(charge_point))
        if action and transaction:
            if action == "StopTransaction":
                payload["transactionId"] = transaction[_ID]
            return action, payload
        # It is damaged, or would stop what the central system did not take.
        pop(charge_point, None)
    return None


def pop(charge_point, answer):
    """The oldest message was answered. answer: None for a CALLERROR, which is the end of it, too."""
    record = load(charge_point)
    action, _, transaction = _head(charge_point, record)
    record[_FIRST] += 1
    if transaction is None:
        _save(charge_point, record)
        return
    transaction[_ID] = answer.get("transactionId") if answer and action == "StartTransaction" else None
    goes_on = type(transaction[_ID]) is int
    if not goes_on:
        record[_ALL].remove(transaction)
    _save(charge_point, record)
    connector = transaction[_CONNECTOR]
    if goes_on:
        if connector > 0:
            _begin(charge_point, connector, answer.get("idTagInfo"))
    elif connector > 0:
        charge_point.log("the central system has not taken the transaction")
        charge_point.set_status(connector, "Available")
    elif charge_point.status(-connector) == "Finishing":
        charge_point.set_status(-connector, "Available")


def _begin(charge_point, connector, info):
    if isinstance(info, dict) and info.get("status") == "Accepted":
        charge_point.contactor(connector, True)
        charge_point.set_status(connector, "Charging")
    else:
        charge_point.log("the central system refuses the idTag")
        stop(charge_point, connector, "DeAuthorized")


def _remote_start(charge_point, payload):
    connectors = charge_point.connectors[1:]
    if "connectorId" in payload:
        connectors = [connector for connector in connectors if connector == payload["connectorId"]]
    if "chargingProfile" in payload:
        charge_point.log("chargingProfile ignored: there is no SmartCharging")  # as 5.11 wants it
    for connector in connectors:
        if charge_point.status(connector) in ("Available", "Finishing"):
            if start(charge_point, connector, payload["idTag"]):
                return {"status": "Accepted"}
            break
    return {"status": "Rejected"}


def _remote_stop(charge_point, payload):
    for _, connector, number in load(charge_point)[_ALL]:
        if number == payload["transactionId"] and connector > 0:
            stop(charge_point, connector, "Remote")
            return {"status": "Accepted"}
    return {"status": "Rejected"}


HANDLERS = {
    "RemoteStartTransaction": (
        {"idTag": (str, 20, True), "connectorId": (int, 9999, False), "chargingProfile": (dict, None, False)},
        _remote_start,
    ),
    "RemoteStopTransaction": ({"transactionId": (int, None, True)}, _remote_stop),
}
