"""The charge point as the central system sees it: its connectors, and who answers which call."""

from .rpc import CallError
from .timestamps import format_time

# Calls of OCPP 1.6 and of its security extension that a charge point may get, whether it has handlers for them or not.
_STANDARD = (
    "CancelReservation CertificateSigned ChangeAvailability ClearCache ClearChargingProfile DataTransfer "
    "DeleteCertificate ExtendedTriggerMessage GetCompositeSchedule GetDiagnostics GetInstalledCertificateIds "
    "GetLocalListVersion GetLog InstallCertificate RemoteStartTransaction RemoteStopTransaction ReserveNow "
    "SendLocalList SetChargingProfile SignedUpdateFirmware UnlockConnector"
)


class ChargePoint:
    """The connectors' statuses, a queue of the outbox, and the table of handlers.

    connectors: how many, connector 0 (the charge point as a whole) not counted. clock.now() gives Unix seconds or None.
    handlers: {action: (fields, function)}; the profiles' register() put theirs in. fields as check() takes them;
    function(payload) returns the answer, or (answer, what to do once it was sent), or raises CallError.
    """

    def __init__(self, connectors, outbox, clock):
        self.handlers = {}
        self.connectors = range(connectors + 1)  # the connectorIds
        self._statuses = ["Available"] * (connectors + 1)
        self._changed = []  # connectors whose status the central system doesn't know
        self._head = None
        self._outbox = outbox
        self._clock = clock
        outbox.add(self)

    def dispatch(self, action, payload):
        """Answer a call of the central system: return (answer, function or None), or raise CallError."""
        if action not in self.handlers:
            known = action in _STANDARD.split()
            raise CallError("NotSupported" if known else "NotImplemented", "no handler for %r" % action[:50])
        fields, function = self.handlers[action]
        check(payload, fields)
        answer = function(payload)
        return answer if isinstance(answer, tuple) else (answer, None)

    def status_notification(self, connector):
        """Return the payload of StatusNotification.req for a connector."""
        payload = {"connectorId": connector, "errorCode": "NoError", "status": self._statuses[connector]}
        now = self._clock.now()
        if now is not None:
            payload["timestamp"] = format_time(now)
        return payload

    def set_status(self, connector, status):
        """Give a connector a ChargePointStatus (7.7) and report it if it is a new one."""
        if self._statuses[connector] != status:
            self._statuses[connector] = status
            self._report(connector)

    def _report(self, connector):
        if connector not in self._changed:
            self._changed.append(connector)
        self._outbox.wake()

    def report_all(self):
        """Report every connector, as is due after each acceptance (4.2)."""
        for connector in self.connectors:
            self._report(connector)

    def hold(self):
        """Take all connectors out of service while a firmware is being installed; a reset puts them back, too."""
        for connector in self.connectors:
            self.set_status(connector, "Unavailable")

    def release(self):
        """Put the connectors back into service."""
        for connector in self.connectors:
            self.set_status(connector, "Available")

    def peek(self):
        """Return the StatusNotification that is to be sent next, the same until pop(); None if there is none."""
        if self._head is None and self._changed:
            self._head = "StatusNotification", self.status_notification(self._changed.pop(0))
        return self._head

    def pop(self):
        """The StatusNotification that peek() gave was answered."""
        self._head = None


def check(payload, fields):
    """Raise the CallError due for a payload that doesn't match.

    fields: {name: (type, limit, required)}. The limit is for str the greatest length or the allowed values, for int the
    greatest value (the lowest is 0), for list (type, limit) of its items.
    """
    for name, (kind, limit, required) in fields.items():
        if name in payload:
            _check_value(name, payload[name], kind, limit)
        elif required:
            raise CallError("OccurenceConstraintViolation", name + " is missing")  # spelled so in the standard
    for name in payload:
        if name not in fields:
            raise CallError("FormationViolation", "no such field: %r" % str(name)[:50])


def _check_value(name, value, kind, limit):
    if type(value) is not kind:
        raise CallError("TypeConstraintViolation", name + " has the wrong type")
    if kind is list:
        for item in value:
            _check_value(name, item, *limit)
        return
    if isinstance(limit, tuple):
        fits = value in limit
    else:
        fits = 0 <= (len(value) if kind is str else value) <= limit
    if not fits:
        raise CallError("PropertyConstraintViolation", name + " is out of bounds")
