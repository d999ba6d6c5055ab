"""Layers of image models in NumPy: each gives its value, and a function that gives cotangents.

Knows no model and no clock. It is the reference, so it is plain and not fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Back = Callable[[Array], Any]


def convolution(x: Array, w: Array, stride: int = 1, padding: int = 0) -> tuple[Array, Back]:
    """NCHW by OCHW; the cotangents are those of input and weight."""
    padded = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    sizes = w.shape[2:]
    counts = [(e - k) // stride + 1 for e, k in zip(padded.shape[2:], sizes, strict=True)]

    def part(a: int, b: int) -> tuple[Any, ...]:
        ends = zip((a, b), counts, strict=True)
        places = (slice(k, k + stride * (c - 1) + 1, stride) for k, c in ends)
        return (slice(None), slice(None), *places)

    value = np.zeros((x.shape[0], w.shape[0], *counts), x.dtype)
    for a, b in np.ndindex(*sizes):
        value += np.einsum("nchw,oc->nohw", padded[part(a, b)], w[:, :, a, b], optimize=True)

    def back(g: Array) -> tuple[Array, Array]:
        by_input, by_weight = np.zeros_like(padded), np.zeros_like(w)
        for a, b in np.ndindex(*sizes):
            by_input[part(a, b)] += np.einsum("nohw,oc->nchw", g, w[:, :, a, b], optimize=True)
            by_weight[:, :, a, b] = np.einsum("nohw,nchw->oc", g, padded[part(a, b)], optimize=True)
        height, width = x.shape[2:]
        inside = by_input[:, :, padding : padding + height, padding : padding + width]
        return inside, by_weight

    return value, back


def batch_norm(x: Array, scale: Array, shift: Array) -> tuple[Array, Back]:
    """Statistics of the batch; the cotangents are those of input, scale and shift."""
    axes = (0, 2, 3)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    spread = 1 / np.sqrt(variance + 1e-5)
    normal = (x - mean) * spread

    def back(g: Array) -> tuple[Array, Array, Array]:
        by_scale, by_shift = (g * normal).sum(axes), g.sum(axes)
        h = g * scale[:, None, None]
        centred = h - h.mean(axes, keepdims=True) - normal * (h * normal).mean(axes, keepdims=True)
        return centred * spread, by_scale, by_shift

    return normal * scale[:, None, None] + shift[:, None, None], back


def average_pool(x: Array) -> tuple[Array, Back]:
    """Squares of two by two."""
    n, c, height, width = x.shape
    squares = x.reshape(n, c, height // 2, 2, width // 2, 2)
    return squares.mean((3, 5)), lambda g: np.repeat(np.repeat(g, 2, 2), 2, 3) / 4


def sigmoid(x: Array) -> tuple[Array, Back]:
    y = 1 / (1 + np.exp(-x))
    return y, lambda g: g * y * (1 - y)


def relu(x: Array) -> tuple[Array, Back]:
    return np.maximum(x, 0), lambda g: g * (x > 0)


def linear(x: Array, w: Array, b: Array) -> tuple[Array, Back]:
    """The cotangents are those of input, weight and bias."""
    return x @ w.T + b, lambda g: (g @ w, g.T @ x, g.sum(0))
