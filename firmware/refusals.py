"""Why an update file is refused, in words for the operator."""

_CHIPS = {0: "ESP32", 2: "ESP32-S2", 5: "ESP32-C3", 9: "ESP32-S3", 13: "ESP32-C6"}
_TEXTS = {
    "application": "the image carries no application: make the update file with tools/build.py",
    "behind": "there are bytes after the end of the bundle: build the file again",
    "chip": "built for %s, this charger has an %s",
    "damaged": "the %s is damaged (its SHA-256 differs): build or upload the file again",
    "descriptor": "no application descriptor: is it the combined file for flashing by USB?",
    "early": "the file ends too early: build or upload it again",
    "format": "no application bundle of format 2 behind the image: make the file with tools/build.py",
    "frozen": "no application is frozen into this image, as this charger needs it: make it with tools/build.py image",
    "image header": "damaged image header: build or upload the file again",
    "magic": "no ESP32 image (first byte 0x%02x, not 0xe9): is the location a web page?",
    "room": "damaged, or larger than the OTA slot of %d bytes",
    "version": "the version of the application is no printable ASCII: build the file again",
}


def text(reason, details=()):
    """Return the words for a reason."""
    if reason == "chip":
        details = tuple(_CHIPS.get(chip_id, "chip id %d" % chip_id) for chip_id in details)
    return _TEXTS[reason] % details
