"""Bodies of loops and branches: graphs over positional parameters.

Knows graphs; knows no loop and no branch.

The parameters are the same nodes in every body (`parameter`), so functions that compute
the same are the same graph, whoever recorded them: interning and digests need nothing more.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from functools import cached_property
from typing import Any, final

import numpy as np

from ..batching import batch
from ..codegen.records import dataclass
from ..ir.digest import digest
from ..ir.halves import meaning
from ..ir.node import Array, Node, Pattern, substitute, toposort
from ..ir.types import Extent, TensorType
from ..ops import build
from ..ops.batch import with_batch
from ..ops.movement import Broadcast, Reshape, Transpose
from ..ops.source import ArrayConstant, Input
from .forward import jvp

__all__ = ["Body", "Pushed", "batched_function", "body_of", "carried_tangents", "parameter"]


@final
class _Position:
    """What the parameter at one position of every body stands for."""

    def __init__(self, number: int) -> None:
        self.number = number


_position = functools.cache(_Position)


def parameter(number: int, type_: TensorType) -> Node:
    """The parameter at a position of bodies.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> scalar = TensorType((), float32)
    >>> parameter(0, scalar) is parameter(0, scalar), parameter(0, scalar) is parameter(1, scalar)
    (True, False)
    """
    return build.input_(type_, _position(number))


@final
@dataclass(frozen=True, eq=False)
class Body:
    """A function given by a graph.

    Attributes
    ----------
    parameters : tuple of Node
        ``parameter(0, ...)``, ``parameter(1, ...)``, ...
    results : tuple of Node
        What it returns. They depend on the parameters alone.
    """

    parameters: tuple[Node, ...]
    results: tuple[Node, ...]

    @staticmethod
    def of(parameters: Sequence[Node], results: Sequence[Node]) -> Body:
        """The function of any variables, on which alone the results depend."""
        own = tuple(parameter(i, p.tensor_type) for i, p in enumerate(parameters))
        renamed = substitute(results, dict(zip(parameters, own, strict=True)))
        return Body(own, tuple(renamed))

    @property
    def types(self) -> tuple[TensorType, ...]:
        """The types of the parameters."""
        return tuple(p.tensor_type for p in self.parameters)

    @cached_property
    def key(self) -> tuple[int, ...]:
        """What makes two functions equal, as long as both are held."""
        return (len(self.parameters), *map(id, (*self.parameters, *self.results)))

    @cached_property
    def name(self) -> str:
        """The same text for the same function in every process."""
        return digest(self.results, self.parameters).hex()[:32]

    def __call__(self, operands: Sequence[Node]) -> list[Node]:
        """The results as ordinary graph of the operands."""
        return substitute(self.results, dict(zip(self.parameters, operands, strict=True)))

    @cached_property
    def _order(self) -> tuple[list[tuple[Node, list[int], int]], list[int]]:
        """What to compute in which order: (node, operands, place); and where the results are."""
        places = {p: i for i, p in enumerate(self.parameters)}
        steps = []
        for node in toposort(self.results):
            if node not in places:
                places[node] = len(places)
                steps.append((node, [places[i] for i in node.inputs], places[node]))
        return steps, [places[r] for r in self.results]

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The values of the results, in NumPy."""
        steps, results = self._order
        values: list[Any] = [*arrays, *[None] * len(steps)]
        with np.errstate(all="ignore"):
            for node, operands, place in steps:
                values[place] = meaning(node, [values[i] for i in operands])
        return [np.asarray(values[i]) for i in results]


# --- closing --------------------------------------------------------------------------------------


def body_of(
    parameters: Sequence[Node], results: Sequence[Node], hoist: bool = True
) -> tuple[Body, list[Node]]:
    """The function of `parameters`, with what else the results depend on as parameters in front.

    Parameters
    ----------
    parameters, results : sequence of Node
    hoist : bool, optional
        Whether what does not depend on `parameters` is computed once, outside; numbers that are
        constants, and views of values from outside, stay inside. Otherwise everything does: what
        a branch computes must not run unless it is chosen.

    Returns
    -------
    Body
    list of Node
        The values from outside, for the parameters in front.
    """
    inner = set(parameters)
    if hoist:
        captured = _captured(inner, results)
    else:
        leaves = (n for n in toposort(results) if isinstance(n.op, (Input, ArrayConstant)))
        captured = [n for n in leaves if n not in inner]
    return Body.of([*captured, *parameters], results), captured


def _captured(inner: set[Node], results: Sequence[Node]) -> list[Node]:
    fixed: set[Node] = set()
    found: dict[Node, None] = {}

    def capture(node: Node) -> None:
        while node not in fixed:
            smaller = isinstance(node.op, (Broadcast, Reshape, Transpose))
            if not smaller:
                found[node] = None
                return
            node = node.inputs[0]

    for node in toposort(results):
        if node in inner:
            continue
        if not inner.isdisjoint(node.inputs):
            inner.add(node)
            for operand in node.inputs:
                if operand not in inner:
                    capture(operand)
        elif _is_fixed(node, fixed):
            fixed.add(node)
    for node in results:
        if node not in inner:
            capture(node)
    return list(found)


def _is_fixed(node: Node, fixed: set[Node]) -> bool:
    """Whether `node` is made of constants, with next to no work."""
    if not fixed.issuperset(node.inputs):
        return False
    if node.op.pattern is Pattern.SOURCE:
        return not isinstance(node.op, (Input, ArrayConstant))
    cheap = node.op.pattern is Pattern.MAP and node.shape == ()
    return cheap or node.op.pattern is Pattern.MOVE or node.op.name == "cast"


# --- batches --------------------------------------------------------------------------------------


def batched_function(
    function: Body, flags: Sequence[bool], extent: Extent, wanted: Sequence[bool] | None = None
) -> tuple[Body, list[bool]]:
    """`function` for every element of a batch.

    Parameters
    ----------
    flags : sequence of bool
        Which parameters have the batch as a new axis 0.
    extent : int
        How many elements the batch has.
    wanted : sequence of bool, optional
        Which results must have it too; no others than those that depend on the batch by default.

    Returns
    -------
    Body
    list of bool
        Which results have the batch as axis 0.
    """
    variables = [
        build.input_(TensorType((extent, *p.shape), p.dtype)) if has else p
        for p, has in zip(function.parameters, flags, strict=True)
    ]
    rows = {p: v for p, v, has in zip(function.parameters, variables, flags, strict=True) if has}
    found = batch(function.results, rows)
    must = [False] * len(found) if wanted is None else wanted
    results = [
        with_batch(node, extent) if force and not has else node
        for (node, has), force in zip(found, must, strict=True)
    ]
    which = [has or force for (_, has), force in zip(found, must, strict=True)]
    return Body.of(variables, results), which


# --- tangents -------------------------------------------------------------------------------------


@final
class Pushed:
    """The tangents of a function's results, where some of its parameters have one.

    Attributes
    ----------
    flags : list of bool
        Which parameters have a tangent.
    seeds : list of Node
        The variables for them.
    tangents : list of Node or None
        Of the results.
    """

    def __init__(self, function: Body, flags: Sequence[bool]) -> None:
        self.flags = list(flags)
        wrt = [p for p, has in zip(function.parameters, flags, strict=True) if has]
        self.seeds = [build.input_(p.tensor_type) for p in wrt]
        self.tangents = jvp(function.results, wrt, self.seeds)

    def filled(self, results: Sequence[Node], wanted: Sequence[bool]) -> list[Node]:
        """The tangents of the results that are wanted, zeros where there is none."""
        return [
            build.zeros_like(result) if tangent is None else tangent
            for result, tangent, has in zip(results, self.tangents, wanted, strict=True)
            if has
        ]


def carried_tangents(function: Body, flags: Sequence[bool], consts: int, carries: int) -> Pushed:
    """As `Pushed`, for the body of a loop: a carry has a tangent if what it becomes has one."""
    known = list(flags)
    while True:
        pushed = Pushed(function, known)
        more = [
            i for i in range(carries) if pushed.tangents[i] is not None and not known[consts + i]
        ]
        if not more:
            return pushed
        for i in more:
            known[consts + i] = True
