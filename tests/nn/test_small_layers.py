"""Structured initial values, parameters in containers and as a vector, and small layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim
from fusegrad.errors import GradientError, OptionError, ShapeError

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((2, 4, 3)).astype(np.float32)


@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (8, 3), (4, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    fg.random.seed(0)
    w = nn.Parameter(fg.empty(shape))
    assert nn.init.orthogonal_(w, gain=2.0) is w
    flat = w.detach().numpy().reshape(shape[0], -1)
    product = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
    assert w.is_leaf


def test_rotations_have_no_preferred_sign() -> None:
    fg.random.seed(0)
    corners = [nn.init.orthogonal_(fg.empty(2, 2))[0, 0].item() for _ in range(40)]
    assert 8 < sum(corner > 0 for corner in corners) < 32


def test_identities() -> None:
    np.testing.assert_array_equal(nn.init.eye_(fg.ones((2, 3))).numpy(), np.eye(2, 3))
    x = fg.asarray(RNG.standard_normal((2, 4, 5, 6)), dtype="float32")
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False, groups=2)
    nn.init.dirac_(conv.weight, groups=2)
    np.testing.assert_allclose(conv(x).detach().numpy(), x.numpy(), rtol=1e-6)
    plain = nn.Conv2d(4, 6, 3, padding=1, bias=False)
    nn.init.dirac_(plain.weight)
    np.testing.assert_allclose(plain(x)[:, :4].detach().numpy(), x.numpy(), rtol=1e-6)
    assert plain(x)[:, 4:].count_nonzero() == 0


def test_sparse_and_truncated() -> None:
    fg.random.seed(0)
    w = nn.init.sparse_(fg.empty(50, 40), 0.3, std=2.0).numpy()
    assert ((w == 0).sum(0) == 15).all()
    assert abs(w[w != 0].std() / 2 - 1) < 0.1
    t = nn.init.trunc_normal_(fg.empty(20_000), mean=1.0, std=2.0, a=0.0, b=4.0).numpy()
    assert 0 <= t.min() < 0.01
    assert 3.9 < t.max() <= 4
    low, high = -0.5, 1.5
    phi = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (low, high)]
    mass = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    assert t.mean() == pytest.approx(1 + 2 * (phi[0] - phi[1]) / mass, abs=0.03)


def test_initial_values_from_a_generator() -> None:
    makes: list[Any] = [
        nn.init.uniform_,
        nn.init.normal_,
        nn.init.xavier_uniform_,
        nn.init.kaiming_normal_,
        nn.init.orthogonal_,
        nn.init.trunc_normal_,
    ]
    for make in makes:
        one, two = (make(fg.empty(3, 4), generator=fg.random.Generator(7)) for _ in range(2))
        assert one.tolist() == two.tolist()


def test_lists_of_parameters() -> None:
    model = nn.Module()
    model.weights = nn.ParameterList([fg.ones(2), nn.Parameter([3.0])])
    model.weights.append(fg.zeros(1)).extend([fg.ones(4)])
    assert [name for name, _ in model.named_parameters()] == [f"weights.{i}" for i in range(4)]
    assert all(isinstance(p, nn.Parameter) for p in model.weights)
    model.weights[-1] = fg.full(4, 2.0)
    assert model.weights[3].tolist() == [2, 2, 2, 2]
    assert len(model.weights[1:3]) == 2
    assert "(0): (2,) float32" in repr(model.weights)
    with pytest.raises(IndexError, match="index 4 is out of range for 4 parameters"):
        model.weights[4]


def test_dicts_of_parameters() -> None:
    weights = nn.ParameterDict({"a": fg.ones(2)})
    weights["b"] = nn.Parameter([3.0])
    weights.update({"a": fg.zeros(2)})
    assert (list(weights), len(weights), "a" in weights) == (["a", "b"], 2, True)
    assert {name: p.tolist() for name, p in weights.items()} == {"a": [0, 0], "b": [3]}
    assert weights.pop("a").tolist() == [0, 0]
    assert [p.tolist() for p in weights.values()] == [[3]]
    assert sorted(weights.state_dict()) == ["b"]
    with pytest.raises(KeyError):
        weights["a"]
    with pytest.raises(KeyError):
        del weights["a"]


def test_parameters_in_containers_are_trained_when_compiled() -> None:
    weights = nn.ParameterList([fg.ones(2), fg.ones(2)])
    optimizer = optim.SGD(weights.parameters(), lr=0.5)

    @fg.compile
    def step(x: Any) -> Any:
        loss = sum(((w * x) ** 2).sum() for w in weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    assert float(step(fg.ones(2))) == 4
    assert float(step(fg.ones(2))) == 0


def test_parameters_as_a_vector() -> None:
    model = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(model.parameters())
    other = nn.Linear(2, 3)
    nn.utils.vector_to_parameters(vector, other.parameters())
    assert other.weight.tolist() == model.weight.tolist()
    assert other.bias.is_leaf
    vector.sum().backward()
    assert model.weight.grad is not None
    with pytest.raises(ShapeError, match=r"a vector of shape \(8,\) for 9 elements"):
        nn.utils.vector_to_parameters(vector[:8], model.parameters())


@pytest.mark.parametrize("kind", [1.0, 2.0, 3.0, math.inf])
def test_norms_and_clipping_apart(kind: float) -> None:
    gradients = [np.float32([3.0, -1.0]), np.float32([[2.0]])]
    one, two = ([nn.Parameter(np.zeros_like(g)) for g in gradients] for _ in range(2))
    for owner, gradient in zip([*one, *two], gradients * 2, strict=True):
        owner.grad = fg.asarray(gradient)
    norm = nn.utils.get_total_norm([p.grad for p in one], kind)
    flat = np.concatenate([g.ravel() for g in gradients])
    assert float(norm) == pytest.approx(np.linalg.norm(flat, kind), rel=1e-6)
    nn.utils.clip_grads_with_norm_(one, 1.5, norm)
    assert float(nn.utils.clip_grad_norm_(two, 1.5, kind)) == float(norm)
    for p, q in zip(one, two, strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert p.grad.tolist() == q.grad.tolist()
    assert float(nn.utils.get_total_norm([])) == 0
    with pytest.raises(GradientError, match="the norm of the gradients is inf"):
        nn.utils.get_total_norm([fg.asarray([math.inf])], error_if_nonfinite=True)


def test_small_layers() -> None:
    norms = [np.linalg.norm(a, axis=1) for a in (X, Y)]
    np.testing.assert_allclose(
        nn.CosineSimilarity()(X, Y).numpy(), (X * Y).sum(1) / norms[0] / norms[1], rtol=1e-5
    )
    np.testing.assert_allclose(
        nn.PairwiseDistance(keepdim=True)(X, Y).numpy()[:, 0],
        np.linalg.norm(X - Y + 1e-6, axis=1),
        rtol=1e-5,
    )
    power = np.exp(-X) / np.exp(-X).sum(1, keepdims=True)
    np.testing.assert_allclose(nn.Softmin(1)(X).numpy(), power, rtol=1e-5)
    image = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(nn.Softmax2d()(image).sum(axis=1).numpy(), 1, rtol=1e-5)
    assert nn.Unflatten(-1, (1, 3))(X).shape == (4, 1, 3)
    assert nn.RReLU(0.5, 0.5)([-2.0, 2.0]).tolist() == [-1, 2]
    for layer in (nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5), nn.RReLU()):
        before = layer(X).tolist() if isinstance(layer, nn.RReLU) else X.tolist()
        assert layer.train()(X).tolist() != before
        if not isinstance(layer, nn.RReLU):
            assert layer.eval()(X).tolist() == before
    texts = [repr(nn.Unflatten(1, (2, 3))), repr(nn.AlphaDropout(0.25)), repr(nn.RReLU(0.1, 0.2))]
    assert texts == [
        "Unflatten(dim=1, unflattened_size=(2, 3))",
        "AlphaDropout(p=0.25, inplace=False)",
        "RReLU(lower=0.1, upper=0.2)",
    ]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: nn.init.eye_(fg.ones(3)), ShapeError, r"not a tensor of shape \(3,\)"),
        (lambda: nn.init.dirac_(fg.ones((3, 3))), ShapeError, "dirac_ fills the weights"),
        (lambda: nn.init.dirac_(fg.ones((3, 3, 3)), 2), OptionError, "not divided by 2 groups"),
        (lambda: nn.init.orthogonal_(fg.ones(3)), ShapeError, "at least two axes"),
        (lambda: nn.init.sparse_(fg.ones(3), 0.1), ShapeError, "sparse_ fills a matrix"),
        (lambda: nn.Softmax2d()(X), ShapeError, "is no image"),
        (lambda: nn.AlphaDropout(2), OptionError, "a probability lies between 0 and 1"),
    ],
)
def test_what_is_refused(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
