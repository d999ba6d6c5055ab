"""Forward mode: tangents along a graph, derived from the rules of reverse mode.

Knows no concrete op but `Item`. The cotangent rule of an op is linear in the cotangent: its
transpose takes tangents of the operands to the tangent of the result. So ops need no second rule.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import final

from ..errors import GradientError, NotDifferentiableError
from ..ir.node import Item, Node, Pattern, role, source, substitute, toposort, where
from ..ir.types import TupleType
from ..ops import build
from .reverse import vjp

__all__ = ["Tangents", "jvp"]

Tangents = tuple[Node | None, ...]


def jvp(
    outputs: Sequence[Node], wrt: Sequence[Node], tangents: Sequence[Node]
) -> list[Node | None]:
    """The tangents of `outputs`, given those of `wrt`.

    Parameters
    ----------
    outputs : sequence of Node
    wrt : sequence of Node
        Any floating nodes, usually marks: variables of their own.
    tangents : sequence of Node
        One for each of `wrt`, of its type.

    Returns
    -------
    list of Node or None
        None for what does not depend on `wrt` by any differentiable path.

    Raises
    ------
    GradientError
        If one of `wrt` is not of a floating dtype, or a tangent has another type.
    NotDifferentiableError
        If a path leads through an op that has no derivative.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ir.types import TensorType
    >>> x, t = (build.input_(TensorType((2,), float32)) for _ in range(2))
    >>> jvp([build.exp(x), build.iota(2)], [x], [t])
    [<mul: f32[2]>, None]
    """
    known: dict[Node, Node] = {}
    results: dict[Node, Tangents] = {}
    for node, tangent in zip(wrt, tangents, strict=True):
        if not node.dtype.is_float:
            raise GradientError(
                f"a value of type {node.type} has no tangent",
                where=where(node),
                remedy="differentiate floating values; convert with .astype('float32') first",
            )
        if tangent.type.plain is not node.type.plain:
            raise GradientError(
                f"the tangent has type {tangent.type}, the value {node.type}",
                remedy="give a tangent of the shape and dtype of the value",
            )
        known[node] = tangent
    for node in toposort(outputs):
        if node in known:
            continue
        if isinstance(node.op, Item):
            given = results.get(node.inputs[0])
            tangent_of_item = None if given is None else given[node.op.number]
            if tangent_of_item is not None:
                known[node] = tangent_of_item
            continue
        if known.keys().isdisjoint(node.inputs):
            continue
        with source(where(node), role(node)):
            found = _tangents(node, tuple(known.get(operand) for operand in node.inputs))
        if isinstance(node.type, TupleType):
            results[node] = found
        elif found[0] is not None:
            known[node] = found[0]
    return [known.get(node) for node in outputs]


def _tangents(node: Node, tangents: Tangents) -> Tangents:
    """The tangent of each result of `node`."""
    own = node.op.jvp(node, tangents)
    if own is not NotImplemented:
        return own if isinstance(node.type, TupleType) else (own,)
    return _rule(node, tangents).apply(node, tangents)


# --- derived rules --------------------------------------------------------------------------------


@final
class _Derived:
    """The tangents of an op's results, as a graph of variables for the operands.

    Deriving them from variables keeps the work for a node independent of the graph behind it.
    """

    def __init__(self, node: Node, given: Sequence[bool]) -> None:
        self.operands = tuple(_stand_in(operand) for operand in node.inputs)
        self.tangents = tuple(
            build.input_(operand.tensor_type) if has else None
            for operand, has in zip(node.inputs, given, strict=True)
        )
        self.node = Node(node.op, self.operands)
        self.results = self._derive()

    def _derive(self) -> Tangents:
        type_ = self.node.type
        items = type_.items if isinstance(type_, TupleType) else (type_,)
        seeds = [build.input_(item) if item.dtype.is_float else None for item in items]
        variables = [seed for seed in seeds if seed is not None]
        if not variables:
            return (None,) * len(items)
        if isinstance(type_, TupleType):
            cotangents = self.node.op.vjp_of_results(self.node, tuple(seeds))
        else:
            cotangents = self.node.op.vjp(self.node, variables[0])
        pairs = [
            (cotangent, tangent)
            for cotangent, tangent in zip(cotangents, self.tangents, strict=True)
            if cotangent is not None and tangent is not None
        ]
        found = vjp([g for g, _ in pairs], [t for _, t in pairs], variables)
        rest = [node for node in found if node is not None]
        if not set(variables).isdisjoint(toposort(rest)):
            raise NotDifferentiableError(
                f"the gradient rule of {self.node.op.name} is not linear in the cotangent, so that "
                "there is no forward mode",
                where=where(self.node),
                remedy="give the forward rule too, with fg.custom_jvp, or use reverse mode",
            )
        each = iter(found)
        return tuple(None if seed is None else next(each) for seed in seeds)

    def apply(self, node: Node, tangents: Tangents) -> Tangents:
        """The tangents of the results of `node`, an application of the same op."""
        mapping = {self.node: node, **dict(zip(self.operands, node.inputs, strict=True))}
        for variable, tangent in zip(self.tangents, tangents, strict=True):
            if variable is not None and tangent is not None:
                mapping[variable] = tangent
        wanted = [result for result in self.results if result is not None]
        each = iter(substitute(wanted, mapping))
        return tuple(None if result is None else next(each) for result in self.results)


def _stand_in(operand: Node) -> Node:
    """A variable; a constant stays itself, so that rules may look at it."""
    if build.constant_value(operand) is not None:
        return operand
    return build.input_(operand.tensor_type)


_CACHED = (Pattern.MAP, Pattern.MOVE, Pattern.REDUCE, Pattern.CONTRACT, Pattern.LOOP)
_MOST = 512
_rules: dict[Hashable, _Derived] = {}


def _rule(node: Node, tangents: Tangents) -> _Derived:
    given = tuple(tangent is not None for tangent in tangents)
    if node.op.pattern not in _CACHED:
        return _Derived(node, given)
    operands = tuple(
        operand.type if build.constant_value(operand) is None else operand
        for operand in node.inputs
    )
    key = (node.op, operands, given)
    found = _rules.get(key)
    if found is None:
        found = _Derived(node, given)
        if len(_rules) >= _MOST:
            _rules.clear()
        _rules[key] = found
    return found
