"""What surrounds the updater on its test bench: flash, records, a server, a clock, a central system."""

import asyncio
import errno

BLOCK = 8192  # smaller than the chip's, as is everything here


class PowerCut(BaseException):
    """The power is gone: nothing of the firmware may run any more."""


class Flash:
    """An OTA slot of NOR flash: programs only what was erased, and loses power at the operation `cut_at`."""

    index = 1

    def __init__(self, capacity=32 * 1024):
        self.capacity = capacity
        self.pieces = {}  # 2 KiB each: those erased since the older firmware was written
        self.older = capacity  # bytes that the older firmware takes; what follows is blank
        self.has_blocks = True  # a write from nowhere erases 64 KiB
        self.erased = []  # positions and sizes
        self._last = None
        self.operations = 0
        self.cut_at = None
        self.boots = False
        self.refusal = None  # set_boot raises it

    def _operation(self):
        self.operations += 1
        if self.operations == self.cut_at:
            raise PowerCut

    def erase(self, position, size=4096):
        self._operation()
        self.erased.append((position, size))
        for piece in range(position, position + size, 2048):
            self.pieces[piece] = None

    def erase_block(self, position):
        if position % BLOCK or position + BLOCK > self.capacity:
            return 0
        if self.has_blocks:
            self.erase(position, BLOCK)
        return BLOCK

    def write(self, position, data):
        self._operation()
        if self.pieces.get(position, data if position < self.older else None) is not None:
            raise OSError(errno.EIO, "programming flash that was not erased")
        if data != self._last:
            self._last = bytearray(data)
        self.pieces[position] = self._last  # pieces that are all the same take the memory of one

    def read(self, position, buffer):
        start = position % 2048
        piece = self.pieces.get(position - start, b"\x5a" * 2048 if position < self.older else None)
        buffer[:] = (piece or b"\xff" * 2048)[start : start + len(buffer)]

    def holds(self, data):
        """Whether `data` stands at the start of the slot."""
        return all(self.pieces[i][: len(data) - i] == data[i : i + 2048] for i in range(0, len(data), 2048))

    def set_boot(self):
        self._operation()
        if self.refusal:
            raise self.refusal
        self.boots = True


class Running:
    index = 0


class Slots:
    """hw.slots.Slots as far as the updater and the trial know it."""

    def __init__(self, flash=None):
        self.flash = flash or Flash()
        self.running = Running()
        self.chip_id = 0
        self.frozen = False
        self.on_trial = False
        self.confirmed = False
        self.record_lost = False

    def has_record(self, index):
        return not self.record_lost

    def unconfirmed(self):
        return self.on_trial

    def confirm(self):
        self.on_trial = False
        self.confirmed = True

    def begin(self):
        return self.flash


class Store:
    """Records that survive a reset."""

    def __init__(self):
        self.records = {}

    def get(self, key):
        return self.records.get(key)

    def set(self, key, value):
        self.records[key] = value


class Server:
    """A web server with one file; `cuts` are the lengths after which its next connections break."""

    def __init__(self, data, validator='"1"', length=True):
        self.data = data
        self.validator = validator
        self.length = len(data) if length else None
        self.flip = None  # where a bit is wrong on the way
        self.cuts = []
        self.refusals = []  # errors that the next connections meet
        self.requests = []  # offsets asked for

    async def open_source(self, location, offset=0, validator=None, expected_length=None):
        self.requests.append(offset)
        if self.refusals:
            raise self.refusals.pop(0)
        return Source(self, offset if validator == self.validator else 0, self.cuts.pop(0) if self.cuts else None)


class Source:
    def __init__(self, server, offset, cut):
        self.offset = offset
        self.length = server.length
        self.validator = server.validator
        self._data = server.data
        self._flip = server.flip
        self._position = offset
        self._end = len(server.data) if cut is None else min(offset + cut, len(server.data))

    async def readinto(self, view):
        count = min(len(view), self._end - self._position, 1440)
        if not count and self._end < len(self._data):
            raise OSError(errno.ECONNRESET, "connection reset")
        view[:count] = memoryview(self._data)[self._position : self._position + count]
        if self._flip is not None and 0 <= self._flip - self._position < count:
            view[self._flip - self._position] ^= 1
        self._position += count
        return count

    def close(self):
        pass


class Station:
    """Its connectors; `charging` while a transaction runs."""

    held = charging = False

    def __init__(self):
        self.free = asyncio.Event()

    def hold(self):
        self.held = True

    def release(self):
        self.held = False

    async def stop_charging(self, reason):
        self.end_charging()

    def end_charging(self):
        self.charging = False
        self.free.set()

    async def until_free(self):
        if self.charging:
            await self.free.wait()


class Clock:
    def __init__(self, now=1_800_000_000):
        self.time = now

    def now(self):
        return self.time
