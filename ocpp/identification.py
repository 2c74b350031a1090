"""Who may charge where: cards that are presented, and connectors that wait for a car (OCPP 1.6, 4.1).

Loaded for one event and dropped again.
"""

from .connector_status import in_service


def card(charge_point, tag):
    """A card was presented: it ends the transaction that it has begun, or it is to begin one."""
    for connector in charge_point.connectors:
        if connector.transaction and connector.transaction.tag == tag:
            charge_point.call("charging", "stop", connector, "Local", tag)
            return
        if connector.tag == tag:
            charge_point.log("Card %s again: it is taken back" % tag)
            charge_point.call("connectors", "lapsed", connector.number)
            return
    charge_point.log("Card " + tag)
    charge_point.spawn(_identify(charge_point, tag))


async def _identify(charge_point, tag):
    from . import authorization

    status, parent = await authorization.authorize(charge_point, tag)
    charge_point.forget()
    charge_point.event("identification", "identified", tag, parent, status)


def identified(charge_point, tag, parent, status):
    """It is known what a card that was presented may do. status: AuthorizationStatus (7.2)."""
    if status != "Accepted":
        charge_point.log("Card %s is refused: %s" % (tag, status))
        return
    for connector in charge_point.connectors:
        if connector.transaction and parent and connector.transaction.parent == parent:
            charge_point.call("charging", "stop", connector, "Local", tag)
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
    if connector.transaction or connector.tag or not in_service(charge_point, connector):
        return False
    if not any(other.reservation for other in charge_point.connectors):
        return True
    return not charge_point.call("reservation", "holds", connector, tag, parent)


def authorize(charge_point, number, tag, parent):
    """An authorized idTag is to use a connector: at once if a car is plugged in, else when one comes in time."""
    connector = charge_point.connectors[number]
    connector.tag, connector.parent = tag, parent
    charge_point.call("connectors", "refresh", connector)
    if connector.plugged:
        charge_point.after(0, "charging", "start", connector)
    else:
        charge_point.after(charge_point.configuration.get("ConnectionTimeOut"), "connectors", "lapsed", number)
