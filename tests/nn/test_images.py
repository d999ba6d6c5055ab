"""Padding, interpolation, columns, shuffles and normalisation as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.errors import DTypeError, ShapeError
from fusegrad.testing import check_grads

RNG = np.random.default_rng(0)
Array = np.ndarray[Any, Any]


def both(function: Callable[..., fg.Tensor], *args: Array) -> Array:
    """The value, recorded and compiled, which agree."""
    value = function(*args).numpy()
    compiled = fg.compile(function)(*args).numpy()
    np.testing.assert_allclose(compiled, value, 1e-6, 1e-6, strict=True)
    return value


@pytest.mark.parametrize(
    ("mode", "numpys"),
    [("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")],
)
@pytest.mark.parametrize("widths", [(1, 2), (3, 0, 1, 2), (0, 1, 2, 1, 1, 0)])
def test_pad(mode: Any, numpys: Any, widths: tuple[int, ...]) -> None:
    x = RNG.standard_normal((2, 3, 4))
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    if mode == "reflect":
        pairs = pairs[:2]
    expected = np.pad(x, [*[(0, 0)] * (3 - len(pairs)), *pairs[::-1]], mode=numpys)
    flat = [width for pair in pairs for width in pair]
    np.testing.assert_array_equal(both(lambda x: F.pad(x, flat, mode), x), expected)
    check_grads(lambda x: fg.sin(F.pad(x, flat, mode)), (x[:1],))


def test_padding_cuts_and_fills() -> None:
    x = np.arange(6).reshape(2, 3)
    assert F.pad(x, (-1, 1), value=9).numpy().tolist() == [[1, 2, 9], [4, 5, 9]]
    assert F.pad(x, (-1, 1), "replicate").numpy().tolist() == [[1, 2, 2], [4, 5, 5]]
    assert F.pad(np.ones((1, 0)), (1, 1)).numpy().tolist() == [[0, 0]]
    assert F.pad(np.ones((1, 1), bool), (0, 1)).numpy().tolist() == [[True, False]]
    assert np.isinf(F.pad(np.ones(1, "float32"), (1, 0), value=-np.inf).numpy()[0])


def test_nearest() -> None:
    x = np.arange(10.0).reshape(1, 2, 5)
    for count in (1, 3, 5, 7, 10):
        places = np.arange(count) * 5 // count
        found = both(lambda x, count=count: F.interpolate(x, count), x)
        np.testing.assert_array_equal(found, x[:, :, places])
    whole = np.arange(6, dtype=np.int64).reshape(1, 1, 2, 3)
    doubled = F.interpolate(whole, scale_factor=2)
    assert doubled.dtype is fg.int64
    np.testing.assert_array_equal(doubled.numpy(), whole.repeat(2, 2).repeat(2, 3))


@pytest.mark.parametrize("count", [1, 2, 4, 9])
@pytest.mark.parametrize("aligned", [False, True])
def test_linear(count: int, aligned: bool) -> None:
    x = RNG.standard_normal((2, 1, 4))
    at = (np.arange(count) + 0.5) * 4 / count - 0.5
    if aligned:
        at = np.arange(count) * (3 / (count - 1) if count > 1 else 0)
    expected = np.stack([[np.interp(at, np.arange(4), row[0])] for row in x])
    found = both(lambda x: F.interpolate(x, count, mode="linear", align_corners=aligned), x)
    np.testing.assert_allclose(found, expected, 1e-12, 1e-12)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 1, 4), {"size": 7}),
        ((1, 2, 3), {"scale_factor": 2}),
        ((1, 1, 5), {"size": 3, "mode": "linear"}),
        ((1, 1, 3, 2), {"scale_factor": 1.5, "mode": "bilinear"}),
        ((1, 1, 3, 2), {"size": (4, 3), "mode": "bicubic"}),
        ((1, 1, 2, 3, 2), {"size": (3, 2, 3), "mode": "trilinear", "align_corners": True}),
        ((1, 1, 5, 4), {"size": (2, 3), "mode": "area"}),
    ],
    ids=str,
)
def test_interpolation_has_gradients(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    check_grads(lambda x: fg.sin(F.interpolate(x, **options)), (RNG.standard_normal(shape),))


def test_fewer_elements_are_means() -> None:
    x = RNG.standard_normal((1, 1, 4, 8))
    found = F.interpolate(x, (4, 4), mode="bilinear", antialias=True).numpy()
    padded = np.pad(x, [(0, 0), (0, 0), (0, 0), (1, 1)])
    weights = np.array([0.125, 0.375, 0.375, 0.125])
    expected = sum(w * padded[..., i : i + 8 : 2][..., :4] for i, w in enumerate(weights))
    np.testing.assert_allclose(found[..., 1:-1], expected[..., 1:-1], 1e-12)
    np.testing.assert_allclose(found[..., 0], expected[..., 0] / 0.875, 1e-12)
    with pytest.raises(ShapeError, match="mode 'nearest' has no antialias"):
        F.interpolate(x, 2, antialias=True)


def test_interpolation_keeps_constants() -> None:
    for mode, shape in (("bicubic", (1, 1, 4, 5)), ("bilinear", (1, 1, 4, 5)), ("area", (1, 1, 7))):
        found = F.interpolate(np.full(shape, 3.0), scale_factor=1.7, mode=mode)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.numpy(), 3, 1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_columns(stride: int) -> None:
    x = RNG.standard_normal((2, 3, 5, 6))
    options: dict[str, Any] = {"stride": stride, "padding": (1, 0), "dilation": (1, 2)}
    columns = both(lambda x: F.unfold(x, (2, 3), **options), x)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 0)])
    starts = [(i, j) for i in range(0, 6, stride) for j in range(0, 2, stride)]
    expected = np.stack(
        [padded[:, :, i : i + 2, j : j + 5 : 2].reshape(2, -1) for i, j in starts], -1
    )
    np.testing.assert_array_equal(columns, expected)
    g = RNG.standard_normal(columns.shape)
    back = both(lambda g: F.fold(g, (5, 6), (2, 3), **options), g)
    np.testing.assert_allclose((back * x).sum(), (columns * g).sum(), 1e-10)
    np.testing.assert_array_equal(F.unfold(x[0], (2, 3), **options).numpy(), columns[0])
    check_grads(lambda x: fg.sin(F.unfold(x, (2, 3), **options)), (x[:1, :1],))
    check_grads(lambda g: fg.sin(F.fold(g, (5, 6), (2, 3), **options)), (g[:1, :6],))


def test_convolution_is_a_product_of_columns() -> None:
    x, w = RNG.standard_normal((2, 3, 6, 5)), RNG.standard_normal((4, 3, 3, 2))

    def product(x: Any, w: Any) -> fg.Tensor:
        y = fg.reshape(w, (4, -1)) @ F.unfold(x, (3, 2), stride=2)
        return fg.reshape(y, (2, 4, 2, 2))

    np.testing.assert_allclose(both(product, x, w), F.conv2d(x, w, stride=2).numpy(), 1e-10)


def test_shuffles_are_inverse() -> None:
    x = RNG.standard_normal((2, 8, 3, 4))
    y = F.pixel_shuffle(x, 2)
    np.testing.assert_array_equal(y.numpy()[0, 0, :2, 0], x[0, [0, 2], 0, 0])
    np.testing.assert_array_equal(F.pixel_unshuffle(y, 2).numpy(), x)
    z = F.channel_shuffle(x, 4)
    np.testing.assert_array_equal(z.numpy()[:, 1], x[:, 2])
    np.testing.assert_array_equal(F.channel_shuffle(z, 2).numpy(), x)


# --- normalisation --------------------------------------------------------------------------------


def normalised(x: Array, axes: tuple[int, ...], eps: float = 1e-5) -> Array:
    variance = x.var(axes, keepdims=True)
    return np.asarray((x - x.mean(axes, keepdims=True)) / np.sqrt(variance + eps))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 1, 2)])
def test_statistics_of_batches(shape: tuple[int, ...]) -> None:
    x = RNG.standard_normal(shape) * 3 + 1
    scale, shift = RNG.uniform(1, 2, 3), RNG.standard_normal(3)
    column = (3, *[1] * (len(shape) - 2))
    axes = (0, *range(2, len(shape)))
    mean, variance = fg.asarray(shift), fg.asarray(scale)

    def train(x: Any) -> fg.Tensor:
        return F.batch_norm(x, mean, variance, scale, shift, True, 0.25)  # type: ignore[arg-type]

    expected = normalised(x, axes) * scale.reshape(column) + shift.reshape(column)
    np.testing.assert_allclose(fg.compile(train)(x).numpy(), expected, 1e-9, 1e-9)
    np.testing.assert_allclose(mean.numpy(), 0.75 * shift + 0.25 * x.mean(axes))
    np.testing.assert_allclose(variance.numpy(), 0.75 * scale + 0.25 * x.var(axes, ddof=1))
    found = F.batch_norm(x, fg.asarray(shift), fg.asarray(scale), eps=0.5).numpy()
    centred = x - shift.reshape(column)
    np.testing.assert_allclose(found, centred / np.sqrt(scale.reshape(column) + 0.5), 1e-12)


def test_groups_and_instances() -> None:
    x = RNG.standard_normal((2, 6, 4, 3))
    found = both(lambda x: F.group_norm(x, 3), x)
    expected = normalised(x.reshape(2, 3, -1), (2,)).reshape(x.shape)
    np.testing.assert_allclose(found, expected, 1e-9)
    found = both(lambda x: F.instance_norm(x), x)
    np.testing.assert_allclose(found, normalised(x, (2, 3)), 1e-9)
    np.testing.assert_allclose(found, F.group_norm(x, 6).numpy(), 1e-9)


def test_batch_norm_has_derivatives_of_every_kind() -> None:
    """With a weight and a bias it has a rule; written out it has none."""
    x, w, b, d = (RNG.standard_normal(s) for s in ((3, 4, 2), 4, 4, (3, 4, 2)))

    def written(x: Any, w: Any, b: Any) -> Any:
        centred = x - x.mean(axis=(0, 2), keepdims=True)
        variance = (centred * centred).mean(axis=(0, 2), keepdims=True)
        return centred / fg.sqrt(variance + 1e-5) * w[:, None] + b[:, None]

    def layer(x: Any, w: Any, b: Any) -> Any:
        return F.batch_norm(x, None, None, w, b, True)

    given = [fg.asarray(v) for v in (x, w, b)]
    cube, tangent = fg.asarray(d) ** 3, fg.asarray(d)
    for derivative in (
        lambda f: fg.grad(lambda *a: (f(*a) * cube).sum(), argnums=(0, 1, 2))(*given),
        lambda f: fg.jvp(lambda x: f(x, *given[1:]), (given[0],), (tangent,)),
        lambda f: fg.grad(
            lambda x: (fg.grad(lambda x: (f(x, *given[1:]) ** 3).sum())(x) ** 2).sum()
        )(given[0]),
        lambda f: fg.vmap(lambda x: f(x, *given[1:]))(fg.stack([given[0], tangent])),
    ):
        pairs = [derivative(f) for f in (layer, written)]
        found, meant = ([p] if isinstance(p, fg.Tensor) else list(p) for p in pairs)
        for value, expected in zip(found, meant, strict=True):
            np.testing.assert_allclose(np.asarray(value), np.asarray(expected), 1e-8, 1e-8)


def test_norms_have_gradients() -> None:
    x, w = RNG.standard_normal((3, 4, 2)), RNG.standard_normal(4)
    functions: list[Callable[..., Any]] = [
        lambda x, w: F.batch_norm(x, None, None, w, w, True),
        lambda x, w: F.group_norm(x, 2, w, w),
        lambda x, w: F.instance_norm(x, weight=w, bias=w, eps=0.1),
        lambda x, w: F.local_response_norm(x, 3, 0.5),
        lambda x, w: F.rms_norm(fg.moveaxis(x, 1, 2), 4, w),
        lambda x, w: F.normalize(x, dim=1),
        lambda x, w: F.cosine_similarity(x, w[:, None]),
    ]
    for function in functions:
        check_grads(lambda x, w, f=function: fg.sin(f(x, w)), (x, w))


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_gradient_of_a_zero_vector_is_finite(p: float) -> None:
    gradient = fg.grad(lambda x: F.normalize(x, p, dim=0).sum())(np.zeros(3))
    assert np.isfinite(gradient.numpy()).all()


@pytest.mark.parametrize("wrap", [lambda f: f, fg.compile], ids=["plain", "compiled"])
def test_cosine_similarity(wrap: Callable[..., Any]) -> None:
    x, y = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 3, 1))
    both = np.sqrt((x * x).sum(0) * (y * y).sum(1))
    expected = (x * y).sum(1) / both
    found = wrap(lambda x, y: F.cosine_similarity(x, y))(x, y)
    np.testing.assert_allclose(found.numpy(), expected, 1e-12)
    zero = wrap(fg.value_and_grad(lambda x: F.cosine_similarity(x, np.ones(3), dim=-1)))
    value, gradient = zero(np.zeros(3))
    assert float(value) == 0
    assert np.isfinite(gradient.numpy()).all()
    large = fg.full((1, 2), 6e4, dtype="float16")
    np.testing.assert_allclose(F.cosine_similarity(large, -large).numpy(), -1)


def test_dropping_channels() -> None:
    fg.random.seed(0)
    x = np.ones((3, 40, 2, 2), np.float32)
    kept = F.dropout2d(x, 0.5).numpy().reshape(3, 40, 4)
    assert set(np.unique(kept)) == {0.0, 2.0}
    assert (kept == kept[:, :, :1]).all()
    assert F.dropout1d(x[0, :, 0], 0.5, False).numpy().all()
    assert F.dropout3d(np.ones((2, 3, 1, 2, 2)), 0.0).numpy().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.pad(np.ones(3), (1,)), "pad: 1 widths for an input of shape (3,)"),
        (
            lambda: F.pad(np.ones(3), (3, 0), "reflect"),
            "pad: 3 more in mode 'reflect' on axis 0 of shape (3,)",
        ),
        (
            lambda: F.pad(np.ones(0), (1, 0), "replicate"),
            "pad: 1 more in mode 'replicate' on axis 0 of shape (0,)",
        ),
        (lambda: F.pad(np.ones(3), (1, 0), "edge"), "pad: there is no mode 'edge'"),  # type: ignore[arg-type]
        (
            lambda: F.interpolate(np.ones((1, 1, 3))),
            "interpolate takes either size or scale_factor",
        ),
        (
            lambda: F.interpolate(np.ones((1, 1, 3)), 2, mode="bilinear"),
            "interpolate: mode 'bilinear' takes 4 axes, not an input of shape (1, 1, 3)",
        ),
        (
            lambda: F.interpolate(np.ones((1, 1, 3)), 2, align_corners=True),
            "interpolate: mode 'nearest' has no align_corners",
        ),
        (
            lambda: F.interpolate(np.ones((1, 1, 3)), 0),
            "interpolate from extents (3,) to (0,)",
        ),
        (
            lambda: F.unfold(np.ones((1, 2, 3)), 4),
            "unfold: a window of 4 elements with dilation 1 does not fit axis -2 of the input of "
            "shape (1, 2, 3) with padding 0",
        ),
        (
            lambda: F.fold(np.ones((1, 4, 3)), 3, 2),
            "fold: an input of shape (1, 4, 3) for windows of (2, 2) in (3, 3), where there is "
            "room for 4 windows",
        ),
        (
            lambda: F.pixel_shuffle(np.ones((1, 3, 2, 2)), 2),
            "pixel_shuffle by 2 cannot take an input of shape (1, 3, 2, 2)",
        ),
        (lambda: F.group_norm(np.ones((1, 3)), 2), "group_norm: 3 channels in 2 groups"),
        (
            lambda: F.batch_norm(np.ones((1, 3)), None, None, training=True),
            "batch_norm: one value for each channel, in an input of shape (1, 3)",
        ),
        (
            lambda: F.batch_norm(np.ones((2, 3)), None, None),
            "batch_norm without training has no running statistics",
        ),
        (
            lambda: F.batch_norm(np.ones((2, 3)), fg.ones(2), fg.ones(3)),
            "batch_norm: running_mean has shape (2,) for 3 channels",
        ),
        (
            lambda: F.instance_norm(np.ones((2, 3, 1))),
            "instance_norm: one value for each channel, in an input of shape (2, 3, 1)",
        ),
        (
            lambda: F.dropout2d(np.ones(3)),
            "dropout2d: an input of shape (3,) has 1 axes, not 4 (or 3 without a batch)",
        ),
    ],
)
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ShapeError) as raised:
        call()
    assert raised.value.message == message
    assert "test_images.py" in str(raised.value)


def test_numbers_between_integers() -> None:
    with pytest.raises(DTypeError, match="mode 'linear' takes floats, not int64"):
        F.interpolate(np.ones((1, 1, 3), np.int64), 2, mode="linear")
