"""Matrices for the tests of linear algebra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import fusegrad as fg

Array = np.ndarray[Any, Any]


def matrices(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def regular(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Array:
    """Square matrices that are far from singular."""
    return (matrices(*shape, seed=seed) + 3 * np.eye(shape[-1])).astype(dtype)


def definite(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Array:
    """Symmetric positive definite matrices."""
    a = matrices(*shape, seed=seed)
    return (a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])).astype(dtype)


def symmetrised(x: Any) -> Any:
    return (x + x.mT) / 2


def values(result: Any) -> list[Array]:
    if isinstance(result, fg.Tensor):
        return [result.detach().numpy()]
    parts: Sequence[Any] = result
    return [part.detach().numpy() for part in parts]


def close(found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Equal shape and dtype, and values within a tolerance of the largest."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, tolerance, tolerance * scale)
