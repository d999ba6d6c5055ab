"""Where in memory an element lies: index expressions as sums, split by the loop they belong to.

Knows buffers, strides and loop variables; loads and stores nothing.

An element offset is a sum of products of atoms (variables, and expressions that are not sums).
The part of each loop level is added to the pointer of the level around it, once, at that level;
what is left for the innermost loop is its own variable and a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..affine import quotient
from ..dtypes import int64
from ..expr import Apply, Buffer, Const, Expr, Extent, Var, index
from ..records import dataclass
from .base import Features
from .llvm_builder import Builder, Value

__all__ = ["Address", "Addresses", "Mask", "VectorContext", "lane_numbers", "memory_type"]

Product = tuple[Expr, ...]
Sum = dict[Product, int]


@final
@dataclass(frozen=True)
class Mask:
    """Which lanes are alive.

    `alive` counts the leading lanes when the mask is a prefix: a number, the text of an int64
    between 1 and `lanes`, or None when any lanes may be alive. `text` is the vector of bits.
    """

    text: str
    alive: int | str | None


@final
@dataclass
class VectorContext:
    """The vector loop that code is in: its variable is `base` + `offset` + lane.

    `aligned` says that `base` is a multiple of `lanes`.
    """

    var: Var
    base: Var | None
    offset: int
    lanes: int
    depth: int
    mask: Mask | None
    aligned: bool = False


@final
@dataclass(frozen=True)
class Address:
    """An element: a pointer, constant elements after it, and what lanes add.

    `stride` is how far apart lanes are (a number or a register); `index` is a vector of further
    offsets when lanes are not evenly apart; where these are numbers, `pattern` has them.
    `stride` 0 and no index: the same for all lanes.
    """

    pointer: str
    constant: int
    stride: int | str
    index: str | None
    depth: int
    reads: frozenset[Buffer]
    pattern: tuple[int, ...] | None = None

    @property
    def uniform(self) -> bool:
        return self.stride == 0 and self.index is None


def _sorted(product: Product) -> Product:
    """The atoms in one order: varying sizes behind the others, in the order of their probes."""
    return tuple(sorted(product, key=_place_of))


def _place_of(atom: Expr) -> tuple[int, int]:
    if isinstance(atom, Const) and atom.origin is not None:
        return atom.origin.probe, int(atom.origin)
    return -1, hash(atom)


def _multiply(a: Sum, b: Sum) -> Sum:
    result: Sum = {}
    for p, x in a.items():
        for q, y in b.items():
            key = _sorted(p + q) if p and q else p or q
            result[key] = result.get(key, 0) + x * y
    return result


def _accumulate(total: Sum, part: Sum, factor: int) -> None:
    for product, coefficient in part.items():
        total[product] = total.get(product, 0) + factor * coefficient


class Addresses(Builder):
    """Addresses of elements, on top of the text of the function."""

    def __init__(self, target: Features) -> None:
        super().__init__(target)
        self.env: dict[Var, Value] = {}
        self.bases: dict[Buffer, Value] = {}
        self.strides: dict[Buffer, tuple[Extent, ...]] = {}
        self.replaced: dict[Var, tuple[Var | None, int, int]] = {}
        self.lets: dict[Var, Expr] = {}
        self.private: set[Buffer] = set()
        self.vector: VectorContext | None = None
        self.mutable: frozenset[Buffer] = frozenset()
        self._deepest = 0
        self._sums: dict[Expr, Sum] = {}
        self._offsets: dict[tuple[Buffer, tuple[Expr, ...]], Sum] = {}

    # --- sums of products -------------------------------------------------------------------------

    def sum_of(self, expr: Expr) -> Sum:
        """`expr` as a sum of products of atoms; remembered."""
        known = self._sums.get(expr)
        if known is not None:
            return known
        result: Sum
        if isinstance(expr, Const):
            result = {(): int(expr.value)} if expr.origin is None else {(expr,): 1}
        elif isinstance(expr, Var):
            body = self.lets.get(expr)
            result = {(expr,): 1} if body is None else self.sum_of(body)
        elif isinstance(expr, Apply) and expr.op in ("add", "sub", "mul", "neg"):
            parts = [self.sum_of(a) for a in expr.args]
            if expr.op == "mul":
                result = _multiply(parts[0], parts[1])
            else:
                result = {}
                _accumulate(result, parts[0], -1 if expr.op == "neg" else 1)
                if len(parts) == 2:
                    _accumulate(result, parts[1], -1 if expr.op == "sub" else 1)
            result = {p: c for p, c in result.items() if c}
        else:
            result = {(expr,): 1}
        self._sums[expr] = result
        return result

    def factors(self, expr: Expr) -> set[Expr]:
        """The atoms of an index, one of which is not multiplied by anything that varies."""
        return {p[0] for p in self.sum_of(expr) if len(p) == 1}

    def strides_of(self, buffer: Buffer) -> tuple[Extent, ...]:
        """Element strides, row-major when the buffer does not say."""
        known = self.strides.get(buffer)
        if known is not None:
            return known
        if buffer.strides is not None:
            strides: list[Extent] = list(buffer.strides)
        else:
            strides = []
            step: Extent = 1
            for position in range(len(buffer.shape) - 1, -1, -1):
                strides.append(step)
                extent = buffer.shape[position]
                if position == 0:
                    break
                if isinstance(step, int) and isinstance(extent, int):
                    step *= extent
                elif isinstance(step, int) and step == 1:
                    step = extent
                else:
                    step = self._product(step, extent)
            strides.reverse()
        self.strides[buffer] = tuple(strides)
        return self.strides[buffer]

    def _product(self, a: Extent, b: Extent) -> Var:
        """A stride that is a product of sizes, as a variable of its own."""
        x, y = (v if isinstance(v, Var) else Const(v, int64) for v in (a, b))
        var = Var("stride")
        self.lets[var] = Apply("mul", (x, y), int64)
        return var

    def offset_of(self, buffer: Buffer, indices: tuple[Expr, ...]) -> Sum:
        """The element offset of ``buffer[indices]``; remembered."""
        key = (buffer, indices)
        known = self._offsets.get(key)
        if known is not None:
            return known
        total: Sum = {}
        for position, stride in zip(indices, self.strides_of(buffer), strict=True):
            part = self.sum_of(position)
            if type(stride) is int:
                _accumulate(total, part, stride)
            else:
                step = index(stride) if isinstance(stride, int) else stride
                _accumulate(total, _multiply(part, self.sum_of(step)), 1)
        self._rejoin(total)
        total = {p: c for p, c in total.items() if c}
        self._offsets[key] = total
        return total

    def _rejoin(self, total: Sum) -> None:
        """``x // d`` and ``x % d`` on two axes that lie behind each other are `x` on one."""
        for product, factor in list(total.items()):
            e = product[0] if len(product) == 1 else None
            if not (isinstance(e, Apply) and e.op == "remtrunc" and isinstance(e.args[1], Const)):
                continue
            divisor = e.args[1].value
            assert isinstance(divisor, int)
            whole: Product = (quotient(e.args[0], divisor),)
            times = factor * divisor
            if e.args[1].origin is not None:
                whole, times = _sorted((*whole, e.args[1])), factor
            if factor and total.get(whole) == times:
                del total[product], total[whole]
                _accumulate(total, self.sum_of(e.args[0]), factor)
                self._rejoin(total)
                return

    # --- pointers ---------------------------------------------------------------------------------

    def address(self, buffer: Buffer, indices: tuple[Expr, ...]) -> Address:
        """Where ``buffer[indices]`` lies, its pointer arithmetic written."""
        base: Sum = {}
        lane: Sum = {}
        self._deepest = 0
        pattern: list[int] = []
        for product, coefficient in self.offset_of(buffer, indices).items():
            if not self._repeated(product, coefficient, base, pattern):
                self._place(product, coefficient, base, lane)
        if buffer in self.private and self.vector is not None:
            lane[()] = lane.get((), 0) + 1
        constant = base.pop((), 0)
        deepest = self._deepest
        groups: dict[int, Sum] = {}
        scattered: list[tuple[Product, int]] = []
        reads: frozenset[Buffer] = frozenset()
        for product, coefficient in base.items():
            values = [self.value(factor) for factor in product]
            reads = reads.union(*(v.reads for v in values))
            if any(v.lanes for v in values):
                scattered.append((product, coefficient))
            else:
                depth = max(v.depth for v in values)
                groups.setdefault(depth, {})[product] = coefficient
        pointer, depth = self._pointer(buffer, groups, reads)
        stride, at = self._stride(lane)
        index = None
        known = None
        if pattern and not scattered and isinstance(stride, int):
            known = tuple(p + stride * number for number, p in enumerate(pattern))
            index = f"<{', '.join(f'i64 {p}' for p in known)}>"
            stride = 0
        elif scattered or pattern:
            index, at = self._index(scattered, stride, at, pattern)
            stride = 0
        return Address(pointer, constant, stride, index, max(depth, at, deepest), reads, known)

    def _repeated(self, product: Product, coefficient: int, base: Sum, pattern: list[int]) -> bool:
        """Whether `product` is a quotient or a rest of the vector loop's variable that is the same
        in every vector, but for a number; that is added to `base`, and what lanes add to `pattern`.
        """
        vector = self.vector
        if vector is None or not vector.aligned or len(product) != 1:
            return False
        (factor,) = product
        if not isinstance(factor, Apply) or factor.op not in ("divtrunc", "remtrunc"):
            return False
        variable, divisor = factor.args
        if variable is not vector.var or not isinstance(divisor, Const) or divisor.origin:
            return False
        unit = int(divisor.value)
        if unit < 1 or vector.lanes % unit or vector.offset % unit:
            return False
        whole = factor.op == "divtrunc"
        pattern[:] = pattern or [0] * vector.lanes
        for number in range(vector.lanes):
            pattern[number] += coefficient * (number // unit if whole else number % unit)
        self._deepest = max(self._deepest, self.replaced[vector.var][2])
        if whole and vector.base is not None:
            start = Apply("divtrunc", (vector.base, divisor), int64)
            base[(start,)] = base.get((start,), 0) + coefficient
        if whole and vector.offset:
            base[()] = base.get((), 0) + coefficient * (vector.offset // unit)
        return True

    def _place(self, product: Product, coefficient: int, base: Sum, lane: Sum) -> None:
        """Add one product to `base`, with loop variables that are known replaced."""
        vector = self.vector
        for position, factor in enumerate(product):
            if not isinstance(factor, Var) or factor not in self.replaced:
                continue
            rest = product[:position] + product[position + 1 :]
            known, number, depth = self.replaced[factor]
            self._deepest = max(self._deepest, depth)
            if vector is not None and factor is vector.var:
                if factor in rest:
                    continue
                self._place(rest, coefficient, lane, {})
            if known is not None:
                self._place(_sorted((*rest, known)), coefficient, base, lane)
            if number:
                self._place(rest, coefficient * number, base, lane)
            return
        base[product] = base.get(product, 0) + coefficient

    def _term(self, product: Product, coefficient: int, depth: int) -> str:
        """The text of one product."""
        key = ("term", product, coefficient)
        known = self.memo.get(key)
        if known is None:
            values = [self.value(factor) for factor in product]
            text = values[0].text
            for value in values[1:]:
                text = self.emit(f"mul nsw i64 {text}, {value.text}", depth)
            if coefficient != 1:
                text = self.emit(f"mul nsw i64 {text}, {coefficient}", depth)
            reads = frozenset[Buffer]().union(*(v.reads for v in values))
            known = self.remember(key, Value(text, int64, 0, depth, reads=reads))
        return known.text

    def _pointer(
        self, buffer: Buffer, groups: dict[int, Sum], reads: frozenset[Buffer]
    ) -> tuple[str, int]:
        """The pointer after the sums of all levels, each added at its own level."""
        memory = buffer.base if buffer.base is not None else buffer
        current = self.bases[memory]
        key: tuple[object, ...] = (memory,)
        for depth in sorted(groups):
            key = (*key, frozenset(groups[depth].items()))
            known = self.memo.get(key)
            if known is None:
                at = max(depth, current.depth)
                terms = [self._term(p, c, at) for p, c in groups[depth].items()]
                total = terms[0]
                for term in terms[1:]:
                    total = self.emit(f"add nsw i64 {total}, {term}", at)
                kind = memory_type(buffer)
                text = self.emit(f"getelementptr {kind}, ptr {current.text}, i64 {total}", at)
                known = self.remember(key, Value(text, int64, 0, at, reads=reads))
            current = known
        return current.text, current.depth

    def _stride(self, lane: Sum) -> tuple[int | str, int]:
        """How far apart the lanes are, and the depth where that is known."""
        lane = {p: c for p, c in lane.items() if c}
        number = lane.pop((), 0)
        if not lane:
            return number, 0
        depths = {p: max(self.value(factor).depth for factor in p) for p in lane}
        at = max(depths.values())
        text = ""
        for product, coefficient in lane.items():
            term = self._term(product, coefficient, depths[product])
            text = self.emit(f"add nsw i64 {text}, {term}", at) if text else term
        return (self.emit(f"add nsw i64 {text}, {number}", at) if number else text), at

    def _index(
        self,
        scattered: list[tuple[Product, int]],
        stride: int | str,
        at: int,
        pattern: Sequence[int] = (),
    ) -> tuple[str, int]:
        """Offsets that differ from lane to lane, as a vector of int64, and their depth."""
        assert self.vector is not None
        lanes = self.vector.lanes
        kind = f"<{lanes} x i64>"
        values = [[self.value(factor) for factor in product] for product, _ in scattered]
        at = max(at, self.vector.depth, *(v.depth for row in values for v in row))
        total = ""
        if stride != 0:
            total = self.emit(
                f"mul nsw {kind} {lane_numbers(lanes)}, {self.spread(stride, lanes, at)}", at
            )
        if pattern:
            numbers = f"<{', '.join(f'i64 {p}' for p in pattern)}>"
            total = self.emit(f"add nsw {kind} {total}, {numbers}", at) if total else numbers
        for row, (_, coefficient) in zip(values, scattered, strict=True):
            text = ""
            for value in row:
                part = self.operand(value, lanes)
                text = self.emit(f"mul nsw {kind} {text}, {part}", at) if text else part
            if coefficient != 1:
                text = self.emit(f"mul nsw {kind} {text}, splat (i64 {coefficient})", at)
            total = self.emit(f"add nsw {kind} {total}, {text}", at) if total else text
        return total, at

    def spread(self, amount: int | str, lanes: int, depth: int) -> str:
        """An int64 in all lanes."""
        if isinstance(amount, int):
            return f"splat (i64 {amount})"
        return self.splat("i64", amount, lanes, depth)

    def element(self, pointer: str, buffer: Buffer, offset: int | str, depth: int | None) -> str:
        """The address `offset` elements after `pointer`."""
        if offset == 0:
            return pointer
        return self.emit(f"getelementptr {memory_type(buffer)}, ptr {pointer}, i64 {offset}", depth)


def memory_type(buffer: Buffer) -> str:
    """The LLVM type of an element in memory."""
    dtype = buffer.dtype
    if dtype.is_float and not dtype.is_half:
        return "float" if dtype.bits == 32 else "double"
    return f"i{8 * dtype.itemsize}"


def lane_numbers(lanes: int, first: int = 0, kind: str = "i64") -> str:
    """The vector `first`, `first` + 1, ..."""
    return f"<{', '.join(f'{kind} {first + i}' for i in range(lanes))}>"
