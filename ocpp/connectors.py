"""What happens at a connector: cars come and go, cards are presented, transactions begin and end (4.9, 4.1, 4.8).

It is loaded for one event and dropped again; what lasts is in the Connector objects of charge_point.py.
"""

import asyncio
import json

from micropython import const

from . import connector_status

_PATIENCE = const(10)  # seconds for the contactor to open when a transaction ends; it takes 6 s at most
_CHECK = const(10)  # seconds between two looks at the energy that an invalid idTag may still have
_INOPERATIVE = "inoperative"  # record: the numbers of the connectors that ChangeAvailability has taken out of service
_WARNINGS = ("NoError", "EVCommunicationError")  # what is no fault (4.9); all else ends a transaction


def resume(charge_point):
    """After a reset: find out what is in service, what has to be sent and what is reserved."""
    try:
        numbers = json.loads(charge_point.store.get(_INOPERATIVE) or b"[]")
    except ValueError:
        numbers = None
    for connector in charge_point.connectors:
        connector.operative = not (isinstance(numbers, list) and connector.number in numbers)
    for module in ("transactions", "reservation", "smart_charging", "metering"):
        charge_point.call(module, "resume")
    refresh_all(charge_point)


def set_operative(charge_point, connector, operative):
    """Take a connector (0: all of them) into service or out of it, durably; OSError if that can't be recorded."""
    affected = [connector] if connector.number else charge_point.connectors
    off = [one.number for one in charge_point.connectors if not (operative if one in affected else one.operative)]
    charge_point.store.set(_INOPERATIVE, json.dumps(off).encode())
    for one in affected:
        one.operative = operative
    clear(charge_point)


def clear(charge_point):
    """Connectors have gone into service or out of it: what waits for a car there waits no longer."""
    for connector in charge_point.connectors:
        if connector.tag and not _in_service(charge_point, connector):
            lapsed(charge_point, connector.number)
    refresh_all(charge_point)


def _in_service(charge_point, connector):
    if charge_point.held or not charge_point.connectors[0].operative:
        return False
    return connector.operative and connector.error in _WARNINGS


# ------------------------------------------------------------------------------------------------------------- the EVSE


def changed(charge_point, number):
    """An outlet has something new: the car's state, the contactor, a fault."""
    connector = charge_point.connectors[number]
    outlet = connector.outlet
    connector.error, connector.info = outlet.error, outlet.info
    was_plugged = connector.plugged
    if outlet.state in "ABCD":  # E and F tell nothing about the plug
        connector.plugged = outlet.state != "A"
    if connector.error == "EVCommunicationError" and not (connector.plugged or connector.transaction):
        connector.error, connector.info = "OtherError", "control pilot"  # without a car it is no warning
    if connector.transaction:
        if outlet.closed:
            connector.transaction.drew = True
        elif connector.ending:
            _end(charge_point, connector, *connector.ending)
    if connector.transaction and connector.error not in _WARNINGS:
        stop_now(charge_point, connector, "EmergencyStop" if connector.info == "EmergencyStop" else "Other")
    if connector.tag and connector.error not in _WARNINGS:
        lapsed(charge_point, number)
    if connector.plugged and not was_plugged:
        _plugged(charge_point, connector)
    elif was_plugged and not connector.plugged:
        _unplugged(charge_point, connector)
    permit(charge_point, connector)
    refresh(charge_point, connector)


def _plugged(charge_point, connector):
    connector.finished = False
    if connector.tag:
        start(charge_point, connector)
    elif not connector.transaction:
        charge_point.after(charge_point.configuration.get("ConnectionTimeOut"), "connectors", "lapsed", connector.number)


def _unplugged(charge_point, connector):
    connector.finished = False
    if not connector.tag:
        charge_point.cancel("connectors", "lapsed", connector.number)
    get = charge_point.configuration.get
    if connector.transaction and get("StopTransactionOnEVSideDisconnect"):
        stop_now(charge_point, connector, "EVDisconnected")
        if get("UnlockConnectorOnEVSideDisconnect"):
            connector.outlet.unlock()


def permit(charge_point, connector):
    """Let the car draw as much as is allowed now."""
    outlet = connector.outlet
    if not outlet:
        return
    transaction = connector.transaction
    amps = 0
    if transaction and not (connector.ending or connector.suspended or connector.error not in _WARNINGS):
        amps = outlet.maximum if connector.limit is None else min(outlet.maximum, connector.limit)
    if amps != outlet.permitted:
        outlet.permit(amps)


def limited(charge_point, number):
    """The charging profiles allow something else now."""
    connector = charge_point.connectors[number]
    permit(charge_point, connector)
    refresh(charge_point, connector)


# ------------------------------------------------------------------------------------------------------- identification


def card(charge_point, tag):
    """A card was presented: it ends the transaction that it has begun, or it is to begin one."""
    for connector in charge_point.connectors:
        if connector.transaction and connector.transaction.tag == tag:
            stop(charge_point, connector, "Local", tag)
            return
        if connector.tag == tag:
            charge_point.log("Card %s again: it is taken back" % tag)
            lapsed(charge_point, connector.number)
            return
    charge_point.log("Card " + tag)
    charge_point.spawn(_identify(charge_point, tag))


async def _identify(charge_point, tag):
    from . import authorization

    status, parent = await authorization.authorize(charge_point, tag)
    charge_point.forget()
    charge_point.call("connectors", "identified", tag, parent, status)


def identified(charge_point, tag, parent, status):
    """It is known what a card that was presented may do. status: AuthorizationStatus (7.2)."""
    if status != "Accepted":
        charge_point.log("Card %s is refused: %s" % (tag, status))
        return
    for connector in charge_point.connectors:
        if connector.transaction and parent and connector.transaction.parent == parent:
            stop(charge_point, connector, "Local", tag)
            return
    connector = choose(charge_point, tag, parent)
    if connector:
        authorize(charge_point, connector.number, tag, parent)
    else:
        charge_point.log("Card %s: no connector is free" % tag)


def choose(charge_point, tag, parent):
    """Return the connector that a card is for: one whose car waits, else one that is free; None if there is none."""
    usable = [connector for connector in charge_point.connectors[1:] if is_usable(charge_point, connector, tag, parent)]
    for connector in usable:
        if connector.plugged and not connector.finished:
            return connector
    for connector in usable:
        if connector.reservation or connector.plugged:
            return connector
    return usable[0] if usable else None


def is_usable(charge_point, connector, tag, parent):
    """Whether a transaction of this idTag may begin at a connector."""
    if connector.transaction or connector.tag or not _in_service(charge_point, connector):
        return False
    return not charge_point.call("reservation", "holds", connector, tag, parent)


def authorize(charge_point, number, tag, parent):
    """An authorized idTag is to use a connector: at once if a car is plugged in, else when one comes in time."""
    connector = charge_point.connectors[number]
    connector.tag, connector.parent = tag, parent
    refresh(charge_point, connector)
    if connector.plugged:
        start(charge_point, connector)
    else:
        charge_point.after(charge_point.configuration.get("ConnectionTimeOut"), "connectors", "lapsed", number)


def lapsed(charge_point, number):
    """ConnectionTimeOut is over, with a card and no car, or with a car and no card."""
    connector = charge_point.connectors[number]
    charge_point.cancel("connectors", "lapsed", number)
    if connector.tag:
        connector.tag = connector.parent = None
        charge_point.call("smart_charging", "dismissed", connector)
    elif connector.plugged and not connector.transaction:
        connector.finished = True
    refresh(charge_point, connector)


# --------------------------------------------------------------------------------------------------------- transactions


def start(charge_point, connector):
    """Begin the transaction of the idTag that waits at a connector."""
    tag, parent = connector.tag, connector.parent
    charge_point.cancel("connectors", "lapsed", connector.number)
    reservation = charge_point.call("reservation", "used", connector, tag, parent)
    if charge_point.call("transactions", "begin", connector, tag, parent, reservation):
        connector.finished = connector.suspended = False
        charge_point.log("Connector %d: transaction of %s begins" % (connector.number, tag))
        charge_point.call("smart_charging", "apply")
        charge_point.call("metering", "began", connector)
        charge_point.after(connector_status.STARTING, "connectors", "limited", connector.number)
    else:
        connector.finished = True
    connector.tag = connector.parent = None
    permit(charge_point, connector)
    refresh(charge_point, connector)


def stop(charge_point, connector, reason, tag=None):
    """End a transaction: the car is told to stop drawing, and when the contactor has opened that is it.

    reason: 7.36; tag: of who has ended it, None if that was no card.
    """
    if not connector.transaction or connector.ending:
        return
    if not connector.outlet or not connector.outlet.closed:
        _end(charge_point, connector, reason, tag)
        return
    connector.ending = reason, tag
    charge_point.after(_PATIENCE, "connectors", "stop_late", connector.number)
    permit(charge_point, connector)


def stop_late(charge_point, number):
    """The contactor should have opened by now."""
    connector = charge_point.connectors[number]
    if connector.ending:
        stop_now(charge_point, connector, *connector.ending)


def stop_now(charge_point, connector, reason, tag=None):
    """End a transaction at once, under load."""
    if connector.outlet:
        connector.outlet.cut()
    if connector.transaction:
        _end(charge_point, connector, *(connector.ending or (reason, tag)))


def _end(charge_point, connector, reason, tag):
    charge_point.log("Connector %d: the transaction ends, %s" % (connector.number, reason))
    charge_point.call("metering", "ended", connector)
    charge_point.call("transactions", "end", connector, reason, tag)
    _ended(charge_point, connector)
    if connector.outlet and reason != "EVDisconnected":
        connector.outlet.unlock()


def _ended(charge_point, connector):
    connector.transaction = connector.ending = None
    connector.suspended = False
    connector.finished = connector.plugged
    charge_point.cancel("connectors", "stop_late", connector.number)
    charge_point.cancel("connectors", "overdrawn", connector.number)
    charge_point.call("smart_charging", "ended", connector)
    charge_point.free.set()
    permit(charge_point, connector)
    refresh_all(charge_point)


def confirmed(charge_point, number, info):
    """StartTransaction was answered. info: IdTagInfo (7.27), None if there is no transaction for the central system."""
    connector = charge_point.connectors[number]
    transaction = connector.transaction
    if not transaction:
        return
    if info is None:
        charge_point.log("The central system has not taken the transaction")
        if connector.outlet:
            connector.outlet.cut()
        charge_point.call("metering", "ended", connector)
        _ended(charge_point, connector)
    elif info.get("status") == "Accepted":
        if isinstance(info.get("parentIdTag"), str):
            transaction.parent = info["parentIdTag"]
    elif charge_point.configuration.get("StopTransactionOnInvalidId"):
        charge_point.log("The central system refuses %s" % transaction.tag)
        stop(charge_point, connector, "DeAuthorized")
    else:
        overdrawn(charge_point, number)


def overdrawn(charge_point, number):
    """Withhold energy from a refused idTag when it has had MaxEnergyOnInvalidId."""
    connector = charge_point.connectors[number]
    if not connector.transaction:
        return
    drawn = connector.outlet.energy - connector.transaction.start if connector.outlet else 0
    if drawn >= charge_point.configuration.get("MaxEnergyOnInvalidId"):
        connector.suspended = True
        limited(charge_point, number)
    else:
        charge_point.after(_CHECK, "connectors", "overdrawn", number)


# ------------------------------------------------------------------------------------------------------------- statuses


def refresh_all(charge_point):
    """Find out the status of each connector."""
    for connector in charge_point.connectors:
        refresh(charge_point, connector)


def refresh(charge_point, connector):
    """Find out the status of a connector, and have it reported if that or its error is new."""
    status = connector_status.status(charge_point, connector)
    if status in ("Faulted", "Unavailable") and connector.reservation and not charge_point.held:
        charge_point.call("reservation", "drop", connector)  # 5.13
    if (status, connector.error, connector.info) == (connector.told or (connector.status, "NoError", None)):
        connector.status = status
        return
    for between in connector_status.path(connector.status, status)[:-1]:
        connector.status = between
        _report(charge_point, connector)
    connector.status = status
    _report(charge_point, connector)
    if connector.outlet:
        connector.outlet.show(status)


def _report(charge_point, connector):
    """Report a status, when it has lasted for MinimumStatusDuration."""
    duration = charge_point.configuration.get("MinimumStatusDuration")
    if duration:
        charge_point.after(duration, "connectors", "lasted", connector.number)
    elif charge_point.session.registered:
        charge_point.report(connector.number)


def lasted(charge_point, number):
    """The status of a connector has not changed for MinimumStatusDuration."""
    connector = charge_point.connectors[number]
    news = connector.status, connector.error, connector.info
    if charge_point.session.registered and news != connector.told:
        charge_point.report(number)


async def reset(charge_point, kind, restart):
    """End every transaction, give the central system a while to hear of it after a soft Reset, and restart (5.14)."""
    await charge_point.stop_charging(kind + "Reset")
    for _ in range(0 if kind == "Hard" else _PATIENCE):
        if not charge_point.unsent:
            break
        await asyncio.sleep(1)
    await restart()
