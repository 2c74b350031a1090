"""The status LED of the charger as a whole: one colour, so that its rhythm has to tell. Those of connectors: led.py."""

import asyncio

# On for each bit that is set, the lowest first. Who counts flashes is told what is missing.
PATTERNS = {
    "registered": 0xFF,  # steady
    "no_wifi": 0x01,  # one flash, then a pause
    "no_csms": 0x05,  # two flashes
    "safe_mode": 0x15,  # three flashes
    "update": 0x55,  # fast
}


async def run(pin, look, turn_ms=200):
    """Show the charger's state for ever. pin: 1 is on. look() returns the name of a pattern; any other: off."""
    try:
        while True:
            pattern = PATTERNS.get(look(), 0)
            for bit in range(8):
                pin.value(pattern >> bit & 1)
                await asyncio.sleep_ms(turn_ms)
    finally:
        pin.value(0)
