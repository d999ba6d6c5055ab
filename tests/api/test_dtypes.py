"""Every elementwise function of every dtype against NumPy, op by op and compiled; conversions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import ALL, DType
from fusegrad.errors import DTypeError
from fusegrad.ops.elementwise import FUNCTIONS, Function

ml_dtypes = pytest.importorskip("ml_dtypes")

Array = np.ndarray[Any, Any]

_ROUND = ("floor", "ceil", "trunc", "round")
_TESTS = ("isnan", "isinf", "isfinite", "isposinf", "isneginf")
_BINARY = {row.name for row in FUNCTIONS.values() if len(row.ranges) == 2}


def _integers(dtype: DType, rng: np.random.Generator) -> Array:
    low, high = int(dtype.lowest), int(dtype.highest)
    ends = [low, high, low + 1, high - 1, 0, 1, dtype.bits - 1, dtype.bits, dtype.bits + 1]
    ends += [-1, -2] if low else [2, 3]
    drawn = rng.integers(low, high, 100, dtype.numpy, endpoint=True)
    small = rng.integers(-9 if low else 0, 10, 100).astype(dtype.numpy)
    return np.concatenate([np.asarray(ends, dtype.numpy), drawn, small])


def pairs(dtype: DType) -> tuple[Array, Array]:
    """Values of a dtype in pairs, all special ones with all others among them."""
    rng = np.random.default_rng(0)
    if dtype.kind == "bool":
        values = np.asarray([False, True])
    elif dtype.is_integer:
        values = _integers(dtype, rng)
    else:
        drawn = rng.normal(size=60) * 10.0 ** rng.integers(-3, 4, 60)
        special = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0]
        values = np.concatenate([special, drawn]).astype(dtype.numpy)
    some = values[:24]
    a, b = np.meshgrid(some, some)
    return np.concatenate([values, a.ravel()]), np.concatenate([values[::-1], b.ravel()])


def functions(dtype: DType) -> list[Function]:
    """The rows that take a dtype."""
    found = []
    for row in FUNCTIONS.values():
        try:
            row.operand_dtype(dtype)
        except DTypeError:
            continue
        found.append(row)
    return found


def expected(row: Function, dtype: DType, operands: list[Array]) -> Array:
    """What NumPy computes; of halves and of integers in float32 where floats come out."""
    narrow = dtype.is_half or ((row.to_float or row.name in _TESTS) and not dtype.is_float)
    if row.name == "nextafter" and dtype.is_half:
        narrow = False  # the next one of its own kind
    if row.name == "float_power":
        with np.errstate(all="ignore"):
            return np.asarray(np.float_power(*(x.astype(np.float64) for x in operands)))
    given = [x.astype(np.float32) if narrow else x for x in operands]
    if row.name in _ROUND and not dtype.is_float:
        return given[0]
    function = row.reference
    if row.name == "floor_divide" and dtype.is_float:
        # Where NumPy says NaN: an infinity over a number is infinite.
        function = _floor_divide
    with np.errstate(all="ignore"):
        result = np.asarray(function(*given))
        if result.dtype.kind == "f":
            result = result.astype(dtype.numpy if dtype.is_float else np.float32)
    return result


def _floor_divide(a: Array, b: Array) -> Array:
    return np.where(np.isinf(a) & np.isfinite(b), a / b, np.floor_divide(a, b))


def close(found: Array, wanted: Array, dtype: DType, name: str) -> None:
    assert found.dtype == wanted.dtype, name
    if found.dtype.kind in "biu":
        np.testing.assert_array_equal(found, wanted, name)
        return
    half = dtype.is_half
    info: Any = ml_dtypes.finfo(found.dtype)
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    bound = (1 if half else 8) * float(info.eps) * np.abs(b) + 2 * float(info.smallest_subnormal)
    with np.errstate(all="ignore"):
        right = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= bound)
    right &= (np.signbit(a) == np.signbit(b)) | (a != 0) | (b != 0)
    assert right.all(), f"{name}: {a[~right][:5]}, not {b[~right][:5]}"


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_every_function_of_every_dtype(dtype: DType) -> None:
    a, b = pairs(dtype)
    exponents = b
    if dtype.kind == "int":
        # NumPy refuses negative powers of integers.
        exponents = np.where(b < 0, 3, b).astype(b.dtype)
    rows = functions(dtype)
    operands = {
        row.name: [a, exponents if row.name == "pow" else b][: 1 + (row.name in _BINARY)]
        for row in rows
    }

    def all_of_them(a: fg.Tensor, b: fg.Tensor, exponents: fg.Tensor) -> tuple[fg.Tensor, ...]:
        return tuple(
            getattr(fg, row.name)(a, exponents if row.name == "pow" else b)
            if row.name in _BINARY
            else getattr(fg, row.name)(a)
            for row in rows
        )

    given = tuple(map(fg.asarray, (a, b, exponents)))
    with fg.eager():
        eager = [t.numpy() for t in all_of_them(*given)]
    compiled = [t.numpy() for t in fg.compile(all_of_them)(*given)]
    for row, one, other in zip(rows, eager, compiled, strict=True):
        wanted = expected(row, dtype, operands[row.name])
        close(one, wanted, dtype, f"{row.name}, op by op")
        close(other, wanted, dtype, f"{row.name}, compiled")


def test_integers_wrap_and_do_not_trap() -> None:
    low = fg.asarray([-(2**31)], dtype="int32")
    minus, zero = fg.asarray([-1], dtype="int32"), fg.zeros(1, dtype="int32")

    def edges(low: fg.Tensor, minus: fg.Tensor, zero: fg.Tensor) -> tuple[fg.Tensor, ...]:
        return (
            *(fg.abs(low), -low, low + minus, low // minus, low % minus, low // zero, low % zero),
            *(minus << 32, minus >> 32, minus << minus, low >> 31),
        )

    for way in (edges, fg.compile(edges)):
        found = [t.item() for t in way(low, minus, zero)]
        wanted = [-(2**31), -(2**31), 2**31 - 1, -(2**31), 0, 0, 0, 0, -1, 0, -1]
        assert found == wanted


OUTSIDE = [math.nan, math.inf, -math.inf, 300, -300, 7e4, -7e4, 3e9, -3e9, 1e10, -1e10, 1e20, -1e20]
OUTSIDE += [2.0**31, 2.0**63, 2.0**64, -1.5, -0.5, 255.5, 1.8e19]


@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32", "float64"])
def test_floats_that_an_integer_does_not_hold(source: str) -> None:
    """They wrap as int32 or int64, and what that does not hold is its least value."""
    x = fg.asarray(OUTSIDE, dtype=source)
    targets = [d for d in ALL if d.is_integer]

    def convert(x: fg.Tensor) -> tuple[fg.Tensor, ...]:
        return tuple(x.astype(d) for d in targets)

    values = x.float().numpy() if source != "float64" else x.numpy()
    results = zip(targets, convert(x), fg.compile(convert)(x), strict=True)
    for dtype, recorded, compiled in results:
        through = 2**31 if dtype.bits < 32 or dtype.name == "int32" else 2**63
        for value, one, other in zip(values, recorded.tolist(), compiled.tolist(), strict=True):
            if dtype.name == "uint64" and 2.0**63 <= value < 2.0**64:
                wanted = int(value)
            elif dtype.name == "uint64" and value >= 2.0**64:
                wanted = 0
            elif -through <= value < through:
                wanted = int(value)
            else:
                wanted = -through
            wanted &= 2**dtype.bits - 1
            if dtype.kind == "int" and wanted >> (dtype.bits - 1):
                wanted -= 2**dtype.bits
            assert one == other == wanted, (dtype, value)


def test_bits() -> None:
    x = fg.asarray([1.0, -0.0, np.nan], dtype="float32")
    assert x.view("uint32").tolist() == [0x3F800000, 0x80000000, 0x7FC00000]
    assert x.view(fg.int32).view(np.float32).tolist()[:2] == [1, 0]
    assert fg.bitcast(fg.asarray([1.0], dtype="bfloat16"), "int16").item() == 0x3F80
    assert x.view(3, 1).shape == x.view((3, 1)).shape == (3, 1)
    for way in (lambda x: x.view("int16"), fg.compile(lambda x: x.view("int16"))):
        assert way(fg.asarray([1.0, -2.0], dtype="float16")).tolist() == [0x3C00, -0x4000]
    with pytest.raises(DTypeError, match="int16 has 16 bits, not 32"):
        x.view("int16")


def test_mixed_integers_promote_as_the_standard_says() -> None:
    for a in ALL:
        for b in ALL:
            if not (a.is_integer and b.is_integer):
                continue
            x, y = fg.zeros(1, dtype=a), fg.zeros(1, dtype=b)
            if "uint64" in (a.name, b.name) and "int" in (a.kind, b.kind):
                with pytest.raises(DTypeError, match="no integer dtype holds the values"):
                    x + y
            else:
                assert (x + y).dtype.numpy == np.promote_types(a.numpy, b.numpy)
