"""Sorting in memory, as functions: parts by compressed vectors, and a network for what is left.

Elements below a pivot come before the others, and so on within both; a part without a wanted place
is left as it is. A few vectors are sorted in registers. Knows registers; knows no kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..dtypes import DType
from ..expr import index
from ..kernel import Arrange
from ..networks import NETWORKS
from .base import Features
from .llvm_builder import Region
from .llvm_memory import Memory
from .llvm_placed import Places

__all__ = ["Arranges", "arrange_functions"]

_FRACTIONS = (21, 133, 297, 379, 523, 635, 727, 881, 993)
"""Where samples are taken, in parts of 1024: at unequal distances, for data that repeats itself."""
_MOST_VECTORS = 16
_MOST = 128
"""Elements that a network sorts: its code grows faster than they do."""
_AT_ONCE = 4
"""Vectors that are divided in one turn of a loop."""

_MADE: dict[tuple[DType, Features], frozenset[str]] = {}


class Arranges(Places):
    """Sorting, on top of tiles."""

    def arrange(self, s: Arrange) -> None:
        """Sort what is wanted."""
        if self.vector is not None or s.keys.dtype.kind != "uint":
            raise ValueError(f"no sorting of {s.keys.dtype} here")
        self.declarations |= arrange_functions(s.keys.dtype, self.target)
        pointers = [self.first(b, (index(0),)) for b in (s.keys, s.spare)]
        turns = 2 * s.count.bit_length()
        numbers = ", ".join(f"i64 {n}" for n in (s.count, s.first, s.last, turns))
        name = _name(s.keys.dtype)
        self.put(f"call void @{name}(ptr {pointers[0]}, ptr {pointers[1]}, {numbers})")


def _name(dtype: DType) -> str:
    return f"fg.arrange.i{dtype.bits}"


def arrange_functions(dtype: DType, target: Features) -> frozenset[str]:
    """The lines that a module needs to sort keys of a dtype: definitions and declarations."""
    key = (dtype, target)
    if key not in _MADE:
        lines: set[str] = set()
        for vectors in _networks(target.lanes(dtype)):
            network = _Network(dtype, target, vectors)
            lines |= {network.definition(), *network.declarations}
        for writer in (_Divide(dtype, target), _Extremes(dtype, target), _Parts(dtype, target)):
            lines |= {writer.definition(), *writer.declarations}
        _MADE[key] = frozenset(lines)
    return _MADE[key]


def _networks(lanes: int) -> tuple[int, int]:
    """The vectors of a small and of a large network."""
    large = min(_MOST_VECTORS, max(8, _MOST // lanes))
    return large // 2, large


class _Writer(Memory):
    """The code of one function."""

    def __init__(self, dtype: DType, target: Features) -> None:
        super().__init__(target)
        self.dtype = dtype
        self.lanes = target.lanes(dtype)
        self.kind, self.suffix = self._vector(dtype, self.lanes)
        self.scalar = f"i{dtype.bits}"
        self.bits = f"<{self.lanes} x i1>"
        self.open(Region("entry"))

    def written(self, head: str, last: str = "ret void") -> str:
        """The function in one line, so that a module can leave out the second of two."""
        body = " ".join(line.strip() for line in self.levels[0].region.lines)
        return f"define internal {head} noinline {self.attributes} {{ entry: {body} {last} }}"

    def at(self, pointer: str, place: str | int) -> str:
        return self.emit(f"getelementptr {self.scalar}, ptr {pointer}, i64 {place}")

    def vector_at(self, pointer: str, place: str | int) -> str:
        found = self.at(pointer, place)
        return self.emit(f"load {self.kind}, ptr {found}, align {self.dtype.itemsize}")

    def put_at(self, value: str, pointer: str, place: str | int) -> None:
        found = self.at(pointer, place)
        self.put(f"store {self.kind} {value}, ptr {found}, align {self.dtype.itemsize}")

    def put_some(self, value: str, pointer: str, place: str | int, count: str) -> None:
        mask = self.prefix_mask(count, self.lanes).text
        self.masked_store(self.dtype, self.lanes, value, self.at(pointer, place), mask)

    def loop_if(self, start: str, stop: str) -> tuple[str, str]:
        """A branch around what runs at least once; the name and the condition to end it with."""
        some = self.emit(f"icmp slt i64 {start}, {stop}")
        return self.begin_if(), some

    def lesser(self, a: str, b: str) -> str:
        return self._extreme("umin", a, b)

    def larger(self, a: str, b: str) -> str:
        return self._extreme("umax", a, b)

    def _extreme(self, name: str, a: str, b: str) -> str:
        kinds = [self.kind] * 2
        return self.emit(self.intrinsic(self.kind, f"{name}.{self.suffix}", kinds, [a, b]))

    def shuffled(self, a: str, b: str, order: Sequence[int]) -> str:
        numbers = ", ".join(f"i32 {n}" for n in order)
        return self.emit(
            f"shufflevector {self.kind} {a}, {self.kind} {b}, <{len(order)} x i32> <{numbers}>"
        )


@final
class _Network(_Writer):
    """At most so many vectors, sorted in registers.

    Each lane is sorted first. Then element e is at place e % `vectors` of lane e // `vectors`: of
    groups of lanes twice as many become one, by a mirrored exchange and halves of halves.
    """

    def __init__(self, dtype: DType, target: Features, vectors: int) -> None:
        super().__init__(dtype, target)
        self.vectors = vectors
        self.values: list[str] = []

    def definition(self) -> str:
        """``void (ptr keys, i64 count)``."""
        lanes = self.lanes
        ones = f"splat ({self.scalar} -1)"
        masks = []
        for j in range(self.vectors):
            left = self.emit(f"sub nsw i64 %count, {j * lanes}")
            for how, bound in (("smax", "0"), ("smin", str(lanes))):
                call = self.intrinsic("i64", f"{how}.i64", ["i64", "i64"], [left, bound])
                left = self.emit(call)
            masks.append(self.prefix_mask(left, lanes).text)
            found = self.at("%keys", j * lanes)
            loaded = self.masked_load(self.dtype, lanes, found, masks[j], self.depth)
            self.values.append(
                self.emit(
                    f"select {self.bits} {masks[j]}, {self.kind} {loaded}, {self.kind} {ones}"
                )
            )
        self._sort()
        for j, value in enumerate(self.values):
            self.masked_store(self.dtype, lanes, value, self.at("%keys", j * lanes), masks[j])
        return self.written(f"void @{_name(self.dtype)}.{self.vectors}(ptr %keys, i64 %count)")

    def _sort(self) -> None:
        for a, b in NETWORKS[self.vectors]:
            self._exchange(a, b)
        group = 2
        while group <= self.lanes:
            self._mirror(group)
            distance = group // 4
            while distance:
                self._swap(distance)
                distance //= 2
            half = self.vectors // 2
            while half:
                for i in range(self.vectors):
                    if i % (2 * half) < half:
                        self._exchange(i, i + half)
                half //= 2
            group *= 2
        # Places become lanes: what is in the upper half of the registers goes between.
        for _ in range((self.vectors - 1).bit_length()):
            self._interleave()

    def _exchange(self, a: int, b: int) -> None:
        x, y = self.values[a], self.values[b]
        self.values[a], self.values[b] = self.lesser(x, y), self.larger(x, y)

    def _mirror(self, group: int) -> None:
        order = [lane - lane % group + group - 1 - lane % group for lane in range(self.lanes)]
        self._lanes(order, [lane % group < group // 2 for lane in range(self.lanes)], mirrored=True)

    def _swap(self, distance: int) -> None:
        order = [lane ^ distance for lane in range(self.lanes)]
        self._lanes(order, [not lane & distance for lane in range(self.lanes)], mirrored=False)

    def _lanes(self, order: Sequence[int], front: Sequence[bool], mirrored: bool) -> None:
        mask = f"<{', '.join(f'i1 {str(f).lower()}' for f in front)}>"
        met = [self.shuffled(value, "poison", order) for value in self.values]
        if mirrored:
            met.reverse()
        self.values = [
            self.emit(
                f"select {self.bits} {mask}, {self.kind} {self.lesser(own, other)}, "
                f"{self.kind} {self.larger(own, other)}"
            )
            for own, other in zip(self.values, met, strict=True)
        ]

    def _interleave(self) -> None:
        half, lanes = self.vectors // 2, self.lanes
        found = []
        for i in range(half):
            for start in (0, lanes // 2):
                order = [start + k // 2 + (lanes if k % 2 else 0) for k in range(lanes)]
                found.append(self.shuffled(self.values[i], self.values[i + half], order))
        self.values = found


@final
class _Divide(_Writer):
    """What is less than a pivot to the front; gives how many these are.

    The others go to the spare memory and from there behind them.
    """

    def definition(self) -> str:
        """``i64 (ptr keys, ptr spare, i64 count, key pivot)``, of more than a few vectors."""
        lanes = self.lanes
        self.pivot = self.splat(self.scalar, "%pivot", lanes)
        together = lanes * _AT_ONCE
        most = self.emit(f"and i64 %count, {-together}")
        whole = self.emit(f"and i64 %count, {-lanes}")
        loop = self.begin_loop("0", most, together, [("i64", "0")])
        places = [loop.index]
        places += [self.emit(f"add nsw i64 {loop.index}, {j * lanes}") for j in range(1, _AT_ONCE)]
        less = self._vectors(places, loop.phis[0])
        (less,) = self.end_loop(loop, [less])
        name, some = self.loop_if(most, whole)
        loop = self.begin_loop(most, whole, lanes, [("i64", less)])
        (after,) = self.end_loop(loop, [self._vectors([loop.index], loop.phis[0])])
        (less,) = self.end_if(name, some, [("i64", after, less)])
        name, some = self.loop_if(whole, "%count")
        after = self._rest(whole, less)
        (less,) = self.end_if(name, some, [("i64", after, less)])
        self._behind(less)
        parameters = f"ptr %keys, ptr %spare, i64 %count, {self.scalar} %pivot"
        return self.written(f"i64 @{_name(self.dtype)}.divide({parameters})", f"ret i64 {less}")

    def _compressed(self, value: str, mask: str) -> str:
        name = f"experimental.vector.compress.{self.suffix}"
        kinds = [self.kind, self.bits, self.kind]
        return self.emit(self.intrinsic(self.kind, name, kinds, [value, mask, "poison"]))

    def _number(self, mask: str) -> str:
        bits = f"i{self.lanes}"
        whole = self.emit(f"bitcast {self.bits} {mask} to {bits}")
        count = self.emit(self.intrinsic(bits, f"ctpop.{bits}", [bits], [whole]))
        return count if self.lanes == 64 else self.emit(f"zext {bits} {count} to i64")

    def _not(self, mask: str) -> str:
        return self.emit(f"xor {self.bits} {mask}, splat (i1 true)")

    def _vectors(self, places: Sequence[str], less: str) -> str:
        """Whole vectors at some places, all read before one is written; gives the new count."""
        values = [self.vector_at("%keys", place) for place in places]
        for place, value in zip(places, values, strict=True):
            mask = self.emit(f"icmp ult {self.kind} {value}, {self.pivot}")
            self.put_at(self._compressed(value, mask), "%keys", less)
            more = self.emit(f"sub nsw i64 {place}, {less}")
            self.put_at(self._compressed(value, self._not(mask)), "%spare", more)
            less = self.emit(f"add nsw i64 {less}, {self._number(mask)}")
        return less

    def _rest(self, place: str, less: str) -> str:
        """The last vector, of which some lanes are missing."""
        left = self.emit(f"sub nsw i64 %count, {place}")
        alive = self.prefix_mask(left, self.lanes).text
        found = self.at("%keys", place)
        value = self.masked_load(self.dtype, self.lanes, found, alive, self.depth)
        below = self.emit(f"icmp ult {self.kind} {value}, {self.pivot}")
        mask = self.emit(f"and {self.bits} {below}, {alive}")
        above = self.emit(f"and {self.bits} {self._not(below)}, {alive}")
        number = self._number(mask)
        self.put_some(self._compressed(value, mask), "%keys", less, number)
        more = self.emit(f"sub nsw i64 {place}, {less}")
        self.put_at(self._compressed(value, above), "%spare", more)
        return self.emit(f"add nsw i64 {less}, {number}")

    def _behind(self, less: str) -> None:
        count = self.emit(f"sub nsw i64 %count, {less}")
        whole = self.emit(f"and i64 {count}, {-self.lanes}")
        target = self.at("%keys", less)
        name, some = self.loop_if("0", whole)
        loop = self.begin_loop("0", whole, self.lanes)
        self.put_at(self.vector_at("%spare", loop.index), target, loop.index)
        self.end_loop(loop)
        self.end_if(name, some)
        name, some = self.loop_if(whole, count)
        left = self.emit(f"sub nsw i64 {count}, {whole}")
        self.put_some(self.vector_at("%spare", whole), target, whole, left)
        self.end_if(name, some)


@final
class _Extremes(_Writer):
    """A pivot that halves the range of values: where samples have divided badly for long."""

    def definition(self) -> str:
        """``key (ptr keys, i64 count)``: above the least key; zero if all are equal."""
        lanes = self.lanes
        first = self.vector_at("%keys", 0)
        whole = self.emit(f"and i64 %count, {-lanes}")
        loop = self.begin_loop("0", whole, lanes, [(self.kind, first)] * 2)
        value = self.vector_at("%keys", loop.index)
        both = self.lesser(loop.phis[0], value), self.larger(loop.phis[1], value)
        low, high = self.end_loop(loop, both)
        # The last vector is one of those before it, as far as that goes.
        value = self.vector_at("%keys", self.emit(f"sub nsw i64 %count, {lanes}"))
        least = self._one("umin", self.lesser(low, value))
        most = self._one("umax", self.larger(high, value))
        range_ = self.emit(f"sub {self.scalar} {most}, {least}")
        half = self.emit(f"lshr {self.scalar} {range_}, 1")
        middle = self.emit(
            f"add {self.scalar} {self.emit(f'add {self.scalar} {least}, {half}')}, 1"
        )
        equal = self.emit(f"icmp eq {self.scalar} {most}, {least}")
        pivot = self.emit(f"select i1 {equal}, {self.scalar} 0, {self.scalar} {middle}")
        head = f"{self.scalar} @{_name(self.dtype)}.middle(ptr %keys, i64 %count)"
        return self.written(head, f"ret {self.scalar} {pivot}")

    def _one(self, name: str, value: str) -> str:
        call = self.intrinsic(
            self.scalar, f"vector.reduce.{name}.{self.suffix}", [self.kind], [value]
        )
        return self.emit(call)


@final
class _Parts(_Writer):
    """The whole: parts of parts, until they fit into registers."""

    def definition(self) -> str:
        """``void (ptr keys, ptr spare, i64 count, i64 first, i64 last, i64 turns)``."""
        after = self.emit("icmp sge i64 %first, %count")
        before = self.emit("icmp sle i64 %last, 0")
        nothing = self.emit(f"or i1 {after}, {before}")
        wanted = self.emit(f"xor i1 {nothing}, true")
        name = self.begin_if()
        small, large = _networks(self.lanes)
        few = self.emit(f"icmp sle i64 %count, {large * self.lanes}")
        inside = self.begin_if()
        self._few(small, large)
        self.end_if(inside, few)
        many = self.emit(f"xor i1 {few}, true")
        inside = self.begin_if()
        self._many()
        self.end_if(inside, many)
        self.end_if(name, wanted)
        numbers = "i64 %count, i64 %first, i64 %last, i64 %turns"
        return self.written(f"void @{_name(self.dtype)}(ptr %keys, ptr %spare, {numbers})")

    def _few(self, small: int, large: int) -> None:
        """The smaller network that has room."""
        less = self.emit(f"icmp sle i64 %count, {small * self.lanes}")
        more = self.emit(f"xor i1 {less}, true")
        for vectors, fits in ((small, less), (large, more)):
            name = self.begin_if()
            self.put(f"call void @{_name(self.dtype)}.{vectors}(ptr %keys, i64 %count)")
            self.end_if(name, fits)

    def _sampled(self) -> str:
        """About the median: of vectors from all over, lane by lane, and then of some lanes."""
        room = self.emit(f"sub nsw i64 %count, {self.lanes}")
        values = []
        for fraction in _FRACTIONS:
            part = self.emit(f"mul nsw i64 {room}, {fraction}")
            values.append(self.vector_at("%keys", self.emit(f"lshr i64 {part}, 10")))
        while len(values) > 1:
            values = [self._middle(values[i : i + 3]) for i in range(0, len(values), 3)]
        (value,) = values
        for distance in sorted({self.lanes // 3, 1} - {0}, reverse=True):
            turned = [
                self.shuffled(value, "poison", [(i + n) % self.lanes for i in range(self.lanes)])
                for n in (distance, 2 * distance)
            ]
            value = self._middle([value, *turned])
        return self.emit(f"extractelement {self.kind} {value}, i64 0")

    def _middle(self, values: Sequence[str]) -> str:
        """The median of three, lane by lane."""
        a, b, c = values
        return self.larger(self.lesser(a, b), self.lesser(self.larger(a, b), c))

    def _many(self) -> None:
        """Two parts, of which the first holds one value alone where that is met often."""
        key, name = self.scalar, _name(self.dtype)
        usual = self.emit("icmp sgt i64 %turns, 0")
        inside = self.begin_if()
        sampled = self._sampled()
        (pivot,) = self.end_if(inside, usual, [(key, sampled, "0")])
        rare = self.emit(f"xor i1 {usual}, true")
        inside = self.begin_if()
        middle = self.emit(f"call {key} @{name}.middle(ptr %keys, i64 %count)")
        (pivot,) = self.end_if(inside, rare, [(key, middle, pivot)])
        less = self._divided(pivot)
        # Nothing is less than the least element: those that are equal to it are in order.
        none = self.emit(f"icmp eq i64 {less}, 0")
        next_ = self.emit(f"add {key} {pivot}, 1")
        more = self.emit(f"icmp ne {key} {next_}, 0")
        # All are equal: a middle says so by zero, and none is larger than the largest.
        again = self.emit(f"and i1 {none}, {self.emit(f'and i1 {usual}, {more}')}")
        inside = self.begin_if()
        equal = self._divided(next_)
        (least,) = self.end_if(inside, again, [("i64", equal, "0")])
        turns = self.emit("sub nsw i64 %turns, 1")
        some = self.emit(f"icmp sgt i64 {less}, 0")
        inside = self.begin_if()
        self.put(
            f"call void @{name}(ptr %keys, ptr %spare, i64 {less}, i64 %first, i64 %last, "
            f"i64 {turns})"
        )
        self.end_if(inside, some)
        done = self.emit(f"add nsw i64 {less}, {least}")
        moved = self.emit(f"icmp sgt i64 {done}, 0")
        inside = self.begin_if()
        rest = [self.emit(f"sub nsw i64 %{n}, {done}") for n in ("count", "first", "last")]
        numbers = ", ".join(f"i64 {n}" for n in rest)
        self.put(
            f"call void @{name}(ptr {self.at('%keys', done)}, ptr %spare, {numbers}, i64 {turns})"
        )
        self.end_if(inside, moved)

    def _divided(self, pivot: str) -> str:
        return self.emit(
            f"call i64 @{_name(self.dtype)}.divide(ptr %keys, ptr %spare, i64 %count, "
            f"{self.scalar} {pivot})"
        )
