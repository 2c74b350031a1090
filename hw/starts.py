"""How often in a row the application has come to a bad end soon after its start; loaded for moments.

The count is in memory that the chip keeps across resets: it wears no flash. A power cut is no bad end, and who switches
the charger off and on again gets a fresh start.
"""

import machine

_MARK = b"Arus"  # what else may stand there is not ours


def begin():
    """Count this start; return how many before it ended badly, none of them after settled()."""
    memory = machine.RTC().memory()
    crashes = 0
    if len(memory) == 5 and memory[:4] == _MARK and machine.reset_cause() != machine.PWRON_RESET:
        crashes = memory[4]
    machine.RTC().memory(_MARK + bytes((min(crashes + 1, 255),)))
    return crashes


def settled():
    """This start was a good one, or ends in good order."""
    machine.RTC().memory(b"")
