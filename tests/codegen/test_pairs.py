"""Products of bfloat16 in pairs: which ones, what they mean, and the same bits from the machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import bfloat16, float16, uint32
from fusegrad.codegen.half import from_bfloat16, to_bfloat16
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Contract, nested
from fusegrad.codegen.schedule.cpu import Mapped, schedule
from fusegrad.codegen.targets.base import host, named
from fusegrad.codegen.verify import verify_kernel
from tests.codegen.examples import Example, matmul, relu_bias
from tests.codegen.llvm_support import Native

Array = np.ndarray[Any, Any]
TARGET = replace(
    named("avx512"),
    features=named("avx512").features + ",+avx512bf16",
    multiplies_pairs=True,
    l2_bytes=1 << 20,
)
SMALL_CACHE = replace(TARGET, l2_bytes=1 << 15)
HERE = host().multiplies_pairs
FORMS = ["NN", "NT", "TN", "TT"]


def in_pairs(mapped: Mapped) -> bool:
    tiles = [s for s in nested(mapped.kernel.body) if isinstance(s, Contract)]
    assert len({s.a.dtype is uint32 for s in tiles}) == 1
    return all(s.a.dtype is uint32 and s.b.dtype is uint32 for s in tiles)


def run(example: Example, mapped: Mapped) -> None:
    """Right, and to the bit what the machine computes where it has the instruction."""
    verify_kernel(mapped.kernel)
    expected = example.arrays()
    interpret_kernel(mapped.kernel, expected, example.sizes, chunks=2)
    example.check(expected, 1e-4)
    if HERE:
        found = example.arrays()
        native = Native(mapped.kernel, TARGET)
        middle = mapped.items // 2
        native(*found, sizes=example.sizes, chunks=((0, middle), (middle, mapped.items)))
        for a, b in zip(found, expected, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(35, 18, 34), (16, 8, 6), (17, 70, 66)], ids=str)
def test_every_layout(form: str, shape: tuple[int, int, int]) -> None:
    # The number of rows is a size where there is no batch: no distance of a transposed operand.
    for batch in ((), (2,))[form[0] == "T" :]:
        example = matmul(form, *shape, batch, half=bfloat16)
        result = schedule(example.kernel, batch[0] if batch else shape[0], TARGET)
        assert in_pairs(result)
        run(example, result)


@pytest.mark.parametrize("form", FORMS)
def test_a_last_step_alone_needs_operands_that_are_packed(form: str) -> None:
    example = matmul(form, 20, 33, 31, (1,), half=bfloat16)
    result = schedule(example.kernel, 1, TARGET)
    assert in_pairs(result) is (form == "TN")
    run(example, result)


@pytest.mark.parametrize("form", FORMS)
def test_in_blocks_with_parts_of_the_sum(form: str) -> None:
    example = matmul(form, 67, 70, 1200, (1,), epilogue=relu_bias, half=bfloat16)
    result = schedule(example.kernel, 1, SMALL_CACHE)
    tiles = [s for s in nested(result.kernel.body) if isinstance(s, Contract)]
    assert any(s.onward is not None for s in tiles)
    assert in_pairs(result)
    run(example, result)


def test_other_products_are_not_in_pairs() -> None:
    for rows, columns, half in ((8, 40, bfloat16), (40, 7, bfloat16), (40, 40, float16)):
        example = matmul("NT", rows, columns, 34, half=half)
        assert not in_pairs(schedule(example.kernel, rows, TARGET))
    example = matmul("NT", 40, 40, 34, half=bfloat16)
    assert not in_pairs(schedule(example.kernel, 40, named("avx512")))
    # Sums of few terms have no tile, of whatever they are; a little longer ones have.
    for depth in range(1, 10):
        example = matmul("NT", 40, 40, depth, half=bfloat16)
        run(example, schedule(example.kernel, 40, TARGET))
    assert not in_pairs(schedule(matmul("NT", 40, 40, 34).kernel, 40, TARGET))


def test_special_values_and_numbers_below_the_least_normal_one() -> None:
    """NaN and infinities as ever; what is less than 2**-126 counts as zero, before and after."""
    example = matmul("NT", 16, 16, 12, half=bfloat16)
    result = schedule(example.kernel, 16, TARGET)
    arrays = example.arrays()
    names = [p.buffer.name for p in result.kernel.params]
    a, b = (arrays[names.index(n)] for n in "ab")
    values = np.zeros((16, 12), np.float32)
    values[:5, 1] = (np.nan, np.inf, -np.inf, 2.0**-130, 2.0**-100)
    a[...] = to_bfloat16(values).view(a.dtype)
    other = np.zeros((16, 12), np.float32)
    other[:4, 1] = (1, 0, 2.0**10, 2.0**-40)
    b[...] = to_bfloat16(other).view(b.dtype)
    machines = [lambda *x: interpret_kernel(result.kernel, list(x), example.sizes)]
    if HERE:
        native = Native(result.kernel, TARGET)
        machines.append(lambda *x: native(*x, sizes=example.sizes, chunks=((0, result.items),)))
    for machine in machines:
        machine(*arrays)
        y = arrays[names.index("y")]
        assert np.isnan(y[0, :4]).all()
        assert np.isinf(y[1, 0])
        assert np.isnan(y[1, 1])
        assert y[2, 2] == -np.inf
        assert y[3, 2] == 0
        assert y[4, 3] == 0
        assert y[4, 0] == np.float32(2.0**-100)
    assert from_bfloat16(to_bfloat16(other)).tobytes() == other.tobytes()


def test_same_bits_with_any_number_of_threads() -> None:
    generator = np.random.default_rng(0)
    x, w = (generator.standard_normal(s, dtype=np.float32) for s in ((300, 260), (260, 190)))

    def product(x: fg.Tensor, w: fg.Tensor) -> fg.Tensor:
        return (x.astype(fg.bfloat16) @ w.astype(fg.bfloat16)).astype(fg.float32)

    expected = fg.compile(product, threads=1)(x, w).numpy()
    for threads in (2, 3, 4):
        assert np.array_equal(fg.compile(product, threads=threads)(x, w).numpy(), expected)
    scale = np.abs(x) @ np.abs(w)
    assert np.max(np.abs(expected - x @ w) / scale) < 2.0**-8
