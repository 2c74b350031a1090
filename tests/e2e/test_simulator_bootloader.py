"""The simulated bootloader chooses a slot, checks images and writes otadata as ESP-IDF's does."""

from __future__ import annotations

import hashlib
import io
import struct
from binascii import crc32
from pathlib import Path

import pytest

import build
from simulator import bootloader, image, manufacture, otadata, partitions
from simulator.flash import BEFORE, MIDDLE, Cells, Flash

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
UNDEFINED = 0xFFFFFFFF
IMAGE = build.made_image(2048)
SLOTS = (0x10000, 0x190000)
SLOT_SIZE = 0x180000
OTADATA = 0xD000

IMAGES = Path(__file__).resolve().parents[3] / "shared" / "images"
COMBINED = IMAGES / "ESP32_GENERIC-OTA-20250415-v1.25.0.bin"
STANDARD = IMAGES / "ESP32_GENERIC-20250911-v1.26.1.bin"
needs_real_images = pytest.mark.skipif(not IMAGES.exists(), reason="the real MicroPython images are not at hand")

Records = tuple[tuple[int, int] | None, tuple[int, int] | None]


class PowerFails(Exception):
    pass


class Device:
    """A flash and its bootloader. `records`: (sequence, state) of both otadata records."""

    def __init__(self, slot0: bytes = IMAGE, slot1: bytes = IMAGE, records: Records = (None, None)) -> None:
        self.content = io.BytesIO(manufacture.flash(slot0, {}))
        self.put(SLOTS[1], slot1)
        for index, record in enumerate(records):
            if record:
                sequence = struct.pack("<I", record[0])
                self.put(
                    OTADATA + 4096 * index,
                    sequence + b"\xff" * 20 + struct.pack("<II", record[1], crc32(sequence, UNDEFINED)),
                )
        self.lines: list[str] = []
        self.operations = 0

    def put(self, address: int, data: bytes) -> None:
        self.content.seek(address)
        self.content.write(data)

    def boot(self, cut: int = 0, how: int = 0) -> str:
        """Return the label of the slot that boots; the power fails at the operation `cut` if there is one."""

        def power_fails() -> None:
            raise PowerFails

        flash = Flash(self.content, io.BytesIO(struct.pack("<II", cut, how)), None, power_fails)
        try:
            return bootloader.boot(flash, self.lines.append)[4]
        finally:
            self.operations = flash.count

    @property
    def records(self) -> Records:
        first, second = (
            (record.sequence, record.state) if record.sequence != otadata.BLANK else None
            for record in otadata.read(Cells(self.content), OTADATA)
        )
        return first, second


@pytest.mark.parametrize(
    ("before", "slot", "after"),
    [
        pytest.param((None, None), "ota_0", ((1, VALID), None), id="the first boot ever writes a record"),
        pytest.param(((1, UNDEFINED), None), "ota_0", ((1, UNDEFINED), None), id="undefined boots"),
        pytest.param(((1, VALID), (2, VALID)), "ota_1", ((1, VALID), (2, VALID)), id="the highest sequence wins"),
        pytest.param(((3, VALID), (2, VALID)), "ota_0", ((3, VALID), (2, VALID)), id="in either sector"),
        pytest.param(((1, VALID), (2, NEW)), "ota_1", ((1, VALID), (2, PENDING)), id="new becomes pending"),
        pytest.param(((1, VALID), (2, PENDING)), "ota_0", ((1, VALID), (2, ABORTED)), id="pending is aborted"),
        pytest.param(((1, VALID), (2, ABORTED)), "ota_0", ((1, VALID), (2, ABORTED)), id="aborted does not boot"),
        pytest.param(((1, VALID), (2, INVALID)), "ota_0", ((1, VALID), (2, INVALID)), id="invalid does not boot"),
        pytest.param(((2, PENDING), None), "ota_0", ((2, ABORTED), None), id="the only record is aborted"),
        pytest.param(
            ((1, PENDING), (2, PENDING)), "ota_0", ((1, ABORTED), (2, ABORTED)), id="every pending is aborted"
        ),
        pytest.param(((1, NEW), (2, NEW)), "ota_1", ((1, NEW), (2, PENDING)), id="only the active new is pending"),
        pytest.param(((1, NEW), (2, PENDING)), "ota_0", ((1, PENDING), (2, ABORTED)), id="armed, then aborted"),
    ],
)
def test_otadata(before: Records, slot: str, after: Records) -> None:
    device = Device(records=before)
    assert device.boot() == slot
    assert device.records == after


def test_a_record_with_a_wrong_checksum_does_not_count() -> None:
    device = Device(records=((1, VALID), (2, VALID)))
    device.put(OTADATA + 4096 + 28, b"wrong")
    assert device.boot() == "ota_0"
    assert device.operations == 0


def test_without_a_sound_record_all_slots_are_tried_and_nothing_is_written() -> None:
    device = Device(slot0=b"", records=((1, VALID), (2, VALID)))
    for index in range(2):
        device.put(OTADATA + 4096 * index + 28, b"wrong")
    assert device.boot() == "ota_1"
    assert device.operations == 0


def test_a_broken_slot_falls_back_to_the_other_and_otadata_stay() -> None:
    broken = IMAGE[:300] + b"?" + IMAGE[301:]
    device = Device(slot1=broken, records=((1, VALID), (2, VALID)))
    assert device.boot() == "ota_0"
    assert device.records == ((1, VALID), (2, VALID))
    device = Device(slot0=broken, records=((1, VALID), None))
    assert device.boot() == "ota_1"
    assert device.records == ((1, VALID), None)


def test_a_broken_new_slot_is_pending_until_the_next_boot() -> None:
    device = Device(slot1=b"", records=((1, VALID), (2, NEW)))
    assert device.boot() == "ota_0"
    assert device.records == ((1, VALID), (2, PENDING))
    assert device.boot() == "ota_0"
    assert device.records == ((1, VALID), (2, ABORTED))


def test_two_broken_slots_are_a_brick() -> None:
    device = Device(slot0=b"", slot1=b"")
    with pytest.raises(bootloader.NotBootableError):
        device.boot()
    assert device.lines[-1] == "E boot: No bootable app partitions in the partition table"


def test_a_damaged_partition_table_is_a_brick() -> None:
    device = Device()
    device.put(0x8010, b"?")
    with pytest.raises(bootloader.NotBootableError):
        device.boot()


@pytest.mark.parametrize("records", [(None, None), ((1, VALID), (2, NEW)), ((1, VALID), (2, PENDING))])
@pytest.mark.parametrize("how", [BEFORE, MIDDLE])
def test_a_power_cut_in_the_bootloader_leaves_a_charger_that_boots(records: Records, how: int) -> None:
    undisturbed = Device(records=records)
    slot = undisturbed.boot()
    assert undisturbed.operations == 2
    for cut in range(1, undisturbed.operations + 1):
        device = Device(records=records)
        with pytest.raises(PowerFails):
            device.boot(cut, how)
        assert device.boot() in (slot, "ota_0")
        assert device.boot() == "ota_0"  # nobody confirmed anything
        assert device.boot() == "ota_0"


def sealed(data: bytes) -> bytes:
    """Return an image with the digest that belongs to its content."""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def changed(position: int, data: bytes) -> bytes:
    return sealed(IMAGE[:position] + data + IMAGE[position + len(data) :])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "invalid magic byte"),
        (b"<html>", "invalid magic byte"),
        (IMAGE[:777] + bytes([IMAGE[777] ^ 1]) + IMAGE[778:], "checksum failed"),
        (IMAGE[:-1] + b"?", "image hash failed"),
        (IMAGE[:5] + b"?" + IMAGE[6:], "image hash failed"),
        (changed(12, b"\x05\x00"), "mismatch chip ID"),
        (changed(15, b"\x90\x01"), "chip revisions"),
        (changed(17, b"\xc7\x00"), "chip revisions"),
        (changed(1, b"\x11"), "segment count"),
        (changed(28, b"\x03"), "invalid segment length"),
        (changed(28, b"\xff\xff\xff\xff"), "invalid segment length"),
        (changed(24, b"\x30"), "doesn't match"),
        (changed(len(IMAGE) - 33, b"?"), "checksum failed"),
    ],
)
def test_an_image_that_is_not_sound_is_refused(data: bytes, reason: str) -> None:
    device = Device(slot1=data)
    with pytest.raises(ValueError, match=reason):
        image.verify(Cells(device.content), SLOTS[1], SLOT_SIZE)


def test_an_image_larger_than_its_slot_is_refused() -> None:
    device = Device(slot1=IMAGE)
    flash = Cells(device.content)
    assert image.verify(flash, SLOTS[1], len(IMAGE)) == len(IMAGE)
    with pytest.raises(ValueError, match="doesn't fit"):
        image.verify(flash, SLOTS[1], len(IMAGE) - 1)


@needs_real_images
def test_a_real_image_boots_and_with_one_flipped_bit_does_not() -> None:
    real = build.app_image(COMBINED.read_bytes())
    assert Device(slot1=real, records=((1, VALID), (2, VALID))).boot() == "ota_1"
    flipped = real[:1_000_000] + bytes([real[1_000_000] ^ 0x10]) + real[1_000_001:]
    assert Device(slot1=flipped, records=((1, VALID), (2, VALID))).boot() == "ota_0"


@needs_real_images
def test_a_real_image_larger_than_the_slot_is_refused() -> None:
    real = build.app_image(STANDARD.read_bytes())
    assert len(real) > SLOT_SIZE
    device = Device(slot1=real)
    with pytest.raises(ValueError, match=r"segment length|doesn't fit"):
        image.verify(Cells(device.content), SLOTS[1], SLOT_SIZE)


@needs_real_images
def test_the_bootloader_refuses_a_combined_file_that_set_boot_accepts() -> None:
    device = Device(slot1=COMBINED.read_bytes(), records=((1, VALID), (2, NEW)))
    assert image.verify(Cells(device.content), SLOTS[1], SLOT_SIZE) > 0
    assert device.boot() == "ota_0"
    assert any("segment" in line and "invalid" in line for line in device.lines)


@needs_real_images
def test_our_partition_table_is_the_real_one() -> None:
    combined = COMBINED.read_bytes()
    table = manufacture.partition_table(manufacture.OTA_4MIB)
    assert combined[0x7000 : 0x7000 + len(table)] == table
    assert partitions.ADDRESS == 0x8000
