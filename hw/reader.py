"""A reader of 125 kHz cards, RDM6300: it says on a serial line, several times a second, which card is there.

What another reader has to have (hw/fitting.py makes them): poll().
"""

from binascii import hexlify, unhexlify

from micropython import const

_LENGTH = const(14)  # STX, 10 hex digits, 2 hex digits: XOR of the 5 bytes before, ETX
_STX = const(2)
_ETX = const(3)
_ABSENT = const(40)  # polls, 2 s: after that a card is a new one


class Reader:
    """The cards that come. uart: any(), readinto(buffer)."""

    def __init__(self, uart):
        self.uart = uart
        self.buffer = bytearray(_LENGTH)
        self.byte = bytearray(1)
        self.length = 0
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
        for _ in range(self.uart.any()):
            self.uart.readinto(self.byte)
            if self.take(self.byte[0]):
                tag = self.tag_of()
                if tag:
                    self.absent = 0
                    if tag != self.tag:
                        self.tag = found = tag
        return found

    def take(self, byte):
        """Take one byte; return whether it ends a frame."""
        if byte == _STX:
            self.length = 0
        elif not self.length:
            return False  # something between two frames
        self.buffer[self.length] = byte
        self.length += 1
        if self.length < _LENGTH:
            return False
        self.length = 0
        return byte == _ETX

    def tag_of(self):
        """Return the tag of the frame in the buffer, None if its checksum is wrong."""
        try:
            data = unhexlify(bytes(self.buffer[1:13]))
        except ValueError:
            return None
        check = 0
        for byte in data:
            check ^= byte
        return None if check else hexlify(data[:5]).decode().upper()
