"""Differences, averages, products and reductions without NaN: NumPy's values, and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fusegrad as fg
from fusegrad.testing import check_grads

Array = npt.NDArray[Any]
RNG = np.random.default_rng(3)
V = RNG.normal(size=6)
W = RNG.uniform(0.5, 2, 6)
M = RNG.normal(size=(3, 4))
N = RNG.normal(size=(4, 3))
C = RNG.normal(size=(2, 3, 4))
E = RNG.normal(size=(2, 1, 3, 2, 2))
ONE = RNG.normal(size=())
NONE = np.zeros((0, 4))
HOLES = np.where(M > 0.8, np.nan, M)
GONE = np.array([[np.nan, np.nan], [1.0, np.nan]])
PLACES = np.cumsum(W)
INTEGERS = np.arange(6).reshape(2, 3)
FLAGS = V > 0

SAME: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("diff", (V,), {}),
    ("diff", (M,), {"n": 2, "axis": 0}),
    ("diff", (M,), {"prepend": 0.0, "append": M[:, :2]}),
    ("diff", (C, 1, 1), {}),
    ("diff", (V, 0), {}),
    ("diff", (V, 9), {}),
    ("diff", (FLAGS,), {}),
    ("diff", (INTEGERS,), {}),
    ("ediff1d", (M,), {}),
    ("ediff1d", (V,), {"to_end": [1.0, 2.0], "to_begin": 5.0}),
    ("trapezoid", (V,), {}),
    ("trapezoid", (M,), {"dx": 0.5, "axis": 0}),
    ("trapezoid", (V, PLACES), {}),
    ("trapezoid", (M.T, PLACES[:4]), {"axis": 0}),
    ("gradient", (V,), {}),
    ("gradient", (V, 2.0), {}),
    ("gradient", (M,), {}),
    ("gradient", (M, 2.0, PLACES[:4]), {}),
    ("gradient", (V, PLACES), {"edge_order": 2}),
    ("gradient", (C,), {"axis": (0, 2)}),
    ("gradient", (C, PLACES[:3]), {"axis": 1}),
    ("gradient", (M, 0.5), {"axis": 1, "edge_order": 2}),
    ("interp", (V, PLACES, V), {}),
    ("interp", (M * 9, PLACES, V), {"left": -1.0, "right": 7.0}),
    ("interp", (M * 9, PLACES[::-1].copy(), V), {"period": 3.0}),
    ("interp", (PLACES, PLACES, V), {}),
    ("interp", (np.array([np.nan, 2.0]), PLACES, V), {}),
    ("interp", (V, PLACES[:1], V[:1]), {}),
    ("average", (M,), {}),
    ("average", (M,), {"axis": 0, "weights": W[:3]}),
    ("average", (C,), {"axis": (0, 2), "weights": np.abs(C[:, 0])}),
    ("average", (M,), {"weights": np.abs(M), "returned": True}),
    ("average", (M, 1), {"keepdims": True}),
    ("ptp", (M,), {}),
    ("ptp", (M, 0), {}),
    ("ptp", (INTEGERS, -1), {"keepdims": True}),
    ("cov", (M,), {}),
    ("cov", (V,), {}),
    ("cov", (V, W), {}),
    ("cov", (M,), {"rowvar": False, "ddof": 0}),
    ("cov", (M,), {"bias": True}),
    ("cov", (M,), {"fweights": np.array([1, 2, 1, 3])}),
    ("cov", (M,), {"aweights": W[:4]}),
    ("cov", (M,), {"fweights": np.array([1, 2, 1, 3]), "aweights": W[:4]}),
    ("corrcoef", (M,), {}),
    ("corrcoef", (V, W), {}),
    *[
        (f"nan{name}", (array, *axis), params)
        for name in ("sum", "prod", "mean", "var", "std", "max", "min")
        for array, axis, params in (
            (HOLES, (), {}),
            (HOLES, (1,), {}),
            (HOLES, ((0, 1),), {"keepdims": True}),
        )
    ],
    ("nansum", (GONE, 0), {}),
    ("nansum", (INTEGERS,), {}),
    ("nanmax", (INTEGERS, 0), {}),
    ("nanargmax", (HOLES, 1), {}),
    ("nanargmin", (HOLES,), {}),
    ("inner", (M, C), {}),
    ("inner", (V, W), {}),
    ("inner", (2.0, V), {}),
    ("vdot", (M, N), {}),
    ("kron", (M, N), {}),
    ("kron", (V, M), {}),
    ("kron", (C, V), {}),
    ("kron", (ONE, M), {}),
    ("kron", (INTEGERS, INTEGERS), {}),
    ("outer", (M, V), {}),
    ("dot", (M, N), {}),
    ("dot", (M, N[:, 0]), {}),
    ("dot", (C, N), {}),
    ("dot", (M, np.swapaxes(C, 1, 2)), {}),
    ("dot", (V, W), {}),
    ("dot", (ONE, M), {}),
    ("dot", (FLAGS, FLAGS), {}),
    ("cross", (M[:, :3], N[:3]), {}),
    ("cross", (N, np.array([1.0, 2.0, 3.0])), {}),
    ("cross", (M, M[:, ::-1]), {"axis": 0}),
    ("cross", (M, N), {"axisa": 0, "axisb": 1, "axisc": 0}),
    ("matmul", (V, W), {}),
    ("matmul", (C, N), {}),
    ("matmul", (V[:3], C), {}),
    ("matmul", (C, V[:4]), {}),
    ("matmul", (E, np.swapaxes(E, 0, 1)), {}),
    ("matmul", (NONE, N), {}),
    ("matmul", (NONE.T, NONE), {}),
    ("matmul", (INTEGERS, INTEGERS.T), {}),
    ("matmul", (M > 0, N > 0), {}),
    ("vecdot", (C, M), {}),
    ("vecdot", (M, M), {"axis": 0}),
    ("tensordot", (C, N), {"axes": 1}),
    ("tensordot", (C, M), {"axes": 2}),
    ("tensordot", (C, M), {"axes": 0}),
    ("tensordot", (C, N), {"axes": ([1, 2], [1, 0])}),
    ("tensordot", (M, N), {"axes": (0, 1)}),
    ("tensordot", (M, N), {"axes": ([], [])}),
]


def identity(case: tuple[str, Any, dict[str, Any]]) -> str:
    return f"{case[0]}-{[np.shape(a) for a in case[1]]}-{list(case[2])}".replace(" ", "")[:60]


def compare(actual: Any, expected: Any) -> None:
    if isinstance(expected, (tuple, list)):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            compare(one, other)
        return
    wanted = np.asarray(expected)
    assert isinstance(actual, fg.Tensor)
    assert actual.shape == wanted.shape
    assert actual.dtype.kind == {"f": "float", "i": "int", "b": "bool"}[wanted.dtype.kind]
    np.testing.assert_allclose(actual.numpy(), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", SAME, ids=identity)
def test_is_numpys(case: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    name, args, params = case
    compare(getattr(fg, name)(*args, **params), getattr(np, name)(*args, **params))


def joined(function: Callable[..., Any]) -> Callable[..., fg.Tensor]:
    def call(*args: Any) -> fg.Tensor:
        result = function(*args)
        if isinstance(result, (list, tuple)):
            return fg.concat([part.reshape(-1) for part in result])
        return fg.asarray(result)

    return call


@pytest.mark.parametrize("case", SAME[::3], ids=identity)
def test_compiled_and_differentiated(case: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    name, args, params = case
    arrays = [a for a in args if isinstance(a, np.ndarray)]
    smooth = all(a.dtype == np.float64 and np.isfinite(a).all() and a.size for a in arrays)
    if len(arrays) != len(args) or name == "interp":
        return
    function = joined(lambda *xs: getattr(fg, name)(*xs, **params))
    compare(fg.compile(function)(*arrays), function(*arrays).numpy())
    if smooth:
        check_grads(function, arrays, order=1, rtol=1e-4)


def test_second_derivatives() -> None:
    check_grads(lambda x, w: fg.average(x, 0, weights=w), (M, W[:3]))
    check_grads(fg.cov, (M,))
    check_grads(fg.kron, (M, V[:2]))
    check_grads(lambda x, f: fg.interp(x, PLACES, f) ** 2, (V + 3, W))
    check_grads(lambda x: fg.nanvar(fg.where(M > 0.8, np.nan, x), 1), (M,))


def test_what_is_nan_gets_no_gradient() -> None:
    x = fg.asarray(HOLES)
    for name in ("nansum", "nanmean", "nanvar", "nanmax", "nanprod", "nanstd"):
        slopes = fg.grad(lambda x, name=name: getattr(fg, name)(x))(x).numpy()
        assert np.isfinite(slopes).all()
        assert not slopes[np.isnan(HOLES)].any()


def test_nothing_but_nan() -> None:
    assert np.isnan(fg.nanmax(GONE, 1).numpy()).tolist() == [True, False]
    assert np.isnan(fg.nanmean(GONE, 0).numpy()).tolist() == [False, True]
    assert np.isnan(fg.nanvar(GONE, 0, 1.0).numpy()).all()
    with pytest.raises(ValueError, match="nanargmax of nothing but NaN"):
        fg.nanargmax(GONE, 1)


def test_equality() -> None:
    assert fg.allclose(V, V + 1e-9)
    assert not fg.allclose(V, V + 1e-3)
    assert fg.allclose(HOLES, HOLES, equal_nan=True)
    assert not fg.array_equal(HOLES, HOLES)
    assert fg.array_equal(HOLES, HOLES, equal_nan=True)
    assert not fg.array_equal(V, V[:1])
    assert fg.array_equiv([1, 1], [[1], [1]])
    assert not fg.array_equiv([1, 1], [1, 1, 1])


# --- Einstein sums --------------------------------------------------------------------------------

FORMULAS: tuple[tuple[str, tuple[Array, ...]], ...] = (
    ("ij,jk->ik", (M, N)),
    ("ij,jk", (M, N)),
    ("ba", (M,)),
    ("i,i->", (V, W)),
    ("ii->", (N[:3],)),
    ("ii->i", (N[:3],)),
    ("ijkl,jk->il", (RNG.normal(size=(2, 3, 4, 2)), M)),
    ("i,j->ij", (V, W)),
    ("...ij,...jk->...ik", (C, N)),
    ("...i,...i", (C, M)),
    ("i...->...", (C,)),
    ("...", (C,)),
    ("ij...,jk...->ik...", (M, N)),
    ("bij,bjk,kl->bil", (C, np.swapaxes(C, 1, 2), M)),
    ("ij,kl->ik", (M, N)),
    ("ij,ij,ij->", (M, M, M)),
    ("i,ij,j->", (V[:3], M, V[:4])),
    ("ij,jk->ik", (M[:, :1], N)),
    ("ij,ij->ij", (M[:1], M)),
    ("...a,...a->...", (E[:, :, :1], E)),
    ("iij->ij", (RNG.normal(size=(3, 3, 2)),)),
    ("iji,ij->j", (RNG.normal(size=(3, 2, 3)), RNG.normal(size=(3, 2)))),
    ("Aa,aB->BA", (M, N)),
    (" i j , j -> i ", (M, V[:4])),
    ("ij,jk->ik", (NONE, N)),
)


@pytest.mark.parametrize(("formula", "operands"), FORMULAS, ids=[f for f, _ in FORMULAS])
def test_einsum(formula: str, operands: tuple[Array, ...]) -> None:
    compare(fg.einsum(formula, *operands), np.einsum(formula, *operands))
    compare(
        fg.compile(lambda *xs: fg.einsum(formula, *xs))(*operands), np.einsum(formula, *operands)
    )
    if all(operand.size for operand in operands):
        check_grads(lambda *xs: fg.einsum(formula, *xs), operands, rtol=1e-4)


def test_einsum_in_other_forms() -> None:
    compare(fg.einsum(M, [0, 1], N, [1, 2], [0, 2]), M @ N)
    compare(fg.einsum(C, [..., 1], [1, ...]), np.einsum(C, [..., 1], [1, ...]))
    compare(fg.einsum(M, [3, 1]), np.einsum(M, [3, 1]))
    compare(fg.einsum("ij,jk", [M, N], optimize="greedy"), M @ N)
    compare(fg.einsum("ij,jk", INTEGERS, INTEGERS.T), INTEGERS @ INTEGERS.T)
    compare(fg.einsum("ij,jk->ik", M > 0, N > 0), (M > 0) @ (N > 0))


def test_batched_products() -> None:
    x = RNG.normal(size=(2, 4, 5))
    compare(fg.bmm(C, x), C @ x)
    compare(fg.addmm(V[:3], M, N, beta=2, alpha=3), 2 * V[:3] + 3 * (M @ N))
    compare(fg.baddbmm(np.full(5, np.nan), C, x, beta=0), C @ x)


def test_errors() -> None:
    for formula, operands in (
        ("ij,jk", (M,)),
        ("i", (M,)),
        ("ij->ijj", (M,)),
        ("ij->k", (M,)),
        ("ij,ij", (M, N)),
        ("i$,j", (M, N)),
        ("...i...", (M,)),
    ):
        with pytest.raises(ValueError, match="einsum"):
            fg.einsum(formula, *operands)
    with pytest.raises(ValueError, match="does not broadcast"):
        fg.vecdot(M, M[:, :1])
    with pytest.raises(ValueError, match="tensordot over 3 axes"):
        fg.tensordot(M, N, axes=3)
    with pytest.raises(ValueError, match="do not pair"):
        fg.tensordot(M, N, axes=([0], [0, 1]))
    with pytest.raises(ValueError, match="cross of shapes"):
        fg.cross(M, M)
    with pytest.raises(ValueError, match="bmm of batches of 2 and 1"):
        fg.bmm(C, C[:1].swapaxes(1, 2))
    with pytest.raises(ValueError, match="needs at least 3 samples"):
        fg.gradient([1.0, 2.0], edge_order=2)
    with pytest.raises(ValueError, match="average: weights of shape"):
        fg.average(M, weights=W[:3])
    with pytest.raises(ValueError, match="interp: samples of shape"):
        fg.interp(1.0, V, M)
