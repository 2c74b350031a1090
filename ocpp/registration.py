"""What follows from the answers to BootNotification (OCPP 1.6, 4.2) and Heartbeat (4.6); loaded when one comes."""

from micropython import const

from .timestamps import parse_time

_FIRST_PAUSE = const(2)  # seconds
_BOOT_INTERVAL = const(60)  # seconds to the next BootNotification when the central system leaves it to us
_LONGEST_INTERVAL = const(86400)


def answered(session, action, answer):
    """Act upon the answer to a BootNotification or Heartbeat of the session."""
    text = answer.get("currentTime")
    if isinstance(text, str):
        try:
            session.clock.set(parse_time(text))
        except (ValueError, OverflowError) as error:
            session.log("the central system's time is %s" % error)
    if action == "BootNotification":
        _register(session, answer.get("status"), answer.get("interval"))
    else:
        session.schedule()


def _register(session, status, interval):
    """Act upon a RegistrationStatus (7.39); what makes no sense counts as Rejected."""
    if type(interval) is not int or interval <= 0:
        interval = 0
    if status == "Accepted":
        if interval:
            session.configuration.set("HeartbeatInterval", str(interval))
        session.log("registered, heartbeat every %d s" % session.configuration.get("HeartbeatInterval"))
        session.pause = _FIRST_PAUSE
        session.accepted.set()
        for function in session.on_accepted:
            function()
        interval = None
    else:
        interval = min(interval or _BOOT_INTERVAL, _LONGEST_INTERVAL)
        session.accepted.clear()
        if status != "Pending":
            status = "Rejected"
            session.waiting.clear()
        session.log("registration %s, asking again in %d s" % (status, interval))
    session.status = status
    session.schedule(interval)
