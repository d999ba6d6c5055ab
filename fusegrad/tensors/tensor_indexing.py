"""Indices as the user writes them, and the parts of a Tensor that they name.

Knows the functions on nodes that read and write parts; how they are recorded is the business of the
Tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast, final

import numpy as np

from ..codegen.dtypes import bool_
from ..codegen.varying import integer
from ..errors import IndexBoundsError
from ..ir.node import Node
from ..ops.elementwise import FUNCTIONS, Function
from ..runtime.devices import use
from ..semantics import assignment, indexing
from ..semantics.shapes import show
from .context import active
from .tensor_state import State

__all__ = ["At", "Indexing", "Place", "known"]

TensorT = TypeVar("TensorT", bound="Indexing[Any]")
StateT = TypeVar("StateT", bound=State)
_MASK_REMEDY = (
    "the shape of the result would depend on values: write fg.where(mask, x, 0), "
    "or multiply by the mask"
)


class Indexing(State, ABC, Generic[TensorT]):
    """``x[key]``, ``x[key] = value`` and ``x.at[key]``."""

    __slots__ = ()

    @abstractmethod
    def _record_with(
        self,
        function: Callable[..., Node],
        others: Sequence[Any],
        *args: Any,
        fitting: bool = False,
        **params: Any,
    ) -> TensorT:
        """The tensor of ``function(node of self, *nodes of others, *args)``."""

    @abstractmethod
    def _coerce(self, value: Any, fitting: bool = False) -> TensorT:
        """The value as a tensor; if `fitting`, a number takes the dtype of this tensor."""

    @abstractmethod
    def _fitting(self, value: TensorT, what: str, shape: tuple[int, ...] | None) -> Node:
        """The node of a value in the dtype of this tensor, for an assignment."""

    @abstractmethod
    def _update(self, result: TensorT) -> TensorT:
        """Take over the value of `result`, in place."""

    @staticmethod
    @abstractmethod
    def _binary(function: Function, a: Any, b: Any) -> TensorT:
        """The elementwise function of two operands."""

    def __getitem__(self, key: Any) -> TensorT:
        return self._get(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._update(self._put(key, value, "set"))

    @property
    def at(self) -> At[TensorT]:
        """Parts that are replaced or combined in a new tensor, as in ``x.at[key].add(value)``.

        The methods of a part are ``get``, ``set``, ``add``, ``subtract``, ``multiply``, ``divide``,
        ``power``, ``min``, ``max`` and ``apply``. Where an index occurs several times, `set` takes
        the last value, and all others take every value into account.
        """
        return At(self)

    def _get(self, key: Any, mode: str | None = None, fill: Any = None) -> TensorT:
        plain, arrays = self._key(key, mode)
        return self._record_with(indexing.get_marked, arrays, plain, mode=mode, fill=fill)

    def _put(self, key: Any, value: Any, how: str, mode: str | None = None) -> TensorT:
        """This tensor with a part replaced, or combined with the value."""
        new = self._coerce(value, fitting=True)
        self._fitting(new, "assign to", None)
        items = [self._item(item) for item in (key if isinstance(key, tuple) else (key,))]
        chosen = self._one_mask(items, new)
        if chosen is not None:
            place, mask = chosen
            whole = [slice(None)] * len(mask.shape)
            plain = (*items[:place], *whole, *items[place + 1 :])
            return self._record_with(assignment.put_mask, (mask, new), plain, place, how=how)
        plain, arrays = self._without_arrays(items, mode)
        return self._record_with(assignment.put_marked, (*arrays, new), plain, how=how, mode=mode)

    # --- keys -------------------------------------------------------------------------------------

    def _key(self, key: Any, mode: str | None = None) -> tuple[tuple[Any, ...], list[Any]]:
        """An index whose arrays are replaced by marks, and the arrays."""
        items = key if isinstance(key, tuple) else (key,)
        return self._without_arrays([self._item(item) for item in items], mode)

    def _item(self, item: Any) -> Any:
        """One item of an index: an int, a slice, None, Ellipsis, or a tensor."""
        if item is None or item is Ellipsis:
            return item
        if isinstance(item, slice):
            return slice(_bound(item.start), _bound(item.stop), _bound(item.step))
        if isinstance(item, (int, np.integer)) and not isinstance(item, (bool, np.bool_)):
            return int(item)
        if isinstance(item, str) or callable(item):
            raise _no_index(repr(item))
        if isinstance(item, range):
            return self._coerce(np.arange(item.start, item.stop, item.step))
        tensor = self._coerce(item)
        if isinstance(item, (list, tuple)) and not tensor.size:
            tensor = self._coerce(np.zeros(tensor.shape, np.int64))
        if tensor.dtype is not bool_ and not tensor.dtype.is_integer:
            raise _no_index(f"an array of {tensor.dtype}")
        return tensor

    def _without_arrays(
        self, items: Sequence[Any], mode: str | None
    ) -> tuple[tuple[Any, ...], list[Any]]:
        """Masks become the positions at which they hold, tensors become marks."""
        plain: list[Any] = []
        arrays: list[Any] = []
        used = sum(map(_axes_of, items))
        axis = 0
        for item in items:
            if not isinstance(item, State):
                plain.append(item)
                axis += len(self.shape) - used if item is Ellipsis else _axes_of(item)
                continue
            if item.dtype is not bool_:
                plain.append(indexing.ARRAY)
                arrays.append(known(item, mode))
            else:
                self._check_mask(item, axis)
                holds = item._look_for_shape("an index with a mask", _MASK_REMEDY)
                found = np.nonzero(holds) if holds.ndim else (np.zeros(int(holds), np.int64),)
                plain += [indexing.ARRAY if holds.ndim else indexing.NEW_ARRAY] * len(found)
                arrays += [self._coerce(positions) for positions in found]
            axis += _axes_of(item)
        if use.on and active.trace is None:
            # Positions are looked up where the elements are.
            arrays = [positions.to(self.device) for positions in arrays]
        return tuple(plain), arrays

    def _check_mask(self, mask: State, axis: int) -> None:
        want = self.shape[axis : axis + mask.ndim]
        # As in NumPy, a mask of extent 0 stands for an axis of any extent.
        fits = len(want) == mask.ndim and all(
            given in (0, extent) for given, extent in zip(mask.shape, want, strict=True)
        )
        if not fits:
            raise IndexBoundsError(
                f"a mask of shape {show(mask.shape)} for axes of shape {show(want)} of an array "
                f"of shape {show(self.shape)}",
                remedy="a mask must have the shape of the axes that it stands for",
            )

    def _one_mask(self, items: Sequence[Any], value: State) -> tuple[int, Any] | None:
        """The mask of an index that names a choice for each element; None if it is none.

        It is one if the only array is a mask and the value is the same wherever the mask holds.
        """
        masks = [
            (place, item)
            for place, item in enumerate(items)
            if isinstance(item, State) and item.dtype is bool_ and item.ndim
        ]
        others = [item for item in items if not (item is None or isinstance(item, slice))]
        if len(masks) != 1 or len(others) - others.count(Ellipsis) != 1:
            return None
        place, mask = masks[0]
        used = sum(map(_axes_of, items))
        before, behind = items[:place], items[place + 1 :]
        fill = len(self.shape) - used
        if fill < 0 or sum(item is Ellipsis for item in items) > 1:
            return None
        axis = sum(map(_axes_of, before)) + fill * any(item is Ellipsis for item in before)
        self._check_mask(mask, axis)
        ends = not any(item is Ellipsis for item in before)
        after = sum(item is not Ellipsis for item in behind) + fill * ends
        shape = value.shape
        same = len(shape) <= after or shape[len(shape) - after - 1] == 1
        return (place, mask) if same else None


def known(indices: StateT, mode: str | None = None) -> StateT:
    """The same indices, computed now if possible where one that lies outside is an error."""
    if mode in (None, "raise") and active.trace is None and not active.abstract:
        indices._materialize()
    return indices


def _axes_of(item: Any) -> int:
    """How many axes an item of an index stands for."""
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, State) and item.dtype is bool_:
        return item.ndim
    return 1


def _bound(value: Any) -> int | None:
    return None if value is None else integer(value)


def _no_index(what: str) -> IndexBoundsError:
    return IndexBoundsError(
        f"{what} is no index",
        remedy="an index is made of ints, slices, ..., None, and arrays of integers or bools",
    )


# --- parts ----------------------------------------------------------------------------------------


@final
class At(Generic[TensorT]):
    """``x.at``: it is indexed for a part of the tensor."""

    __slots__ = ("_base",)

    def __init__(self, base: Indexing[TensorT]) -> None:
        self._base = base

    def __getitem__(self, key: Any) -> Place[TensorT]:
        return Place(self._base, key)


@final
class Place(Generic[TensorT]):
    """A part of a tensor: its methods give the value, or a new tensor with another value there.

    `mode` says what index arrays do that lie outside: None for an error where their values are
    known, and clamping in compiled code; "clip", "wrap"; "drop" or "fill", which writes nothing
    and reads `fill_value`.
    """

    __slots__ = ("_base", "_key")

    def __init__(self, base: Indexing[TensorT], key: Any) -> None:
        self._base, self._key = base, key

    def get(self, *, mode: str | None = None, fill_value: Any = None) -> TensorT:
        """The part."""
        return self._base._get(self._key, mode, fill_value)

    def set(self, values: Any, *, mode: str | None = None) -> TensorT:
        """The tensor with the part replaced."""
        return self._base._put(self._key, values, "set", mode)

    def add(self, values: Any, *, mode: str | None = None) -> TensorT:
        """The tensor with values added to the part."""
        return self._base._put(self._key, values, "add", mode)

    def subtract(self, values: Any, *, mode: str | None = None) -> TensorT:
        """The tensor with values subtracted from the part."""
        negative = self._base._binary(FUNCTIONS["subtract"], 0, self._base._coerce(values, True))
        return self._base._put(self._key, negative, "add", mode)

    def multiply(self, values: Any, *, mode: str | None = None) -> TensorT:
        """The tensor with the part multiplied by values."""
        return self._base._put(self._key, values, "multiply", mode)

    mul = multiply

    def divide(self, values: Any, *, mode: str | None = None) -> TensorT:
        """The tensor with the part divided by values."""
        return self._base._binary(FUNCTIONS["divide"], self._base, self._factors(values, mode))

    def power(self, values: Any, *, mode: str | None = None) -> TensorT:
        """The tensor with the part raised to powers."""
        return self._base._binary(FUNCTIONS["pow"], self._base, self._factors(values, mode))

    def min(self, values: Any, *, mode: str | None = None) -> TensorT:
        """The tensor with the smaller one of the part and values; equal ones share the gradient."""
        return self._base._put(self._key, values, "min", mode)

    def max(self, values: Any, *, mode: str | None = None) -> TensorT:
        """The tensor with the larger one of the part and values; equal ones share the gradient."""
        return self._base._put(self._key, values, "max", mode)

    def apply(self, function: Callable[[TensorT], Any], *, mode: str | None = None) -> TensorT:
        """The tensor with the part replaced by a function of it."""
        return self.set(function(self.get(mode=mode)), mode=mode)

    def _factors(self, values: Any, mode: str | None) -> TensorT:
        """Ones, times the values at the part."""
        values = self._base._coerce(values, True)
        ones = self._base._coerce(np.ones(self._base.shape, values.dtype.numpy))
        return cast("TensorT", ones.at[self._key].multiply(values, mode=mode))
