"""Elements that move: transposed, joined, padded, rolled, sliced, turned, repeated.

Every library writes the result out: what would be a view is copied. Knows no process and no clock.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workload import Workload

from .case import LARGEST, Formula, case, extent, normal, shape, spelled

Made = tuple[str, tuple[tuple[int, ...], ...], dict[str, Formula]]
"""What is done, the shapes of its operands, the formulas."""


def _copied(**formulas: Formula) -> dict[str, Formula]:
    """Formulas whose results, which may be views, are written out by NumPy and torch."""

    def numpy(m: Any, *arrays: Any) -> Any:
        return np.array(formulas["numpy"](m, *arrays), order="C")

    def torch(m: Any, *arrays: Any) -> Any:
        made = formulas.get("torch", formulas["numpy"])(m, *arrays)
        return made.clone(memory_format=m.contiguous_format)

    def jax(m: Any, *arrays: Any) -> Any:
        if "jax" in formulas:
            return formulas["jax"](m, *arrays)
        return formulas["numpy"](m.numpy, *arrays)

    fusegrad = formulas.get("fusegrad", formulas["numpy"])
    return {"numpy": numpy, "torch": torch, "jax": jax, "fusegrad": fusegrad}


def _written(**formulas: Formula) -> dict[str, Formula]:
    """Formulas whose results are always written."""
    made = _copied(**formulas)
    torch = formulas.get("torch", formulas["numpy"])
    return {**made, "numpy": formulas["numpy"], "torch": torch}


def _transposed(generator: random.Random) -> Made:
    extents = shape(generator, generator.randint(2, 4))
    order = tuple(range(len(extents)))
    while order == tuple(sorted(order)):
        order = tuple(generator.sample(order, len(order)))
    formulas = _copied(
        numpy=lambda m, x: m.transpose(x, order),
        torch=lambda m, x: m.permute(x, order),
        fusegrad=lambda m, x: m.permute_dims(x, order),
    )
    return f"transposed to {order}", (extents,), formulas


def _reshaped(generator: random.Random) -> Made:
    extents = shape(generator, 3)
    count = extents[0] * extents[2]
    formulas = _copied(
        numpy=lambda m, x: m.transpose(x, (1, 0, 2)).reshape(-1, count),
        torch=lambda m, x: m.permute(x, (1, 0, 2)).reshape(-1, count),
        fusegrad=lambda m, x: m.permute_dims(x, (1, 0, 2)).reshape(-1, count),
    )
    return "transposed and reshaped", (extents,), formulas


def _joined(generator: random.Random) -> Made:
    extents = shape(generator, generator.randint(1, 3), LARGEST // 3)
    axis = generator.randrange(len(extents))
    shapes = []
    for _ in range(generator.randint(2, 4)):
        part = list(extents)
        part[axis] = extent(generator, extents[axis])
        shapes.append(tuple(part))
    formulas = _written(
        numpy=lambda m, *arrays: m.concatenate(arrays, axis=axis),
        fusegrad=lambda m, *arrays: m.concat(arrays, axis=axis),
        torch=lambda m, *arrays: m.cat(arrays, axis),
    )
    return f"joined along {axis}", tuple(shapes), formulas


def _stacked(generator: random.Random) -> Made:
    extents = shape(generator, generator.randint(1, 3), LARGEST // 2)
    axis = generator.randrange(len(extents) + 1)
    formulas = _written(
        numpy=lambda m, x, y: m.stack((x, y), axis=axis),
        torch=lambda m, x, y: m.stack((x, y), axis),
    )
    return f"stacked along {axis}", (extents, extents), formulas


def _padded(generator: random.Random) -> Made:
    extents = shape(generator, generator.randint(1, 3), LARGEST // 4)
    widths = tuple((generator.randint(0, 3), generator.randint(0, 3)) for _ in extents)
    flat = tuple(width for pair in reversed(widths) for width in pair)
    formulas = _written(
        numpy=lambda m, x: m.pad(x, widths),
        torch=lambda m, x: m.nn.functional.pad(x, flat),
    )
    return f"padded by {widths}", (extents,), formulas


def _rolled(generator: random.Random) -> Made:
    extents = shape(generator, generator.randint(1, 3))
    axis = generator.randrange(len(extents))
    shift = generator.randint(-5, 5) or 1
    formulas = _written(numpy=lambda m, x: m.roll(x, shift, axis))
    return f"rolled by {shift} along {axis}", (extents,), formulas


def _sliced(generator: random.Random) -> Made:
    extents = shape(generator, generator.randint(1, 3))
    cuts = tuple(
        slice(generator.randint(0, e // 4), None, generator.choice([1, 1, 2, 3])) for e in extents
    )
    text = " ".join(f"{cut.start}::{cut.step}" for cut in cuts)
    return f"sliced {text}", (extents,), _copied(numpy=lambda m, x: x[cuts])


def _turned(generator: random.Random) -> Made:
    extents = shape(generator, generator.randint(1, 3))
    axis = generator.randrange(len(extents))
    formulas = _copied(numpy=lambda m, x: m.flip(x, axis), torch=lambda m, x: m.flip(x, (axis,)))
    return f"turned along {axis}", (extents,), formulas


def _repeated(generator: random.Random) -> Made:
    extents = shape(generator, generator.randint(1, 3), LARGEST // 4)
    axis, count = generator.randrange(len(extents)), generator.randint(2, 4)
    formulas = _written(
        numpy=lambda m, x: m.repeat(x, count, axis),
        torch=lambda m, x: m.repeat_interleave(x, count, axis),
    )
    return f"repeated {count} times along {axis}", (extents,), formulas


def _tiled(generator: random.Random) -> Made:
    extents = shape(generator, 2, LARGEST // 6)
    counts = (generator.randint(1, 3), generator.randint(1, 3))
    return f"tiled {counts}", (extents,), _written(numpy=lambda m, x: m.tile(x, counts))


def _triangle(generator: random.Random) -> Made:
    extents = shape(generator, 2)
    return "lower triangle", (extents,), _written(numpy=lambda m, x: m.tril(x))


KERNELS: tuple[Callable[[random.Random], Made], ...] = (
    _transposed,
    _transposed,
    _reshaped,
    _joined,
    _joined,
    _stacked,
    _padded,
    _rolled,
    _sliced,
    _turned,
    _repeated,
    _tiled,
    _triangle,
)


def make(generator: random.Random) -> Workload:
    """A random movement."""
    text, shapes, formulas = generator.choice(KERNELS)(generator)
    inputs = {f"x{i}": normal(generator, extents) for i, extents in enumerate(shapes)}
    sizes = ", ".join(spelled(extents) for extents in shapes)
    return case(f"{sizes} {text} ({sum(map(math.prod, shapes))} elements)", inputs, formulas)
