"""The memory of steps on a GPU: what is told of it before, and when there is not enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.schedule import gpu_library
from fusegrad.errors import MemoryLimitError
from fusegrad.runtime.simulated import SimulatedDriver
from fusegrad.testing import simulated_gpus
from tests.runtime.cublas_stand_in import Library
from tests.runtime.nvidia_machine import Machine, normal, running


def chain(x: Any) -> Any:
    a = x @ x
    b = fg.softmax(a, -1) @ x
    return (b @ a).sum()


@pytest.fixture
def gpu() -> Iterator[SimulatedDriver]:
    with simulated_gpus() as made:
        yield made


def test_the_plan_is_that_of_the_gpu(gpu: SimulatedDriver) -> None:
    x = fg.asarray(normal(64, 64)).cuda()
    step = fg.compile(chain)
    told = step.memory(x)
    assert told.device == "cuda:0"
    assert told.arena_bytes >= told.peak >= max(v.nbytes for v in told.values) >= 64 * 64 * 4
    assert "a thread" not in str(told)
    assert any(v.line is not None and "test_device_memory.py" in v.line for v in told.values)
    assert "launch" not in gpu.log
    step(x)
    assert step.stats().arena_bytes == told.arena_bytes
    with pytest.raises(MemoryLimitError, match="the limit is 100"):
        fg.compile(chain, memory_limit=100).memory(x)


def test_what_libraries_need_is_in_the_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_library, "LEAST_WORK", 1)
    monkeypatch.setattr(gpu_library, "LEAST_DEPTH", 16)
    with running(Machine("cublasLt", Library), monkeypatch) as machine:
        x = fg.asarray(normal(64, 64)).cuda()
        step = fg.compile(chain)
        told = step.memory(x)
        # What an algorithm wants, and a product that a kernel goes on from.
        assert told.scratch_bytes >= 1024
        before = len(machine.cuda.memory)
        expected = fg.compile(chain)(x.cpu())
        np.testing.assert_allclose(step(x).cpu().numpy(), expected.numpy(), rtol=1e-4)
        assert step.stats().arena_bytes >= told.arena_bytes + told.scratch_bytes
        # One block of memory for all of it, and one for the result.
        assert len(machine.cuda.memory) <= before + 2


def test_a_step_that_is_too_large_names_its_values() -> None:
    with simulated_gpus(memory=3 << 16) as gpu:
        x = fg.asarray(normal(128, 128)).cuda()
        step = fg.compile(chain)
        with pytest.raises(fg.cuda.OutOfMemoryError) as found:
            step(x)
        message = str(found.value)
        assert "cuda:0 is out of memory: the step needs" in message
        assert "its largest values: 65,536 for " in message
        assert "test_device_memory.py" in message
        assert "memory_limit" in message
        assert isinstance(found.value, MemoryError)
        assert "launch" not in gpu.log
        # What was there is as it was, and smaller steps go on.
        assert fg.compile(lambda x: (x * 2).sum())(x[:8]).cpu().numpy() is not None
        np.testing.assert_array_equal(x.cpu().numpy(), normal(128, 128))
