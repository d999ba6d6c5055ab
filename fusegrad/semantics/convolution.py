"""Convolutions in any number of dimensions: padding, groups, bias, and the transposed ones.

Functions on nodes; knows no Tensor. Axes are ordered (batch, channels, places...).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from ..codegen.dtypes import bool_
from ..errors import DTypeError, ShapeError
from ..ir.node import Node
from ..ops import build, build_window
from .autocast import narrowed
from .manipulation import pad
from .shapes import show

__all__ = [
    "convolution",
    "convolution_general",
    "convolution_transpose",
    "numbers",
    "padding_widths",
]

Widths = list[tuple[int, int]]


def numbers(name: str, what: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
    """One integer for each of `rank` axes; a single one holds for all."""
    several = isinstance(value, Sequence) or getattr(value, "ndim", 0) > 0
    given = tuple(value) if several else (value,)
    result = tuple(operator.index(each) for each in given)
    if len(result) == 1:
        result *= rank
    if len(result) != rank:
        raise ShapeError(
            f"{name}: {what} {show(result)} has {len(result)} numbers for {rank} axes",
            remedy=f"give one number, or {rank} of them",
        )
    if any(number < least for number in result):
        raise ShapeError(
            f"{name}: {what} is {result[0] if len(set(result)) == 1 else show(result)}, "
            f"less than {least}",
            remedy=f"every number of {what} is at least {least}",
        )
    return result


def padding_widths(
    name: str,
    padding: Any,
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    extents: Sequence[int] | None = None,
) -> Widths:
    """What is added before and behind each axis.

    `padding` is a number, a number for each axis, a pair for each axis, "valid" (nothing) or "same"
    (as many windows as elements, divided by the stride; that needs `extents` for strides over 1).
    """
    rank = len(sizes)
    if isinstance(padding, str):
        mode = padding.lower()
        if mode == "valid":
            return [(0, 0)] * rank
        if mode != "same":
            raise ShapeError(
                f"{name}: padding is {padding!r}", remedy="give 'same', 'valid', or numbers"
            )
        if extents is None and any(stride != 1 for stride in strides):
            raise ShapeError(
                f"{name}: padding 'same' with stride {show(strides)}",
                remedy="take stride 1, or give the padding in numbers",
            )
        widths = []
        for axis, (size, stride, dilation) in enumerate(
            zip(sizes, strides, dilations, strict=True)
        ):
            total = dilation * (size - 1)
            if extents is not None:
                count = -(-extents[axis] // stride)
                total = max((count - 1) * stride + total + 1 - extents[axis], 0)
            widths.append((total // 2, total - total // 2))
        return widths
    if isinstance(padding, Sequence) and any(isinstance(pair, Sequence) for pair in padding):
        pairs = [numbers(name, "padding", pair, 2, least=0) for pair in padding]
        if len(pairs) != rank:
            raise ShapeError(
                f"{name}: padding has {len(pairs)} pairs for {rank} axes",
                remedy="give a pair for each axis",
            )
        return [(low, high) for low, high in pairs]
    return [(width, width) for width in numbers(name, "padding", padding, rank, least=0)]


def convolution(
    x: Node,
    w: Node,
    bias: Node | None = None,
    *,
    rank: int,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    name: str = "convolution",
) -> Node:
    """``(N, C, ...)`` with a weight ``(O, C / groups, ...)`` to ``(N, O, ...)``.

    Without the batch axis of the input there is none in the result.
    """
    _check(name, x, w, rank)
    x, w = narrowed(x), narrowed(w)
    single = len(x.shape) == rank + 1
    x = build.expand_dims(x, (0,)) if single else x
    strides = numbers(name, "stride", stride, rank)
    dilations = numbers(name, "dilation", dilation, rank)
    sizes = w.shape[2:]
    widths = padding_widths(name, padding, sizes, strides, dilations)  # type: ignore[arg-type]
    _check_groups(name, x, w, groups, int(w.shape[1]) * groups)  # type: ignore[arg-type]
    for axis in range(rank):
        reach = dilations[axis] * (int(sizes[axis]) - 1) + 1  # type: ignore[arg-type]
        if int(x.shape[axis + 2]) + sum(widths[axis]) < reach or not sizes[axis]:  # type: ignore[arg-type]
            raise ShapeError(
                f"{name}: a window of {sizes[axis]} elements with dilation {dilations[axis]} does "
                f"not fit axis {axis - rank} of the input of shape {show(x.shape)} "
                f"with padding {widths[axis]}",
                remedy="pad the input, or take a smaller window",
            )
    result = build_window.convolution(
        _grouped_input(x, groups),
        _grouped_weight(w, groups),
        strides,
        dilations,
        [before for before, _ in widths],
        [behind for _, behind in widths],
    )
    return _finished(name, _joined(result), bias, single)


def convolution_transpose(
    x: Node,
    w: Node,
    bias: Node | None = None,
    *,
    rank: int,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    name: str = "convolution_transpose",
) -> Node:
    """``(N, C, ...)`` with a weight ``(C, O / groups, ...)`` to ``(N, O, ...)``.

    The derivative of `convolution` by its input, as a function of its own.
    """
    _check(name, x, w, rank, transposed=True)
    x, w = narrowed(x), narrowed(w)
    single = len(x.shape) == rank + 1
    x = build.expand_dims(x, (0,)) if single else x
    strides = numbers(name, "stride", stride, rank)
    dilations = numbers(name, "dilation", dilation, rank)
    cuts = numbers(name, "padding", padding, rank, least=0)
    extra = numbers(name, "output_padding", output_padding, rank, least=0)
    sizes = [int(size) for size in w.shape[2:]]  # type: ignore[arg-type]
    _check_groups(name, x, w, groups, int(w.shape[0]), True)  # type: ignore[arg-type]
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise ShapeError(
            f"{name}: output_padding {show(extra)} with stride {show(strides)} "
            f"and dilation {show(dilations)}",
            remedy="output_padding is less than the stride or the dilation",
        )
    full = []
    for axis, (size, stride_, dilation_) in enumerate(zip(sizes, strides, dilations, strict=True)):
        count = int(x.shape[axis + 2])  # type: ignore[arg-type]
        full.append((count - 1) * stride_ + dilation_ * (size - 1) + 1 + extra[axis])
        if full[-1] <= 2 * cuts[axis] or not size or not count:
            raise ShapeError(
                f"{name}: nothing is left of axis {axis - rank} of shape {show(x.shape)} with a "
                f"window of {size} and padding {cuts[axis]}",
                remedy="take less padding: it is cut off at both ends of the result",
            )
    extents = [e - 2 * c for e, c in zip(full, cuts, strict=True)]
    result = build_window.convolution_by_input(
        _grouped_input(x, groups), _grouped_weight(w, groups), extents, strides, dilations, cuts
    )
    return _finished(name, _joined(result), bias, single)


def convolution_general(
    x: Node,
    w: Node,
    *,
    strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    feature_groups: int,
    batch_groups: int,
) -> Node:
    """A convolution of an input with zeros between its elements, in groups of channels or images.

    Padding may be negative: it cuts.
    """
    name, rank = "conv_general_dilated", len(x.shape) - 2
    if rank < 1 or len(w.shape) != len(x.shape):
        raise ShapeError(
            f"{name}: operands of shapes {show(x.shape)} and {show(w.shape)}",
            remedy="both have shape (batch or out, channels, places...)",
        )
    strides = numbers(name, "window_strides", strides, rank)
    spread = numbers(name, "lhs_dilation", lhs_dilation, rank)
    dilations = numbers(name, "rhs_dilation", rhs_dilation, rank)
    if batch_groups < 1 or (batch_groups > 1 and feature_groups > 1):
        raise ShapeError(
            f"{name}: {feature_groups} groups of features and {batch_groups} of the batch",
            remedy="only one of the two may be more than 1",
        )
    x = build.pad(x, [0] * (rank + 2), [0] * (rank + 2), [0, 0, *(each - 1 for each in spread)])
    extents = [int(e) for e in x.shape[2:]]  # type: ignore[arg-type]
    if isinstance(padding, str):
        sizes = [int(e) for e in w.shape[2:]]  # type: ignore[arg-type]
        widths = padding_widths(name, padding, sizes, strides, dilations, extents)
    else:
        widths = [(operator.index(low), operator.index(high)) for low, high in padding]
        if len(widths) != rank:
            raise ShapeError(
                f"{name}: padding has {len(widths)} pairs for {rank} axes",
                remedy="give a pair for each axis",
            )
    x = pad(x, [(0, 0), (0, 0), *widths])
    params: dict[str, Any] = {"rank": rank, "stride": strides, "dilation": dilations, "name": name}
    if batch_groups == 1:
        return convolution(x, w, **params, groups=feature_groups)
    batch = int(x.shape[0])  # type: ignore[arg-type]
    if batch % batch_groups or int(w.shape[0]) % batch_groups:  # type: ignore[arg-type]
        raise ShapeError(
            f"{name}: {batch} images and {w.shape[0]} output channels in {batch_groups} groups",
            remedy="batch_group_count divides both",
        )
    # Groups of images beside each other as groups of channels.
    channels = int(x.shape[1])  # type: ignore[arg-type]
    apart = build_window.exchange(build_window.split_axis(x, 0, batch_groups))
    merged = build.reshape(apart, (batch // batch_groups, batch_groups * channels, *x.shape[2:]))
    return convolution(merged, w, **params, groups=batch_groups)


# --- groups ---------------------------------------------------------------------------------------


def _grouped_input(x: Node, groups: int) -> Node:
    """(N, C, ...) as (groups, N, C / groups, ...)."""
    channels = int(x.shape[1])  # type: ignore[arg-type]
    apart = build.reshape(x, (x.shape[0], groups, channels // groups, *x.shape[2:]))
    return build_window.exchange(apart)


def _grouped_weight(w: Node, groups: int) -> Node:
    """(O, C, ...) as (groups, O / groups, C, ...)."""
    return build.reshape(w, (groups, int(w.shape[0]) // groups, *w.shape[1:]))  # type: ignore[arg-type]


def _joined(x: Node) -> Node:
    """(groups, N, O, ...) as (N, groups * O, ...)."""
    return build_window.merge_axes(build_window.exchange(x), 1)


def _finished(name: str, x: Node, bias: Node | None, single: bool) -> Node:
    if bias is not None and bias.shape != x.shape[1:2]:
        raise ShapeError(
            f"{name}: a bias of shape {show(bias.shape)} for {x.shape[1]} channels",
            remedy="the bias has one axis, with a number for each channel of the result",
        )
    if bias is not None:
        x = build.add(x, build.broadcast(narrowed(bias), x.shape, (1,)))
    return build.squeeze(x, (0,)) if single else x


# --- checks ---------------------------------------------------------------------------------------


def _check(name: str, x: Node, w: Node, rank: int, transposed: bool = False) -> None:
    if len(w.shape) != rank + 2:
        order = "(in, out / groups" if transposed else "(out, in / groups"
        raise ShapeError(
            f"{name}: a weight of shape {show(w.shape)} has {len(w.shape)} axes, not {rank + 2}",
            remedy=f"the weight has shape {order}, window...)",
        )
    if len(x.shape) not in (rank + 1, rank + 2):
        raise ShapeError(
            f"{name}: an input of shape {show(x.shape)} has {len(x.shape)} axes, "
            f"not {rank + 2} (or {rank + 1} without a batch)",
            remedy="the input has shape (batch, channels, places...)",
        )
    if x.dtype is bool_:
        raise DTypeError(f"{name} takes numbers, not bool", remedy="convert with .astype() first")


def _check_groups(
    name: str, x: Node, w: Node, groups: int, channels: int, transposed: bool = False
) -> None:
    given = int(x.shape[1])  # type: ignore[arg-type]
    count = int(w.shape[0])  # type: ignore[arg-type]
    if groups < 1 or count % groups:
        raise ShapeError(
            f"{name}: {count} {'input' if transposed else 'output'} channels in {groups} groups",
            remedy="groups divides the channels of input and output",
        )
    if given != channels:
        expected = f"{channels}" if groups == 1 else f"{channels} (in {groups} groups)"
        raise ShapeError(
            f"{name}: the input of shape {show(x.shape)} has {given} channels, "
            f"the weight of shape {show(w.shape)} takes {expected}",
            remedy="axis 1 of the input is the channels; check the weight and groups",
        )
