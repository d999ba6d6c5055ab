"""Loops of a known number of iterations: `Scan`, its derivative and its batches.

Knows closed functions and adjoints; knows no user functions.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, final

import numpy as np

from ..codegen.records import dataclass
from ..errors import ShapeError
from ..ir.node import Array, Item, Node, Op, Pack, Pattern, substitute, toposort
from ..ir.types import TensorType, TupleType, Type, equal_types
from ..ops import build
from ..ops.batch import batch_extent, with_batch
from ..ops.elementwise import EXPENSIVE, cost_of
from .body import Body, batched_function, body_of, carried_tangents
from .forward import Tangents
from .products import Stacks, product, terms
from .reverse import vjp

__all__ = ["Scan", "scan_results"]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Scan(Op):
    """A loop: ``carries, y = body(*consts, *carries, *x)`` for each of `length` slices x of xs.

    The operands are consts, initial carries and xs; the results the last carries and the ys, each
    stacked along a new axis 0.

    Attributes
    ----------
    body : Body
    consts, carries : int
        How many of its parameters are the same always, and how many are results of the iteration
        before; the others are slices.
    length : int
        At least 1.
    reverse : bool
        Whether the last slice comes first.
    recompute : bool
        Whether the derivative computes everything of an iteration again from its carries.
    """

    body: Body
    consts: int
    carries: int
    length: int
    reverse: bool
    recompute: bool
    widens: ClassVar[bool] = False
    name: ClassVar[str] = "scan"
    pattern: ClassVar[Pattern] = Pattern.CALL

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        return (args[0].key, *args[1:])

    def params(self) -> tuple[Any, ...]:
        return self.body.name, self.consts, self.carries, self.length, self.reverse, self.recompute

    def bodies(self) -> tuple[tuple[Node, ...], ...]:
        return (self.body.results,)

    def infer(self, *types: Any) -> Type:
        fixed = self.consts + self.carries
        expected = [
            t if i < fixed else TensorType((self.length, *t.shape), t.dtype)
            for i, t in enumerate(self.body.types)
        ]
        if not equal_types(types, expected):
            raise ShapeError(
                f"scan{types}: the body was recorded for {tuple(expected)}",
                remedy="pass operands of these shapes and dtypes",
            )
        results = [r.tensor_type for r in self.body.results]
        if not equal_types(results[: self.carries], self.body.types[self.consts : fixed]):
            raise ShapeError(
                "scan: the carries that the body returns differ in type from those it takes",
                remedy="return carries of the types of the initial ones",
            )
        ys = [TensorType((self.length, *t.shape), t.dtype) for t in results[self.carries :]]
        return TupleType([*results[: self.carries], *ys])

    def ref(self, *arrays: Array) -> Any:
        fixed = self.consts + self.carries
        consts, carries, xs = (
            arrays[: self.consts],
            list(arrays[self.consts : fixed]),
            arrays[fixed:],
        )
        ys = [
            np.empty((self.length, *map(int, r.shape)), r.dtype.numpy)  # type: ignore[arg-type]
            for r in self.body.results[self.carries :]
        ]
        steps = range(self.length)
        for i in reversed(steps) if self.reverse else steps:
            results = self.body.run([*consts, *carries, *(x[i] for x in xs)])
            carries = results[: self.carries]
            for y, value in zip(ys, results[self.carries :], strict=True):
                y[i] = value
        return (*carries, *ys)

    def vjp_of_results(
        self, node: Node, cotangents: tuple[Node | None, ...]
    ) -> tuple[Node | None, ...]:
        return _Adjoint(self, node, cotangents).operands()

    def jvp(self, node: Node, tangents: Tangents) -> Tangents:
        """The tangents come from a loop that carries those of the carries along."""
        fixed = self.consts + self.carries
        flags = [t is not None for t in tangents]
        pushed = carried_tangents(self.body, flags, self.consts, self.carries)
        flags = pushed.flags
        carried = flags[self.consts : fixed]
        stacked = [t is not None for t in pushed.tangents[self.carries :]]
        given = [
            build.zeros_like(x) if t is None else t
            for x, t, has in zip(node.inputs, tangents, flags, strict=True)
            if has
        ]
        first, second = sum(flags[: self.consts]), sum(flags[:fixed])
        results = self.body.results
        news = pushed.filled(results, [*carried, *stacked])
        count = sum(carried)

        def merged(plain: Sequence[Node], more: Sequence[Node]) -> list[Node]:
            consts = [*plain[: self.consts], *more[:first]]
            carries = [*plain[self.consts : fixed], *more[first:second]]
            return [*consts, *carries, *plain[fixed:], *more[second:]]

        body = Body.of(
            merged(self.body.parameters, pushed.seeds), [*results[: self.carries], *news]
        )
        scan = Scan(
            body,
            self.consts + first,
            self.carries + count,
            self.length,
            self.reverse,
            self.recompute,
        )
        found = iter(scan_results(scan, merged(node.inputs, given))[self.carries :])
        return tuple(next(found) if has else None for has in (*carried, *stacked))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        extent = batch_extent(operands, batched)
        fixed = self.consts + self.carries
        flags = list(batched)
        while True:
            body, found = batched_function(self.body, flags, extent)
            changed = [
                has and not known
                for has, known in zip(
                    found[: self.carries], flags[self.consts : fixed], strict=True
                )
            ]
            if not any(changed):
                break
            for i, new in enumerate(changed):
                flags[self.consts + i] |= new
        carried = flags[self.consts : fixed]
        wanted = [*carried, *[False] * (len(found) - self.carries)]
        body, found = batched_function(self.body, flags, extent, wanted)
        given: list[Node] = []
        for i, (x, has, flag) in enumerate(zip(operands, batched, flags, strict=True)):
            if i >= fixed and has:
                given.append(_swapped(x))
            else:
                given.append(with_batch(x, extent) if flag and not has else x)
        scan = Scan(body, self.consts, self.carries, self.length, self.reverse, self.recompute)
        results = scan_results(scan, given)
        whole = []
        for i, (result, has) in enumerate(zip(results, found, strict=True)):
            if not has:
                whole.append(with_batch(result, extent))
            else:
                whole.append(result if i < self.carries else _swapped(result))
        return Node(Pack(), tuple(whole))


def scan_results(scan: Scan, operands: Sequence[Node]) -> list[Node]:
    """The results of a scan, each as a node."""
    node = Node(scan, tuple(operands))
    return [Node(Item(i), (node,)) for i in range(len(scan.body.results))]


def _swapped(x: Node) -> Node:
    """Axes 0 and 1 exchanged: the batch and the iterations."""
    return build.transpose(x, (1, 0, *range(2, len(x.shape))))


# --- the derivative -------------------------------------------------------------------------------


@final
class _Adjoint:
    """The cotangents of the operands, by a loop that runs the other way.

    The loop forward is run with more results: what the loop back needs of every iteration. Both
    forward loops become one when the graph is compiled.
    """

    def __init__(self, op: Scan, node: Node, cotangents: Sequence[Node | None]) -> None:
        self.op = op
        self.node = node
        self.cotangents = cotangents
        fixed = op.consts + op.carries
        parameters = op.body.parameters
        self.consts = parameters[: op.consts]
        self.carries = parameters[op.consts : fixed]
        self.slices = parameters[fixed:]
        results = op.body.results
        self.seeds: dict[int, Node] = {
            i: build.input_(r.tensor_type)
            for i, r in enumerate(results)
            if r.dtype.is_float and (i < op.carries or cotangents[i] is not None)
        }
        self.wrt = [p for p in parameters if p.dtype.is_float]
        found = vjp([results[i] for i in self.seeds], list(self.seeds.values()), self.wrt)
        self.given = dict(zip(self.wrt, found, strict=True))
        # Elements of the largest value that an iteration has in memory.
        self.largest = 0.0

    def operands(self) -> tuple[Node | None, ...]:
        kept = self._kept()
        given = self._reading(kept)
        fixed = self.op.consts + self.op.carries
        outgoing = [i for i in self.seeds if i >= self.op.carries]
        used = {s: self.node.inputs[fixed + i] for i, s in enumerate(self.slices) if s not in kept}
        columns = dict(zip(kept.values(), self._forward(kept), strict=True))
        columns |= used | {self.seeds[i]: self._cotangent(i) for i in outgoing}
        number = {c: i for i, c in enumerate(self.carries) if c in given}
        carries = {self.seeds[i]: c for c, i in number.items()}
        stacks = Stacks(columns, [*columns, *carries])
        products, sums = self._sums(given, stacks)
        slices = [s for s in self.slices if given.get(s) is not None]
        totals = {build.input_(c.tensor_type): c for c in sums}
        results = [
            *(_or_zeros(given[c], c) for c in number),
            *(build.add(s, sums[c]) for s, c in totals.items()),
            *(_known(given[s]) for s in slices),
            *stacks.wanted,
        ]
        if not results:
            return (None,) * len(self.node.inputs)
        body, captured = body_of([*carries, *totals, *columns], results)
        count = len(carries) + len(totals)
        back = Scan(
            body, len(captured), count, self.op.length, not self.op.reverse, self.op.recompute
        )
        operands = [
            *self._outside(captured),
            *(self._cotangent(i) for i in number.values()),
            *(build.zeros_like(c) for c in totals.values()),
            *columns.values(),
        ]
        names = (*number, *totals.values(), *slices, *stacks.wanted)
        returned = dict(zip(names, scan_results(back, operands), strict=True))
        found = {p: returned[p] for p in (*number, *totals.values(), *slices)}
        for c, pairs in products.items():
            for dot, turned in pairs:
                left, right = (stacks.of(x, returned) for x in dot.inputs)
                more = product(left, right, turned)
                found[c] = build.add(found[c], more) if c in found else more
        return tuple(found.get(p) for p in self.op.body.parameters)

    def _sums(
        self, given: dict[Node, Node | None], stacks: Stacks
    ) -> tuple[dict[Node, list[tuple[Node, bool]]], dict[Node, Node]]:
        """The cotangents of the consts: products after the loop, and what iterations add up."""
        products: dict[Node, list[tuple[Node, bool]]] = {}
        sums: dict[Node, Node] = {}
        for const in self.consts:
            gradient = given.get(const)
            if gradient is None:
                continue
            # To save memory is what computing again is for.
            found, rest = ([], gradient) if self.op.recompute else terms(gradient)
            if not all(stacks.varies(x) for dot, _ in found for x in dot.inputs):
                found, rest = [], gradient
            for dot, _ in found:
                for operand in dot.inputs:
                    stacks.want(operand)
            if found:
                products[const] = found
            if rest is not None:
                sums[const] = rest
        return products, sums

    def _kept(self) -> dict[Node, Node]:
        """Values of an iteration that are stored for the loop back, and variables for them."""
        targets = [g for g in self.given.values() if g is not None]
        order = toposort(targets)
        seeded = set(self.seeds.values())
        varying = {*self.carries, *self.slices}
        for node in order:
            if not seeded.isdisjoint(node.inputs):
                seeded.add(node)
            if not varying.isdisjoint(node.inputs):
                varying.add(node)
        whole = [n for n in order if n.op.pattern in _WHOLE and not isinstance(n.type, TupleType)]
        self.largest = max(map(_elements, [*self.op.body.parameters, *whole]), default=0)
        kept: dict[Node, Node] = {}
        seen: set[Node] = set()
        stack = targets[::-1]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            stored = node not in seeded and node in varying and self._is_costly(node)
            if node in self.carries or stored:
                kept[node] = build.input_(node.tensor_type)
            else:
                stack.extend(reversed(node.inputs))
        return kept

    def _is_costly(self, node: Node) -> bool:
        """Whether an iteration's value is stored rather than computed again."""
        if self.op.recompute or isinstance(node.type, TupleType):
            return False
        if isinstance(node.op, Item):
            inner = node.inputs[0].op
            return not (isinstance(inner, Scan) and inner.recompute)
        if node.op.pattern is Pattern.MAP:
            return cost_of(node) >= EXPENSIVE and _elements(node) <= self.largest
        return node.op.pattern in _WHOLE

    def _forward(self, kept: dict[Node, Node]) -> list[Node]:
        """What is stored, of all iterations."""
        if not kept:
            return []
        op = self.op
        body = Body(op.body.parameters, (*op.body.results, *kept))
        scan = Scan(body, op.consts, op.carries, op.length, op.reverse, op.recompute)
        return scan_results(scan, self.node.inputs)[len(op.body.results) :]

    def _reading(self, kept: dict[Node, Node]) -> dict[Node, Node | None]:
        """The cotangents of the parameters, as functions of what is stored."""
        known = [p for p in self.wrt if self.given[p] is not None]
        replaced = substitute([_known(self.given[p]) for p in known], kept)
        found = dict(zip(known, replaced, strict=True))
        return {p: found.get(p) for p in self.wrt}

    def _cotangent(self, number: int) -> Node:
        """Of a result of the loop."""
        given = self.cotangents[number]
        if given is not None:
            return given
        kind = self.node.type.items[number]  # type: ignore[union-attr]
        return build.full(kind.shape, 0, kind.dtype)

    def _outside(self, captured: Sequence[Node]) -> list[Node]:
        """Values that are the same in every iteration, of the operands."""
        return substitute(captured, dict(zip(self.consts, self.node.inputs, strict=False)))


_WHOLE = (Pattern.CONTRACT, Pattern.LOOP, Pattern.CALL)
"""What is computed as a whole, so that its results are in memory anyway."""


def _elements(node: Node) -> float:
    size = node.tensor_type.size
    return math.inf if size is None else size


def _or_zeros(node: Node | None, like: Node) -> Node:
    return build.zeros_like(like) if node is None else node


def _known(node: Node | None) -> Node:
    assert node is not None
    return node
