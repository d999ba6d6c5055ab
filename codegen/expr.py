"""Scalar expressions: the values that kernels compute.

Knows scalars, loop variables and buffers; knows no tensors, no loops and no targets.

    expr ::= CONST | VAR | NAME[expr*] | OP(expr*)        OP: a row of scalar.py
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Hashable, Iterator, Sequence
from sys import getrefcount
from typing import ParamSpec, TypeVar, cast, final

from .dtypes import DType, bool_, int64
from .half import round_to
from .varying import Varying

__all__ = [
    "Apply",
    "Buffer",
    "Const",
    "Expr",
    "Extent",
    "Load",
    "Var",
    "const",
    "forget",
    "index",
    "number_or_expr",
    "remembered",
    "walk",
]


class Expr:
    """A scalar value. Immutable, and interned: equal values are one object.

    So equality is identity, and tables of expressions cost no more than those of addresses.
    """

    __slots__ = ("dtype",)
    dtype: DType


_made: dict[Hashable, Expr] = {}
"""Every expression but variables, operands before users, by what makes it what it is."""
_LEAST = 1 << 17
_most = _LEAST
_caches: list[Callable[[], None]] = []

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=Expr)


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """`function` of expressions, with its results kept until expressions are forgotten."""
    cached = functools.lru_cache(1 << 16)(function)
    _caches.append(cached.cache_clear)
    return cast("Callable[P, R]", cached)


def _intern(key: Hashable, made: E) -> E:
    """`made`, or what another thread made of `key` just now."""
    if len(_made) >= _most:
        forget()
    return cast("E", _made.setdefault(key, made))


def forget() -> None:
    """Let go of the expressions that nothing but the table of all has.

    Examples
    --------
    >>> i = Var("i")
    >>> held = Apply("neg", (i,), int64)
    >>> forget()
    >>> held is Apply("neg", (i,), int64)
    True
    """
    global _most
    for clear in _caches:
        clear()
    _forget_unheld(_made)
    _most = max(_LEAST, 2 * len(_made))


def _forget_unheld(made: dict[Hashable, Expr]) -> int:
    """Users before operands; the references that the last one had are returned."""
    keys = list(made)
    count = 0
    while keys:
        key = keys.pop()
        e = made.get(key)
        count = getrefcount(e)
        if count != _UNHELD:
            continue
        made.pop(key, None)
        if getrefcount(e) == count and e is not None:
            made.setdefault(key, e)  # Another thread has it since.
    return count


_UNHELD = 0
_UNHELD = _forget_unheld({0: Expr()})
"""The references that the function above sees where nothing but the table has an expression."""


_ARGUMENTS = frozenset({"int32", "int64", "uint64", "float32", "float64"})
"""The dtypes in which code takes a varying size as an argument."""


@final
class Const(Expr):
    """A constant: its bits and its dtype (``-0.0`` is not ``0.0``).

    `origin` is the varying size that it is, if it is one: code takes it as an argument.
    """

    __slots__ = ("bits", "origin", "value")
    value: float | int | bool
    bits: bytes
    origin: Varying | None

    def __new__(cls, value: float | int | bool, dtype: DType) -> Const:
        origin = value if type(value) is Varying and dtype.name in _ARGUMENTS else None
        if dtype.is_float:
            value = round_to(dtype.name, value) if dtype.is_half else float(value)
            bits = struct.pack("<d", value)
        elif dtype is bool_:
            value = bool(value)
            bits = b"\1" if value else b"\0"
        else:
            value = int(value) & ((1 << dtype.bits) - 1)
            if dtype.kind == "int" and value >> (dtype.bits - 1):
                value -= 1 << dtype.bits
            bits = value.to_bytes(9, "little", signed=True)
            if origin is not None and value == origin:
                value = origin
        key = (bits, dtype) if origin is None else (bits, dtype, origin.probe, origin.likely)
        known = _made.get(key)
        if known is not None:
            return cast("Const", known)
        self = object.__new__(cls)
        self.value, self.bits, self.dtype, self.origin = value, bits, dtype, origin
        return _intern(key, self)

    def __repr__(self) -> str:
        return f"Const({self.value!r}, {self.dtype.short})"


@final
class Var(Expr):
    """A named value: a loop variable, a `let`, the result of a loop, or a size.

    Two variables are equal only when they are the same object; `name` is for the
    printer, which makes names unique. `extent` is known for loop variables: they
    run from 0 to `extent` - 1. `bounds` are the smallest and the largest value of others,
    where these are known.
    """

    __slots__ = ("bounds", "extent", "name")
    name: str
    extent: Extent | None
    bounds: tuple[int, int] | None

    def __init__(
        self,
        name: str,
        dtype: DType = int64,
        extent: Extent | None = None,
        bounds: tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self.dtype = dtype
        self.extent = extent
        self.bounds = bounds

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

    def __new__(cls, buffer: Buffer, indices: Sequence[Expr]) -> Load:
        key = buffer, tuple(indices)
        known = _made.get(key)
        if known is not None:
            return cast("Load", known)
        if len(indices) != len(buffer.shape):
            raise ValueError(f"{buffer.name} has {len(buffer.shape)} axes, not {len(indices)}")
        self = object.__new__(cls)
        self.buffer, self.indices = key
        self.dtype = buffer.dtype
        return _intern(key, self)

    def __repr__(self) -> str:
        return f"Load({self.buffer.name}, {list(self.indices)})"


@final
class Apply(Expr):
    """A scalar op applied to values; `op` names a row of ``scalar.TABLE``.

    Build these with ``scalar.apply``, which infers the dtype and checks the operands.
    """

    __slots__ = ("args", "op")
    op: str
    args: tuple[Expr, ...]

    def __new__(cls, op: str, args: Sequence[Expr], dtype: DType) -> Apply:
        key = op, tuple(args), dtype
        known = _made.get(key)
        if known is not None:
            return cast("Apply", known)
        self = object.__new__(cls)
        self.op, self.args, self.dtype = key
        return _intern(key, self)

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.args))})"


def const(value: float | int | bool, dtype: DType) -> Const:
    """The constant `value` of type `dtype`."""
    return Const(value, dtype)


def index(value: int) -> Const:
    """A constant of the type of loop variables and sizes."""
    return Const(value, int64) if type(value) is Varying else _index(value)


@remembered
def _index(value: int) -> Const:
    return Const(value, int64)


def number_or_expr(extent: Expr) -> int | Expr:
    """An extent as a number where it is a constant."""
    if type(extent) is not Const:
        return extent
    return extent.value if isinstance(extent.value, int) else int(extent.value)


def walk(expr: Expr) -> Iterator[Expr]:
    """Every distinct subexpression of `expr`, operands before users, each once."""
    if not isinstance(expr, (Apply, Load)):
        yield expr
        return
    seen: set[int] = set()
    # What waits for its operands lies below a None.
    stack: list[Expr | None] = [expr]
    while stack:
        e = stack.pop()
        if e is None:
            e = stack.pop()
            assert e is not None
        elif id(e) in seen:
            continue
        elif isinstance(e, Apply):
            stack += (e, None, *e.args[::-1])
            continue
        elif isinstance(e, Load):
            stack += (e, None, *e.indices[::-1])
            continue
        seen.add(id(e))
        yield e
