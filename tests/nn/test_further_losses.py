"""Losses beside the common ones: values against NumPy, gradients, compiled code, modules."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn
from fusegrad.errors import DTypeError, ShapeError
from fusegrad.testing import check_grads

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 5))
Y = RNG.standard_normal((4, 5))
Z = RNG.standard_normal((4, 5))
P = RNG.uniform(0.05, 0.95, (4, 5))
SIGNS = np.array([1, -1, 1, -1])
LABELS = np.array([3, 0, 4, 0])
SEVERAL = np.array([[3, 0, -1, 1, 2], [-1, 0, 0, 0, 0], [0, 1, 2, 3, 4], [2, -1, 2, 2, 2]])
WEIGHT = np.array([1.0, 0.5, 2.0, 0.25, 1.5])


def softplus(x: Any) -> Any:
    return np.logaddexp(x, 0)


def norm(x: Any, p: float = 2.0) -> Any:
    return (abs(x + 1e-6) ** p).sum(-1) ** (1 / p)


def smooth(x: Any, y: Any, beta: float = 1.0) -> Any:
    d = abs(x - y)
    return np.where(d < beta, d * d / (2 * beta), d - beta / 2)


def huber(x: Any, y: Any, delta: float = 1.0) -> Any:
    d = abs(x - y)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def cosines(x: Any, y: Any) -> Any:
    return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


def multi_margin(x: Any, labels: Any, p: int = 1, margin: float = 1.0, weight: Any = None) -> Any:
    out = []
    for row, label in zip(x, labels, strict=True):
        others = [j for j in range(len(row)) if j != label]
        terms = sum(max(0, margin - row[label] + row[j]) ** p for j in others)
        out.append(terms / len(row) * (1 if weight is None else weight[label]))
    return np.array(out)


def multilabel(x: Any, labels: Any) -> Any:
    out = []
    for row, own in zip(x, labels, strict=True):
        wanted = list(itertools.takewhile(lambda label: label >= 0, own))
        others = [j for j in range(len(row)) if j not in wanted]
        terms = sum(max(0, 1 - row[i] + row[j]) for i in wanted for j in others)
        out.append(terms / len(row))
    return np.array(out)


def triplet(a: Any, p: Any, n: Any, margin: float = 1.0, swap: bool = False) -> Any:
    far = np.minimum(norm(a - n), norm(p - n)) if swap else norm(a - n)
    return np.maximum(margin + norm(a - p) - far, 0)


# name, module, floating operands, other operands, options, values
CASES: list[tuple[str, Any, list[Any], list[Any], dict[str, Any], Any]] = [
    ("smooth_l1_loss", nn.SmoothL1Loss, [X, Y], [], {}, smooth(X, Y)),
    ("smooth_l1_loss", nn.SmoothL1Loss, [X, Y], [], {"beta": 0.3}, smooth(X, Y, 0.3)),
    ("smooth_l1_loss", nn.SmoothL1Loss, [X, Y], [], {"beta": 0}, abs(X - Y)),
    ("huber_loss", nn.HuberLoss, [X, Y], [], {"delta": 0.5}, huber(X, Y, 0.5)),
    ("kl_div", nn.KLDivLoss, [X], [P], {}, P * (np.log(P) - X)),
    ("kl_div", nn.KLDivLoss, [X, Y], [], {"log_target": True}, np.exp(Y) * (Y - X)),
    (
        *("binary_cross_entropy", nn.BCELoss, [P], [Y > 0], {"weight": WEIGHT}),
        -WEIGHT * np.where(Y > 0, np.log(P), np.log(1 - P)),
    ),
    ("poisson_nll_loss", nn.PoissonNLLLoss, [X], [abs(Y)], {}, np.exp(X) - abs(Y) * X),
    (
        *("poisson_nll_loss", nn.PoissonNLLLoss, [P], [np.array(3.0)]),
        {"log_input": False, "full": True},
        P - 3 * np.log(P + 1e-8) + 3 * np.log(3) - 3 + 0.5 * np.log(6 * np.pi),
    ),
    (
        *("gaussian_nll_loss", nn.GaussianNLLLoss, [X, Y, P[:, 0]], [], {"full": True}),
        0.5 * (np.log(2 * np.pi * P[:, :1]) + (X - Y) ** 2 / P[:, :1]),
    ),
    (
        *("margin_ranking_loss", nn.MarginRankingLoss, [X[0, :4], Y[0, :4]], [SIGNS]),
        {"margin": 0.5},
        np.maximum(0.5 - SIGNS * (X - Y)[0, :4], 0),
    ),
    (
        *("hinge_embedding_loss", nn.HingeEmbeddingLoss, [P[0, :4]], [SIGNS], {}),
        np.where(SIGNS == 1, P[0, :4], 1 - P[0, :4]),
    ),
    (
        *("cosine_embedding_loss", nn.CosineEmbeddingLoss, [X, Y], [SIGNS], {"margin": 0.1}),
        np.where(SIGNS == 1, 1 - cosines(X, Y), np.maximum(cosines(X, Y) - 0.1, 0)),
    ),
    (
        *("soft_margin_loss", nn.SoftMarginLoss, [X[:, 0]], [SIGNS], {}),
        softplus(-SIGNS * X[:, 0]),
    ),
    ("multi_margin_loss", nn.MultiMarginLoss, [X], [LABELS], {}, multi_margin(X, LABELS)),
    (
        *("multi_margin_loss", nn.MultiMarginLoss, [X], [LABELS]),
        {"p": 2, "margin": 0.7, "weight": WEIGHT},
        multi_margin(X, LABELS, 2, 0.7, WEIGHT),
    ),
    (
        *("multilabel_margin_loss", nn.MultiLabelMarginLoss, [X], [SEVERAL], {}),
        multilabel(X, SEVERAL),
    ),
    (
        *("multilabel_soft_margin_loss", nn.MultiLabelSoftMarginLoss, [X], [Y > 0]),
        {"weight": WEIGHT},
        (WEIGHT * (softplus(X) - (Y > 0) * X)).mean(-1),
    ),
    ("triplet_margin_loss", nn.TripletMarginLoss, [X, Y, Z], [], {}, triplet(X, Y, Z)),
    (
        *("triplet_margin_loss", nn.TripletMarginLoss, [X, Y, Z], []),
        {"swap": True, "margin": 2.0},
        triplet(X, Y, Z, 2.0, swap=True),
    ),
    (
        *("triplet_margin_with_distance_loss", nn.TripletMarginWithDistanceLoss, [X, Y, Z], []),
        {"distance_function": lambda a, b: abs(a - b).sum(axis=-1), "margin": 3.0},
        np.maximum(3 + abs(X - Y).sum(-1) - abs(X - Z).sum(-1), 0),
    ),
]
IDS = [f"{case[0]}-{position}" for position, case in enumerate(CASES)]


@pytest.mark.parametrize(
    ("name", "module", "floats", "others", "options", "expected"), CASES, ids=IDS
)
@pytest.mark.parametrize("wrap", [lambda f: f, fg.compile], ids=["recorded", "compiled"])
def test_values(
    name: str,
    module: Any,
    floats: list[Any],
    others: list[Any],
    options: dict[str, Any],
    expected: Any,
    wrap: Callable[[Any], Any],
) -> None:
    function = getattr(F, name)

    def losses(*operands: Any) -> Any:
        kinds = ["none", "mean", "sum"]
        return [function(*operands, reduction=kind, **options) for kind in kinds]

    found = wrap(losses)(*map(fg.asarray, floats), *map(fg.asarray, others))
    for actual, wanted in zip(found, [expected, expected.mean(), expected.sum()], strict=True):
        assert actual.dtype is fg.float64
        np.testing.assert_allclose(actual.numpy(), wanted, rtol=1e-9, atol=1e-12)
    layer = module(reduction="sum", **options)
    assert float(layer(*floats, *others)) == pytest.approx(expected.sum())


@pytest.mark.parametrize(("name", "_", "floats", "others", "options", "expected"), CASES, ids=IDS)
def test_gradients(
    name: str, _: Any, floats: list[Any], others: list[Any], options: dict[str, Any], expected: Any
) -> None:
    function = getattr(F, name)
    check_grads(
        lambda *x: function(*x, *others, **options), tuple(map(fg.asarray, floats)), order=2
    )


def test_reductions_of_their_own() -> None:
    total = (P * (np.log(P) - X)).sum()
    assert float(F.kl_div(X, P, reduction="batchmean")) == pytest.approx(total / 4)
    assert float(F.kl_div([0.0], [0.0], reduction="sum")) == 0
    weighted = F.huber_loss(X, Y, weight=P)
    assert float(weighted) == pytest.approx((huber(X, Y) * P).sum() / P.sum())


def test_edges_of_probabilities() -> None:
    p = fg.asarray([0.0, 1.0, 0.0, 1.0], dtype="float32").requires_grad_()
    terms = F.binary_cross_entropy(p, [1.0, 0.0, 0.0, 1.0], reduction="none")
    assert terms.tolist() == [100, 100, 0, 0]
    terms.sum().backward()
    assert p.grad is not None
    assert np.isfinite(p.grad.numpy()).all()
    assert p.grad.tolist()[0] < -1e11


def test_single_rows() -> None:
    assert F.multi_margin_loss(X[0], 3, reduction="none").shape == ()
    assert F.multilabel_margin_loss(X[0], SEVERAL[0], reduction="none").shape == ()
    assert F.cosine_embedding_loss(X[0], Y[0], 1, reduction="none").shape == ()


def test_distances() -> None:
    for p in (1.0, 2.0, 3.0):
        np.testing.assert_allclose(F.pairwise_distance(X, Y, p).numpy(), norm(X - Y, p))
        pairs = [
            (abs(X[i] - X[j]) ** p).sum() ** (1 / p) for i in range(4) for j in range(i + 1, 4)
        ]
        np.testing.assert_allclose(F.pdist(X, p).numpy(), pairs)
    assert F.pairwise_distance(X, Y, keepdim=True).shape == (4, 1)
    check_grads(lambda x: F.pdist(x), (fg.asarray(X),), order=2)
    assert F.pdist(X[:1]).shape == (0,)


# --- sequences ------------------------------------------------------------------------------------


def alignments(logs: Any, labels: list[int], blank: int) -> float:
    """The loss over all paths, one by one."""
    total = -np.inf
    for path in itertools.product(range(logs.shape[1]), repeat=logs.shape[0]):
        merged = [c for c, _ in itertools.groupby(path) if c != blank]
        if merged == labels:
            total = np.logaddexp(total, sum(logs[t, c] for t, c in enumerate(path)))
    return float(-total)


LOGS = np.log(RNG.dirichlet(np.ones(3), (5, 4)))
STEPS = [5, 4, 3, 5]
COUNTS = [2, 2, 3, 0]


@pytest.mark.parametrize("wrap", [lambda f: f, fg.compile], ids=["recorded", "compiled"])
def test_alignments(wrap: Any) -> None:
    rows = np.array([[1, 2, 1], [2, 2, 1], [1, 2, 1], [1, 1, 1]])
    expected = [
        alignments(LOGS[:t, n], rows[n, :count].tolist(), 0)
        for n, (t, count) in enumerate(zip(STEPS, COUNTS, strict=True))
    ]
    loss = wrap(lambda *x: F.ctc_loss(*x, reduction="none"))
    found = loss(fg.asarray(LOGS), fg.asarray(rows), fg.asarray(STEPS), fg.asarray(COUNTS))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    flat = [
        label for row, count in zip(rows.tolist(), COUNTS, strict=True) for label in row[:count]
    ]
    joined = F.ctc_loss(LOGS, flat, STEPS, COUNTS, reduction="none")
    np.testing.assert_allclose(joined.numpy(), expected, rtol=1e-9)
    mean = float(F.ctc_loss(LOGS, rows, STEPS, COUNTS))
    assert mean == pytest.approx(np.mean(np.array(expected) / np.maximum(COUNTS, 1)))
    other = F.ctc_loss(LOGS[:, 0], [0, 1], 5, 2, blank=2, reduction="sum")
    assert float(other) == pytest.approx(alignments(LOGS[:, 0], [0, 1], 2))
    assert float(nn.CTCLoss()(LOGS[:, 0], [1, 2], 5, 2)) == pytest.approx(expected[0] / 2)


def test_sequences_without_an_alignment() -> None:
    impossible = (LOGS[:2], [[1, 1]] * 4, [2] * 4, [2] * 4)
    assert F.ctc_loss(*impossible, reduction="none").tolist() == [np.inf] * 4
    assert float(F.ctc_loss(*impossible, zero_infinity=True)) == 0


def test_gradient_of_alignments() -> None:
    def loss(x: Any) -> Any:
        return F.ctc_loss(F.log_softmax(x), [[1, 2], [2, 2]], [4, 3], [2, 1], reduction="sum")

    check_grads(loss, (fg.asarray(LOGS[:4, :2]),), order=2)


# --- draws ----------------------------------------------------------------------------------------


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    fg.random.seed(0)
    x = fg.random.normal((200, 500))
    y = F.alpha_dropout(x, 0.3, training=True)
    assert float(y.mean()) == pytest.approx(0, abs=0.02)
    assert float(y.var()) == pytest.approx(1, abs=0.02)
    assert F.alpha_dropout(x, 1.0, training=True).count_nonzero() == 0
    features = F.feature_alpha_dropout(fg.ones((50, 40, 3)), training=True)
    assert {len(set(row)) for plane in features.tolist() for row in plane} == {1}
    with pytest.raises(ValueError, match="a probability lies between 0 and 1, 2 does not"):
        F.alpha_dropout(x, 2, training=True)


def test_random_slopes() -> None:
    fg.random.seed(0)
    slopes = -F.rrelu(-fg.ones(10_000), training=True)
    low, high = float(slopes.min()), float(slopes.max())
    assert 1 / 8 <= low < 0.13
    assert 0.33 < high < 1 / 3
    x = fg.asarray([-1.0, 2.0])
    F.rrelu(x, 0.5, 0.5, inplace=True)
    assert x.tolist() == [-0.5, 2]


def test_soft_and_hard_draws_of_classes() -> None:
    fg.random.seed(0)
    logits = fg.log(fg.asarray([0.2, 0.5, 0.3])).broadcast_to((20_000, 3))
    hard = F.gumbel_softmax(logits, 0.5, hard=True)
    np.testing.assert_allclose(hard.mean(axis=0).numpy(), [0.2, 0.5, 0.3], atol=0.015)
    soft = F.gumbel_softmax(logits.T, dim=0)
    np.testing.assert_allclose(soft.sum(axis=0).numpy(), 1, rtol=1e-6)
    x = fg.asarray([0.0, 1.0]).requires_grad_()
    F.gumbel_softmax(x, hard=True)[0].backward()
    assert x.grad is not None
    assert x.grad.tolist()[0] > 0


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: F.smooth_l1_loss(X, Y[0]), ShapeError, r"smooth_l1_loss compares shapes \(4, 5\)"),
        (lambda: F.smooth_l1_loss(X, Y, beta=-1), ValueError, "beta is -1"),
        (lambda: F.huber_loss(X, Y, delta=0), ValueError, "delta is greater than 0, 0 is not"),
        (lambda: F.kl_div(X, P, "batch"), ValueError, "reduction is 'none', 'mean' or 'sum'"),
        (
            lambda: F.gaussian_nll_loss(X, Y, [1.0, 2.0]),
            ShapeError,
            r"variances of shape \(2,\) do not fit an input of shape \(4, 5\)",
        ),
        (
            lambda: F.margin_ranking_loss(X, Y, 1),
            ShapeError,
            r"shapes \(4, 5\), \(4, 5\) and \(\)",
        ),
        (lambda: F.cosine_embedding_loss(X, Y, SEVERAL), ShapeError, "needs vectors and a number"),
        (lambda: F.multi_margin_loss(X, LABELS, p=3), ValueError, "p is 1 or 2, not 3"),
        (
            lambda: F.multi_margin_loss(X, SEVERAL),
            ShapeError,
            r"labels of shape \(4, 5\) do not fit scores of shape \(4, 5\)",
        ),
        (lambda: F.multi_margin_loss(X, X[:, 0]), DTypeError, "needs integers as labels"),
        (lambda: F.triplet_margin_loss(X, Y, Z, margin=0), ValueError, "margin is greater than 0"),
        (lambda: F.pairwise_distance(1.0, 2.0), ShapeError, "needs vectors, not numbers"),
        (lambda: F.pdist(X[0]), ShapeError, r"rows of shape \(N, M\), not \(5,\)"),
        (lambda: F.ctc_loss(X[0], [1], 1, 1), ShapeError, r"of shape \(T, N, C\)"),
        (
            lambda: F.ctc_loss(LOGS, [1, 2, 1], STEPS, [1, 1, 1, 1]),
            ShapeError,
            r"3 targets are no rows of \[1, 1, 1, 1\] labels",
        ),
    ],
)
def test_what_is_refused(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
