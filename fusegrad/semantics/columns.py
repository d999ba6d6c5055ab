"""Windows of images as columns, and columns added up to images.

Functions on nodes; knows no Tensor.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import ShapeError
from ..ir.node import Node
from ..ops import build, build_window
from .convolution import numbers
from .manipulation import pad
from .shapes import show

__all__ = ["fold", "unfold"]

RANK = 2


def unfold(x: Node, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Node:
    """``(N, C, H, W)`` to ``(N, C * elements, windows)``."""
    if len(x.shape) not in (RANK + 1, RANK + 2):
        raise ShapeError(
            f"unfold: an input of shape {show(x.shape)} has {len(x.shape)} axes, not 4 "
            "(or 3 without a batch)",
            remedy="the input has shape (batch, channels, height, width)",
        )
    sizes = numbers("unfold", "kernel_size", kernel_size, RANK)
    dilations = numbers("unfold", "dilation", dilation, RANK)
    widths = numbers("unfold", "padding", padding, RANK, least=0)
    strides = numbers("unfold", "stride", stride, RANK)
    lead = x.shape[:-RANK]
    padded = pad(x, [*[(0, 0)] * len(lead), *((width, width) for width in widths)])
    for axis, (size, each) in enumerate(zip(sizes, dilations, strict=True), -RANK):
        if build_window.window_count(padded.shape[axis], size, 1, each) in (-1, 0):
            raise ShapeError(
                f"unfold: a window of {size} elements with dilation {each} does not fit axis "
                f"{axis} of the input of shape {show(x.shape)} with padding {widths[axis]}",
                remedy="pad the input, or take a smaller window",
            )
    windows = build_window.windows(padded, sizes, strides, dilations)
    places = [int(e) for e in windows.shape[-RANK:]]  # type: ignore[arg-type]
    rows = int(lead[-1]) * math.prod(sizes)  # type: ignore[arg-type]
    return build.reshape(windows, (*lead[:-1], rows, math.prod(places)))


def fold(
    x: Node, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Node:
    """``(N, C * elements, windows)`` to ``(N, C, H, W)``."""
    extents = numbers("fold", "output_size", output_size, RANK)
    sizes = numbers("fold", "kernel_size", kernel_size, RANK)
    dilations = numbers("fold", "dilation", dilation, RANK)
    widths = numbers("fold", "padding", padding, RANK, least=0)
    strides = numbers("fold", "stride", stride, RANK)
    padded = [extent + 2 * width for extent, width in zip(extents, widths, strict=True)]
    counts = [
        int(build_window.window_count(*each) or 0)  # type: ignore[arg-type]
        for each in zip(padded, sizes, strides, dilations, strict=True)
    ]
    elements = math.prod(sizes)
    shaped = len(x.shape) in (2, 3) and int(x.shape[-2]) % elements == 0  # type: ignore[arg-type]
    if not shaped or min(counts) < 1 or x.shape[-1] != math.prod(counts):
        wanted = f"{math.prod(counts)} windows" if min(counts) > 0 else "no window"
        raise ShapeError(
            f"fold: an input of shape {show(x.shape)} for windows of {show(sizes)} in "
            f"{show(extents)}, where there is room for {wanted}",
            remedy="the input has shape (batch, channels * elements of a window, windows)",
        )
    lead = x.shape[:-2]
    channels = int(x.shape[-2]) // elements  # type: ignore[arg-type]
    apart = build.reshape(x, (*lead, channels, *sizes, *counts))
    whole = build_window.overlap(apart, padded, strides, dilations)
    return pad(whole, [*[(0, 0)] * (len(lead) + 1), *((-width, -width) for width in widths)])
