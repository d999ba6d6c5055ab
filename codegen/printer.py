"""The text of kernels: what golden tests compare and people read.

Knows the kernel language; knows no targets, and nothing reads the text back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import final

import numpy as np

from .accesses import memory, operands, written
from .dtypes import bool_, float32, int64
from .expr import Apply, Buffer, Const, Expr, Extent, Load, Var, index, walk
from .kernel import (
    Alloc,
    Arrange,
    Contract,
    Copy,
    For,
    If,
    Inner,
    Kernel,
    Let,
    Mma,
    Param,
    Placed,
    Prefetch,
    Stmt,
    Store,
    Sync,
    Unfold,
)
from .names import Names
from .printer_orders import order_text, shifted
from .scalar import apply

__all__ = ["print_context", "print_kernel", "print_statement"]

WIDTH = 90
"""Lines are joined as long as they stay within this."""
SHARED = 40
"""A subexpression that occurs twice in a statement and is longer is printed on its own."""
_LONGEST = 1 << 30
_INFIX = {
    "add": ("+", 1),
    "sub": ("-", 1),
    "mul": ("*", 2),
    "divtrunc": ("//", 2),
    "remtrunc": ("%", 2),
}
_ATOM = 3

Line = tuple[str, Stmt | None]


def print_kernel(kernel: Kernel) -> str:
    """`kernel` as text.

    A value that is used once is printed inside its user where that changes neither what is
    evaluated nor when; index arithmetic is printed with operators.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.codegen.kernel import Any, Role
    >>> x, y = Buffer("x", float32, (8,)), Buffer("y", float32, (8,))
    >>> i, t = Var("i", extent=8), Var("t", float32)
    >>> body = (Let(t, apply("exp", Load(x, (i,)))), Store(y, (i,), t))
    >>> params = (Param(x, Role.IN), Param(y, Role.OUT))
    >>> print(print_kernel(Kernel("exp", params, (), (For(i, 8, Any(), body),))))
    kernel exp(x: f32[8] in, y: f32[8] out) {
      for i in 8 any { y[i] = exp(x[i]) }
    }
    """
    return "\n".join(text for text, _ in _Printer(True).kernel(kernel))


def print_statement(statement: Stmt) -> str:
    """One statement as text, with whatever is nested in it."""
    printer = _Printer(False)
    return "\n".join(text for text, _ in printer.block((statement,), (), 0))


def print_context(kernel: Kernel, statement: Stmt | None, around: int = 3) -> str:
    """The lines of `kernel` around `statement`, which is marked; every value has a line."""
    lines = _Printer(False).kernel(kernel)
    position = next((n for n, (_, s) in enumerate(lines) if s is not None and s is statement), 0)
    near = range(max(0, position - around), min(len(lines), position + around + 1))
    return "\n".join(("> " if n == position else "  ") + lines[n][0] for n in near)


# --- expressions ---------------------------------------------------------------------------------


def _constant(e: Const) -> str:
    if e.dtype is bool_:
        return "true" if e.value else "false"
    if e.dtype is float32:
        return str(np.float32(e.value))
    return repr(e.value)


def _children(e: Expr) -> tuple[Expr, ...]:
    if isinstance(e, Apply):
        return e.args
    return e.indices if isinstance(e, Load) else ()


def _label(e: Expr) -> str:
    return e.buffer.name if isinstance(e, Load) else ""


def _is_infix(e: Expr) -> bool:
    return isinstance(e, Apply) and e.dtype is int64 and e.op in _INFIX


@final
class _Expressions:
    """Expressions to text: names of variables, and values that are printed in place."""

    def __init__(self) -> None:
        self.names: dict[Var | Buffer, str] = {}
        self.inlined: dict[Var, Expr] = {}
        self.lengths: dict[Var, int] = {}
        self.hoisted: dict[int, str] = {}

    def name(self, item: Var | Buffer) -> str:
        return self.names.get(item, item.name)

    def measure(self, roots: Iterable[Expr]) -> tuple[list[int], list[Expr]]:
        """How long each of `roots` would be, and the subexpressions that need their own line."""
        roots = tuple(roots)
        length: dict[int, int] = {}
        uses: dict[int, int] = {}
        order: list[Expr] = []
        for root in roots:
            for e in walk(root) if id(root) not in length else ():
                if id(e) not in length:
                    length[id(e)] = 0
                    order.append(e)
                    for child in _children(e):
                        uses[id(child)] = uses.get(id(child), 0) + 1
            uses[id(root)] = uses.get(id(root), 0) + 1
        shared: list[Expr] = []
        for e in order:
            if isinstance(e, Const):
                length[id(e)] = len(_constant(e))
            elif isinstance(e, Var):
                length[id(e)] = self.lengths.get(e, len(e.name) + 1)
            else:
                label = e.op if isinstance(e, Apply) else _label(e)
                total = len(label) + sum(length[id(c)] + 2 for c in _children(e))
                if isinstance(e, Apply) and total > SHARED and uses[id(e)] > 1:
                    shared.append(e)
                    total = 3
                length[id(e)] = min(total, _LONGEST)
        return [length[id(root)] for root in roots], shared

    def _level(self, e: Expr) -> int:
        while isinstance(e, Var) and e in self.inlined:
            e = self.inlined[e]
        if id(e) in self.hoisted or not isinstance(e, Apply) or not _is_infix(e):
            return _ATOM
        return _INFIX[e.op][1]

    def text(self, root: Expr, *, own: bool = False) -> str:
        """The text of `root`; `own` spells it out though it has a name."""
        pieces: list[str] = []
        stack: list[Expr | str] = [root]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                pieces.append(item)
            elif id(item) in self.hoisted and not (own and item is root):
                pieces.append(self.hoisted[id(item)])
            elif isinstance(item, Var):
                value = self.inlined.get(item)
                if value is None:
                    pieces.append(self.name(item))
                else:
                    stack.append(value)
            elif isinstance(item, Const):
                pieces.append(_constant(item))
            else:
                stack.extend(reversed(self._parts(item)))
        return "".join(pieces)

    def _parts(self, e: Expr) -> list[Expr | str]:
        if isinstance(e, Load):
            return [*self._place(e.buffer, e.indices)]
        assert isinstance(e, Apply)
        if _is_infix(e):
            return self._infix(e)
        inside: list[Expr | str] = [f"{e.op}("]
        for n, arg in enumerate(e.args):
            inside += [", ", arg] if n else [arg]
        if e.op in ("cast", "bitcast"):
            inside.append(f", {e.dtype.short}")
        return [*inside, ")"]

    def _infix(self, e: Apply) -> list[Expr | str]:
        symbol, level = _INFIX[e.op]
        left, right = e.args
        if isinstance(right, Const) and right.value < 0 and e.op in ("add", "sub"):
            symbol, right = "-" if e.op == "add" else "+", index(-int(right.value))
        return [*self._side(left, level), f" {symbol} ", *self._side(right, level + 1)]

    def _side(self, e: Expr, least: int) -> list[Expr | str]:
        return [e] if self._level(e) >= least else ["(", e, ")"]

    def _place(self, buffer: Buffer, indices: Sequence[Expr]) -> list[Expr | str]:
        if buffer.base is not None:
            return [f"{self.name(memory(buffer))}.flat[", _offset(buffer, indices), "]"]
        parts: list[Expr | str] = [f"{self.name(buffer)}["]
        for n, i in enumerate(indices):
            parts += [", ", i] if n else [i]
        return [*parts, "]"]

    def place(self, buffer: Buffer, indices: Sequence[Expr]) -> str:
        """``name[index, ...]``; a view as a flat offset into its memory."""
        parts = self._place(buffer, indices)
        return "".join(p if isinstance(p, str) else self.text(p) for p in parts)


def _offset(view: Buffer, indices: Sequence[Expr]) -> Expr:
    total: Expr = index(0)
    for i, stride in zip(indices, view.strides or (), strict=True):
        step = index(stride) if isinstance(stride, int) else stride
        total = apply("add", total, apply("mul", i, step))
    return total


# --- which values are printed in place -----------------------------------------------------------


@final
class _Inliner:
    """Decides for each `let` that is used once whether its user prints it in place.

    That is right when both stand in the same block and nothing between them writes what the
    value loads, and nice when the line stays short.
    """

    def __init__(self, expressions: _Expressions) -> None:
        self.expressions = expressions
        self.uses: dict[Var, int] = {}

    def run(self, kernel: Kernel) -> None:
        for statements in (kernel.body, kernel.finish):
            self._count(statements)
        for statements in (kernel.body, kernel.finish):
            self._block(statements, (), 1)

    def _count(self, statements: Sequence[Stmt]) -> None:
        stack = list(statements)
        while stack:
            s = stack.pop()
            roots = operands(s)
            if isinstance(s, For):
                roots = (*roots, *s.next)
                stack.extend(s.body)
            elif isinstance(s, If):
                stack.extend(s.then)
            for root in roots:
                if isinstance(root, Var):
                    self.uses[root] = self.uses.get(root, 0) + 1
                for e in walk(root):
                    for child in _children(e):
                        if isinstance(child, Var):
                            self.uses[child] = self.uses.get(child, 0) + 1

    def _block(self, body: Sequence[Stmt], following: Sequence[Expr], depth: int) -> None:
        loads: dict[Var, tuple[Buffer, ...]] = {}
        values: dict[Var, Expr] = {}
        readers: dict[Buffer, list[Var]] = {}
        for s in body:
            roots = operands(s)
            label = len(s.var.name) + 8 if isinstance(s, Let) else 8
            if isinstance(s, Store):
                label += len(s.buffer.name)
            chosen = self._choose(roots, values, 2 * depth + label)
            if isinstance(s, Let):
                self._offer(s, chosen, loads, values, readers)
            elif isinstance(s, For):
                self._block(s.body, s.next, depth + 1)
            elif isinstance(s, If):
                self._block(s.then, (), depth + 1)
            for buffer in written(s):
                for var in readers.pop(memory(buffer), ()):
                    values.pop(var, None)
        self._choose(following, values, 2 * depth + 6)

    def _choose(self, roots: Sequence[Expr], values: dict[Var, Expr], used: int) -> list[Var]:
        lengths, _ = self.expressions.measure(roots)
        total = used + sum(lengths) + 2 * len(lengths)
        chosen: list[Var] = []
        for root in roots:
            for e in walk(root):
                value = values.pop(e, None) if isinstance(e, Var) else None
                if value is None or not isinstance(e, Var):
                    continue
                length = self.expressions.measure((value,))[0][0] + 2
                if total + length <= WIDTH:
                    total += length
                    self.expressions.inlined[e] = value
                    self.expressions.lengths[e] = length
                    chosen.append(e)
        return chosen

    def _offer(
        self,
        let: Let,
        chosen: Sequence[Var],
        loads: dict[Var, tuple[Buffer, ...]],
        values: dict[Var, Expr],
        readers: dict[Buffer, list[Var]],
    ) -> None:
        if self.uses.get(let.var) != 1 or self.expressions.measure((let.value,))[0][0] > WIDTH:
            return
        own = [memory(e.buffer) for e in walk(let.value) if isinstance(e, Load)]
        for var in chosen:
            own += loads[var]
        loads[let.var] = tuple(own)
        values[let.var] = let.value
        for buffer in own:
            readers.setdefault(buffer, []).append(let.var)


# --- statements ----------------------------------------------------------------------------------


@final
class _Printer:
    def __init__(self, joined: bool) -> None:
        self.joined = joined
        self.expressions = _Expressions()
        self.names = Names()

    def kernel(self, kernel: Kernel) -> list[Line]:
        if self.joined:
            _Inliner(self.expressions).run(kernel)
        for size in kernel.sizes:
            self._declare(size)
        for param in kernel.params:
            self._declare(param.buffer)
        body = self.block(kernel.body, (), 1)
        lines = [*self._head(kernel), *body]
        if kernel.finish:
            lines += [("} finish {", None), *self.block(kernel.finish, (), 1)]
        return [*lines, ("}", None)]

    def _head(self, kernel: Kernel) -> list[Line]:
        parts = [self._param(p) for p in kernel.params]
        parts += [self.expressions.name(size) for size in kernel.sizes]
        start = f"kernel {kernel.name}("
        lines = [start]
        for n, part in enumerate(parts):
            part += ", " if n + 1 < len(parts) else ") {"
            if len(lines[-1]) + len(part.rstrip()) > WIDTH and lines[-1] != start:
                lines.append(" " * len(start))
            lines[-1] += part
        if not parts:
            lines[-1] += ") {"
        return [(line.rstrip(), None) for line in lines]

    def _param(self, param: Param) -> str:
        buffer = param.buffer
        strides = ""
        if buffer.strides is not None:
            strides = f" strides [{', '.join(map(self._extent, buffer.strides))}]"
        monoid = f" {param.monoid.value}" if param.monoid is not None else ""
        return f"{self._buffer(buffer)}{strides} {param.role.value}{monoid}"

    def _buffer(self, buffer: Buffer) -> str:
        shape = ", ".join(map(self._extent, buffer.shape))
        return f"{self.expressions.name(buffer)}: {buffer.dtype.short}[{shape}]"

    def _extent(self, extent: Extent | Expr) -> str:
        return str(extent) if isinstance(extent, int) else self.expressions.text(extent)

    def _declare(self, item: Var | Buffer) -> str:
        # The numbers of temporaries count what was made, not what is printed.
        name = self.names.new("t" if re.fullmatch(r"t\d+", item.name) else item.name)
        self.expressions.names[item] = name
        return name

    def block(self, body: Sequence[Stmt], following: Sequence[Expr], depth: int) -> list[Line]:
        """The lines of a block of statements and its `next`."""
        self.names.enter()
        lines: list[Line] = []
        for s in body:
            if not (isinstance(s, Let) and s.var in self.expressions.inlined):
                lines += self._statement(s, depth)
        if following:
            hoisted = self._shared(following, depth)
            values = ", ".join(self.expressions.text(e) for e in following)
            lines += [*hoisted, ("  " * depth + f"next {values}", None)]
        self.names.leave()
        return lines

    def _shared(self, roots: Sequence[Expr], depth: int) -> list[Line]:
        """Lines for what `roots` share, so that no text is printed twice."""
        self.expressions.hoisted.clear()
        lines: list[Line] = []
        for e in self.expressions.measure(roots)[1]:
            name = self.names.new("t")
            self.expressions.hoisted[id(e)] = name
            value = self.expressions.text(e, own=True)
            lines.append((f"{'  ' * depth}let {name} = {value}", None))
        return lines

    def _statement(self, s: Stmt, depth: int) -> list[Line]:
        indent = "  " * depth
        lines = self._shared(operands(s), depth)
        if isinstance(s, For):
            return [*lines, *self._loop(s, depth)]
        if isinstance(s, If):
            head = f"{indent}if {self.expressions.text(s.condition)} {{"
            return [*lines, *self._nested(head, self.block(s.then, (), depth + 1), s, indent)]
        if isinstance(s, (Copy, Contract, Inner, Placed, Unfold)):
            return [*lines, *_filled(self._parts(s), indent, s)]
        return [*lines, (indent + self._simple(s), s)]

    def _simple(self, s: Stmt) -> str:
        text = self.expressions.text
        if isinstance(s, Let):
            value = text(s.value)
            return f"let {self._declare(s.var)} = {value}"
        if isinstance(s, Store):
            sign = f"{s.monoid.value}=" if s.monoid else "="
            place = self.expressions.place(s.buffer, s.indices)
            how = " nontemporal" * s.nontemporal + " async" * s.asynchronous
            return f"{place} {sign} {text(s.value)}{how}"
        if isinstance(s, Prefetch):
            return f"prefetch {self.expressions.place(s.buffer, s.indices)}"
        if isinstance(s, Sync):
            return "sync"
        if isinstance(s, Mma):
            rows, columns = ((s.row, s.step), (s.column, s.step))
            left, right = (self.expressions.place(*p) for p in ((s.left, rows), (s.right, columns)))
            return f"mma {self.expressions.name(s.acc)}[{text(s.thread)}] += {left} . {right}"
        if isinstance(s, Arrange):
            names = [self.expressions.names[buffer] for buffer in (s.keys, s.spare)]
            return f"arrange {names[0]} by {names[1]}: {s.first} to {s.last} of {s.count}"
        assert isinstance(s, Alloc)
        self._declare(s.buffer)
        return f"alloc {self._buffer(s.buffer)} {s.buffer.space}"

    def _loop(self, s: For, depth: int) -> list[Line]:
        indent = "  " * depth
        extent = self._extent(s.extent)
        starts = [self.expressions.text(start) for _, start in s.carry]
        # The names of a tree's results are in scope after the loop, and kept free inside it.
        carried = [self._declare(var) for var, _ in s.carry]
        self.names.enter()
        head = f"{indent}for {self._declare(s.var)} in {extent} {order_text(s.order, s.mapping)}"
        if carried:
            pairs = zip(carried, starts, strict=True)
            head += f" carry ({', '.join(f'{name} = {start}' for name, start in pairs)})"
        body = self.block(s.body, s.next, depth + 1)
        self.names.leave()
        return self._nested(f"{head} {{", body, s, indent)

    def _nested(self, head: str, body: list[Line], s: Stmt, indent: str) -> list[Line]:
        if self.joined and len(body) == 1:
            line = body[0][0].strip()
            if len(head) + len(line) + 3 <= WIDTH and not line.endswith("}"):
                return [(f"{head} {line} }}", s)]
        return [(head, s), *body, (f"{indent}}}", None)]

    def _parts(self, s: Copy | Contract | Inner | Placed | Unfold) -> list[str]:
        if isinstance(s, Placed):
            return self._placed(s)
        if isinstance(s, (Contract, Inner)):
            return self._contract(s) if isinstance(s, Contract) else self._inner(s)
        return self._copy(s) if isinstance(s, Copy) else self._unfold(s)

    def _unfold(self, s: Unfold) -> list[str]:
        self.names.enter()
        i, j = Var("i"), Var("j")
        self._declare(i)
        self._declare(j)
        names = self.expressions.names
        target = self.expressions.place(s.target, (i, j))
        row, column = ("*".join(map(str, extents)) for extents in (s.row_extents, s.column_extents))
        moved = []
        for a, (r, c, low) in enumerate(zip(s.row_steps, s.column_steps, s.low, strict=True), 1):
            factors = [f" * {step}" if step != 1 else "" for step in (r, c)]
            shift = "" if not low else f" - {low}" if low > 0 else f" + {-low}"
            moved.append(f"r{a}{factors[0]} + c{a}{factors[1]}{shift}")
        text = self.expressions.text
        places = ", ".join([text(s.offset), "r0", "c0", *moved])
        limits = f"for {names[i]} < {text(s.rows)}, {names[j]} < {text(s.columns)}, else 0"
        heads = f"r = {text(s.first_row)} + {names[i]} of {row}, c = {text(s.first_column)} + "
        self.names.leave()
        source = f"{names[memory(s.source)]}[{places}]"
        return [f"unfold {target} = {source}", f"{heads}{names[j]} of {column}", limits]

    def _copy(self, s: Copy) -> list[str]:
        self.names.enter()
        i, j = Var("i"), Var("j")
        self._declare(i)
        self._declare(j)
        target = self.expressions.place(s.target, (shifted(s.target_row, i), j))
        source = self._box(s.source, s.starts, {s.row_axis: i, s.column_axis: j})
        rows, columns = self.expressions.text(s.rows), self.expressions.text(s.columns)
        names = self.expressions.names
        self.names.leave()
        limits = f"for {names[i]} < {rows}, {names[j]} < {columns}, else 0"
        return [f"copy {target} = {source}", limits]

    def _contract(self, s: Contract) -> list[str]:
        self.names.enter()
        i, j, k = Var("i"), Var("j"), Var("k")
        for var in (i, j, k):
            self._declare(var)
        names = self.expressions.names
        acc = self.expressions.place(s.acc, (shifted(s.acc_row, i), j))
        a = self._box(s.a, s.a_starts, {s.a_row_axis: i, s.a_sum_axis: k})
        b = self._box(s.b, s.b_starts, {s.b_sum_axis: k, s.b_column_axis: j})
        rows, columns = self.expressions.text(s.rows), self.expressions.text(s.columns)
        limits = (
            f"{names[k]} < {self._extent(s.extent)}, {names[i]} < {rows}, {names[j]} < {columns}"
        )
        limits += f", {s.ahead} ahead" * (s.ahead > 0)
        self.names.leave()
        if s.onward is None:
            return [f"contract {acc} = {a}", f". {b}", f"for {limits}"]
        head = f"contract {acc} = ({self.expressions.text(s.onward)} ? itself) + {a}"
        return [head, f". {b}", f"for {limits}"]

    def _placed(self, s: Placed) -> list[str]:
        self.names.enter()
        i, j, n, k = (Var(name) for name in "ijnk")
        list(map(self._declare, (i, j, n, k)))
        names, text = self.expressions.names, self.expressions.text

        def moved(given: Buffer | int, by: Var, first: Expr) -> str:
            if not isinstance(given, Buffer):
                return f"{names[by]} * {given}"
            return f"{names[given]}[{text(shifted(first, by))}]"

        acc = self.expressions.place(s.acc, (shifted(s.acc_row, i), j))
        along = f"{names[n]} * {s.a_step} + {moved(s.a_places, k, index(0))}"
        a = f"{text(s.a_start)} + {moved(s.a_rows, i, s.a_row)} + {along}"
        column = names[j]
        if s.b_run is not None:
            length, step = s.b_run
            column = f"{names[j]} / {length} * {step} + {names[j]} % {length}"
        along = f"{names[n]} * {s.b_step} + {moved(s.b_places, k, index(0))}"
        b = f"{text(s.b_start)} + {along} + {column}"
        counts = (text(s.outer), text(s.length), f"{s.height}, {text(s.rows)}", s.columns)
        bounds = ", ".join(f"{names[v]} < {c}" for v, c in zip((n, k, i, j), counts, strict=True))
        self.names.leave()
        sign = "+=" if s.onward else "="
        operands = (f"{names[memory(s.a)]}[{a}]", f". {names[memory(s.b)]}[{b}]")
        return [f"contract {acc} {sign} {operands[0]}", operands[1], f"for {bounds}"]

    def _inner(self, s: Inner) -> list[str]:
        self.names.enter()
        i, j, n, k = (Var(name) for name in "ijnk")
        list(map(self._declare, (i, j, n, k)))
        names, text = self.expressions.names, self.expressions.text
        acc = self.expressions.place(s.acc, (shifted(s.acc_row, i), shifted(s.acc_column, j)))

        def at(start: Expr, moved: str, step: int) -> str:
            begin = "" if isinstance(start, Const) and start.value == 0 else f"{text(start)} + "
            return f"{begin}{moved} + {names[n]} * {step} + {names[k]}"

        a = f"{names[memory(s.a)]}[{at(s.a_start, f'{names[i]} * {s.a_row}', s.a_step)}]"
        columns = f"({', '.join(map(str, s.b_columns))})[{names[j]}]"
        b = f"{names[memory(s.b)]}[{at(s.b_start, columns, s.b_step)}]"
        counts = (text(s.outer), text(s.length), f"{s.height}, {text(s.rows)}", len(s.b_columns))
        bounds = ", ".join(f"{names[v]} < {c}" for v, c in zip((n, k, i, j), counts, strict=True))
        self.names.leave()
        return [f"inner {acc} += {a}", f". {b}", f"for {bounds}"]

    def _box(
        self, buffer: Buffer, starts: Sequence[Expr], moved: dict[int, Var] | dict[int, Expr]
    ) -> str:
        indices = [
            apply("add", start, moved[axis]) if axis in moved else start
            for axis, start in enumerate(starts)
        ]
        return self.expressions.place(buffer, indices)


def _filled(parts: Sequence[str], indent: str, s: Stmt) -> list[Line]:
    """The parts of a statement, as many on a line as fit."""
    texts = [indent + parts[0]]
    for part in parts[1:]:
        if len(texts[-1]) + len(part) < WIDTH:
            texts[-1] += f" {part}"
        else:
            texts.append(f"{indent}    {part}")
    return [(text, None if n else s) for n, text in enumerate(texts)]
