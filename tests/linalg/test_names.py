"""Linear algebra under torch's names: at the top level, and as methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import linalg
from fusegrad.errors import ShapeError
from tests.linalg.support import definite, matrices

X = definite(2, 3, 3)

SAME = {
    "det": linalg.det,
    "inverse": linalg.inv,
    "logdet": linalg.logdet,
    "pinverse": linalg.pinv,
    "matrix_exp": linalg.expm,
    "cholesky": linalg.cholesky,
}


@pytest.mark.parametrize("name", SAME)
def test_other_names(name: str) -> None:
    expected = SAME[name](X).numpy()
    np.testing.assert_array_equal(getattr(fg.asarray(X), name)().numpy(), expected)
    if name != "cholesky":
        np.testing.assert_array_equal(getattr(fg, name)(X).numpy(), expected)


def test_other_methods() -> None:
    x = fg.asarray(X)
    np.testing.assert_array_equal(x.matrix_power(3).numpy(), linalg.matrix_power(X, 3).numpy())
    np.testing.assert_array_equal(x.trace(0, 1, 2).numpy(), X.trace(0, 1, 2))
    np.testing.assert_array_equal(x.diagonal(1, 1, 2).numpy(), X.diagonal(1, 1, 2))
    assert x.trace().shape == (3,)


@pytest.mark.parametrize("p", ["fro", "nuc", None, 1, 3, np.inf])
def test_norms_take_all_axes_as_one_vector(p: Any) -> None:
    x = X[0]
    if p == "nuc":
        expected = np.linalg.norm(x, "nuc")
    else:
        expected = np.linalg.norm(x.reshape(-1), 2 if p in ("fro", None) else p)
    for found in (fg.norm(x, p), fg.asarray(x).norm(p)):
        np.testing.assert_allclose(found.numpy(), expected)
    if p != "nuc":
        found = fg.norm(X, p, dim=(0, 2), keepdim=True)
        assert found.shape == (1, 3, 1)
    assert fg.norm(x.astype(np.float32), p, dtype="float64").dtype is fg.float64


def test_distances() -> None:
    a, b = matrices(3, 2), matrices(2, seed=1)
    np.testing.assert_allclose(fg.dist(a, b).numpy(), np.linalg.norm((a - b).reshape(-1)))
    np.testing.assert_allclose(fg.dist(a, b, 1).numpy(), np.abs(a - b).sum())
    with pytest.raises(ShapeError, match="no order 'other'"):
        fg.norm(a, "other")
