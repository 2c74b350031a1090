"""Opening an update file, by the protocol of its location and as what it is packed in; and uploads.

In memory only while it does.

parts: those of Updater, and dial of hw/connection.py's Dialer; identity() that gives what a package is compared with:
product, hardware and key (package.py); open_log() (upload.py's open_file), log_upload(text), updater.
"""

import gc

from .errors import ImageError

_STARTING = "Starting firmware download from: "


async def source(parts, location, **options):
    """Return the Source of a file; options as for http.open."""
    from . import sources

    address = sources.parse_url(location)
    del sources
    parts.forget("firmware.sources")
    scheme, _, _, host, port, _ = address
    options["timeout"] = timeout = 1000 * parts.get("FirmwareDownloadTimeout")
    options["log"] = parts.log
    if scheme == "ftp":
        from . import ftp as protocol

        parts.log(_STARTING + protocol.name_of(address))
    else:
        from . import urls

        parts.log(_STARTING + urls.name_of(address))
        # Before http.py is loaded: opening TLS takes as much of the heap.
        options["connection"] = await parts.dial(host, port, scheme == "https", timeout=timeout)
        from . import http as protocol  # type: ignore[no-redef]
    try:
        return await protocol.open(address, parts.dial, **options)
    finally:
        parts.forget("firmware.ftp", "firmware.http", "firmware.lines", "firmware.redirect", "firmware.sources")
        parts.forget("firmware.urls")


async def package(parts, header):
    """Return what the journal keeps of a package, None for a plain file (no header). ImageError: not for us."""
    if not header:
        if parts.get("RequireSignedFirmware"):
            raise ImageError("it is not signed, and RequireSignedFirmware is on: send a signed package")
        return None
    charger = parts.identity()
    charger.chip_id, charger.floor = parts.slots.chip_id, parts.journal.get("floor", 0)
    from . import package

    parts.forget("firmware.package")
    return await package.check(header, charger, parts.slots.running, parts.forget)


async def frames(parts, source, base):
    """Return what decodes the frames of a package."""
    from . import frames

    parts.forget("firmware.frames")
    gc.collect()  # it takes 2 KB in one piece, and as much again for each frame
    return frames.Frames(source, parts.slots.running, base)


def upload(parts, *request):
    """Return the coroutine that uploads the log: upload.run(*request, …)."""
    from . import upload

    parts.forget("firmware.upload", "firmware.lines", "firmware.urls", "firmware.source")

    def busy():
        return parts.updater.status not in ("Idle", "DownloadScheduled")

    timeout = 1000 * parts.get("FirmwareDownloadTimeout")
    request += parts.open_log, parts.dial, busy, parts.forget
    return upload.run(*request, timeout=timeout, log=parts.log_upload)
