"""Random graphs whose results do not depend on the order of roundings.

Floats are integers so small that every operation on them is exact, so that comparisons, sums and
roundings may follow one another in any order and the compiled graph must give equal bits. Expensive
functions are rounded to integers at once. In smooth graphs there is no comparison of floats, and
results may differ by a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from fusegrad.codegen.dtypes import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int32,
    int64,
)
from fusegrad.codegen.kernel import Monoid
from fusegrad.ir.node import Node
from fusegrad.ir.types import TensorType
from fusegrad.ops import build, build_order

Array = npt.NDArray[Any]

LARGEST = 3000
EXTENTS = (1, 1, 2, 3, 4, 5, 7, 8, 9, 17, 33)
EXACT = {float16: 2.0**11, bfloat16: 2.0**8, float32: 2.0**23, float64: 2.0**51}


class RandomGraph:
    """A graph under construction.

    Attributes
    ----------
    values : list of Node
        In the order in which they were made.
    environment : dict
        The inputs and their arrays.
    """

    def __init__(self, random: Random, smooth: bool = False) -> None:
        self.random = random
        self.smooth = smooth
        self.numbers = np.random.default_rng(random.randrange(1 << 30))
        self.values: list[Node] = []
        self.size: dict[Node, float] = {}
        self.environment: dict[Node, Array] = {}
        self.base: tuple[int, ...] = ()
        if random.random() < 0.5:
            # All shapes are parts of one, so that rows and columns of it meet.
            self.base = tuple(random.choice(EXTENTS) for _ in range(random.randint(1, 3)))
        floats = (float32, float32, float64, float16, bfloat16)
        self.dtypes = (float64,) if smooth else (*floats, int32, int64, bool_)
        dtypes = (random.choice(self.dtypes),) if self.base else self.dtypes
        for _ in range(random.randint(1, 4)):
            self.input(self.shape(), random.choice(dtypes))

    # --- values -----------------------------------------------------------------------------------

    def shape(self) -> tuple[int, ...]:
        if self.base and self.random.random() < 0.9:
            return tuple(e for e in self.base if self.random.random() < 0.8)
        rank = self.random.choice((0, 1, 1, 2, 2, 2, 3, 3, 4))
        empty = self.random.random() < 0.03
        while True:
            shape = [self.random.choice(EXTENTS) for _ in range(rank)]
            if empty and rank:
                shape[self.random.randrange(rank)] = 0
            if math.prod(shape) <= LARGEST:
                return tuple(shape)

    def input(self, shape: tuple[int, ...], dtype: DType) -> Node:
        node = build.input_(TensorType(shape, dtype))
        if dtype is bool_:
            values = self.numbers.integers(0, 2, shape).astype(bool)
        elif self.smooth:
            values = self.numbers.uniform(-1, 1, shape)
        else:
            values = self.numbers.integers(-3, 4, shape).astype(dtype.numpy)
        self.environment[node] = np.asarray(values)
        return self.keep(node, 3)

    def keep(self, node: Node, size: float) -> Node:
        """Enter `node`, whose values are at most `size`."""
        self.size.setdefault(node, size)
        self.values.append(node)
        return node

    def any(self, accept: Callable[[Node], bool] = lambda _: True) -> Node | None:
        """One of the values, late ones more often."""
        found = [n for n in self.values if accept(n)]
        if not found:
            return None
        place = int(len(found) * self.random.random() ** 0.6)
        return found[min(place, len(found) - 1)]

    def like(self, x: Node) -> Node:
        """A value of the type of `x`: another one, one that is broadcast, or a constant."""
        choice = self.random.random()
        if choice < 0.45:
            other = self.any(lambda n: n.type == x.type)
            assert other is not None
            return other
        rank = len(x.shape)
        axes = self.axes(rank)
        if choice < 0.7 and axes and x.dtype is not bool_ and 0 not in x.shape:
            kept = [a for a in range(rank) if a not in axes]
            top = x if self.smooth else build.reduce_(Monoid.MAX, x, axes)
            if self.smooth:
                top = self.scaled(build.sum_(x, axes), 1 / max(1, self.count(x, axes)))
            self.size[top] = self.size[x]
            self.values.append(top)
            result = build.broadcast(top, x.shape, kept)
        elif choice < 0.9 and axes:
            kept = [a for a in range(rank) if a not in axes]
            wanted = tuple(int(x.shape[a]) for a in kept)  # type: ignore[arg-type]
            small = self.any(lambda n: n.shape == wanted and n.dtype is x.dtype)
            small = small if small is not None else self.input(wanted, x.dtype)
            result = build.broadcast(small, x.shape, kept)
            self.size[result] = self.size[small]
        else:
            result = build.full(x.shape, self.random.choice((0, 1, 1, 2)), x.dtype)
        self.size.setdefault(result, 3)
        return result

    def axes(self, rank: int) -> tuple[int, ...]:
        if not rank:
            return ()
        kind = self.random.random()
        if kind < 0.4:
            return (rank - 1,)
        if kind < 0.55:
            return (0,)
        return tuple(a for a in range(rank) if self.random.random() < 0.5)

    @staticmethod
    def count(x: Node, axes: tuple[int, ...]) -> int:
        return math.prod(int(x.shape[a]) for a in axes)  # type: ignore[arg-type]

    def exact(self, dtype: DType, size: float) -> bool:
        return self.smooth or dtype not in EXACT or size <= EXACT[dtype]

    def scaled(self, x: Node, factor: float) -> Node:
        return build.mul(x, build.full(x.shape, factor, x.dtype))

    # --- ops --------------------------------------------------------------------------------------

    def grow(self, count: int) -> None:
        """Add about `count` ops."""
        kinds: list[Callable[[], None]] = [
            *[self.unary] * 3,
            *[self.binary] * 6,
            *[self.choose] * 2,
            *[self.move] * 5,
            *[self.reduce] * 5,
            *[self.contract] * 2,
            self.gather,
            self.scatter,
            self.order,
        ]
        if not self.smooth:
            kinds += [self.convert, self.compare, self.arg]
        for _ in range(count):
            self.random.choice(kinds)()

    def unary(self) -> None:
        x = self.any(lambda n: n.dtype is not bool_)
        if x is None:
            return
        size = self.size[x]
        if self.smooth:
            op = self.random.choice(("tanh", "sin", "neg", "erf", "square"))
            y = build.elementwise(op, x)
            self.keep(self.scaled(y, 0.25) if op == "square" else y, size)
        elif x.dtype.is_float and self.random.random() < 0.5:
            op = self.random.choice(("sin", "tanh", "exp"))
            at = build.neg(build.elementwise("abs", x)) if op == "exp" else x
            rounded = build.elementwise("round", self.scaled(build.elementwise(op, at), 8))
            self.keep(rounded, 8)
        else:
            self.keep(build.elementwise(self.random.choice(("neg", "abs", "sign")), x), size)

    def binary(self) -> None:
        x = self.any(lambda n: n.dtype is not bool_)
        if x is None:
            return
        y = self.like(x)
        if self.random.random() < 0.5:
            x, y = y, x
        a, b = self.size.get(x, 3), self.size.get(y, 3)
        ops = ["add", "sub", "mul"]
        ops += [] if self.smooth else ["minimum", "maximum"]
        ops += ["floordiv", "mod"] if x.dtype.is_integer else []
        op = self.random.choice(ops)
        size = {"add": a + b, "sub": a + b, "mul": a * b}.get(op, max(a, b))
        if self.exact(x.dtype, size):
            y = build.elementwise(op, x, y)
            self.keep(self.scaled(y, 0.5) if self.smooth else y, size)

    def compare(self) -> None:
        x = self.any()
        assert x is not None
        y = self.like(x)
        ops = ("eq", "ne", "logical_and", "logical_xor") if x.dtype is bool_ else ("lt", "ge", "eq")
        self.keep(build.elementwise(self.random.choice(ops), x, y), 1)

    def choose(self) -> None:
        x = self.any()
        assert x is not None
        y = self.like(x)
        wanted = build.broadcast(build.constant(True, bool_), x.shape, ())
        condition = self.any(lambda n: n.type == wanted.type)
        condition = condition if condition is not None else self.like(self.keep(wanted, 1))
        self.keep(build.select(condition, x, y), max(self.size[x], self.size.get(y, 3)))

    def convert(self) -> None:
        x = self.any()
        assert x is not None
        dtype = self.random.choice(self.dtypes)
        bounded = self.size[x] <= 2.0**20 and not x.dtype.is_integer
        bounded = bounded and self.exact(dtype, self.size[x])
        if dtype is bool_ or bounded:
            self.keep(build.cast(x, dtype), self.size[x])

    def move(self) -> None:
        x = self.any()
        assert x is not None
        shape = tuple(int(e) for e in x.shape)  # type: ignore[arg-type]
        rank = len(shape)
        kind = self.random.choice(
            ("broadcast", "reshape", "transpose", "transpose", "slice", "flip", "pad", "concat")
        )
        if kind == "broadcast":
            at = self.random.randint(0, rank)
            extent = self.random.choice(EXTENTS)
            if math.prod(shape) * extent > LARGEST:
                return
            dims = [a + (a >= at) for a in range(rank)]
            y = build.broadcast(x, (*shape[:at], extent, *shape[at:]), dims)
        elif kind == "reshape":
            y = build.reshape(x, self.other_shape(shape))
        elif not rank:
            return
        elif kind == "transpose":
            y = build.transpose(x, self.random.sample(range(rank), rank))
        elif kind == "slice":
            starts = [self.random.randint(0, e // 2) for e in shape]
            steps = [self.random.choice((1, 1, 2, 3)) for _ in shape]
            y = build.slice_(x, starts, shape, steps)
        elif kind == "flip":
            y = build.flip(x, self.axes(rank))
        elif kind == "pad":
            low, high, inner = ([self.random.choice((0, 0, 1, 2)) for _ in shape] for _ in range(3))
            y = build.pad(x, low, high, inner)
        else:
            axis = self.random.randrange(rank)
            y = build.concat([x, self.like(x), x][: self.random.randint(2, 3)], axis)
        if math.prod(int(e) for e in y.shape) <= LARGEST:  # type: ignore[arg-type]
            self.keep(y, max(3, self.size[x], *(self.size.get(i, 3) for i in y.inputs)))

    def other_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        size = math.prod(shape)
        if not size:
            return (0,)
        factors = []
        while size > 1 and len(factors) < 4:
            divisors = [d for d in range(2, size + 1) if size % d == 0]
            factors.append(self.random.choice(divisors))
            size //= factors[-1]
        if size > 1:
            factors.append(size)
        if self.random.random() < 0.3:
            factors.insert(self.random.randint(0, len(factors)), 1)
        return tuple(factors)

    def reduce(self) -> None:
        x = self.any(lambda n: bool(n.shape))
        if x is None:
            return
        axes = self.axes(len(x.shape))
        count = self.count(x, axes)
        if x.dtype is bool_:
            self.keep(build.reduce_(self.random.choice((Monoid.AND, Monoid.OR)), x, axes), 1)
        elif self.smooth:
            self.keep(self.scaled(build.sum_(x, axes), 1 / max(1, count)), 1)
        elif self.random.random() < 0.6 or not count:
            if self.exact(x.dtype, self.size[x] * count):
                self.keep(build.sum_(x, axes), self.size[x] * max(1, count))
        else:
            monoid = self.random.choice((Monoid.MAX, Monoid.MIN))
            self.keep(build.reduce_(monoid, x, axes), self.size[x])

    def arg(self) -> None:
        x = self.any(lambda n: bool(n.shape) and n.dtype is not bool_ and 0 not in n.shape)
        if x is not None:
            axis = self.random.randrange(len(x.shape))
            find = self.random.choice((build.argmax, build.argmin))
            self.keep(find(x, axis), float(x.shape[axis]))  # type: ignore[arg-type]

    def contract(self) -> None:
        x = self.any(lambda n: len(n.shape) >= 2 and n.dtype is not bool_)
        if x is None:
            return
        *batch, _, depth = (int(e) for e in x.shape)  # type: ignore[arg-type]
        columns = self.random.choice(EXTENTS)
        right = self.any(
            lambda n: n.dtype is x.dtype and n.shape[:-1] == (*batch, depth) and bool(n.shape)
        )
        if right is None or self.random.random() < 0.3:
            right = self.input((*batch, depth, columns), x.dtype)
        size = self.size[x] * self.size[right] * max(1, depth)
        fits = math.prod((*batch, int(x.shape[-2]), int(right.shape[-1]))) <= LARGEST  # type: ignore[arg-type]
        if fits and self.exact(x.dtype, size):
            y = build.dot(x, right)
            self.keep(self.scaled(y, 1 / max(1, depth)) if self.smooth else y, size)

    def indices(self, shape: tuple[int, ...], extent: int) -> Node:
        found = self.any(lambda n: n.dtype.is_integer and n.shape == shape)
        if found is not None and self.random.random() < 0.5:
            return found
        node = build.input_(TensorType(shape, self.random.choice((int32, int64))))
        values = self.numbers.integers(-1, extent + 1, shape)
        self.environment[node] = np.asarray(values, node.dtype.numpy)
        self.size[node] = extent + 1
        if not self.smooth:
            self.values.append(node)
        return node

    def gather(self) -> None:
        x = self.any(lambda n: bool(n.shape) and 0 not in n.shape)
        if x is None:
            return
        shape = tuple(int(e) for e in x.shape)  # type: ignore[arg-type]
        axis = self.random.randrange(len(shape))
        count = self.random.choice((1, 1, 3))
        if self.random.random() < 0.5:
            at = self.indices((*shape[:axis], count, *shape[axis + 1 :]), shape[axis])
            self.keep(build.take_along(x, at, axis), self.size[x])
        else:
            self.keep(build.take(x, self.indices((count,), shape[axis]), axis), self.size[x])

    def scatter(self) -> None:
        x = self.any(lambda n: bool(n.shape) and n.dtype in (float32, float64))
        if x is None or 0 in x.shape:
            return
        shape = tuple(int(e) for e in x.shape)  # type: ignore[arg-type]
        axis, extent = self.random.randrange(len(shape)), self.random.choice(EXTENTS)
        size = self.size[x] * shape[axis]
        too_large = math.prod(shape) // shape[axis] * extent > LARGEST
        if too_large or not self.exact(x.dtype, size):
            return
        if self.random.random() < 0.5:
            y = build.scatter_add_along(x, self.indices(shape, extent), axis, extent)
        else:
            y = build.scatter_add(x, self.indices((shape[axis],), extent), axis, extent)
        self.keep(self.scaled(y, 0.25) if self.smooth else y, size)

    def order(self) -> None:
        """Sorting, cumulative ops and searching."""
        x = self.any(lambda n: bool(n.shape) and n.dtype is not bool_ and n.dtype.bits >= 32)
        if x is None:
            return
        axis = self.random.randrange(len(x.shape))
        count, reverse = max(1, self.count(x, (axis,))), self.random.random() < 0.5
        if self.smooth:
            y = build_order.cumulative("add", x, axis, reverse)
            self.keep(self.scaled(y, 1 / count), 1)
            return
        kind = self.random.choice(("sort", "argsort", "add", "maximum", "minimum", "search"))
        if kind == "sort":
            self.keep(build_order.sort(x, reverse), self.size[x])
        elif kind == "argsort":
            self.keep(build_order.argsort(x, reverse), float(x.shape[-1]))  # type: ignore[arg-type]
        elif kind == "search":
            rows = build_order.sort(self.like(x))
            places = build_order.searchsorted(rows, x, reverse)
            self.keep(places, float(x.shape[-1]))  # type: ignore[arg-type]
        elif kind != "add" or self.exact(x.dtype, self.size[x] * count):
            y = build_order.cumulative(kind, x, axis, reverse)
            self.keep(y, self.size[x] * (count if kind == "add" else 1))

    def outputs(self) -> list[Node]:
        """Some of the values, and what nobody reads."""
        read = {i for n in self.values for i in n.inputs}
        ends = [n for n in self.values if n not in read]
        ends = ends[-3:] if len(ends) > 3 else ends
        more = [n for n in self.values if self.random.random() < 0.1]
        return [*ends, *more] or [self.values[-1]]

    def donations(self, outputs: list[Node]) -> list[tuple[int, int]]:
        """Random pairs of equal type; each input at most once."""
        pairs = []
        for position, source in enumerate(self.environment):
            same = [o for o, node in enumerate(outputs) if node.type == source.type]
            if same and self.random.random() < 0.7:
                pairs.append((self.random.choice(same), position))
        return pairs
