"""Where the firmware has floats, which are single on an ESP32: whole numbers above 2^24 are not exact in them.

places() finds by reading a source whatever may make a float. instrumented() returns a source whose floats are rounded
as an ESP32 rounds them while it runs, and which tells, in lines that begin with MARK, where a whole number that single
precision has not meets a float or becomes one. What an interpreter written in C makes of floats inside of one function
(asyncio.sleep, "%.1f") it does not see: that is for places().
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

MARK = "@float"
PROBE_NAME = "single_precision_probe"
FORMAT = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[eEfFgG]")
MAKERS = {"float", "complex", "round", "pow"}
MODULES = {"math", "cmath", "random"}
OPERATORS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}

# What instrumented sources use; it runs on MicroPython.
PROBE = f'''
import json
import struct

_EXACT = 1 << 24
_OPERATIONS = {{
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "/": lambda a, b: a / b, "//": lambda a, b: a // b, "%": lambda a, b: a % b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}}
_told = set()

def single(value):
    """The number that an ESP32 has for it."""
    return struct.unpack("f", struct.pack("f", value))[0] if type(value) is float else value

def _becomes_float(where, number):
    if type(number) is int and not -_EXACT <= number <= _EXACT and (where, number) not in _told:
        _told.add((where, number))
        print("{MARK}", where, "makes a float of", number)

def operate(where, name, first, second):
    """Do it as an ESP32 does."""
    if type(first) is float or name == "/":
        _becomes_float(where, second)
    if type(second) is float or name == "/":
        _becomes_float(where, first)
    return single(_OPERATIONS[name](first, second))

def loads(text):
    return _converted(json.loads(text), single)

def load(file):
    return _converted(json.load(file), single)

def dumps(value, **options):
    return json.dumps(_converted(value, _shown), **options)

def _shown(value):
    """What comes of the digits that an ESP32 writes."""
    return float("%.7g" % value) if type(value) is float else value

def _converted(value, function):
    if type(value) in (list, tuple):
        return [_converted(item, function) for item in value]
    if type(value) is dict:
        return {{key: _converted(item, function) for key, item in value.items()}}
    return function(value)
'''


def places(source: str) -> Iterator[str]:
    """Yield the expressions of a source that may make a float, as text."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.BinOp(op=ast.Div() | ast.Pow()) | ast.AugAssign(op=ast.Div() | ast.Pow()):
                yield ast.unparse(node)
            case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str() as text)) if FORMAT.search(text):
                yield ast.unparse(node)
            case ast.Constant(value=float()) | ast.Name(id="float"):
                yield ast.unparse(node)
            case ast.Call(func=ast.Name(id=name)) if name in MAKERS:
                yield ast.unparse(node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="json"), attr="load" | "loads")):
                yield ast.unparse(node)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr="time")):
                yield ast.unparse(node)
            case ast.Import(names=names) if MODULES & {alias.name for alias in names}:
                yield ast.unparse(node)
            case ast.ImportFrom(module="time", names=names) if any(alias.name == "time" for alias in names):
                yield ast.unparse(node)
            case ast.ImportFrom(module=str() as name) if name in MODULES:
                yield ast.unparse(node)


def instrumented(source: str, name: str) -> str:
    """Return a source that does the same in single precision, and tells of what that has no room for."""
    tree = _Instrumentation(name).visit(ast.parse(source))
    # Behind the docstring, which MicroPython needs as little as these.
    tree.body.insert(0, ast.Import([ast.alias(PROBE_NAME)]))
    return ast.unparse(ast.fix_missing_locations(tree))


class _Instrumentation(ast.NodeTransformer):
    """Replaces the operations by calls of the probe."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _call(self, function: str, node: ast.AST, *arguments: ast.expr) -> ast.Call:
        where = ast.Constant(f"{self._name}:{getattr(node, 'lineno', 0)}")
        return ast.Call(_probe(function), [where, *arguments], [])

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node.func:
            case ast.Name(id="const"):
                return node  # the compiler's
            case ast.Attribute(value=ast.Name(id="json"), attr="load" | "loads" | "dumps" as function):
                node.func = _probe(function)
        return self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        operator = OPERATORS.get(type(node.op))
        if not operator or _is_text(node.left):
            return node
        return self._call("operate", node, ast.Constant(operator), node.left, node.right)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        operator = OPERATORS.get(type(node.op))
        if not operator or not isinstance(node.target, ast.Name):
            return node
        target = ast.Name(node.target.id, ast.Load())
        return ast.Assign([node.target], self._call("operate", node, ast.Constant(operator), target, node.value))

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        operator = COMPARISONS.get(type(node.ops[0]))
        if not operator or len(node.ops) > 1:
            return node
        return self._call("operate", node, ast.Constant(operator), node.left, node.comparators[0])

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Call(_probe("single"), [node], []) if isinstance(node.value, float) else node


def _probe(function: str) -> ast.Attribute:
    return ast.Attribute(ast.Name(PROBE_NAME, ast.Load()), function, ast.Load())


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))
