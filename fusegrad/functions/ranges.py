"""Tensors made of counts: ranges, grids of numbers, the identity.

Knows how constants are recorded; inside of a compiled function they become part of the program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..codegen.dtypes import DType, bool_, float32, float64, int64
from ..codegen.varying import integer
from ..errors import DTypeError, FusegradError, ShapeError
from ..ir.node import Node
from ..ops import build
from ..semantics.promotion import as_dtype, as_float
from ..semantics.shapes import broadcast_shapes
from ..tensors.array_values import check_number
from ..tensors.device import check_device
from ..tensors.tensor_class import (
    ArrayLike,
    Tensor,
    as_tensor,
    common_nodes,
    finished,
    record_nodes,
)
from .creation import constant
from .joining import stack

__all__ = ["arange", "eye", "geomspace", "identity", "indices", "linspace", "logspace"]

_SMALL_COUNT = 1024


def _number(value: Any) -> Any:
    """A Python number; of a tensor or an array its only element."""
    return value.item() if isinstance(value, (Tensor, np.ndarray, np.generic)) else value


def _count(name: str, value: Any) -> int:
    try:
        count = integer(value)
    except TypeError as error:
        if isinstance(error, FusegradError):
            raise
        raise DTypeError(f"{name} of {value!r} numbers", remedy="give an integer") from None
    if count < 0:
        raise ShapeError(f"{name} of {count} numbers", remedy="the number must be 0 or more")
    return count


def _steps(count: int, start: Any, step: Any, dtype: DType) -> Node:
    """start, start + step, ...: floats are computed in double precision and rounded once."""
    kind = float64 if dtype.is_float else int64
    node = build.iota(count, kind)
    if step != 1:
        node = build.mul(node, build.full_like(node, step))
    if start != 0:
        node = build.add(node, build.full_like(node, start))
    return build.cast(node, dtype)


def arange(
    start: ArrayLike = 0,
    stop: ArrayLike | None = None,
    step: ArrayLike = 1,
    *,
    end: ArrayLike | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from `start` up to, not including, `stop`.

    Parameters
    ----------
    start : number
        The end, from 0, if it is alone.
    stop, step : number, optional
        In torch, `stop` is named `end`.
    dtype : dtype, optional
        By default int64 if all arguments are integers, else float32.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.arange(4), fg.arange(1.0, 2.0, 0.25)
    (Tensor([0, 1, 2, 3]), Tensor([1.  , 1.25, 1.5 , 1.75]))
    """
    start, stop, step = map(_number, (start, stop if end is None else end, step))
    for value in (start, stop, step):
        if value is not None and not isinstance(value, (int, float)):
            raise DTypeError(f"arange: {value!r} is no number", remedy="give numbers")
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ShapeError("arange with a step of 0 has no end", remedy="give another step")
    whole = all(isinstance(value, int) for value in (start, stop, step))
    kind = as_dtype(dtype) if dtype is not None else (int64 if whole else float32)
    if whole:
        count = max(0, -(-(stop - start) // step))
    else:
        length = (stop - start) / step
        if not math.isfinite(length):
            raise ShapeError(
                f"arange from {start} to {stop} in steps of {step} has no end",
                remedy="give finite numbers",
            )
        count = max(0, math.ceil(length))
    if kind is bool_:
        raise DTypeError("arange has no bools", remedy="take an integer or floating dtype")
    for number in (start, start + (count - 1) * step) if count else ():
        check_number(number, kind)
    inner = kind if whole or kind.is_float else float64
    return constant(
        lambda: build.cast(_steps(count, start, step, inner), kind), device, requires_grad
    )


def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    *,
    endpoint: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers at equal distances.

    Parameters
    ----------
    start, stop : number or array_like
        Of arrays, each pair of elements gives numbers along the new first axis.
    num : int, optional
        How many.
    endpoint : bool, optional
        Whether `stop` is the last one.
    dtype : dtype, optional
        By default float32, for arrays their own.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linspace(0, 1, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    check_device(device)
    count = _count("linspace", num)
    kind = None if dtype is None else as_dtype(dtype)
    intervals = count - 1 if endpoint else count
    if any(isinstance(value, (Tensor, np.ndarray, list, tuple)) for value in (start, stop)):
        return finished(_between(start, stop, count, intervals, kind), device, requires_grad)
    kind = kind or float32
    if count <= _SMALL_COUNT:
        inner = np.dtype(np.float64) if kind.is_float else kind.numpy
        values = np.linspace(start, stop, count, endpoint=endpoint, dtype=inner)
        return finished(as_tensor(values, kind), device, requires_grad)
    return constant(
        lambda: _numbers_between(float(start), float(stop), count, intervals, kind),
        device,
        requires_grad,
    )


def _last(node: Node, intervals: int, stop: Node) -> Node:
    """`node`, whose position `intervals` on the first axis is exactly `stop`."""
    positions = build.broadcast(build.iota(node.shape[0], int64), node.shape, (0,))
    return build.select(build.eq(positions, build.full_like(positions, intervals)), stop, node)


def _rounded(node: Node, dtype: DType) -> Node:
    # As in NumPy, integers are rounded down.
    return build.cast(build.floor(node) if dtype.is_integer else node, dtype)


def _numbers_between(start: float, stop: float, count: int, intervals: int, dtype: DType) -> Node:
    node = _steps(count, start, (stop - start) / intervals, float64)
    return _rounded(_last(node, intervals, build.full_like(node, stop)), dtype)


def _between(
    start: ArrayLike, stop: ArrayLike, count: int, intervals: int, dtype: DType | None
) -> Tensor:
    def record() -> tuple[Node, list[Tensor]]:
        nodes, tensors = common_nodes([as_tensor(start), as_tensor(stop)])
        kind = as_float(nodes[0].dtype)
        low, high = (build.cast(node, kind) for node in nodes)
        lead = len(low.shape), len(high.shape)
        low, high = (
            build.expand_dims(node, tuple(range(1 + max(lead) - own)))
            for node, own in zip((low, high), lead, strict=True)
        )
        shape = broadcast_shapes("linspace", [(count, *(1,) * max(lead)), low.shape, high.shape])
        low, high = (build.broadcast_to(node, shape) for node in (low, high))
        place = build.cast(build.iota(count, float64), kind)
        part = build.div(place, build.full_like(place, max(intervals, 1)))
        wide = build.broadcast(part, shape, (0,))
        node = build.add(low, build.mul(build.sub(high, low), wide))
        node = _last(node, intervals, high) if intervals else node
        return _rounded(node, dtype or kind), tensors

    return record_nodes(record)


def logspace(
    start: float,
    stop: float,
    num: int = 50,
    *,
    endpoint: bool = True,
    base: float = 10.0,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Powers of a base whose exponents are at equal distances.

    Parameters
    ----------
    start, stop : number
        The first and the last exponent.
    num : int, optional
        How many.
    endpoint : bool, optional
        Whether `stop` is the last exponent.
    base : number, optional
    dtype : dtype, optional
        By default float32.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.logspace(0, 2, 3)
    Tensor([  1.,  10., 100.])
    """
    count = _count("logspace", num)
    values = np.logspace(start, stop, count, endpoint=endpoint, base=base)
    return _of_values(values, dtype, device, requires_grad)


def geomspace(
    start: float,
    stop: float,
    num: int = 50,
    *,
    endpoint: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers at equal ratios.

    Parameters
    ----------
    start, stop : number
        Neither is 0, and both have the same sign.
    num : int, optional
        How many.
    endpoint : bool, optional
        Whether `stop` is the last one.
    dtype : dtype, optional
        By default float32.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.geomspace(1, 8, 4)
    Tensor([1., 2., 4., 8.])
    """
    count = _count("geomspace", num)
    if not start * stop > 0:
        raise ShapeError(
            f"geomspace from {start} to {stop}: there are no equal ratios",
            remedy="give two numbers of one sign, none of them 0",
        )
    values = np.geomspace(start, stop, count, endpoint=endpoint)
    return _of_values(values, dtype, device, requires_grad)


def _of_values(values: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    check_device(device)
    tensor = as_tensor(values, float32 if dtype is None else as_dtype(dtype))
    return finished(tensor, device, requires_grad)


def identity(
    n: int, dtype: Any = None, *, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The identity matrix, under NumPy's name: see `eye`.

    Parameters
    ----------
    n : int
    dtype : dtype, optional
        By default float32.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.identity(2, "int64")
    Tensor([[1, 0],
            [0, 1]])
    """
    return eye(n, dtype=dtype, device=device, requires_grad=requires_grad)


def indices(
    dimensions: Sequence[int], dtype: Any = None, sparse: bool = False, *, device: Any = None
) -> Any:
    """The indices of a grid along each axis.

    Parameters
    ----------
    dimensions : sequence of int
        The shape of the grid.
    dtype : dtype, optional
        By default int64.
    sparse : bool, optional
        Whether the indices are a tuple of arrays that broadcast instead.
    device : str, optional
        ``"cpu"``.

    Returns
    -------
    Tensor, or tuple of Tensor
        Along the first axis, the indices along each axis of the grid.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.indices((2, 2))
    Tensor([[[0, 0],
             [1, 1]],
            [[0, 1],
             [0, 1]]])
    """
    kind = int64 if dtype is None else as_dtype(dtype)
    check_device(device)
    shape = tuple(_count("indices", extent) for extent in dimensions)
    alone = [
        arange(extent, dtype=kind, device=device).reshape(
            *(-1 if a == axis else 1 for a in range(len(shape)))
        )
        for axis, extent in enumerate(shape)
    ]
    if sparse or not shape:
        return tuple(alone) if sparse else constant(lambda: build.zeros((0,), kind))
    return stack([one.broadcast_to(shape) for one in alone])


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on a diagonal, zeros elsewhere.

    Parameters
    ----------
    n_rows : int
    n_cols : int, optional
        By default as many as rows.
    k : int, optional
        The diagonal, counted upwards from the main one.
    dtype : dtype, optional
        By default float32.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.eye(2)
    Tensor([[1., 0.],
            [0., 1.]])
    """
    rows = _count("eye", n_rows)
    columns = rows if n_cols is None else _count("eye", n_cols)
    shape = (rows, columns)
    kind = float32 if dtype is None else as_dtype(dtype)

    def identity() -> Node:
        row = build.broadcast(_steps(rows, k, 1, int64), shape, (0,))
        column = build.broadcast(build.iota(columns, int64), shape, (1,))
        return build.cast(build.eq(row, column), kind)

    return constant(identity, device, requires_grad)
