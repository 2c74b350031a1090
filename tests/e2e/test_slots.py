"""hw/slots.py on the simulated chip: the guards that keep a charger from ever losing its last good firmware."""

from __future__ import annotations

from pathlib import Path

from simulator.interpreter import Interpreter
from slots import NEW, VALID, Flash, Outcome, switch_on, with_modules

PROGRAM = """
from hw.slots import Slots
slots = Slots()
def attempt(action):
    try:
        return action()
    except OSError as error:
        print(error.args[1])
"""


async def run(folder: Path, interpreter: Interpreter, program: str, slots: int = 2, **flash: object) -> Outcome:
    """Run a program in an application that has hw/slots.py, in as many slots."""
    content = with_modules(f"{PROGRAM}{program}\nprint('END')\n", "hw/slots.py", "hw/otadata.py")
    return await switch_on(folder, interpreter, Flash((content,) * slots, **flash), heap=None)  # type: ignore[arg-type]


async def test_an_update_goes_into_the_other_slot(tmp_path: Path, interpreter: Interpreter) -> None:
    program = "target = slots.begin()\nprint(slots.running.label, target.label, target.capacity, slots.chip_id)"
    outcome = await run(tmp_path, interpreter, program)
    assert outcome.lines[1] == "ota_0 ota_1 1572864 0"


async def test_what_is_written_is_read_back(tmp_path: Path, interpreter: Interpreter) -> None:
    outcome = await run(
        tmp_path,
        interpreter,
        """
slot = slots.begin()
piece = bytes(i & 255 for i in range(2048))
slot.erase(8192)
slot.write(8192 + 2048, piece)
back = bytearray(2048)
slot.read(8192 + 2048, back)
blank = bytearray(2048)
slot.read(8192, blank)
print(back == piece, blank == b'\\xff' * 2048)
""",
    )
    assert outcome.lines[1] == "True True"


async def test_set_boot_puts_the_new_firmware_on_trial_not_the_running_one(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    program = "slots.begin().set_boot()\nprint(slots.unconfirmed())"
    outcome = await run(tmp_path, interpreter, program)
    assert outcome.lines[1] == "False"
    assert outcome.states == ["VALID", "NEW"]


async def test_set_boot_refuses_what_is_no_image(tmp_path: Path, interpreter: Interpreter) -> None:
    outcome = await run(tmp_path, interpreter, "attempt(slots.begin().set_boot)", slots=1)
    assert outcome.lines[1] == "ESP_ERR_OTA_VALIDATE_FAILED"
    assert outcome.states == ["VALID", "UNDEFINED"]


async def test_a_firmware_on_trial_is_confirmed(tmp_path: Path, interpreter: Interpreter) -> None:
    program = "print(slots.unconfirmed())\nslots.confirm()\nprint(slots.unconfirmed())"
    outcome = await run(tmp_path, interpreter, program, records=((0, VALID), (1, NEW)))
    assert outcome.lines[1:3] == ["True", "False"]
    assert outcome.states == ["VALID", "VALID"]


async def test_only_a_firmware_on_trial_can_be_confirmed(tmp_path: Path, interpreter: Interpreter) -> None:
    outcome = await run(tmp_path, interpreter, "attempt(slots.confirm)", records=((0, VALID),))
    assert outcome.lines[1] == "the running firmware could not be confirmed"


async def test_a_pre_approved_update_is_not_possible(tmp_path: Path, interpreter: Interpreter) -> None:
    """Between set_boot and reset the active record is the new firmware's: ESP-IDF would mark that one valid."""
    program = "slots.begin().set_boot()\nattempt(slots.confirm)"
    outcome = await run(tmp_path, interpreter, program, records=((0, VALID),))
    assert outcome.states == ["VALID", "NEW"]


async def test_no_update_begins_while_the_running_firmware_is_on_trial(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    """It would go into the slot of the only firmware that is known to be good."""
    outcome = await run(tmp_path, interpreter, "attempt(slots.begin)", records=((0, VALID), (1, NEW)))
    assert outcome.lines[1].startswith("the running firmware is still on trial")


async def test_a_broken_slot_is_not_made_valid_after_the_bootloader_fell_back(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    """The records still name the broken slot; ESP-IDF would mark that one valid."""
    outcome = await run(tmp_path, interpreter, "attempt(slots.confirm)", slots=1, records=((0, VALID), (1, NEW)))
    assert outcome.boots == [("ota_0", "power on")]
    assert outcome.lines[1] == "the running firmware could not be confirmed"
    assert "VALID" not in outcome.states[1:]


async def test_an_update_after_the_bootloader_fell_back_puts_the_records_right_first(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    from_records = "from esp32 import Partition\nprint(Partition(Partition.BOOT).info()[4])\n"
    program = f"{from_records}print(slots.begin().label)\n{from_records}"
    outcome = await run(tmp_path, interpreter, program, slots=1, records=((0, VALID), (1, NEW)))
    assert outcome.lines[1:4] == ["ota_1", "ota_1", "ota_0"]
    assert sorted(outcome.states)[-1] == "VALID"


async def test_with_one_ota_slot_there_is_no_update(tmp_path: Path, interpreter: Interpreter) -> None:
    table = tuple(row for row in Flash().table if row[0] != "ota_1")
    outcome = await run(tmp_path, interpreter, "attempt(slots.begin)", slots=1, table=table)
    assert outcome.lines[1].startswith("the flash has one OTA slot only")
