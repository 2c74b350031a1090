"""What an ESP32 without PSRAM has for the application."""

from __future__ import annotations

from benchmarks.row import Row

# Bytes of heap that stock MicroPython 1.25 has on one (seen on an emulated ESP32), by the TLS sessions that are open:
# Wi-Fi is connected, and nothing of the application is there.
FREE = (147_000, 116_000, 91_000)
LEAST = 16 * 1024  # for the largest message from the central system
# MicroPython's heap begins with 56 KiB, some of it for its own tables. When that is full it takes as much again from
# ESP-IDF's, all at once and for good: seen there, a second TLS session fails with ENOMEM then, whatever gc.mem_free()
# says.
FIRST = 54 * 1024


def left(name: str, sessions: int, used: float) -> list[Row]:
    """Return the row that says what is left there of what the application uses; below 0 it would not run."""
    rest = FREE[sessions] - used
    with_tls = ("without TLS", "with a TLS session", "with two TLS sessions")[sessions]
    flag = ""
    if rest < LEAST:
        flag = ", TOO LITTLE" if rest >= 0 else ", DOES NOT FIT"
    elif used > FIRST:
        flag = ", NO ROOM FOR THE SECOND" if sessions == 2 else ", no room for a second" if sessions == 1 else ""
    return [Row(f"{name}.left", f"  left on a stock ESP32 {with_tls}{flag}", rest, "B")]
