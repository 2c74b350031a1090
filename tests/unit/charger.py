"""An updater with all that surrounds it."""

import asyncio
import gc
import sys

import bench
import update_files
from firmware.journal import Journal
from firmware.update import Updater

FILE = update_files.update_file()
URL = "http://operator:secret@host/fw.bin?a=1"


class Reset(BaseException):
    """The charger resets: what ran before is gone."""


class Parts:
    """What the updater works with; plain files only."""

    def __init__(self, charger):
        self.slots, self.journal, self.clock, self.station = (
            charger.slots,
            charger.journal,
            charger.clock,
            charger.station,
        )
        self.open_source = charger.server.open_source
        self.reset, self.log, self.sleep = charger.restart, charger.log.append, charger.sleep
        self.get = lambda key: charger.policy
        self.told = []  # by progress()

    async def open_package(self, header):
        pass

    def progress(self, status, percent):
        self.told.append((status, percent))

    def forget(self, *names):
        """Drop modules, as main.py does."""
        for name in names:
            if name in sys.modules:
                package, _, module = name.rpartition(".")
                sys.modules[name] = None
                del sys.modules[name]
                setattr(sys.modules[package], module, None)
                delattr(sys.modules[package], module)


class Charger:
    """An Updater with all that surrounds it. reset() builds it anew on the same flash and records."""

    def __init__(self, data=None, **server):
        self.slots = bench.Slots()
        self.store = bench.Store()
        self.server = bench.Server(data or FILE, **server)
        self.clock = bench.Clock()
        self.told = []  # statuses that the central system has got
        self.online = True
        self.policy = "stop"  # UpdateWhileCharging
        self.log = []
        self.slept = []
        self.reset()

    def reset(self):
        asyncio.new_event_loop()  # forgets the tasks of before
        gc.collect()
        self.station = bench.Station()
        self.journal = Journal(self.store, lambda: None)
        self.updater = Updater(Parts(self))

    async def restart(self):
        self.log.append("RESET")
        raise Reset

    async def sleep(self, seconds):
        self.slept.append(seconds)
        if self.clock.time is not None:
            self.clock.time += seconds
        await asyncio.sleep(0)

    async def _central_system(self):
        while True:
            if self.online and self.journal.peek():
                self.told.append(self.journal.peek())
                self.journal.pop()
            await asyncio.sleep(0)

    def run(self, until=None):
        """Run until nothing is left to do, the charger resets, or until() is true."""

        async def main():
            central_system = asyncio.create_task(self._central_system())
            updater = asyncio.create_task(self.updater.run())
            while (self.journal.busy or self.journal.peek()) and not (until and until()):
                if updater.done():
                    await updater
                await asyncio.sleep(0)
            for task in (updater, central_system):
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass

        try:
            asyncio.run(main())
        except (Reset, bench.PowerCut):
            return False
        return True

    def update(self, retries=None, interval=None, date=None, until=None):
        self.updater.request(URL, date, retries, interval)
        return self.run(until)
