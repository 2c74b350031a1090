"""How transactions begin and end (OCPP 1.6, 4.8, 4.10). Loaded for one event and dropped again."""

import asyncio

from micropython import const

from .connector_status import STARTING

_PATIENCE = const(10)  # seconds for the contactor to open when a transaction ends; it takes 6 s at most
_CHECK = const(10)  # seconds between two looks at the energy that an invalid idTag may still have


def start(charge_point, connector):
    """Begin the transaction of the idTag that waits at a connector. What else is due then comes one after the other."""
    tag, parent, reservation = connector.tag, connector.parent, None
    if not tag or connector.transaction:
        return
    charge_point.cancel("connectors", "lapsed", connector.number)
    if connector.reservation or charge_point.connectors[0].reservation:
        reservation = charge_point.call("reservation", "used", connector, tag, parent)
    connector.suspended = False
    connector.finished = not charge_point.call("transactions", "begin", connector, tag, parent, reservation)
    connector.tag = connector.parent = None
    if connector.transaction:
        charge_point.log("Connector %d: transaction of %s begins" % (connector.number, tag))
        charge_point.after(0, "smart_charging", "apply")
        charge_point.after(0, "metering", "began", connector)
        charge_point.after(STARTING, "connectors", "limited", connector.number)
    else:
        connector.profiles = None
    charge_point.after(0, "connectors", "changed", connector.number)


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
    connector.outlet.permit(0)
    charge_point.after(_PATIENCE, "charging", "stop_late", connector.number)


def stop_that(charge_point, connector, transaction, reason):
    """End this transaction at once, if it is still the one that runs at a connector."""
    if connector.transaction is transaction:
        stop_now(charge_point, connector, reason)


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
    if connector.outlet and (
        reason != "EVDisconnected" or charge_point.configuration.get("UnlockConnectorOnEVSideDisconnect")
    ):
        connector.outlet.unlock()


def _ended(charge_point, connector):
    connector.transaction = connector.ending = None
    connector.suspended = False
    connector.finished = connector.plugged
    if connector.outlet:
        connector.outlet.permit(0)
    charge_point.cancel("charging", "stop_late", connector.number)
    charge_point.cancel("charging", "overdrawn", connector.number)
    connector.profiles = None
    charge_point.after(0, "smart_charging", "apply")
    charge_point.free.set()
    charge_point.event("connectors", "refresh_all")


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
        charge_point.call("connectors", "limited", number)
    else:
        charge_point.after(_CHECK, "charging", "overdrawn", number)


async def reset(charge_point, kind, restart):
    """End every transaction and restart; after a soft Reset the central system may hear of it first (5.14)."""
    if kind == "Hard":
        for connector in charge_point.connectors:
            stop_now(charge_point, connector, "HardReset")
    else:
        await charge_point.stop_charging("SoftReset")
        for _ in range(_PATIENCE):
            if not charge_point.unsent:
                break
            await asyncio.sleep(1)
    await restart()
