"""How a product with windows is computed: what it reads in place, and what is summed where.

Knows the shapes of its operands; knows no kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir.node import Node
from .views import shape_of, steps_of, turned_view, viewed

__all__ = ["has_long_windows", "operands_of", "strides_of"]


def has_long_windows(node: Node) -> bool:
    """Whether the sums are longer than the results are many, as in the derivative by a weight.

    Then rows of windows, one for each place, are multiplied; otherwise columns.
    """
    w = node.inputs[1]
    return math.prod(shape_of(w)[3:]) > math.prod(shape_of(node)[3:])


def strides_of(node: Node, base: Node) -> tuple[int, tuple[int, ...]]:
    """Where the first element of the view `node` of `base` is, and the steps along its axes."""
    found = steps_of(node, base)
    assert found is not None, "a value is read in place where it is affine"
    return found


def operands_of(node: Node, is_value: Callable[[Node], bool]) -> tuple[Node, Node]:
    """The values that input and weight of a product with windows are read from.

    The elements of a window lie side by side in a weight that is read in place; where windows are
    short, forwards or backwards, and the channels at any distance.
    """
    x, w = node.inputs
    base = viewed(x, is_value)
    _, steps = strides_of(x, base)
    if steps[-1] != 1 and x.shape[-1] != 1:
        base = x
    long = has_long_windows(node)
    views = (viewed,) if long else (turned_view, viewed)
    for weight in (view(w, is_value) for view in views):
        if _are_side_by_side(w, weight, long):
            return base, weight
    return base, w


def _are_side_by_side(w: Node, weight: Node, long: bool) -> bool:
    """Whether the elements of a window lie side by side in what a weight is a view of."""
    _, steps = strides_of(w, weight)
    shape = shape_of(w)
    inner = [axis for axis in range(3, len(shape)) if shape[axis] != 1]
    expected = -1 if inner and not long and steps[inner[-1]] < 0 else 1
    for axis in reversed(inner):
        if steps[axis] != expected:
            return False
        expected *= shape[axis]
    return True
