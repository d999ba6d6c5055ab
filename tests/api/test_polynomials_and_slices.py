"""Polynomials and functions of slices against NumPy, recorded and compiled, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import DataDependentShapeError, DTypeError, OptionError, ShapeError
from fusegrad.testing import check_grads

RNG = np.random.default_rng(0)
P, Q = RNG.standard_normal(5), RNG.standard_normal(3)
AT = RNG.standard_normal((2, 3))
X = RNG.standard_normal((2, 3, 4))
PLACES = np.linspace(-1, 2, 8)
SAMPLES = RNG.standard_normal((8, 2))
TURNS = np.cumsum(RNG.uniform(-2.5, 2.5, (3, 20)), axis=1)
WEIGHTS = RNG.uniform(0.5, 2, 8)

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Any]] = {
    "poly": (fg.poly, (Q,), np.poly(Q)),
    "polyadd": (fg.polyadd, (P, Q), np.polyadd(P, Q)),
    "polysub": (fg.polysub, (Q, P), np.polysub(Q, P)),
    "polymul": (fg.polymul, (P, Q), np.polymul(P, Q)),
    "polyder": (fg.polyder, (P,), np.polyder(P)),
    "polyder 2": (lambda p: fg.polyder(p, 2), (P,), np.polyder(P, 2)),
    "polyint": (fg.polyint, (P,), np.polyint(P)),
    "polyint 2": (lambda p: fg.polyint(p, 2, [3.0, 4.0]), (P,), np.polyint(P, 2, [3, 4])),
    "polyval": (fg.polyval, (P, AT), np.polyval(P, AT)),
    "polyfit": (lambda y: fg.polyfit(PLACES, y, 3), (SAMPLES,), np.polyfit(PLACES, SAMPLES, 3)),
    "polyfit w": (
        lambda y: fg.polyfit(PLACES, y, 2, w=WEIGHTS),
        (SAMPLES[:, 0],),
        np.polyfit(PLACES, SAMPLES[:, 0], 2, w=WEIGHTS),
    ),
    "apply_along_axis": (
        lambda x: fg.apply_along_axis(lambda v: (v * v).sum(), 1, x),
        (X,),
        np.apply_along_axis(lambda v: (v * v).sum(), 1, X),
    ),
    "apply_along_axis matrix": (
        lambda x: fg.apply_along_axis(lambda v, by: fg.outer(v, v) * by, 0, x, 2.0),
        (X,),
        np.apply_along_axis(lambda v: np.outer(v, v) * 2, 0, X),
    ),
    "unwrap": (fg.unwrap, (np.angle(np.exp(1j * TURNS)),), np.unwrap(np.angle(np.exp(1j * TURNS)))),
    "unwrap period": (
        lambda x: fg.unwrap(x, 6.0, axis=0, period=4.0),
        (3 * X,),
        np.unwrap(3 * X, 6.0, axis=0, period=4.0),
    ),
    "clamp_min": (lambda x: fg.clamp_min(x, 0.25), (X,), np.maximum(X, 0.25)),
    "clamp_max": (lambda x: fg.clamp_max(x, 0.25), (X,), np.minimum(X, 0.25)),
    "copy": (fg.copy, (X,), X),
    "fromfunction": (
        lambda x: fg.fromfunction(lambda i, j: i * x + j, (2, 3), dtype="float64"),
        (AT,),
        np.fromfunction(lambda i, j: i * AT + j, (2, 3)),
    ),
}


@pytest.mark.parametrize("wrap", [lambda f: f, fg.compile], ids=["recorded", "compiled"])
@pytest.mark.parametrize("name", CASES)
def test_values(name: str, wrap: Callable[[Any], Any]) -> None:
    function, operands, expected = CASES[name]
    found = wrap(function)(*map(fg.asarray, operands))
    assert found.dtype is fg.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    function, operands, _ = CASES[name]
    check_grads(function, tuple(map(fg.asarray, operands)), order=1)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16", "uint64"])
def test_bits_are_counted(dtype: str) -> None:
    info = np.iinfo(dtype)
    values = np.array([0, 1, 2, 7, 100, info.max, info.max - 1], dtype=dtype)
    for count in (fg.bitwise_count, fg.compile(fg.bitwise_count)):
        found = count(fg.asarray(values))
        assert found.dtype is fg.uint8
        assert found.tolist() == [int(v).bit_count() for v in values.tolist()]
    with pytest.raises(DTypeError, match="bitwise_count does not take float32"):
        fg.bitwise_count([1.5])


def test_indices_of_arrays() -> None:
    x = np.ones((3, 4))
    for k in (-1, 0, 2):
        for name in ("tril_indices_from", "triu_indices_from"):
            found, expected = getattr(fg, name)(x, k), getattr(np, name)(x, k)
            assert [part.tolist() for part in found] == [part.tolist() for part in expected]
    found = fg.diag_indices_from(np.ones((2, 2, 2)))
    assert [part.tolist() for part in found] == [[0, 1]] * 3
    for call in (lambda: fg.diag_indices_from(x), lambda: fg.tril_indices_from(x[0])):
        with pytest.raises(ShapeError, match="_from needs"):
            call()


def test_zeros_at_the_ends() -> None:
    values = [0, 0, 1, 0, 2, 0]
    for trim in ("fb", "f", "b"):
        assert (
            fg.trim_zeros(values, trim).tolist() == np.trim_zeros(np.array(values), trim).tolist()
        )
    assert fg.trim_zeros([0, 0]).shape == (0,)
    with pytest.raises(DataDependentShapeError):
        fg.compile(fg.trim_zeros)(fg.asarray(values))
    with pytest.raises(ShapeError, match="trim_zeros takes a vector"):
        fg.trim_zeros([[1]])


def test_arrays_under_other_names() -> None:
    x = fg.asarray([1.0])
    assert fg.asanyarray(x) is x
    assert fg.ascontiguousarray(3, "float64").shape == (1,)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: fg.polyval(X, 1.0), ShapeError, "polyval: coefficients are a vector"),
        (lambda: fg.polyder(P, -1), OptionError, "polyder: -1 derivatives"),
        (lambda: fg.polyint(P, -1), OptionError, "polyint: -1 integrations"),
        (lambda: fg.polyint(P, 2, [1, 2, 3]), ShapeError, "polyint: 3 constants for 2"),
        (lambda: fg.polyfit(PLACES, Q, 2), ShapeError, r"polyfit: samples of shape \(3,\)"),
        (lambda: fg.polyfit(PLACES, SAMPLES, -1), OptionError, "polyfit: a degree of -1"),
        (lambda: fg.apply_along_axis(fg.sum, 9, X), ShapeError, "apply_along_axis: there is no"),
    ],
)
def test_what_is_refused(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
