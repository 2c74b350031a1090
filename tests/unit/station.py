"""A whole charge point (ocpp/) with what surrounds it scripted: outlets, clock, records, files, the central system."""

import asyncio
import sys

from ocpp.calls import answer
from ocpp.charge_point import ChargePoint
from ocpp.configuration import Configuration
from scripted import Store

NOON = 1787313600  # 2026-08-21T12:00:00Z
MODULES = (
    "authorization calls charging charging_profiles connector_status connectors core data_transfer diagnostics "
    "firmware_management id_tags identification keys local_auth_list metering remote_trigger reservation "
    "schedules smart_charging timestamps transaction_messages transaction_record transactions"
)


class Clock:
    """The time that the test says: seconds is Unix time or None, passed the seconds since the start."""

    def __init__(self, seconds=NOON):
        self.seconds = seconds
        self.passed = 0

    def now(self):
        return self.seconds

    def uptime(self):
        return self.passed

    def set(self, seconds):
        self.seconds = seconds


class Files:
    """hw/files.py in memory."""

    def __init__(self):
        self.contents = {}
        self.writes = 0
        self.full = False

    def lines(self, name):
        for line in self.contents.get(name, "").split("\n"):
            if line:
                yield line

    def read(self, name):
        text = self.contents.get(name)
        return None if text is None else text.encode()

    def write(self, name, pieces):
        text = "".join(pieces) if name != "reserve" else "it only takes room"
        if self.full:
            raise OSError(28, "no space")
        self.writes += 1
        self.contents[name] = text

    def remove(self, name):
        self.contents.pop(name, None)

    def names(self):
        return list(self.contents)


class Outlet:
    """hw/evse.py's, moved by the test: state, error, info, energy; closed follows as with a willing car."""

    maximum = 16
    voltage = 230
    phases = 1

    def __init__(self):
        self.state, self.error, self.info = "A", "NoError", None
        self.permitted = 0
        self.closed = False
        self.energy = 0
        self.kept = 0
        self.lock = None
        self.shown = None
        self.on_change = None

    def permit(self, amps):
        self.permitted = amps if amps >= 6 else 0
        self._settle()

    def cut(self):
        self.permitted = 0
        self.closed = False

    def _settle(self):
        self.closed = self.permitted > 0 and self.state == "C" and self.error == "NoError"

    def values(self):
        power = self.permitted * self.voltage if self.closed else 0
        return {
            "Energy.Active.Import.Register": self.energy,
            "Power.Active.Import": power,
            "Current.Import": power / self.voltage,
            "Voltage": self.voltage,
        }

    def keep(self):
        self.kept = self.energy

    def unlock(self):
        return self.lock

    def clear(self):
        pass

    def show(self, status):
        self.shown = status

    def becomes(self, state=None, error=None, info=None):
        """The car's state or the error is new; the charge point is told."""
        self.state = state or self.state
        if error:
            self.error, self.info = error, info
        self._settle()
        self.on_change()


class Session:
    """The central system answers from `answers`: action -> payload, a function of the payload, or an exception."""

    def __init__(self, answers):
        self.registered = True
        self.takes_requests = True
        self.answers = answers
        self.calls = []
        self.requests = []
        self.boot_payload = {"chargePointVendor": "Arus", "chargePointModel": "Unit"}

    async def call(self, action, payload):
        await asyncio.sleep_ms(0)
        if not self.registered:
            raise OSError(107, "not registered")
        self.calls.append((action, payload))
        return self.answer(action, payload)

    def answer(self, action, payload):
        result = self.answers.get(action, {})
        if isinstance(result, BaseException):
            raise result
        return result(payload) if callable(result) else result

    def request(self, action, payloads):
        self.requests += [(action, payload) for payload in payloads]

    def schedule(self, seconds=None):
        pass


class Outbox:
    def add(self, queue):
        self.queue = queue

    def wake(self):
        pass


class Updater:
    status = "Idle"


class Station:
    """The charge point and its surroundings. reset() builds it anew on the same records, files and meters."""

    def __init__(self, connectors=1, **keys):
        self.connectors = connectors
        self.keys = dict(keys, NumberOfConnectors=max(connectors, 1))
        self.store, self.files, self.clock = Store(), Files(), Clock()
        self.log = []
        self.energies = [0] * connectors
        accepted = {"idTagInfo": {"status": "Accepted"}}
        self.answers = {
            "Authorize": accepted,
            "StartTransaction": lambda payload: dict(accepted, transactionId=self._number()),
        }
        self.numbers = 0
        self.outlets = None
        self.reset()

    def _number(self):
        self.numbers += 1
        return self.numbers

    def reset(self, clock=True):
        """A reset; clock: whether the time is known after it."""
        asyncio.new_event_loop()
        if self.outlets:
            self.energies = [outlet.energy for outlet in self.outlets]
            self.clock.passed = 0
            if not clock:
                self.clock.seconds = None
        self.outlets = [Outlet() for _ in range(self.connectors)]
        point = self.point = ChargePoint(self.outlets, Outbox(), self.clock, self.log.append, forget)
        for i, outlet in enumerate(self.outlets):
            outlet.energy = self.energies[i]
            outlet.on_change = lambda number=i + 1: (point.on_change(number), self.settle())
        point.store, point.files = self.store, self.files
        point.configuration = Configuration(self.store, self.keys, self.log.append)
        point.session = self.session = Session(self.answers)
        point.updater = Updater()
        self.resets = []
        point.reset = self.resets.append
        point.call("connectors", "resume")

    def call(self, action, **payload):
        """Call the charge point; return its answer. What is to be done after it was sent is done."""
        result, after = answer(self.point, action, payload)
        if after:
            after()
        self.settle()
        return result

    def settle(self):
        """Have everything done that is due."""
        while not self.point.fire():
            pass

    def run(self, turns=20):
        """Let the tasks run that the charge point has spawned, and what is due."""

        async def main():
            for _ in range(turns):
                self.settle()
                await asyncio.sleep_ms(0)

        asyncio.get_event_loop().run_until_complete(main())

    def card(self, tag):
        """A card is presented, and the central system answers if it is asked."""
        self.point.card(tag)
        self.run()

    def advance(self, seconds, power=0):
        """Let time pass in steps of one second; power: W drawn at each outlet that is closed."""
        for _ in range(seconds):
            self.clock.passed += 1
            if self.clock.seconds is not None:
                self.clock.seconds += 1
            for outlet in self.outlets:
                outlet.drawn = getattr(outlet, "drawn", 0) + (power if outlet.closed else 0)
                outlet.energy += outlet.drawn // 3600
                outlet.drawn %= 3600
            self.settle()

    def deliver(self, most=1000):
        """Deliver what the charge point has to say; return it as [(action, payload)]."""
        told = []
        while len(told) < most:
            head = self.point.peek()
            if not head:
                return told
            assert self.point.peek() == head, "a message has to stay the same until it is answered"
            told.append(head)
            try:
                result = self.session.answer(*head)
            except Exception as error:
                if type(error).__name__ != "CallError":
                    raise
                result = None
            self.point.pop(result)
            self.settle()
        return told

    def statuses(self):
        """Deliver everything; return what was told of statuses, as "1 Charging"."""
        return [
            "%d %s" % (payload["connectorId"], payload["status"])
            for action, payload in self.deliver()
            if action == "StatusNotification"
        ]

    def charge(self, number=1, tag="TAG"):
        """Plug in and present a card; return the connector, which is Charging."""
        self.outlets[number - 1].becomes("B")
        self.card(tag)
        self.outlets[number - 1].becomes("C")
        connector = self.point.connectors[number]
        assert connector.status == "Charging", connector.status
        return connector


def forget():
    """Drop the modules that are needed now and then, as main.py does."""
    for name in MODULES.split():
        if name in ("calls", "keys"):
            continue
        if sys.modules.pop("ocpp." + name, None):
            package = sys.modules["ocpp"]
            if hasattr(package, name):
                delattr(package, name)
