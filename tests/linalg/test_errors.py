"""Matrices that have no result, and wrong use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import linalg
from fusegrad.errors import DTypeError, LinAlgError, MatrixShapeError, ShapeError
from tests.linalg.support import definite, matrices, regular

SINGULAR = np.ones((2, 2))
INDEFINITE = np.array([[1.0, 2], [2, 1]])
ROTATION = np.array([[0.0, -1], [1, 0]])
BROKEN = np.array([[np.inf, 1.0], [1, np.nan]])

FAILURES: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "inv": (linalg.inv, SINGULAR, "inv: singular matrix"),
    "solve": (lambda x: linalg.solve(x, np.ones(2)), SINGULAR, "solve: singular matrix"),
    "triangular": (
        lambda x: linalg.solve_triangular(x, np.ones(2)),
        np.array([[0.0, 1], [0, 1]]),
        "triangular_solve: singular matrix",
    ),
    "cholesky": (linalg.cholesky, INDEFINITE, "cholesky: matrix is not positive definite"),
    "eigvals": (linalg.eigvals, ROTATION, "eigvals: the matrix has complex eigenvalues"),
    "eig": (lambda x: linalg.eig(x)[1], ROTATION, "eig: the matrix has complex eigenvalues"),
    "svd": (lambda x: linalg.svd(x).U, BROKEN, "svd: array must not contain infs or NaNs"),
    "svdvals": (linalg.svdvals, BROKEN, "svdvals: array must not contain infs or NaNs"),
    "eigh": (lambda x: linalg.eigh(x)[0], BROKEN, "eigh: array must not contain infs or NaNs"),
    "eigvalsh": (linalg.eigvalsh, BROKEN, "eigvalsh: array must not contain infs or NaNs"),
    "pinv": (linalg.pinv, BROKEN, "pinv: array must not contain infs or NaNs"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_matrix_without_a_result_is_an_error_where_it_is_looked_at(name: str) -> None:
    function, matrix, message = FAILURES[name]
    result = function(matrix)
    with pytest.raises(LinAlgError, match=message) as caught:
        result.numpy()
    assert isinstance(caught.value, np.linalg.LinAlgError)
    assert caught.value.remedy is not None
    assert caught.value.where is not None
    assert caught.value.where.file == __file__
    with fg.eager(), pytest.raises(LinAlgError, match=message):
        function(matrix)


@pytest.mark.parametrize("name", FAILURES)
def test_compiled_it_is_nan_and_the_rest_of_the_batch_is_right(name: str) -> None:
    function, matrix, _ = FAILURES[name]
    good = definite(2, 2)
    found = fg.compile(function)(np.stack([good, matrix, good])).numpy()
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[0], function(good).numpy())
    np.testing.assert_array_equal(found[0], found[2])
    assert np.isnan(fg.compile(function)(matrix).numpy()).all()


def test_the_other_values_that_wait_are_computed() -> None:
    x = fg.asarray(SINGULAR)
    broken, fine = linalg.inv(x), x + 1
    assert fine.tolist() == [[2, 2], [2, 2]]
    with pytest.raises(LinAlgError):
        broken.tolist()


def test_singular_matrices_have_determinants() -> None:
    for run in (linalg.slogdet, fg.compile(linalg.slogdet)):
        sign, logarithm = run(SINGULAR)
        assert (float(sign), float(logarithm)) == (0, -np.inf)
    assert float(linalg.det(SINGULAR)) == 0
    assert np.isnan(float(linalg.logdet(-np.eye(1))))


SQUARE = ["inv", "det", "slogdet", "logdet", "cholesky", "eigh", "eigvalsh", "eig", "eigvals"]
SQUARE += ["expm"]


@pytest.mark.parametrize("name", [*SQUARE, "qr", "svd", "svdvals", "pinv", "lu", "lu_factor"])
def test_what_is_no_matrix(name: str) -> None:
    function = getattr(linalg, name)
    with pytest.raises(MatrixShapeError, match=r"needs a (square )?matrix.* shape \(3,\)"):
        function(fg.ones(3))
    if name in SQUARE:
        with pytest.raises(LinAlgError, match=r"needs a square matrix, .* shape \(3, 4\)"):
            function(fg.ones((3, 4)))


def test_the_message_in_full() -> None:
    with pytest.raises(ShapeError) as caught:
        linalg.inv(fg.ones((3, 4)))
    assert str(caught.value).splitlines() == [
        "inv needs a square matrix, the array has shape (3, 4) [FG111]",
        f"  at {caught.value.where}: linalg.inv(fg.ones((3, 4)))",
        "  remedy: the last two axes must have one extent; for others there are pinv, lstsq, qr "
        "and svd",
    ]


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "solve rows": (
        lambda: linalg.solve(regular(3, 3), np.ones((2, 2))),
        ShapeError,
        r"solve: the matrix has shape \(3, 3\), the right-hand side \(2, 2\)",
    ),
    "solve batch": (
        lambda: linalg.solve(regular(2, 3, 3), np.ones((3, 3, 1))),
        ShapeError,
        "cannot solve shapes",
    ),
    "lstsq rows": (
        lambda: linalg.lstsq(matrices(3, 2), np.ones(2)),
        ShapeError,
        r"lstsq: the matrix has shape \(3, 2\)",
    ),
    "trans": (
        lambda: linalg.solve_triangular(regular(2, 2), np.ones(2), trans=7),
        ShapeError,
        "trans is 7",
    ),
    "UPLO": (lambda: linalg.eigh(regular(2, 2), "x"), ShapeError, "UPLO is 'x'"),
    "qr mode": (lambda: linalg.qr(regular(2, 2), "raw"), ShapeError, "qr has no mode 'raw'"),
    "power": (
        lambda: linalg.matrix_power(regular(2, 2), 1.5),  # type: ignore[arg-type]
        DTypeError,
        "the exponent is a float",
    ),
    "power shape": (lambda: linalg.matrix_power(np.ones((2, 3)), 2), LinAlgError, "square"),
    "norm order": (
        lambda: linalg.matrix_norm(np.ones((2, 2)), 3),
        ShapeError,
        "no norm 3 of a matrix",
    ),
    "norm name": (
        lambda: linalg.norm(np.ones(2), "fro"),
        ShapeError,
        "order 'fro' is one of matrices",
    ),
    "norm axes": (lambda: linalg.norm(np.ones((2, 2, 2)), 2), ShapeError, "name the axis"),
    "norm three": (
        lambda: linalg.norm(np.ones((2, 2, 2)), 2, axis=(0, 1, 2)),
        ShapeError,
        "over 3 axes",
    ),
    "norm twice": (
        lambda: linalg.matrix_norm(np.ones((2, 2)), axis=(0, -2)),
        ShapeError,
        "named twice",
    ),
    "norm axis": (lambda: linalg.vector_norm(np.ones(2), axis=1), IndexError, "no axis 1"),
    "norm of nothing": (
        lambda: linalg.vector_norm(np.ones(0), -np.inf),
        ValueError,
        "min of no elements",
    ),
    "norm dtype": (
        lambda: linalg.vector_norm(np.ones(2), dtype="int32"),
        DTypeError,
        "computes in floats",
    ),
    "cond of nothing": (lambda: linalg.cond(np.ones((0, 0))), LinAlgError, "without elements"),
    "cross": (lambda: linalg.cross(np.ones(2), np.ones(3)), ShapeError, "three elements"),
    "outer": (lambda: linalg.outer(np.ones((2, 2)), np.ones(3)), ShapeError, "takes vectors"),
    "multi_dot one": (lambda: linalg.multi_dot([np.ones(2)]), ShapeError, "two arrays"),
    "multi_dot inner": (
        lambda: linalg.multi_dot([np.ones((2, 2)), np.ones(2), np.ones((2, 2))]),
        ShapeError,
        r"array 1 has shape \(2,\)",
    ),
    "lu_solve pivots": (
        lambda: linalg.lu_solve(regular(2, 2), np.zeros(2), np.ones(2)),
        ShapeError,
        "lu_solve: factors",
    ),
    "tensorinv": (lambda: linalg.tensorinv(np.ones((2, 2)), 0), ShapeError, "ind is 0"),
    "tensorsolve": (
        lambda: linalg.tensorsolve(np.ones((2, 3)), np.ones(2)),
        ShapeError,
        "not square",
    ),
    "rank": (
        lambda: linalg.matrix_rank(np.ones((2, 2)), 0.1, rtol=0.1),
        ShapeError,
        "both tol and rtol",
    ),
    "rtol twice": (
        lambda: linalg.pinv(np.ones((2, 2)), 0.1, rtol=0.1),
        ShapeError,
        "both rcond and rtol",
    ),
    "rtol": (lambda: linalg.pinv(np.ones((2, 2)), np.ones(3)), ShapeError, "cannot broadcast"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name: str) -> None:
    function, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        function()
