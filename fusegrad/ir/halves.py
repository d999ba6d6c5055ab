"""Ops on 16-bit floats: computed in float32, each result rounded once.

Knows dtypes and the patterns of ops; knows no concrete op. This is the meaning of a graph with
halves: the interpreter follows it, a pass writes it out for ops that are no value at an index, and
scalar ops do the same in kernels. What moves values, or holds a graph, takes halves as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..codegen.dtypes import DType, float32
from ..codegen.scalar import TABLE
from ..errors import FusegradError
from .node import Array, Node, Op, Pattern, where
from .types import TensorType, Type

__all__ = ["as_array", "in_float32", "meaning", "number_of", "wide"]

_MOVING = (Pattern.SOURCE, Pattern.MOVE)


def wide(dtype: DType) -> DType:
    """float32 for a half, else the dtype itself."""
    return float32 if dtype.is_half else dtype


def in_float32(op: Op, types: Sequence[Type]) -> bool:
    """Whether `op` of operands of these types computes with halves."""
    # Nearly never, so that is asked first.
    for type_ in types:
        if type(type_) is TensorType and type_.dtype.is_half:
            return op.widens and op.pattern not in _MOVING
    return False


def meaning(node: Node, arrays: Sequence[Array]) -> Any:
    """What the op of `node` gives for values of its operands; halves computed in float32."""
    try:
        return _meaning(node, arrays)
    except FusegradError as error:
        # What an op itself raises knows no line.
        error.where = error.where or where(node)
        raise


def _meaning(node: Node, arrays: Sequence[Array]) -> Any:
    if not in_float32(node.op, [operand.type for operand in node.inputs]):
        return node.op.ref(*arrays)
    cast = TABLE["cast"].meaning
    given = [cast(a, wide(i.dtype)) for a, i in zip(arrays, node.inputs, strict=True)]
    value = node.op.ref(*given)
    if isinstance(node.type, TensorType):
        return cast(value, node.dtype)
    return tuple(cast(v, t.dtype) for v, t in zip(value, node.type.items, strict=True))


def as_array(values: Any, dtype: DType) -> Array:
    """Values as an array of a dtype; the array itself if it has it."""
    array = np.asarray(values)
    return array if array.dtype == dtype.numpy else np.asarray(TABLE["cast"].meaning(array, dtype))


def number_of(array: Any, dtype: DType) -> float | int | bool:
    """The only element of an array as a Python number."""
    number: float | int | bool = TABLE["cast"].meaning(array, wide(dtype)).item()
    return number
