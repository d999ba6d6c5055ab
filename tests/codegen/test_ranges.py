"""Ranges of whole numbers, and what scalar expressions fold to because of them."""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, bool_, float32, int8, int32, int64, uint8, uint32
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.expr import Apply, Buffer, Const, Expr, Load, Var, index
from fusegrad.codegen.ranges import known_range, range_of
from fusegrad.codegen.scalar import apply

ROW, COLUMN = Var("i", extent=5), Var("j", extent=3)
COMPARISONS = {
    **{"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le},
    **{"gt": operator.gt, "ge": operator.ge},
}


def expressions() -> list[Expr]:
    """Expressions of two loop variables, in which each op occurs."""
    made: list[Expr] = [ROW, COLUMN, index(0), index(2), index(4), index(-3), index(7)]
    for name in ("add", "sub", "mul", "minimum", "maximum"):
        made += [
            apply(name, ROW, COLUMN),
            apply(name, ROW, index(3)),
            apply(name, index(-2), COLUMN),
        ]
    made += [apply(n, apply("add", ROW, COLUMN), index(4)) for n in ("divtrunc", "remtrunc")]
    made.append(apply("select", apply("lt", ROW, COLUMN), apply("sub", ROW, index(9)), COLUMN))
    return made


def values(expr: Expr) -> set[int]:
    pairs = itertools.product(range(5), range(3))
    return {int(evaluate(expr, {ROW: np.int64(i), COLUMN: np.int64(j)})) for i, j in pairs}


@pytest.mark.parametrize("expr", expressions(), ids=str)
def test_every_value_lies_in_the_range(expr: Expr) -> None:
    low, high = range_of(expr)
    found = values(expr)
    assert low <= min(found)
    assert max(found) <= high


@pytest.mark.parametrize("name", [*COMPARISONS, "minimum", "maximum"])
def test_folding_changes_no_value(name: str) -> None:
    functions: dict[str, Any] = {**COMPARISONS, "minimum": min, "maximum": max}
    for a, b in itertools.product(expressions(), repeat=2):
        folded = apply(name, a, b)
        for i, j in itertools.product(range(5), range(3)):
            env = {ROW: np.int64(i), COLUMN: np.int64(j)}
            x, y = int(evaluate(a, env)), int(evaluate(b, env))
            assert evaluate(folded, env) == functions[name](x, y), (name, a, b, i, j)


def test_clamps_that_change_nothing_are_gone() -> None:
    label = Var("t")
    once = apply("minimum", apply("maximum", label, index(0)), index(9))
    assert apply("minimum", apply("maximum", once, index(0)), index(9)) is once
    assert apply("lt", once, index(0)) == Const(False, bool_)
    assert apply("le", once, index(9)) == Const(True, bool_)
    wrapped = apply("select", apply("lt", once, index(0)), apply("add", once, index(10)), once)
    assert wrapped is once
    inside = apply("logical_and", apply("ge", once, index(0)), apply("lt", once, index(10)))
    assert inside == Const(True, bool_)
    assert isinstance(apply("lt", once, index(9)), Apply)


def test_the_value_of_a_let_keeps_its_range() -> None:
    clamped = apply("minimum", apply("maximum", Var("t"), index(0)), index(9))
    let = Var("t1", int64, bounds=known_range(clamped))
    assert apply("ge", let, index(0)) == Const(True, bool_)
    assert known_range(Var("t2")) is None
    assert known_range(Var("x", float32)) is None


def test_loop_variables_are_compared_in_few_bits() -> None:
    for name in COMPARISONS:
        compared = apply(name, ROW, COLUMN)
        assert isinstance(compared, Apply)
        assert [x.dtype for x in compared.args] == [int32, int32]
    long = apply("lt", ROW, Var("k", extent=1 << 40))
    assert isinstance(long, Apply)
    assert long.args[0].dtype is int64


@pytest.mark.parametrize("dtype", [int8, uint8, int32, uint32, int64], ids=str)
def test_what_wraps_around_may_have_any_value(dtype: DType) -> None:
    x = Load(Buffer("x", dtype, (4,)), (index(0),))
    whole = int(dtype.lowest), int(dtype.highest)
    one = Const(1, dtype)
    assert range_of(x) == range_of(apply("add", x, one)) == range_of(apply("sub", x, one)) == whole
    assert range_of(apply("mul", x, Const(3, dtype))) == whole
    least = Const(dtype.lowest, dtype)
    assert apply("ge", x, least) == Const(True, bool_)
    assert apply("lt", x, least) == Const(False, bool_)
    if dtype is not int64:
        wide = apply("cast", x, dtype=int64)
        assert range_of(wide) == whole
        assert apply("gt", wide, index(whole[1])) == Const(False, bool_)
