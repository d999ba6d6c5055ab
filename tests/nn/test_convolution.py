"""Convolutions: values, gradients, batches, dtypes, errors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.errors import DTypeError, ShapeError, TracedValueError
from fusegrad.testing import check_grads

Array = np.ndarray[Any, Any]


def brute_force(
    x: Array, w: Array, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Array:
    """A convolution with a loop for each index of the result."""
    rank = w.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *[(padding, padding)] * rank])
    counts = [
        (extent - dilation * (size - 1) - 1) // stride + 1
        for extent, size in zip(x.shape[2:], w.shape[2:], strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *counts), np.result_type(x, w))
    channels, out = w.shape[1], w.shape[0] // groups
    for o, place in product(range(w.shape[0]), np.ndindex(*counts)):
        group = o // out
        box = tuple(
            slice(i * stride, i * stride + dilation * (size - 1) + 1, dilation)
            for i, size in zip(place, w.shape[2:], strict=True)
        )
        part = x[(slice(None), slice(group * channels, (group + 1) * channels), *box)]
        y[(slice(None), o, *place)] = (part * w[o]).sum(tuple(range(1, x.ndim)))
    return y


CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, int]]] = [
    ((2, 3, 20), (5, 3, 3), {}),
    ((2, 4, 9), (6, 2, 2), {"groups": 2, "stride": 2, "dilation": 3, "padding": 1}),
    ((1, 1, 28, 28), (6, 1, 5, 5), {}),
    ((1, 2, 7, 6), (33, 2, 3, 2), {"padding": 1}),
    ((2, 3, 8, 7), (11, 3, 3, 3), {"stride": 2}),
    ((2, 5, 4, 6), (5, 1, 3, 3), {"groups": 5, "padding": 1}),
    ((2, 3, 4, 4), (2, 3, 1, 1), {"stride": 2}),
    ((2, 3, 4, 4), (2, 3, 4, 4), {}),
    ((2, 3, 4, 4), (2, 3, 2, 2), {"dilation": 3}),
    ((1, 2, 4, 3, 5), (3, 2, 2, 2, 2), {"stride": 2, "padding": 1}),
    ((0, 2, 4, 4), (3, 2, 2, 2), {}),
    ((2, 0, 4, 4), (3, 0, 2, 2), {}),
]


@pytest.mark.parametrize(("given", "weight", "options"), CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_values(
    given: tuple[int, ...], weight: tuple[int, ...], options: dict[str, int], dtype: str
) -> None:
    rng = np.random.default_rng(0)
    x, w = ((rng.standard_normal(shape) * 3).astype(dtype) for shape in (given, weight))
    bias = np.arange(weight[0]).astype(dtype)
    function = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[len(given)]
    expected = brute_force(x, w, **options) + bias.reshape(-1, *[1] * (len(given) - 2))
    epsilon = 0 if dtype == "int64" else float(np.finfo(dtype).eps) * 200

    def result(*operands: Array) -> fg.Tensor:
        return function(*operands, **options)

    for run in (result, fg.compile(result)):
        found = run(x, w, bias).numpy()
        np.testing.assert_allclose(found, expected.astype(dtype), epsilon, epsilon, strict=True)


@pytest.mark.parametrize("number", range(len(CASES) - 2))
def test_gradients(number: int) -> None:
    given, weight, options = CASES[number]
    function = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[len(given)]
    rng = np.random.default_rng(number)
    # Small ones of the same kind.
    given = (*given[:2], *(min(extent, 9) for extent in given[2:]))
    weight = (min(weight[0], 6), *weight[1:])
    x, w = rng.standard_normal(given), rng.standard_normal(weight)
    bias = rng.standard_normal(weight[0])
    check_grads(lambda x, w, b: fg.sin(function(x, w, b, **options)), (x, w, bias))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_is_the_adjoint(stride: int) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 4, 10, 9)), rng.standard_normal((6, 2, 3, 2))
    options: dict[str, Any] = {"stride": stride, "padding": 1, "groups": 2}
    y = F.conv2d(x, w, **options).numpy()
    g = rng.standard_normal(y.shape)
    extra = [(e + 2 - k) % stride for e, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    back = F.conv_transpose2d(g, w, output_padding=extra, **options).numpy()
    assert back.shape == x.shape
    np.testing.assert_allclose((back * x).sum(), (y * g).sum(), 1e-10)
    small = rng.standard_normal((1, 2, 3, 2)), rng.standard_normal((2, 2, 2, 2))
    check_grads(lambda x, w: fg.sin(F.conv_transpose2d(x, w, stride=stride, groups=2)), small)


def test_one_side_of_padding() -> None:
    x, w = np.arange(5.0), np.array([[[1.0, 10.0]]])
    found = F.conv1d(x[None], w, padding=[(1, 0)]).numpy()
    np.testing.assert_array_equal(found, [[0, 10, 21, 32, 43]])


def test_without_batch_and_in_many() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((3, 2, 6, 5)), rng.standard_normal((4, 2, 3, 3))
    whole = F.conv2d(x, w, padding=1).numpy()
    for one, expected in zip(x, whole, strict=True):
        np.testing.assert_allclose(F.conv2d(one, w, padding="same").numpy(), expected, 1e-12)


def test_what_is_not_contiguous() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((6, 5, 2, 3)).T, rng.standard_normal((3, 3, 2, 4)).T
    found = fg.compile(F.conv2d)(x, w).numpy()
    np.testing.assert_allclose(found, brute_force(x, w), 1e-12, 1e-12)


def test_dtypes_promote() -> None:
    x, w = np.ones((1, 1, 3), np.float32), np.ones((1, 1, 2))
    assert F.conv1d(x, w).dtype is fg.float64
    assert F.conv1d(x.astype("int32"), w.astype("float32")).dtype is fg.float32


def test_not_a_number_stays_where_it_is() -> None:
    x = np.zeros((1, 1, 9))
    x[0, 0, 4] = np.inf
    weight = np.ones((1, 1, 3))
    value = F.conv1d(x, weight).numpy()[0, 0]
    np.testing.assert_array_equal(np.isinf(value), [False, False, True, True, True, False, False])
    gradient = fg.grad(lambda w: F.conv1d(fg.asarray(x[..., :6]), w, stride=4).sum())(weight)
    np.testing.assert_array_equal(gradient.numpy(), np.zeros((1, 1, 3)))


def test_sums_of_many_products_are_accurate() -> None:
    """The gradient of a weight adds up as many products as the batch has places."""
    x = fg.full((64, 2, 64, 65), 0.1)

    @fg.compile
    def gradient(x: Any) -> fg.Tensor:
        return fg.grad(lambda w: (F.conv2d(x, w) * 0.1).sum())(fg.zeros((17, 2, 1, 2)))

    expected = np.float64(np.float32(0.1)) ** 2 * 64**3
    np.testing.assert_allclose(gradient(x).numpy(), expected, 1e-4)


def test_numbers_are_known_beforehand() -> None:
    x, w = np.ones((1, 1, 6), np.float32), np.ones((1, 1, 2), np.float32)
    assert F.conv1d(x, w, stride=np.int64(2)).shape == (1, 1, 3)
    assert F.conv1d(x, w, stride=np.array([2])).shape == (1, 1, 3)
    step = fg.compile(lambda x, w, s: F.conv1d(x, w, stride=s))
    with pytest.raises(TracedValueError):
        step(x, w, 2)


Call = Callable[[], object]


def ones(*shape: int) -> Array:
    return np.ones(shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: F.conv2d(ones(1, 3, 5, 5), ones(2, 4, 3, 3)),
            "conv2d: the input of shape (1, 3, 5, 5) has 3 channels, the weight of shape "
            "(2, 4, 3, 3) takes 4",
        ),
        (
            lambda: F.conv2d(ones(1, 4, 5, 5), ones(2, 3, 3, 3), groups=2),
            "conv2d: the input of shape (1, 4, 5, 5) has 4 channels, the weight of shape "
            "(2, 3, 3, 3) takes 6 (in 2 groups)",
        ),
        (
            lambda: F.conv2d(ones(1, 4, 5, 5), ones(3, 2, 3, 3), groups=2),
            "conv2d: 3 output channels in 2 groups",
        ),
        (
            lambda: F.conv2d(ones(1, 3, 2, 5), ones(2, 3, 3, 3)),
            "conv2d: a window of 3 elements with dilation 1 does not fit axis -2 of the input of "
            "shape (1, 3, 2, 5) with padding (0, 0)",
        ),
        (
            lambda: F.conv2d(ones(3, 5), ones(2, 3, 3, 3)),
            "conv2d: an input of shape (3, 5) has 2 axes, not 4 (or 3 without a batch)",
        ),
        (
            lambda: F.conv2d(ones(1, 3, 5, 5), ones(2, 3, 3)),
            "conv2d: a weight of shape (2, 3, 3) has 3 axes, not 4",
        ),
        (
            lambda: F.conv1d(ones(1, 3, 5), ones(2, 3, 3), ones(3)),
            "conv1d: a bias of shape (3,) for 2 channels",
        ),
        (
            lambda: F.conv1d(ones(1, 3, 5), ones(2, 3, 3), stride=0),
            "conv1d: stride is 0, less than 1",
        ),
        (
            lambda: F.conv1d(ones(1, 3, 5), ones(2, 3, 3), padding=-1),
            "conv1d: padding is -1, less than 0",
        ),
        (
            lambda: F.conv2d(ones(1, 3, 5, 5), ones(2, 3, 3, 3), stride=(1, 2, 3)),
            "conv2d: stride (1, 2, 3) has 3 numbers for 2 axes",
        ),
        (
            lambda: F.conv1d(ones(1, 3, 5), ones(2, 3, 3), stride=2, padding="same"),
            "conv1d: padding 'same' with stride (2,)",
        ),
        (
            lambda: F.conv1d(ones(1, 3, 5), ones(2, 3, 3), padding="full"),
            "conv1d: padding is 'full'",
        ),
        (
            lambda: F.conv_transpose1d(ones(1, 3, 5), ones(4, 3, 3)),
            "conv_transpose1d: the input of shape (1, 3, 5) has 3 channels, the weight of shape "
            "(4, 3, 3) takes 4",
        ),
        (
            lambda: F.conv_transpose1d(ones(1, 3, 5), ones(3, 3, 3), output_padding=1),
            "conv_transpose1d: output_padding (1,) with stride (1,) and dilation (1,)",
        ),
        (
            lambda: F.conv_transpose1d(ones(1, 3, 2), ones(3, 3, 2), padding=2),
            "conv_transpose1d: nothing is left of axis -1 of shape (1, 3, 2) with a window of 2 "
            "and padding 2",
        ),
    ],
)
def test_errors(call: Call, message: str) -> None:
    with pytest.raises(ShapeError) as raised:
        call()
    assert raised.value.message == message
    assert "test_convolution.py" in str(raised.value)
    assert raised.value.remedy


def test_numbers_only() -> None:
    with pytest.raises(DTypeError, match="conv1d takes numbers, not bool"):
        F.conv1d(np.ones((1, 1, 3), bool), np.ones((1, 1, 2), bool))
