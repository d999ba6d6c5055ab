"""Index arithmetic against Python's integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusegrad.codegen import affine
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.expr import Apply, Const, Expr, Var, index, walk
from fusegrad.codegen.scalar import apply

EXTENTS = (3, 4, 8, 5)
VARIABLES = tuple(Var(name, extent=e) for name, e in zip("ijkl", EXTENTS, strict=True))
SIZE = Var("N")
DIVISORS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 12, 32])


def _extend(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.builds(lambda a, b: apply("add", a, b), inner, inner),
        st.builds(lambda a, c: apply("mul", a, index(c)), inner, st.integers(0, 9)),
        st.builds(lambda a, d: apply("divtrunc", a, index(d)), inner, DIVISORS),
        st.builds(lambda a, d: apply("remtrunc", a, index(d)), inner, DIVISORS),
        st.builds(lambda a, b: apply("minimum", a, b), inner, inner),
    )


INDICES = st.recursive(
    st.one_of(st.sampled_from([*VARIABLES, SIZE]), st.builds(index, st.integers(0, 40))),
    _extend,
    max_leaves=12,
)
POINTS = st.tuples(*(st.integers(0, e - 1) for e in EXTENTS), st.integers(0, 1000))


def value(expr: Expr, point: Sequence[int]) -> int:
    """`expr` by Python's integers."""
    env: dict[Var, Any] = dict(zip((*VARIABLES, SIZE), map(np.int64, point), strict=True))
    return int(evaluate(expr, env))


@given(INDICES, POINTS)
@settings(max_examples=150, deadline=None)
def test_canonical(expr: Expr, point: tuple[int, ...]) -> None:
    result = affine.canonical(expr)
    assert value(result, point) == value(expr, point)
    assert value(affine.simplify(expr), point) == value(expr, point)
    assert affine.canonical(result) == result


@given(INDICES, POINTS)
@settings(max_examples=100, deadline=None)
def test_upper_bound(expr: Expr, point: tuple[int, ...]) -> None:
    assert value(expr, point) <= affine.upper_bound(expr)


@given(INDICES, DIVISORS, POINTS)
@settings(max_examples=150, deadline=None)
def test_divide_and_remainder(expr: Expr, divisor: int, point: tuple[int, ...]) -> None:
    expected = divmod(value(expr, point), divisor)
    assert value(affine.divide(expr, divisor), point) == expected[0]
    assert value(affine.remainder(expr, divisor), point) == expected[1]


@given(INDICES, POINTS)
@settings(max_examples=100, deadline=None)
def test_linear_form(expr: Expr, point: tuple[int, ...]) -> None:
    form = affine.linear(expr)
    total = form.constant + sum(c * value(e, point) for e, c in form.terms)
    assert total == value(expr, point)
    for e, c in form.terms:
        assert form.coefficient(e) == c
    assert form.coefficient(Var("other")) == 0


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
@settings(max_examples=100, deadline=None)
def test_split_index_of_an_element(extents: list[int], data: st.DataObject) -> None:
    flat = Var("flat", extent=int(np.prod(extents)))
    position = data.draw(st.integers(0, int(np.prod(extents)) - 1))
    parts = affine.split_index(flat, extents)
    found = tuple(int(evaluate(p, {flat: np.int64(position)})) for p in parts)
    assert found == tuple(int(i) for i in np.unravel_index(position, extents))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_split_index_undoes_flattening(extents: list[int]) -> None:
    """Every div and mod is proven away, so reshapes there and back cost nothing."""
    axes = [Var(f"i{a}", extent=e) for a, e in enumerate(extents)]
    flat: Expr = index(0)
    for axis, extent in zip(axes, extents, strict=True):
        flat = apply("add", apply("mul", flat, index(extent)), axis)
    parts = affine.split_index(flat, extents)
    expected = tuple(index(0) if e == 1 else i for i, e in zip(axes, extents, strict=True))
    assert all(_no_division(p) for p in parts)
    assert len(parts) == len(expected)
    point = dict.fromkeys(axes, np.int64(0))
    for part, want in zip(parts, expected, strict=True):
        assert int(evaluate(part, point)) == int(evaluate(want, point))


def _no_division(expr: Expr) -> bool:
    return not any(isinstance(e, Apply) and e.op in ("divtrunc", "remtrunc") for e in walk(expr))


def test_split_axes_merge_again() -> None:
    """``8 * (i // 8) + i % 8`` is i, also when the parts have factors and constants."""
    i = Var("i", extent=64)
    one = index(1)
    for flat in (i, apply("add", i, one)):
        quotient = apply("divtrunc", flat, index(8))
        rest = apply("remtrunc", flat, index(8))
        merged = apply("add", apply("mul", quotient, index(8)), rest)
        assert affine.canonical(merged) == flat
        tripled = apply("add", apply("mul", quotient, index(24)), apply("mul", rest, index(3)))
        assert affine.linear(tripled) == affine.linear(apply("mul", flat, index(3)))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_an_element_that_is_split_merges_again(extents: list[int]) -> None:
    """What a reshape takes apart and another one puts together is the same variable."""
    flat = Var("f", extent=math.prod(extents))
    merged: Expr = index(0)
    for part, extent in zip(affine.split_index(flat, extents), extents, strict=True):
        merged = apply("add", apply("mul", merged, index(extent)), part)
    assert affine.canonical(merged) == (flat if math.prod(extents) > 1 else index(0))


def test_constants() -> None:
    assert affine.divide(index(17), 5) == Const(3, index(0).dtype)
    assert affine.remainder(index(17), 5) == index(2)
    assert affine.remainder(SIZE, 1) == index(0)
    assert affine.divide(SIZE, 1) is SIZE


def test_a_coarse_quotient_of_rows() -> None:
    """Elements of rows, by their position in a block of rows: only the row's number is divided."""
    row, column = Var("row"), Var("column", extent=16)
    flat = apply("add", apply("mul", row, index(16)), column)
    assert affine.divide(flat, 128) == apply("divtrunc", row, index(8))
    again = apply("mul", affine.divide(flat, 128), index(128))
    assert affine.simplify(apply("add", again, affine.remainder(flat, 128))) == flat


@pytest.mark.parametrize("extents", [(55, 8, 193), (49, 10, 3), (7, 2, 3, 5), (4, 1, 6)])
def test_an_index_that_is_split_is_joined_again(extents: tuple[int, ...]) -> None:
    """Element by element of several axes in one loop: no quotient is left."""
    flat = Var("c", extent=math.prod(extents))
    parts = affine.split_index(flat, extents)
    joined: Expr = index(0)
    for part, extent in zip(parts, extents, strict=True):
        joined = apply("add", apply("mul", joined, index(extent)), part)
    assert affine.canonical(joined) == flat
    assert affine.divide(affine.divide(flat, 3), 5) == affine.divide(flat, 15)
