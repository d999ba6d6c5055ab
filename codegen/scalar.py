"""The table of scalar ops: their types, meanings, expansions, costs and error bounds.

Knows scalar expressions; knows no loops, no tensors and no targets.

A row without `expand` is primitive: every target emits it. All other rows are made of primitive
rows once, so a function has the same meaning, to the bit, on every target.
"""

from __future__ import annotations

from .dtypes import DType
from .expr import Apply, Expr
from .scalar_math import EXPANSIONS
from .scalar_primitives import PRIMITIVES, ScalarOp, build

__all__ = ["TABLE", "ScalarOp", "apply", "expand"]

TABLE: dict[str, ScalarOp] = {**PRIMITIVES, **EXPANSIONS}
"""Every scalar op by name."""


def apply(name: str, *args: Expr, dtype: DType | None = None) -> Expr:
    """Scalar op `name` of `args`: checked, typed, and folded where that changes no bit.

    Constants fold in index arithmetic (int64), comparisons and logic; float arithmetic is kept
    as written.

    Parameters
    ----------
    name : str
        A row of `TABLE`.
    *args : Expr
    dtype : DType, optional
        What `cast` and `bitcast` convert to.

    Raises
    ------
    TypeError
        If there is no such op, or it does not take these operands.

    Examples
    --------
    >>> from fusegrad.codegen.expr import Var, index
    >>> i = Var("i")
    >>> apply("add", apply("mul", i, index(1)), index(0)) is i
    True
    >>> apply("lt", i, index(4)).dtype
    fusegrad.bool
    """
    return build(TABLE, name, args, dtype)


def expand(expr: Apply) -> Expr | None:
    """`expr` made of primitive rows, its operands kept; None when its row is primitive."""
    row = TABLE[expr.op]
    return None if row.expand is None else row.expand(*expr.args)
