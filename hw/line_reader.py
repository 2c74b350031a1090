"""A reader of cards or QR codes that sends the idTag as a line of text."""

from micropython import const

from .reader import Reader

_LONGEST = const(20)  # characters of an idTag, CiString20Type
_NONE = const(21)  # the length of a line that is no idTag


class LineReader(Reader):
    """See Reader. A line is 1 to 20 printable ASCII characters, ended by CR or LF; others are dropped whole."""

    def __init__(self, uart):
        super().__init__(uart, _LONGEST)
        self.length = _NONE  # it may be in the middle of a line just now

    def take(self, byte):
        """Take one byte; return the tag if it ends one."""
        length = self.length
        if byte == 13 or byte == 10:
            self.length = 0
            return self.buffer[:length].decode() if 0 < length < _NONE else None
        if length >= _LONGEST or not 32 <= byte < 127:
            self.length = _NONE
        else:
            self.buffer[length] = byte
            self.length = length + 1
        return None
