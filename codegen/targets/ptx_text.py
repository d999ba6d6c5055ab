"""The text of PTX as functions of instructions: what the simulator runs.

Knows the syntax that LLVM prints; knows no meaning.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import final

from ..records import dataclass

__all__ = ["Function", "Instruction", "parse_ptx"]

_HEAD = re.compile(r"(?:\.visible )?\.(entry|func)\s*(?:\(\s*(.*?)\)\s*)?([\w$]+)\s*\(")
_PARAM = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.\w+\s+(?:\.ptr\s+\.align\s+\d+\s+)?([\w$]+)")
_SHARED = re.compile(r"\.shared\s+\.align\s+\d+\s+\.b8\s+([\w$]+)\[(\d+)\]")
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+(%\w+?)<(\d+)>")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|[^,\s]+")


@final
@dataclass(frozen=True)
class Instruction:
    """One instruction: ``@guard op operands``; a guard may begin with ``!``."""

    op: tuple[str, ...]
    operands: tuple[str, ...]
    guard: str = ""
    text: str = ""


@final
@dataclass
class Function:
    """An entry, or a function that entries call."""

    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    registers: dict[str, str] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    threads: int = 0


def parse_ptx(text: str) -> dict[str, Function]:
    """The functions of a module, by name.

    Examples
    --------
    >>> made = parse_ptx('''
    ... .visible .entry one(
    ...     .param .u64 .ptr .align 16 one_param_0
    ... )
    ... {
    ...     .reg .b64 %rd<2>;
    ...     ld.param.b64 %rd1, [one_param_0];
    ...     ret;
    ... }''')
    >>> [i.op for i in made["one"].code], made["one"].params
    ([('ld', 'param', 'b64'), ('ret',)], ('one_param_0',))
    """
    functions: dict[str, Function] = {}
    shared: dict[str, int] = {}
    lines = [line.split("//")[0].strip() for line in text.splitlines()]
    position = 0
    while position < len(lines):
        line = lines[position]
        found = _SHARED.search(line)
        if found:
            shared[found[1]] = int(found[2])
        if line.startswith((".visible .entry", ".entry", ".func", ".visible .func")):
            head = ""
            while not lines[position].startswith("{") and not lines[position].endswith(";"):
                head += " " + lines[position]
                position += 1
            if lines[position].startswith("{"):
                function = _heading(head)
                position = _body(lines, position + 1, function)
                functions[function.name] = function
        position += 1
    for function in functions.values():
        function.shared |= shared
    return functions


def _heading(head: str) -> Function:
    match = _HEAD.search(head)
    if match is None:
        raise ValueError(f"no function head: {head}")
    results = tuple(_PARAM.findall(match[2] or ""))
    params = tuple(_PARAM.findall(head[match.end() :]))
    function = Function(match[3], params, results)
    bound = re.search(r"\.maxntid\s+(\d+)", head)
    if bound:
        function.threads = int(bound[1])
    return function


def _body(lines: list[str], position: int, function: Function) -> int:
    """Read instructions up to the brace that ends the function."""
    depth = 0
    while True:
        line = lines[position]
        found = _REGISTERS.search(line)
        if line.startswith("{"):
            depth += 1
        elif line.startswith("}"):
            if depth == 0:
                return position
            depth -= 1
        elif found:
            function.registers[found[2]] = found[1]
        elif _SHARED.search(line):
            name, size = _SHARED.findall(line)[0]
            function.shared[name] = int(size)
        elif line.endswith(":"):
            function.labels[line[:-1]] = len(function.code)
        elif line and not line.startswith("."):
            # A call may go on in further lines.
            while not line.endswith(";"):
                position += 1
                line += " " + lines[position]
            function.code.append(_instruction(line.rstrip(";")))
        position += 1


def _instruction(text: str) -> Instruction:
    guard = ""
    rest = text
    if rest.startswith("@"):
        guard, rest = rest[1:].split(None, 1)
    op, _, operands = rest.partition(" ") if " " in rest else rest.partition("\t")
    found = tuple(_OPERAND.findall(operands.replace("\t", " ")))
    return Instruction(tuple(op.strip().split(".")), found, guard, text)
