"""LLVM text in the dialect of NVVM, which is LLVM 7's: typed pointers, older spellings.

Knows exactly what the emitter of GPU kernels writes, and refuses everything else; knows no kernels,
no numba and no library of NVIDIA's. A product gets its rounding spelled out, because NVVM would
make one instruction of a product and a sum.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import final

from ..records import dataclass

__all__ = ["NvvmModule", "nvvm_module"]

_SAME = frozenset(
    [
        *("add", "sub", "mul", "udiv", "sdiv", "urem", "srem", "shl", "lshr", "ashr"),
        *("and", "or", "xor", "icmp", "fcmp", "fadd", "fsub", "fdiv", "select", "phi"),
        *("zext", "sext", "trunc", "fpext", "fptrunc", "fptosi", "fptoui", "sitofp", "uitofp"),
        *("bitcast", "extractvalue", "extractelement", "insertelement", "shufflevector"),
    ]
)
"""Instructions that are written in LLVM 7 as they are today."""
_ORDERS = {"smin": "slt", "smax": "sgt", "umin": "ult", "umax": "ugt"}
_RENAMED = {"llvm.nvvm.barrier.cta.sync.aligned.all": "llvm.nvvm.barrier0"}
_OF_NVVM = {"fabs": "fabs", "rint": "round", "trunc": "trunc"}
"""Functions of LLVM that NVVM refuses, and what it has in their place."""
_SUFFIX = {"float": "f", "double": "d"}

_BYTES = {"i8": 1, "i16": 2, "half": 2, "i32": 4, "float": 4, "i64": 8, "double": 8}

_TYPE = r"<\d+ x \w+>|\[\d+ x \w+\]|\w+"
_SHARED = re.compile(
    r"(@[\w.]+) = internal addrspace\(3\) global (\[\d+ x i8\]) undef, align (\d+)"
)
_DEFINE = re.compile(r"define (ptx_kernel|internal) (\w+) @([\w.]+)\((.*?)\) [^{]*\{")
_PART = re.compile(r" (?=%[\w.]+ = |ret |entry:|\})")
"""Where a function that stands in one line has its statements."""
_ASSIGNED = re.compile(r"(%[\w.]+) = (\w+) (.*)")
_CALL = re.compile(rf"({_TYPE}) @([\w.]+)\((.*)\)")
_GEP = re.compile(rf"({_TYPE}), ptr (.*), i64 (\S+)")
_LOAD = re.compile(rf"({_TYPE}), ptr (%[\w.]+)(?:, align (\d+))?")
_STORE = re.compile(rf"store ({_TYPE}) (.*), ptr (%[\w.]+)(, align \d+)?")
_ALLOCA = re.compile(rf"({_TYPE}), align (\d+)")
_CAST_SHARED = re.compile(r"addrspacecast \(ptr addrspace\(3\) (@[\w.]+) to ptr\)")
_SPLAT = re.compile(r"splat \(([^()]*)\)")
_VECTOR = re.compile(r"<(\d+) x (\w+)>")


@final
@dataclass(frozen=True)
class NvvmModule:
    """Functions of a module.

    Attributes
    ----------
    definitions : str
        Shared memory and functions. Those that were kernels are internal functions, to be inlined.
    declarations : dict of str to (str, tuple of str)
        The result's type and the parameters' types of each intrinsic that is called, by name.
    """

    definitions: str
    declarations: dict[str, tuple[str, tuple[str, ...]]]


def nvvm_module(text: str) -> NvvmModule:
    """`text`, as the emitter of GPU kernels writes it, for NVVM.

    Raises
    ------
    ValueError
        If a line is not of the forms that are known.

    Examples
    --------
    >>> made = nvvm_module('''define ptx_kernel void @twice(ptr align 16 %p0) nounwind {
    ... entry:
    ...   %v1 = load float, ptr %p0, align 4
    ...   %v2 = fmul float %v1, 2.0
    ...   store float %v2, ptr %p0, align 4
    ...   ret void
    ... }''')
    >>> print(made.definitions)
    define internal void @twice(i8* %p0) alwaysinline nounwind {
    entry:
      %v1.at = bitcast i8* %p0 to float*
      %v1 = load float, float* %v1.at, align 4
      %v2 = call float @llvm.nvvm.mul.rn.f(float %v1, float 2.0)
      %at4 = bitcast i8* %p0 to float*
      store float %v2, float* %at4, align 4
      ret void
    }
    >>> made.declarations
    {'llvm.nvvm.mul.rn.f': ('float', ('float', 'float'))}
    """
    writer = _Writer()
    for line in text.splitlines():
        for part in _PART.split(line) if line.startswith("define internal") else [line]:
            writer.line(part.strip())
    return NvvmModule("\n".join(writer.lines), writer.declarations)


@final
class _Writer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declarations: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.shared: dict[str, str] = {}

    def put(self, text: str) -> None:
        if re.search(r"\bptr\b", text):
            raise ValueError(f"a pointer without a type: {text}")
        self.lines.append("  " + text)

    def line(self, line: str) -> None:
        if not line or line.startswith(("target triple", "declare ")):
            return
        shared, define = _SHARED.fullmatch(line), _DEFINE.fullmatch(line)
        if shared:
            name, kind, align = shared.groups()
            self.shared[name] = kind
            self.lines.append(f"{name} = internal addrspace(3) global {kind} undef, align {align}")
        elif define:
            self._define(*define.groups())
        elif line == "}" or re.fullmatch(r"[\w.]+:", line):
            self.lines.append(line)
        else:
            self._statement(_spelled(line))

    def _define(self, kind: str, result: str, name: str, params: str) -> None:
        params = re.sub(r"\bptr( align \d+)?", "i8*", params)
        inline = "alwaysinline" if kind == "ptx_kernel" else "noinline"
        self.lines.append(f"define internal {result} @{name}({params}) {inline} nounwind {{")

    def _statement(self, line: str) -> None:
        assigned, store = _ASSIGNED.fullmatch(line), _STORE.fullmatch(line)
        if assigned:
            self._assign(*assigned.groups())
        elif store:
            kind, value, pointer, align = store.groups()
            name = f"%at{len(self.lines) - 1}"
            self.put(f"{name} = bitcast i8* {pointer} to {kind}*")
            self.put(f"store {kind} {value}, {kind}* {name}{align or ''}")
        elif line.startswith("call void asm "):
            self.put(line)
        elif line.startswith("call void "):
            self._call("", line.removeprefix("call "))
        elif line.startswith(("br ", "ret ")):
            self.put(line)
        else:
            raise ValueError(f"NVVM has no {line}")

    def _assign(self, name: str, op: str, rest: str) -> None:
        if op in _SAME:
            self.put(f"{name} = {op} {rest}")
        elif op == "fmul":
            kind, operands = _operands(rest)
            suffix = _SUFFIX[_element(kind)]
            self._each(name, kind, f"llvm.nvvm.mul.rn.{suffix}", operands)
        elif op == "fneg":
            kind, operands = _operands(rest)
            self.put(f"{name} = fsub {kind} {_constant(kind, '-0.0')}, {operands[0]}")
        elif op in ("addrspacecast", "ptrtoint"):
            self.put(f"{name} = {op} {_typed_pointers(rest)}")
        elif op == "call" and " asm " in rest:
            self.put(f"{name} = call {rest}")
        elif op == "call":
            self._call(name, rest)
        elif op in ("getelementptr", "load", "alloca"):
            self._memory(name, op, rest)
        else:
            raise ValueError(f"NVVM has no {name} = {op} {rest}")

    # --- memory -----------------------------------------------------------------------------------

    def _memory(self, name: str, op: str, rest: str) -> None:
        form = {"getelementptr": _GEP, "load": _LOAD, "alloca": _ALLOCA}[op]
        match = form.fullmatch(rest)
        if match is None:
            raise ValueError(f"NVVM has no {name} = {op} {rest}")
        kind, *others = match.groups()
        if op == "alloca":
            self.put(f"{name}.array = alloca {kind}, align {others[0]}")
            self.put(f"{name} = bitcast {kind}* {name}.array to i8*")
        elif op == "load":
            pointer, align = others
            self.put(f"{name}.at = bitcast i8* {pointer} to {kind}*")
            self.put(f"{name} = load {kind}, {kind}* {name}.at{_natural(kind, align)}")
        elif kind == "i8":
            self.put(f"{name} = getelementptr i8, i8* {self._pointer(others[0])}, i64 {others[1]}")
        else:
            self.put(f"{name}.from = bitcast i8* {self._pointer(others[0])} to {kind}*")
            moved = f"getelementptr {kind}, {kind}* {name}.from, i64 {others[1]}"
            self.put(f"{name}.to = {moved}")
            self.put(f"{name} = bitcast {kind}* {name}.to to i8*")

    def _pointer(self, text: str) -> str:
        """An address: a value, or the beginning of shared memory."""
        match = _CAST_SHARED.fullmatch(text)
        if match is None:
            return text
        array = f"{self.shared[match[1]]} addrspace(3)* {match[1]}"
        first = f"i8 addrspace(3)* bitcast ({array} to i8 addrspace(3)*)"
        return f"addrspacecast ({first} to i8*)"

    # --- calls ------------------------------------------------------------------------------------

    def _call(self, name: str, rest: str) -> None:
        match = _CALL.fullmatch(rest)
        if match is None:
            raise ValueError(f"NVVM has no call {rest}")
        kind, function, given = match.groups()
        arguments = _split(given)
        typed = [_typed(a) for a in arguments]
        operation = function.split(".")[1]
        if not function.startswith("llvm."):
            self.put(f"{name} = call {kind} @{function}({given})")
        elif operation in _ORDERS:
            (_, a), (_, b) = typed
            self.put(f"{name}.first = icmp {_ORDERS[operation]} {kind} {a}, {b}")
            self._choose(name, kind, a, b)
        elif operation == "abs":
            a = typed[0][1]
            zero = _constant(kind, "0")
            self.put(f"{name}.minus = sub {kind} {zero}, {a}")
            self.put(f"{name}.first = icmp sgt {kind} {a}, {zero}")
            self._choose(name, kind, a, f"{name}.minus")
        elif function in _RENAMED:
            self._intrinsic(name, kind, _RENAMED[function], [])
        elif operation in _OF_NVVM:
            other = f"llvm.nvvm.{_OF_NVVM[operation]}.{_SUFFIX[_element(kind)]}"
            self._each(name, kind, other, [value for _, value in typed])
        elif _VECTOR.fullmatch(kind):
            short = {"float": "f32", "double": "f64"}[_element(kind)]
            self._each(name, kind, f"llvm.{operation}.{short}", [value for _, value in typed])
        else:
            self._intrinsic(name, kind, function, typed)

    def _choose(self, name: str, kind: str, a: str, b: str) -> None:
        vector = _VECTOR.fullmatch(kind)
        condition = f"<{vector[1]} x i1>" if vector else "i1"
        self.put(f"{name} = select {condition} {name}.first, {kind} {a}, {kind} {b}")

    def _intrinsic(
        self, name: str, kind: str, function: str, arguments: Sequence[tuple[str, str]]
    ) -> None:
        self.declarations[function] = kind, tuple(t for t, _ in arguments)
        given = ", ".join(f"{t} {value}" for t, value in arguments)
        self.put(f"{name} = call {kind} @{function}({given})".removeprefix(" = "))

    def _each(self, name: str, kind: str, function: str, operands: Sequence[str]) -> None:
        """A function of numbers, of each lane if these are vectors."""
        vector = _VECTOR.fullmatch(kind)
        if vector is None:
            self._intrinsic(name, kind, function, [(kind, o) for o in operands])
            return
        lanes, element = int(vector[1]), vector[2]
        whole = "undef"
        for lane in range(lanes):
            parts = []
            for number, operand in enumerate(operands):
                part = f"{name}.{lane}.{number}"
                self.put(f"{part} = extractelement {kind} {operand}, i32 {lane}")
                parts.append((element, part))
            self._intrinsic(f"{name}.{lane}", element, function, parts)
            target = name if lane == lanes - 1 else f"{name}.{lane}.all"
            value = f"{element} {name}.{lane}"
            self.put(f"{target} = insertelement {kind} {whole}, {value}, i32 {lane}")
            whole = target


# --- text ----------------------------------------------------------------------------------------


def _spelled(line: str) -> str:
    """A line with constants as LLVM 7 writes them."""
    line = re.sub(r"\bpoison\b", "undef", line)
    if "splat (" not in line:
        return line
    lanes = {int(n) for n, _ in _VECTOR.findall(line)}
    if len(lanes) != 1:
        raise ValueError(f"vectors of {sorted(lanes)} lanes and a splat: {line}")
    (count,) = lanes
    return _SPLAT.sub(lambda m: f"<{', '.join([m[1]] * count)}>", line)


def _typed_pointers(text: str) -> str:
    """Addresses with their types: bytes of memory, or of the memory of a block."""
    text = text.replace("ptr addrspace(3)", "i8 addrspace(3)*")
    return re.sub(r"\bptr\b", "i8*", text)


def _split(text: str) -> list[str]:
    """The parts between commas that are in no brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += character in "<([{"
        depth -= character in ">)]}"
        if character == "," and not depth:
            parts.append(text[start:position].strip())
            start = position + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


def _typed(text: str) -> tuple[str, str]:
    """An operand with its type: ``<2 x float> %x``, ``i32 -1``."""
    match = re.fullmatch(rf"({_TYPE}) (.*)", text)
    if match is None:
        raise ValueError(f"no operand with a type: {text}")
    return match[1], match[2]


def _operands(text: str) -> tuple[str, list[str]]:
    """The type and the operands of ``float %x, %y``."""
    first, *others = _split(text)
    kind, value = _typed(first)
    return kind, [value, *others]


def _natural(kind: str, align: str | None) -> str:
    """The alignment of a load, not above its own size.

    Of what is aligned better NVVM would read whole vectors, beyond the end of an array too.
    """
    if align is None:
        return ""
    vector = _VECTOR.fullmatch(kind)
    size = _BYTES[_element(kind)] * (int(vector[1]) if vector else 1)
    return f", align {min(int(align), size)}"


def _element(kind: str) -> str:
    vector = _VECTOR.fullmatch(kind)
    return vector[2] if vector else kind


def _constant(kind: str, value: str) -> str:
    vector = _VECTOR.fullmatch(kind)
    if vector is None:
        return value
    return f"<{', '.join([f'{vector[2]} {value}'] * int(vector[1]))}>"
