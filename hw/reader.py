"""Readers on a serial line, which say again and again which card there is: hw/rdm6300.py and hw/line_reader.py.

What any reader has to have (hw/fitting.py makes them): poll().
"""

from micropython import const

_ABSENT = const(40)  # polls, 2 s: after that a card is a new one


class Reader:
    """The cards that come. uart: any(), readinto(buffer). length: bytes of a frame, at most."""

    def __init__(self, uart, length):
        self.uart = uart
        self.buffer = bytearray(length)
        self.byte = bytearray(1)
        self.length = 0  # of what has come of a frame
        self.tag = None  # of the card that is there, or was there a moment ago
        self.absent = 0

    def poll(self):
        """Return the idTag of a card that was just presented, or None; to be called each 50 ms.

        A card that stays counts once. What arrives damaged is passed over.
        """
        if self.tag:
            self.absent += 1
            if self.absent > _ABSENT:
                self.tag = None
        found = None
        count = self.uart.any()
        if not count:
            self.length = 0  # nobody pauses that long within a frame
        for _ in range(count):
            self.uart.readinto(self.byte)
            tag = self.take(self.byte[0])
            if tag:
                self.absent = 0
                if tag != self.tag:
                    self.tag = found = tag
        return found

    def take(self, byte):
        """Take one byte; return the tag if it ends a frame that has one. Each kind of reader has its own."""
