"""Reading and writing at index arrays against torch: values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5))
S = RNG.normal(size=(3, 4))
ROWS = RNG.integers(0, 4, (3, 4))
COLUMNS = RNG.integers(0, 5, (3, 4))
ONCE = np.array([[0, 1, 2, 3], [4, 3, 2, 1], [1, 0, 4, 2]])
SOME = np.array([1, 1, 3])

Case = tuple[str, Callable[..., Any], tuple[Any, ...]]
CASES: tuple[Case, ...] = (
    ("gather", lambda m, x, i: m.gather(x, 1, i), (X, COLUMNS)),
    ("gather rows", lambda m, x, i: m.gather(x, 0, i), (X, ROWS)),
    ("scatter", lambda m, x, i, s: m.scatter(x, 1, i, s), (X, ONCE, S)),
    ("scatter_add", lambda m, x, i, s: m.scatter_add(x, 0, i, s), (X, ROWS, S)),
    ("index_select", lambda m, x, i: m.index_select(x, 1, i), (X, SOME)),
    ("index_add", lambda m, x, i, s: m.index_add(x, 0, i, s, alpha=2), (X, SOME, X[:3])),
    ("index_copy", lambda m, x, i, s: m.index_copy(x, 0, i, s), (X, SOME[1:], X[:2])),
    ("index_fill", lambda m, x, i: m.index_fill(x, 1, i, 3.0), (X, SOME)),
    ("masked_select", lambda m, x: m.masked_select(x, x > 0), (X,)),
    ("masked_scatter", lambda m, x, s: m.masked_scatter(x, x > 0, s), (X, RNG.normal(size=20))),
    ("take_along_dim", lambda m, x, i: m.take_along_dim(x, i, 1), (X, ROWS[:1])),
    ("diag_embed", lambda m, x: m.diag_embed(x, -1, 0, 2), (X,)),
    ("diagonal", lambda m, x: m.diagonal(x, 1), (X,)),
    ("diagonal_scatter", lambda m, x, s: m.diagonal_scatter(x, s, -1), (X, S[0, :3])),
    ("select_scatter", lambda m, x, s: m.select_scatter(x, s, 1, -2), (X, S[0])),
    ("slice_scatter", lambda m, x, s: m.slice_scatter(x, s, 1, 1, 5, 2), (X, X[:, :2])),
    ("as_strided", lambda m, x: m.as_strided(x, (3, 3), (2, 1), 1), (X,)),
    ("advanced", lambda m, x, i: x[i, :, None], (X, SOME)),
    ("apart", lambda m, x, i: x[None, i, :, i], (X[:, :, None] * S[0, :], SOME)),
    ("rot90", lambda m, x: m.rot90(x, 3, (1, 0)), (X,)),
    ("repeat_interleave", lambda m, x: m.repeat_interleave(x, 3, 1), (X,)),
    ("einsum", lambda m, x, s: m.einsum("ij,kl->jk", x, s), (X, S)),
    ("kron", lambda m, x, s: m.kron(x, s), (X, S)),
)


def compare(function: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    ours = [fg.asarray(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    expected, found = function(torch, *theirs), function(fg, *ours)
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), 1e-12, 1e-12)
    weights = RNG.normal(size=tuple(expected.shape))
    (expected * torch.tensor(weights)).sum().backward()
    (found * fg.asarray(weights)).sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        if other.requires_grad:
            assert one.grad is not None
            np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), 1e-11, 1e-11)


@pytest.mark.parametrize(("name", "function", "arrays"), CASES, ids=[case[0] for case in CASES])
def test_is_torchs(name: str, function: Callable[..., Any], arrays: tuple[Any, ...]) -> None:
    compare(function, arrays)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce(reduce: str, include_self: bool) -> None:
    def function(m: Any, x: Any, s: Any, i: Any) -> Any:
        return m.scatter_reduce(x, 1, i, s, reduce, include_self=include_self)

    compare(function, (X, S, COLUMNS))
