"""Loops cut where an index comparison changes: the same values, and nothing left to select."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusegrad as fg
from fusegrad.codegen.dtypes import float32
from fusegrad.codegen.expr import Apply, Buffer, Expr, Load, Var, const, index, walk
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Let, Param, Role, Store, Vector, nested
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.cpu import schedule
from fusegrad.codegen.schedule.rewrite import expressions
from fusegrad.codegen.schedule.splitting import split_ranges
from fusegrad.codegen.targets.base import host
from fusegrad.codegen.verify import verify_kernel

ROWS, WIDTH = 3, 24


def kernel_of(value: Any) -> Kernel:
    """``y[i, c] = value(x, i, c)``."""
    n = Var("n")
    x = Buffer("x", float32, (n, WIDTH))
    y = Buffer("y", float32, (n, WIDTH))
    i, c, t = Var("i", extent=n), Var("c", extent=WIDTH), Var("t", float32)
    body = (Let(t, value(x, i, c)), Store(y, (i, c), t))
    inner = For(c, WIDTH, AnyOrder(), body)
    params = (Param(x, Role.IN), Param(y, Role.OUT))
    return Kernel("k", params, (n,), (For(i, n, AnyOrder(), (inner,)),))


def run(kernel: Kernel) -> Any:
    x = np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)
    y = np.full_like(x, np.nan)
    interpret_kernel(kernel, [x, y], (ROWS,))
    return y


def ops(kernel: Kernel) -> set[str]:
    found: set[str] = set()
    for s in nested(kernel.body):
        for expr in expressions(s):
            found |= {e.op for e in walk(expr) if isinstance(e, Apply)}
    return found


def both(kernel: Kernel) -> Kernel:
    cut = split_ranges(kernel)
    verify_kernel(cut)
    np.testing.assert_array_equal(run(cut), run(kernel))
    return cut


def clamped(e: Expr, low: int, high: int) -> Expr:
    return apply("minimum", apply("maximum", e, index(low)), index(high))


def test_a_concatenation() -> None:
    def value(x: Buffer, i: Var, c: Var) -> Expr:
        first = Load(x, (i, apply("minimum", c, index(9))))
        second = Load(x, (i, clamped(apply("sub", c, index(10)), 0, 13)))
        return apply("select", apply("le", c, index(9)), first, second)

    cut = both(kernel_of(value))
    assert not {"select", "minimum", "maximum", "le"} & ops(cut)
    (top,) = cut.body
    assert isinstance(top, For)
    assert [s.extent for s in top.body if isinstance(s, For)] == [10, 14]


def test_padding_on_both_sides() -> None:
    def value(x: Buffer, i: Var, c: Var) -> Expr:
        at = apply("sub", c, index(2))
        inside = apply("and", apply("ge", at, index(0)), apply("lt", at, index(20)))
        return apply("select", inside, Load(x, (i, clamped(at, 0, 19))), const(0.0, float32))

    cut = both(kernel_of(value))
    assert not {"select", "and", "ge", "lt"} & ops(cut)


def test_an_interleaving() -> None:
    """Quotients by one divisor: two loops, both affine."""

    def value(x: Buffer, i: Var, c: Var) -> Expr:
        turned = apply("mul", apply("remtrunc", c, index(6)), index(4))
        return Load(x, (i, apply("add", turned, apply("divtrunc", c, index(6)))))

    cut = both(kernel_of(value))
    assert not {"divtrunc", "remtrunc"} & ops(cut)


def test_what_is_left_alone() -> None:
    def by_row(x: Buffer, i: Var, c: Var) -> Expr:
        return apply("select", apply("le", c, i), Load(x, (i, c)), const(0.0, float32))

    kernel = kernel_of(by_row)
    assert ops(both(kernel)) == ops(kernel)

    def everywhere(x: Buffer, i: Var, c: Var) -> Expr:
        total: Expr = Load(x, (i, c))
        for place in range(2, 20):
            half = apply("mul", total, const(0.5, float32))
            total = apply("select", apply("lt", c, index(place)), total, half)
        return total

    many = kernel_of(everywhere)
    assert ops(both(many)) == ops(many)


COMPARISONS = st.sampled_from(["lt", "le", "gt", "ge", "eq", "ne"])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_comparison(data: st.DataObject) -> None:
    op, at, sign = data.draw(COMPARISONS), data.draw(st.integers(-3, 27)), data.draw(st.booleans())

    def value(x: Buffer, i: Var, c: Var) -> Expr:
        sides = [index(at), c] if sign else [c, index(at)]
        picked = clamped(apply("sub", index(23), c) if sign else c, 3, 20)
        return apply("select", apply(op, *sides), Load(x, (i, picked)), const(-1.0, float32))

    cut = both(kernel_of(value))
    assert not {op, "select", "minimum", "maximum"} & ops(cut)


@pytest.mark.parametrize("widths", [(1, 1), (3, 0, 5), (40, 24, 100), (17, 1, 1, 30)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_compiled_concatenations(widths: tuple[int, ...], axis: int) -> None:
    shapes = [tuple(w if a == axis else 4 for a in range(3)) for w in widths]
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    weights = np.arange(sum(widths) * 16, dtype=np.float32).reshape(
        tuple(sum(widths) if a == axis else 4 for a in range(3))
    )

    def together(*xs: Any) -> Any:
        return fg.exp(fg.concat(list(xs), axis=axis)) * weights

    expected = np.exp(np.concatenate(parts, axis)) * weights
    np.testing.assert_allclose(fg.compile(together)(*parts).numpy(), expected, rtol=1e-6)

    def apart(x: Any) -> Any:
        ends = np.cumsum(widths)[:-1].tolist()
        pieces = fg.split(x, ends, axis=axis)
        return sum((fg.sin(p) * (i + 1)).sum() for i, p in enumerate(pieces))

    found = fg.compile(fg.grad(apart))(weights)
    scale = np.repeat(np.arange(1.0, len(widths) + 1), widths)
    scale = scale.reshape(tuple(-1 if a == axis else 1 for a in range(3)))
    np.testing.assert_allclose(found.numpy(), np.cos(weights) * scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [2, 3, 5])
def test_each_of_few_neighbours_is_computed_in_vectors_of_all_groups(width: int) -> None:
    """What a transposed convolution weaves together: vectors do not run along rows."""
    many, rows, n = 30, 20, Var("n")
    parts = [Buffer(f"x{k}", float32, (n, rows, many)) for k in range(width)]
    y = Buffer("y", float32, (n, rows, many * width))
    i, r, c = Var("i", extent=n), Var("r", extent=rows), Var("c", extent=many * width)
    group, which = (apply(op, c, index(width)) for op in ("divtrunc", "remtrunc"))
    value: Expr = Load(parts[-1], (i, r, group))
    for k in reversed(range(width - 1)):
        value = apply(
            "select", apply("lt", which, index(k + 1)), Load(parts[k], (i, r, group)), value
        )
    inner = For(c, many * width, AnyOrder(), (Store(y, (i, r, c), value),))
    body = For(i, n, AnyOrder(), (For(r, rows, AnyOrder(), (inner,)),))
    params = (*(Param(x, Role.IN) for x in parts), Param(y, Role.OUT))
    mapped = schedule(Kernel("k", params, (n,), (body,)), ROWS, host()).kernel
    verify_kernel(mapped)
    (loop,) = (
        s for s in nested(mapped.body) if isinstance(s, For) and isinstance(s.mapping, Vector)
    )
    assert loop.extent == many
    assert sum(isinstance(s, Store) for s in loop.body) == width
    assert "select" not in ops(mapped)
    values = [np.random.default_rng(k).random((ROWS, rows, many), np.float32) for k in range(width)]
    found = np.zeros((ROWS, rows, many * width), np.float32)
    interpret_kernel(mapped, [*values, found], [ROWS])
    np.testing.assert_array_equal(found, np.stack(values, -1).reshape(found.shape))
