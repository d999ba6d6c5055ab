"""Cumulative functions, sorting and searching against torch's own, with derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

RNG = np.random.default_rng(0)
X = RNG.permutation(np.linspace(-2, 2, 24)).reshape(4, 6)
ZEROS = X * (np.abs(X) > 0.5)
WEIGHTS = RNG.uniform(0.5, 1.5, (4, 6))

DIFFERENTIABLE: dict[str, Callable[[Any, Any], Any]] = {
    "cumsum": lambda m, x: m.cumsum(x, dim=1),
    "cumprod": lambda m, x: m.cumprod(x, dim=0),
    "logcumsumexp": lambda m, x: m.logcumsumexp(x, dim=1),
    "cummax": lambda m, x: m.cummax(x, dim=1).values,
    "cummin": lambda m, x: m.cummin(x, dim=0).values,
    "topk": lambda m, x: m.topk(x, 3, dim=1).values,
    "topk smallest": lambda m, x: m.topk(x, 2, dim=0, largest=False).values,
    "kthvalue": lambda m, x: m.kthvalue(x, 2, dim=1).values,
    "quantile": lambda m, x: m.quantile(x, 0.3, dim=1),
    "quantile all": lambda m, x: m.quantile(x, 0.85),
    "nanquantile": lambda m, x: m.nanquantile(x, 0.4, dim=0, keepdim=True),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("values", [X, ZEROS], ids=["", "zeros"])
def test_values_and_derivatives(name: str, values: Any) -> None:
    function = DIFFERENTIABLE[name]
    theirs = torch.tensor(values, requires_grad=True)
    expected = function(torch, theirs)
    weights = WEIGHTS.reshape(-1)[: expected.numel()].reshape(tuple(expected.shape))
    (first,) = torch.autograd.grad(
        (expected**2 * torch.tensor(weights)).sum(), theirs, None, True, True
    )
    (second,) = torch.autograd.grad((first**2).sum(), theirs)

    def loss(x: Any) -> Any:
        return (function(fg, x) ** 2 * weights).sum()

    def run(x: Any) -> list[Any]:
        slope = fg.grad(loss)
        return [function(fg, x), slope(x), fg.grad(lambda y: (slope(y) ** 2).sum())(x)]

    for found in (run(fg.asarray(values)), fg.compile(run)(values)):
        for ours, wanted in zip(found, (expected, first, second), strict=True):
            assert ours.shape == tuple(wanted.shape)
            np.testing.assert_allclose(ours, wanted.detach().numpy(), rtol=1e-9, atol=1e-11)


WHOLE = RNG.integers(0, 4, (5, 7))

PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "sort": lambda m, x: m.argsort(x, dim=1, stable=True),
    "sort downwards": lambda m, x: m.argsort(x, dim=0, descending=True, stable=True),
    "cummax": lambda m, x: m.cummax(x, dim=1).indices,
    "cummin": lambda m, x: m.cummin(x, dim=0).indices,
    "mode": lambda m, x: m.mode(x, dim=1).values,
    "kthvalue": lambda m, x: m.kthvalue(x, 3, dim=0).values,
    "topk": lambda m, x: m.topk(x, 3).values,
    "bincount": lambda m, x: m.bincount(x.reshape(-1), minlength=6),
    "isin": lambda m, x: m.isin(x, x[0, :1]),
    "argwhere": lambda m, x: m.argwhere(x),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
def test_places(name: str, dtype: str) -> None:
    if name == "bincount" and dtype == "float32":
        pytest.skip("counts are of integers")
    values = WHOLE.astype(dtype)
    expected = PLACES[name](torch, torch.tensor(values))
    found = PLACES[name](fg, fg.asarray(values))
    np.testing.assert_array_equal(found.numpy(), expected.numpy(), strict=True)


def test_special_values_are_ordered_alike() -> None:
    values = np.array([1.0, np.nan, -np.inf, np.inf, np.nan, -1.0])
    ours, theirs = fg.asarray(values), torch.tensor(values)
    for descending in (False, True):
        found = fg.argsort(ours, descending=descending)
        expected = torch.argsort(theirs, descending=descending, stable=True)
        assert found.tolist() == expected.tolist()
    assert fg.cummax(ours, 0).indices.tolist() == torch.cummax(theirs, 0).indices.tolist()


def test_searching() -> None:
    rows, values = np.sort(RNG.integers(0, 9, (3, 6)), 1), RNG.integers(0, 9, (3, 5))
    for right in (False, True):
        expected = torch.searchsorted(torch.tensor(rows), torch.tensor(values), right=right)
        assert fg.searchsorted(rows, values, right=right).tolist() == expected.tolist()
        expected = torch.bucketize(torch.tensor(values), torch.tensor(rows[0]), right=right)
        assert fg.bucketize(values, rows[0], right=right).tolist() == expected.tolist()


def test_histograms() -> None:
    values = RNG.uniform(-1, 5, 40).astype(np.float32)
    for bins, low, high in ((5, 0, 0), (7, 0, 4)):
        expected = torch.histc(torch.tensor(values), bins, low, high)
        np.testing.assert_array_equal(fg.histc(values, bins, low, high).numpy(), expected.numpy())
