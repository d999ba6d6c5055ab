"""The 16-bit floats in kernels: every value, rounding, and the instructions that convert them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import ALL, DType, as_dtype, bfloat16, float16, float32, float64, int32
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.expr import Apply, Buffer, Const, Load, Var
from fusegrad.codegen.half import from_bfloat16, to_bfloat16
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Param, Role, Store, Vector
from fusegrad.codegen.meanings import cast
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.targets.base import Features, host, named
from fusegrad.codegen.targets.llvm import assembly, emit_module
from tests.codegen.llvm_support import Native

ml_dtypes = pytest.importorskip("ml_dtypes")

Array = np.ndarray[Any, Any]
HALVES = (float16, bfloat16)
NEON = Features("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon", 16, False, 32)


def converting(source: DType, target: DType, lanes: int = 8) -> Kernel:
    """``y = cast(x)``."""
    size = Var("n")
    i = Var("i", extent=size)
    x, y = Buffer("x", source, (size,)), Buffer("y", target, (size,))
    body = (Store(y, (i,), apply("cast", Load(x, (i,)), dtype=target)),)
    loop = For(i, size, AnyOrder(), body, mapping=Vector(lanes, 2))
    return Kernel("convert", (Param(x, Role.IN), Param(y, Role.OUT)), (size,), (loop,))


def every(dtype: DType) -> Array:
    return np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy)


def numbers() -> Array:
    """float32 values around everything that is special in float16 and bfloat16."""
    bits = np.arange(0, 1 << 32, 65521, dtype=np.uint64).astype(np.uint32).view(np.float32)
    halves = np.concatenate([every(d).astype(np.float32) for d in HALVES])
    with np.errstate(all="ignore"):
        ties = halves + (np.nextafter(halves.astype(np.float16), np.float16(np.inf)) - halves) / 2
    around = [np.nextafter(ties, np.float32(s * np.inf)) for s in (1, -1)]
    return np.concatenate([bits, halves, ties, *around]).astype(np.float32)


def same(found: Array, expected: Array) -> None:
    """Equal bits but for what a NaN carries."""
    a, b = found.astype(np.float64), expected.astype(np.float64)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a)[a == 0], np.signbit(b)[b == 0])


def targets() -> list[Features]:
    return [host(), named("avx2"), named("sse4")] if host().is_x86 else [host()]


@pytest.mark.parametrize("target", targets(), ids=lambda t: f"{t.cpu}-{t.vector_bytes}")
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_half_and_every_rounding(dtype: DType, target: Features) -> None:
    if target.vector_bytes > host().vector_bytes:
        pytest.skip("this machine lacks the instructions")
    for source, wanted, values in (
        (dtype, float32, every(dtype)),
        (float32, dtype, numbers()),
    ):
        native = Native(converting(source, wanted), target)
        n = values.size
        found = np.zeros(n, wanted.numpy)
        native(values, found, sizes=(n,), chunks=((0, n - 3), (n - 3, n)))
        with np.errstate(all="ignore"):
            same(found, values.astype(wanted.numpy))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("other", ALL, ids=str)
def test_casts_are_those_of_numpy(dtype: DType, other: DType) -> None:
    """float64 to float16 is rounded once; bfloat16 goes through float32, as ml_dtypes does."""
    rng = np.random.default_rng(0)
    if other.is_float:
        tiny = 10.0 ** rng.integers(-9, 6, 4000)
        values = cast(np.concatenate([rng.normal(size=4000) * tiny, [np.nan, np.inf, -0.0]]), other)
        values[:2] = cast(np.asarray([1 + 2**-11 + 2**-40, 1 - 2**-12 - 2**-40]), other)
    else:
        values = rng.integers(0, 256, 4000 * other.itemsize, np.uint8).view(np.uint8)
        values = values > 99 if other.kind == "bool" else values.view(other.numpy)
    back = cast(rng.uniform(0, 100, 4000), dtype)
    for source, wanted, given in ((other, dtype, values), (dtype, other, back)):
        x = Var("x", source)
        with np.errstate(all="ignore"):
            expected = given.astype(wanted.numpy)
        found = evaluate(apply("cast", x, dtype=wanted), {x: given})
        same(found, expected)
        native = Native(converting(source, wanted, lanes=4))
        result = np.zeros(given.size, wanted.numpy)
        native(given, result, sizes=(given.size,), chunks=((0, given.size),))
        same(result, expected)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_what_is_computed_is_computed_in_float32_and_rounded(dtype: DType) -> None:
    x, y = Var("x", dtype), Var("y", dtype)
    total = apply("add", x, y)
    assert total.dtype is dtype
    assert isinstance(total, Apply)
    assert (total.op, total.args[0].dtype) == ("cast", float32)
    assert apply("lt", x, y).dtype.name == "bool"
    assert apply("select", apply("lt", x, y), x, y).op == "select"  # type: ignore[attr-defined]
    rng = np.random.default_rng(1)
    a, b = (cast(rng.normal(size=999), dtype) for _ in range(2))
    found = evaluate(apply("mul", total, y), {x: a, y: b})
    same(found, (a + b) * b)
    for wrong in (Var("z", float32), Var("z", int32), Var("z", float64)):
        with pytest.raises(TypeError, match="takes operands of one dtype"):
            apply("add", x, wrong)
    with pytest.raises(TypeError, match="takes operands of one dtype"):
        apply("add", Var("a", float16), Var("b", bfloat16))


def test_constants_are_rounded() -> None:
    assert Const(0.1, float16).value == float(np.float16(0.1))
    assert Const(0.1, bfloat16).value == float(ml_dtypes.bfloat16(0.1))
    assert Const(1e6, float16).value == np.inf
    folded = apply("cast", Const(0.1, float64), dtype=float16)
    assert folded == Const(0.1, float16)
    assert apply("cast", folded, dtype=float64) == Const(float(np.float16(0.1)), float64)


def test_names_and_numpy_types() -> None:
    assert (float16.short, bfloat16.short, bfloat16.itemsize) == ("f16", "bf16", 2)
    assert as_dtype(ml_dtypes.bfloat16) is as_dtype("bfloat16") is bfloat16
    assert as_dtype(np.float16) is as_dtype("half") is float16
    assert bfloat16.numpy == np.dtype(ml_dtypes.bfloat16)
    values = np.random.default_rng(2).normal(size=50)
    same(to_bfloat16(values), values.astype(np.float32).astype(ml_dtypes.bfloat16))
    assert from_bfloat16(to_bfloat16(1.5)).shape == ()


def lines(source: DType, target: DType, machine: Features, lanes: int) -> str:
    return assembly(emit_module([converting(source, target, lanes)], machine), machine)


def test_conversions_are_vector_instructions() -> None:
    for machine, lanes, register in ((named("avx512"), 16, "zmm"), (named("avx2"), 8, "ymm")):
        widened = lines(float16, float32, machine, lanes)
        assert re.search(rf"vcvtph2ps\s+\d*\(.*%{register}", widened)
        assert re.search(rf"vcvtps2ph\s.*%{register}", lines(float32, float16, machine, lanes))
        shifted = lines(bfloat16, float32, machine, lanes)
        assert re.search(rf"vpmovzxwd\s+\d*\(.*%{register}", shifted)
        assert re.search(rf"vpslld\s+\$16, %{register}", shifted)
    assert re.search(r"fcvtl\s", lines(float16, float32, NEON, 4))
    assert re.search(r"fcvtn\s", lines(float32, float16, NEON, 4))


@pytest.mark.parametrize("machine", [named("avx512"), named("avx2"), named("sse4"), NEON])
def test_nothing_outside_is_called(machine: Features) -> None:
    """No `__extendhfsf2`: a machine without the instructions converts by integer arithmetic."""
    for dtype in HALVES:
        for other in (float32, float64, int32):
            for source, target in ((dtype, other), (other, dtype)):
                text = lines(source, target, machine, 4)
                assert not re.search(r"\b(call|callq|bl)\s", text)


def test_without_ml_dtypes_values_are_moved_and_converted() -> None:
    """Arrays of bfloat16 are records then; what fusegrad computes is the same."""
    program = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np
from fusegrad.codegen.dtypes import as_dtype, bfloat16, float32
from fusegrad.codegen.expr import Const, Var
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.scalar import apply
x = Var("x", float32)
e = apply("add", apply("cast", x, dtype=bfloat16), Const(0.1, bfloat16))
found = evaluate(apply("cast", e, dtype=float32), {x: np.float32([1, 1.005, np.inf])})
print(bfloat16.numpy, as_dtype(bfloat16.numpy), found.tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[('bfloat16', '<u2')] bfloat16 [1.1015625, 1.109375, inf]\n"
