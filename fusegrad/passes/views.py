"""Views: movement that a kernel absorbs, as what it reads is affine in the loop variables.

Knows index arithmetic of movement ops; knows no kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..codegen.affine import canonical, linear, offset
from ..codegen.dtypes import float32
from ..codegen.expr import Expr, Var, index
from ..ir.node import Node, Op
from ..ops.base import IndexedOp
from ..ops.identities import Cast
from ..ops.movement import Broadcast, Flip, Reshape, Slice, Transpose
from ..ops.window import Windows

__all__ = [
    "flat_index",
    "operand_base",
    "shape_of",
    "steps_of",
    "turned_view",
    "view_index",
    "viewed",
]

VIEWS = (Broadcast, Reshape, Slice, Transpose, Windows)


def shape_of(node: Node) -> tuple[int, ...]:
    """The extents as numbers.

    Raises
    ------
    TypeError
        If one is symbolic: a program has its own for each shape.
    """
    for extent in node.shape:
        if not isinstance(extent, int):
            raise TypeError(f"extent {extent} of {node.op} is not a number")
    return node.shape  # type: ignore[return-value]


def flat_index(shape: Sequence[int], indices: Sequence[Expr]) -> Expr:
    """The row-major position of `indices` in `shape`."""
    strides = [1]
    for extent in reversed(shape[1:]):
        strides.append(strides[-1] * extent)
    return offset(indices, strides[::-1] if shape else ())


def view_index(node: Node, base: Node, indices: tuple[Expr, ...]) -> Expr:
    """The row-major position in `base` of element `indices` of its view `node`."""
    while node is not base:
        read: list[tuple[Expr, ...]] = []

        def record(at: tuple[Expr, ...], read: list[tuple[Expr, ...]] = read) -> Expr:
            read.append(at)
            return index(0)

        assert isinstance(node.op, IndexedOp)
        node.op.value(node, (record,), indices)
        indices = tuple(canonical(i) for i in read[0])
        node = node.inputs[0]
    return flat_index(shape_of(node), indices)


def viewed(node: Node, is_value: Callable[[Node], bool]) -> Node:
    """The value that `node` is an affine view of; `node` itself when it is none.

    The nearest of those that are values in memory already, else the farthest.
    """
    return _base(node, is_value, lambda step: isinstance(step.op, VIEWS))


def turned_view(node: Node, is_value: Callable[[Node], bool]) -> Node:
    """The same, where axes may run backwards."""
    return _base(node, is_value, lambda step: isinstance(step.op, (*VIEWS, Flip)))


def operand_base(node: Node, is_value: Callable[[Node], bool]) -> Node:
    """The value that the operand of a product is an affine view of.

    Where that is of 16 bits and converted, the product converts what it reads.
    """
    return _base(node, is_value, lambda step: isinstance(step.op, VIEWS) or _widens(step))


def _widens(node: Node) -> bool:
    """Whether a 16-bit float becomes a float32."""
    return isinstance(node.op, Cast) and node.dtype is float32 and node.inputs[0].dtype.is_half


def _base(node: Node, is_value: Callable[[Node], bool], is_step: Callable[[Node], bool]) -> Node:
    chain = [node]
    while is_step(chain[-1]):
        chain.append(chain[-1].inputs[0])
    for base in chain:
        if is_value(base) and _affine(node, base):
            return base
    return next(base for base in reversed(chain) if _affine(node, base))


def _affine(node: Node, base: Node) -> bool:
    """Whether the element of `base` that `node` shows is affine in the index into `node`."""
    step, plain = node, True
    while step is not base:
        plain = plain and not isinstance(step.op, Reshape)
        step = step.inputs[0]
    return plain or steps_of(node, base) is not None


def steps_of(node: Node, base: Node) -> tuple[int, tuple[int, ...]] | None:
    """Where the first element of the view `node` of `base` is, and the steps along its axes.

    None where it is not affine in the index.
    """
    ops: list[Op] = []
    step = node
    while step is not base:
        ops.append(step.op)
        step = step.inputs[0]
    # Equal layers, and the rounds of fusion, ask for the same again and again.
    key = (*ops, base.type)
    if key in _steps:
        return _steps[key]
    indices = tuple(Var(f"i{a}", extent=e) for a, e in enumerate(shape_of(node)))
    form = linear(view_index(node, base, indices))
    found = None
    if all(type(e) is Var for e, _ in form.terms):
        found = form.constant, tuple(form.coefficient(i) for i in indices)
    if len(_steps) >= _MOST_STEPS:
        _steps.clear()
    _steps[key] = found
    return found


_steps: dict[tuple[Any, ...], tuple[int, tuple[int, ...]] | None] = {}
_MOST_STEPS = 1 << 14
