"""Windows: reductions of them, views of them, and convolutions of sequences as NumPy has them.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..errors import EmptyReductionError, ShapeError
from ..ir.node import Node
from ..ops import build, build_window
from ..semantics import pooling
from ..semantics.convolution import convolution, convolution_general, numbers
from ..semantics.shapes import axis_tuple, one_axis, show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record, record_nodes

__all__ = [
    "conv_general_dilated",
    "convolve",
    "correlate",
    "reduce_window",
    "sliding_window_view",
]

Numbers = int | Sequence[int]
Mode = Literal["full", "same", "valid"]


def reduce_window(
    x: ArrayLike,
    reduction: Literal["sum", "prod", "max", "min"],
    window: Numbers,
    strides: Numbers = 1,
    padding: Numbers | Sequence[Sequence[int]] | Literal["same", "valid"] = "valid",
    dilation: Numbers = 1,
    base_dilation: Numbers = 1,
) -> Tensor:
    """Every window of an array reduced to one element.

    Parameters
    ----------
    x : array_like
        Numbers.
    reduction : {"sum", "prod", "max", "min"}
        Of equal extremes the first gets the gradient.
    window : int or sequence of int
        The extents of a window, for all axes or for each.
    strides, dilation : int or sequence of int, optional
        Steps between windows, and inside of one.
    padding : int, sequence of int, sequence of pairs, "same" or "valid", optional
        Places on both sides of each axis, or before and behind it, that count as nothing. "same"
        gives as many windows as elements, divided by the strides.
    base_dilation : int or sequence of int, optional
        Steps between the elements of `x`; the places between count as nothing.

    Returns
    -------
    Tensor
        Of the dtype of `x`.

    Raises
    ------
    ShapeError
        If a window does not fit.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.reduce_window([1, 5, 2, 4], "max", 2)
    Tensor([5, 5, 4])
    >>> fg.reduce_window([1, 5, 2, 4], "sum", 3, strides=2, padding="same")
    Tensor([8, 6])
    """
    tensor = as_tensor(x)
    steps = strides, padding, dilation, base_dilation
    return record(pooling.reduce_window, (tensor,), reduction, window, *steps)


def sliding_window_view(
    x: ArrayLike, window_shape: Numbers, axis: int | Sequence[int] | None = None
) -> Tensor:
    """Every window of an array, its elements along new last axes.

    Parameters
    ----------
    x : array_like
    window_shape : int or sequence of int
        The extent of a window along each of the axes.
    axis : int or sequence of int, optional
        Different axes; by default all, in order.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.sliding_window_view([1, 2, 3, 4], 3)
    Tensor([[1, 2, 3],
            [2, 3, 4]])
    """
    name = "sliding_window_view"
    tensor = as_tensor(x)
    if axis is None:
        axes = axis_tuple(name, None, tensor.ndim)
    else:
        given = axis if isinstance(axis, Sequence) else (axis,)
        axes = tuple(one_axis(name, each, tensor.ndim) for each in given)
    sizes = tuple(window_shape) if isinstance(window_shape, Sequence) else (window_shape,)
    if len(sizes) != len(axes) or len(set(axes)) < len(axes):
        raise ShapeError(
            f"{name}: a window of shape {show(sizes)} for axes {show(axes)}",
            remedy="give an extent for each axis, and each axis once",
        )
    sizes = numbers(name, "window_shape", sizes, len(axes))
    for size, place in zip(sizes, axes, strict=True):
        if size > tensor.shape[place]:
            raise ShapeError(
                f"{name}: a window of {size} does not fit axis {place} of shape "
                f"{show(tensor.shape)}",
                remedy="pad the array, or take a smaller window",
            )
    return record(_windows, (tensor,), sizes, axes)


def _windows(x: Node, sizes: tuple[int, ...], axes: tuple[int, ...]) -> Node:
    ones, rank = (1,) * len(axes), len(x.shape)
    rest = [a for a in range(rank) if a not in axes]
    lead = len(rest)
    windows = build_window.windows(build.transpose(x, (*rest, *axes)), sizes, ones, ones)
    order = [0] * rank
    for place, a in enumerate(rest):
        order[a] = place
    for place, a in enumerate(axes):
        order[a] = lead + len(axes) + place
    return build.transpose(windows, (*order, *range(lead, lead + len(axes))))


def conv_general_dilated(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Numbers,
    padding: Sequence[Sequence[int]] | Literal["SAME", "VALID", "same", "valid"],
    lhs_dilation: Numbers = 1,
    rhs_dilation: Numbers = 1,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
) -> Tensor:
    """The general convolution: zeros between the elements of either operand, groups of either kind.

    Parameters
    ----------
    lhs : array_like
        Of shape ``(N, C, places...)``.
    rhs : array_like
        Of shape ``(O, C / feature_group_count, window...)``.
    window_strides : int or sequence of int
        Steps between the windows.
    padding : sequence of pairs, "same" or "valid"
        Zeros before and behind each axis; negative numbers cut.
    lhs_dilation, rhs_dilation : int or sequence of int, optional
        Steps between the elements of the input, and inside of a window.
    feature_group_count : int, optional
        Parts of the channels that do not see each other.
    batch_group_count : int, optional
        Parts of the batch, each of which meets its part of the output channels.

    Returns
    -------
    Tensor
        Of shape ``(N / batch_group_count, O, ...)``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x, w = [[[1.0, 2.0, 3.0]]], [[[1.0, 1.0]]]
    >>> fg.conv_general_dilated(x, w, 1, [(1, 0)], lhs_dilation=2)
    Tensor([[[1., 1., 2., 2., 3.]]])
    """
    operands = [as_tensor(lhs), as_tensor(rhs)]

    def node() -> tuple[Node, list[Tensor]]:
        (x, w), tensors = common_nodes(operands)
        result = convolution_general(
            x,
            w,
            strides=window_strides,
            padding=padding,
            lhs_dilation=lhs_dilation,
            rhs_dilation=rhs_dilation,
            feature_groups=feature_group_count,
            batch_groups=batch_group_count,
        )
        return result, tensors

    return record_nodes(node)


# --- sequences ------------------------------------------------------------------------------------


def convolve(a: ArrayLike, v: ArrayLike, mode: Mode = "full") -> Tensor:
    """The convolution of two sequences.

    Parameters
    ----------
    a, v : array_like
        With one axis.
    mode : {"full", "same", "valid"}, optional
        All places where the two meet, as many as the longer has, or only where the shorter lies
        inside the longer.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.convolve([1, 2, 3], [0, 1, 10])
    Tensor([ 0,  1, 12, 23, 30])
    >>> fg.convolve([1, 2, 3], [0, 1, 10], "valid")
    Tensor([12])
    """
    return _sequences("convolve", a, v, mode, flipped=True)


def correlate(a: ArrayLike, v: ArrayLike, mode: Mode = "valid") -> Tensor:
    """Sums of products of a sequence with another, moved along it.

    Parameters
    ----------
    a, v : array_like
        With one axis.
    mode : {"valid", "same", "full"}, optional
        As of `convolve`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.correlate([1, 2, 3, 4], [1, 10])
    Tensor([21, 32, 43])
    """
    return _sequences("correlate", a, v, mode, flipped=False)


def _sequences(name: str, a: Any, v: Any, mode: Mode, flipped: bool) -> Tensor:
    operands = [as_tensor(a), as_tensor(v)]
    for operand in operands:
        if operand.ndim > 1:
            raise ShapeError(
                f"{name} takes arrays with one axis, not of shape {show(operand.shape)}",
                remedy="flatten it, or use F.conv2d",
            )
        if not operand.size:
            raise EmptyReductionError(f"{name}: a sequence is empty")

    def node() -> tuple[Node, list[Tensor]]:
        (x, w), tensors = common_nodes(operands)
        x, w = (build.reshape(n, (n.tensor_type.size or 0,)) for n in (x, w))
        swapped = int(w.shape[0]) > int(x.shape[0])  # type: ignore[arg-type]
        if swapped:
            x, w = w, x
        w = build.flip(w, (0,)) if flipped else w
        size = int(w.shape[0])  # type: ignore[arg-type]
        before = {"full": size - 1, "same": size // 2, "valid": 0}
        if mode not in before:
            raise ShapeError(
                f"{name}: there is no mode {mode!r}", remedy="take 'full', 'same' or 'valid'"
            )
        behind = size - 1 if mode == "full" else size - 1 - size // 2 if mode == "same" else 0
        shown = convolution(
            build.expand_dims(x, (0, 1)),
            build.expand_dims(w, (0, 1)),
            rank=1,
            padding=[(before[mode], behind)],
            name=name,
        )
        result = build.squeeze(shown, (0, 1))
        return build.flip(result, (0,)) if swapped and not flipped else result, tensors

    return record_nodes(node)
