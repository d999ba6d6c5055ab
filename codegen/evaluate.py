"""The value of a scalar expression in NumPy: for tests, and for the kernel interpreter.

Knows expressions and the scalar table; knows no statements and no targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import numpy as np

from .expr import Apply, Const, Expr, Load, Var, walk
from .meanings import number
from .scalar import TABLE

__all__ = ["evaluate"]


def evaluate(
    expr: Expr,
    env: Mapping[Var, Any],
    load: Callable[[Load, tuple[Any, ...]], Any] | None = None,
    *,
    expanded: bool = False,
) -> Any:
    """The value of `expr`, for arrays in the place of variables too.

    Parameters
    ----------
    expr : Expr
    env : mapping of Var to array or NumPy scalar
    load : callable, optional
        Reads a buffer: takes the load and the values of its indices.
    expanded : bool
        Compute the rows that have an expansion by it, not by their NumPy meaning.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.codegen.scalar import apply
    >>> x = Var("x", float32)
    >>> evaluate(apply("add", x, x), {x: np.float32([1, 2])})
    array([2., 4.], dtype=float32)
    """
    values: dict[Expr, Any] = {}
    with np.errstate(all="ignore"):
        _evaluate(expr, env, load, values, expanded)
    return values[expr]


def _evaluate(
    root: Expr,
    env: Mapping[Var, Any],
    load: Callable[[Load, tuple[Any, ...]], Any] | None,
    values: MutableMapping[Expr, Any],
    expanded: bool,
) -> None:
    for e in walk(root):
        if e in values:
            continue
        if isinstance(e, Const):
            values[e] = number(e.value, e.dtype)
        elif isinstance(e, Var):
            values[e] = env[e]
        elif isinstance(e, Load):
            if load is None:
                raise ValueError(f"no buffers here, but the expression reads {e.buffer.name}")
            values[e] = load(e, tuple(values[i] for i in e.indices))
        elif isinstance(e, Apply):
            row = TABLE[e.op]
            if expanded and row.expand is not None:
                body = row.expand(*e.args)
                _evaluate(body, env, load, values, expanded)
                values[e] = values[body]
                continue
            operands = [values[a] for a in e.args]
            if e.op in ("cast", "bitcast"):
                operands.append(e.dtype)
            values[e] = row.meaning(*operands)
