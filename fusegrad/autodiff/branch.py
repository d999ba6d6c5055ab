"""A choice among functions by a number: `Switch`, its derivative and its batches.

Knows closed functions and adjoints; knows no user functions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, final

import numpy as np

from ..codegen.dtypes import int64
from ..codegen.records import dataclass
from ..errors import ShapeError
from ..ir.node import Array, Item, Node, Op, Pack, Pattern
from ..ir.types import TensorType, TupleType, Type, equal_types
from ..ops import build
from ..ops.batch import batch_extent, with_batch
from .body import Body, Pushed, batched_function
from .forward import Tangents
from .reverse import vjp

__all__ = ["Switch"]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Switch(Op):
    """``branches[index](*operands)``; an index out of range means the nearest branch.

    The operands are the index, an int64 scalar, and those of the branches, which take the same and
    return the same types.

    Attributes
    ----------
    branches : tuple of Body
    """

    branches: tuple[Body, ...]
    widens: ClassVar[bool] = False
    name: ClassVar[str] = "switch"
    pattern: ClassVar[Pattern] = Pattern.CALL

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        return tuple(branch.key for branch in args[0])

    def params(self) -> tuple[Any, ...]:
        return tuple(branch.name for branch in self.branches)

    def bodies(self) -> tuple[tuple[Node, ...], ...]:
        return tuple(branch.results for branch in self.branches)

    def infer(self, *types: Any) -> Type:
        first = self.branches[0]
        results = [r.type for r in first.results]
        for branch in self.branches:
            if not equal_types(types, (TensorType((), int64), *branch.types)):
                raise ShapeError(
                    f"switch{types}: a branch was recorded for {branch.types}",
                    remedy="pass operands of these shapes and dtypes",
                )
            if not equal_types([r.type for r in branch.results], results):
                raise ShapeError(
                    "switch: the branches return different types",
                    remedy="return the same shapes and dtypes from every branch",
                )
        return TupleType(r.tensor_type for r in first.results)

    def ref(self, *arrays: Array) -> Any:
        number = int(np.clip(arrays[0], 0, len(self.branches) - 1))
        return tuple(self.branches[number].run(arrays[1:]))

    def vjp_of_results(
        self, node: Node, cotangents: tuple[Node | None, ...]
    ) -> tuple[Node | None, ...]:
        """The cotangents come from a switch among the derivatives of the branches."""
        given = [c for c in cotangents if c is not None]
        seeds = [build.input_(c.tensor_type) for c in given]
        results = [i for i, c in enumerate(cotangents) if c is not None]
        parameters = self.branches[0].parameters
        wrt = [i for i, p in enumerate(parameters) if p.dtype.is_float]
        found = [
            vjp(
                [branch.results[i] for i in results],
                seeds,
                [branch.parameters[i] for i in wrt],
            )
            for branch in self.branches
        ]
        active = [
            i for i, some in enumerate(zip(*found, strict=True)) if any(g is not None for g in some)
        ]
        answer: list[Node | None] = [None] * len(node.inputs)
        if not active:
            return tuple(answer)
        branches = []
        for branch, gradients in zip(self.branches, found, strict=True):
            filled = []
            for i in active:
                gradient = gradients[i]
                like = branch.parameters[wrt[i]]
                filled.append(build.zeros_like(like) if gradient is None else gradient)
            branches.append(Body.of([*branch.parameters, *seeds], filled))
        back = Node(Switch(tuple(branches)), (*node.inputs, *given))
        for place, i in enumerate(active):
            answer[1 + wrt[i]] = Node(Item(place), (back,))
        return tuple(answer)

    def jvp(self, node: Node, tangents: Tangents) -> Tangents:
        """The tangents come from a switch among those of the branches."""
        flags = [t is not None for t in tangents[1:]]
        pushed = [Pushed(branch, flags) for branch in self.branches]
        wanted = [
            any(t is not None for t in some)
            for some in zip(*(p.tangents for p in pushed), strict=True)
        ]
        if not any(wanted):
            return (None,) * len(wanted)
        branches = tuple(
            Body.of([*branch.parameters, *p.seeds], p.filled(branch.results, wanted))
            for branch, p in zip(self.branches, pushed, strict=True)
        )
        given = [t for t in tangents if t is not None]
        chosen = Node(Switch(branches), (*node.inputs, *given))
        found = iter(range(len(wanted)))
        return tuple(build.item(chosen, next(found)) if has else None for has in wanted)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        extent = batch_extent(operands, batched)
        flags = list(batched[1:])
        if batched[0]:
            return self._by_element(operands, batched)
        every = [True] * len(self.branches[0].results)
        branches = tuple(batched_function(b, flags, extent, every)[0] for b in self.branches)
        return Node(Switch(branches), tuple(operands))

    def _by_element(self, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        """All branches are computed; each element of the batch chooses its own results."""
        extent = batch_extent(operands, batched)
        index = operands[0]
        chosen: list[Node] = []
        for number in range(len(self.branches) - 1, -1, -1):
            branch = self.branches[number]
            function, has = batched_function(branch, batched[1:], extent)
            found = [
                r if flag else with_batch(r, extent)
                for r, flag in zip(function(operands[1:]), has, strict=True)
            ]
            if not chosen:
                chosen = found
                continue
            here = build.le(index, build.full_like(index, number))
            chosen = [
                build.select(_along(here, own), own, other)
                for own, other in zip(found, chosen, strict=True)
            ]
        return Node(Pack(), tuple(chosen))


def _along(condition: Node, value: Node) -> Node:
    """A condition for each element of the batch, for each number of the element."""
    return build.broadcast(condition, value.shape, (0,))
