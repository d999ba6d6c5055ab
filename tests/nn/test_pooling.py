"""Pooling: values, places, gradients, roundings, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.errors import DTypeError, ShapeError
from fusegrad.testing import check_grads

Array = np.ndarray[Any, Any]


def windows_of(extent: int, size: int, stride: int, padding: int, ceil: bool) -> list[range]:
    """The places of each window, those in the padding included."""
    room = extent + 2 * padding - size
    count = -(-room // stride) + 1 if ceil else room // stride + 1
    starts = [i * stride - padding for i in range(count)]
    return [range(a, min(a + size, extent + padding)) for a in starts if a < extent]


CASES: list[tuple[tuple[int, ...], int, int, int, bool]] = [
    ((2, 3, 11), 3, 2, 1, False),
    ((2, 3, 11), 3, 2, 1, True),
    ((3, 12), 4, 4, 2, True),
    ((2, 3, 8, 37), 2, 2, 0, False),
    ((2, 3, 7, 5), 2, 2, 0, True),
    ((1, 1, 9, 9), 3, 1, 1, False),
    ((2, 3, 5, 5), 5, 1, 0, False),
    ((1, 2, 4, 5, 3), 2, 2, 1, False),
    ((0, 2, 4, 4), 2, 2, 0, False),
]


@pytest.mark.parametrize(("shape", "size", "stride", "padding", "ceil"), CASES, ids=str)
@pytest.mark.parametrize("kind", ["max", "average", "average of what is there"])
def test_values(
    shape: tuple[int, ...], size: int, stride: int, padding: int, ceil: bool, kind: str
) -> None:
    rank = len(shape) - (1 if len(shape) == 2 else 2)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    axes = [windows_of(extent, size, stride, padding, ceil) for extent in shape[-rank:]]
    counts = tuple(map(len, axes))
    expected = np.empty((*shape[:-rank], *counts))
    places = np.arange(np.prod(shape[-rank:])).reshape(shape[-rank:])
    chosen = np.empty(expected.shape, np.int64)
    for at in np.ndindex(*counts):
        box = [axes[a][i] for a, i in enumerate(at)]
        real = [
            [p for p in each if 0 <= p < extent]
            for each, extent in zip(box, shape[-rank:], strict=True)
        ]
        count = int(np.prod(list(map(len, real))))
        part = x[(..., *np.ix_(*real))].reshape(*shape[:-rank], count)
        everything = np.prod([len(each) for each in box])
        if kind == "max":
            expected[(..., *at)] = part.max(-1)
            chosen[(..., *at)] = places[np.ix_(*real)].reshape(-1)[part.argmax(-1)]
        else:
            divisor = everything if kind == "average" else part.shape[-1]
            expected[(..., *at)] = part.sum(-1) / divisor

    def result(x: Any) -> Any:
        if kind == "max":
            pool = getattr(F, f"max_pool{rank}d")
            return pool(x, size, stride, padding, ceil_mode=ceil, return_indices=True)
        pool = getattr(F, f"avg_pool{rank}d")
        return pool(x, size, stride, padding, ceil, kind == "average"), None

    for run in (result, fg.compile(result)):
        values, found = run(x)
        np.testing.assert_allclose(
            values.numpy(), expected.astype("float32"), 1e-5, 1e-6, strict=True
        )
        if found is not None:
            np.testing.assert_array_equal(found.numpy(), chosen, strict=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: F.max_pool2d(x, 2, 1, 1, dilation=2),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, (3, 2), 1, count_include_pad=False, padding=1),
        lambda x: F.avg_pool2d(x, 2, divisor_override=3),
        lambda x: F.lp_pool2d(x, 3, 2),
        lambda x: F.adaptive_avg_pool2d(x, 3),
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: F.adaptive_max_pool2d(x, 3),
    ],
)
def test_gradients(function: Any) -> None:
    x = np.random.default_rng(0).permutation(np.linspace(0.5, 2, 40)).reshape(1, 2, 4, 5)
    check_grads(lambda x: fg.sin(function(x)), (x,))


@pytest.mark.parametrize(("extent", "count"), [(7, 3), (3, 7), (8, 4), (5, 1), (6, 6)])
def test_adaptive_windows(extent: int, count: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, extent))
    ends = [(i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)]
    means = np.stack([x[:, a:b].mean(1) for a, b in ends], 1)
    np.testing.assert_allclose(F.adaptive_avg_pool1d(x, count).numpy(), means, 1e-12)
    values, places = F.adaptive_max_pool1d(x, count, return_indices=True)
    best = np.stack([x[:, a:b].argmax(1) + a for a, b in ends], 1)
    np.testing.assert_array_equal(places.numpy(), best)
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(x, best, 1))


def test_infinity_stays_in_its_window() -> None:
    x = np.array([[np.inf, 1.0, 2, 3, 4]])
    np.testing.assert_array_equal(F.adaptive_avg_pool1d(x, 3).numpy(), [[np.inf, 2, 3.5]])
    lowest = np.full((1, 4), -np.inf)
    values, places = F.max_pool1d(lowest, 2, padding=1, return_indices=True)
    assert values.numpy().tolist() == [[-np.inf] * 3]
    assert places.numpy().tolist() == [[0, 1, 3]]


def test_the_first_of_equal_elements_gets_the_gradient() -> None:
    x = fg.asarray(np.ones((1, 4, 4)), requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad is not None
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1
    np.testing.assert_array_equal(x.grad.numpy()[0], expected)


def test_integers_have_a_largest() -> None:
    x = np.arange(12, dtype=np.int32).reshape(1, 3, 4)
    assert F.max_pool2d(x, 2, padding=1).numpy().tolist() == [[[0, 2, 3], [8, 10, 11]]]
    assert F.max_pool2d(x, 2).dtype is fg.int32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: F.max_pool2d(np.ones((1, 2, 2, 5)), 3),
            ShapeError,
            "max_pool2d: a window of 3 elements with dilation 1 does not fit axis -2 of the input "
            "of shape (1, 2, 2, 5) with padding 0",
        ),
        (
            lambda: F.avg_pool2d(np.ones((1, 2, 5, 5)), 2, padding=2),
            ShapeError,
            "avg_pool2d: padding 2 is more than half of a window of 2",
        ),
        (
            lambda: F.max_pool1d(np.ones((1, 2, 5, 5)), 2),
            ShapeError,
            "max_pool1d: an input of shape (1, 2, 5, 5) has 4 axes, not 3 (or 2 without a batch)",
        ),
        (
            lambda: F.avg_pool1d(np.ones((1, 2, 5), np.int64), 2),
            DTypeError,
            "avg_pool1d takes floats, not int64",
        ),
        (
            lambda: F.max_pool1d(np.ones((1, 2, 5), bool), 2),
            DTypeError,
            "max_pool1d takes numbers, not bool",
        ),
        (
            lambda: F.adaptive_avg_pool2d(np.ones((1, 2, 5, 5)), (1, 2, 3)),
            ShapeError,
            "adaptive_avg_pool2d: output_size (1, 2, 3) has 3 numbers for 2 axes",
        ),
        (
            lambda: F.avg_pool2d(np.ones((1, 2, 5, 5)), 2, divisor_override=0),
            ShapeError,
            "avg_pool2d: divisor_override is 0",
        ),
        (
            lambda: F.max_pool1d(np.ones((1, 2, 5)), 0),
            ShapeError,
            "max_pool1d: kernel_size is 0, less than 1",
        ),
    ],
)
def test_errors(call: Callable[[], object], error: Any, message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert raised.value.message == message
    assert "test_pooling.py" in str(raised.value)
