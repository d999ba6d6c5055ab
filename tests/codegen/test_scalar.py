"""The table of scalar ops: types, folding, meanings of integers, bits and logic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import (
    ALL,
    DType,
    bool_,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint32,
    uint64,
)
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.expr import (
    Apply,
    Buffer,
    Const,
    Load,
    Var,
    _made,
    const,
    forget,
    index,
    walk,
)
from fusegrad.codegen.scalar import TABLE, apply, expand
from fusegrad.codegen.scalar_primitives import PRIMITIVES

SIGNED = (int8, int32, int64)
INTEGERS = (*SIGNED, uint8, uint32, uint64)


def operands_of(name: str, dtype: DType) -> list[Var] | None:
    """Variables that row `name` accepts for `dtype`; None if it has no such row."""
    arity = TABLE[name].arity
    dtypes = [bool_, dtype, dtype] if name in ("select", "rare") else [dtype] * arity
    variables = [Var("x", d) for d in dtypes]
    try:
        apply(name, *variables, dtype=dtype if name in ("cast", "bitcast") else None)
    except TypeError:
        return None
    return variables


def integers(dtype: DType) -> np.ndarray[Any, Any]:
    ends = [dtype.lowest, dtype.lowest + 1, dtype.highest, dtype.highest - 1]
    values = [*ends, 0, 1, 2, 3, 7, 8, 31, 63, 64, 100]
    if dtype.is_signed:
        values += [-1, -2, -3, -7, -100]
    return np.array(values, dtype.numpy)


def pairs(values: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    x, y = np.meshgrid(values, values)
    return x.ravel(), y.ravel()


def value(name: str, *arrays: np.ndarray[Any, Any], dtypes: list[DType], expanded: bool) -> Any:
    variables = [Var("x", d) for d in dtypes]
    env = dict(zip(variables, arrays, strict=True))
    return evaluate(apply(name, *variables), env, expanded=expanded)


# --- the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE)
def test_rows_are_complete(name: str) -> None:
    row = TABLE[name]
    assert row.name == name
    assert row.cost > 0
    assert (row.expand is None) == (name in PRIMITIVES)
    accepted = [d for d in ALL if operands_of(name, d) is not None]
    assert accepted, f"{name} takes no dtype"
    for dtype in row.max_ulp:
        assert dtype in accepted


@pytest.mark.parametrize("name", [n for n in TABLE if n not in PRIMITIVES])
def test_expansions_are_made_of_primitive_rows(name: str) -> None:
    for dtype in ALL:
        variables = operands_of(name, dtype)
        if variables is None:
            continue
        applied = apply(name, *variables)
        for e in walk(applied):
            if not isinstance(e, Apply) or e.op != name:
                continue
            body = expand(e)
            assert body is not None
            assert body.dtype is e.dtype
            inner = [a for a in walk(body) if isinstance(a, Apply)]
            assert all(a.op in PRIMITIVES for a in inner)


def test_python_spellings_are_templates() -> None:
    for row in TABLE.values():
        if not row.python:
            # Without a spelling a row is printed expanded.
            assert row.expand is not None, row.name
            continue
        text = row.python.format(*("abc"[: row.arity]), dtype="float32")
        compile(text, row.name, "eval")


# --- types -------------------------------------------------------------------------------------


def test_results_have_the_rule_s_dtype() -> None:
    x, i, b = Var("x", float32), Var("i", int32), Var("b", bool_)
    assert apply("add", x, x).dtype is float32
    assert apply("lt", i, i).dtype is bool_
    assert apply("select", b, i, i).dtype is int32
    assert apply("cast", i, dtype=float64).dtype is float64
    assert apply("bitcast", i, dtype=float32).dtype is float32
    assert apply("cast", i, dtype=int32) is i
    assert apply("isnan", x).dtype is bool_
    key = Var("k", uint64)
    assert apply("philox", key, key).dtype is uint32
    assert apply("philox64", key, key).dtype is uint64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: apply("add", Var("x", float32), Var("i")),
            r"add takes operands of one dtype .*, not \(float32, int64\)",
        ),
        (lambda: apply("exp", Var("i")), r"exp takes operands of one dtype \(float\)"),
        (lambda: apply("and", Var("x", float32), Var("x", float32)), "and takes operands"),
        (lambda: apply("select", Var("i"), Var("i"), Var("i")), "select takes a bool"),
        (lambda: apply("add", Var("i")), "add takes 2 operands, not 1"),
        (lambda: apply("softmax", Var("i")), "no scalar op 'softmax'"),
        (lambda: apply("cast", Var("i")), "cast needs dtype="),
        (lambda: apply("bitcast", Var("i"), dtype=float32), "the widths differ"),
        (lambda: apply("philox", Var("i"), Var("i")), "takes a key and a counter, both uint64"),
    ],
)
def test_wrong_operands_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


# --- folding -----------------------------------------------------------------------------------


def test_index_arithmetic_is_folded() -> None:
    i = Var("i")
    assert apply("add", i, index(0)) is i
    assert apply("add", index(0), i) is i
    assert apply("sub", i, index(0)) is i
    assert apply("mul", i, index(1)) is i
    assert apply("mul", index(0), i) == index(0)
    assert apply("divtrunc", i, index(1)) is i
    assert apply("remtrunc", i, index(1)) == index(0)
    assert apply("add", index(3), index(4)) == index(7)
    assert apply("divtrunc", index(17), index(5)) == index(3)
    assert apply("remtrunc", index(17), index(5)) == index(2)
    assert apply("lt", index(3), index(4)) == const(True, bool_)
    assert apply("mul", index(2**62), index(4)) == index(0)


def test_logic_is_folded() -> None:
    b, c = Var("b", bool_), Var("c", bool_)
    true, false = const(True, bool_), const(False, bool_)
    assert apply("and", b, true) is b
    assert apply("and", false, b) == false
    assert apply("or", b, false) is b
    assert apply("or", b, true) == true
    assert apply("not", apply("not", b)) is b
    assert apply("and", b, b) is b
    x = Var("x", float32)
    assert apply("select", true, x, const(1, float32)) is x
    assert apply("select", b, x, x) is x
    assert apply("rare", false, x, const(1, float32)) is x
    for op in ("eq", "ne", "lt", "le", "gt", "ge", "minimum", "maximum"):
        e = apply(op, b, c)
        assert {a.op for a in walk(e) if isinstance(a, Apply)} <= {"and", "or", "xor", "not"}
        p, q = pairs(np.array([False, True]))
        expected = TABLE[op].meaning(p, q)
        np.testing.assert_array_equal(evaluate(e, {b: p, c: q}), expected)


def test_float_arithmetic_is_kept_as_written() -> None:
    x, zero, one = Var("x", float32), const(0.0, float32), const(1.0, float32)
    for e in (
        apply("add", x, zero),
        apply("mul", x, one),
        apply("mul", x, zero),
        apply("add", one, one),
        apply("sub", x, x),
    ):
        assert isinstance(e, Apply)
    small = Var("n", int32)
    assert isinstance(apply("add", small, const(0, int32)), Apply)


def test_casts_of_constants_are_folded() -> None:
    assert apply("cast", const(3, int64), dtype=float32) == const(3.0, float32)
    assert apply("cast", const(0.1, float64), dtype=float32) == const(
        float(np.float32(0.1)), float32
    )
    assert apply("cast", const(300, int64), dtype=uint8) == const(44, uint8)
    assert apply("cast", const(-1, int32), dtype=bool_) == const(True, bool_)
    # What a float out of range becomes is the target's to say.
    assert not isinstance(apply("cast", const(math.nan, float32), dtype=int32), Const)


# --- meanings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("expanded", [False, True])
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize(
    ("name", "reference"),
    [("floordiv", np.floor_divide), ("mod", np.remainder), ("remainder", np.remainder)],
)
def test_integer_division(
    name: str, reference: Callable[..., Any], dtype: DType, expanded: bool
) -> None:
    x, y = pairs(integers(dtype))
    got = value(name, x, y, dtypes=[dtype] * 2, expanded=expanded)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got, reference(x, y))
    assert got.dtype == dtype.numpy


@pytest.mark.parametrize("expanded", [False, True])
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_power(dtype: DType, expanded: bool) -> None:
    x, y = pairs(integers(dtype))
    got = value("pow", x, y, dtypes=[dtype] * 2, expanded=expanded)
    modulus = 1 << dtype.bits
    for a, b, r in zip(x.tolist(), y.tolist(), got.tolist(), strict=True):
        if b >= 0:
            assert (pow(a, b, modulus) - r) % modulus == 0, (a, b)
        else:
            assert r == {1: 1, -1: 1 - 2 * (b % 2)}.get(a, 0), (a, b)


def test_integer_power_of_a_known_exponent() -> None:
    x = Var("x", int32)
    power = apply("pow", x, const(5, int32))
    assert isinstance(power, Apply)
    values = np.arange(-20, 20, dtype=np.int32)
    got = evaluate(power, {x: values}, expanded=True)
    np.testing.assert_array_equal(got, values**5)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize(("name", "symbol"), [("shl", np.left_shift), ("shr", np.right_shift)])
def test_shifts_outside_the_width(name: str, symbol: Callable[..., Any], dtype: DType) -> None:
    x, y = pairs(integers(dtype))
    y = np.abs(y)
    got = value(name, x, y, dtypes=[dtype] * 2, expanded=False)
    np.testing.assert_array_equal(got, symbol(x, y))


def test_unsigned_division_of_bit_patterns() -> None:
    x = np.array([-1, -(2**63), 17], np.int64)
    y = np.array([3, 2, 5], np.int64)
    quotient = value("divtrunc", x, y, dtypes=[int64] * 2, expanded=False)
    assert quotient.tolist() == [(2**64 - 1) // 3, 2**62, 3]


@pytest.mark.parametrize("name", ["sign", "square", "abs", "neg", "logical_not"])
@pytest.mark.parametrize("dtype", [*INTEGERS, float32, float64], ids=str)
def test_unary_on_numbers(name: str, dtype: DType) -> None:
    values = np.array([0, 1, 2, 100], dtype.numpy)
    if dtype.is_signed:
        values = np.concatenate([values, -values])
    if dtype.is_float:
        values = np.append(values, [np.nan, np.inf, -np.inf]).astype(dtype.numpy)
    got = value(name, values, dtypes=[dtype], expanded=True)
    with np.errstate(all="ignore"):
        expected = TABLE[name].meaning(values)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == expected.dtype


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "signbit", "sign", "round"])
def test_classes_of_floats(name: str, dtype: DType) -> None:
    info = np.finfo(dtype.numpy)
    one_sided = np.array([0, 0.5, 1.5, 2.5, np.inf, np.nan, info.max, info.tiny], dtype.numpy)
    values = np.concatenate([one_sided, -one_sided])
    got = value(name, values, dtypes=[dtype], expanded=True)
    np.testing.assert_array_equal(got, TABLE[name].meaning(values))
    x, y = pairs(values)
    got = value("copysign", x, y, dtypes=[dtype] * 2, expanded=True)
    np.testing.assert_array_equal(got, np.copysign(x, y))
    np.testing.assert_array_equal(np.signbit(got), np.signbit(y))
    got = value("nextafter", x, y, dtypes=[dtype] * 2, expanded=True)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got, np.nextafter(x, y))


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
@pytest.mark.parametrize("dtype", [bool_, int32, float32], ids=str)
def test_logic(name: str, dtype: DType) -> None:
    x, y = pairs(np.array([0, 1, 2]).astype(dtype.numpy))
    got = value(name, x, y, dtypes=[dtype] * 2, expanded=True)
    np.testing.assert_array_equal(got, TABLE[name].meaning(x, y))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_fma_rounds_once(dtype: DType) -> None:
    random = np.random.default_rng(3)
    a, b = random.standard_normal((2, 500)).astype(dtype.numpy)
    c = -(a * b)
    got = value("fma", a, b, c, dtypes=[dtype] * 3, expanded=False)
    wide = a.astype(np.longdouble) * b.astype(np.longdouble)
    if dtype is float32:
        np.testing.assert_array_equal(got, (wide + c).astype(dtype.numpy))
    else:
        assert np.all(np.abs(got - (wide + c)) <= 2.0**-62)
        assert np.count_nonzero(got) > 400


# The published vectors of Random123: counter, key, word 0, word 1.
PHILOX = [
    (0, 0, 0x6627E8D5, 0xE169C58D),
]


@pytest.mark.parametrize("expanded", [False, True])
def test_philox_known_answers(expanded: bool) -> None:
    for counter, key, word0, word1 in PHILOX:
        arrays = np.array([key], np.uint64), np.array([counter], np.uint64)
        low = value("philox", *arrays, dtypes=[uint64] * 2, expanded=expanded)
        both = value("philox64", *arrays, dtypes=[uint64] * 2, expanded=expanded)
        assert low.tolist() == [word0]
        assert both.tolist() == [word0 | word1 << 32]


def test_philox_expansion_is_its_meaning() -> None:
    random = np.random.default_rng(5)
    key, counter = random.integers(0, 2**64, (2, 1000), dtype=np.uint64)
    for name in ("philox", "philox64"):
        got = value(name, key, counter, dtypes=[uint64] * 2, expanded=True)
        want = value(name, key, counter, dtypes=[uint64] * 2, expanded=False)
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype
    words = value("philox", key, counter, dtypes=[uint64] * 2, expanded=False)
    assert abs(words.astype(float).mean() / 2**32 - 0.5) < 0.05


# --- evaluation ---------------------------------------------------------------------------------


def test_loads_are_read_through_the_callback() -> None:
    buffer = Buffer("x", float32, (4,))
    i = Var("i")
    e = apply("mul", Load(buffer, (i,)), Load(buffer, (i,)))
    data = np.array([1, 2, 3, 4], np.float32)
    got = evaluate(e, {i: np.arange(4)}, lambda load, at: data[at])
    assert got.tolist() == [1, 4, 9, 16]
    with pytest.raises(ValueError, match="reads x"):
        evaluate(e, {i: np.arange(4)})


def test_shared_subexpressions_are_computed_once() -> None:
    x = Var("x", float64)
    e = x
    for _ in range(200):
        e = apply("add", e, e)  # type: ignore[assignment]
    assert evaluate(e, {x: np.float64(1)}) == 2.0**200


def test_equal_expressions_are_one_object() -> None:
    x = Var("x", float32)
    assert apply("exp", apply("add", x, x)) is apply("exp", apply("add", x, x))
    assert apply("add", x, const(0.0, float32)) is not apply("add", x, const(-0.0, float32))
    assert apply("cast", x, dtype=int32) is not apply("cast", x, dtype=int64)


@pytest.mark.parametrize("shared", [True, False])
def test_equal_expressions_are_one_object_however_deep(shared: bool) -> None:
    """Also after others were forgotten: neither paths nor depth count, only distinct parts."""
    x = Var("x", float32)

    def make() -> Any:
        e: Any = x
        for _ in range(200 if shared else 20000):
            e = apply("add", e, e if shared else x)
        return e

    a = make()
    forget()
    assert a is make()
    assert apply("neg", a) is not a


def test_what_nobody_holds_is_forgotten() -> None:
    x = Var("x", float32)
    buffer = Buffer("b", float32, (4,))
    held = apply("exp", Load(buffer, (index(3),)))
    apply("exp", apply("exp", held))
    forget()
    counts = [len(_made)]
    again = apply("exp", apply("exp", held))
    counts.append(len(_made))
    assert held is apply("exp", Load(buffer, (index(3),)))
    counts.append(len(_made))
    del again
    forget()
    counts.append(len(_made))
    assert [n - counts[0] for n in counts] == [0, 2, 2, 0]
    assert apply("add", x, const(0.5, float32)) is apply("add", x, const(0.5, float32))
