"""Rows between products as one kernel: values, masks, derivatives, threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.codegen.dtypes import float32, int32
from fusegrad.codegen.expr import Buffer, Expr, Load, Var, const
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Let, Monoid, Stmt, Store, Tree
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.reach import reach
from fusegrad.runtime import threads

RNG = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = threads.num_threads()
    yield
    threads.set_num_threads(before)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def softmax(scores: Any) -> Any:
    power = np.exp(scores - scores.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def derivatives(weights: Any, q: Any, k: Any, v: Any, g: Any) -> tuple[Any, Any, Any]:
    """Of ``weights @ v``, where these are the softmax of ``q @ k.mT``, written out."""
    of_weights = g @ np.swapaxes(v, -1, -2)
    inner = (of_weights * weights).sum(-1, keepdims=True)
    of_scores = weights * (of_weights - inner)
    return of_scores @ k, np.swapaxes(of_scores, -1, -2) @ q, np.swapaxes(weights, -1, -2) @ g


def seen(rows: int, columns: int, offset: int = 0) -> Any:
    return np.arange(rows)[:, None] + offset >= np.arange(columns)


def positions(rows: int, columns: int) -> tuple[Any, Any]:
    return fg.arange(rows)[:, None], fg.arange(columns)


def where(s: Any) -> Any:
    i, j = positions(*s.shape[-2:])
    return fg.where(i >= j, s, -fg.inf)


def filled(s: Any) -> Any:
    i, j = positions(*s.shape[-2:])
    return fg.asarray(s).masked_fill(j > i, -fg.inf)


def added(s: Any) -> Any:
    i, j = positions(*s.shape[-2:])
    return s + fg.where(j < i + 1, 0.0, -fg.inf)


def triangle(s: Any) -> Any:
    return fg.where(fg.tril(fg.ones(s.shape[-2:])) > 0, s, -fg.inf)


def windowed(s: Any) -> Any:
    i, j = positions(*s.shape[-2:])
    return fg.where((i >= j) & (i - j < 20), s, -fg.inf)


def least(s: Any) -> Any:
    i, j = positions(*s.shape[-2:])
    return fg.where(i >= j, s, np.finfo(np.float32).min)


def shifted(s: Any) -> Any:
    i, j = positions(*s.shape[-2:])
    return fg.where(j <= i + 7, s, -fg.inf)


def biased(s: Any) -> Any:
    i, j = positions(*s.shape[-2:])
    return fg.where(i >= j, s - 0.1 * (i - j), -fg.inf)


def whole(s: Any) -> Any:
    return s


def plain(s: Any, *, offset: int = 0) -> Any:
    return np.where(seen(*s.shape[-2:], offset), s, -np.inf)


def in_window(s: Any) -> Any:
    i, j = np.arange(s.shape[-2])[:, None], np.arange(s.shape[-1])
    return np.where((i >= j) & (i - j < 20), s, -np.inf)


def with_bias(s: Any) -> Any:
    i, j = np.arange(s.shape[-2])[:, None], np.arange(s.shape[-1])
    return np.where(i >= j, s - 0.1 * (i - j), -np.inf)


MASKS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "where": (where, plain),
    "filled": (filled, plain),
    "added": (added, plain),
    "triangle": (triangle, plain),
    "least": (least, plain),
    "windowed": (windowed, in_window),
    "shifted": (shifted, lambda s: plain(s, offset=7)),
    "biased": (biased, with_bias),
    "whole": (whole, whole),
}
SHAPES = [
    ((2, 3, 130, 32), (2, 3, 130, 32), (2, 3, 130, 24)),
    ((3, 77, 20), (3, 150, 20), (3, 150, 33)),
    ((2, 200, 8), (2, 90, 8), (2, 90, 1)),
]


def kernels(function: Any) -> int:
    return int(function.stats().kernels)


@pytest.mark.parametrize("mask", MASKS)
def test_masks_and_derivatives(mask: str) -> None:
    """One kernel forward and one backward, whatever the mask is made of."""
    of_graph, of_numpy = MASKS[mask]
    for shapes in SHAPES[: 3 if mask in ("where", "whole") else 1]:
        q, k, v = (normal(*shape) for shape in shapes)
        weights = softmax(of_numpy(q @ np.swapaxes(k, -1, -2)))
        g = normal(*(weights @ v).shape)

        def attend(q: Any, k: Any, v: Any) -> Any:
            return F.softmax(of_graph(fg.matmul(q, fg.matrix_transpose(k))), -1) @ v

        forward = fg.compile(attend)
        np.testing.assert_allclose(forward(q, k, v).numpy(), weights @ v, rtol=2e-4, atol=2e-5)
        assert kernels(forward) == 1
        backward = fg.compile(lambda q, k, v, g: fg.vjp(attend, q, k, v)[1](g))
        found = backward(q, k, v, g)
        assert kernels(backward) == 1
        for one, other in zip(found, derivatives(weights, q, k, v, g), strict=True):
            np.testing.assert_allclose(one.numpy(), other, rtol=1e-3, atol=1e-4)


def test_one_matrix() -> None:
    """It is one kernel where it is wide, and what layers make one after the other is none."""
    q, k, v, g = normal(70, 8), normal(600, 8), normal(600, 40), normal(70, 40)
    weights = softmax(q @ k.T)

    def attend(q: Any, k: Any, v: Any) -> Any:
        return F.softmax(q @ k.T, -1) @ v

    forward = fg.compile(attend)
    np.testing.assert_allclose(forward(q, k, v).numpy(), weights @ v, rtol=2e-4, atol=2e-5)
    assert kernels(forward) == 1
    found = fg.compile(lambda q, k, v, g: fg.vjp(attend, q, k, v)[1](g))(q, k, v, g)
    for one, other in zip(found, derivatives(weights, q, k, v, g), strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-3, atol=1e-4)
    layers = fg.compile(attend)
    layers(normal(600, 8), normal(70, 8), normal(70, 40))
    assert kernels(layers) > 1


def test_what_is_behind_the_diagonal_is_not_read() -> None:
    q, k, v = normal(2, 128, 16), normal(2, 128, 16), normal(2, 128, 16)
    expected = softmax(plain(q @ np.swapaxes(k, -1, -2))) @ v
    k[:, 100:], v[:, 100:] = np.nan, np.nan
    found = fg.compile(lambda *a: F.softmax(where(a[0] @ fg.matrix_transpose(a[1])), -1) @ a[2])
    np.testing.assert_allclose(found(q, k, v).numpy()[:, :84], expected[:, :84], atol=1e-5)


def test_rows_that_see_nothing_and_nan() -> None:
    """Rows of minus infinity are NaN, as they are without the kernel, and no others."""
    q, k, v = normal(5, 64, 16), normal(5, 64, 16), normal(5, 64, 16)
    q[0, 3, 0] = np.nan
    hidden = np.zeros((64, 64), np.float32)
    hidden[9] = -np.inf

    def attend(q: Any, k: Any, v: Any, hidden: Any) -> Any:
        return F.softmax(q @ fg.matrix_transpose(k) + hidden, -1) @ v

    with np.errstate(invalid="ignore"):
        expected = softmax(q @ np.swapaxes(k, -1, -2) + hidden) @ v
    found = fg.compile(attend)
    np.testing.assert_allclose(found(q, k, v, hidden).numpy(), expected, rtol=1e-4, atol=1e-5)
    assert kernels(found) == 1


def test_dropout_and_shared_heads() -> None:
    fg.random.seed(0)
    q, k, v = normal(2, 4, 96, 16), normal(2, 2, 96, 16), np.ones((2, 2, 96, 16), np.float32)

    @fg.compile
    def step(v: Any) -> Any:
        def loss(v: Any) -> Any:
            return F.scaled_dot_product_attention(q, k, v, dropout_p=0.5, enable_gqa=True).sum()

        return fg.value_and_grad(loss)(v)

    value, slope = step(v)
    # What is dropped for the derivative is what was dropped before.
    np.testing.assert_allclose(float(value), float((slope * v).sum()), rtol=1e-5)
    assert 0.9 < float(value) / (4 * v.size / 2) < 1.1


def test_layouts_of_a_layer() -> None:
    """Heads that are slices of one product, and results that are put side by side."""
    x, w = normal(2, 100, 48), normal(48, 144) / 8

    def layer(x: Any, w: Any) -> Any:
        q, k, v = (
            t.reshape(2, 100, 3, 16).permute(0, 2, 1, 3) for t in fg.split(x @ w, 3, axis=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.permute(0, 2, 1, 3).reshape(2, 100, 48)

    def loss(x: Any, w: Any) -> Any:
        return (layer(fg.asarray(x), w) ** 2).sum()

    step = fg.value_and_grad(loss, argnums=(0, 1))
    with fg.eager():
        expected = step(x, w)
    found = fg.compile(step)(x, w)
    np.testing.assert_allclose(float(found[0]), float(expected[0]), rtol=1e-4)
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-3)


def test_rows_that_others_read_too() -> None:
    """The weights as a result, row statistics as another, float64."""
    q, k, v = (normal(5, 64, 16).astype(np.float64) for _ in range(3))

    def attend(q: Any, k: Any, v: Any) -> Any:
        scores = where(q @ fg.matrix_transpose(k))
        weights = F.softmax(scores, -1)
        return weights @ v, weights, fg.logsumexp(scores, axis=-1)

    scores = plain(q @ np.swapaxes(k, -1, -2))
    expected = softmax(scores) @ v, softmax(scores), np.log(np.exp(scores).sum(-1))
    for one, other in zip(fg.compile(attend)(q, k, v), expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-10, atol=1e-12)


def test_bits_do_not_depend_on_threads() -> None:
    arrays = [normal(2, 2, 150, 24) for _ in range(4)]

    def attend(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    step = fg.compile(lambda q, k, v, g: (attend(q, k, v), *fg.vjp(attend, q, k, v)[1](g)))
    found = []
    for count in (1, 2, 3, 4):
        threads.set_num_threads(count)
        found.append([t.numpy().tobytes() for t in step(*arrays)])
    assert all(bits == found[0] for bits in found)


# --- how far a row reaches ------------------------------------------------------------------------

ROW, COLUMN = Var("i"), Var("j")
SCORES = Buffer("s", float32, (64,), space="row")
POWERS = Buffer("p", float32, (64,), space="row")


def passes(masked: Expr) -> list[Stmt]:
    """The passes of a softmax of `masked`."""
    most, total, t = Var("m", float32), Var("a", float32), Var("t", float32)
    power = apply("exp", apply("sub", masked, most))
    lowest = const(float32.lowest, float32)
    return [
        For(COLUMN, 64, Tree((Monoid.MAX,)), (), ((most, lowest),), (masked,)),
        For(
            COLUMN,
            64,
            Tree((Monoid.SUM,)),
            (Let(t, power), Store(POWERS, (COLUMN,), t)),
            ((total, const(0, float32)),),
            (t,),
        ),
        For(COLUMN, 64, AnyOrder(), (Store(POWERS, (COLUMN,), Load(POWERS, (COLUMN,))),)),
    ]


@pytest.mark.parametrize(
    ("op", "left", "right", "expected"),
    [
        ("ge", ROW, COLUMN, 0),
        ("gt", ROW, COLUMN, None),
        ("le", COLUMN, ROW, 0),
        ("lt", COLUMN, apply("add", ROW, const(4, ROW.dtype)), 3),
        ("ge", apply("cast", ROW, dtype=int32), apply("cast", COLUMN, dtype=int32), 0),
        ("ge", COLUMN, ROW, None),
        ("ge", COLUMN, const(3, COLUMN.dtype), None),
    ],
    ids=str,
)
def test_reach_of_comparisons(op: str, left: Expr, right: Expr, expected: int | None) -> None:
    score = Load(SCORES, (COLUMN,))
    masked = apply("select", apply(op, left, right), score, const(float32.lowest, float32))
    assert reach(passes(masked), ROW, frozenset({POWERS})) == expected
    if expected is not None:
        condition = apply("not", apply(op, left, right))
        turned = apply("select", condition, const(float32.lowest, float32), score)
        assert reach(passes(turned), ROW, frozenset({POWERS})) == expected


@pytest.mark.parametrize("number", [0.0, -1e9])
def test_other_numbers_than_minus_infinity_count(number: float) -> None:
    score = Load(SCORES, (COLUMN,))
    masked = apply("select", apply("ge", ROW, COLUMN), score, const(number, float32))
    assert reach(passes(masked), ROW, frozenset({POWERS})) is None


def test_what_is_consumed_must_be_zero() -> None:
    score = Load(SCORES, (COLUMN,))
    lowest = const(float32.lowest, float32)
    masked = apply("select", apply("ge", ROW, COLUMN), score, lowest)
    assert reach(passes(masked), ROW, frozenset({POWERS, SCORES})) is None
