"""Fusegrad and jax under the same names, for checks that are written once."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np

import fusegrad as fg

TRANSFORMS = ("grad", "value_and_grad", "jvp", "vjp", "vmap", "jacfwd", "jacrev", "hessian")
RULES = ("linearize", "custom_jvp", "custom_vjp", "checkpoint")
CONTROL = ("scan", "while_loop", "fori_loop", "cond", "switch", "map", "stop_gradient")
VECTOR = [1.0, 2.0, 3.0]
MATRIX = [[1.0, 2.0], [3.0, 5.0]]


def library(source: Any, control: Any, **more: Any) -> SimpleNamespace:
    """The names that the checks use."""
    found = {name: getattr(source, name) for name in (*TRANSFORMS, *RULES)}
    found |= {name: getattr(control, name) for name in CONTROL}
    return SimpleNamespace(**found, **more)


def ours() -> SimpleNamespace:
    array = lambda *a: fg.asarray(np.array(*a))  # noqa: E731
    return library(
        fg, fg, np=fg, array=array, jit=fg.compile, vector=array(VECTOR), matrix=array(MATRIX)
    )


def theirs() -> SimpleNamespace:
    jax = importlib.import_module("jax")
    array = jax.numpy.array
    more = {"vector": array(VECTOR), "matrix": array(MATRIX)}
    return library(jax, jax.lax, np=jax.numpy, array=array, jit=jax.jit, **more)


def compare(mine: Any, other: Any) -> None:
    """The same containers, shapes and values."""
    if isinstance(other, dict):
        assert mine.keys() == other.keys()
        for name, value in other.items():
            compare(mine[name], value)
    elif isinstance(other, (tuple, list)):
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            compare(a, b)
    elif other is None:
        assert mine is None
    else:
        expected = np.asarray(other, np.float64)
        assert np.shape(mine) == expected.shape
        np.testing.assert_allclose(np.asarray(mine, np.float64), expected, rtol=1e-5, atol=1e-8)
