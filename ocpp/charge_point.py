"""The charge point as the central system sees it: its connectors."""

from .timestamps import format_time


class ChargePoint:
    """The connectors' statuses, and a queue of the outbox with their notifications.

    connectors: how many, connector 0 (the charge point as a whole) not counted. clock.now() gives Unix seconds or None.
    The handlers in the profiles' modules find the other parts here: configuration, session, updater, reset(kind).
    """

    def __init__(self, connectors, outbox, clock):
        self.configuration = self.session = self.updater = self.reset = None
        self.connectors = range(connectors + 1)  # the connectorIds
        self._statuses = ["Available"] * (connectors + 1)
        self._changed = []  # connectors whose status the central system doesn't know
        self._head = None
        self._connector = 0  # whose notification it is
        self._refusals = 0
        self._outbox = outbox
        self._clock = clock
        outbox.add(self)

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
        self._refusals = 0
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
            self._connector = self._changed.pop(0)
            self._head = "StatusNotification", self.status_notification(self._connector)
        return self._head

    def pop(self, refused=False):
        """The StatusNotification that peek() gave was answered."""
        self._head = None
        # SteVe up to 3.14.1 may refuse one of the first, when several come in a row: it takes that one later.
        if refused and self._refusals < len(self._statuses):
            self._refusals += 1
            self._report(self._connector)
