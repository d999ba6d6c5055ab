"""The derivative of convolutions by their weight, of every geometry, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F

Case = tuple[tuple[int, ...], tuple[int, ...], int, int, int, int]
CASES: dict[str, Case] = {
    # Shapes of input and weight; stride, padding, dilation, groups.
    "plain": ((5, 4, 12, 12), (8, 4, 3, 3), 1, 1, 1, 1),
    "odd": ((5, 3, 13, 11), (7, 3, 3, 2), 1, 1, 1, 1),
    "one channel": ((20, 1, 14, 14), (6, 1, 5, 5), 1, 2, 1, 1),
    "stride": ((3, 5, 9, 31), (9, 5, 5, 3), 2, 2, 1, 1),
    "stride beyond windows": ((2, 5, 40, 39), (6, 5, 2, 2), 4, 0, 1, 1),
    "dilation": ((2, 4, 17, 19), (8, 4, 3, 3), 1, 2, 2, 1),
    "stride and dilation": ((2, 3, 40, 20), (5, 3, 3, 3), 2, 2, 3, 1),
    "groups": ((2, 8, 20, 20), (8, 4, 3, 3), 1, 1, 1, 2),
    "parts of an image": ((2, 3, 70, 70), (5, 3, 7, 7), 2, 3, 1, 1),
    "wide": ((1, 2, 4, 3000), (4, 2, 1, 5), 1, 0, 1, 1),
    "narrow": ((3, 6, 300, 3), (4, 6, 3, 1), 1, 0, 1, 1),
    "many channels": ((2, 37, 6, 6), (19, 37, 3, 3), 1, 1, 1, 1),
    "one axis": ((3, 5, 5000), (7, 5, 9), 1, 4, 1, 1),
    "one axis, stride": ((3, 5, 700), (7, 5, 4), 3, 1, 2, 1),
}


def expected(x: np.ndarray, weight: tuple[int, ...], ct: np.ndarray, case: Case) -> np.ndarray:
    _, _, stride, padding, dilation, groups = case
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *[(padding, padding)] * (x.ndim - 2)])
    inputs, outputs = weight[1], weight[0] // groups
    result = np.zeros(weight)
    for group in range(groups):
        out = slice(group * outputs, (group + 1) * outputs)
        for tap in np.ndindex(*weight[2:]):
            window = tuple(
                slice(k * dilation, k * dilation + (n - 1) * stride + 1, stride)
                for k, n in zip(tap, ct.shape[2:], strict=True)
            )
            part = x[(slice(None), slice(group * inputs, (group + 1) * inputs), *window)]
            terms = np.einsum("nc...,no...->oc...", part, ct[:, out].astype(np.float64))
            result[(out, slice(None), *tap)] = terms.reshape(outputs, inputs, -1).sum(-1)
    return result


def by_weight(case: Case, x: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The derivative and the cotangent, of random ones."""
    _, weight, stride, padding, dilation, groups = case
    kernels = np.random.default_rng(seed).standard_normal(weight).astype(x.dtype)
    function = F.conv1d if x.ndim == 3 else F.conv2d
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shape = function(fg.asarray(x), fg.asarray(kernels), **options).shape
    ct = np.random.default_rng(seed + 1).standard_normal(shape).astype(x.dtype)

    @fg.compile
    def derivative(x: fg.Tensor, w: fg.Tensor, ct: fg.Tensor) -> fg.Tensor:
        return fg.grad(lambda w: (function(x, w, **options) * ct).sum())(w)

    return np.asarray(derivative(fg.asarray(x), fg.asarray(kernels), fg.asarray(ct))), ct


@pytest.mark.parametrize("name", CASES)
def test_derivative_by_the_weight(name: str) -> None:
    case = CASES[name]
    for dtype in ("float32", "float64"):
        x = np.random.default_rng(0).standard_normal(case[0]).astype(dtype)
        found, ct = by_weight(case, x)
        scale = np.sqrt(ct[:, 0].size)
        tolerance = 2e-6 if dtype == "float32" else 1e-14
        meant = expected(x, case[1], ct, case)
        np.testing.assert_allclose(found / scale, meant / scale, 0, tolerance * 4)


def test_one_sum_of_many_products_is_differentiated_as_a_convolution() -> None:
    """Not as windows that are multiplied, stored and added at their places."""
    x = np.random.default_rng(0).standard_normal((2, 40, 90)).astype(np.float32)
    w = np.random.default_rng(1).standard_normal((1, 40, 5)).astype(np.float32)

    @fg.compile
    def derivative(x: fg.Tensor) -> fg.Tensor:
        return fg.grad(lambda x: F.conv1d(x, w).sum())(x)

    expected = np.zeros((40, 90))
    for place in range(86):
        expected[:, place : place + 5] += w[0]
    np.testing.assert_allclose(derivative(x), np.stack([expected] * 2), 1e-4, 1e-5)
    assert "overlap" not in str(derivative.explain(x))


def test_an_infinity_at_the_edge_reaches_its_own_sums_only() -> None:
    case: Case = ((2, 2, 9, 9), (4, 2, 3, 3), 1, 0, 1, 1)
    x = np.ones(case[0], np.float32)
    x[0, 0, 0, 8] = np.inf
    found, _ = by_weight(case, x)
    # The last element of the first row meets the upper right element of the weight alone.
    infinite = np.zeros(case[1], bool)
    infinite[:, 0, 0, 2] = True
    np.testing.assert_array_equal(~np.isfinite(found), infinite)
