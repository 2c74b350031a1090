"""The serial link to a board: mpremote's, without its pauses."""

from __future__ import annotations

import time
from collections.abc import Callable

from mpremote.transport_serial import SerialTransport

SILENCE = 10  # seconds that the board may take for a piece of work without a word


class Link(SerialTransport):  # type: ignore[misc]
    """mpremote's transport, without the 10 ms that it sleeps whenever it waits for an answer: there are hundreds."""

    def read_until(
        self,
        min_num_bytes: int,
        ending: bytes,
        timeout: float | None = SILENCE,
        data_consumer: Callable[[bytes], None] | None = None,
        timeout_overall: float | None = None,
    ) -> bytes:
        """As SerialTransport.read_until, which mpremote's other functions use. timeout: s between two bytes."""
        data = b""
        last = time.monotonic()
        while not data.endswith(ending) and time.monotonic() < last + (timeout or SILENCE):
            if self.serial.in_waiting:
                data += self.serial.read(1)
                last = time.monotonic()
            else:
                time.sleep(0.0005)
        return data
