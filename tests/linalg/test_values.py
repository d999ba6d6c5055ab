"""fg.linalg against NumPy and SciPy: values, shapes and dtypes, recorded and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import linalg
from tests.linalg.support import Array, close, definite, matrices, regular, values

scipy_linalg = pytest.importorskip("scipy.linalg")

TOLERANCE = {np.float32: 2e-4, np.float64: 1e-10}


def both(function: Callable[..., Any], *args: Any) -> list[list[Array]]:
    """What the function gives, recorded, and compiled for float64."""
    found = [values(function(*args))]
    if args[0].dtype == np.float64:
        found.append(values(fg.compile(function)(*args)))
    return found


SQUARE = [(3, 3), (1, 1), (7, 7), (2, 3, 3), (2, 1, 3, 4, 4), (0, 0), (0, 3, 3), (2, 0, 0)]
ANY = [*SQUARE, (4, 2), (2, 4), (3, 5, 2), (2, 1, 2, 5), (0, 3), (3, 0), (2, 0, 3), (1, 5)]


OF_SQUARE: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Any]]] = {
    "inv": (linalg.inv, np.linalg.inv),
    "det": (linalg.det, np.linalg.det),
    "slogdet": (linalg.slogdet, np.linalg.slogdet),
    "power 5": (lambda x: linalg.matrix_power(x, 5), lambda x: np.linalg.matrix_power(x, 5)),
    "power -3": (lambda x: linalg.matrix_power(x, -3), lambda x: np.linalg.matrix_power(x, -3)),
    "power 0": (lambda x: linalg.matrix_power(x, 0), lambda x: np.linalg.matrix_power(x, 0)),
    "trace": (linalg.trace, np.linalg.trace),
}


@pytest.mark.parametrize("name", OF_SQUARE)
@pytest.mark.parametrize("shape", SQUARE, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_square_matrices(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    own, reference = OF_SQUARE[name]
    x = regular(*shape, dtype=dtype)
    expected = reference(x)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for found in both(own, x):
        for a, b in zip(found, expected, strict=True):
            close(a, b, TOLERANCE[dtype])


@pytest.mark.parametrize("shape", SQUARE, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_symmetric_matrices(shape: tuple[int, ...], dtype: Any) -> None:
    x = definite(*shape, dtype=dtype)
    tolerance = TOLERANCE[dtype]
    junk = np.triu(np.ones(shape[-2:], dtype), 1)
    for upper in (False, True):
        garbled = x + (junk.T if upper else junk)
        side = "U" if upper else "L"
        reference = np.swapaxes(np.linalg.cholesky(x), -1, -2) if upper else np.linalg.cholesky(x)
        for (found,) in both(lambda a, upper=upper: linalg.cholesky(a, upper=upper), garbled):
            close(found, reference, tolerance)
        for w, v in both(lambda a, side=side: linalg.eigh(a, side), garbled):
            close(w, np.linalg.eigvalsh(x), tolerance)
            close(x @ v, v * w[..., None, :], tolerance * 10)
        for (w,) in both(lambda a, side=side: linalg.eigvalsh(a, UPLO=side), garbled):
            close(w, np.linalg.eigvalsh(x), tolerance)
    for w, v in both(linalg.eig, x):
        close(np.sort(w, -1), np.linalg.eigvalsh(x), tolerance)
        close(x @ v, v * w[..., None, :], tolerance * 10)
    for (w,) in both(linalg.eigvals, x):
        close(np.sort(w, -1), np.linalg.eigvalsh(x), tolerance)


@pytest.mark.parametrize("shape", ANY, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decompositions_of_any_matrix(shape: tuple[int, ...], dtype: Any) -> None:
    x = matrices(*shape, dtype=dtype)
    m, n = shape[-2:]
    tolerance = TOLERANCE[dtype]
    for mode in ("reduced", "complete"):
        for q, r in both(lambda a, mode=mode: linalg.qr(a, mode=mode), x):
            k = m if mode == "complete" else min(m, n)
            assert q.shape == (*shape[:-1], k)
            close(q @ r, x, tolerance)
            one = np.broadcast_to(np.eye(k, dtype=dtype), (*shape[:-2], k, k))
            close(np.swapaxes(q, -1, -2) @ q, one, tolerance)
            assert (np.tril(r, -1) == 0).all()
    for (r,) in both(lambda a: linalg.qr(a, mode="r"), x):
        close(r, np.linalg.qr(x, mode="r"), tolerance)
    for full in (False, True):
        reference = np.linalg.svd(x, full_matrices=full)
        for u, s, vh in both(lambda a, full=full: linalg.svd(a, full_matrices=full), x):
            assert [u.shape, vh.shape] == [reference[0].shape, reference[2].shape]
            close(s, reference[1], tolerance)
            k = min(m, n)
            close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x, tolerance)
    for (s,) in both(linalg.svdvals, x):
        close(s, np.linalg.svd(x, compute_uv=False), tolerance)
    for p, low, up in both(linalg.lu, x):
        close(p @ low @ up, x, tolerance)
        assert (np.tril(up, -1) == 0).all()
        assert (np.triu(low, 1) == 0).all()
        assert np.abs(low).max(initial=0) <= 1 + 1e-6


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (5, 5)], ids=str)
def test_lu_is_scipys(shape: tuple[int, ...]) -> None:
    x = matrices(*shape)
    packed, pivots = linalg.lu_factor(x)
    expected = scipy_linalg.lu_factor(x)
    close(packed.numpy(), expected[0])
    assert pivots.tolist() == expected[1].tolist()
    for found, reference in zip(linalg.lu(x), scipy_linalg.lu(x), strict=True):
        close(found.numpy(), reference)


@pytest.mark.parametrize("shape", ANY, ids=str)
def test_pseudoinverse_and_rank(shape: tuple[int, ...]) -> None:
    x = matrices(*shape)
    if shape[-1] > 1 and x.size:
        x[..., 1] = 2 * x[..., 0]
    for (found,) in both(linalg.pinv, x):
        close(found, np.linalg.pinv(x, rtol=None), 1e-8)
    for (found,) in both(lambda a: linalg.pinv(a, 0.5), x):
        close(found, np.linalg.pinv(x, 0.5), 1e-8)
    for (found,) in both(linalg.matrix_rank, x):
        close(found, np.asarray(np.linalg.matrix_rank(x)) if x.size else np.zeros(shape[:-2], int))
    if x.size:
        for (found,) in both(lambda a: linalg.matrix_rank(a, tol=1.5), x):
            close(found, np.linalg.matrix_rank(x, tol=1.5))
        for (found,) in both(lambda a: linalg.matrix_rank(a, atol=1.5, rtol=1e-9), x):
            close(found, np.linalg.matrix_rank(x, tol=1.5))
        for (found,) in both(lambda a: linalg.matrix_rank(a, rtol=0.5), x):
            close(found, np.linalg.matrix_rank(x, rtol=0.5))


def test_symmetric_pseudoinverse_and_rank() -> None:
    x = definite(3, 3)
    x[:, 2] = x[2] = 0
    garbled = x + np.triu(np.ones((3, 3)), 1)
    close(linalg.pinv(garbled, hermitian=True).numpy(), np.linalg.pinv(x))
    assert int(linalg.matrix_rank(garbled, hermitian=True)) == 2
    close(linalg.svd(garbled, hermitian=True).S.numpy(), np.linalg.svd(x)[1])
    limits = np.array([1e-3, 0.9])
    pair = np.stack([matrices(4, 3)] * 2)
    close(linalg.pinv(pair, rtol=limits).numpy(), np.linalg.pinv(pair, limits))


# --- systems --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *(((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3, 2)), ((3, 3), (2, 3, 1))),
        *(((2, 1, 3, 3), (4, 3, 2)), ((0, 0), (0,)), ((0, 0), (0, 2)), ((3, 3), (3, 0))),
        *(((1, 1), (1,)), ((2, 3, 3), (3,)), ((40, 40), (40, 3))),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_systems(a: tuple[int, ...], b: tuple[int, ...], dtype: Any) -> None:
    x, y = regular(*a, dtype=dtype), matrices(*b, seed=1, dtype=dtype)
    if len(a) == 2 and a[0] == 40:
        x = x + 20 * np.eye(40, dtype=dtype)
    tolerance = TOLERANCE[dtype]
    expected = np.linalg.solve(x, y)
    for (found,) in both(linalg.solve, x, y):
        close(found, expected, tolerance)
    for lower in (False, True):
        triangle = np.tril(x) if lower else np.triu(x)
        for (found,) in both(
            lambda p, q, lower=lower: linalg.solve_triangular(p, q, lower=lower), x, y
        ):
            close(found, np.linalg.solve(triangle, y), tolerance)
        turned = np.swapaxes(triangle, -1, -2)
        for trans in (1, "T"):
            found = linalg.solve_triangular(x, y, lower=lower, trans=trans)
            close(found.numpy(), np.linalg.solve(turned, y), tolerance)
    spd = x @ np.swapaxes(x, -1, -2)
    for upper in (False, True):

        def solved(p: Any, q: Any, upper: bool = upper) -> fg.Tensor:
            return linalg.cholesky_solve(q, linalg.cholesky(p, upper=upper), upper)

        for (found,) in both(solved, spd, y):
            close(found, np.linalg.solve(spd, y), tolerance * 30)


def test_systems_from_the_right_and_unit_diagonals() -> None:
    x, y = regular(2, 3, 3), matrices(2, 4, 3, seed=1)
    close((linalg.solve(x, y, left=False) @ x).numpy(), y)
    unit = np.tril(x, -1) + np.eye(3)
    for name in ("unit_diagonal", "unitriangular"):
        found = linalg.solve_triangular(x, y, upper=False, left=False, **{name: True})
        close((found @ unit).numpy(), y)
    packed, pivots = linalg.lu_factor(x)
    columns = np.swapaxes(y, -1, -2)
    close((fg.asarray(x) @ linalg.lu_solve(packed, pivots, columns)).numpy(), columns)
    turned = linalg.lu_solve(packed, pivots, columns, adjoint=True)
    close((fg.asarray(x).mT @ turned).numpy(), columns)
    close((linalg.lu_solve(packed, pivots, y, left=False) @ x).numpy(), y)
    spd = definite(3, 3)
    close(linalg.cholesky_inverse(linalg.cholesky(spd)).numpy(), np.linalg.inv(spd))
    for lower in (False, True):
        factored = linalg.cho_factor(spd, lower)
        close(linalg.cho_solve(factored, y[0].T).numpy(), np.linalg.solve(spd, y[0].T))


def test_one_matrix_for_many_right_hand_sides_is_decomposed_once() -> None:
    a, b = regular(3, 3), matrices(4, 2, 3, 5, seed=1)
    step = fg.compile(linalg.solve)
    close(step(a, b).numpy(), np.linalg.solve(a, b))
    assert "f64[3, 40] = small_matrix<solve" in str(step.explain(a, b))
    for lower in (False, True):
        found = linalg.solve_triangular(a, b, lower=lower)
        close(found.numpy(), np.linalg.solve(np.tril(a) if lower else np.triu(a), b))


def test_the_other_triangle_is_not_read() -> None:
    x = np.tril(regular(3, 3)) + np.triu(np.full((3, 3), np.nan), 1)
    expected = np.linalg.solve(np.tril(x), np.ones(3))
    for (found,) in both(lambda a: linalg.solve_triangular(a, np.ones(3), lower=True), x):
        close(found, expected)


@pytest.mark.parametrize(
    ("a", "b"),
    [((5, 3), (5,)), ((5, 3), (5, 2)), ((3, 5), (3,)), ((3, 3), (3, 2)), ((2, 5, 3), (2, 5, 2))],
)
def test_least_squares(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = matrices(*a), matrices(*b, seed=1)
    found = linalg.lstsq(x, y)
    if len(a) > 2:
        expected = [np.linalg.lstsq(one, two) for one, two in zip(x, y, strict=True)]
        for part, reference in zip(found, zip(*expected, strict=True), strict=True):
            np.testing.assert_allclose(part.numpy(), np.stack(reference))
        return
    reference = np.linalg.lstsq(x, y)
    for part, other in zip(found, reference, strict=True):
        assert part.shape == np.shape(other)
        np.testing.assert_allclose(part.numpy(), other, 1e-9, 1e-9)
    compiled = fg.compile(linalg.lstsq)(x, y)
    for part, other in zip(compiled, reference, strict=True):
        np.testing.assert_allclose(part.numpy(), other, 1e-9, 1e-9)


def test_least_squares_of_a_deficient_matrix() -> None:
    x = matrices(5, 3)
    x[:, 2] = x[:, 0]
    y = matrices(5, 2, seed=1)
    for part, other in zip(linalg.lstsq(x, y), np.linalg.lstsq(x, y), strict=True):
        assert part.shape == np.shape(other)
        np.testing.assert_allclose(part.numpy(), other, 1e-9, 1e-9)


def test_tensors_as_maps() -> None:
    a = matrices(4, 6, 8, 3)
    close(linalg.tensorinv(a).numpy(), np.linalg.tensorinv(a), 1e-8)
    b = matrices(6, 4, 2, 3, 4)
    right = matrices(6, 4, seed=1)
    close(linalg.tensorsolve(b, right).numpy(), np.linalg.tensorsolve(b, right), 1e-8)
    moved = np.moveaxis(b, 2, 0)
    close(
        linalg.tensorsolve(moved, right, axes=(0, 3, 4)).numpy(),
        np.linalg.tensorsolve(moved, right, axes=(0, 3, 4)),
        1e-8,
    )


# --- norms ----------------------------------------------------------------------------------------

AXES = [None, 0, 1, -1, (0, 1), (1, 0), (-1, -3), (2,)]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order", [2, 1, 0, 3, 0.5, -1, -2, -3, np.inf, -np.inf])
def test_vector_norms(order: float, keepdims: bool) -> None:
    x = matrices(2, 3, 4)
    for axis in AXES:
        expected = np.linalg.vector_norm(x, ord=order, axis=axis, keepdims=keepdims)
        found = linalg.vector_norm(x, ord=order, axis=axis, keepdims=keepdims)
        close(found.numpy(), np.asarray(expected))
        close(linalg.vector_norm(x, order, dim=axis, keepdim=keepdims).numpy(), expected)
    for (found,) in both(lambda a: linalg.vector_norm(a, order, -1), np.zeros((2, 3))):
        with np.errstate(divide="ignore"):
            close(found, np.linalg.vector_norm(np.zeros((2, 3)), ord=order, axis=-1))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order", ["fro", "nuc", 2, 1, -1, -2, np.inf, -np.inf])
def test_matrix_norms(order: Any, keepdims: bool) -> None:
    x = matrices(2, 3, 4)
    expected = np.linalg.matrix_norm(x, ord=order, keepdims=keepdims)
    for (found,) in both(lambda a: linalg.matrix_norm(a, ord=order, keepdims=keepdims), x):
        close(found, expected)
    for axis in [(0, 1), (1, 0), (-1, 0), (2, 1)]:
        expected = np.linalg.norm(x, order, axis, keepdims)
        close(linalg.norm(x, order, axis, keepdims).numpy(), np.asarray(expected))
        close(linalg.matrix_norm(x, order, dim=axis, keepdim=keepdims).numpy(), expected)
    close(linalg.norm(x[0], order).numpy(), np.asarray(np.linalg.norm(x[0], order)))


def test_norms_of_whole_arrays() -> None:
    x = matrices(2, 3, 4)
    for array in (x, x[0], x[0, 0], np.asarray(-3.0), x.astype(np.float32)):
        close(linalg.norm(array).numpy(), np.asarray(np.linalg.norm(array)), 1e-6)
    for order in (None, 1, 3, np.inf):
        close(linalg.norm(x[0, 0], order).numpy(), np.asarray(np.linalg.norm(x[0, 0], order)))
    assert linalg.norm([3, 4]).dtype is fg.float32
    assert linalg.norm(fg.ones(3), dtype=fg.float64).dtype is fg.float64
    for order in (1, 2, 3, np.inf):
        assert linalg.vector_norm(np.zeros((0, 3)), order, axis=0).tolist() == [0, 0, 0]
    for shape in ((0, 2), (2, 0), (0, 0)):
        for kind in ("fro", "nuc", 1, 2, np.inf):
            assert float(linalg.matrix_norm(np.zeros(shape), kind)) == 0


@pytest.mark.parametrize("order", [None, 2, -2, 1, -1, np.inf, -np.inf, "fro", "nuc"])
def test_condition(order: Any) -> None:
    x = regular(2, 3, 3)
    for (found,) in both(lambda a: linalg.cond(a, order), x):
        close(found, np.linalg.cond(x, order))
    singular = np.stack([np.zeros((2, 2)), np.ones((2, 2)), np.eye(2)])
    singular[1, 1] = 2
    for (found,) in both(lambda a: linalg.cond(a, order), singular):
        assert found[0] == np.inf
        assert np.isclose(found[2], np.linalg.cond(np.eye(2), order))
    x[0, 0, 0] = np.nan
    if order not in (None, 2, -2, "nuc"):
        assert np.isnan(linalg.cond(x, order).numpy()).tolist() == [True, False]


# --- functions of matrices and products -----------------------------------------------------------


@pytest.mark.parametrize("scale", [0, 1e-12, 0.3, 3, 40])
@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (2, 4, 4), (0, 0), (2, 0, 0), (9, 9)], ids=str)
def test_exponential(shape: tuple[int, ...], scale: float) -> None:
    x = scale * matrices(*shape)
    x = x - np.swapaxes(x, -1, -2) if scale > 3 else x
    expected = scipy_linalg.expm(x)
    for (found,) in both(linalg.expm, x):
        close(found, expected, 1e-11)
    single = linalg.matrix_exp(x.astype(np.float32))
    assert single.dtype is fg.float32
    if scale < 40:
        close(single.numpy(), expected.astype(np.float32), 1e-5)


def test_exponential_of_a_matrix_far_from_normal() -> None:
    x = np.array([[-1.0, 1e9], [0, -2]])
    exact = np.array([[np.exp(-1), 1e9 * (np.exp(-1) - np.exp(-2))], [0, np.exp(-2)]])
    np.testing.assert_allclose(linalg.expm(x).numpy(), exact, rtol=1e-10)


def test_powers_of_integers() -> None:
    x = np.array([[1, 2], [3, 4]])
    close(linalg.matrix_power(x, 7).numpy(), np.linalg.matrix_power(x, 7))
    assert linalg.matrix_power(x, -1).dtype is fg.float32
    assert linalg.matrix_power(x, 0).tolist() == [[1, 0], [0, 1]]


def test_chains_of_products() -> None:
    shapes = [(4, 9), (9, 2), (2, 7), (7, 3)]
    chain = [matrices(*shape, seed=i) for i, shape in enumerate(shapes)]
    for ends in (chain, [chain[0][0], *chain[1:]], [*chain[:-1], chain[-1][:, 0]], chain[:2]):
        close(linalg.multi_dot(ends).numpy(), np.linalg.multi_dot(ends))
    ends = [chain[0][0], *chain[1:-1], chain[-1][:, 0]]
    close(linalg.multi_dot(ends).numpy(), np.asarray(np.linalg.multi_dot(ends)))


def test_chains_are_cut_where_it_costs_least() -> None:
    a, b, c = (fg.ones(shape) for shape in ((2, 100), (100, 2), (2, 50)))
    text = fg.compile(lambda a, b, c: linalg.multi_dot([a, b, c])).explain(a, b, c)
    assert "f32[2, 2]" in str(text)


def test_products() -> None:
    a, b = matrices(4, 3), matrices(2, 4, 3, seed=1)
    close(linalg.cross(a, b).numpy(), np.cross(a, b))
    close(linalg.cross(a.T, b[0].T, axis=0).numpy(), np.cross(a.T, b[0].T, axis=0))
    close(linalg.cross(np.array([1, 2, 3]), [4, 5, 6]).numpy(), np.cross([1, 2, 3], [4, 5, 6]))
    close(linalg.outer(a[0], b[0, 0]).numpy(), np.outer(a[0], b[0, 0]))
    close(linalg.vecdot(a, b).numpy(), (a * b).sum(-1))
    close(linalg.matmul(a, b[0].T).numpy(), a @ b[0].T)
    close(linalg.tensordot(a, b, axes=([0], [1])).numpy(), np.tensordot(a, b, axes=([0], [1])))
    close(linalg.matrix_transpose(b).numpy(), np.swapaxes(b, -1, -2))


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (2, 3, 3), (0, 3), (1, 1)], ids=str)
def test_diagonals(shape: tuple[int, ...]) -> None:
    x = matrices(*shape)
    for offset in (-5, -2, -1, 0, 1, 2, 3, 5):
        expected = np.linalg.diagonal(x, offset=offset)
        for (found,) in both(lambda a, offset=offset: linalg.diagonal(a, offset=offset), x):
            close(found, expected)
        close(linalg.trace(x, offset=offset).numpy(), np.asarray(expected.sum(-1)))
    assert linalg.trace(np.ones((2, 2), np.int8)).dtype is fg.int64


# --- dtypes and the compiled program --------------------------------------------------------------


@pytest.mark.parametrize("name", ["inv", "det", "cholesky", "svdvals", "eigvalsh", "expm", "norm"])
def test_integers_become_floats(name: str) -> None:
    found = getattr(linalg, name)(np.array([[4, 1], [1, 3]]))
    assert found.dtype is fg.float32
    reference = getattr(linalg, name)(np.array([[4.0, 1], [1, 3]]))
    np.testing.assert_allclose(found.numpy(), reference.numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", ["inv", "det", "cholesky", "svdvals", "eigvalsh", "expm"])
def test_halves_compute_in_float32(name: str) -> None:
    x = fg.asarray([[4.0, 1], [1, 3]], dtype=fg.float16)
    exact = getattr(linalg, name)(x.astype(fg.float32)).numpy()
    for run in (getattr(linalg, name), fg.compile(getattr(linalg, name))):
        found = run(x)
        assert found.dtype is fg.float16
        np.testing.assert_array_equal(found.numpy(), exact.astype(np.float16))


def test_views_are_read_as_they_are() -> None:
    x = regular(8, 8)[1::3, ::-2][:, 1:]
    strange = np.asfortranarray(regular(4, 3, 3).transpose(2, 1, 0))[:, :, 1]
    for array in (x, strange):
        for (found,) in both(linalg.inv, array):
            close(found, np.linalg.inv(array), 1e-8)


def test_results_have_the_names_of_the_standard() -> None:
    x = definite(2, 2)
    assert linalg.eigh(x)._fields == ("eigenvalues", "eigenvectors")
    assert linalg.qr(x)._fields == ("Q", "R")
    assert linalg.slogdet(x)._fields == ("sign", "logabsdet")
    assert linalg.svd(x)._fields == ("U", "S", "Vh")
    compiled = fg.compile(linalg.svd)(x)
    assert isinstance(compiled, linalg.SVDResult)


def test_a_decomposition_runs_once_for_all_its_results() -> None:
    calls = []
    svd = np.linalg.svd

    def counted(*args: Any, **params: Any) -> Any:
        calls.append(args)
        return svd(*args, **params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.linalg, "svd", counted)
        u, s, vh = linalg.svd(matrices(3, 3))
        assert (u.numpy() @ np.diag(s.numpy()) @ vh.numpy()).shape == (3, 3)
        assert len(calls) == 1
        fg.compile(linalg.svd)(matrices(3, 3))
        assert len(calls) == 2
