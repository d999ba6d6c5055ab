"""Functions of several steps on 16-bit floats: computed in float32, the result rounded once.

Knows tensors; knows no function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from ..codegen.dtypes import DType, float32
from ..semantics.promotion import as_dtype, promote
from ..tensors.context import active
from ..tensors.tensor_class import Tensor, as_tensor

__all__ = ["in_float32", "kept_in_float32", "narrowed", "widened"]

P = ParamSpec("P")
R = TypeVar("R")


def widened(tensor: Tensor) -> Tensor:
    """The values in the dtype they are computed in: float32 for a half.

    Examples
    --------
    >>> import fusegrad as fg
    >>> widened(fg.ones(2, dtype="float16")).dtype
    fusegrad.float32
    """
    return tensor.astype(float32) if tensor.dtype.is_half else tensor


def narrowed(tensor: Tensor) -> Tensor:
    """A float32 operand of a product, in the dtype of the open `autocast`."""
    dtype = active.autocast
    return tensor.astype(dtype) if dtype is not None and tensor.dtype is float32 else tensor


def kept_in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """As `in_float32`; while an `autocast` is open, results are not rounded either."""
    rounded = in_float32(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if active.autocast is None:
            return rounded(*args, **kwargs)
        given = tuple(map(_argument, args))
        named = {name: _argument(value) for name, value in kwargs.items()}
        return function(*given, **named)

    return call


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, computed in float32 where its floating arguments are halves.

    Sums and differences in between keep the precision of float32 and its range; only what is
    returned is rounded, to the dtype that the arguments promote to.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.full(3, 60000.0, dtype="float16")
    >>> def half_of_twice(x):
    ...     return (x + x) / 2
    >>> bool(fg.isinf(half_of_twice(x)).all()), bool((in_float32(half_of_twice)(x) == x).all())
    (True, True)
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        dtype = _floating((*args, *kwargs.values()))
        if dtype is None or not dtype.is_half:
            return function(*args, **kwargs)
        given = tuple(map(_argument, args))
        named = {name: _argument(value) for name, value in kwargs.items()}
        return cast("R", _rounded(function(*given, **named), dtype))

    return call


def _floating(values: tuple[Any, ...]) -> DType | None:
    """The dtype of the floating tensors and arrays among the arguments, together."""
    found: DType | None = None
    for value in values:
        dtype = _dtype_of(value)
        if dtype is not None and dtype.is_float:
            found = dtype if found is None else promote(found, dtype)
    return found


def _dtype_of(value: Any) -> DType | None:
    if isinstance(value, Tensor):
        return value.dtype
    # A NumPy array of another dtype than the halves needs no care.
    name = getattr(getattr(value, "dtype", None), "name", None)
    if name in ("float16", "bfloat16"):
        return as_dtype(name)
    return None


def _argument(value: Any) -> Any:
    return widened(as_tensor(value)) if _dtype_of(value) is not None else value


def _rounded(result: Any, dtype: DType) -> Any:
    if isinstance(result, Tensor):
        return result.astype(dtype) if result.dtype is float32 else result
    if isinstance(result, tuple):
        return tuple(_rounded(item, dtype) for item in result)
    return result
