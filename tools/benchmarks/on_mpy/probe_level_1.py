# mypy: ignore-errors
# ruff: noqa: E402, F401
"""Notes how deep the stack is while it is imported, and imports the next one: see probe_stack.py."""

import micropython

used = micropython.stack_use()
import probe_level_2
