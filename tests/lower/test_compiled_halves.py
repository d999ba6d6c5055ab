"""Every op but elementwise ones on 16-bit floats, compiled, computes what the interpreter says."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import bfloat16, float16
from fusegrad.errors import DTypeError
from fusegrad.ir.node import Node, Op
from fusegrad.ops.base import Sample
from fusegrad.ops.elementwise import Map
from tests.lower.support import Array, check
from tests.ops.samples import OPS, inputs_of, results

MOST = 4


def _in_halves(op: Op) -> list[Sample]:
    """Some samples of an op, their floats replaced by halves of either kind."""
    floating = [s for s in op.samples() if any(spec.dtype.is_float for spec in s.inputs)]
    step = max(1, len(floating) // MOST)
    found = []
    for sample, half in zip(floating[::step], itertools.cycle((float16, bfloat16)), strict=False):
        specs = [replace(s, dtype=half) if s.dtype.is_float else s for s in sample.inputs]
        found.append(replace(sample, inputs=tuple(specs)))
    return found


def _with_floats() -> list[Op]:
    # All rows of the elementwise table are tested together, with the functions made of them.
    return [op for op in OPS if not isinstance(op, Map) and _in_halves(op)]


@pytest.mark.parametrize("op", _with_floats(), ids=lambda op: op.name)
def test_samples(op: Op) -> None:
    rng = np.random.default_rng(5)
    outputs: list[Node] = []
    environment: dict[Node, Array] = {}
    labels: list[str] = []
    for sample in _in_halves(op):
        nodes, values = inputs_of(sample, rng)
        try:
            found = results(Node(sample.op, tuple(nodes)))
        except DTypeError:
            continue  # its parameters name another dtype
        outputs += found
        environment |= values
        labels += [str(sample)] * len(found)
    check(outputs, environment, label=labels.__getitem__)


@pytest.mark.parametrize("dtype", [fg.float16, fg.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 300, 200), (65, 70, 90), (130, 40, 5)], ids=str)
def test_products_convert_what_they_read(dtype: Any, shape: tuple[int, int, int]) -> None:
    """The same bits as of converted operands, without a copy of them."""
    m, n, k = shape
    rng = np.random.default_rng(2)
    x, w = (fg.asarray(rng.standard_normal(s)).astype(dtype) for s in ((m, k), (n, k)))

    @fg.compile
    def product(x: fg.Tensor, w: fg.Tensor) -> fg.Tensor:
        return fg.maximum(x @ w.mT, 0)

    wide = fg.compile(lambda x, w: fg.maximum(x @ w.mT, 0))
    result = product(x, w).astype(fg.float32)
    expected = wide(x.astype(fg.float32), w.astype(fg.float32)).astype(dtype).astype(fg.float32)
    assert np.array_equal(result.numpy(), expected.numpy())
    assert product.stats().kernels == 1
