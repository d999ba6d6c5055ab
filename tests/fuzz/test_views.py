"""Random views and writes: every tensor holds what NumPy's array holds, compiled and not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg

Step = Callable[[list[Any]], None]
SHAPE = (3, 4, 2)


def random_key(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
    key: list[Any] = []
    for extent in shape:
        start, stop = sorted(int(n) for n in rng.integers(0, extent + 1, 2))
        kind = rng.integers(0, 6)
        if kind == 0 and extent:
            key.append(int(rng.integers(-extent, extent)))
        elif kind == 1:
            key.append(slice(start, stop))
        elif kind == 2:
            key.append(slice(None, None, -1))
        elif kind == 3:
            key += [None, slice(start, None, 2)]
        else:
            key.append(slice(None))
    return tuple(key)


def random_step(rng: np.random.Generator, arrays: list[np.ndarray]) -> Step:
    """A step on the list, chosen so that NumPy can make it; it is made on `arrays` already."""
    place = int(rng.integers(0, len(arrays)))
    array = arrays[place]
    kind = int(rng.integers(0, 9))
    number = float(rng.integers(1, 5))

    def step(values: list[Any]) -> None:
        x = values[place]
        if kind == 0:
            values.append(x[key])
        elif kind == 1:
            values.append(x.T)
        elif kind == 2:
            values.append(x.reshape(shape))
        elif kind == 3:
            y = x + number
            # Tensors lie in the order of their axes, which decides what reshape copies.
            values.append(np.array(y, order="C") if isinstance(y, np.ndarray) else y)
        elif kind == 4:
            x += number
        elif kind == 5:
            x[key] = number
        elif kind == 6:
            x[key] *= 2
        elif kind == 7:
            x[...] = values[other]
        else:
            values.pop(place)

    key = random_key(rng, array.shape)
    shape = (-1,) if array.size else array.shape
    other = int(rng.integers(0, len(arrays)))
    if kind == 6 and array[key].ndim == 0:
        kind = 4
    if kind == 7 and (arrays[other].shape != array.shape or np.shares_memory(array, arrays[other])):
        kind = 4
    if kind == 4 and array.ndim == 0:
        kind = 3
    if (kind == 8 and len(arrays) == 1) or (kind == 0 and array[key].ndim == 0):
        kind = 3
    step(arrays)
    return step


def program(seed: int) -> tuple[list[Step], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    arrays = [start()]
    steps = [random_step(rng, arrays) for _ in range(12)]
    return steps, arrays


def start() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.float64).reshape(SHAPE)


@pytest.mark.parametrize("seed", range(40))
def test_recorded(seed: int) -> None:
    steps, arrays = program(seed)
    values = [fg.asarray(start())]
    for step in steps:
        step(values)
    for value, array in zip(values, arrays, strict=True):
        np.testing.assert_array_equal(value.numpy(), array)


@pytest.mark.parametrize("seed", range(60, 100))
def test_recorded_with_gradients(seed: int) -> None:
    """Everything is recorded, and the gradient by the start is that of the final values."""
    steps, arrays = program(seed)
    w = fg.asarray(start(), requires_grad=True)
    values = [w * 1]
    for step in steps:
        step(values)
    for value, array in zip(values, arrays, strict=True):
        np.testing.assert_array_equal(value.detach().numpy(), array)
    moved = [start() + np.arange(start().size).reshape(SHAPE) ** 2]
    for step in steps:
        step(moved)
    total = fg.asarray(0.0, dtype="float64")
    for value in values:
        total = total + value.sum()
    if total.requires_grad:
        total.backward()
    gradient = np.zeros(SHAPE) if w.grad is None else w.grad.numpy()
    # The steps are affine, so that differences are exact.
    change = (gradient * np.arange(start().size).reshape(SHAPE) ** 2).sum()
    expected = sum(float(b.sum() - a.sum()) for a, b in zip(arrays, moved, strict=True))
    assert change == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(120, 140))
def test_compiled(seed: int) -> None:
    steps, _ = program(seed)
    captured = fg.asarray(start())

    @fg.compile
    def run(x: Any) -> Any:
        values, others = [x], [captured]
        for step in steps:
            step(values)
            step(others)
        return values[1:], others[1:], captured * 1

    argument = fg.asarray(start())
    given, others, whole = run(argument)
    first = start()
    reference = [first]
    for step in steps:
        step(reference)
    for value, other, array in zip(given, others, reference[1:], strict=True):
        np.testing.assert_array_equal(value.numpy(), array)
        np.testing.assert_array_equal(other.numpy(), array)
    for tensor in (argument, captured, whole):
        np.testing.assert_array_equal(tensor.numpy(), first)
