"""Convolutions and their gradients against sums in float64, for every schedule they have."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.runtime import threads

Array = np.ndarray[Any, Any]

# Images, channels, height, width, channels of the result, window, stride, padding, dilation,
# groups.
CASES = [
    (2, 3, 8, 8, 5, (3, 3), 1, 1, 1, 1),
    (1, 16, 9, 11, 13, (3, 3), 2, 1, 1, 1),
    (3, 4, 7, 7, 8, (1, 1), 2, 0, 1, 1),
    (2, 6, 10, 9, 12, (5, 3), 1, 2, 1, 2),
    (2, 8, 12, 12, 32, (3, 3), 1, 2, 2, 1),
    (1, 1, 5, 40, 4, (2, 2), 3, 0, 1, 1),
    (4, 20, 16, 16, 40, (3, 3), 2, 1, 1, 1),
    (2, 3, 33, 17, 7, (7, 7), 2, 3, 1, 1),
    (2, 4, 6, 6, 4, (3, 3), 1, 1, 1, 4),
    (2, 5, 4, 4, 30, (2, 2), 1, 0, 1, 1),
    (1, 2, 1, 35, 9, (1, 4), 1, 0, 1, 1),
    (2, 3, 8, 8, 5, (3, 3), 1, 4, 1, 1),
    (2, 2, 40, 28, 6, (5, 5), 1, 2, 1, 1),
    (1, 6, 14, 14, 16, (5, 5), 1, 0, 1, 1),
    (3, 17, 6, 32, 15, (3, 3), 1, 1, 1, 1),
    (1, 300, 3, 18, 5, (3, 3), 1, 1, 1, 1),
    (3, 5, 20, 37, 5, (3, 3), 1, 1, 1, 5),
    (2, 6, 21, 50, 12, (5, 5), 2, 2, 1, 6),
    (2, 3, 30, 18, 3, (7, 7), 1, 6, 2, 3),
    (2, 4, 9, 600, 4, (3, 2), 3, 0, 1, 4),
    (1, 40, 17, 20, 3, (3, 3), 1, 1, 1, 1),
    (2, 12, 14, 14, 9, (3, 3), 1, 1, 1, 3),
    (2, 7, 12, 9, 150, (7, 7), 1, 0, 1, 1),
    (2, 8, 9, 8, 170, (3, 2), 1, 0, 2, 2),
    (5, 6, 8, 7, 50, (2, 2), 3, 1, 1, 1),
    (3, 5, 6, 5, 7, (1, 1), 2, 1, 1, 1),
    (3, 9, 8, 8, 12, (3, 3), 1, 1, 1, 1),
    (2, 30, 11, 4, 13, (2, 3), 1, 1, 1, 1),
    (2, 40, 33, 70, 2, (3, 3), 1, 1, 1, 1),
    (2, 7, 15, 12, 6, (3, 4), 2, 1, 2, 1),
    (2, 5, 21, 17, 6, (4, 3), 2, 2, 3, 1),
    (1, 6, 23, 20, 9, (3, 3), 4, 1, 6, 3),
]


def reference(x: Array, w: Array, g: Array, case: Any) -> tuple[Array, Array, Array]:
    """Value, and the gradients of both operands, of sums over windows in float64."""
    _, channels, height, width, out, window, stride, padding, dilation, groups = case
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *[(padding, padding)] * 2])
    value, by_weight = np.zeros(g.shape), np.zeros(w.shape)
    by_input = np.zeros_like(padded)
    cg, og = channels // groups, out // groups
    for group, a, b in itertools.product(range(groups), range(window[0]), range(window[1])):
        places = [
            slice(k * dilation, k * dilation + stride * (count - 1) + 1, stride)
            for k, count in zip((a, b), g.shape[2:], strict=True)
        ]
        inside = (slice(None), slice(group * cg, (group + 1) * cg), *places)
        o = slice(group * og, (group + 1) * og)
        weight = w[o, :, a, b].astype(np.float64)
        value[:, o] += np.einsum("nchw,oc->nohw", padded[inside], weight)
        by_weight[o, :, a, b] = np.einsum("nohw,nchw->oc", g[:, o], padded[inside])
        by_input[inside] += np.einsum("nohw,oc->nchw", g[:, o], weight)
    cut = (slice(padding, padding + height), slice(padding, padding + width))
    return value, by_input[(..., *cut)], by_weight


def arrays(case: Any, dtype: Any) -> tuple[Array, Array, Array]:
    n, channels, height, width, out, window, stride, padding, dilation, groups = case
    rng = np.random.default_rng(sum(case[:5]))
    counts = [
        (e + 2 * padding - dilation * (k - 1) - 1) // stride + 1
        for e, k in zip((height, width), window, strict=True)
    ]
    shapes = ((n, channels, height, width), (out, channels // groups, *window), (n, out, *counts))
    x, w, g = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    return x, w, g


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c)).replace(" ", ""))
def test_values_and_gradients(case: Any) -> None:
    stride, padding, dilation, groups = case[6:]
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-13)):
        x, w, g = arrays(case, dtype)

        def convolve(x: Any, w: Any) -> fg.Tensor:
            return F.conv2d(x, w, None, stride, padding, dilation, groups)

        @fg.compile
        def everything(x: Any, w: Any, g: Any) -> Any:
            value, back = fg.vjp(convolve, x, w)
            return value, *back(g)

        expected = reference(x, w, g, case)
        for found, right in zip(everything(x, w, g), expected, strict=True):
            assert found.shape == right.shape
            np.testing.assert_allclose(
                found.numpy(), right, tolerance, tolerance * np.abs(right).max()
            )


@pytest.mark.parametrize("dtype", [fg.bfloat16, fg.float16], ids=str)
@pytest.mark.parametrize("case", [CASES[8], CASES[17]], ids=str)
def test_halves_of_depthwise_ones(case: Any, dtype: Any) -> None:
    """Every result rounds once, from operands that are equal."""
    stride, padding, dilation, groups = case[6:]

    @fg.compile
    def everything(x: Any, w: Any, g: Any) -> Any:
        value, back = fg.vjp(
            lambda x, w: F.conv2d(x, w, None, stride, padding, dilation, groups), x, w
        )
        return (value, *back(g))

    halves = [fg.asarray(a).astype(dtype) for a in arrays(case, np.float32)]
    exact = [a.astype(fg.float64).numpy() for a in halves]
    tolerance = 2.0**-8 if dtype is fg.bfloat16 else 2.0**-11
    for own, value in zip(everything(*halves), reference(*exact, case), strict=True):
        assert own.dtype is dtype
        difference = np.abs(own.astype(fg.float64).numpy() - value)
        assert np.all(difference <= tolerance * np.abs(value) + 1e-4)


def test_what_follows_is_in_the_same_kernel() -> None:
    x, w, _ = arrays(CASES[0], np.float32)
    bias = np.arange(5, dtype=np.float32) - 2

    @fg.compile
    def layer(x: Any, w: Any, bias: Any) -> fg.Tensor:
        return F.relu(F.conv2d(x, w, bias, padding=1))

    value = reference(x, w, np.zeros((2, 5, 8, 8)), CASES[0])[0]
    expected = np.maximum(value + bias[:, None, None], 0)
    np.testing.assert_allclose(layer(x, w, bias).numpy(), expected, 1e-5, 1e-5)
    assert layer.stats().kernels == 1


def test_second_derivatives() -> None:
    """Products of derivatives with vectors, against differences of first ones."""
    case = (1, 2, 6, 9, 4, (3, 2), 2, 1, 1, 1)
    x, w, g = arrays(case, np.float64)

    def scalar(x: Any, w: Any) -> fg.Tensor:
        return (F.conv2d(x, w, None, 2, 1) ** 3 * g).sum()

    first = fg.compile(lambda x, w: fg.grad(scalar, argnums=(0, 1))(x, w))
    rng = np.random.default_rng(4)
    u, v = rng.standard_normal(x.shape), rng.standard_normal(w.shape)

    @fg.compile
    def second(x: Any, w: Any) -> Any:
        def along(x: Any, w: Any) -> fg.Tensor:
            a, b = fg.grad(scalar, argnums=(0, 1))(x, w)
            return (a * u).sum() + (b * v).sum()

        return fg.grad(along, argnums=(0, 1))(x, w)

    step = 1e-5
    ahead, back = first(x + step * u, w + step * v), first(x - step * u, w - step * v)
    for found, a, b in zip(second(x, w), ahead, back, strict=True):
        difference = (a.numpy() - b.numpy()) / (2 * step)
        np.testing.assert_allclose(found.numpy(), difference, 1e-6, 1e-6)


DEPTHWISE = (2, 6, 21, 50, 12, (5, 5), 2, 2, 1, 6)
FEW_RESULTS = (2, 40, 33, 70, 2, (3, 3), 1, 1, 1, 1)


@pytest.mark.parametrize(
    "case",
    [CASES[6], CASES[12], DEPTHWISE, FEW_RESULTS],
    ids=["unfolded", "direct", "depthwise", "few results"],
)
def test_bits_are_the_same_for_any_number_of_threads(case: Any) -> None:
    stride, padding, dilation, groups = case[6:]
    x, w, g = arrays(case, np.float32)

    @fg.compile
    def everything(x: Any, w: Any, g: Any) -> Any:
        value, back = fg.vjp(
            lambda x, w: F.conv2d(x, w, None, stride, padding, dilation, groups), x, w
        )
        return value, *back(g)

    before = threads.num_threads()
    try:
        results = []
        for count in (1, 2, 3, 4):
            threads.set_num_threads(count)
            results.append([found.numpy().copy() for found in everything(x, w, g)])
    finally:
        threads.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_views_are_read_in_place() -> None:
    """Crops, batches of other orders and channels behind the places."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 9, 12, 6)).astype(np.float32)
    w = rng.standard_normal((8, 6, 3, 3)).astype(np.float32)

    @fg.compile
    def layer(x: Any, w: Any) -> fg.Tensor:
        images = fg.permute_dims(x, (0, 3, 1, 2))
        return F.conv2d(images[:, :, 1:, 2:-1], w, padding=1)

    images = np.ascontiguousarray(x.transpose(0, 3, 1, 2)[:, :, 1:, 2:-1])
    case = (2, 6, 8, 9, 8, (3, 3), 1, 1, 1, 1)
    expected = reference(images, w, np.zeros((2, 8, 8, 9)), case)[0]
    np.testing.assert_allclose(layer(x, w).numpy(), expected, 1e-4, 1e-5)
