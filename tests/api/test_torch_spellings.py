"""Arguments under torch's names, and functions that take what torch gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.errors import ShapeError

X = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
EDGES = np.array([-2.0, 0.0, 3.0], dtype=np.float32)
CUBE = np.arange(8).reshape(2, 2, 2)

SAME: dict[str, tuple[Callable[[], Any], Any]] = {
    "arange": (lambda: fg.arange(end=3), np.arange(3)),
    "arange from": (lambda: fg.arange(start=1, end=7, step=2), np.arange(1, 7, 2)),
    "as_strided": (
        lambda: fg.as_strided(X, (2, 2), (1, 2), storage_offset=3),
        [[-2.0, 0.0], [-1.0, 1.0]],
    ),
    "bucketize": (lambda: fg.bucketize(X, EDGES, out_int32=True), np.digitize(X, EDGES, True)),
    "diagflat": (lambda: fg.diagflat([1, 2], offset=-1), np.diagflat([1, 2], -1)),
    "diff none": (lambda: fg.diff(X, n=0, prepend=X), X),
    "div trunc": (
        lambda: fg.div(np.array([7, -7, -6, 7]), np.array([2, 2, 3, -2]), rounding_mode="trunc"),
        [3, -3, -2, -3],
    ),
    "gradient": (lambda: fg.gradient(X, spacing=2.0, dim=1), np.gradient(X, 2.0, axis=1)),
    "gradient places": (
        lambda: fg.gradient(X, spacing=([0.0, 1.0, 4.0],), dim=0),
        np.gradient(X, [0.0, 1.0, 4.0], axis=0),
    ),
    "max of two": (lambda: fg.max(fg.asarray(X), fg.asarray(-X)), np.maximum(X, -X)),
    "min of two": (lambda: fg.asarray(X).min(fg.zeros(4)), np.minimum(X, 0)),
    "meshgrid": (
        lambda: fg.meshgrid([fg.arange(2), fg.arange(3)])[1],
        np.meshgrid([0, 1], [0, 1, 2])[1],
    ),
    "nonzero": (lambda: fg.nonzero(X > 0, as_tuple=False), np.argwhere(X > 0)),
    "repeat_interleave": (
        lambda: fg.repeat_interleave([1, 2], [2, 1], output_size=3),
        [1, 1, 2],
    ),
    "searchsorted": (
        lambda: fg.searchsorted(EDGES, EDGES, right=True, out_int32=True),
        [1, 2, 3],
    ),
    "tensordot": (lambda: fg.tensordot(CUBE, CUBE, dims=2), np.tensordot(CUBE, CUBE, 2)),
    "unique": (lambda: fg.unique(X > 0, sorted=True), [False, True]),
    "vecdot": (lambda: fg.vecdot(X, X, dim=0), (X * X).sum(0)),
    "normalize": (lambda: F.normalize(X, p=0.0), X / np.array([[4.0], [3.0], [4.0]])),
    "softmax dtype": (lambda: F.softmax([1, 1], dim=0, dtype="float64"), [0.5, 0.5]),
    "softmax number": (lambda: F.softmax(3.0, dim=0), 1.0),
    "log_softmax number": (lambda: F.log_softmax(3.0, dim=-1), 0.0),
    "softmax of nothing": (lambda: F.softmax(np.zeros((2, 0))), np.zeros((2, 0))),
    "log_softmax of nothing": (lambda: F.log_softmax(np.zeros((2, 0))), np.zeros((2, 0))),
    "softplus": (
        lambda: F.softplus([-1.0, 0.0, 5.0], beta=2.0, threshold=8.0),
        [np.log1p(np.exp(-2.0)) / 2, np.log(2.0) / 2, 5.0],
    ),
}


def check(found: Any, expected: Any) -> None:
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SAME)
def test_means_the_same(name: str) -> None:
    function, expected = SAME[name]
    check(function(), expected)


# What is left has shapes that depend on values.
@pytest.mark.parametrize("name", [name for name in SAME if name not in ("nonzero", "unique")])
def test_means_the_same_compiled(name: str) -> None:
    function, expected = SAME[name]
    check(fg.compile(function)(), expected)


def test_dtypes() -> None:
    assert fg.bucketize(X, EDGES, out_int32=True).dtype is fg.int32
    assert fg.searchsorted(EDGES, X, out_int32=True).dtype is fg.int32
    assert fg.div(fg.asarray([3]), fg.asarray([2]), rounding_mode="trunc").dtype is fg.int64
    assert F.softmax([1, 2], dtype="float64").dtype is fg.float64
    assert F.softmax(np.float32([[1, 2]]), dtype="float64").dtype is fg.float64


def test_to_takes_flags_by_position() -> None:
    tensor = fg.asarray(X)
    assert tensor.to("cpu", "float64", True).dtype is fg.float64
    assert tensor.to("float32", False, False) is tensor
    assert tensor.to("float32", False, True) is not tensor


def test_draws_take_the_shape_by_name() -> None:
    assert fg.random.rand(size=(2, 3)).shape == fg.random.randn(size=[2, 3]).shape == (2, 3)


def test_wrong_output_size() -> None:
    with pytest.raises(ShapeError, match="output_size is 4, the result has extent 3"):
        fg.repeat_interleave([1, 2], [2, 1], output_size=4)
