"""Derivatives of fg.linalg: finite differences to second order, batches, modes, special points."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import linalg
from fusegrad.errors import NotDifferentiableError
from fusegrad.testing import check_grads
from tests.linalg.support import Array, definite, matrices, regular, symmetrised

WEIGHTS = matrices(4, 4, seed=9)


def _symmetric(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *rest: function(symmetrised(x), *rest)


def _eig(x: Any) -> Any:
    """Eigenvalues and vectors of a matrix that is not symmetric and has real eigenvalues."""
    w, v = linalg.eig(fg.asarray(np.diag([1.0, 3.0, 7.0])) + 0.1 * x)
    return w, v * v


CASES: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "cholesky": (_symmetric(linalg.cholesky), (definite(2, 3, 3),)),
    "cholesky upper": (_symmetric(lambda x: linalg.cholesky(x, upper=True)), (definite(3, 3),)),
    "cholesky_solve": (
        _symmetric(lambda x, b: linalg.cholesky_solve(b, linalg.cholesky(x))),
        (definite(3, 3), matrices(3, 2)),
    ),
    "cholesky_inverse": (linalg.cholesky_inverse, (regular(3, 3),)),
    "solve": (linalg.solve, (regular(2, 3, 3), matrices(3, 2))),
    "solve vector": (linalg.solve, (regular(2, 3, 3), matrices(3))),
    "solve right": (
        lambda a, b: linalg.solve(a, b, left=False),
        (regular(3, 3), matrices(2, 2, 3)),
    ),
    "triangular lower": (
        lambda a, b: linalg.solve_triangular(a, b, lower=True),
        (regular(2, 3, 3), matrices(3, 2)),
    ),
    "triangular transposed": (
        lambda a, b: linalg.solve_triangular(a, b, trans=1, unit_diagonal=True),
        (regular(3, 3), matrices(3)),
    ),
    "lu_solve": (
        lambda a, b: linalg.lu_solve(*linalg.lu_factor(a), b),
        (matrices(3, 3), matrices(3, 2)),
    ),
    "lu_solve adjoint": (
        lambda a, b: linalg.lu_solve(*linalg.lu_factor(a), b, adjoint=True),
        (matrices(2, 3, 3), matrices(3, 2)),
    ),
    "lu": (linalg.lu, (matrices(2, 3, 3),)),
    "lu tall": (linalg.lu, (matrices(5, 3),)),
    "lu wide": (linalg.lu, (matrices(3, 5),)),
    "inv": (linalg.inv, (regular(2, 3, 3),)),
    "det": (linalg.det, (matrices(2, 3, 3),)),
    "slogdet": (linalg.slogdet, (regular(2, 3, 3),)),
    "logdet": (_symmetric(linalg.logdet), (definite(3, 3),)),
    "pinv tall": (linalg.pinv, (matrices(2, 4, 2),)),
    "pinv wide": (linalg.pinv, (matrices(2, 4),)),
    "pinv symmetric": (_symmetric(lambda x: linalg.pinv(x, hermitian=True)), (definite(3, 3),)),
    "lstsq": (lambda a, b: linalg.lstsq(a, b)[:2], (matrices(5, 2), matrices(5, 2))),
    "lstsq wide": (lambda a, b: linalg.lstsq(a, b).solution, (matrices(2, 4), matrices(2))),
    "qr": (linalg.qr, (matrices(2, 3, 3),)),
    "qr tall": (linalg.qr, (matrices(5, 3),)),
    "qr wide": (linalg.qr, (matrices(3, 5),)),
    "qr r": (lambda x: linalg.qr(x, mode="r"), (matrices(4, 3),)),
    "svd": (lambda x: linalg.svd(x, full_matrices=False), (matrices(2, 3, 3),)),
    "svd tall": (lambda x: linalg.svd(x, full_matrices=False), (matrices(4, 3),)),
    "svd wide": (lambda x: linalg.svd(x, full_matrices=False), (matrices(3, 4),)),
    "svd full values": (lambda x: linalg.svd(x).S, (matrices(3, 4),)),
    "svdvals": (linalg.svdvals, (matrices(2, 3, 2),)),
    "eigh": (_symmetric(linalg.eigh), (definite(2, 3, 3),)),
    "eigh upper": (_symmetric(lambda x: linalg.eigh(x, "U")), (definite(3, 3),)),
    "eigvalsh": (_symmetric(linalg.eigvalsh), (definite(2, 3, 3),)),
    "eig": (_eig, (matrices(3, 3),)),
    "eigvals": (lambda x: linalg.eigvals(np.diag([1.0, 3.0, 7]) + 0.1 * x), (matrices(3, 3),)),
    "expm": (linalg.expm, (matrices(2, 3, 3),)),
    "expm large": (lambda x: linalg.expm(6 * (x - x.mT)), (matrices(3, 3),)),
    "matrix_power": (lambda x: linalg.matrix_power(x, 5), (matrices(2, 2, 2),)),
    "matrix_power negative": (lambda x: linalg.matrix_power(x, -3), (regular(3, 3),)),
    "multi_dot": (
        lambda *xs: linalg.multi_dot(xs),
        (matrices(3), matrices(3, 4), matrices(4, 2), matrices(2)),
    ),
    "cross": (linalg.cross, (matrices(2, 3), matrices(3))),
    "diagonal": (lambda x: linalg.diagonal(x, offset=1) ** 2, (matrices(2, 3, 4),)),
    "trace": (lambda x: linalg.trace(x) ** 2, (matrices(2, 3, 3),)),
    "cond": (linalg.cond, (regular(2, 3, 3),)),
    "cond 1": (lambda x: linalg.cond(x, 1), (regular(3, 3),)),
    "tensorinv": (linalg.tensorinv, (matrices(2, 3, 6),)),
    "tensorsolve": (linalg.tensorsolve, (matrices(2, 3, 6), matrices(2, 3))),
    **{
        f"vector_norm {order}": (
            lambda x, order=order: linalg.vector_norm(x, order, axis=(0, -1)),
            (matrices(2, 3, 2),),
        )
        for order in (1, 2, 3, 0.5, -1.5, math.inf, -math.inf)
    },
    **{
        f"matrix_norm {order}": (
            lambda x, order=order: linalg.matrix_norm(x, order),
            (matrices(2, 3, 4),),
        )
        for order in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)
    },
}


@pytest.mark.parametrize("name", CASES)
def test_differences_to_second_order(name: str) -> None:
    function, args = CASES[name]
    check_grads(function, args, order=2, rtol=2e-4, atol=2e-5)


COMPILED = ["cholesky", "solve", "lu wide", "det", "slogdet", "pinv tall", "lstsq", "qr wide"]
COMPILED += ["svd tall", "eigh", "eig", "expm", "cond", "matrix_norm nuc", "vector_norm 3"]


def _loss(name: str) -> Callable[..., Any]:
    function, _ = CASES[name]

    def loss(*args: Any) -> Any:
        leaves = function(*args)
        leaves = [leaves] if isinstance(leaves, fg.Tensor) else leaves
        return sum((fg.sin(leaf) * (i + 1)).sum() for i, leaf in enumerate(leaves))

    return loss


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_gradients_of_first_and_second_order(name: str) -> None:
    _, args = CASES[name]
    loss = _loss(name)
    gradient = fg.grad(loss)

    def second(*args: Any) -> Any:
        return (gradient(*args) * args[0]).sum()

    for function in (gradient, fg.grad(second)):
        expected = function(*map(fg.asarray, args)).numpy()
        found = fg.compile(function)(*args).numpy()
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(found, expected, 1e-9, 1e-9 * scale)


@pytest.mark.parametrize("name", [*COMPILED, "matrix_norm 2", "tensorinv", "lu_solve"])
def test_over_a_batch(name: str) -> None:
    function, args = CASES[name]
    rows = [np.stack([x, 0.5 * x, x + 0.01 * x**2]) for x in args]
    found = fg.vmap(function)(*rows)
    expected = [function(*map(fg.asarray, row)) for row in zip(*rows, strict=True)]
    found = [found] if isinstance(found, fg.Tensor) else list(found)
    for place, part in enumerate(found):
        one = [e if isinstance(e, fg.Tensor) else e[place] for e in expected]
        np.testing.assert_allclose(part.numpy(), np.stack([e.numpy() for e in one]), 1e-9, 1e-9)


@pytest.mark.parametrize("name", ["inv", "cholesky", "svd", "eigh", "qr", "slogdet", "expm"])
def test_forward_mode(name: str) -> None:
    function, args = CASES[name]
    direction = [matrices(*x.shape, seed=5) for x in args]
    _, tangent = fg.jvp(function, tuple(args), tuple(direction))
    tangents = [tangent] if isinstance(tangent, fg.Tensor) else list(tangent)

    def moved(step: float) -> list[Array]:
        found = function(*[fg.asarray(x + step * d) for x, d in zip(args, direction, strict=True)])
        return [y.numpy() for y in ([found] if isinstance(found, fg.Tensor) else found)]

    for t, high, low in zip(tangents, moved(1e-6), moved(-1e-6), strict=True):
        np.testing.assert_allclose(t.numpy(), (high - low) / 2e-6, 1e-5, 1e-6)


# --- special points -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4])
def test_determinants_of_singular_matrices_have_derivatives(rank: int, size: int) -> None:
    for seed in range(3):
        x = matrices(size, rank, seed=seed) @ matrices(rank, size, seed=seed + 9)
        x = x * np.where(np.arange(size) == seed, -1, 1)
        check_grads(linalg.det, (x,), order=2, rtol=1e-4, atol=1e-5)


def test_third_derivative_of_a_determinant() -> None:
    for sign in (1, -1):
        check_grads(linalg.det, (sign * regular(3, 3),), order=3, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [2, 1, 3, 0.5, -1, "fro", "nuc"])
def test_the_derivative_of_a_norm_at_zero_is_finite(order: Any) -> None:
    norm = linalg.matrix_norm if isinstance(order, str) else linalg.vector_norm
    gradient = fg.grad(lambda x: norm(x, order))(fg.zeros((2, 2)))
    assert np.isfinite(gradient.numpy()).all()
    if order != "nuc":
        assert gradient.tolist() == [[0, 0], [0, 0]]


def test_equal_values_have_derivatives_and_their_vectors_have_none() -> None:
    one = fg.eye(3, dtype=fg.float64)
    for values in (linalg.svdvals, linalg.eigvalsh, lambda x: linalg.svd(x).S):
        gradient = fg.grad(lambda x, values=values: values(x).sum())(one)
        np.testing.assert_allclose(gradient.numpy(), np.eye(3), atol=1e-12)
    for vectors in (lambda x: linalg.svd(x).U, lambda x: linalg.eigh(x)[1]):
        gradient = fg.grad(lambda x, vectors=vectors: (vectors(x) * WEIGHTS[:3, :3]).sum())(one)
        assert np.isnan(gradient.numpy()).any()


def test_what_has_no_derivative_says_so() -> None:
    wide = fg.asarray(matrices(2, 4))
    with pytest.raises(NotDifferentiableError, match="full_matrices=True have no derivative"):
        fg.grad(lambda x: linalg.svd(x).Vh.sum())(wide)
    with pytest.raises(NotDifferentiableError, match=r"mode=\"reduced\""):
        fg.grad(lambda x: linalg.qr(x, mode="complete").Q.sum())(wide.mT)


def test_a_gaussian_process() -> None:
    """The marginal likelihood, by its hyperparameters."""
    x = np.linspace(0, 3, 7)
    y = np.sin(x)
    squares = (x[:, None] - x) ** 2

    def loss(logs: Any) -> Any:
        k = fg.exp(logs[0]) * fg.exp(-0.5 * squares / fg.exp(2 * logs[1]))
        factor = linalg.cholesky(k + fg.exp(logs[2]) * fg.eye(7, dtype=fg.float64))
        solved = linalg.solve_triangular(factor, y, lower=True)
        return 0.5 * (solved**2).sum() + fg.log(linalg.diagonal(factor)).sum()

    logs = np.array([0.1, -0.2, -3.0])
    check_grads(loss, (logs,), order=2)
    step = fg.compile(fg.value_and_grad(loss))
    k = np.exp(0.1) * np.exp(-0.5 * squares / np.exp(-0.4)) + np.exp(-3) * np.eye(7)
    expected = 0.5 * y @ np.linalg.solve(k, y) + 0.5 * np.linalg.slogdet(k)[1]
    value, gradient = step(logs)
    np.testing.assert_allclose(value.numpy(), expected)
    np.testing.assert_allclose(gradient.numpy(), fg.grad(loss)(fg.asarray(logs)).numpy())
