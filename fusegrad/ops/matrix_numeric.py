"""Algorithms on batches of matrices that NumPy does not have, in NumPy.

Knows arrays only.
"""

from __future__ import annotations

import math

import numpy as np

from .base import Array

__all__ = [
    "cofactors",
    "cofactors_along",
    "exponential",
    "finite",
    "order_of_rows",
    "pivoted_lu",
    "substitution",
]

_BLOCK = 32


def _singular() -> np.linalg.LinAlgError:
    return np.linalg.LinAlgError("Singular matrix")


def finite(a: Array) -> Array:
    """`a` itself; some iterations of LAPACK never end on infinities."""
    if not np.isfinite(a).all():
        raise np.linalg.LinAlgError("Array must not contain infs or NaNs")
    return a


def substitution(a: Array, b: Array, lower: bool, unit: bool) -> Array:
    """X with ``a @ X = b`` for triangular `a`, by rows in blocks."""
    if not lower:
        return substitution(a[..., ::-1, ::-1], b[..., ::-1, :], True, unit)[..., ::-1, :]
    count = a.shape[-1]
    diagonal = np.diagonal(a, axis1=-2, axis2=-1)
    if not unit and (diagonal == 0).any():
        raise _singular()
    x = np.array(b)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        x[..., start:stop, :] -= a[..., start:stop, :start] @ x[..., :start, :]
        for i in range(start, stop):
            x[..., i : i + 1, :] -= a[..., i : i + 1, start:i] @ x[..., start:i, :]
            if not unit:
                x[..., i, :] /= diagonal[..., i, None]
    return x


def pivoted_lu(a: Array) -> tuple[Array, Array]:
    """L without its diagonal of ones and U in one matrix, and the exchanges of rows."""
    m, n = a.shape[-2:]
    packed = np.array(a)
    pivots = np.empty((*a.shape[:-2], min(m, n)), np.int32)
    for i in range(min(m, n)):
        place = i + np.abs(packed[..., i:, i]).argmax(-1)
        pivots[..., i] = place
        where = place[..., None, None]
        other = np.take_along_axis(packed, where, -2)
        np.put_along_axis(packed, where, packed[..., i : i + 1, :].copy(), -2)
        packed[..., i : i + 1, :] = other
        pivot = packed[..., i : i + 1, i]
        packed[..., i + 1 :, i] /= np.where(pivot == 0, 1, pivot)
        packed[..., i + 1 :, i + 1 :] -= (
            packed[..., i + 1 :, i, None] * packed[..., i, None, i + 1 :]
        )
    return packed, pivots


def order_of_rows(pivots: Array, rows: int) -> Array:
    """Which row stands at each place after exchanges in order."""
    order = np.broadcast_to(np.arange(rows), (*pivots.shape[:-1], rows)).copy()
    for i in range(pivots.shape[-1]):
        where = np.clip(pivots[..., i, None], 0, rows - 1)
        other = np.take_along_axis(order, where, -1)
        np.put_along_axis(order, where, order[..., i : i + 1].copy(), -1)
        order[..., i : i + 1] = other
    return order


# --- cofactors ------------------------------------------------------------------------------------


def _prefixes(s: Array) -> Array:
    """At each place the product of all elements before it."""
    ones = np.ones_like(s[..., :1])
    return np.asarray(np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1))


def _decomposed(a: Array) -> tuple[Array, Array, Array, Array]:
    """The singular value decomposition, and the sign of the determinants of its rotations."""
    u, s, vh = np.linalg.svd(finite(a))
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vh))
    return u, s, vh, sign[..., None, None]


def cofactors(a: Array) -> Array:
    """``det(a) * inv(a).mT``, of singular matrices too."""
    if not a.shape[-1]:
        return np.zeros_like(a)
    u, s, vh, sign = _decomposed(a)
    others = _prefixes(s) * _prefixes(s[..., ::-1])[..., ::-1]
    return np.asarray(sign * ((u * others[..., None, :]) @ vh))


def cofactors_along(a: Array, direction: Array) -> Array:
    """The derivative of `cofactors` along a direction."""
    count = a.shape[-1]
    if not count:
        return np.zeros_like(a)
    u, s, vh, sign = _decomposed(a)
    turned = np.swapaxes(u, -1, -2) @ direction @ np.swapaxes(vh, -1, -2)
    before, behind = _prefixes(s), _prefixes(s[..., ::-1])[..., ::-1]
    others = np.zeros_like(a)
    for i in range(count - 1):
        between = _prefixes(s[..., i + 1 :])
        others[..., i, i + 1 :] = before[..., i, None] * between * behind[..., i + 1 :]
    others += np.swapaxes(others, -1, -2)
    inner = -others * np.swapaxes(turned, -1, -2)
    diagonal = np.diagonal(turned, axis1=-2, axis2=-1)
    places = np.arange(count)
    inner[..., places, places] = (others @ diagonal[..., None])[..., 0]
    return np.asarray(sign * (u @ inner @ vh))


# --- the exponential ------------------------------------------------------------------------------

_PADE = (
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
)
_THETA = 4.25
_LEADING = 1 / (math.comb(26, 13) * math.factorial(27))


def _norm(a: Array) -> Array:
    return np.asarray(np.abs(a).sum(-2).max(-1))


def _squarings(a: Array, fourth: Array, sixth: Array) -> Array:
    """How often to halve each matrix, so that the approximation of order 13 is exact enough."""
    norm8 = _norm(fourth @ fourth) ** (1 / 8)
    norm10 = _norm(fourth @ sixth) ** (1 / 10)
    size = np.minimum(np.maximum(_norm(sixth) ** (1 / 6), norm8), np.maximum(norm8, norm10))
    count = np.maximum(np.ceil(np.log2(np.maximum(size, 1e-300) / _THETA)), 0)
    # The error of the approximation itself, from the 27th power of the magnitudes.
    scaled = np.abs(a) * np.exp2(-count)[..., None, None]
    row = np.ones((*a.shape[:-2], 1, a.shape[-1]))
    for _ in range(27):
        row = row @ scaled
    ratio = row.max((-2, -1)) * _LEADING / np.maximum(_norm(scaled), 1e-300) / 2.0**-53
    more = np.maximum(np.ceil(np.log2(np.maximum(ratio, 1e-300)) / 26), 0)
    return np.where(np.isfinite(count + more), count + more, 0)


def exponential(a: Array) -> Array:
    """The exponential: a rational approximation of order 13 of the matrix halved, then squared."""
    if not a.size:
        return np.array(a)
    dtype, a = a.dtype, a.astype(np.float64)
    second = a @ a
    fourth = second @ second
    count = _squarings(a, fourth, second @ fourth)
    a = a * np.exp2(-count)[..., None, None]
    second = a @ a
    fourth = second @ second
    sixth = fourth @ second
    one = np.eye(a.shape[-1])
    c = _PADE
    odd = sixth @ (c[13] * sixth + c[11] * fourth + c[9] * second)
    odd = a @ (odd + c[7] * sixth + c[5] * fourth + c[3] * second + c[1] * one)
    even = sixth @ (c[12] * sixth + c[10] * fourth + c[8] * second)
    even = even + c[6] * sixth + c[4] * fourth + c[2] * second + c[0] * one
    broken = ~np.isfinite(odd + even).all((-2, -1))[..., None, None]
    x = np.linalg.solve(np.where(broken, one, even - odd), np.where(broken, np.nan, even + odd))
    for i in range(int(count.max())):
        more = (count > i)[..., None, None]
        x = np.where(more, x @ x, x)
    return np.asarray(x.astype(dtype))
