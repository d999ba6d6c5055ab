"""The workloads, in the order in which they run: one file each, and one line here.

Knows no process and no clock.
"""

from __future__ import annotations

from benchmarks.workload import Workload

from . import adam, add, cross_entropy, gelu, gpt, layer_norm, lenet, lstm, mlp, resnet, softmax

WORKLOADS: tuple[Workload, ...] = (
    add.WORKLOAD,
    gelu.WORKLOAD,
    softmax.WORKLOAD,
    cross_entropy.WORKLOAD,
    layer_norm.WORKLOAD,
    adam.WORKLOAD,
    mlp.SMALL,
    mlp.LARGE,
    gpt.WORKLOAD,
    lenet.WORKLOAD,
    resnet.WORKLOAD,
    lstm.WORKLOAD,
)


def find(name: str) -> Workload:
    """Return the workload of that name."""
    for workload in WORKLOADS:
        if workload.name == name:
            return workload
    known = ", ".join(workload.name for workload in WORKLOADS)
    raise ValueError(f"unknown workload {name!r}; known are {known}")
