"""The status of a connector (4.9) as a table of facts, and its StatusNotification; loaded when something changes."""

from micropython import const

STARTING = const(10)  # seconds that a car may take to begin to draw before it counts as SuspendedEV

WARNINGS = ("NoError", "EVCommunicationError")  # error codes of what is no fault (4.9); all else ends a transaction

# The first row all of whose facts hold gives the status.
RULES = (
    ("Faulted", ("error",)),
    ("Charging", ("transaction", "offered", "drawing")),
    ("Preparing", ("transaction", "offered", "starting")),
    ("SuspendedEV", ("transaction", "offered")),
    ("SuspendedEVSE", ("transaction",)),
    ("Unavailable", ("unavailable",)),
    ("Preparing", ("tag",)),
    ("Finishing", ("finished", "plugged")),
    ("Reserved", ("reservation",)),
    ("Preparing", ("plugged",)),
    ("Available", ()),
)

# Where each status may lead (4.9). What is not here goes by way of another one: see path().
TRANSITIONS = {
    "Available": "Preparing Charging SuspendedEV SuspendedEVSE Reserved Unavailable Faulted",
    "Preparing": "Available Charging SuspendedEV SuspendedEVSE Finishing Faulted",
    "Charging": "Available SuspendedEV SuspendedEVSE Finishing Unavailable Faulted",
    "SuspendedEV": "Available Charging SuspendedEVSE Finishing Unavailable Faulted",
    "SuspendedEVSE": "Available Charging SuspendedEV Finishing Unavailable Faulted",
    "Finishing": "Available Preparing Unavailable Faulted",
    "Reserved": "Available Preparing Unavailable Faulted",
    "Unavailable": "Available Preparing Charging SuspendedEV SuspendedEVSE Faulted",
    "Faulted": "Available Preparing Charging SuspendedEV SuspendedEVSE Finishing Reserved Unavailable",
}


def facts(charge_point, connector):
    """Return the facts that hold for a connector, as a list of words of RULES."""
    outlet, transaction = connector.outlet, connector.transaction
    whole = connector.number == 0
    offered = bool(outlet and outlet.permitted) or connector.ending  # until it has ended nothing changes
    found = {
        "error": connector.error not in WARNINGS,
        "transaction": transaction,
        "offered": offered,
        # The contactor is faster than the state that is sure: what once drew goes on until that says something else.
        "drawing": outlet and outlet.state in "CD" and (outlet.closed or (transaction and transaction.drew)),
        "starting": transaction and charge_point.clock.uptime() - transaction.began < STARTING and not transaction.drew,
        "unavailable": not (connector.operative and charge_point.connectors[0].operative)
        or (charge_point.held and not (whole and charge_point.charging)),
        "tag": connector.tag,
        "finished": connector.finished,
        "plugged": connector.plugged,
        "reservation": connector.reservation and not whole,
    }
    return [fact for fact, holds in found.items() if holds]


def in_service(charge_point, connector):
    """Whether a transaction may begin at a connector, as far as faults and its availability go."""
    if charge_point.held or not charge_point.connectors[0].operative:
        return False
    return connector.operative and connector.error in WARNINGS


def status(charge_point, connector):
    """Return the ChargePointStatus (7.7) of a connector."""
    found = facts(charge_point, connector)
    for name, needed in RULES:
        if all(fact in found for fact in needed):
            return name
    return None


def path(old, new):
    """Return the statuses that lead from one to the other by the transitions of 4.9, the last one being `new`."""
    if new == old or new in TRANSITIONS[old].split():
        return (new,)
    for between in ("Available", "Preparing", "Finishing"):
        if between in TRANSITIONS[old].split() and new in TRANSITIONS[between].split():
            return (between, new)
    return (new,)


def now(charge_point, number):
    """Return the payload of StatusNotification.req for a connector as it is now."""
    connector = charge_point.connectors[number]
    entry = [number, connector.status, connector.error, connector.info, charge_point.clock.now()]
    return notification(charge_point, entry)


def notification(charge_point, entry):
    """Return the payload of StatusNotification.req. entry: of charge_point.changed."""
    number, status, error, info, seconds = entry
    payload = {"connectorId": number, "errorCode": error, "status": status}
    if info:
        payload["info"] = info[:50]
    if seconds is not None:
        from .timestamps import format_time

        payload["timestamp"] = format_time(seconds)
    return payload
