"""The Reservation profile (5.13, 5.2): who has reserved which connector, and until when.

A connector's reservation is [reservationId, idTag, parentIdTag or None, Unix seconds when it expires]. That of
connector 0 is for any of them: one is kept free for it. The record is JSON: [[number, reservation], …].
"""

import json

from micropython import const

from .rpc import CallError
from .timestamps import parse_time

_RECORD = "reservations"
_BLIND = const(60)  # seconds between two looks at a clock that isn't set
_LONGEST = const(3600)  # seconds until it is looked at again: the clock may be set meanwhile
_OUT = ("Faulted", "Unavailable")


def resume(charge_point):
    """After a reset: have again what was reserved. While the clock isn't set nothing expires."""
    try:
        for number, (reservation_id, tag, parent, expiry) in json.loads(charge_point.store.get(_RECORD) or b"[]"):
            charge_point.connectors[number].reservation = [reservation_id, tag, parent, expiry]
            _watch(charge_point, charge_point.connectors[number])
    except (ValueError, TypeError, IndexError) as error:
        charge_point.log("the record of reservations is unusable: %s" % error)


def holds(charge_point, connector, tag, parent):
    """Whether a connector is reserved for somebody else: by its own reservation, or as the last one that is free."""
    if connector.reservation:
        return not _is_for(connector.reservation, tag, parent)
    whole = charge_point.connectors[0].reservation
    if not whole or _is_for(whole, tag, parent):
        return False
    for other in charge_point.connectors[1:]:
        if other is not connector and (_is_free(other) or other.tag and _is_for(whole, other.tag, other.parent)):
            return False
    return True


def used(charge_point, connector, tag, parent):
    """A transaction of this idTag begins: return the reservationId for it, None if it needs no reservation."""
    for one in (connector, charge_point.connectors[0]):
        if one.reservation and _is_for(one.reservation, tag, parent):
            reservation_id = one.reservation[0]
            drop(charge_point, one)
            return reservation_id
    return None


def drop(charge_point, connector):
    """End a connector's reservation, if it has one; due also when it gets Faulted or Unavailable (5.13)."""
    if connector.reservation:
        charge_point.log("Connector %d: reservation %d ends" % (connector.number, connector.reservation[0]))
        connector.reservation = None
        charge_point.cancel("reservation", "expired", connector.number)
        try:
            _save(charge_point)
        except OSError as error:
            charge_point.log("the record of reservations can't be written: %s" % error)


def expired(charge_point, number):
    """Look whether a connector's reservation has expired; the timer calls it."""
    connector = charge_point.connectors[number]
    if not connector.reservation:
        return
    now = charge_point.clock.now()
    if now is None or now < connector.reservation[3]:
        _watch(charge_point, connector)
    else:
        drop(charge_point, connector)
        charge_point.call("connectors", "refresh", connector)


def _watch(charge_point, connector):
    now = charge_point.clock.now()
    left = _BLIND if now is None else max(1, min(connector.reservation[3] - now, _LONGEST))
    charge_point.after(left, "reservation", "expired", connector.number)


def _save(charge_point):
    record = [[one.number, one.reservation] for one in charge_point.connectors if one.reservation]
    charge_point.store.set(_RECORD, json.dumps(record).encode())


def _is_for(reservation, tag, parent):
    """Whether an idTag may use a reservation. idTags are case-insensitive; a parentIdTag is compared with one only."""
    if tag.lower() == reservation[1].lower():
        return True
    return bool(parent and reservation[2]) and parent.lower() == reservation[2].lower()


def _is_free(connector):
    return connector.status in ("Available", "Reserved") and not connector.reservation


def _find(charge_point, reservation_id):
    for connector in charge_point.connectors:
        if connector.reservation and connector.reservation[0] == reservation_id:
            return connector
    return None


def _reserve(charge_point, payload):
    number = payload["connectorId"]
    if number >= len(charge_point.connectors):
        raise CallError("PropertyConstraintViolation", "there is no connector %d" % number)
    connector = charge_point.connectors[number]
    expiry = parse_time(payload["expiryDate"])
    now = charge_point.clock.now()
    if now is not None and expiry <= now:
        charge_point.log("ReserveNow: it would have expired already")
        return {"status": "Rejected"}
    before = [one.reservation for one in charge_point.connectors]
    old = _find(charge_point, payload["reservationId"])
    if old:
        old.reservation = None  # the new one takes its place
    status = "Accepted" if connector is old else _possible(charge_point, connector)
    if status == "Accepted":
        connector.reservation = [payload["reservationId"], payload["idTag"], payload.get("parentIdTag") or None, expiry]
        try:
            _save(charge_point)
        except OSError as error:
            charge_point.log("ReserveNow: the record can't be written: %s" % error)
            status = "Rejected"
    if status == "Accepted":
        _watch(charge_point, connector)
        if old and old is not connector:
            charge_point.cancel("reservation", "expired", old.number)
            charge_point.call("connectors", "refresh", old)
        charge_point.call("connectors", "refresh", connector)
    else:
        for one, reservation in zip(charge_point.connectors, before):
            one.reservation = reservation
    return {"status": status}


def _possible(charge_point, connector):
    """Return the ReservationStatus (7.40) of a reservation that is asked for."""
    whole = charge_point.connectors[0]
    free = [one for one in charge_point.connectors[1:] if _is_free(one)]
    if not connector.number and not charge_point.configuration.get("ReserveConnectorZeroSupported"):
        return "Rejected"
    for one in (whole, connector):
        if one.status in _OUT:
            return one.status
    if connector.number:
        enough = connector in free and len(free) > bool(whole.reservation)
    else:
        statuses = [one.status for one in charge_point.connectors[1:]]
        for status in _OUT:
            if statuses and statuses.count(status) == len(statuses):
                return status
        enough = free and not whole.reservation
    return "Accepted" if enough else "Occupied"


def _cancel(charge_point, payload):
    connector = _find(charge_point, payload["reservationId"])
    if not connector:
        return {"status": "Rejected"}
    drop(charge_point, connector)
    charge_point.call("connectors", "refresh", connector)
    return {"status": "Accepted"}


_ID = (int, (-0x80000000, 0x7FFFFFFF), True)

HANDLERS = {
    "CancelReservation": ({"reservationId": _ID}, _cancel),
    "ReserveNow": (
        {
            "connectorId": (int, 0x7FFFFFFF, True),
            "expiryDate": (str, "date-time", True),
            "idTag": (str, 20, True),
            "parentIdTag": (str, 20, False),
            "reservationId": _ID,
        },
        _reserve,
    ),
}
