"""A chip in its ROM loader, as far as esptool needs one: ESP32 with a flash of 4 MiB, at a TCP port.

The protocol is Espressif's ("Serial Protocol", esptool's documentation). The stub that esptool uploads is not run; what
it would answer is answered here.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from types import TracebackType

SECTOR = 4096
END, ESCAPE = 0xC0, 0xDB
MAGIC_REGISTER = 0x40001000
MAGICS = {"esp32": 0x00F01D83, "esp32s2": 0x000007C6}
SPI_W0 = 0x3FF42080
MAC_REGISTERS = {0x3FF5A004: 0x0AC40A24, 0x3FF5A008: 0x3C71}
READ_REGISTER, SYNC, CHANGE_BAUD = 0x0A, 0x08, 0x0F
MEM_END = 0x06
DEFLATE_BEGIN, DEFLATE_DATA = 0x10, 0x11
MD5, SECURITY_INFO, READ_FLASH = 0x13, 0x14, 0xD2


class RomLoader:
    """Answers at `port` while it is entered. flash: its content. writes: (address, length) of what was written."""

    def __init__(self, flash: bytes = b"", *, chip: str = "esp32", flash_size: int = 4 << 20) -> None:
        self.flash = bytearray(flash.ljust(flash_size, b"\xff"))
        self.magic = MAGICS[chip]
        self.writes: list[tuple[int, int]] = []
        self.blocks_to_failure = -1  # so many blocks are written, and then no more; -1: all
        self._stub = False
        self._flash_id = (flash_size.bit_length() - 1) << 16 | 0x40C8
        self._address = 0
        self._inflate = zlib.decompressobj()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> RomLoader:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self._answer(connection, _frames(connection))
                except ConnectionError:
                    continue

    def _answer(self, connection: socket.socket, frames: Iterator[bytes]) -> None:
        for frame in frames:
            if len(frame) < 8 or frame[0] != 0:
                continue
            command, data = frame[1], frame[8:]
            value, result = self._execute(command, data)
            for _ in range(8 if command == SYNC else 1):
                _send(connection, struct.pack("<BBHI", 1, command, len(result), value) + result)
            if command == MEM_END:
                self._stub = True
                _send(connection, b"OHAI")
            elif command == READ_FLASH:
                self._read(connection, frames, *struct.unpack_from("<II", data))

    def _execute(self, command: int, data: bytes) -> tuple[int, bytes]:
        """Return the value and the result of a command; the result ends with its status."""
        good, bad = bytes(2), b"\x01\x06"
        if command == SYNC:
            return 0 if self._stub else 0x20120707, good
        if command == SECURITY_INFO:  # ESP32 has no such command
            return 0, b"\x01\x05"
        if command == READ_REGISTER:
            registers = {MAGIC_REGISTER: self.magic, SPI_W0: self._flash_id, **MAC_REGISTERS}
            return registers.get(struct.unpack("<I", data)[0], 0), good
        if command == MD5:
            address, length = struct.unpack_from("<II", data)
            return 0, hashlib.md5(self.flash[address : address + length]).digest() + good
        if command == DEFLATE_BEGIN:
            length, _, _, self._address = struct.unpack_from("<IIII", data)
            self._inflate = zlib.decompressobj()
            self._erase(self._address, length)
            self.writes.append((self._address, length))
        elif command == DEFLATE_DATA:
            if self.blocks_to_failure == 0:
                return 0, bad
            self.blocks_to_failure -= 1
            content = self._inflate.decompress(data[16:])
            self.flash[self._address : self._address + len(content)] = content
            self._address += len(content)
        return 0, good

    def _erase(self, address: int, length: int) -> None:
        first, end = address // SECTOR * SECTOR, -(-(address + length) // SECTOR) * SECTOR
        self.flash[first:end] = b"\xff" * (end - first)

    def _read(self, connection: socket.socket, frames: Iterator[bytes], address: int, length: int) -> None:
        content = bytes(self.flash[address : address + length])
        for position in range(0, length, SECTOR):
            _send(connection, content[position : position + SECTOR])
            next(frames)  # its acknowledgement
        _send(connection, hashlib.md5(content).digest())


def _frames(connection: socket.socket) -> Iterator[bytes]:
    """Yield what comes, taken out of its SLIP frames."""
    waiting = b""
    while True:
        received = connection.recv(65536)
        if not received:
            return
        *whole, waiting = (waiting + received).split(bytes([END]))
        for frame in whole:
            if frame:
                yield frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")


def _send(connection: socket.socket, content: bytes) -> None:
    connection.sendall(b"\xc0" + content.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0")
