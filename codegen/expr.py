"""Scalar expressions: the values that kernels compute.

Knows scalars, loop variables and buffers; knows no tensors, no loops and no targets.

    expr ::= CONST | VAR | NAME[expr*] | OP(expr*)        OP: a row of scalar.py
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import ClassVar, final

from .dtypes import DType, bool_, int64
from .half import round_to

__all__ = ["Apply", "Buffer", "Const", "Expr", "Extent", "Load", "Var", "const", "index", "walk"]


class Expr:
    """A scalar value. Immutable; equality is structural and hashing is O(1)."""

    __slots__ = ("_hash", "dtype")
    dtype: DType
    _hash: int

    def __hash__(self) -> int:
        return self._hash


@final
class Const(Expr):
    """A constant: its bits and its dtype (``-0.0`` is not ``0.0``)."""

    __slots__ = ("bits", "value")
    value: float | int | bool
    bits: bytes

    def __init__(self, value: float | int | bool, dtype: DType) -> None:
        self.dtype = dtype
        if dtype.is_float:
            self.value = round_to(dtype.name, value) if dtype.is_half else float(value)
            self.bits = struct.pack("<d", self.value)
        elif dtype is bool_:
            self.value = bool(value)
            self.bits = b"\1" if value else b"\0"
        else:
            wrapped = int(value) & ((1 << dtype.bits) - 1)
            if dtype.kind == "int" and wrapped >> (dtype.bits - 1):
                wrapped -= 1 << dtype.bits
            self.value = wrapped
            self.bits = wrapped.to_bytes(9, "little", signed=True)
        self._hash = hash((self.bits, id(dtype)))

    __hash__ = Expr.__hash__

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Const) and self.dtype is other.dtype and self.bits == other.bits

    def __repr__(self) -> str:
        return f"Const({self.value!r}, {self.dtype.short})"


@final
class Var(Expr):
    """A named value: a loop variable, a `let`, the result of a loop, or a size.

    Two variables are equal only when they are the same object; `name` is for the
    printer, which makes names unique. `extent` is known for loop variables: they
    run from 0 to `extent` - 1.
    """

    __slots__ = ("extent", "name", "serial")
    _serials: ClassVar[Iterator[int]] = itertools.count()
    name: str
    extent: Extent | None

    def __init__(self, name: str, dtype: DType = int64, extent: Extent | None = None) -> None:
        self.name = name
        self.dtype = dtype
        self.extent = extent
        self.serial = next(Var._serials)
        self._hash = hash((self.serial, "var"))

    __hash__ = Expr.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"Var({self.name})"


Extent = int | Var
"""The length of an axis: a number baked into the code, or a size argument."""


@final
class Buffer:
    """Memory that a kernel reads and writes.

    Parameters
    ----------
    name : str
        For the printer.
    dtype : DType
    shape : sequence of Extent
    strides : sequence of int or Var, optional
        In elements, one for each axis; row-major when not given.
    space : str
        ``"param"``, or for an `alloc`: ``"row"`` (lives for one iteration of the
        enclosing axis, stays in cache), ``"tile"``, ``"chunk"``, ``"shared"``; ``"view"``
        for other axes over the memory of `base`.
    base : Buffer, optional
        What a view looks at.
    """

    __slots__ = ("base", "dtype", "name", "shape", "space", "strides")

    def __init__(
        self,
        name: str,
        dtype: DType,
        shape: Sequence[Extent],
        strides: Sequence[Extent] | None = None,
        space: str = "param",
        base: Buffer | None = None,
    ) -> None:
        self.base = base
        self.name = name
        self.dtype = dtype
        self.shape = tuple(shape)
        self.strides = None if strides is None else tuple(strides)
        self.space = space

    def __repr__(self) -> str:
        return f"Buffer({self.name})"


@final
class Load(Expr):
    """The element of `buffer` at `indices`."""

    __slots__ = ("buffer", "indices")
    buffer: Buffer
    indices: tuple[Expr, ...]

    def __init__(self, buffer: Buffer, indices: Sequence[Expr]) -> None:
        if len(indices) != len(buffer.shape):
            raise ValueError(f"{buffer.name} has {len(buffer.shape)} axes, not {len(indices)}")
        self.buffer = buffer
        self.indices = tuple(indices)
        self.dtype = buffer.dtype
        self._hash = hash((id(buffer), self.indices))

    __hash__ = Expr.__hash__

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Load)
            and self.buffer is other.buffer
            and self._hash == other._hash
            and self.indices == other.indices
        )

    def __repr__(self) -> str:
        return f"Load({self.buffer.name}, {list(self.indices)})"


@final
class Apply(Expr):
    """A scalar op applied to values; `op` names a row of ``scalar.TABLE``.

    Build these with ``scalar.apply``, which infers the dtype and checks the operands. Equal
    applications are one object as long as the table of known ones is not emptied, so that
    comparing expressions that share parts takes no time.
    """

    __slots__ = ("args", "op")
    _known: ClassVar[dict[tuple[str, tuple[Expr, ...], DType], Apply]] = {}
    _most_known: ClassVar[int] = 1 << 17
    op: str
    args: tuple[Expr, ...]

    def __new__(cls, op: str, args: Sequence[Expr], dtype: DType) -> Apply:
        key = (op, tuple(args), dtype)
        known = cls._known.get(key)
        if known is not None:
            return known
        self = super().__new__(cls)
        self.op, self.args, self.dtype = key
        self._hash = hash(key)
        if len(cls._known) >= cls._most_known:
            cls._known.clear()
        return cls._known.setdefault(key, self)

    __hash__ = Expr.__hash__

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Apply) and self._hash == other._hash and _equal(self, other)

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.args))})"


def _equal(a: Expr, b: Expr) -> bool:
    """Whether two expressions are equal, each pair of shared parts compared once."""
    seen: set[tuple[int, int]] = set()
    stack = [(a, b)]
    while stack:
        x, y = stack.pop()
        if x is y or (id(x), id(y)) in seen:
            continue
        if not (isinstance(x, Apply) and isinstance(y, Apply)):
            if x != y:
                return False
            continue
        if x.op != y.op or x.dtype is not y.dtype or len(x.args) != len(y.args):
            return False
        seen.add((id(x), id(y)))
        stack.extend(zip(x.args, y.args, strict=True))
    return True


def const(value: float | int | bool, dtype: DType) -> Const:
    """The constant `value` of type `dtype`."""
    return Const(value, dtype)


def index(value: int) -> Const:
    """A constant of the type of loop variables and sizes."""
    return Const(value, int64)


def walk(expr: Expr) -> Iterator[Expr]:
    """Every distinct subexpression of `expr`, operands before users, each once."""
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(expr, False)]
    while stack:
        e, ready = stack.pop()
        if id(e) in seen:
            continue
        if ready:
            seen.add(id(e))
            yield e
            continue
        stack.append((e, True))
        if isinstance(e, Apply):
            stack.extend((a, False) for a in reversed(e.args))
        elif isinstance(e, Load):
            stack.extend((a, False) for a in reversed(e.indices))
