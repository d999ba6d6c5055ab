"""Functions with derivatives of their own: a closed graph and its rules.

Knows no concrete op.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, final

from ..batching import batch
from ..codegen.records import dataclass
from ..errors import GradientError, NotDifferentiableError, ShapeError
from ..ir.digest import digest
from ..ir.interpret import evaluate
from ..ir.node import Array, Item, Node, Op, Pack, Pattern, substitute, toposort, where
from ..ir.rewrite import only
from ..ir.types import Extent, TensorType, TupleType, Type, equal_types
from ..ops.batch import batch_extent, with_batch
from ..ops.build import add, input_, sum_
from .forward import jvp
from .reverse import vjp

__all__ = [
    "Custom",
    "Rule",
    "custom_call",
    "forward_by_inlining",
    "forward_with_residuals",
    "inline_custom",
    "reverse_by_inlining",
    "transposed",
    "with_residuals",
]

Nodes = Sequence[Node | None]
Rule = Callable[[Sequence[Node], Sequence[Node], Nodes], Nodes]
"""Operands, results, and either cotangents of the results or tangents of the operands, to the
cotangents of the operands or the tangents of the results. None: zero."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Custom(Op):
    """A function given by a graph, with a derivative given by rules.

    Attributes
    ----------
    label : str
        Its name, for messages.
    parameters : tuple of Node
        The variables of the graph, in the order of the operands.
    results : tuple of Node
        What the function returns. They depend on the parameters alone.
    reverse : callable
        It builds the cotangents of the operands.
    forward : callable or None
        It builds the tangents of the results. None: derived from `reverse`.
    """

    label: str
    parameters: tuple[Node, ...]
    results: tuple[Node, ...]
    reverse: Rule
    forward: Rule | None
    widens: ClassVar[bool] = False
    pattern: ClassVar[Pattern] = Pattern.CALL

    @property
    def name(self) -> str:
        return self.label

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        label, parameters, results, reverse, forward = args
        return label, tuple(map(id, parameters)), tuple(map(id, results)), id(reverse), id(forward)

    def bodies(self) -> tuple[tuple[Node, ...], ...]:
        return (self.results,)

    def infer(self, *types: Any) -> Type:
        expected = tuple(node.type for node in self.parameters)
        if not equal_types(types, expected):
            raise ShapeError(
                f"{self.label}{types}: the function was recorded for {expected}",
                remedy="call it with arguments of these shapes and dtypes",
            )
        return TupleType(node.tensor_type for node in self.results)

    def vjp_of_results(
        self, node: Node, cotangents: tuple[Node | None, ...]
    ) -> tuple[Node | None, ...]:
        given = tuple(self.reverse(node.inputs, self._items(node), cotangents))
        self._check(node, "cotangent", given, node.inputs, "arguments")
        return given

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Any:
        if self.forward is None:
            return NotImplemented
        items = self._items(node)
        given = tuple(self.forward(node.inputs, items, tangents))
        self._check(node, "tangent", given, items, "results")
        return given

    def _items(self, node: Node) -> list[Node]:
        return [Node(Item(i), (node,)) for i in range(len(self.results))]

    def _check(
        self, node: Node, what: str, given: Nodes, expected: Sequence[Node], of: str
    ) -> None:
        if len(given) != len(expected):
            raise GradientError(
                f"the rule gave {len(given)} {what}s for {len(expected)} {of}",
                where=where(node),
                remedy=f"return one {what} for each of the {of}, None where there is none",
            )
        for operand, value in zip(expected, given, strict=True):
            if value is not None and value.type.plain is not operand.type.plain:
                raise GradientError(
                    f"the rule gave a {what} of type {value.type} "
                    f"for one of the {of}, of type {operand.type}",
                    where=where(node),
                    remedy=f"a {what} has the shape and dtype of its value",
                )

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
        results = tuple(_all_batched(batch(self.results, rows), extent))
        has = tuple(batched)
        reverse = _BatchedRule(self.reverse, has, extent, back=True)
        forward = None
        if self.forward is not None:
            forward = _BatchedRule(self.forward, has, extent, back=False)
        return Node(Custom(self.label, parameters, results, reverse, forward), tuple(operands))

    def ref(self, *arrays: Array) -> Any:
        return tuple(evaluate(self.results, dict(zip(self.parameters, arrays, strict=True))))

    def params(self) -> tuple[Any, ...]:
        return (digest(self.results, self.parameters).hex(),)

    def inline(self, inputs: Sequence[Node]) -> list[Node]:
        """The results as ordinary graph of the operands."""
        return substitute(self.results, dict(zip(self.parameters, inputs, strict=True)))

    def __repr__(self) -> str:
        return self.label


# --- rules over a batch ---------------------------------------------------------------------------


def _all_batched(found: Sequence[tuple[Node, bool]], extent: Extent) -> list[Node]:
    return [node if has else with_batch(node, extent) for node, has in found]


@final
class _BatchedRule:
    """The rule of a function for one element, for a batch."""

    def __init__(
        self, rule: Rule, batched: tuple[bool, ...], extent: Extent, *, back: bool
    ) -> None:
        self.rule = rule
        self.batched = batched
        self.extent = extent
        self.back = back

    def __call__(
        self, inputs: Sequence[Node], results: Sequence[Node], directions: Nodes
    ) -> list[Node | None]:
        rows: dict[Node, Node] = {}

        def element(row: Node | None, has: bool = True) -> Any:
            if row is None or not has:
                return row
            one = input_(TensorType(row.shape[1:], row.dtype))
            rows[one] = row
            return one

        of = [True] * len(results) if self.back else self.batched
        given = self.rule(
            list(map(element, inputs, self.batched)),
            list(map(element, results)),
            list(map(element, directions, of)),
        )
        known = [g for g in given if g is not None]
        whole = iter(_all_batched(batch(known, rows), self.extent))
        found = [None if g is None else next(whole) for g in given]
        if not self.back:
            return found
        # Of an operand that is the same for all elements, the gradients add up.
        return [
            g if g is None or has else sum_(g, (0,))
            for g, has in zip(found, self.batched, strict=True)
        ]


# --- rules from rules -----------------------------------------------------------------------------


def transposed(forward: Rule) -> Rule:
    """The cotangent rule that belongs to a tangent rule, which is linear in the tangents."""

    def reverse(inputs: Sequence[Node], results: Sequence[Node], cotangents: Nodes) -> Nodes:
        # Of variables, so that the work does not grow with the graph behind the operands.
        own = [input_(node.tensor_type) for node in (*inputs, *results)]
        tangents = [input_(x.tensor_type) if x.dtype.is_float else None for x in inputs]
        seeds = [None if g is None else input_(g.tensor_type) for g in cotangents]
        given = forward(own[: len(inputs)], own[len(inputs) :], tangents)
        pairs = [
            (tangent, seed)
            for tangent, seed in zip(given, seeds, strict=True)
            if tangent is not None and seed is not None
        ]
        smooth = [tangent for tangent in tangents if tangent is not None]
        found = vjp([tangent for tangent, _ in pairs], [seed for _, seed in pairs], smooth)
        known = [g for g in found if g is not None]
        if not set(smooth).isdisjoint(toposort(known, set(own))):
            raise NotDifferentiableError(
                "the tangent rule is not linear in the tangents, so that there is no reverse mode",
                remedy="give the reverse rule with fg.custom_vjp, or use forward mode",
            )
        mapping = dict(zip(own, (*inputs, *results), strict=True))
        for seed, cotangent in zip(seeds, cotangents, strict=True):
            if seed is not None and cotangent is not None:
                mapping[seed] = cotangent
        wanted = iter(substitute(known, mapping))
        each = iter(found)
        return [
            None if tangent is None or next(each) is None else next(wanted) for tangent in tangents
        ]

    return reverse


def reverse_by_inlining(parameters: Sequence[Node], results: Sequence[Node]) -> Rule:
    """The cotangent rule of a graph as it is."""

    def reverse(inputs: Sequence[Node], _: Sequence[Node], cotangents: Nodes) -> Nodes:
        pairs = [
            (node, input_(node.tensor_type), cotangent)
            for node, cotangent in zip(results, cotangents, strict=True)
            if cotangent is not None
        ]
        smooth = [node for node in parameters if node.dtype.is_float]
        given = vjp([node for node, _, _ in pairs], [seed for _, seed, _ in pairs], smooth)
        mapping = dict(zip(parameters, inputs, strict=True))
        mapping |= {seed: cotangent for _, seed, cotangent in pairs}
        wanted = iter(substitute([g for g in given if g is not None], mapping))
        each = iter(given)
        return [
            None if not node.dtype.is_float or next(each) is None else next(wanted)
            for node in parameters
        ]

    return reverse


def with_residuals(
    rule: Rule, parameters: Sequence[Node], results: Sequence[Node], count: int
) -> Rule:
    """The cotangent rule of a graph whose results from `count` on are what `rule` needs.

    The rule is for the results before; what it needs is differentiated as it is, for derivatives
    of the gradient, unless it is one of those results.
    """
    natural = reverse_by_inlining(parameters, results[count:])
    sources = _sources(parameters, results, count)

    def reverse(inputs: Sequence[Node], items: Sequence[Node], cotangents: Nodes) -> Nodes:
        own: Nodes = [None] * len(inputs)
        if any(cotangent is not None for cotangent in cotangents[:count]):
            own = rule(inputs, [items[i] for i in sources], cotangents[:count])
        if all(cotangent is None for cotangent in cotangents[count:]):
            return own
        rest = natural(inputs, items[count:], cotangents[count:])
        return [
            a if b is None else b if a is None else add(a, b)
            for a, b in zip(own, rest, strict=True)
        ]

    return reverse


def forward_with_residuals(
    rule: Rule, parameters: Sequence[Node], results: Sequence[Node], count: int
) -> Rule:
    """As `with_residuals`, for a tangent rule of the first `count` results."""
    natural = forward_by_inlining(parameters, results[count:])
    sources = _sources(parameters, results, count)

    def forward(inputs: Sequence[Node], items: Sequence[Node], tangents: Nodes) -> Nodes:
        own = rule(inputs, [items[i] for i in sources], tangents)
        return [*own, *natural(inputs, items[count:], tangents)]

    return forward


def _sources(parameters: Sequence[Node], results: Sequence[Node], count: int) -> list[int]:
    """For each result, the first of the leading `count` that it is, or itself."""
    own: dict[Node, int] = {}
    for i, node in enumerate(results[:count]):
        if node not in parameters:
            own.setdefault(node, i)
    return [*range(count), *(own.get(n, i) for i, n in enumerate(results[count:], count))]


def forward_by_inlining(parameters: Sequence[Node], results: Sequence[Node]) -> Rule:
    """The tangent rule of a graph that is its own derivative's graph."""

    def forward(inputs: Sequence[Node], _: Sequence[Node], tangents: Nodes) -> Nodes:
        pairs = [
            (parameter, input_(parameter.tensor_type), tangent)
            for parameter, tangent in zip(parameters, tangents, strict=True)
            if tangent is not None
        ]
        given = jvp(results, [p for p, _, _ in pairs], [t for _, t, _ in pairs])
        mapping = dict(zip(parameters, inputs, strict=True))
        mapping |= {variable: tangent for _, variable, tangent in pairs}
        wanted = iter(substitute([t for t in given if t is not None], mapping))
        return [None if t is None else next(wanted) for t in given]

    return forward


# --- calls ----------------------------------------------------------------------------------------


def custom_call(
    parameters: Sequence[Node],
    results: Sequence[Node],
    reverse: Rule,
    inputs: Sequence[Node],
    *,
    forward: Rule | None = None,
    label: str = "custom_vjp",
) -> list[Node]:
    """The function that takes `parameters` to `results`, applied to `inputs`.

    Returns
    -------
    list of Node
        One for each result.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ops import build
    >>> x, y = (build.input_(TensorType((2,), float32)) for _ in range(2))
    >>> double = build.add(x, x)
    >>> custom_call([x], [double], lambda inputs, results, cotangents: cotangents, [y])
    [<item(0): f32[2]>]
    """
    op = Custom(label, tuple(parameters), tuple(results), reverse, forward)
    call = Node(op, tuple(inputs))
    return [Node(Item(i), (call,)) for i in range(len(results))]


@only(lambda op: isinstance(op, Item))
def inline_custom(node: Node) -> Node | None:
    """A rule: the result of a custom function is that of its graph, once gradients are derived."""
    assert isinstance(node.op, Item)
    (call,) = node.inputs
    if isinstance(call.op, Pack):
        return call.inputs[node.op.number]
    if not isinstance(call.op, Custom):
        return None
    return call.op.inline(call.inputs)[node.op.number]
