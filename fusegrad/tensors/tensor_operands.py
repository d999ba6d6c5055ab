"""Operands as nodes: promotion, and broadcasting for elementwise functions.

Knows tensors by their state, and Python numbers; everything else was converted before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..codegen.dtypes import DType, bool_, float64, int64
from ..codegen.varying import Varying, origins
from ..errors import DTypeError, ShapeError
from ..ir.node import Node
from ..ir.types import Extent
from ..ops import build
from ..ops.elementwise import Function
from ..semantics.promotion import kind_of, promote, with_weak
from ..semantics.shapes import broadcast_shapes, show
from .tensor_state import State

__all__ = [
    "SCALARS",
    "check_fitting",
    "common_dtype",
    "common_nodes",
    "elementwise_node",
    "elementwise_over",
    "plain_number",
]

Operand = State | bool | int | float
Shape = tuple[Extent, ...]

SCALARS = (bool, int, float, np.generic)
"""The types of numbers that adopt the dtype of the tensors they meet."""
KINDS = {"bool": 0, "uint": 1, "int": 1, "float": 2}
"""The order of the kinds of dtypes: a number of a higher kind changes the kind of the result."""
_PYTHON = {"bool": bool_, "int": int64, "float": float64}


def plain_number(value: Any) -> bool | int | float:
    """A Python or NumPy number as a Python number."""
    if isinstance(value, Varying):
        return value + 0
    return value.item() if isinstance(value, np.generic) else value  # type: ignore[no-any-return]


def common_dtype(operands: Sequence[Operand]) -> DType:
    """The dtype in which values of all operands are computed."""
    dtype: DType | None = None
    kind: str | None = None
    weak = False
    for operand in operands:
        if isinstance(operand, State):
            own = operand._type.dtype
            if operand._weak:
                weak, kind = True, _higher(kind, own.kind)
            elif dtype is not own:
                dtype = own if dtype is None else promote(dtype, own)
        else:
            kind = _higher(kind, kind_of(operand))
    if kind is not None:
        # Python numbers that a trace reads are computed with as Python would.
        dtype = _PYTHON[kind] if weak and dtype is None else with_weak(dtype, kind)
    assert dtype is not None
    return dtype


def _higher(kind: str | None, other: str) -> str:
    return other if kind is None or KINDS[other] > KINDS[kind] else kind


def common_nodes(operands: Sequence[Operand]) -> list[Node]:
    """The nodes of operands, each with its shape, in their common dtype."""
    dtype = common_dtype(operands)
    return [
        build.cast(operand._read(), dtype)
        if isinstance(operand, State)
        else _constant(operand, dtype, ())
        for operand in operands
    ]


def elementwise_node(function: Function, operands: Sequence[Operand]) -> Node:
    """The node of an elementwise function of operands that promote and broadcast."""
    dtype = function.operand_dtype(common_dtype(operands))
    shapes = [operand._type.shape for operand in operands if isinstance(operand, State)]
    shape: Shape = ()
    if shapes:
        shape = shapes[0]
        if shapes.count(shape) < len(shapes):
            shape = broadcast_shapes(function.verb, shapes)
    nodes = []
    for operand in operands:
        if isinstance(operand, State):
            node = operand._read()
            if node.dtype is not dtype:
                node = build.cast(node, dtype)
            nodes.append(node if node.shape == shape else _widened(node, shape))
        else:
            nodes.append(_constant(operand, dtype, shape))
    return function.build(*nodes)


def elementwise_over(
    nodes: Sequence[Node], function: Function, operands: Sequence[Operand]
) -> Node:
    """The node of an elementwise function, with other nodes in place of the tensors."""
    rest = iter(nodes)
    items: list[Operand] = []
    for operand in operands:
        if isinstance(operand, State):
            item = object.__new__(State)
            item._blank(operand._type)
            item._node, item._weak = next(rest), operand._weak
            operand = item
        items.append(operand)
    return elementwise_node(function, items)


def _widened(node: Node, shape: Shape) -> Node:
    lead = len(shape) - len(node.shape)
    if node.shape == shape[lead:]:
        return build.broadcast(node, shape, range(lead, len(shape)))
    return build.broadcast_to(node, shape)


# --- numbers --------------------------------------------------------------------------------------

# The constants of late: a training step writes the same few again and again.
_constants: dict[tuple[Any, DType, Shape], Node] = {}
_MOST = 512


def _constant(value: bool | int | float, dtype: DType, shape: Shape) -> Node:
    # 0.0 and -0.0 are equal as keys.
    key = (value, dtype, shape) if value else (str(value), dtype, shape)
    known = origins((value, shape))
    node = _constants.get(key) if not known else None
    if node is None:
        if dtype.is_integer and not dtype.lowest <= value <= dtype.highest:
            raise DTypeError(
                f"the number {value} does not fit {dtype}",
                remedy='convert the tensor to a wider dtype first, x.astype("int64")',
            )
        node = build.full(shape, _converted(value, dtype), dtype)
        if len(_constants) >= _MOST:
            _constants.clear()
        if not known:
            _constants[key] = node
    return node


def _converted(value: bool | int | float, dtype: DType) -> bool | int | float:
    if dtype.kind == "bool":
        return bool(value)
    if type(value) is Varying:
        return value
    return float(value) if dtype.is_float else int(value)


def check_fitting(value: State, dtype: DType, what: str, shape: tuple[int, ...] | None) -> None:
    """Raise unless a value can be assigned to a tensor of `dtype` and, if it is given, `shape`."""
    if not value._weak and KINDS[value.dtype.kind] > KINDS[dtype.kind]:
        raise DTypeError(
            f"cannot {what} a tensor of {dtype} in place with values of {value.dtype}",
            remedy=f'convert one of them: x = x.astype("{value.dtype}"), '
            f'or the values with .astype("{dtype}")',
        )
    if shape is not None and value.shape != shape:
        raise ShapeError(
            f"cannot {what} a tensor of shape {show(shape)} in place with values of shape "
            f"{show(value.shape)}",
            remedy="write x = x + y for a result of another shape",
        )
