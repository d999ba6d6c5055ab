"""Loops over few neighbours, joined with the loop around them: so that vectors are stored whole.

Knows statements and strides; knows no kernels.
"""

from __future__ import annotations

from ..affine import canonical
from ..expr import Expr, Var, index
from ..kernel import Any, For, Let, Store
from ..scalar import apply
from .rewrite import stride_of, substitute

__all__ = ["interleaved"]


def interleaved(outer: For, inner: For, lanes: int) -> For | None:
    """Both loops as one where they write neighbouring elements; None where that fills no vectors.

    Lanes read every element of the outer loop as often as the inner one has iterations: that is a
    pattern of numbers only where these divide the lanes.
    """
    few, many = inner.extent, outer.extent
    if not isinstance(few, int) or not isinstance(many, int):
        return None
    if few < 2 or few >= lanes or lanes % few or many * few < lanes or inner.carry or outer.carry:
        return None
    lets = [s for s in outer.body if isinstance(s, Let)]
    stores = [s for s in inner.body if isinstance(s, Store)]
    plain = all(isinstance(s, (Let, Store)) for s in inner.body)
    if not plain or not stores or not isinstance(outer.order, Any):
        return None
    values: dict[Var, Expr] = {s.var: s.value for s in (*lets, *inner.body) if isinstance(s, Let)}
    for s in stores:
        steps = [stride_of(s.buffer, s.indices, f.var, values) for f in (outer, inner)]
        if s.monoid is not None or steps != [few, 1]:
            return None
    both = Var(outer.var.name, extent=many * few)
    places: dict[Var, Expr] = {
        outer.var: canonical(apply("divtrunc", both, index(few))),
        inner.var: canonical(apply("remtrunc", both, index(few))),
    }
    body = substitute((*lets, *inner.body), places)
    return For(both, many * few, Any(), body)
