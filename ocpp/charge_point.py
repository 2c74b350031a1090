"""The charge point as the central system sees it: its connectors."""

import asyncio

from micropython import const

_NOTE = const(300)  # seconds between the times noted for a transaction that power may end
_RUNNING = ("Preparing", "Charging")  # the statuses with a transaction


class ChargePoint:
    """The connectors' statuses, and a queue of the outbox with their notifications and the transactions' messages.

    connectors: how many, connector 0 (the charge point as a whole) not counted. clock.now() gives Unix seconds or None.
    The handlers in the profiles' modules find the other parts here: configuration, session, updater, reset(kind), log,
    store, forget(module name), contactor(connector, closed). Of transactions it has only what has to be at hand at any
    time; transactions.py does the rest, and is in memory only while it does.
    """

    def __init__(self, connectors, outbox, clock):
        self.configuration = self.session = self.updater = self.reset = None
        self.log = self.store = self.forget = self.contactor = None
        self.clock = clock
        self.connectors = range(connectors + 1)  # the connectorIds
        self.unsent = 0  # messages of transactions that the central system has not answered
        self.statuses = ["Available"] * (connectors + 1)
        self.changed = []  # connectors whose status the central system doesn't know
        self._head = None
        self.connector = None  # whose notification it is; None: it is a transaction's message
        self.refusals = 0
        self._held = False
        self._ended = asyncio.Event()  # of a transaction
        self._task = None
        self.outbox = outbox
        outbox.add(self)

    def status_notification(self, connector):
        """Return the payload of StatusNotification.req for a connector."""
        payload = {"connectorId": connector, "errorCode": "NoError", "status": self.statuses[connector]}
        now = self.clock.now()
        if now is not None:
            from .timestamps import format_time

            payload["timestamp"] = format_time(now)
            self.forget("ocpp.timestamps")  # type: ignore[misc]
        return payload

    def status(self, connector):
        """Return the ChargePointStatus of a connector."""
        return self.statuses[connector]

    def set_status(self, connector, status):
        """Give a connector a ChargePointStatus (7.7) and report it if it is a new one.

        While the connectors are held one that gets free is Unavailable at once.
        """
        if self._held and status in ("Available", "Finishing"):
            status = "Unavailable"
        if self.statuses[connector] == status:
            return
        self.statuses[connector] = status
        self.report(connector)
        if self.charging:
            if not self._task:
                self._task = asyncio.create_task(self._keep())
        elif self._task:
            self._task.cancel()
            self._task = None
            self._ended.set()
            if self._held:
                self.set_status(0, "Unavailable")

    def report(self, connector):
        if connector not in self.changed:
            self.changed.append(connector)
        self.outbox.wake()

    def report_all(self):
        """Report every connector, as is due after each acceptance (4.2)."""
        self.refusals = 0
        for connector in self.connectors:
            self.report(connector)

    def hold(self):
        """Take the connectors out of service for an update, each as soon as it is free; a reset puts them back, too."""
        self._held = True
        for connector in self.connectors:
            if not (self.status(connector) in _RUNNING if connector else self.charging):
                self.set_status(connector, "Unavailable")

    def release(self):
        """Put the connectors back into service."""
        self._held = False
        for connector in self.connectors:
            if self.status(connector) not in _RUNNING:
                self.set_status(connector, "Available")

    @property
    def charging(self):
        """Whether a transaction runs."""
        return any(status in self.statuses for status in _RUNNING)

    async def until_free(self):
        """Wait until no transaction runs."""
        while self.charging:
            self._ended.clear()
            await self._ended.wait()

    async def stop_charging(self, reason):
        """End every transaction, for a Reason (7.36): on return no contactor is closed, StopTransaction is on flash."""
        self.transactions("stop_all", reason)

    async def _keep(self):
        """While a transaction runs, note the time now and then: it would end with that if power failed."""
        while True:
            await asyncio.sleep(_NOTE)
            self.transactions("note")

    def transactions(self, function, *arguments):
        """Call a function of transactions.py."""
        try:
            from . import transactions

            return getattr(transactions, function)(self, *arguments)
        finally:
            self.forget("ocpp.transactions", "ocpp.timestamps")  # type: ignore[misc]

    def peek(self):
        """Return the message that is to be sent next, the same until pop(); None if there is none."""
        if self._head is None:
            if self.changed:
                self.connector = self.changed.pop(0)
                self._head = "StatusNotification", self.status_notification(self.connector)
            elif self.unsent:
                self.connector = None
                self._head = self.transactions("peek")
        return self._head

    def pop(self, answer):
        """The message that peek() gave was answered; answer: None for a CALLERROR."""
        if self.connector is None:
            self.transactions("pop", answer)
        # SteVe up to 3.14.1 may refuse one of the first, when several come in a row: it takes that one later.
        elif answer is None and self.refusals < len(self.statuses):
            self.refusals += 1
            self.report(self.connector)
        self._head = None
