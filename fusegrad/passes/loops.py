"""Loops with no more in them than somebody reads, and loops that do the same work as one.

Knows `Scan` and `While`; knows no fusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..autodiff.body import Body, parameter
from ..autodiff.loop import While
from ..autodiff.scan import Scan
from ..ir.node import Item, Node, role, source, substitute, toposort, where
from ..ir.rewrite import rewrite
from .panels import pack_weights
from .simplify import CANONICAL, SIMPLIFY, in_one_order

__all__ = ["tidy_loops"]


def tidy_loops(outputs: Sequence[Node]) -> list[Node]:
    """`outputs` with loops over the same operands joined, and without results that nobody reads.

    A loop and the same loop that stores more for its derivative become one, and so does a loop and
    one that carries more, as its tangents. What an iteration
    computes for results that nobody reads is left out, and a carry that never changes is no carry.
    Matrices that all iterations multiply by are put in panels before the loop.
    """
    if not any(isinstance(node.op, (Scan, While)) for node in toposort(outputs)):
        return list(outputs)
    return _prune(pack_weights(_absorb(_join(_simplified(outputs)))))


def _simplified(outputs: Sequence[Node]) -> list[Node]:
    """`outputs` with simple bodies of scans: what is equal in them is one node then."""

    def simple(node: Node) -> Node | None:
        if not isinstance(node.op, Scan):
            return None
        body = node.op.body
        results = tuple(rewrite(body.results, (*CANONICAL, *SIMPLIFY, in_one_order())))
        if results == body.results:
            return None
        return Node(replace(node.op, body=Body(body.parameters, results)), node.inputs)

    return rewrite(outputs, [simple])


def _rebuilt(outputs: Sequence[Node], results: dict[Node, dict[int, Node]]) -> list[Node]:
    """`outputs` with the items of some nodes replaced."""
    mapping = {
        Node(Item(i), (node,)): new for node, items in results.items() for i, new in items.items()
    }
    return substitute(outputs, mapping)


# --- joining --------------------------------------------------------------------------------------


def _join(outputs: Sequence[Node]) -> list[Node]:
    result = list(outputs)
    # Joined loops give their users equal operands, which may be loops again.
    while True:
        groups: dict[object, list[Node]] = {}
        for node in toposort(result):
            op = node.op
            if isinstance(op, Scan):
                carried = op.body.results[: op.carries]
                key = (op.consts, op.carries, op.length, op.reverse, carried, node.inputs)
                groups.setdefault(key, []).append(node)
        several = [group for group in groups.values() if len(group) > 1]
        if not several:
            return result
        result = _rebuilt(result, dict(pair for group in several for pair in _joined(group)))


def _joined(group: Sequence[Node]) -> list[tuple[Node, dict[int, Node]]]:
    """For each loop of a group, its results as those of one loop."""
    first = group[0]
    op = first.op
    assert isinstance(op, Scan)
    places: dict[Node, int] = {}
    for node in group:
        assert isinstance(node.op, Scan)
        for y in node.op.body.results[op.carries :]:
            places.setdefault(y, op.carries + len(places))
    body = Body(op.body.parameters, (*op.body.results[: op.carries], *places))
    recompute = all(node.op.recompute for node in group)  # type: ignore[attr-defined]
    with source(where(first), role(first)):
        joined = Node(
            Scan(body, op.consts, op.carries, op.length, op.reverse, recompute), first.inputs
        )
    found = []
    for node in group:
        assert isinstance(node.op, Scan)
        items = {i: Node(Item(i), (joined,)) for i in range(op.carries)}
        for i, y in enumerate(node.op.body.results[op.carries :], op.carries):
            items[i] = Node(Item(places[y]), (joined,))
        if node is not joined:
            found.append((node, items))
    return found


# --- loops in others ------------------------------------------------------------------------------


def _absorb(outputs: Sequence[Node]) -> list[Node]:
    """Loops whose carries another one carries too become part of it."""
    result = list(outputs)
    while True:
        loops = [n for n in toposort(result) if isinstance(n.op, (Scan, While))]
        found = next(
            (items for large in loops for small in loops if (items := _part(small, large))), None
        )
        if found is None:
            return result
        result = _rebuilt(result, found)


def _part(small: Node, large: Node) -> dict[Node, dict[int, Node]] | None:
    """The results of both loops as those of one, if the first is a part of the second."""
    a, b = small.op, large.op
    if len(small.inputs) >= len(large.inputs) or not set(large.inputs).issuperset(small.inputs):
        return None
    if isinstance(a, Scan) and isinstance(b, Scan):
        same = (a.length, a.reverse, a.recompute) == (b.length, b.reverse, b.recompute)
    else:
        same = isinstance(a, While) and isinstance(b, While)
    assert isinstance(a, (Scan, While))
    assert isinstance(b, (Scan, While))
    places = _places(small, large) if same else None
    if places is None or small in toposort([large]):
        return None
    renamed = dict(zip(a.body.parameters, (b.body.parameters[i] for i in places), strict=True))
    mine, theirs = substitute(a.body.results, renamed), list(b.body.results)
    count = _carries(a)
    numbers = [places[a.consts + i] - b.consts for i in range(count)]
    if any(mine[i] is not theirs[n] for i, n in enumerate(numbers)):
        return None
    joined = large
    if isinstance(a, While):
        assert isinstance(b, While)
        if substitute(a.test.results, renamed) != list(b.test.results):
            return None
    else:
        assert isinstance(b, Scan)
        carried = len(theirs[: b.carries])
        for y in mine[count:]:
            stacked = theirs[carried:]
            if y not in stacked:
                theirs.append(y)
            numbers.append(carried + (stacked.index(y) if y in stacked else len(stacked)))
        if len(theirs) > len(b.body.results):
            body = Body(b.body.parameters, tuple(theirs))
            with source(where(large), role(large)):
                joined = Node(replace(b, body=body), large.inputs)
    items = {i: Node(Item(n), (joined,)) for i, n in enumerate(numbers)}
    found = {small: items}
    if joined is not large:
        found[large] = {i: Node(Item(i), (joined,)) for i in range(len(b.body.results))}
    return found


def _carries(op: Scan | While) -> int:
    return op.carries if isinstance(op, Scan) else len(op.body.results)


def _places(small: Node, large: Node) -> list[int] | None:
    """For each operand of a loop the same of another, none of its carries twice."""

    def kinds(node: Node) -> list[tuple[int, Node]]:
        op = node.op
        assert isinstance(op, (Scan, While))
        fixed = op.consts + _carries(op)
        return [((i >= op.consts) + (i >= fixed), x) for i, x in enumerate(node.inputs)]

    free: dict[tuple[int, Node], list[int]] = {}
    for i, key in enumerate(kinds(large)):
        free.setdefault(key, []).append(i)
    found = []
    for kind, x in kinds(small):
        known = free.get((kind, x))
        if not known:
            return None
        found.append(known.pop(0) if kind == 1 else known[0])
    return found


# --- pruning --------------------------------------------------------------------------------------


def _prune(outputs: Sequence[Node]) -> list[Node]:
    order = toposort(outputs)
    alive = set(outputs)
    read: dict[Node, set[int]] = {}
    needs: dict[Node, _Needs] = {}
    for node in reversed(order):
        if node not in alive:
            continue
        inputs: Sequence[Node] = node.inputs
        if isinstance(node.op, Item):
            read.setdefault(node.inputs[0], set()).add(node.op.number)
        elif isinstance(node.op, Scan):
            needs[node] = _Needs(node.op, read.get(node, set()))
            inputs = [node.inputs[i] for i in needs[node].operands]
        alive.update(inputs)
    done: dict[Node, Node] = {}
    for node in order:
        if node not in alive:
            continue
        if isinstance(node.op, Scan):
            needs[node].build(node, done)
        elif isinstance(node.op, Item) and isinstance(node.inputs[0].op, Scan):
            done[node] = needs[node.inputs[0]].results[node.op.number]
        else:
            inputs = tuple(done[i] for i in node.inputs)
            same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
            with source(where(node), role(node)):
                done[node] = node if same else Node(node.op, inputs)
    return [done[node] for node in outputs]


class _Needs:
    """Which operands and results of a loop matter."""

    def __init__(self, op: Scan, read: set[int]) -> None:
        self.op = op
        self.read = read
        self.results: dict[int, Node] = {}
        fixed = op.consts + op.carries
        parameters = op.body.parameters
        places = {p: i for i, p in enumerate(parameters)}
        # Carries that stay as they are.
        self.still = [
            i for i in range(op.carries) if op.body.results[i] is parameters[op.consts + i]
        ]
        kept = set(read)
        while True:
            order = toposort([op.body.results[i] for i in sorted(kept)])
            used = {places[n] for n in order if n in places}
            more = {i - op.consts for i in used if op.consts <= i < fixed}
            if more <= kept:
                break
            kept |= more
        used |= {op.consts + i for i in read if i < op.carries}
        self.operands = sorted(used)
        self.kept = sorted(kept)

    def build(self, node: Node, done: dict[Node, Node]) -> None:
        """The smaller loop, and its results by their old numbers."""
        op = self.op
        fixed = op.consts + op.carries
        still = {op.consts + i for i in self.still}
        for i in self.still:
            if i in self.read:
                self.results[i] = done[node.inputs[op.consts + i]]
        consts = [i for i in self.operands if i < op.consts or i in still]
        carries = [i for i in self.operands if op.consts <= i < fixed and i not in still]
        slices = [i for i in self.operands if i >= fixed]
        ys = [i for i in self.kept if i >= op.carries]
        places = [*consts, *carries, *slices]
        renamed = {
            op.body.parameters[i]: parameter(place, op.body.types[i])
            for place, i in enumerate(places)
        }
        wanted = [*(i - op.consts for i in carries), *ys]
        if not wanted:
            return
        results = substitute([op.body.results[i] for i in wanted], renamed)
        stacked = list(dict.fromkeys(results[len(carries) :]))
        body = Body(tuple(renamed.values()), (*results[: len(carries)], *stacked))
        scan = Scan(body, len(consts), len(carries), op.length, op.reverse, op.recompute)
        with source(where(node), role(node)):
            new = Node(scan, tuple(done[node.inputs[i]] for i in places))
            for place, (i, result) in enumerate(zip(wanted, results, strict=True)):
                if place >= len(carries):
                    place = len(carries) + stacked.index(result)
                self.results[i] = Node(Item(place), (new,))
