"""Functions with a derivative of their own: a closed graph and a rule.

Knows no concrete op.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from ..batching import batch
from ..errors import GradientError, ShapeError
from ..ir.digest import digest
from ..ir.interpret import evaluate
from ..ir.node import Array, Item, Node, Op, Pattern, substitute, where
from ..ir.rewrite import rewrite
from ..ir.types import Extent, TensorType, TupleType, Type
from ..ops.batch import batch_extent, with_batch
from ..ops.build import input_, sum_

__all__ = ["CustomVjp", "Rule", "custom_call", "inline_custom"]

Rule = Callable[[Sequence[Node], Sequence[Node], Sequence[Node | None]], Sequence[Node | None]]
"""Operands, results and cotangents of the results (None: unused) to cotangents of the operands."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class CustomVjp(Op):
    """A function given by a graph, with a derivative given by a rule.

    Attributes
    ----------
    parameters : tuple of Node
        The variables of the graph, in the order of the operands.
    results : tuple of Node
        What the function returns. They depend on the parameters alone.
    rule : callable
        See `Rule`. It builds the cotangents of the operands.
    """

    parameters: tuple[Node, ...]
    results: tuple[Node, ...]
    rule: Rule
    name: ClassVar[str] = "custom_vjp"
    widens: ClassVar[bool] = False
    pattern: ClassVar[Pattern] = Pattern.CALL

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        parameters, results, rule = args
        return tuple(map(id, parameters)), tuple(map(id, results)), id(rule)

    def infer(self, *types: Any) -> Type:
        expected = tuple(node.type for node in self.parameters)
        if types != expected:
            raise ShapeError(
                f"custom_vjp{types}: the function was recorded for {expected}",
                remedy="call it with arguments of these shapes and dtypes",
            )
        return TupleType(node.tensor_type for node in self.results)

    def vjp_of_results(
        self, node: Node, cotangents: tuple[Node | None, ...]
    ) -> tuple[Node | None, ...]:
        results = [Node(Item(i), (node,)) for i in range(len(self.results))]
        given = tuple(self.rule(node.inputs, results, cotangents))
        if len(given) != len(node.inputs):
            raise GradientError(
                f"the rule gave {len(given)} cotangents for {len(node.inputs)} arguments",
                where=where(node),
                remedy="return one cotangent for each argument, None where there is none",
            )
        for operand, cotangent in zip(node.inputs, given, strict=True):
            if cotangent is not None and cotangent.type is not operand.type:
                raise GradientError(
                    f"the rule gave a cotangent of type {cotangent.type} "
                    f"for an argument of type {operand.type}",
                    where=where(node),
                    remedy="a cotangent has the shape and dtype of its argument",
                )
        return given

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        extent = batch_extent(operands, batched)
        parameters = tuple(
            input_(x.tensor_type) if has else parameter
            for x, has, parameter in zip(operands, batched, self.parameters, strict=True)
        )
        rows = {
            parameter: row
            for parameter, row, has in zip(self.parameters, parameters, batched, strict=True)
            if has
        }
        results = _all_batched(batch(self.results, rows), extent)
        rule = _BatchedRule(self, tuple(batched), extent)
        return Node(CustomVjp(parameters, tuple(results), rule), tuple(operands))

    def ref(self, *arrays: Array) -> Any:
        return tuple(evaluate(self.results, dict(zip(self.parameters, arrays, strict=True))))

    def bodies(self) -> tuple[tuple[Node, ...], ...]:
        return (self.results,)

    def params(self) -> tuple[Any, ...]:
        return (digest(self.results, self.parameters).hex(),)

    def inline(self, inputs: Sequence[Node]) -> list[Node]:
        """The results as ordinary graph of the operands."""
        return substitute(self.results, dict(zip(self.parameters, inputs, strict=True)))

    def __repr__(self) -> str:
        return "custom_vjp"


def _all_batched(found: Sequence[tuple[Node, bool]], extent: Extent) -> list[Node]:
    return [node if has else with_batch(node, extent) for node, has in found]


@final
class _BatchedRule:
    """The rule of a function for one element, for a batch."""

    def __init__(self, op: CustomVjp, batched: tuple[bool, ...], extent: Extent) -> None:
        self.op = op
        self.batched = batched
        self.extent = extent

    def __call__(
        self,
        inputs: Sequence[Node],
        results: Sequence[Node],
        cotangents: Sequence[Node | None],
    ) -> list[Node | None]:
        rows: dict[Node, Node] = {}

        def element(row: Node) -> Node:
            one = input_(TensorType(row.shape[1:], row.dtype))
            rows[one] = row
            return one

        given = self.op.rule(
            [element(x) if has else x for x, has in zip(inputs, self.batched, strict=True)],
            [element(y) for y in results],
            [None if g is None else element(g) for g in cotangents],
        )
        known = [g for g in given if g is not None]
        whole = iter(_all_batched(batch(known, rows), self.extent))
        found = [None if g is None else next(whole) for g in given]
        # Of an operand that is the same for all elements, the gradients add up.
        return [
            g if g is None or has else sum_(g, (0,))
            for g, has in zip(found, self.batched, strict=True)
        ]


def custom_call(
    parameters: Sequence[Node], results: Sequence[Node], rule: Rule, inputs: Sequence[Node]
) -> list[Node]:
    """The function that takes `parameters` to `results`, applied to `inputs`.

    Returns
    -------
    list of Node
        One for each result.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ir.types import TensorType
    >>> from fusegrad.ops import build
    >>> x, y = (build.input_(TensorType((2,), float32)) for _ in range(2))
    >>> double = build.add(x, x)
    >>> custom_call([x], [double], lambda inputs, results, cotangents: cotangents, [y])
    [<item(0): f32[2]>]
    """
    call = Node(CustomVjp(tuple(parameters), tuple(results), rule), tuple(inputs))
    return [Node(Item(i), (call,)) for i in range(len(results))]


def inline_custom(outputs: Sequence[Node]) -> list[Node]:
    """`outputs` with every custom function replaced by its graph, once gradients are derived."""

    def rule(node: Node) -> Node | None:
        if not isinstance(node.op, Item):
            return None
        (call,) = node.inputs
        if not isinstance(call.op, CustomVjp):
            return None
        return call.op.inline(call.inputs)[node.op.number]

    return rewrite(outputs, [rule])
