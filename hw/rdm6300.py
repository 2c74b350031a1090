"""A reader of 125 kHz cards, RDM6300: several times a second it sends a frame with the card's number."""

from binascii import hexlify, unhexlify

from micropython import const

from .reader import Reader

_LENGTH = const(14)  # STX, 10 hex digits, 2 hex digits: XOR of the 5 bytes before, ETX
_STX = const(2)
_ETX = const(3)


class Rdm6300(Reader):
    """See Reader."""

    def __init__(self, uart):
        super().__init__(uart, _LENGTH)

    def take(self, byte):
        """Take one byte; return the tag, ten digits, if it ends a sound frame."""
        if byte == _STX:
            self.length = 0
        elif not self.length:
            return None  # something between two frames
        self.buffer[self.length] = byte
        self.length += 1
        if self.length < _LENGTH:
            return None
        self.length = 0
        if byte != _ETX:
            return None
        try:
            data = unhexlify(bytes(self.buffer[1:13]))
        except ValueError:
            return None
        check = 0
        for byte in data:
            check ^= byte
        return None if check else hexlify(data[:5]).decode().upper()
