"""What is frozen into an image: read by MicroPython's tools/manifestfile.py, which brings include() and freeze().

Two files of one name can not be frozen: makemanifest.py compiles both to one .mpy, of which the first stays, and links
it twice. MicroPython's own modules/ has a _boot.py and, only for that, inisetup.py and flashbdev.py. So nothing of that
folder is taken: modules/ here has the _boot.py that a charger needs.
"""

import shutil
from pathlib import Path

include("$(MPY_DIR)/extmod/asyncio")  # noqa: F821
freeze("modules", opt=2)  # noqa: F821

# Frozen, a line number costs no memory, and a traceback is worth more with one (opt=2 keeps them, opt=3 does not).
for package in ("firmware", "hw", "ocpp"):
    modules = sorted(f"{package}/{path.name}" for path in Path("../..", package).glob("*.py"))
    # firmware/archive.py travels in the header of bundles (tools/build.py): a frozen charger has none.
    freeze("../..", [name for name in modules if name != "firmware/archive.py"], opt=2)  # noqa: F821

# modules/main.py is what MicroPython runs; the repository's, which it runs in turn, needs another name.
Path("../../.cache/board").mkdir(parents=True, exist_ok=True)
shutil.copy2("../../main.py", "../../.cache/board/application.py")
freeze("../../.cache/board", "application.py", opt=2)  # noqa: F821
