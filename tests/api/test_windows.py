"""Reductions and views of windows, and convolutions of sequences, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.errors import DTypeError, EmptyReductionError, ShapeError
from fusegrad.testing import check_grads

RNG = np.random.default_rng(0)
Array = np.ndarray[Any, Any]


def brute_force(
    x: Array,
    reduction: str,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    widths: list[tuple[int, int]],
    dilation: tuple[int, ...],
) -> Array:
    fill: Any = {"sum": 0, "prod": 1}.get(reduction)
    if fill is None:
        limits: Any = np.finfo(x.dtype) if x.dtype.kind == "f" else np.iinfo(x.dtype)
        fill = limits.min if reduction == "max" else limits.max
    x = np.pad(x, widths, constant_values=fill)
    counts = [
        (e - d * (k - 1) - 1) // s + 1
        for e, k, s, d in zip(x.shape, window, strides, dilation, strict=True)
    ]
    result = np.empty(counts, x.dtype)
    for place in np.ndindex(*counts):
        box = tuple(
            slice(i * s, i * s + d * (k - 1) + 1, d)
            for i, k, s, d in zip(place, window, strides, dilation, strict=True)
        )
        result[place] = getattr(np, reduction)(x[box])
    return result


CASES: list[tuple[tuple[int, ...], Any, Any, Any, Any]] = [
    ((7,), 3, 1, "valid", 1),
    ((20, 37), (3, 2), (1, 1), 0, (1, 2)),
    ((5, 6), (2, 3), (2, 1), [(1, 0), (0, 2)], 1),
    ((2, 3, 4, 3, 5), (1, 2, 2, 1, 3), (1, 1, 2, 1, 2), (0, 1, 0, 0, 1), 1),
    ((4, 4), (4, 4), 1, "valid", 1),
    ((3, 1), (1, 1), (2, 1), "valid", 1),
    ((0, 4), (1, 2), 1, "valid", 1),
]


@pytest.mark.parametrize(("shape", "window", "strides", "padding", "dilation"), CASES, ids=str)
@pytest.mark.parametrize("reduction", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_reduce_window(
    shape: tuple[int, ...],
    window: Any,
    strides: Any,
    padding: Any,
    dilation: Any,
    reduction: Any,
    dtype: str,
) -> None:
    x = (RNG.standard_normal(shape) * 3).astype(dtype)
    rank = len(shape)

    def every(value: Any) -> Any:
        return (value,) * rank if isinstance(value, int) else value

    widths = every(0 if padding == "valid" else padding)
    widths = [(w, w) if isinstance(w, int) else w for w in widths]
    expected = brute_force(x, reduction, every(window), every(strides), widths, every(dilation))

    def result(x: Any) -> fg.Tensor:
        return fg.reduce_window(x, reduction, window, strides, padding, dilation)

    for run in (result, fg.compile(result)):
        np.testing.assert_allclose(run(x).numpy(), expected, 2e-6, 1e-5, strict=True)


def test_same_padding() -> None:
    for extent in (4, 5, 6):
        for stride in (1, 2, 3):
            x = np.arange(extent)
            found = fg.reduce_window(x, "max", 3, stride, "same").numpy()
            count = -(-extent // stride)
            before = max((count - 1) * stride + 3 - extent, 0) // 2
            starts = [max(i * stride - before, 0) for i in range(count)]
            ends = [min(i * stride - before + 3, extent) for i in range(count)]
            assert found.tolist() == [x[a:b].max() for a, b in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("reduction", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("options", [{}, {"strides": 2, "padding": 1}, {"strides": 3}])
def test_gradients(reduction: Any, options: dict[str, Any]) -> None:
    x = RNG.permutation(np.linspace(-1, 1, 42)).reshape(6, 7)
    check_grads(lambda x: fg.sin(fg.reduce_window(x, reduction, (3, 3), **options)), (x,))


def test_the_first_of_equal_elements_gets_the_gradient() -> None:
    def total(x: fg.Tensor, reduction: Any) -> fg.Tensor:
        return fg.reduce_window(x, reduction, (1, 3), (1, 3)).sum()

    x = fg.asarray([[1.0, 2, 2, 0, 0, 0]])
    assert fg.grad(total)(x, "max").numpy().tolist() == [[0, 1, 0, 1, 0, 0]]
    assert fg.grad(total)(x, "min").numpy().tolist() == [[1, 0, 0, 1, 0, 0]]


@pytest.mark.parametrize("reduction", ["sum", "prod", "max", "min"])
def test_places_between_elements_count_as_nothing(reduction: Any) -> None:
    x = RNG.standard_normal((3, 4))
    found = fg.reduce_window(x, reduction, (2, 3), base_dilation=(2, 3)).numpy()
    assert found.shape == (4, 8)
    # Every window of three places holds one element of its row.
    np.testing.assert_array_equal(found, x[[0, 1, 1, 2]][:, [0, 1, 1, 1, 2, 2, 2, 3]])


@pytest.mark.parametrize(
    ("given", "weight", "options"),
    [
        ((2, 3, 6), (4, 3, 2), {"padding": [(1, -2)], "lhs_dilation": 2}),
        ((2, 4, 5, 4), (6, 2, 2, 3), {"padding": "SAME", "feature_group_count": 2}),
        ((4, 3, 5, 4), (6, 3, 2, 3), {"padding": "VALID", "batch_group_count": 2}),
        (
            (2, 3, 5, 4),
            (5, 3, 2, 2),
            {
                "padding": [(2, 1), (0, 3)],
                "window_strides": (2, 1),
                "lhs_dilation": (1, 3),
                "rhs_dilation": (2, 1),
            },
        ),
    ],
)
def test_general_convolution(
    given: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]
) -> None:
    x, w = RNG.standard_normal(given), RNG.standard_normal(weight)
    options = {"window_strides": 1, **options}
    rank = len(given) - 2
    step = np.broadcast_to(options.get("lhs_dilation", 1), rank)
    strides = np.broadcast_to(options["window_strides"], rank)
    spread = np.zeros((*given[:2], *((np.array(given[2:]) - 1) * step + 1)))
    spread[(..., *(slice(None, None, s) for s in step))] = x
    pairs = options["padding"]
    if pairs == "SAME":
        pairs = [((k - 1) // 2, k // 2) for k in weight[2:]]
    if pairs == "VALID":
        pairs = [(0, 0)] * rank
    padded = np.pad(spread, [(0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in pairs)])
    ends = zip(pairs, padded.shape[2:], strict=True)
    cut = [slice(max(-a, 0), e - max(-b, 0)) for (a, b), e in ends]
    padded = padded[(..., *cut)]
    function = (F.conv1d, F.conv2d)[rank - 1]
    more: Any = {"stride": list(map(int, strides)), "dilation": options.get("rhs_dilation", 1)}
    count = options.get("batch_group_count", 1)
    parts = [
        function(images, kernels, groups=options.get("feature_group_count", 1), **more).numpy()
        for images, kernels in zip(np.split(padded, count), np.split(w, count), strict=True)
    ]
    found = fg.conv_general_dilated(x, w, **options).numpy()
    np.testing.assert_allclose(found, np.concatenate(parts, 1), 1e-12, 1e-12)
    check_grads(lambda x, w: fg.sin(fg.conv_general_dilated(x, w, **options)), (x, w), order=1)


def test_not_a_number_is_the_extreme() -> None:
    x = np.array([1.0, np.nan, 2, 3, np.inf, -np.inf, -np.inf])
    for run in (fg.reduce_window, fg.compile(fg.reduce_window, static_argnames=("window",))):
        for reduction in ("max", "min"):
            windows = np.lib.stride_tricks.sliding_window_view(x, 2)
            expected = getattr(windows, reduction)(-1)
            np.testing.assert_array_equal(run(x, reduction, window=2).numpy(), expected)


@pytest.mark.parametrize(
    ("shape", "window", "axis"),
    [((5,), 2, None), ((4, 5), (2, 3), None), ((4, 5), 3, 1), ((4, 5, 3), (2, 2), (2, 0))],
)
def test_sliding_window_view(shape: tuple[int, ...], window: Any, axis: Any) -> None:
    x = RNG.standard_normal(shape)
    expected = np.lib.stride_tricks.sliding_window_view(x, window, axis)
    np.testing.assert_array_equal(fg.sliding_window_view(x, window, axis).numpy(), expected)
    check_grads(lambda x: fg.sin(fg.sliding_window_view(x, window, axis)), (x,))


@pytest.mark.parametrize(("extent", "size", "width"), [(10, 3, 4), (300, 31, 40)])
def test_products_read_windows_in_place(extent: int, size: int, width: int) -> None:
    """Windows that overlap in memory are an operand of a product, on either side."""
    x, w = RNG.standard_normal((5, extent)), RNG.standard_normal((size, width))
    expected = np.lib.stride_tricks.sliding_window_view(x, size, 1) @ w

    def products(x: Any, w: Any) -> tuple[fg.Tensor, ...]:
        windows = fg.sliding_window_view(x, size, 1)
        return windows @ w, w.T @ windows.mT

    left, right = fg.compile(products)(x, w)
    np.testing.assert_allclose(left.numpy(), expected, 1e-10, 1e-10)
    np.testing.assert_allclose(right.numpy(), expected.swapaxes(1, 2), 1e-10, 1e-10)


FUNCTIONS: list[Callable[[Any], fg.Tensor]] = [
    lambda x: F.conv2d(x, np.ones((4, 3, 3, 2)), stride=2, padding=1),
    lambda x: F.conv_transpose2d(x, np.ones((3, 2, 2, 3)), stride=2),
    lambda x: F.max_pool2d(x, 2),
    lambda x: F.avg_pool2d(x, 3, 1, 1),
    lambda x: F.adaptive_avg_pool2d(x, 4),
    lambda x: F.unfold(x, 2),
    lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_batches_and_directions(number: int) -> None:
    function = FUNCTIONS[number]
    many, direction = RNG.standard_normal((3, 2, 3, 6, 5)), RNG.standard_normal((2, 3, 6, 5))
    expected = np.stack([function(x).numpy() for x in many])
    np.testing.assert_allclose(fg.vmap(function)(many).numpy(), expected, 1e-12, 1e-12)
    _, slope = fg.jvp(function, (many[0],), (direction,))
    _, pullback = fg.vjp(function, many[0])
    cotangent = RNG.standard_normal(slope.shape)
    (back,) = pullback(fg.asarray(cotangent))
    total = (slope.numpy() * cotangent).sum()
    np.testing.assert_allclose(total, (back.numpy() * direction).sum(), 1e-9)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("sizes", [(1, 1), (5, 3), (5, 4), (3, 6), (6, 6), (2, 7)])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_sequences(name: str, sizes: tuple[int, int], mode: Any) -> None:
    a, v = (RNG.integers(-9, 9, size) for size in sizes)
    expected = getattr(np, name)(a, v, mode)
    np.testing.assert_array_equal(getattr(fg, name)(a, v, mode).numpy(), expected, strict=True)
    found = getattr(fg, name)(a.astype("float32"), v, mode)
    assert found.dtype is fg.float32
    np.testing.assert_allclose(found.numpy(), expected)


def test_sequences_have_gradients() -> None:
    check_grads(lambda a, v: fg.sin(fg.convolve(a, v)), (RNG.standard_normal(5), [1.0, 2.0, -1.0]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fg.reduce_window(np.ones((2, 5)), "sum", (3, 1)),
            ShapeError,
            "reduce_window: a window of 3 elements with dilation 1 does not fit axis 0 of shape "
            "(2, 5) with padding (0, 0)",
        ),
        (
            lambda: fg.reduce_window(np.ones(5), "mean", 2),  # type: ignore[arg-type]
            ShapeError,
            "reduce_window: there is no reduction 'mean'",
        ),
        (
            lambda: fg.reduce_window(np.ones(5, bool), "max", 2),
            DTypeError,
            "reduce_window takes numbers, not bool",
        ),
        (
            lambda: fg.reduce_window(np.ones((5, 5)), "max", 2, padding=[(1, 1)]),
            ShapeError,
            "reduce_window: padding has 1 pairs for 2 axes",
        ),
        (
            lambda: fg.conv_general_dilated(
                np.ones((3, 1, 4)), np.ones((2, 1, 2)), 1, "VALID", batch_group_count=2
            ),
            ShapeError,
            "conv_general_dilated: 3 images and 2 output channels in 2 groups",
        ),
        (
            lambda: fg.sliding_window_view(np.ones((2, 3)), 4, 1),
            ShapeError,
            "sliding_window_view: a window of 4 does not fit axis 1 of shape (2, 3)",
        ),
        (
            lambda: fg.sliding_window_view(np.ones((2, 3)), 2),
            ShapeError,
            "sliding_window_view: a window of shape (2,) for axes (0, 1)",
        ),
        (
            lambda: fg.convolve(np.ones((2, 3)), [1.0]),
            ShapeError,
            "convolve takes arrays with one axis, not of shape (2, 3)",
        ),
        (lambda: fg.correlate([], [1.0]), EmptyReductionError, "correlate: a sequence is empty"),
        (
            lambda: fg.convolve([1.0], [1.0], "half"),  # type: ignore[arg-type]
            ShapeError,
            "convolve: there is no mode 'half'",
        ),
    ],
)
def test_errors(call: Callable[[], object], error: Any, message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert raised.value.message == message
