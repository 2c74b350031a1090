import asyncio
import gc
import sys
import unittest

KEY = "12345678"
DAY = 24 * 3600 * 1000
SECOND = asyncio.sleep_ms


class Time:
    """The time of the tests: it passes while somebody sleeps."""

    now = 0


def sleep_ms(ms):
    Time.now += ms
    return SECOND(0)


class Driver:
    """The driver of ESP-IDF as network.WLAN shows it, with reconnects=0; all attributes are there to be set.

    reason: why connecting fails, None: it does not. delay: ms that it takes. no_address: DHCP has none to give.
    """

    PM_NONE = 0

    def __init__(self):
        self.reason = None
        self.delay = 2500
        self.no_address = False
        self.last = 0  # the reason that is remembered
        self.since = None  # of an attempt
        self.joined = self.is_active = False
        self.calls = []  # the last few
        self.restarts = 0
        self.settings = {}
        self.refusal = None

    def active(self, on):
        self.calls.append(("active", on, network.name))
        self.is_active = on
        self.restarts += not on
        if not on:
            self.joined, self.since = False, None

    def config(self, **settings):
        assert self.is_active
        self.settings.update(settings)

    def connect(self, ssid, key):
        if self.refusal:
            raise self.refusal
        if self.since is not None or self.joined:
            raise OSError("Wifi Internal Error")
        self.calls = self.calls[-3:] + [("connect", ssid, key)]
        self.since = Time.now

    def disconnect(self):
        if self.since is not None or self.joined:
            self.last = 8
        self.joined, self.since = False, None

    def lose(self, reason):
        self.joined, self.last = False, reason

    def _go_on(self):
        if self.since is not None and Time.now - self.since >= self.delay and not self.no_address:
            self.since = None
            self.joined = not self.reason
            self.last = self.reason or 0

    def isconnected(self):
        self._go_on()
        return self.joined

    def status(self, what=None):
        self._go_on()
        if what:
            if not self.joined and not self.no_address:
                raise OSError("Wifi Not Connected")
            return -61
        if self.joined:
            return 1010
        if self.last in (201, 202, 210, 211):
            return self.last
        if self.last == 8:
            return 1000
        return 1001 if self.since is not None else self.last or 1000

    def ifconfig(self):
        return "192.168.1.7", "255.255.255.0", "192.168.1.1", "192.168.1.1"


class Network:
    """The module network."""

    STA_IF = 0

    def __init__(self):
        self.driver = Driver()
        self.name = "mpy-esp32"
        self.WLAN = Station

    def hostname(self, name):
        assert 0 < len(name) <= 32
        self.name = name


class Station:
    PM_NONE = 0

    def __new__(cls, interface):
        return network.driver


network = Network()
sys.modules["network"] = network

from hw import joining  # noqa: E402
from hw.wifi import Wifi  # noqa: E402


class Charger:
    """A charger's Wi-Fi at work, and what it logs."""

    def __init__(self, key=KEY, hostname="CP1"):
        network.__init__()
        Time.now = 0
        self.driver = network.driver
        self.lines = []
        self.wifi = Wifi("depot", key, self.lines.append, hostname)

    async def __aenter__(self):
        asyncio.sleep_ms = sleep_ms
        self.task = asyncio.create_task(self.wifi.run())
        return self

    async def __aexit__(self, *_):
        asyncio.sleep_ms = SECOND
        self.task.cancel()

    async def until(self, condition):
        while not condition():
            await SECOND(0)

    async def pass_by(self, ms):
        end = Time.now + ms
        await self.until(lambda: Time.now >= end)

    async def logged(self, start):
        """Wait for a line."""
        await self.until(lambda: self.lines and self.lines[-1].startswith(start))


def run(coroutine):
    asyncio.new_event_loop()
    return asyncio.run(asyncio.wait_for(coroutine, 20))


CONNECTED = "Connected, address 192.168.1.7, signal -61 dBm"


class Test(unittest.TestCase):
    def test_it_connects(self):
        async def main():
            async with Charger() as charger:
                await charger.wifi.connected()
                await charger.logged("Connected")
                self.assertEqual(charger.lines, ["Connecting to depot", CONNECTED])
                self.assertEqual(charger.driver.calls, [("active", True, "CP1"), ("connect", "depot", KEY)])
                self.assertEqual(charger.driver.settings, {"reconnects": 0, "pm": 0})

        run(main())

    def test_an_open_network_takes_no_key(self):
        async def main():
            for key in (None, ""):
                async with Charger(key=key) as charger:
                    await charger.wifi.connected()
                    self.assertEqual(charger.driver.calls[-1], ("connect", "depot", None))

        run(main())

    def test_each_reason_is_told_with_what_to_do(self):
        unfit = 'its security does not fit: with a "key" in /config.json it has to be WPA2 or WPA3, without one open'
        lines = {
            201: "No network depot in reach: check its name and the distance (ESP32 has 2.4 GHz only)",
            202: 'depot refuses the key: check "key" in /config.json',
            204: 'depot refuses the key: check "key" in /config.json',
            15: 'depot refuses the key: check "key" in /config.json',
            5: "No connection to depot: it is full (status 5)",
            200: "No connection to depot: its signal is lost, or too weak (status 200)",
            203: "No connection to depot: it does not take this charger: is it full, or only for certain MAC addresses?"
            " (status 203)",
            210: "No connection to depot: %s (status 210)" % unfit,
            211: "No connection to depot: %s (status 211)" % unfit,
            39: "No connection to depot: the driver gives no reason but this (status 39)",
        }

        async def main():
            for reason, line in lines.items():
                async with Charger() as charger:
                    charger.driver.reason = reason
                    await charger.until(lambda: len(charger.lines) > 1)
                    self.assertEqual(charger.lines, ["Connecting to depot", line])
                    self.assertTrue(Time.now < 30000)
                    charger.driver.reason = None
                    await charger.logged("Connected")

        run(main())

    def test_a_network_without_addresses_is_told(self):
        async def main():
            async with Charger() as charger:
                charger.driver.no_address = True
                await charger.logged("No")
                why = "No connection to depot: it gives no address, check its DHCP server (status 1000)"
                self.assertEqual(charger.lines[-1], why)
            async with Charger() as charger:
                charger.driver.delay = DAY
                await charger.logged("No")
                self.assertEqual(charger.lines[-1], "No connection to depot: no answer in time (status 1000)")

        run(main())

    def test_one_failure_is_none(self):
        async def main():
            for reason in (202, 2):
                async with Charger() as charger:
                    charger.driver.reason = reason
                    await charger.until(lambda: charger.driver.last)
                    charger.driver.reason = None
                    await charger.logged("Connected")
                    self.assertEqual(charger.lines, ["Connecting to depot", CONNECTED])

        run(main())

    def test_an_access_point_may_be_away_for_a_day(self):
        async def main():
            async with Charger() as charger:
                charger.driver.reason = 201
                await charger.pass_by(DAY)
                self.assertTrue(len(charger.lines) < 16)
                charger.driver.reason = None
                back = Time.now
                await charger.logged("Connected")
                self.assertTrue(Time.now - back < 60000)
                self.assertTrue(charger.driver.restarts)

        run(main())

    def test_a_lost_connection_is_told_once_and_made_again(self):
        async def main():
            async with Charger() as charger:
                await charger.logged("Connected")
                await charger.pass_by(100000)
                charger.driver.lose(200)
                await charger.until(lambda: len(charger.lines) > 3)
                self.assertEqual(charger.lines[3:], ["Connecting to depot"])
                told, _, seconds = charger.lines[2].rpartition(" after ")
                self.assertEqual(told, "Connection to depot lost")
                self.assertTrue(100 <= int(seconds[:-2]) <= 102)
                await charger.logged("Connected")
                self.assertEqual(charger.lines[4].split(", after ")[0], CONNECTED)
                self.assertEqual(charger.driver.calls[-2:], [("connect", "depot", KEY)] * 2)

        run(main())

    def test_the_session_may_ask_for_a_new_connection(self):
        async def main():
            async with Charger() as charger:
                await charger.logged("Connected")
                charger.wifi.renew()
                await charger.wifi.connected()
                self.assertEqual(charger.lines[2].rpartition(" after ")[0], "Connection to depot given up")
                self.assertEqual(charger.driver.calls[-2:], [("connect", "depot", KEY)] * 2)
                await charger.pass_by(60000)
                self.assertEqual(len(charger.lines), 5)

        run(main())

    def test_a_driver_that_refuses_is_asked_again(self):
        async def main():
            for refusal in (OSError("WiFi Out of Memory"), RuntimeError("Wifi Unknown Error 0x0102")):
                async with Charger() as charger:
                    charger.driver.refusal = refusal
                    await charger.logged("No")
                    self.assertEqual(charger.lines[-1], "No connection to depot: %s" % refusal)
                    charger.driver.refusal = None
                    await charger.logged("Connected")

        run(main())

    def test_it_takes_no_memory_while_it_is_connected(self):
        async def main():
            async with Charger() as charger:
                await charger.logged("Connected")
                charger.driver.isconnected = lambda: True
                turns = 0
                for _ in range(10):
                    await SECOND(0)
                gc.collect()
                before = gc.mem_alloc()
                while turns < 200:
                    turns += 1
                    await SECOND(0)
                return gc.mem_alloc() - before

        self.assertEqual(run(main()), 0)

    def test_a_host_name_is_fit_for_dns(self):
        for text, name in (
            ("CP1", "CP1"),
            ("NL*ICU*E1234", "NL-ICU-E1234"),
            ("-a_b. c-", "a-b--c"),
            ("Gar\u00e4ge", "Gar-ge"),
            ("x" * 40, "x" * 32),
            ("x" * 31 + "-y", "x" * 31),
            ("***", "charger"),
            ("", "charger"),
        ):
            self.assertEqual(joining.fit(text), name)


if __name__ == "__main__":
    unittest.main()
