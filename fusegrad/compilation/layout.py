"""Arrays that are views: how a program reads them where they are, without a copy.

Knows strides and movement ops; knows no kernels.

A transposed or sliced array is read as the memory behind it, through the same movement that NumPy
made it by: a nominal shape whose row-major strides are those of the view, a slice of it, flips,
repetitions and a transposition. Only elements of the view are ever read.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, final

import numpy.typing as npt

from ..codegen.records import dataclass
from ..ir.node import Node
from ..ops import build

__all__ = ["LEAST", "Layout", "layout_of"]

LEAST = 1 << 16
"""Views of fewer bytes are copied: that is cheaper than a program of their own."""


@final
@dataclass(frozen=True)
class Layout:
    """How to read a view.

    Attributes
    ----------
    nominal : tuple of int
        The shape of the memory behind it.
    kept : tuple of int
        The extents of the view along the nominal axes.
    flipped : tuple of int
        Nominal axes that run backwards.
    order : tuple of int
        The view's axes in order of their strides, without repeated ones.
    shape : tuple of int
        The shape of the view.
    offset : int
        Bytes from the view's first element to the memory's.
    """

    nominal: tuple[int, ...]
    kept: tuple[int, ...]
    flipped: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]
    offset: int

    def apply(self, memory: Node) -> Node:
        """The view, of a variable of the nominal shape."""
        zeros, ones = (0,) * len(self.nominal), (1,) * len(self.nominal)
        part = build.slice_(memory, zeros, self.kept, ones)
        part = build.flip(part, self.flipped)
        part = build.reshape(part, tuple(self.shape[a] for a in self.order))
        ascending = sorted(self.order)
        part = build.transpose(part, [self.order.index(a) for a in ascending])
        return build.broadcast(part, self.shape, ascending)


def layout_of(array: npt.NDArray[Any]) -> Layout | None:
    """The layout of a view that is worth reading in place, None for all other arrays.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.zeros((256, 512), "float32")
    >>> layout_of(x) is None, layout_of(x.T).nominal, layout_of(x[:, ::2]).nominal
    (True, (256, 512, 1), (256, 256, 2))
    """
    flags = array.flags
    if flags.c_contiguous or not flags.aligned or array.nbytes < LEAST:
        return None
    itemsize = array.itemsize
    if any(s % itemsize for s in array.strides):
        return None
    strides = [s // itemsize for s in array.strides]
    moving = [a for a, e in enumerate(array.shape) if e > 1 and strides[a]]
    order = sorted(moving, key=lambda a: (-abs(strides[a]), a))
    if not order:
        return None
    nominal: list[int] = []
    for outer, inner in pairwise(order):
        whole, rest = divmod(abs(strides[outer]), abs(strides[inner]))
        if rest or whole < array.shape[inner]:
            return None
        nominal.append(whole)
    nominal = [array.shape[order[0]], *nominal, abs(strides[order[-1]])]
    flipped = tuple(i for i, a in enumerate(order) if strides[a] < 0)
    offset = sum((array.shape[a] - 1) * array.strides[a] for a in order if strides[a] < 0)
    # Axes of extent 1 and repeated ones are new axes of the view.
    fixed = tuple(a for a, e in enumerate(array.shape) if e == 1)
    kept = (*(array.shape[a] for a in order), 1)
    everything = (*order, *fixed)
    return Layout(tuple(nominal), kept, flipped, everything, array.shape, offset)
