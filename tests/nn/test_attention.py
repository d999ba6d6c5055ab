"""Attention and transformers: against NumPy, their gradients, their edges, what they refuse."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn
from fusegrad.errors import DTypeError, ShapeError
from fusegrad.testing import check_grads

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def reference(q: Any, k: Any, v: Any, added: Any = 0.0, scale: float | None = None) -> Any:
    """The definition."""
    scores = np.einsum("...le,...se->...ls", q, k) * (scale or q.shape[-1] ** -0.5) + added
    power = np.exp(scores - scores.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True) @ v


def causal(queries: int, keys: int) -> Any:
    return np.where(np.arange(queries)[:, None] >= np.arange(keys), 0.0, -np.inf)


SHAPES = [
    ((5, 4), (5, 4), (5, 4)),
    ((2, 3, 7, 4), (2, 3, 9, 4), (2, 3, 9, 6)),
    ((2, 3, 1, 1), (2, 3, 9, 1), (2, 3, 9, 2)),
    ((3, 7, 4), (1, 1, 4), (1, 1, 5)),
    ((0, 7, 4), (0, 5, 4), (0, 5, 4)),
    ((2, 0, 4), (2, 5, 4), (2, 5, 4)),
]


@pytest.mark.parametrize(("query", "key", "value"), SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["plain", "causal", "booleans", "numbers"])
def test_against_the_definition(query: Any, key: Any, value: Any, kind: str) -> None:
    q, k, v = normal(*query), normal(*key), normal(*value)
    options: dict[str, Any] = {}
    added: Any = 0.0
    if kind == "causal":
        options["is_causal"], added = True, causal(query[-2], key[-2])
    elif kind == "booleans":
        seen = RNG.random((query[-2], key[-2])) > 0.5
        seen[:, 0] = True
        options["attn_mask"], added = seen, np.where(seen, 0.0, -np.inf)
    elif kind == "numbers":
        options["attn_mask"] = added = normal(query[-2], key[-2])
    expected = reference(q, k, v, added)

    def run(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, **options)

    for function in (run, fg.compile(run)):
        np.testing.assert_allclose(function(q, k, v).numpy(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True}, {"scale": 0.7, "attn_mask": np.arange(35).reshape(5, 7) % 3 > 0}],
    ids=str,
)
def test_gradients(options: dict[str, Any]) -> None:
    def run(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, **options)

    check_grads(run, (normal(2, 5, 4), normal(2, 7, 4), normal(2, 7, 3)), order=2)


def test_gradient_of_the_mask() -> None:
    q, k, v = normal(2, 5, 4), normal(2, 7, 4), normal(2, 7, 3)
    run = F.scaled_dot_product_attention
    check_grads(lambda m: run(q, k, v, attn_mask=m), (normal(5, 7),), order=2)


@pytest.mark.parametrize("numbers", [False, True])
def test_queries_that_see_nothing(numbers: bool) -> None:
    seen = np.ones((5, 7), bool)
    seen[0] = False
    mask = np.where(seen, 0.0, -np.inf) if numbers else seen
    q, k, v = normal(5, 4), normal(7, 4), normal(7, 3)

    @fg.compile
    def step(q: Any, k: Any, v: Any) -> Any:
        def run(q: Any, k: Any, v: Any) -> Any:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

        value, pull = fg.vjp(run, q, k, v)
        return value, pull(fg.ones_like(value))

    value, gradients = step(q, k, v)
    assert (value.numpy()[0] == 0).all()
    np.testing.assert_allclose(value.numpy()[1:], reference(q, k, v)[1:], rtol=1e-11)
    assert (gradients[0].numpy()[0] == 0).all()
    for gradient in gradients:
        assert np.isfinite(gradient.numpy()).all()


def test_no_keys() -> None:
    found = F.scaled_dot_product_attention(normal(5, 4), normal(0, 4), normal(0, 3))
    assert (found.numpy() == np.zeros((5, 3))).all()


def test_large_scores_do_not_overflow() -> None:
    q = np.array([[1e4, 0.0]], np.float32)
    k = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    found = F.scaled_dot_product_attention(q, k, np.array([[1.0], [5.0]], np.float32))
    assert found.numpy().tolist() == [[1.0]]


def test_dropout_of_weights() -> None:
    q, k = normal(1, 4), normal(400, 4)
    found = F.scaled_dot_product_attention(q, k, np.eye(400), dropout_p=0.25).numpy()[0]
    whole = reference(q, k, np.eye(400))[0]
    dropped = found == 0
    assert 0.15 < dropped.mean() < 0.35
    np.testing.assert_allclose(found[~dropped], whole[~dropped] / 0.75, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_in_float32(dtype: str) -> None:
    q, k, v = (fg.asarray(normal(2, 40, 8), dtype=dtype) for _ in range(3))
    found = F.scaled_dot_product_attention(q, k, v)
    assert found.dtype is getattr(fg, dtype)
    exact = reference(*(x.astype("float64").numpy() for x in (q, k, v)))
    unit = 2.0**-8 if dtype == "bfloat16" else 2.0**-11
    np.testing.assert_allclose(found.astype("float64").numpy(), exact, rtol=1.01 * unit, atol=1e-5)


def test_shared_heads() -> None:
    q, k, v = normal(2, 6, 5, 4), normal(2, 2, 7, 4), normal(2, 2, 7, 4)
    run = F.scaled_dot_product_attention
    found = run(q, k, v, enable_gqa=True).numpy()
    expected = reference(q, k.repeat(3, 1), v.repeat(3, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    with pytest.raises(ShapeError, match="5 heads of query, 2 of key, 2 of value"):
        run(q[:, :5], k, v, enable_gqa=True)


def test_what_attention_refuses() -> None:
    q = normal(5, 4)
    run = F.scaled_dot_product_attention
    with pytest.raises(ShapeError, match=r"attention of a query, key and value of shapes \(5, 4\)"):
        run(q, normal(5, 3), q)
    with pytest.raises(ShapeError, match="shapes"):
        run(q[0], q, q)
    with pytest.raises(ValueError, match="both attn_mask and is_causal"):
        run(q, q, q, attn_mask=np.ones((5, 5), bool), is_causal=True)
    with pytest.raises(DTypeError, match=r"a mask of int64.*"):
        run(q, q, q, attn_mask=np.ones((5, 5), int))
    with pytest.raises(ShapeError, match="embed_dim 8 for num_heads 3"):
        nn.MultiheadAttention(8, 3)
    layer, x = nn.MultiheadAttention(8, 2), np.ones((5, 3, 8), np.float32)
    with pytest.raises(ShapeError, match=r"attn_mask of shape \(5, 4\)"):
        layer(x, x, x, attn_mask=np.ones((5, 4), bool))
    with pytest.raises(ShapeError, match=r"key_padding_mask of shape \(5, 3\)"):
        layer(x, x, x, key_padding_mask=np.ones((5, 3), bool))
    with pytest.raises(ValueError, match="give both"):
        layer(x, x, x, is_causal=True)
    with pytest.raises(ShapeError, match="the batches differ"):
        layer(x, x[:, :2], x[:, :2])
    with pytest.raises(ValueError, match="'relu', 'gelu' or a function, not 'tanh'"):
        nn.TransformerEncoderLayer(8, 2, activation="tanh")


def test_weights_of_heads() -> None:
    layer, x = nn.MultiheadAttention(8, 2), normal(5, 3, 8).astype(np.float32)
    mean, weights = layer(x, x, x)[1], layer(x, x, x, average_attn_weights=False)[1]
    assert weights.shape == (3, 2, 5, 5)
    np.testing.assert_allclose(weights.detach().numpy().sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(mean.detach().numpy(), weights.detach().numpy().mean(1), rtol=1e-5)
    assert layer(x, x, x, need_weights=False)[1] is None


def test_layers_of_an_encoder_are_copies() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)
    encoder = nn.TransformerEncoder(layer, 2)
    first, second = encoder.layers
    assert first.linear1.weight is not second.linear1.weight
    x = normal(5, 3, 8).astype(np.float32)
    np.testing.assert_array_equal(encoder(x).detach().numpy(), layer(layer(x)).detach().numpy())
    assert copy.deepcopy(encoder)(x).shape == (5, 3, 8)


def test_embedding_options() -> None:
    layer = nn.Embedding(4, 2, max_norm=1.0)
    table = fg.asarray([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0], [0.0, 0.0]])
    layer.load_state_dict({"weight": table})
    rows = layer(np.array([0, 1, 0])).detach().numpy()
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], rtol=1e-5)
    assert layer.weight.detach().numpy()[2].tolist() == [6.0, 8.0]
    counted = nn.Embedding(4, 2, scale_grad_by_freq=True, padding_idx=1)
    counted(np.array([0, 0, 0, 2, 1])).sum().backward()
    assert counted.weight.grad is not None
    np.testing.assert_allclose(counted.weight.grad.numpy()[:, 0], [1, 0, 1, 0], rtol=1e-6)
    frozen = nn.Embedding.from_pretrained(np.eye(3, dtype=np.float32))
    assert not frozen.weight.requires_grad
    with pytest.raises(ShapeError, match=r"a table of shape \(3,\)"):
        nn.Embedding.from_pretrained(np.zeros(3))
    with pytest.raises(ShapeError, match=r"and a weight of shape \(1, 2, 3\)"):
        F.bilinear(np.ones(3), np.ones(3), fg.ones((1, 2, 3)))
