"""Products that the threads of a warp compute together, in the words of PTX.

Knows which thread holds which elements; knows no schedule.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..affine import canonical
from ..dtypes import DType, bfloat16
from ..expr import Expr, index
from ..kernel import Mma
from ..multiplying import COLUMNS, ROWS
from ..scalar import apply

__all__ = ["fragments", "instruction"]

_WARP = 32
Places = list[list[tuple[Expr, Expr]]]


def fragments(s: Mma, high: int, wide: int) -> tuple[Places, Places]:
    """The pairs of elements that a thread holds of each tile of `left` and of `right`."""
    lane = apply("remtrunc", s.thread, index(_WARP))
    group = apply("divtrunc", lane, index(4))
    pair = apply("mul", apply("remtrunc", lane, index(4)), index(2))

    def at(place: Expr, moved: int, step: int) -> tuple[Expr, Expr]:
        row = apply("add", apply("add", place, group), index(moved))
        return canonical(row), canonical(apply("add", apply("add", s.step, pair), index(step)))

    left = [[at(s.row, m * ROWS + r, k) for k in (0, 8) for r in (0, 8)] for m in range(high)]
    right = [[at(s.column, n * COLUMNS, k) for k in (0, 8)] for n in range(wide)]
    return left, right


def instruction(
    dtype: DType, left: Sequence[str], right: Sequence[str], sums: Sequence[str]
) -> str:
    """The call that adds the product of two tiles to four sums."""
    kind = "bf16" if dtype is bfloat16 else "f16"
    name = f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32"
    parts = ("$0, $1, $2, $3", "$4, $5, $6, $7", "$8, $9", "$10, $11, $12, $13")
    text = f"{name} {', '.join('{' + part + '}' for part in parts)};"
    constraints = ",".join(["=f"] * 4 + ["r"] * 6 + ["f"] * 4)
    given = [f"i32 {v}" for v in (*left, *right)] + [f"float {v}" for v in sums]
    results = "{ float, float, float, float }"
    return f'call {results} asm sideeffect "{text}", "{constraints}"({", ".join(given)})'
