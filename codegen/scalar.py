"""The table of scalar ops: their types, meanings, expansions, costs and error bounds.

Knows scalar expressions; knows no loops, no tensors and no targets.

A row without `expand` is primitive: every target emits it. All other rows are made of primitive
rows once, so a function has the same meaning, to the bit, on every target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from . import meanings
from .dtypes import DType, float32, float64
from .expr import Apply, Expr, Var, walk
from .scalar_build import Operand, make, number
from .scalar_math import EXPANSIONS, SINGLE
from .scalar_primitives import PRIMITIVES, ScalarOp, build, same

__all__ = ["TABLE", "ScalarOp", "apply", "define", "expand", "rows"]

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


@final
class _Rows:
    """The functions that every row is, of expressions and numbers."""

    def __getattr__(self, name: str) -> Callable[..., Expr]:
        # An underscore follows words of Python: rows.and_, rows.not_.
        row = TABLE.get(name.rstrip("_"))
        if row is None:
            raise AttributeError(f"no scalar op {name!r}")
        found = row.expand

        def function(*operands: Operand) -> Expr:
            if found is None:
                return make(row.name, *operands)
            like = next(o for o in operands if isinstance(o, Expr))
            return found(*(o if isinstance(o, Expr) else number(o, like) for o in operands))

        return function


rows = _Rows()
"""What new functions are written in: ``rows.log1p(rows.exp(x))`` is made of primitive rows."""


def define(
    name: str, expansion: Callable[..., Expr], arity: int, meaning: Callable[..., Any], ulp: float
) -> None:
    """Add a row for floats that is made of others.

    Parameters
    ----------
    name : str
    expansion : callable
        From operands of one dtype to the result, written in `rows`.
    arity : int
    meaning : callable
        The meaning in NumPy.
    ulp : float
        The largest error, in units in the last place.

    Raises
    ------
    ValueError
        If there is a row of this name.
    """
    if name in TABLE:
        raise ValueError(f"there is a scalar op {name!r} already")
    body = expansion(*(Var(f"x{n}", float64) for n in range(arity)))
    cost = sum(PRIMITIVES[e.op].cost for e in walk(body) if isinstance(e, Apply))
    TABLE[name] = ScalarOp(
        name,
        arity,
        same("float"),
        meanings.quiet(meaning),
        "",
        expansion,
        cost,
        {float32: ulp, float64: ulp},
    )


def expand(expr: Apply, single: bool = False) -> Expr | None:
    """`expr` made of primitive rows, its operands kept; None when its row is primitive.

    With `single` no float64 is used for float32.
    """
    if single and expr.dtype is float32 and expr.op in SINGLE:
        return SINGLE[expr.op](*expr.args)
    row = TABLE[expr.op]
    return None if row.expand is None else row.expand(*expr.args)
