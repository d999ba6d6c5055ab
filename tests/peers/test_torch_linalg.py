"""Linear algebra against torch: values, first and second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

rng = np.random.default_rng(0)
Array = np.ndarray[Any, Any]


def matrix(*shape: int) -> Array:
    return rng.standard_normal(shape)


def regular(*shape: int) -> Array:
    return matrix(*shape) + 3 * np.eye(shape[-1])


def definite(*shape: int) -> Array:
    a = matrix(*shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


# Functions of a library's linalg and its arrays; vectors by what no choice of sign changes.
CASES: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "solve": (lambda la, a, b: la.solve(a, b), (regular(2, 3, 3), matrix(2, 3, 2))),
    "solve right": (
        lambda la, a, b: la.solve(a, b, left=False),
        (regular(3, 3), matrix(2, 3)),
    ),
    "solve_triangular": (
        lambda la, a, b: la.solve_triangular(a, b, upper=True),
        (regular(3, 3), matrix(3, 2)),
    ),
    "solve_triangular unit": (
        lambda la, a, b: la.solve_triangular(a, b, upper=False, left=False, unitriangular=True),
        (regular(3, 3), matrix(2, 3)),
    ),
    "inv": (lambda la, a: la.inv(a), (regular(2, 3, 3),)),
    "det": (lambda la, a: la.det(a), (matrix(2, 3, 3),)),
    "slogdet": (lambda la, a: la.slogdet(a)[1], (regular(2, 3, 3),)),
    "cholesky": (lambda la, a: la.cholesky(a), (definite(2, 3, 3),)),
    "cholesky upper": (lambda la, a: la.cholesky(a, upper=True), (definite(3, 3),)),
    "qr": (lambda la, a: la.qr(a), (matrix(3, 3),)),
    "qr tall": (lambda la, a: la.qr(a), (matrix(2, 5, 3),)),
    "qr wide": (lambda la, a: la.qr(a)[1], (matrix(3, 5),)),
    "lu": (lambda la, a: la.lu(a), (matrix(3, 3),)),
    "lu tall": (lambda la, a: la.lu(a), (matrix(2, 4, 3),)),
    "lu wide": (lambda la, a: la.lu(a), (matrix(3, 4),)),
    "svdvals": (lambda la, a: la.svdvals(a), (matrix(2, 4, 3),)),
    "svd": (
        lambda la, a: [x**2 for x in la.svd(a, full_matrices=False)],
        (matrix(2, 3, 3),),
    ),
    "svd tall": (lambda la, a: [x**2 for x in la.svd(a, full_matrices=False)], (matrix(4, 3),)),
    "svd wide": (lambda la, a: [x**2 for x in la.svd(a, full_matrices=False)], (matrix(2, 4),)),
    "eigh": (lambda la, a: [x**2 for x in la.eigh(a)], (definite(2, 3, 3),)),
    "eigvalsh": (lambda la, a: la.eigvalsh(a), (definite(3, 3),)),
    "pinv": (lambda la, a: la.pinv(a), (matrix(2, 4, 3),)),
    "pinv wide": (lambda la, a: la.pinv(a), (matrix(2, 4),)),
    "lstsq": (lambda la, a, b: la.lstsq(a, b)[0], (matrix(5, 2), matrix(5, 3))),
    "matrix_power": (lambda la, a: la.matrix_power(a, 4), (regular(2, 3, 3),)),
    "matrix_power negative": (lambda la, a: la.matrix_power(a, -2), (regular(3, 3),)),
    "matrix_exp": (lambda la, a: la.matrix_exp(a), (matrix(2, 3, 3),)),
    "multi_dot": (lambda la, *xs: la.multi_dot(xs), (matrix(2, 3), matrix(3, 4), matrix(4, 2))),
    "cross": (lambda la, a, b: la.cross(a, b), (matrix(2, 3), matrix(2, 3))),
    "cond": (lambda la, a: la.cond(a), (regular(3, 3),)),
    "diagonal": (lambda la, a: la.diagonal(a, offset=1), (matrix(2, 3, 4),)),
    "norm": (lambda la, a: la.norm(a, dim=(0, 1)), (matrix(2, 3, 4),)),
    "vector_norm": (lambda la, a: la.vector_norm(a, 3, dim=1), (matrix(2, 3),)),
    "vector_norm inf": (lambda la, a: la.vector_norm(a, float("inf")), (matrix(2, 3),)),
    "matrix_norm nuc": (lambda la, a: la.matrix_norm(a, "nuc"), (matrix(2, 3, 4),)),
    "matrix_norm 2": (lambda la, a: la.matrix_norm(a, 2), (matrix(2, 3, 4),)),
    "matrix_norm 1": (lambda la, a: la.matrix_norm(a, 1, keepdim=True), (matrix(2, 3, 4),)),
    "tensorinv": (lambda la, a: la.tensorinv(a, ind=2), (matrix(2, 3, 6),)),
    "tensorsolve": (lambda la, a, b: la.tensorsolve(a, b), (matrix(2, 3, 6), matrix(2, 3))),
}


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def weighted(found: list[Any], weights: list[Array], wrap: Callable[[Array], Any]) -> Any:
    return sum((x * wrap(w)).sum() for x, w in zip(found, weights, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name: str) -> None:
    function, args = CASES[name]
    own = [fg.asarray(x) for x in args]
    peer = [torch.tensor(x, requires_grad=True) for x in args]
    expected = parts(function(torch.linalg, *peer))
    found = parts(function(fg.linalg, *own))
    random = np.random.default_rng(1)
    weights = [random.standard_normal(tuple(x.shape)) for x in expected]
    directions = [random.standard_normal(x.shape) for x in args]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other.detach().numpy(), 1e-9, 1e-9)

    def loss(*xs: Any) -> Any:
        return weighted(parts(function(fg.linalg, *xs)), weights, fg.asarray)

    places = tuple(range(len(args)))
    gradient = fg.grad(loss, argnums=places)

    def slope(*xs: Any) -> Any:
        return weighted(list(gradient(*xs)), directions, fg.asarray)

    total = weighted(expected, weights, torch.tensor)
    first = torch.autograd.grad(total, peer, create_graph=True)
    for one, other in zip(gradient(*own), first, strict=True):
        np.testing.assert_allclose(one.numpy(), other.detach().numpy(), 1e-7, 1e-7)
    along = weighted(list(first), directions, torch.tensor)
    if not along.requires_grad:
        return
    second = torch.autograd.grad(along, peer, allow_unused=True)
    for one, other in zip(fg.grad(slope, argnums=places)(*own), second, strict=True):
        reference = np.zeros(one.shape) if other is None else other.numpy(force=True)
        scale = max(1.0, float(np.abs(reference).max()))
        np.testing.assert_allclose(one.numpy(), reference, 1e-6, 1e-6 * scale)
