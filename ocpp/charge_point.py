"""The charge point: what of its connectors, transactions and timers has to be at hand at any time.

All the rest is in modules that are imported for one event and dropped again: heap is the scarcest thing a charger has.
"""

import asyncio
import sys

from micropython import const

from .rpc import until

_MOST_CHANGED = const(16)  # StatusNotifications that wait to be sent
_LONGEST_WAIT = const(3600)  # seconds
_SHIFT = const(5)  # seconds by which the clock may be corrected without that anything is computed anew


class Connector:
    """A connector; number 0 stands for the charge point as a whole.

    outlet: of hw/evse.py, None where there is no EVSE. operative: see ChangeAvailability. tag, parent: idTag and
    parentIdTag that are authorized and wait for a car. finished: the car that is plugged in has been charged, or nobody
    has identified in time. ending: (Reason, idTag) of a transaction that ends when the contactor has opened.
    reservation: [reservationId, idTag, parentIdTag, expiry] or None. limit: amps by the charging profiles, None: any.
    profiles: its TxProfiles. suspended: energy is withheld from the transaction. news: (status, error, info) as it is,
    told: as it was reported last.
    """

    def __init__(self, number, outlet):
        self.number = number
        self.outlet = outlet
        self.status = "Available"
        self.error = "NoError"
        self.operative = True
        self.info = self.transaction = self.tag = self.parent = self.ending = self.reservation = self.limit = None
        self.plugged = self.finished = self.suspended = False
        self.told = self.profiles = None
        self.news = self.status, self.error, None


class Transaction:
    """A running transaction.

    number: of its StartTransaction. id: transactionId, None until it is known. start: Wh. began: uptime in seconds.
    drew: whether the car has drawn anything. samples: how many MeterValues there were, of which one in `every` is kept.
    """

    def __init__(self, number, tag, parent, start, began):
        self.number, self.tag, self.parent, self.start, self.began = number, tag, parent, start, began
        self.id = None
        self.drew = False
        self.samples = 0
        self.every = 1


class ChargePoint:
    """The connectors, the timers, and a queue of the outbox with what the central system has to be told.

    outlets: of connectors 1, 2, …; None where there is no EVSE. clock.now() gives Unix seconds or None, clock.uptime()
    seconds since the start. forget() drops the modules that call() has imported. The modules of the profiles find the
    other parts here: configuration, session, updater, store, files, reset(kind), cause (of the last reset, in words).
    """

    def __init__(self, outlets, outbox, clock, log=print, forget=lambda: None):
        self.configuration = self.session = self.updater = self.reset = self.store = self.files = self.cause = None
        self.log = log
        self.forget = forget
        self.outbox = outbox
        self.clock = clock
        self.connectors = [Connector(0, None)]
        for outlet in outlets:
            self.connectors.append(Connector(len(self.connectors), outlet))
        self.unsent = 0  # messages of transactions that the central system has not answered
        self.changed = []  # (connector, status, error, info, Unix seconds) of StatusNotifications to be sent
        self.held = False  # for an update
        self.free = asyncio.Event()  # a transaction has ended
        self.refusals = 0
        self._head = None
        self._shift = 0  # seconds from the uptime to Unix time, when it was looked at last
        self._timers = []  # [uptime, module, function, arguments]
        self._news = asyncio.Event()
        outbox.add(self)

    # ---- events

    def call(self, module, function, *arguments):
        """Call a function of one of the modules that are in memory only meanwhile."""
        name = "ocpp." + module
        try:
            __import__(name)
            return getattr(sys.modules[name], function)(self, *arguments)
        finally:
            self.forget()

    def after(self, seconds, module, function, *arguments):
        """Call that function in so many seconds; the same with the same arguments takes the place of an earlier one."""
        self.cancel(module, function, *arguments)
        self._timers.append([self.clock.uptime() + seconds, module, function, arguments])
        self._news.set()

    def cancel(self, module, function, *arguments):
        """Forget what after() was asked for."""
        self._timers = [timer for timer in self._timers if tuple(timer[1:]) != (module, function, arguments)]

    async def run(self):
        """Call for ever what after() was asked for."""
        while True:
            wait = self.fire()
            if wait:
                await until(self._news, wait * 1000)
            else:
                await asyncio.sleep_ms(0)  # the EVSE's turn

    def fire(self):
        """Make the call that is due longest, and return 0; if there is none the seconds until the next one may be."""
        wait = _LONGEST_WAIT
        due = None
        for timer in self._timers:
            left = timer[0] - self.clock.uptime()
            if left < wait:
                wait, due = left, timer
        if due is None or wait > 0:
            return wait
        self._timers.remove(due)
        self.event(due[1], due[2], *due[3])
        return 0

    def event(self, module, function, *arguments):
        """call() for what nobody waits for: whatever fails is logged, and the charger goes on.

        For want of memory nothing gets lost: it is tried again.
        """
        try:
            self.call(module, function, *arguments)
        except MemoryError as error:
            self.log("%s.%s is tried again: %s" % (module, function, error))
            self.after(1, module, function, *arguments)
        except Exception as error:
            self.log("%s.%s failed" % (module, function))
            self.log(error)

    def on_change(self, number):
        """An outlet has something new: the car's state, the contactor, a fault. It is looked at in run()."""
        self.after(0, "connectors", "changed", number)

    def card(self, tag):
        """A card was presented. It is looked at in run()."""
        self.after(0, "identification", "card", tag)

    def spawn(self, coroutine):
        """Run a coroutine as a task."""
        # The event loop keeps it, and no longer than it runs: its modules are in memory as long as somebody has it.
        asyncio.create_task(self._guard(coroutine))  # noqa: RUF006

    async def _guard(self, coroutine):
        try:
            await coroutine
        except Exception as error:
            self.log(error)

    # ---- for an update

    @property
    def charging(self):
        """Whether a transaction runs."""
        return any(connector.transaction for connector in self.connectors)

    async def until_free(self):
        """Wait until no transaction runs."""
        while self.charging:
            self.free.clear()
            await self.free.wait()

    async def stop_charging(self, reason):
        """End every transaction, for a Reason (7.36): on return no contactor is closed, StopTransaction is on flash.

        Cars have a few seconds to stop drawing, so that no contactor opens under load.
        """
        for connector in self.connectors:
            if connector.transaction:
                self.after(0, "charging", "stop", connector, reason)
        await self.until_free()

    def hold(self):
        """Take the connectors out of service for an update, each as soon as it is free; a reset puts them back, too."""
        self.held = True
        self.call("connectors", "clear")

    def release(self):
        """Put the connectors back into service."""
        self.held = False
        self.call("connectors", "refresh_all")

    # ---- what the central system has to be told

    def report(self, number):
        """Send a StatusNotification of a connector as it is now."""
        connector = self.connectors[number]
        connector.told = connector.status, connector.error, connector.info
        if len(self.changed) >= _MOST_CHANGED:
            self.changed.pop(0)
        self.changed.append((number,) + connector.told + (self.clock.now(),))
        self.outbox.wake()

    def report_all(self):
        """Report every connector, as is due after each acceptance (4.2)."""
        self.refusals = 0
        self.changed.clear()
        for connector in self.connectors:
            self.report(connector.number)
        now = self.clock.now()
        shift = now and now - self.clock.uptime()
        if shift and abs(shift - self._shift) > _SHIFT:
            self._shift = shift
            self.after(0, "smart_charging", "apply")
            self.after(0, "metering", "resume")

    def peek(self):
        """Return the message that is to be sent next, the same until pop(); None if there is none."""
        if self._head is None:
            if self.changed:
                self._head = "StatusNotification", self.call("connector_status", "notification", self.changed.pop(0))
            elif self.unsent:
                return self.call("transaction_messages", "peek")
        return self._head

    def pop(self, answer):
        """The message that peek() gave was answered; answer: None for a CALLERROR."""
        if self._head is None:
            self.call("transaction_messages", "pop", answer)
            return
        number = self._head[1]["connectorId"]
        self._head = None
        # SteVe up to 3.14.1 may refuse one of the first, when several come in a row: it takes that one later.
        if answer is None and self.refusals < len(self.connectors):
            self.refusals += 1
            self.report(number)
