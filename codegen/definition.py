"""What an expansion means in NumPy: the meaning of functions that NumPy does not have.

Knows expressions of primitive rows; knows no other rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .dtypes import float64
from .expr import Apply, Const, Expr, Var, walk
from .scalar_primitives import PRIMITIVES

__all__ = ["by_expansion"]


def by_expansion(expand: Callable[..., Expr], arity: int) -> Callable[..., Any]:
    """The meaning of a row as its own expansion, computed in float64 and rounded once.

    Examples
    --------
    >>> from fusegrad.codegen.scalar_build import add
    >>> by_expansion(lambda x: add(x, 1.0), 1)(np.float32([1, 2]))
    array([2., 3.], dtype=float32)
    """

    @functools.cache
    def expansion() -> tuple[list[Var], list[Expr]]:
        variables = [Var(f"x{n}", float64) for n in range(arity)]
        return variables, list(walk(expand(*variables)))

    def meaning(*operands: Any) -> Any:
        variables, order = expansion()
        given = [np.asarray(x) for x in operands]
        values: dict[Expr, Any] = {
            var: x.astype(np.float64) for var, x in zip(variables, given, strict=True)
        }
        with np.errstate(all="ignore"):
            for e in order:
                if isinstance(e, Const):
                    values[e] = e.dtype.numpy.type(e.value)
                elif isinstance(e, Apply):
                    inputs = [values[a] for a in e.args]
                    if e.op in ("cast", "bitcast"):
                        inputs.append(e.dtype)
                    values[e] = PRIMITIVES[e.op].meaning(*inputs)
            return np.asarray(values[order[-1]]).astype(given[0].dtype)[()]

    return meaning
