"""The prompt on the serial console, as MicroPython's pyexec.c has it: the friendly one, the raw one, raw paste mode.

It comes into memory when no program runs. There is no editing of lines but backspace, no history, no completion.
"""

import sys

import micropython
from machine import clock, soc
from state import INTERRUPTS, RAW

_CTRL_A, _CTRL_B, _CTRL_C, _CTRL_D, _CTRL_E = 1, 2, 3, 4, 5
_ENTER, _BACKSPACE, _ESCAPE, _DELETE = 13, 8, 27, 127
_WINDOW = 128  # bytes that may come in raw paste mode before the next _WINDOW_FREE
_WINDOW_FREE = b"\1"
_BLOCKS = ("@", "if ", "while ", "for ", "try:", "with ", "def ", "class ", "async ")

_page, _soft_reset, _report = soc.page, soc.soft_reset, soc.report
_write = sys.stdout.write
_byte = bytearray(1)


def run(namespace):
    """Read and execute, in `namespace`, until a soft reset."""
    while True:
        if _page[RAW[0]]:
            _raw(namespace)
        else:
            _friendly(namespace)


def _key():
    """Wait for a byte."""
    try:
        while not sys.stdin.buffer.readinto(_byte):
            clock.sleep(3600)  # the desk has closed its end
        return _byte[0]
    except KeyboardInterrupt:  # it was meant for a program that has just ended
        return _CTRL_C


def _execute(source, kind, namespace, end=""):
    """Execute what was typed; print `end` after its output and after its error."""
    try:
        micropython.kbd_intr(3)
        _page[INTERRUPTS[0]] = 1
        try:
            exec(compile(bytes(source), "<stdin>", kind), namespace)
        finally:
            _page[INTERRUPTS[0]] = 0
        _write(end)
    except SystemExit:
        _write(end + end)
        _soft_reset()
    except BaseException as error:
        _write(end)
        _report(error)
    _write(end)


# ------------------------------------------------------------------------------------------------------------------ raw


def _raw(namespace):
    """Be the raw REPL: nothing is echoed, Ctrl-D executes."""
    _write("raw REPL; CTRL-B to exit\r\n>")
    source = bytearray()
    while True:
        key = _key()
        if key == _CTRL_B:
            _write("\r\n")
            _page[RAW[0]] = 0
            return
        if key == _CTRL_D:
            _write("OK")
            if not source:
                _write("\r\n")
                _soft_reset()
            _execute(source, "exec", namespace, "\4")
        elif key == _CTRL_A and len(source) == 2 and source[0] == _CTRL_E:
            if source[1:] == b"A":
                _paste(namespace)
            else:
                _write("R\0")
        elif key == _CTRL_A:
            _write("raw REPL; CTRL-B to exit\r\n")
        elif key == _CTRL_C:
            source = bytearray()
            continue
        else:
            source.append(key)
            continue
        source = bytearray()
        _write(">")


def _paste(namespace):
    """Execute what comes in windows."""
    _write(bytes((82, 1, _WINDOW, 0)) + _WINDOW_FREE)
    source = bytearray()
    left = _WINDOW
    while True:
        key = _key()
        if key in (_CTRL_C, _CTRL_D):
            break
        source.append(key)
        left -= 1
        if not left:
            _write(_WINDOW_FREE)
            left = _WINDOW
    _write("\4")
    if key == _CTRL_C:
        source = b"raise KeyboardInterrupt"
    _execute(source, "exec", namespace, "\4")


# ------------------------------------------------------------------------------------------------------------- friendly


def _friendly(namespace):
    """Be the prompt for people."""
    _write(sys.version.split("; ")[1] + "; " + soc.MACHINE + "\r\n")
    _write('Type "help()" for more information.\r\n')
    while True:
        kind = "single"
        source = bytearray()
        key = _line(">>> ", source)
        while key == _ENTER and _goes_on(source):
            source.append(10)
            key = _line("... ", source)
        if key == _CTRL_E and not source:
            _write("\r\npaste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== ")
            key = _pasted(source)
            kind = "exec"
        if key == _CTRL_C:
            _write("\r\n")
        elif source:
            _execute(source, kind, namespace)
        elif key != _ENTER:
            _write("\r\n")
            if key == _CTRL_D:
                _soft_reset()
            _page[RAW[0]] = key == _CTRL_A
            return


def _line(prompt, source):
    """Append a line to `source`; return the key that ended it."""
    _write(prompt)
    start = len(source)
    while True:
        key = _key()
        if key == _ENTER:
            _write("\r\n")
            return key
        if key == _CTRL_C or (_CTRL_A <= key <= _CTRL_E and len(source) == start):
            return key
        if key in (_BACKSPACE, _DELETE):
            if len(source) > start:
                source[:] = source[:-1]
                _write("\b\x1b[K")
        elif key == _ESCAPE:
            if _key() == 91:  # [ and what belongs to it, such as an arrow key
                while _key() < 64:
                    pass
        elif key >= 32 or key == 9:
            source.append(key)
            _write(bytes((key,)))


def _pasted(source):
    """Append everything up to Ctrl-D to `source`; return the key that ended it."""
    while True:
        key = _key()
        if key in (_CTRL_C, _CTRL_D):
            if key == _CTRL_D:
                _write("\r\n")
            return key
        source.append(key)
        _write("\r\n=== " if key == _ENTER else bytes((key,)))


def _goes_on(source):
    """Return whether more lines have to come before this can be executed."""
    try:
        text = bytes(source).decode()
    except UnicodeError:
        return False  # esptool, perhaps; the compiler says what it thinks of it
    opened = 0
    quote = ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            opened += 1
        elif character in ")]}":
            opened -= 1
    if opened > 0 or text[-1:] == "\\" or (text.count('"""') | text.count("'''")) & 1:
        return True
    return text.startswith(_BLOCKS) and text[-1:] != "\n"
