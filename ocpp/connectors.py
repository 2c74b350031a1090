"""What happens at a connector: cars come and go, faults too, and its status follows (OCPP 1.6, 4.9).

It is loaded for one event and dropped again; what lasts is in the Connector objects of charge_point.py. Cards are in
identification.py, how transactions begin and end is in charging.py.
"""

import json

from . import connector_status
from .connector_status import WARNINGS, in_service

_INOPERATIVE = "inoperative"  # record: the numbers of the connectors that ChangeAvailability has taken out of service


def resume(charge_point, reason="PowerLoss"):
    """After a reset: find out what is in service, what has to be sent and what is reserved.

    reason: 7.36, for transactions that ran.
    """
    try:
        numbers = json.loads(charge_point.store.get(_INOPERATIVE) or b"[]")
    except ValueError:
        numbers = None
    for connector in charge_point.connectors:
        connector.operative = not (isinstance(numbers, list) and connector.number in numbers)
    charge_point.call("transactions", "resume", reason)
    for module in ("reservation", "smart_charging", "metering"):
        charge_point.call(module, "resume")
    refresh_all(charge_point)


def set_operative(charge_point, connector, operative):
    """Take a connector (0: all of them) into service or out of it, durably; OSError if that can't be recorded."""
    affected = [connector] if connector.number else charge_point.connectors
    off = [one.number for one in charge_point.connectors if not (operative if one in affected else one.operative)]
    charge_point.store.set(_INOPERATIVE, json.dumps(off).encode())
    for one in affected:
        one.operative = operative
        if operative and one.error == "PowerSwitchFailure":
            one.outlet.clear()  # the operator has seen to it
    clear(charge_point)


def clear(charge_point):
    """Connectors have gone into service or out of it: what waits for a car there waits no longer."""
    for connector in charge_point.connectors:
        if connector.tag and not in_service(charge_point, connector):
            lapsed(charge_point, connector.number)
    refresh_all(charge_point)


# ------------------------------------------------------------------------------------------------------------- the EVSE


def changed(charge_point, number):
    """An outlet has something new: the car's state, the contactor, a fault."""
    connector = charge_point.connectors[number]
    outlet = connector.outlet
    if outlet:
        was_plugged = connector.plugged
        connector.error, connector.info = outlet.error, outlet.info
        if outlet.state in "ABCD":  # E and F tell nothing about the plug
            connector.plugged = outlet.state != "A"
        if connector.error == "EVCommunicationError" and not (connector.plugged or connector.transaction):
            connector.error, connector.info = "OtherError", "control pilot"  # without a car it is no warning
        if connector.transaction and _ends(charge_point, connector, was_plugged):
            return  # what follows comes with the end of the transaction
        if connector.tag and connector.error not in WARNINGS:
            lapsed(charge_point, number)
        if connector.plugged != was_plugged:
            _moved(charge_point, connector)
    permit(charge_point, connector)
    refresh(charge_point, connector)


def _ends(charge_point, connector, was_plugged):
    """Whether what the outlet has to say ends the transaction; then that is to be done next."""
    if connector.outlet.closed:
        connector.transaction.drew = True
    reason = None
    if connector.error not in WARNINGS:
        reason = "EmergencyStop" if connector.info == "EmergencyStop" else "Other"
    elif connector.ending and not connector.outlet.closed:
        reason = connector.ending[0]
    elif was_plugged and not connector.plugged and _get(charge_point, "StopTransactionOnEVSideDisconnect"):
        reason = "EVDisconnected"
    if reason:
        charge_point.after(0, "charging", "stop_that", connector, connector.transaction, reason)
    return reason


def _moved(charge_point, connector):
    """A plug was put in or taken out."""
    connector.finished = False
    if not connector.plugged:
        if not connector.tag:
            charge_point.cancel("connectors", "lapsed", connector.number)
    elif connector.tag:
        charge_point.after(0, "charging", "start", connector)
    elif not connector.transaction:
        charge_point.after(_get(charge_point, "ConnectionTimeOut"), "connectors", "lapsed", connector.number)


def _get(charge_point, key):
    return charge_point.configuration.get(key)


def permit(charge_point, connector):
    """Let the car draw as much as is allowed now."""
    outlet = connector.outlet
    if not outlet:
        return
    transaction = connector.transaction
    amps = 0
    if transaction and not (connector.ending or connector.suspended or connector.error not in WARNINGS):
        amps = outlet.maximum if connector.limit is None else min(outlet.maximum, connector.limit)
    if amps != outlet.permitted:
        outlet.permit(amps)


def limited(charge_point, number):
    """It may be that something else is permitted now, or that a car which should have begun to draw has not."""
    connector = charge_point.connectors[number]
    permit(charge_point, connector)
    refresh(charge_point, connector)


def lapsed(charge_point, number):
    """ConnectionTimeOut is over, with a card and no car, or with a car and no card."""
    connector = charge_point.connectors[number]
    charge_point.cancel("connectors", "lapsed", number)
    if connector.tag:
        connector.tag = connector.parent = None
        connector.profiles = None
    elif connector.plugged and not connector.transaction:
        connector.finished = True
    refresh(charge_point, connector)


def refresh_all(charge_point):
    """Find out the status of each connector."""
    for connector in charge_point.connectors:
        refresh(charge_point, connector)


def refresh(charge_point, connector):
    """Find out the status of a connector, and have it reported if that or its error is new."""
    status = connector_status.status(charge_point, connector)
    if status in ("Faulted", "Unavailable") and connector.reservation and not charge_point.held:
        charge_point.call("reservation", "drop", connector)  # 5.13
    if connector.outlet:
        connector.outlet.show(status)
    news = status, connector.error, connector.info
    if news == connector.news:
        return
    connector.news = news
    for between in connector_status.path(connector.status, status)[:-1]:
        connector.status = between
        _report(charge_point, connector)
    connector.status = status
    _report(charge_point, connector)
    words = [word for word in news if word not in (None, "NoError")]
    charge_point.log("Connector %d: %s" % (connector.number, ", ".join(words)))


def _report(charge_point, connector):
    """Report a status, when it has lasted for MinimumStatusDuration."""
    duration = _get(charge_point, "MinimumStatusDuration")
    if duration:
        charge_point.after(duration, "connectors", "lasted", connector.number)
    elif charge_point.session.registered:
        charge_point.report(connector.number)


def lasted(charge_point, number):
    """The status of a connector has not changed for MinimumStatusDuration."""
    connector = charge_point.connectors[number]
    if charge_point.session.registered and connector.news != connector.told:
        charge_point.report(number)
