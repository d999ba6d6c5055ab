"""Products in fewer bits while `fusegrad.autocast` is open.

Knows which mode is open; which functions ask is their business.
"""

from __future__ import annotations

from ..codegen.dtypes import float32
from ..ir.node import Node
from ..ops import build
from ..tensors.context import active

__all__ = ["narrowed"]


def narrowed(x: Node) -> Node:
    """A float32 operand of a product, in the dtype of the open `autocast`."""
    dtype = active.autocast
    return build.cast(x, dtype) if dtype is not None and x.dtype is float32 else x
