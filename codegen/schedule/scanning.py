"""Scans in vectors: which loops in order run so, though their states come in another order.

Knows what a loop scans; knows no rows and no launches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..expr import Buffer, Expr, Var
from ..kernel import For, Store, Vector
from ..scans import scan_of
from ..targets.base import Features
from .rewrite import each_access, stride_of

__all__ = ["scanned"]


def scanned(loop: For, lanes: int, lets: Mapping[Var, Expr], target: Features) -> For:
    """A scan with vectors of at most so many lanes; any other loop as it is.

    Each vector takes steps of doubled distance, and then what came before it.
    """
    scan = scan_of(loop)
    if scan is None or scan.carried.dtype.is_half:
        return loop
    # What a product of some elements overflows to, the product with those before them need not.
    if scan.op == "mul" and scan.carried.dtype.is_float:
        return loop
    stores = [s for s in loop.body if isinstance(s, Store)]
    stored, apart = {s.buffer for s in stores}, all(s.monoid is None for s in stores)

    def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
        nonlocal apart
        if is_store:
            apart &= stride_of(buffer, indices, loop.var, lets) not in (None, 0)
        else:
            apart &= buffer not in stored

    each_access((loop,), visit)
    if not apart:
        return loop
    most = max(2, target.vector_bytes // scan.carried.dtype.itemsize)
    return replace(loop, mapping=Vector(min(lanes, most)))
