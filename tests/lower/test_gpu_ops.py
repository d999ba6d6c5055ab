"""Every op compiled for a GPU and run by the simulator computes what the interpreter does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from fusegrad.codegen.kernel import Kernel
from fusegrad.ir.node import Node, Op
from fusegrad.lower import lower_region
from fusegrad.lower.equal import structure_of
from fusegrad.passes.regions import Kind
from fusegrad.runtime.build import Artifacts, Clock, analyse, units_inside
from tests.codegen.gpu_support import check
from tests.ops.samples import OPS, inputs_of, results

MOST = 2
"""Samples of an op: those of one dtype differ little."""


def logical_kernels(outputs: Sequence[Node]) -> Iterator[tuple[Kernel, int]]:
    """The kernels of a graph, each once."""
    unit = analyse(Artifacts(), outputs, Clock({}))
    seen = set()
    for part in [*units_inside(unit), unit]:
        for region in part.regions:
            if region.kind in (Kind.CALL, Kind.ALIAS):
                continue
            key, _ = structure_of(region, part.wanted[region.number])
            if key not in seen:
                seen.add(key)
                name = f"k{region.number}"
                lowered = lower_region(region, part.wanted[region.number], name)
                yield lowered.kernel, lowered.items


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_samples(op: Op) -> None:
    rng = np.random.default_rng(5)
    samples = list(op.samples())
    chosen = samples[:: max(1, len(samples) // MOST)][:MOST]
    for sample in chosen:
        nodes, _ = inputs_of(sample, rng)
        outputs = results(Node(sample.op, tuple(nodes)))
        for kernel, size in logical_kernels(outputs):
            check(kernel, size, str(sample))
