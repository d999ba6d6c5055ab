"""Reverse mode: the adjoint graph of a graph.

Knows no concrete op but `Item`: every op brings its own rule, and the sum of cotangents is handed
in by the vocabulary of graphs. The adjoint is ordinary graph, so it can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import GradientError, InternalError
from ..ir.node import Item, Node, source, toposort, where
from ..ir.types import TupleType
from ..ops import build

__all__ = ["Hooks", "vjp"]

Hooks = Mapping[Node, Sequence[Callable[[Node], Node | None]]]


def vjp(
    outputs: Sequence[Node],
    cotangents: Sequence[Node],
    wrt: Sequence[Node],
    hooks: Hooks | None = None,
) -> list[Node | None]:
    """The cotangents of `wrt`, given those of `outputs`.

    Where a value is used several times, its cotangents are added in an order that the graph
    alone fixes. New nodes take over the source line of the node they belong to, with the role
    ``"backward"``.

    Parameters
    ----------
    outputs : sequence of Node
    cotangents : sequence of Node
        One for each output, of its type.
    wrt : sequence of Node
        Any nodes. A node in the middle is differentiated as the value it is; to treat it as a
        variable of its own, mark it first.
    hooks : mapping of Node to sequence of callable, optional
        What is called with the cotangent of a node, and may give another one in its place.

    Returns
    -------
    list of Node or None
        None for what the outputs do not depend on by any differentiable path.

    Raises
    ------
    GradientError
        If an output or one of `wrt` is not of a floating dtype.
    NotDifferentiableError
        If a path leads through an op that has no derivative.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ir.types import TensorType
    >>> x = build.input_(TensorType((2,), float32))
    >>> vjp([build.mul(x, x)], [build.ones_like(x)], [x])
    [<add: f32[2]>]
    """
    for node in (*outputs, *wrt):
        if not node.dtype.is_float:
            raise GradientError(
                f"a value of type {node.type} has no gradient",
                where=where(node),
                remedy="differentiate floating values; convert with .astype('float32') first",
            )
    for node, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent.type.plain is not node.type.plain:
            raise GradientError(
                f"the cotangent has type {cotangent.type}, the output {node.type}",
                remedy="give a cotangent of the shape and dtype of the output",
            )
    order = toposort(outputs, differentiable=True)
    active = _active(order, wrt)
    adjoint = _Adjoint(active, hooks)
    for node, cotangent in zip(outputs, cotangents, strict=True):
        if node in active:
            adjoint.add(node, cotangent)
    wanted = set(wrt)
    result: dict[Node, Node | None] = {}
    for node in reversed(order):
        if node in active:
            with source(where(node), "backward"):
                total = adjoint.visit(node)
            if node in wanted:
                result[node] = total
    return [result.get(node) for node in wrt]


def _active(order: Sequence[Node], wrt: Sequence[Node]) -> set[Node]:
    """The nodes on a path from one of `wrt`."""
    active = set(wrt)
    for node in order:
        if node not in active and not active.isdisjoint(node.inputs):
            active.add(node)
    return active


Cotangents = tuple[Node | None, ...]


class _Adjoint:
    """Cotangents while they are collected, users before operands."""

    def __init__(self, active: set[Node], hooks: Hooks | None) -> None:
        self._active = active
        self._hooks = hooks
        self._cotangents: dict[Node, Node] = {}
        # Where cotangents can be other than zero; not there: everywhere.
        self._live: dict[Node, Node] = {}
        self._of_results: dict[Node, list[Node | None]] = {}

    def add(self, node: Node, cotangent: Node, live: Node | None = None) -> None:
        known = self._cotangents.get(node)
        if known is None:
            self._cotangents[node] = cotangent
            if live is not None:
                self._live[node] = live
            return
        self._cotangents[node] = build.add(known, cotangent)
        before = self._live.pop(node, None)
        if before is not None and live is not None:
            self._live[node] = before if before is live else build.logical_or(before, live)

    def visit(self, node: Node) -> Node | None:
        """Send the cotangent of `node` to its operands; its users have all been visited."""
        if isinstance(node.type, TupleType):
            results = self._of_results.pop(node, None)
            if results is not None:
                self._send(node, node.op.vjp_of_results(node, tuple(results)))
            return None
        cotangent = self._cotangents.pop(node, None)
        if cotangent is None:
            return None
        for hook in () if self._hooks is None else self._hooks.get(node, ()):
            cotangent = hook(cotangent) or cotangent
        if isinstance(node.op, Item):
            self._add_to_result(node.inputs[0], node.op.number, cotangent)
        elif not self._active.isdisjoint(node.inputs):
            live = self._live.pop(node, None)
            self._send(node, *_without_dead(node, node.op.vjp(node, cotangent), live))
        return cotangent

    def _add_to_result(self, node: Node, number: int, cotangent: Node) -> None:
        if not isinstance(node.type, TupleType):
            raise InternalError(f"{node.op} has one result")
        results = self._of_results.setdefault(node, [None] * len(node.type.items))
        known = results[number]
        results[number] = cotangent if known is None else build.add(known, cotangent)

    def _send(
        self,
        node: Node,
        cotangents: tuple[Node | None, ...],
        masks: tuple[Node | None, ...] | None = None,
    ) -> None:
        masks = (None,) * len(cotangents) if masks is None else masks
        for operand, cotangent, live in zip(node.inputs, cotangents, masks, strict=True):
            if cotangent is None or operand not in self._active:
                continue
            if cotangent.type.plain is not operand.type.plain:
                raise InternalError(
                    f"the rule of {node.op} gave {cotangent.type} for {operand.type}",
                    where=where(node),
                )
            self.add(operand, cotangent, live)


def _without_dead(
    node: Node, cotangents: Cotangents, live: Node | None
) -> tuple[Cotangents, Cotangents]:
    """The cotangents of the operands, and where they can be other than zero.

    A branch that is not taken gets a cotangent of zero, which times an infinite derivative would be
    NaN; so zeros stay zeros from there on.
    """
    op = node.op
    masks = op.live(node, live)
    if live is not None and not op.keeps_zero(node):
        cotangents = tuple(
            c if c is None or mask is None else build.where_(mask, c, build.zeros_like(c))
            for c, mask in zip(cotangents, masks, strict=True)
        )
    return cotangents, masks
