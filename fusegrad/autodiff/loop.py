"""Loops that run as long as a condition holds: `While` and its batches.

Knows closed functions; knows no user functions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, final

from ..codegen.dtypes import bool_
from ..codegen.records import dataclass
from ..errors import NotDifferentiableError, ShapeError
from ..ir.node import Array, Node, Op, Pack, Pattern, where
from ..ir.types import TensorType, TupleType, Type, equal_types
from ..ops import build
from ..ops.batch import batch_extent, with_batch
from .body import Body, batched_function, carried_tangents
from .forward import Tangents

__all__ = ["While"]


@final
@dataclass(frozen=True, eq=False, repr=False)
class While(Op):
    """``while test(*consts, *carries): carries = body(*consts, *carries)``.

    Attributes
    ----------
    test : Body
        Its result is one bool.
    body : Body
    consts : int
        How many parameters are the same always; the others are the carries.
    """

    test: Body
    body: Body
    consts: int
    widens: ClassVar[bool] = False
    name: ClassVar[str] = "while"
    pattern: ClassVar[Pattern] = Pattern.CALL

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        test, body, consts = args
        return test.key, body.key, consts

    def params(self) -> tuple[Any, ...]:
        return self.test.name, self.body.name, self.consts

    def bodies(self) -> tuple[tuple[Node, ...], ...]:
        return self.test.results, self.body.results

    def infer(self, *types: Any) -> Type:
        results = tuple(r.tensor_type for r in self.body.results)
        if not (equal_types(types, self.body.types) and equal_types(types, self.test.types)):
            raise ShapeError(
                f"while{types}: the body was recorded for {self.body.types}",
                remedy="pass operands of these shapes and dtypes",
            )
        if not equal_types(results, self.body.types[self.consts :]):
            raise ShapeError(
                "while: the carries that the body returns differ in type from those it takes",
                remedy="return carries of the types of the initial ones",
            )
        if [r.type for r in self.test.results] != [TensorType((), bool_)]:
            raise ShapeError("while: the condition is not one bool", remedy="return one bool")
        return TupleType(results)

    def ref(self, *arrays: Array) -> Any:
        consts, carries = arrays[: self.consts], list(arrays[self.consts :])
        while self.test.run([*consts, *carries])[0]:
            carries = self.body.run([*consts, *carries])
        return tuple(carries)

    def vjp_of_results(
        self, node: Node, cotangents: tuple[Node | None, ...]
    ) -> tuple[Node | None, ...]:
        raise NotDifferentiableError(
            "while_loop has no gradient: how often it runs, and so what must be stored, is not "
            "known before it runs",
            where=where(node),
            remedy="give while_loop max_iterations=, or use fori_loop with bounds that are "
            "Python integers",
        )

    def jvp(self, node: Node, tangents: Tangents) -> Tangents:
        """The tangents come from a loop that carries those of the carries along."""
        flags = [t is not None for t in tangents]
        pushed = carried_tangents(self.body, flags, self.consts, len(self.body.results))
        flags = pushed.flags
        carried = flags[self.consts :]
        given = [
            build.zeros_like(x) if t is None else t
            for x, t, has in zip(node.inputs, tangents, flags, strict=True)
            if has
        ]
        first = sum(flags[: self.consts])

        def merged(plain: Sequence[Node], more: Sequence[Node]) -> list[Node]:
            return [*plain[: self.consts], *more[:first], *plain[self.consts :], *more[first:]]

        variables = merged(self.body.parameters, pushed.seeds)
        results = [*self.body.results, *pushed.filled(self.body.results, carried)]
        test, body = (Body.of(variables, r) for r in (self.test.results, results))
        loop = Node(While(test, body, self.consts + first), tuple(merged(node.inputs, given)))
        found = iter(range(len(carried), len(results)))
        return tuple(build.item(loop, next(found)) if has else None for has in carried)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        extent = batch_extent(operands, batched)
        flags = list(batched)
        while True:
            test, (by_element,) = batched_function(self.test, flags, extent)
            body, found = batched_function(self.body, flags, extent)
            carried = [has or by_element for has in found]
            known = flags[self.consts :]
            if all(k or not c for k, c in zip(known, carried, strict=True)):
                break
            flags[self.consts :] = [k or c for k, c in zip(known, carried, strict=True)]
        wanted = flags[self.consts :]
        body, _ = batched_function(self.body, flags, extent, wanted)
        given = [
            with_batch(x, extent) if flag and not has else x
            for x, has, flag in zip(operands, batched, flags, strict=True)
        ]
        if by_element:
            test, body = _until_all_are_done(test, body, self.consts)
        loop = Node(While(test, body, self.consts), tuple(given))
        whole = [
            build.item(loop, i) if has else with_batch(build.item(loop, i), extent)
            for i, has in enumerate(wanted)
        ]
        return Node(Pack(), tuple(whole))


def _until_all_are_done(test: Body, body: Body, consts: int) -> tuple[Body, Body]:
    """A loop over a batch: it runs while some element goes on, and leaves the others alone."""
    (goes_on,) = test.results
    some = Body(test.parameters, (build.any_(goes_on, (0,)),))
    carries = body.parameters[consts:]
    (mine,) = test(body.parameters)
    kept = [
        build.select(build.broadcast(mine, new.shape, (0,)), new, old)
        for new, old in zip(body.results, carries, strict=True)
    ]
    return some, Body(body.parameters, tuple(kept))
