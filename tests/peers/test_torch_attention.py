"""Attention, transformers and the options of embeddings against torch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def close(found: Any, expected: Any, name: str = "", rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), rtol=rtol, atol=rtol / 10, err_msg=name
    )


BOOLEANS = RNG.random((5, 7)) > 0.4
BOOLEANS[2] = False
CASES: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("plain", (2, 3, 5, 4), (2, 3, 7, 4), {}),
    ("two axes", (5, 4), (7, 4), {}),
    ("causal", (2, 3, 5, 4), (2, 3, 7, 4), {"is_causal": True}),
    ("causal, long queries", (2, 7, 4), (2, 5, 4), {"is_causal": True, "scale": 0.3}),
    ("booleans", (2, 3, 5, 4), (2, 3, 7, 4), {"attn_mask": BOOLEANS}),
    ("numbers", (2, 3, 5, 4), (2, 3, 7, 4), {"attn_mask": normal(2, 1, 5, 7)}),
    ("minus infinity", (3, 5, 4), (3, 7, 4), {"attn_mask": np.where(BOOLEANS, 0.5, -np.inf)}),
    ("groups", (2, 6, 5, 4), (2, 2, 7, 4), {"enable_gqa": True}),
    ("groups, causal", (2, 6, 5, 4), (2, 3, 7, 4), {"enable_gqa": True, "is_causal": True}),
    ("groups, mask", (2, 6, 5, 4), (2, 3, 7, 4), {"enable_gqa": True, "attn_mask": BOOLEANS}),
    (
        "groups, masks of heads",
        (2, 6, 5, 4),
        (2, 3, 7, 4),
        {"enable_gqa": True, "attn_mask": normal(1, 6, 5, 7)},
    ),
]


@pytest.mark.parametrize(("query", "key", "options"), [c[1:] for c in CASES], ids=lambda c: "")
def test_scaled_dot_product_attention(
    query: tuple[int, ...], key: tuple[int, ...], options: dict[str, Any]
) -> None:
    given = [normal(*query), normal(*key), normal(*key[:-1], 3)]
    theirs = [torch.tensor(x, requires_grad=True) for x in given]
    options_there = dict(options)
    if "attn_mask" in options:
        options_there["attn_mask"] = torch.tensor(options["attn_mask"])
    backend = torch.nn.attention.SDPBackend.MATH
    with torch.nn.attention.sdpa_kernel(backend):
        expected = torch.nn.functional.scaled_dot_product_attention(*theirs, **options_there)
    weights, seconds = normal(*expected.shape), [normal(*x.shape) for x in given]
    first = torch.autograd.grad((expected * torch.tensor(weights)).sum(), theirs, create_graph=True)
    product = sum((g * torch.tensor(s)).sum() for g, s in zip(first, seconds, strict=True))
    second = torch.autograd.grad(product, theirs)

    def loss(q: Any, k: Any, v: Any) -> Any:
        return (F.scaled_dot_product_attention(q, k, v, **options) * weights).sum()

    def directional(q: Any, k: Any, v: Any) -> Any:
        gradients = fg.grad(loss, argnums=(0, 1, 2))(q, k, v)
        return sum((g * s).sum() for g, s in zip(gradients, seconds, strict=True))

    @fg.compile
    def everything(q: Any, k: Any, v: Any) -> Any:
        return (
            F.scaled_dot_product_attention(q, k, v, **options),
            fg.grad(loss, argnums=(0, 1, 2))(q, k, v),
            fg.grad(directional, argnums=(0, 1, 2))(q, k, v),
        )

    value, found, found_second = everything(*given)
    close(value, expected)
    for a, b in zip((*found, *found_second), (*first, *second), strict=True):
        close(a, b)


HEADS: list[tuple[str, str]] = [
    ("nn.MultiheadAttention(8, 2)", "x, x, x"),
    ("nn.MultiheadAttention(8, 2)", "x, y, y, need_weights=False"),
    ("nn.MultiheadAttention(8, 4, bias=False)", "x, y, z, average_attn_weights=False"),
    ("nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True)", "x, y, y, padding"),
    ("nn.MultiheadAttention(8, 2, add_bias_kv=True)", "x, y, y, attn_mask=mask"),
    ("nn.MultiheadAttention(8, 2, batch_first=True)", "xb, xb, xb"),
    ("nn.MultiheadAttention(8, 2, batch_first=True)", "xb, yb, yb, padding, attn_mask=mask"),
    ("nn.MultiheadAttention(8, 2, kdim=6, vdim=4)", "x, narrow, narrower"),
    ("nn.MultiheadAttention(8, 2, kdim=6, vdim=4, bias=False)", "x, narrow, narrower"),
    ("nn.MultiheadAttention(8, 2)", "x[:, 0], y[:, 0], y[:, 0]"),
    ("nn.MultiheadAttention(8, 2)", "x, x, x, attn_mask=causal, is_causal=True"),
    ("nn.MultiheadAttention(8, 2)", "x, y, y, attn_mask=heads, need_weights=False"),
    ("nn.MultiheadAttention(8, 2)", "x, y, y, numbers, attn_mask=mask_numbers"),
    ("nn.TransformerEncoderLayer(8, 2, 16)", "x"),
    ("nn.TransformerEncoderLayer(8, 2, 16, activation='gelu', norm_first=True)", "x, causal"),
    ("nn.TransformerEncoderLayer(8, 2, 16, bias=False, batch_first=True)", "xb, None, own"),
    ("nn.TransformerDecoderLayer(8, 2, 16)", "x, y"),
    ("nn.TransformerDecoderLayer(8, 2, 16, norm_first=True)", "x, y, causal, mask, own, padding"),
    ("nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)", "x, causal"),
    (
        "nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2, nn.LayerNorm(8))",
        "x, y, tgt_mask=causal, tgt_is_causal=True",
    ),
    ("nn.Transformer(8, 2, 2, 1, 16)", "y, x, tgt_mask=causal"),
    ("nn.Transformer(8, 2, 1, 1, 16, batch_first=True, norm_first=True)", "yb, xb"),
]
PADDING = np.zeros((3, 7), bool)
PADDING[1, 4:] = True
INPUTS: dict[str, Any] = {
    "x": normal(5, 3, 8),
    "y": normal(7, 3, 8),
    "z": normal(7, 3, 8),
    "xb": normal(3, 5, 8),
    "yb": normal(3, 7, 8),
    "narrow": normal(7, 3, 6),
    "narrower": normal(7, 3, 4),
    "padding": PADDING,
    "own": PADDING[:, :5],
    "numbers": normal(3, 7),
    "mask": np.triu(np.ones((5, 7), bool), 3),
    "mask_numbers": normal(5, 7),
    "causal": np.triu(np.ones((5, 5), bool), 1),
    "heads": RNG.random((6, 5, 7)) > 0.6,
}


@pytest.mark.parametrize(("text", "call"), HEADS, ids=lambda given: str(given))
@pytest.mark.filterwarnings("ignore")
def test_layers(text: str, call: str) -> None:
    own, peer = eval(text, {"nn": nn}).eval(), eval(text, {"nn": torch.nn}).double().eval()
    state = {name: value.numpy().copy() for name, value in peer.state_dict().items()}
    drawn = own.state_dict()
    assert [(n, v.shape) for n, v in drawn.items()] == [(n, v.shape) for n, v in state.items()]
    own.to("float64")
    own.load_state_dict(state)
    floats = [name for name, value in INPUTS.items() if value.dtype == float]
    arguments = {k: torch.tensor(v, requires_grad=k in floats) for k, v in INPUTS.items()}
    expected = eval(f"run({call})", {"run": peer, **arguments})
    expected = [
        e for e in (expected if isinstance(expected, tuple) else [expected]) if e is not None
    ]
    weights = [normal(*e.shape) for e in expected]
    sum((e * torch.tensor(w)).sum() for e, w in zip(expected, weights, strict=True)).backward()

    @fg.compile
    def step(given: Any) -> Any:
        given = {k: v.requires_grad_() if k in floats else v for k, v in given.items()}
        results = eval(f"run({call})", {"run": own, **given})
        results = results if isinstance(results, tuple) else (results,)
        results = [r for r in results if r is not None]
        own.zero_grad()
        sum((r * w).sum() for r, w in zip(results, weights, strict=True)).backward()
        return results, {k: given[k].grad for k in floats if given[k].grad is not None}

    found, gradients = step({k: fg.asarray(v) for k, v in INPUTS.items()})
    for f, e in zip(found, expected, strict=True):
        close(f, e)
    for name, gradient in gradients.items():
        close(gradient, arguments[name].grad, name)
    assert sorted(gradients) == sorted(k for k in floats if arguments[k].grad is not None)
    peers = dict(peer.named_parameters())
    for name, parameter in own.named_parameters():
        close(parameter.grad, peers[name].grad, name)


def test_first_values_of_attention() -> None:
    own, peer = nn.MultiheadAttention(64, 8), torch.nn.MultiheadAttention(64, 8)
    for name, parameter in own.named_parameters():
        theirs = float(dict(peer.named_parameters())[name].detach().std())
        assert float(parameter.detach().std()) == pytest.approx(theirs, rel=0.1)


@pytest.mark.parametrize(
    "text",
    [
        "nn.Embedding(6, 3, padding_idx=2)",
        "nn.Embedding(6, 3, max_norm=1.0)",
        "nn.Embedding(6, 3, max_norm=2.0, norm_type=1.0)",
        "nn.Embedding(6, 3, scale_grad_by_freq=True)",
        "nn.Embedding(6, 3, -1, scale_grad_by_freq=True)",
        "nn.Bilinear(3, 2, 4)",
    ],
)
def test_embedding_and_bilinear(text: str) -> None:
    own, peer = eval(text, {"nn": nn}), eval(text, {"nn": torch.nn})
    assert repr(own) == repr(peer)
    own.load_state_dict({name: value.numpy().copy() for name, value in peer.state_dict().items()})
    given: tuple[Any, ...] = (np.array([[1, 2, 1], [5, 1, 0]]),)
    if "Bilinear" in text:
        given = (normal(5, 3).astype(np.float32), normal(5, 2).astype(np.float32))
    expected = peer(*map(torch.tensor, given))
    weights = normal(*expected.shape).astype(np.float32)
    (expected * torch.tensor(weights)).sum().backward()

    @fg.compile
    def step(*x: Any) -> Any:
        output = own(*x)
        own.zero_grad()
        (output * weights).sum().backward()
        return output

    close(step(*given), expected, rtol=1e-5)
    for (name, a), b in zip(own.named_parameters(), peer.parameters(), strict=True):
        close(a, b, name, rtol=1e-5)
        close(a.grad, b.grad, name, rtol=1e-5)
