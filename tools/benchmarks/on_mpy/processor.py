# mypy: ignore-errors
"""The time that the processor has spent on this process: other processes don't show in it."""

import ffi

# In us; two values may be subtracted for half an hour. (The C library's clock_t has 32 bits on the 32-bit port.)
used = ffi.open(None).func("l", "clock", "")
