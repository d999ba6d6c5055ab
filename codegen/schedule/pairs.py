"""Products of bfloat16 with two steps of the sum in one: both factors as pairs along it.

Knows what machines have an instruction for; chooses no tile.

Where the steps of an operand lie side by side, it is read as words of two of them; where they do
not, the words are put together while it is packed.
"""

from __future__ import annotations

from dataclasses import replace

from ..affine import canonical, linear
from ..dtypes import bfloat16, float32, uint16, uint32
from ..expr import Buffer, Expr, Load, Var, const, index
from ..scalar import apply
from ..targets.base import Features
from ..varying import divides
from .contraction import Contraction, number, row_count
from .operands import Computed, Operand, strided

__all__ = ["paired"]

LEAST_ROWS, LEAST_COLUMNS = 16, 8
"""Products with fewer wait for memory, and read the operands where they lie."""


def paired(c: Contraction, size: int, target: Features) -> Contraction:
    """The contraction with half as many steps, of words that are pairs; or as it is."""
    small = row_count(c, size) < LEAST_ROWS or number(c.columns.extent) < LEAST_COLUMNS
    if not target.multiplies_pairs or c.acc.dtype is not float32 or small:
        return c
    a, b = _words(c.a, c.depth), _words(c.b.turned, c.depth)
    if a is None or b is None:
        return c
    return replace(c, depth=(c.depth + 1) // 2, a=a, b=b.turned)


def _words(operand: Operand, depth: int) -> Operand | None:
    """A matrix whose columns are the steps, as words of two of these; what lacks is zero."""
    buffer, base = operand.buffer, operand.base
    if buffer.dtype is not bfloat16 or operand.computed is not None:
        return None
    form = linear(base)
    whole = divides(2, depth)
    if operand.column == 1:
        if (
            not whole
            or operand.row % 2
            or form.constant % 2
            or any(factor % 2 for _, factor in form.terms)
        ):
            return None
        halved = apply("divtrunc", base, index(2))
        words = Buffer(buffer.name, uint32, (1,), (1,), "view", buffer)
        return Operand(words, canonical(halved), operand.row // 2, 1)
    if operand.row != 1:
        return None
    row, column = Var("i"), Var("k")
    matrix = strided(buffer, (1, operand.column))
    first = apply("mul", column, index(2))

    def step(at: Expr) -> Expr:
        bits = apply("bitcast", Load(matrix, (base, row, canonical(at))), dtype=uint16)
        return apply("cast", bits, dtype=uint32)

    second = apply("add", first, index(1))
    inside = second if whole else apply("minimum", second, index(depth - 1))
    high = apply("shl", step(inside), const(16, uint32))
    if not whole:
        exists = apply("lt", second, index(depth))
        high = apply("select", exists, high, const(0, uint32))
    word = apply("or", step(first), high)
    return Operand(buffer, base, 1, 0, Computed(row, column, word))
