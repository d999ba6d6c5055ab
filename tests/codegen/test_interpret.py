"""The kernel interpreter: NumPy's results, chunks, bounds, and the meaning of boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, bool_, float32, float64, int32, int64
from fusegrad.codegen.expr import Buffer, Load, Var, const, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import (
    Alloc,
    Contract,
    Copy,
    For,
    If,
    Kernel,
    Let,
    Monoid,
    Param,
    Role,
    Serial,
    Stmt,
    Store,
    Tree,
)
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.scalar import apply
from tests.codegen.examples import EXAMPLES, each, elementwise, f32, matmul, op, params, softmax

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("chunks", [1, 2, 7])
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str, chunks: int) -> None:
    example = EXAMPLES[name]()
    arrays = example.arrays()
    interpret_kernel(example.kernel, arrays, example.sizes, chunks=chunks)
    example.check(arrays)


@pytest.mark.parametrize("form", ["NN", "NT", "TN"])
def test_contractions(form: str) -> None:
    example = matmul(form, 3, 5, 4, (2, 2))
    arrays = example.arrays()
    interpret_kernel(example.kernel, arrays, example.sizes)
    example.check(arrays)


def test_empty() -> None:
    for example in (elementwise(0), softmax(0)):
        interpret_kernel(example.kernel, example.arrays(), example.sizes)


def test_flat_arrays() -> None:
    example = softmax()
    arrays = [a.reshape(-1) for a in example.arrays()]
    interpret_kernel(example.kernel, arrays, example.sizes)
    example.check(arrays)


# --- reductions ---------------------------------------------------------------------------------


def _reduce(dtype: DType, monoid: Monoid, start: object, values: Array, nested: bool) -> Array:
    """``y[] = start MONOID values...``, innermost or around another loop."""
    n = len(values)
    i, state = Var("i", extent=n), Var("s", dtype)
    x, y = Buffer("x", dtype, (n,)), Buffer("y", dtype, ())
    inner = Buffer("e", dtype, (1,), space="row")
    j = Var("j", extent=1)
    body: tuple[Stmt, ...] = ()
    if nested:
        body = (Alloc(inner), each(j, 1, Store(inner, (j,), Load(x, (i,)))))
    given = Load(inner, (index(0),)) if nested else Load(x, (i,))
    first = const(start, dtype)  # type: ignore[arg-type]
    loop = For(i, n, Tree((monoid,)), body, ((state, first),), (given,))
    kernel = Kernel("r", params(reads=(x,), writes=(y,)), (), (loop, Store(y, (), state)))
    result = np.zeros((), dtype.numpy)
    interpret_kernel(kernel, [values.astype(dtype.numpy), result], ())
    return result


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("dtype", "monoid", "start", "expected"),
    [
        (float32, Monoid.SUM, 0, 9.5),
        (float32, Monoid.PROD, 1, 15),
        (float64, Monoid.MAX, -np.inf, 5),
        (float64, Monoid.MIN, np.inf, 1),
        (int32, Monoid.SUM, 100, 109),
        (int32, Monoid.AND, -1, 0),
        (int32, Monoid.OR, 0, 7),
        (bool_, Monoid.AND, True, True),
        (int32, Monoid.MAX, 7, 7),
    ],
    ids=str,
)
def test_monoids(
    dtype: DType, monoid: Monoid, start: object, expected: object, nested: bool
) -> None:
    result = _reduce(dtype, monoid, start, np.array([2, 1.5, 5, 1]), nested)
    assert result == expected
    assert result.dtype == dtype.numpy


def _argmax(values: list[float], monoid: Monoid = Monoid.ARGMAX, nested: bool = False) -> int:
    n = len(values)
    i, m, at = Var("i", extent=n), Var("m", float32), Var("at")
    x, y = Buffer("x", float32, (n,)), Buffer("y", int64, ())
    start = f32(-np.inf if monoid is Monoid.ARGMAX else np.inf)
    body: tuple[Stmt, ...] = ()
    if nested:
        body = (For(Var("j"), 1, Serial(), ()),)
    loop = For(i, n, Tree((monoid,)), body, ((m, start), (at, index(0))), (Load(x, (i,)), i))
    kernel = Kernel("a", params(reads=(x,), writes=(y,)), (), (loop, Store(y, (), at)))
    result = np.zeros((), np.int64)
    interpret_kernel(kernel, [np.float32(values), result], ())
    return int(result)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "values",
    [[1, 3, 3, 2], [3, 1, 3], [np.nan, 5, np.nan], [5, np.nan, 9], [-np.inf, -np.inf], [2]],
    ids=str,
)
def test_first_of_equals_and_nan(values: list[float], nested: bool) -> None:
    assert _argmax(values, nested=nested) == np.argmax(values)
    assert _argmax(values, Monoid.ARGMIN, nested) == np.argmin(values)


# --- what goes wrong is said --------------------------------------------------------------------


def _copy_kernel(at: int) -> Kernel:
    x, y = Buffer("x", float32, (4,)), Buffer("y", float32, (4,))
    i = Var("i", extent=4)
    store = Store(y, (i,), Load(x, (op("add", i, at),)))
    return Kernel("k", params(reads=(x,), writes=(y,)), (), (each(i, 4, store),))


@pytest.mark.parametrize(("at", "wrong"), [(1, 4), (-1, -1)])
def test_out_of_bounds(at: int, wrong: int) -> None:
    arrays = [np.zeros(4, np.float32), np.zeros(4, np.float32)]
    with pytest.raises(IndexError) as error:
        interpret_kernel(_copy_kernel(at), arrays, ())
    assert str(error.value).splitlines() == [
        f"x: index {wrong} is outside of axis 0, 0 to 3, in",
        f"y[i] = x[i {'+' if at > 0 else '-'} 1]",
    ]


def test_a_row_beside_the_matrix_is_out_of_bounds() -> None:
    """Each axis has its bounds, also where flat memory goes on."""
    x, y = Buffer("x", float32, (2, 3)), Buffer("y", float32, ())
    kernel = Kernel(
        "k", params(reads=(x,), writes=(y,)), (), (Store(y, (), Load(x, (index(0), index(3)))),)
    )
    with pytest.raises(IndexError, match="axis 1"):
        interpret_kernel(kernel, [np.zeros((2, 3), np.float32), np.zeros((), np.float32)], ())


def test_only_lanes_that_run_are_checked() -> None:
    x, y = Buffer("x", float32, (4,)), Buffer("y", float32, (8,))
    i = Var("i", extent=8)
    inside = If(apply("lt", i, index(4)), (Store(y, (i,), Load(x, (i,))),))
    kernel = Kernel("k", params(reads=(x,), writes=(y,)), (), (each(i, 8, inside),))
    result = np.full(8, 7, np.float32)
    interpret_kernel(kernel, [np.arange(4, dtype=np.float32), result], ())
    assert result.tolist() == [0, 1, 2, 3, 7, 7, 7, 7]


def test_arguments() -> None:
    kernel = elementwise(4).kernel
    good = [np.zeros(4, np.float32) for _ in range(3)]
    with pytest.raises(ValueError, match="takes 3 arrays and 1 sizes, not 3 and 0"):
        interpret_kernel(kernel, good, ())
    with pytest.raises(ValueError, match="x has 5 elements, not 4"):
        interpret_kernel(kernel, good, (5,))
    with pytest.raises(ValueError, match="x takes a contiguous array of float32, not float64"):
        interpret_kernel(kernel, [np.zeros(4), *good[1:]], (4,))


def test_local_memory_starts_as_garbage() -> None:
    e, y = Buffer("e", float32, (2,), space="row"), Buffer("y", float32, ())
    body = (Alloc(e), Store(y, (), Load(e, (index(0),))))
    result = np.zeros((), np.float32)
    interpret_kernel(Kernel("k", params(writes=(y,)), (), body), [result], ())
    assert np.isnan(result)


# --- memory -------------------------------------------------------------------------------------


def test_strides() -> None:
    n = Var("N")
    x = Buffer("x", float32, (2, 3), strides=(1, n))
    y = Buffer("y", float32, (2, 3))
    i, j = Var("i", extent=2), Var("j", extent=3)
    body = each(i, 2, each(j, 3, Store(y, (i, j), Load(x, (i, j)))))
    kernel = Kernel("k", params(reads=(x,), writes=(y,)), (n,), (body,))
    memory, result = np.arange(20, dtype=np.float32), np.zeros((2, 3), np.float32)
    interpret_kernel(kernel, [memory, result], (5,))
    assert result.tolist() == [[0, 5, 10], [1, 6, 11]]


def test_a_copy_is_padded_and_may_be_transposed() -> None:
    x, y = Buffer("x", float32, (4, 5)), Buffer("y", float32, (4, 3))
    tile = Buffer("t", float32, (4, 3), space="tile")
    i, j = Var("i", extent=4), Var("j", extent=3)
    copy = Copy(tile, x, (index(1), index(2)), 1, 0, index(3), index(2))
    back = each(i, 4, each(j, 3, Store(y, (i, j), Load(tile, (i, j)))))
    kernel = Kernel("k", params(reads=(x,), writes=(y,)), (), (Alloc(tile), copy, back))
    a, result = np.arange(20, dtype=np.float32).reshape(4, 5), np.full((4, 3), 7, np.float32)
    interpret_kernel(kernel, [a, result], ())
    expected = np.zeros((4, 3), np.float32)
    expected[:3, :2] = a[1:3, 2:5].T
    np.testing.assert_array_equal(result, expected)


def test_a_contraction_of_views() -> None:
    """Views look at flat memory; rows and columns that are not there change nothing."""
    a, b = Buffer("a", float32, (20,)), Buffer("b", float32, (20,))
    y = Buffer("y", float32, (4, 4))
    acc = Buffer("acc", float32, (4, 4), space="tile")
    left = Buffer("a", float32, (1, 1, 1), (1, 5, 1), "view", a)
    right = Buffer("b", float32, (1, 1, 1), (1, 4, 1), "view", b)
    start = (index(0), index(0))
    tile = Contract(
        acc,
        left,
        (index(2), *start),
        1,
        2,
        right,
        (index(1), *start),
        1,
        2,
        4,
        index(3),
        index(2),
    )
    i, j = Var("i", extent=4), Var("j", extent=4)
    back = each(i, 4, each(j, 4, Store(y, (i, j), Load(acc, (i, j)))))
    kernel = Kernel("k", params(reads=(a, b), writes=(y,)), (), (Alloc(acc), tile, back))
    rng = np.random.default_rng(0)
    memory = [rng.standard_normal(20).astype(np.float32) for _ in range(2)]
    result = np.full((4, 4), np.nan, np.float32)
    interpret_kernel(kernel, [*memory, result], ())
    rows = np.stack([memory[0][2 + 5 * i : 6 + 5 * i] for i in range(3)])
    columns = np.stack([memory[1][1 + 4 * k : 3 + 4 * k] for k in range(4)])
    np.testing.assert_allclose(result[:3, :2], rows @ columns, rtol=1e-6)
    np.testing.assert_array_equal(result[3], result[2])
    np.testing.assert_array_equal(result[:, 2:], 0)


def test_in_place() -> None:
    x = Buffer("x", float32, (6,))
    i = Var("i", extent=6)
    body = each(i, 6, Store(x, (i,), op("mul", Load(x, (i,)), 2)))
    array = np.arange(6, dtype=np.float32)
    interpret_kernel(Kernel("k", params(updates=(x,)), (), (body,)), [array], ())
    assert array.tolist() == [0, 2, 4, 6, 8, 10]


def test_partial_copies_are_combined_in_order() -> None:
    """Maxima over chunks, used once all are known."""
    n, i = Var("N"), Var("i")
    x, y = Buffer("x", float32, (n,)), Buffer("y", float32, ())
    p = Buffer("p", float32, (1,))
    roles = (Param(x, Role.IN), Param(p, Role.PARTIAL, Monoid.MAX), Param(y, Role.OUT))
    t = Var("t", float32)
    body = each(i, n, Store(p, (index(0),), Load(x, (i,)), Monoid.MAX))
    finish = (Let(t, Load(p, (index(0),))), Store(y, (), op("neg", t)))
    kernel = Kernel("k", roles, (n,), (body,), finish)
    values = np.float32([1, 9, -3, 4, 2])
    for chunks in (1, 2, 5, 8):
        partial, result = np.zeros(1, np.float32), np.zeros((), np.float32)
        interpret_kernel(kernel, [values, partial, result], (5,), chunks=chunks)
        assert (partial[0], result) == (9, -9)


def test_loops_nested_deeper_than_one() -> None:
    """Sums of sums: neither loop is innermost and reducing at once."""
    x, y = Buffer("x", float32, (3, 4, 5)), Buffer("y", float32, (3,))
    b, i, j = Var("b", extent=3), Var("i", extent=4), Var("j", extent=5)
    s, t = Var("s", float32), Var("t", float32)
    inner = For(j, 5, Tree((Monoid.SUM,)), (), ((s, f32(0)),), (Load(x, (b, i, j)),))
    outer = For(i, 4, Tree((Monoid.MAX,)), (inner,), ((t, f32(-np.inf)),), (s,))
    loop = For(b, 3, AnyOrder(), (outer, Store(y, (b,), t)))
    a = np.random.default_rng(1).standard_normal((3, 4, 5)).astype(np.float32)
    result = np.zeros(3, np.float32)
    kernel = Kernel("k", params(reads=(x,), writes=(y,)), (), (loop,))
    interpret_kernel(kernel, [a, result], ())
    np.testing.assert_allclose(result, a.sum(2).max(1), rtol=1e-6)
