"""Activations, losses and layers against torch's formulas, written again in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.errors import DTypeError, ShapeError

erf = np.vectorize(math.erf)
Array = np.ndarray[Any, Any]
rng = np.random.default_rng(0)


def sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def check(
    function: Callable[[Any], Any], reference: Callable[[Array], Array], x: Array, grad: bool = True
) -> None:
    """Values in both precisions, and the gradient in double against central differences."""
    expected = reference(x)
    single = function(fg.asarray(x.astype(np.float32)))
    assert single.dtype is fg.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=2e-5, atol=1e-6)
    variable = fg.asarray(x, requires_grad=True)
    value = function(variable)
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    if not grad:
        return
    weights = rng.standard_normal(expected.shape)
    (value * weights).sum().backward()
    assert variable.grad is not None
    direction = rng.standard_normal(x.shape)
    step = 1e-6
    ahead, behind = reference(x + step * direction), reference(x - step * direction)
    slope = ((ahead - behind) * weights).sum() / (2 * step)
    np.testing.assert_allclose((variable.grad.numpy() * direction).sum(), slope, rtol=1e-6)


ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Array]]] = {
    "relu": (F.relu, lambda x: np.maximum(x, 0)),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    "gelu": (F.gelu, lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2)))),
    "gelu_tanh": (
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    ),
    "tanh": (F.tanh, np.tanh),
    "sigmoid": (F.sigmoid, sigmoid),
    "silu": (F.silu, lambda x: x * sigmoid(x)),
    "softplus": (F.softplus, lambda x: np.logaddexp(x, 0)),
    "logsigmoid": (F.logsigmoid, lambda x: -np.logaddexp(-x, 0)),
    "softmax": (F.softmax, lambda x: np.exp(log_softmax(x, -1))),
    "softmax_first": (lambda x: F.softmax(x, dim=0), lambda x: np.exp(log_softmax(x, 0))),
    "log_softmax": (lambda x: F.log_softmax(x, dim=1), lambda x: log_softmax(x, 1)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4)])
def test_activations(name: str, shape: tuple[int, ...]) -> None:
    function, reference = ACTIVATIONS[name]
    check(function, reference, rng.standard_normal(shape) * 3)


@pytest.mark.parametrize(
    ("function", "slope"),
    [(F.relu, 0.0), (F.sigmoid, 0.25), (F.softplus, 0.5), (F.silu, 0.5), (F.leaky_relu, 0.01)],
)
def test_slopes_at_zero(function: Callable[[Any], Any], slope: float) -> None:
    x = fg.zeros(3, requires_grad=True)
    function(x).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "silu", "softplus", "logsigmoid", "softmax", "gelu"])
def test_nothing_overflows(name: str) -> None:
    function = ACTIVATIONS[name][0]
    x = fg.asarray([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True)
    y = function(x)
    y.sum().backward()
    assert x.grad is not None
    assert np.isfinite(y.detach().numpy()).all()
    assert np.isfinite(x.grad.numpy()).all()


def test_nan_stays_nan() -> None:
    for function in (F.relu, F.leaky_relu, F.gelu, F.sigmoid, F.softplus):
        assert np.isnan(function(fg.asarray([np.nan])).numpy()).all()


def test_gelu_refuses_other_approximations() -> None:
    with pytest.raises(ValueError, match="'none' or 'tanh', not 'sigmoid'"):
        F.gelu(1.0, approximate="sigmoid")  # type: ignore[arg-type]


# --- losses ---------------------------------------------------------------------------------------


def reduced(terms: Array, reduction: str) -> Array:
    return {"none": terms, "mean": np.asarray(terms.mean()), "sum": np.asarray(terms.sum())}[
        reduction
    ]


def cross_entropy(
    x: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """torch's formula, element by element, for classes along axis 1."""
    classes = x.shape[1]
    logs = np.moveaxis(log_softmax(x, 1), 1, -1)
    w = np.ones(classes) if weight is None else weight
    if target.dtype.kind == "f":
        smooth = np.moveaxis(target, 1, -1) * (1 - label_smoothing) + label_smoothing / classes
        return reduced(-(smooth * logs * w).sum(-1), reduction)
    terms, scales = np.zeros(target.shape), np.zeros(target.shape)
    for index in np.ndindex(target.shape):
        label = target[index]
        if label == ignore_index:
            continue
        even = -(logs[index] * w).sum() / classes
        terms[index] = (1 - label_smoothing) * -logs[index][label] * w[label]
        terms[index] += label_smoothing * even
        scales[index] = w[label]
    return (
        np.asarray(terms.sum() / scales.sum()) if reduction == "mean" else reduced(terms, reduction)
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignored", [None, 1, -100])
def test_cross_entropy(
    reduction: Any, shape: tuple[int, ...], weighted: bool, smoothing: float, ignored: int | None
) -> None:
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    if ignored is not None:
        labels.flat[0] = ignored
    options: dict[str, Any] = {
        "weight": rng.uniform(0.5, 2, shape[1]) if weighted else None,
        "ignore_index": ignored,
        "reduction": reduction,
        "label_smoothing": smoothing,
    }

    def function(x: Any) -> Any:
        weight = options["weight"]
        if weight is not None and x.dtype is fg.float32:
            weight = weight.astype(np.float32)
        return F.cross_entropy(x, labels, **{**options, "weight": weight})

    check(function, lambda x: cross_entropy(x, labels, **options), rng.standard_normal(shape))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_dtypes_of_labels(dtype: str) -> None:
    x, labels = rng.standard_normal((4, 3)), np.array([0, 2, 1, 2], dtype)
    value = float(F.cross_entropy(x, labels))
    np.testing.assert_allclose(value, cross_entropy(x, labels.astype(int)))


def test_cross_entropy_of_one_sample() -> None:
    x = rng.standard_normal(5)
    np.testing.assert_allclose(float(F.cross_entropy(x, 3)), -log_softmax(x, 0)[3])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_against_probabilities(reduction: Any, smoothing: float) -> None:
    target = rng.dirichlet(np.ones(4), 6)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}

    def function(x: Any) -> Any:
        own = target.astype(np.float32) if x.dtype is fg.float32 else target
        return F.cross_entropy(x, own, **options)

    check(function, lambda x: cross_entropy(x, target, **options), rng.standard_normal((6, 4)))


def test_the_gradient_of_cross_entropy() -> None:
    x, labels = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    variable = fg.asarray(x, requires_grad=True)
    F.cross_entropy(variable, labels).backward()
    expected = (np.exp(log_softmax(x, 1)) - np.eye(4)[labels]) / 5
    assert variable.grad is not None
    np.testing.assert_allclose(variable.grad.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_nll_loss() -> None:
    x, labels = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    logs = F.log_softmax(x)
    np.testing.assert_allclose(float(F.nll_loss(logs, labels)), cross_entropy(x, labels))


def test_what_cross_entropy_refuses() -> None:
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(ShapeError) as error:
        F.cross_entropy(x, np.zeros((4, 1), int))
    assert error.value.message == (
        "cross_entropy of scores of shape (4, 3) needs labels of shape (4,), not (4, 1)"
    )
    with pytest.raises(DTypeError, match="needs integers as labels, not bool"):
        F.cross_entropy(x, np.zeros(4, bool))
    with pytest.raises(ShapeError, match="not equal"):
        F.cross_entropy(x, np.zeros(4, np.float32))
    with pytest.raises(ShapeError, match=r"weight has shape \(2,\) and \(3,\) is needed"):
        F.cross_entropy(x, np.zeros(4, int), np.ones(2))
    with pytest.raises(ValueError, match="reduction is"):
        F.cross_entropy(x, np.zeros(4, int), reduction="average")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="label_smoothing lies between"):
        F.cross_entropy(x, np.zeros(4, int), label_smoothing=2.0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_and_l1(reduction: Any) -> None:
    target = rng.standard_normal((3, 4)).astype(np.float32).astype(float)

    def own(x: Any) -> Array:
        return target.astype(np.float32) if x.dtype is fg.float32 else target

    x = rng.standard_normal((3, 4))
    check(
        lambda x: F.mse_loss(x, own(x), reduction),
        lambda x: reduced((x - target) ** 2, reduction),
        x,
    )
    check(
        lambda x: F.l1_loss(x, own(x), reduction), lambda x: reduced(abs(x - target), reduction), x
    )
    with pytest.raises(ShapeError, match=r"mse_loss compares shapes \(3, 4\) and \(3, 1\)"):
        F.mse_loss(x, x[:, :1])


@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_with_logits(weighted: bool) -> None:
    target = rng.integers(0, 2, (5, 3)).astype(float)
    weight = np.array([0.5, 1.0, 2.0]) if weighted else None
    pos_weight = np.array([1.0, 3.0, 0.25]) if weighted else None

    def function(x: Any) -> Any:
        parts = [
            None if a is None else a.astype(x.dtype.name) for a in (target, weight, pos_weight)
        ]
        return F.binary_cross_entropy_with_logits(x, parts[0], parts[1], pos_weight=parts[2])

    def reference(x: Array) -> Array:
        scale = 1 if pos_weight is None else pos_weight
        terms = -(scale * target * -np.logaddexp(-x, 0) + (1 - target) * -np.logaddexp(x, 0))
        return np.asarray((terms * (1 if weight is None else weight)).mean())

    check(function, reference, rng.standard_normal((5, 3)) * 4)


# --- layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_linear(shape: tuple[int, ...]) -> None:
    weight, bias = rng.standard_normal((4, 7)), rng.standard_normal(4)

    def function(x: Any) -> Any:
        kind = x.dtype.name
        return F.linear(x, fg.asarray(weight.astype(kind)), fg.asarray(bias.astype(kind)))

    check(function, lambda x: x @ weight.T + bias, rng.standard_normal(shape))


@pytest.mark.parametrize(("shape", "normalized"), [((5, 6), (6,)), ((2, 3, 4), (3, 4)), ((6,), 6)])
@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm(shape: tuple[int, ...], normalized: Any, affine: bool) -> None:
    inner = (normalized,) if isinstance(normalized, int) else normalized
    weight, bias = rng.standard_normal(inner), rng.standard_normal(inner)
    axes = tuple(range(-len(inner), 0))

    def function(x: Any) -> Any:
        kind = x.dtype.name
        parts = [fg.asarray(a.astype(kind)) for a in (weight, bias)] if affine else []
        return F.layer_norm(x, normalized, *parts)

    def reference(x: Array) -> Array:
        normal = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
        return normal * weight + bias if affine else normal

    check(function, reference, rng.standard_normal(shape) * 2 + 1)


def test_layer_norm_of_large_means_keeps_its_precision() -> None:
    x = rng.standard_normal((2, 64)).astype(np.float32) + 4096
    wide = x.astype(float)
    expected = (wide - wide.mean(1, keepdims=True)) / wide.std(1, keepdims=True)
    np.testing.assert_allclose(F.layer_norm(x, 64).numpy(), expected, atol=2e-3)


def test_layer_norm_refuses_other_shapes() -> None:
    with pytest.raises(ShapeError, match=r"over shape \(4,\) cannot take .* shape \(2, 3\)"):
        F.layer_norm(np.zeros((2, 3), np.float32), 4)


def test_embedding() -> None:
    weight, ids = rng.standard_normal((5, 3)), np.array([[1, 1], [4, 0]])
    table = fg.asarray(weight, requires_grad=True)
    rows = F.embedding(ids, table, padding_idx=-1)
    assert (rows.detach().numpy() == weight[ids]).all()
    rows.sum().backward()
    assert table.grad is not None
    assert table.grad.numpy()[:, 0].tolist() == [1, 2, 0, 0, 0]
    with pytest.raises(DTypeError, match="needs integers"):
        F.embedding(np.zeros(3), table)


def test_one_hot() -> None:
    assert F.one_hot(np.array([1, 0]), 3).numpy().tolist() == [[0, 1, 0], [1, 0, 0]]
    assert F.one_hot([[2]]).numpy().tolist() == [[[0, 0, 1]]]
    assert F.one_hot([2]).dtype is fg.int64


def test_dropout() -> None:
    x = fg.ones((200, 200), requires_grad=True)
    y = F.dropout(x, 0.25)
    values = y.detach().numpy()
    assert set(np.unique(values)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((values == 0).mean() - 0.25) < 0.01
    y.sum().backward()
    assert x.grad is not None
    assert (x.grad.numpy() == values).all()
    assert (F.dropout(x, 0.25).detach().numpy() != values).any()


def test_dropout_at_its_ends() -> None:
    x = fg.ones(5)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).numpy().tolist() == [0] * 5
    with pytest.raises(ValueError, match="between 0 and 1"):
        F.dropout(x, 1.5)


@pytest.mark.parametrize("label", [-1, -100, 3, 1 << 40])
def test_a_label_that_is_no_class_gives_nan(label: int) -> None:
    scores = np.zeros((2, 3), "float32")
    for loss in (F.cross_entropy, F.nll_loss):
        assert np.isnan(float(loss(scores, np.array([0, label]))))
        assert np.isnan(float(fg.compile(loss)(scores, np.array([0, label]))))
    ignored = F.cross_entropy(scores, np.array([0, label]), ignore_index=label)
    assert float(ignored) == pytest.approx(np.log(3))
