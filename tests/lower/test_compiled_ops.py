"""Every op compiled computes what it means in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from fusegrad.codegen.dtypes import bool_
from fusegrad.ir.node import Node, Op
from fusegrad.ops.base import CallOp, Sample
from fusegrad.ops.identities import Cast
from fusegrad.ops.small_matrices import SmallMatrix
from tests.lower.support import Array, check
from tests.ops.samples import OPS, inputs_of, results

MOST_OUTPUTS = 24


def _programs(op: Op) -> list[list[Sample]]:
    samples = list(op.samples())
    return [samples[i : i + MOST_OUTPUTS] for i in range(0, len(samples), MOST_OUTPUTS)]


def _undefined(sample: Sample) -> bool:
    """NumPy does not say what an integer that NaN or an infinity is converted to is.

    And matrices with NaN in them have no decomposition.
    """
    return isinstance(sample.op, (CallOp, SmallMatrix)) or (
        isinstance(sample.op, Cast) and not (sample.op.dtype.is_float or sample.op.dtype is bool_)
    )


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_samples(op: Op) -> None:
    rng = np.random.default_rng(5)
    for samples in _programs(op):
        outputs: list[Node] = []
        environment: dict[Node, Array] = {}
        labels: list[str] = []
        for sample in samples:
            for special in (False, True):
                if special and _undefined(sample):
                    continue
                nodes, values = inputs_of(sample, rng, special)
                found = results(Node(sample.op, tuple(nodes)))
                outputs += found
                environment |= values
                labels += [f"{sample} {'special' if special else ''}"] * len(found)
        check(outputs, environment, label=labels.__getitem__)
