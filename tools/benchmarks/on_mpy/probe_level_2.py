# mypy: ignore-errors
"""Notes how deep the stack is while it is imported: see probe_stack.py."""

import micropython

used = micropython.stack_use()
