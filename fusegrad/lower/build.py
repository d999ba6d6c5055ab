"""Reading values while a kernel is built: buffers for what comes in, `let`s for what is computed.

Knows nodes, the scope and buffers; knows no kind of region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from ..codegen.affine import canonical, linear, split_index
from ..codegen.expr import Apply, Buffer, Const, Expr, Extent, Load, Var
from ..codegen.kernel import Kernel, Monoid, Param, Role, Store
from ..codegen.records import dataclass
from ..ir.node import Node
from ..ops.base import IndexedOp, Pattern
from ..passes.views import flat_index
from .scope import Scope

__all__ = ["Builder", "Lowered"]

Index = tuple[Expr, ...]


@final
@dataclass(frozen=True)
class Lowered:
    """A logical kernel and what its parameters stand for.

    ``arguments`` has one node for each parameter. ``in_place`` lists pairs (written, read) of
    parameter positions that may share memory: each element is read before it is written, and not
    again.
    ``items`` is the extent of the outermost loop, the value of the kernel's only size.
    """

    kernel: Kernel
    arguments: tuple[Node, ...]
    in_place: tuple[tuple[int, int], ...]
    items: int

    def positions(self, role: Role) -> tuple[int, ...]:
        """The parameters with a role."""
        return tuple(p for p, param in enumerate(self.kernel.params) if param.role is role)

    @property
    def written(self) -> tuple[int, ...]:
        """The output parameters."""
        return self.positions(Role.OUT)

    @property
    def read(self) -> tuple[int, ...]:
        """The input parameters."""
        return self.positions(Role.IN)

    @property
    def partial(self) -> tuple[int, ...]:
        """The parameters with a private copy for each chunk."""
        return self.positions(Role.PARTIAL)


@final
class Builder:
    """The kernel under construction."""

    def __init__(self, inlined: Callable[[Node], bool]) -> None:
        self.scope = Scope()
        self.inlined = inlined
        self.params: dict[tuple[Node, Role], Param] = {}
        self.overrides: dict[Node, Callable[[Index], Expr | None]] = {}
        self.accesses = 0
        self.read_at: dict[Node, set[Index]] = {}
        self.last_read: dict[Node, int] = {}
        self.written_as: dict[Node, int] = {}
        self.written_at: dict[Node, Index] = {}
        self.read_before: dict[Node, set[Index]] = {}
        self.written_before: frozenset[Node] = frozenset()
        self.finishing = False

    # --- parameters -------------------------------------------------------------------------------

    def buffer(
        self,
        node: Node,
        role: Role,
        shape: Sequence[Extent] | None = None,
        monoid: Monoid | None = None,
    ) -> Buffer:
        """The parameter for `node`, made at its first use."""
        param = self.params.get((node, role))
        if param is None:
            letter = {Role.IN: "x", Role.OUT: "y", Role.PARTIAL: "s"}[role]
            count = sum(1 for _, r in self.params if r is role)
            extents = tuple(node.shape) if shape is None else tuple(shape)
            made = Buffer(f"{letter}{count}", node.dtype, extents)  # type: ignore[arg-type]
            param = self.params[node, role] = Param(made, role, monoid)
        return param.buffer

    def place(self, buffer: Buffer, flat: Expr) -> Index:
        """`flat`, a row-major position, as an index into `buffer`."""
        extents = [e if isinstance(e, int) else 0 for e in buffer.shape]
        if len(extents) == 1:
            return (flat,)
        return split_index(flat, extents)

    # --- values -----------------------------------------------------------------------------------

    def read(self, node: Node, at: Index) -> Expr:
        """The value of `node` at an index."""
        override = self.overrides.get(node)
        if override is not None:
            found = override(at)
            if found is not None:
                return found
        if not self.inlined(node):
            return self.scope.memo((node, at), lambda: self.load(node, at))
        op = node.op
        assert isinstance(op, IndexedOp)
        if op.pattern is Pattern.SOURCE:
            return op.value(node, (), at)

        def make() -> Expr:
            readers = tuple(self._reader(i) for i in node.inputs)
            return op.value(node, readers, at)

        return self.scope.memo((node, at), make)

    def _reader(self, node: Node) -> Callable[[Index], Expr]:
        return lambda at: self.read(node, tuple(canonical(i) for i in at))

    def load(self, node: Node, at: Index) -> Load:
        """A load from the parameter of `node`."""
        self.note_read(node, at)
        key = (node, Role.IN)
        flat = flat_index([_int(e) for e in node.shape], at)
        if key not in self.params:
            self.buffer(node, Role.IN, self._shape_for(node, at, flat))
        buffer = self.params[key].buffer
        return Load(buffer, self._index_for(node, buffer, at, flat))

    def note_read(self, node: Node, at: Index) -> None:
        """Remember where and when `node` is read, for what may be written in its place."""
        self.accesses += 1
        self.last_read[node] = self.accesses
        self.read_at.setdefault(node, set()).add(at)

    def _shape_for(self, node: Node, at: Index, flat: Expr) -> Sequence[Extent]:
        """One axis when the access runs through memory in order, else the node's own axes."""
        plain = all(isinstance(i, (Var, Const)) for i in at)
        if plain and len(set(at)) == len(at):
            return [e if isinstance(e, int) else 0 for e in node.shape]
        affine = all(isinstance(e, Var) for e, _ in linear(flat).terms)
        if affine or any(_divides(i) for i in at):
            return (_size(node),)
        return [_int(e) for e in node.shape]

    def _index_for(self, node: Node, buffer: Buffer, at: Index, flat: Expr) -> Index:
        if buffer.shape == tuple(node.shape) and not any(_divides(i) for i in at):
            return at
        return self.place(buffer, flat)

    def store(self, node: Node, at: Index, value: Expr) -> None:
        """Write `value` to the output parameter of `node`."""
        flat = flat_index([_int(e) for e in node.shape], at)
        key = (node, Role.OUT)
        if key not in self.params:
            self.buffer(node, Role.OUT, self._shape_for(node, at, flat))
        buffer = self.params[key].buffer
        self.accesses += 1
        self.written_as[node] = self.accesses
        self.written_at[node] = at
        self.scope.emit(Store(buffer, self._index_for(node, buffer, at, flat), value))

    # --- the result -------------------------------------------------------------------------------

    def finished(
        self,
        name: str,
        size: Var,
        items: int,
        finish: Sequence[object] = (),
        in_place: bool = True,
    ) -> Lowered:
        """The kernel, its parameters in the order of their first use."""
        if not self.finishing:
            self.begin_finish()
        keys = list(self.params)
        kernel = Kernel(
            name,
            tuple(self.params.values()),
            (size,),
            self.scope.statements(),
            tuple(finish),  # type: ignore[arg-type]
        )
        pairs = tuple(self._pairs(keys)) if in_place else ()
        return Lowered(kernel, tuple(n for n, _ in keys), pairs, items)

    def begin_finish(self) -> None:
        """From here on statements run once, after all others."""
        self.finishing = True
        self.read_before, self.read_at = self.read_at, {}
        self.written_before = frozenset(self.written_at)

    def _pairs(self, keys: Sequence[tuple[Node, Role]]) -> list[tuple[int, int]]:
        """(written, read) parameters whose elements are read before they are written, not after."""
        pairs = []
        for w, (written, role) in enumerate(keys):
            if role is not Role.OUT or written not in self.written_at:
                continue
            at = self.written_at[written]
            for r, (read, other) in enumerate(keys):
                if other is not Role.IN or read.type.plain is not written.type.plain:
                    continue
                if self.last_read[read] > self.written_as[written]:
                    continue
                before, after = self.read_before.get(read, set()), self.read_at.get(read, set())
                in_body = written in self.written_before
                if (in_body and before == {at} and not after) or (not in_body and after <= {at}):
                    pairs.append((w, r))
        return pairs


def _int(extent: object) -> int:
    if not isinstance(extent, int):
        raise TypeError(f"extent {extent} is not a number")
    return extent


def _size(node: Node) -> int:
    size = 1
    for e in node.shape:
        size *= _int(e)
    return size


def _divides(expr: Expr) -> bool:
    return isinstance(expr, Apply) and (
        expr.op in ("divtrunc", "remtrunc") or any(_divides(a) for a in expr.args)
    )
