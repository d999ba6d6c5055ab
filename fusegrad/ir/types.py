"""The types of graph values: shape and dtype, with extents that may be symbols.

Knows no nodes and no ops.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

from ..codegen.dtypes import DType
from ..codegen.expr import Expr, Var, index
from ..codegen.varying import origins
from .intern import InternTable

__all__ = [
    "Extent",
    "Symbol",
    "TensorType",
    "TupleType",
    "Type",
    "equal_types",
    "extent_value",
    "known_size",
]


@final
class Symbol:
    """An extent that is known when the program runs. Equal only to itself.

    Parameters
    ----------
    name : str
        For the printer.

    Attributes
    ----------
    variable : Var
        The size argument that stands for it in kernels.

    Examples
    --------
    >>> batch = Symbol("batch")
    >>> batch == Symbol("batch"), batch
    (False, batch)
    """

    __slots__ = ("__weakref__", "name", "variable")

    def __init__(self, name: str) -> None:
        self.name = name
        self.variable = Var(name)

    def __repr__(self) -> str:
        return self.name


Extent = int | Symbol
"""The length of an axis."""


def extent_value(extent: Extent) -> Expr:
    """The extent as a value for index arithmetic."""
    return extent.variable if isinstance(extent, Symbol) else index(extent)


_types: InternTable[TensorType] = InternTable()


@final
class TensorType:
    """Shape and dtype of a tensor. Interned: equal types are the same object.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> TensorType((2, 3), float32) is TensorType((2, 3), float32)
    True
    >>> TensorType((2, 3), float32), TensorType((2, 3), float32).size
    (f32[2, 3], 6)
    """

    __slots__ = ("__weakref__", "_plain", "dtype", "nbytes", "shape", "size")
    shape: tuple[Extent, ...]
    dtype: DType
    # The number of elements; None if an extent is a symbol.
    size: int | None
    # How many bytes the elements take; 0 if an extent is a symbol.
    nbytes: int
    _plain: TensorType | None

    def __new__(cls, shape: Iterable[Extent], dtype: DType) -> TensorType:
        shape = tuple(shape)
        known = origins(shape)
        key = (shape, dtype, known) if known else (shape, dtype)
        found = _types.get(key)
        if found is not None:
            return found
        self = object.__new__(cls)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", dtype)
        size = known_size(shape)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "nbytes", (size or 0) * dtype.itemsize)
        plain = TensorType([int(e) for e in shape], dtype) if known else None  # type: ignore[arg-type]
        object.__setattr__(self, "_plain", plain)
        return _types.add(key, self)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a TensorType cannot be changed")

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorType, (self.shape, self.dtype)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def plain(self) -> TensorType:
        """The type without the origins of its extents: those of equal types are one object."""
        return self if self._plain is None else self._plain

    def __repr__(self) -> str:
        return f"{self.dtype.short}[{', '.join(map(str, self.shape))}]"


@final
class TupleType:
    """The type of several results, from which ``Item(i)`` picks one."""

    __slots__ = ("items",)
    items: tuple[TensorType, ...]

    def __init__(self, items: Iterable[TensorType]) -> None:
        self.items = tuple(items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TupleType) and self.items == other.items

    @property
    def plain(self) -> TupleType:
        """The type without the origins of extents."""
        return TupleType(item.plain for item in self.items)

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return f"({', '.join(map(repr, self.items))})"


Type = TensorType | TupleType


def known_size(shape: Iterable[Extent]) -> int | None:
    """The product of the extents, or None if one is a symbol.

    Examples
    --------
    >>> known_size((2, 3)), known_size((Symbol("n"), 3)), known_size(())
    (6, None, 1)
    """
    size = 1
    for extent in shape:
        if isinstance(extent, Symbol):
            return None
        size *= extent
    return size


def equal_types(a: Iterable[Type], b: Iterable[Type]) -> bool:
    """Whether types are equal one by one, wherever their extents come from.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> equal_types([TensorType((2,), float32)], [TensorType((3,), float32)])
    False
    """
    return [t.plain for t in a] == [t.plain for t in b]
