"""Pooling against torch's own: values, places, first and second derivatives, every option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

Case = tuple[str, tuple[int, ...], tuple[Any, ...], dict[str, Any]]

CASES: list[Case] = [
    ("max_pool1d", (2, 3, 11), (3,), {}),
    ("max_pool1d", (3, 11), (3, 2), {"padding": 1, "ceil_mode": True}),
    ("max_pool1d", (2, 3, 12), (3, 2), {"padding": 1, "dilation": 2}),
    ("max_pool2d", (2, 3, 7, 6), (2,), {}),
    ("max_pool2d", (2, 3, 7, 6), (2,), {"ceil_mode": True}),
    ("max_pool2d", (2, 3, 7, 6), (3, 2), {"padding": 1}),
    ("max_pool2d", (3, 7, 6), ((3, 2), (1, 2)), {"padding": (1, 0), "dilation": (2, 1)}),
    ("max_pool2d", (1, 1, 6, 6), (6,), {}),
    ("max_pool3d", (2, 2, 5, 4, 6), (2, 2), {"padding": 1}),
    ("avg_pool1d", (2, 3, 11), (3, 2), {"padding": 1}),
    ("avg_pool1d", (2, 3, 11), (4, 3), {"padding": 2, "ceil_mode": True}),
    ("avg_pool1d", (1, 1, 9), (2,), {}),
    ("avg_pool2d", (2, 3, 7, 6), (2,), {}),
    ("avg_pool2d", (2, 3, 7, 6), (3, 2), {"padding": 1, "count_include_pad": False}),
    ("avg_pool2d", (3, 7, 6), (3, 2), {"ceil_mode": True, "padding": 1}),
    ("avg_pool2d", (2, 3, 7, 6), ((3, 2), (2, 1)), {"divisor_override": 5}),
    ("avg_pool2d", (2, 3, 6, 6), (6,), {}),
    ("avg_pool3d", (1, 2, 5, 4, 6), (2, 2), {"padding": 1, "count_include_pad": False}),
    ("lp_pool1d", (2, 3, 11), (2, 3), {}),
    ("lp_pool2d", (2, 3, 7, 6), (3.0, 2), {"stride": 1}),
    ("lp_pool2d", (2, 3, 7, 6), (2, 2), {"ceil_mode": True}),
    ("lp_pool3d", (1, 2, 4, 4, 4), (2, 2), {}),
    ("adaptive_avg_pool1d", (2, 3, 11), (4,), {}),
    ("adaptive_avg_pool1d", (3, 5), (8,), {}),
    ("adaptive_avg_pool2d", (2, 3, 8, 6), ((4, 2),), {}),
    ("adaptive_avg_pool2d", (2, 3, 7, 6), ((3, None),), {}),
    ("adaptive_avg_pool2d", (2, 3, 7, 6), (1,), {}),
    ("adaptive_avg_pool3d", (1, 2, 5, 4, 6), ((2, 3, 4),), {}),
    ("adaptive_max_pool1d", (2, 3, 11), (4,), {}),
    ("adaptive_max_pool2d", (2, 3, 8, 6), ((4, 2),), {}),
    ("adaptive_max_pool2d", (3, 7, 5), ((3, 2),), {}),
    ("adaptive_max_pool3d", (1, 2, 5, 4, 6), ((2, 3, 4),), {}),
]


def _with_ties(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Any:
    if "max" in name:
        return rng.integers(-2, 3, shape).astype(np.float64)
    return rng.uniform(0.5, 2, shape)


@pytest.mark.parametrize(("name", "given", "args", "options"), CASES, ids=str)
def test_values_and_derivatives(
    name: str, given: tuple[int, ...], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    value = _with_ties(rng, name, given)
    x = torch.tensor(value, requires_grad=True)
    peer = getattr(torch.nn.functional, name)(x, *args, **options)
    seed = rng.standard_normal(tuple(peer.shape))
    (first,) = torch.autograd.grad((peer.exp() * torch.tensor(seed)).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), x)

    def result(x: Any) -> Any:
        return getattr(F, name)(x, *args, **options)

    def loss(x: Any) -> Any:
        return (fg.exp(result(x)) * fg.asarray(seed)).sum()

    def everything(x: Any) -> Any:
        own = fg.grad(loss)(x)
        return result(x), own, fg.grad(lambda x: (fg.grad(loss)(x) ** 2).sum())(x)

    for function in (everything, fg.compile(everything)):
        found = function(fg.asarray(value))
        for own, other in zip(found, (peer, first, second), strict=True):
            np.testing.assert_allclose(own.numpy(), other.detach().numpy(), 1e-9, 1e-9)


@pytest.mark.parametrize(
    ("name", "given", "args", "options"), [c for c in CASES if "max" in c[0]], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_places(
    name: str, given: tuple[int, ...], args: tuple[Any, ...], options: dict[str, Any], dtype: str
) -> None:
    value = _with_ties(np.random.default_rng(1), name, given)
    if dtype == "float32":
        value.reshape(-1)[3] = np.nan
    found = getattr(F, name)(value.astype(dtype), *args, **options, return_indices=True)
    peers = getattr(torch.nn.functional, name)(
        torch.tensor(value.astype("float32")), *args, **options, return_indices=True
    )
    for own, other in zip(found, peers, strict=True):
        np.testing.assert_array_equal(own.numpy(), other.numpy())
