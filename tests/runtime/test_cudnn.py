"""Convolutions by cuDNN: what it is asked for, and that this is what the kernels mean.

The library is a stand-in that computes what the descriptors say. Where the real one is installed
its descriptors are made with it too; its engines need a GPU (`python -m benchmarks.gpu`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.codegen.schedule import gpu_library
from fusegrad.codegen.schedule.gpu_library_calls import Direction, Lattice, LibraryConvolution
from fusegrad.errors import DeviceError
from fusegrad.runtime import cache, cuda_driver
from fusegrad.runtime.cuda_driver import CudaDriver
from fusegrad.runtime.cudnn import Cudnn
from fusegrad.runtime.devices import substituted
from tests.runtime.cudnn_stand_in import Library
from tests.runtime.nvidia_machine import Machine, normal, running, same


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(gpu_library, "LEAST_WORK", 1)
    with running(Machine("cudnn", Library), monkeypatch) as made:
        yield made


CASES: list[dict[str, Any]] = [
    {},
    {"padding": 1},
    {"padding": (2, 1), "stride": 2},
    {"padding": 2, "dilation": 2},
    {"stride": (1, 3)},
    {"padding": 1, "groups": 2},
    {"padding": 3, "stride": 2, "dilation": (1, 2)},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions_and_their_gradients(machine: Machine, case: dict[str, Any]) -> None:
    groups = case.get("groups", 1)
    x, w = normal(5, 8, 13, 14), normal(12, 8 // groups, 3, 3)

    def step(x: Any, w: Any) -> Any:
        def loss(x: Any, w: Any) -> Any:
            return (F.conv2d(x, w, **case) ** 2).mean()

        return F.conv2d(x, w, **case), *fg.grad(loss, argnums=(0, 1))(x, w)

    same(step, x, w, tol=2e-5)
    directions = {run["forward"] for run in machine.library.run}
    assert directions == {True, False}
    assert {run["engine"] for run in machine.library.run} == {7}
    assert "graph.launch" in machine.cuda.calls


def test_what_follows_a_convolution(machine: Machine) -> None:
    def block(x: Any, w: Any, b: Any) -> Any:
        y = F.conv2d(x, w, b, padding=1)
        return y, F.relu(y) * 2

    same(block, normal(4, 6, 9, 9), normal(8, 6, 3, 3), normal(8))
    assert machine.library.run


@pytest.mark.parametrize("length", [3, 17])
def test_windows_along_one_axis(machine: Machine, length: int) -> None:
    def step(x: Any, w: Any) -> Any:
        return F.conv1d(x, w, padding=length // 2), fg.grad(
            lambda w: F.conv1d(x, w, padding=2).sum()
        )(w)

    same(step, normal(4, 6, 40), normal(8, 6, length), tol=2e-5)
    assert all(run["how"][106] == [2] for run in machine.library.run)
    assert machine.library.run


def test_float64(machine: Machine) -> None:
    same(F.conv2d, normal(3, 4, 8, 8), normal(8, 4, 3, 3), dtype="float64", tol=1e-12)
    assert machine.library.run[-1]["how"][100] == [1]


def test_a_network(machine: Machine) -> None:
    def trained(device: str) -> list[float]:
        fg.random.seed(1)
        net = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 12, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 9, 5)),
        ).to(device)
        opt = optim.Adam(net.parameters(), lr=0.01)

        @fg.compile
        def step(x: Any, y: Any) -> Any:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            return loss

        x, y = normal(6, 3, 14, 14), normal(6).argsort() % 5
        return [float(step(x, y)) for _ in range(5)]

    assert trained("cuda") == pytest.approx(trained("cpu"), rel=1e-4)
    assert {run["forward"] for run in machine.library.run} == {True, False}


def test_tf32_allows_tensor_cores(machine: Machine) -> None:
    x, w = (fg.asarray(normal(*s)).cuda() for s in ((2, 4, 8, 8), (8, 4, 3, 3)))
    fg.set_float32_matmul_precision("high")
    try:
        fg.compile(F.conv2d)(x, w)
    finally:
        fg.set_float32_matmul_precision("highest")
    assert machine.library.run[-1]["engine"] == 6


@pytest.mark.parametrize("what", ["graph", "heuristic", "plan", "engines"])
def test_without_an_engine_the_kernels_are_our_own(machine: Machine, what: str) -> None:
    if what == "engines":
        machine.library.engines = {5: [4], 8: [2], 9: [8]}
    machine.library.fail[what] = 3000
    same(F.conv2d, normal(2, 4, 8, 8), normal(8, 4, 3, 3))
    assert not machine.library.run
    assert "launch" in machine.cuda.calls


def test_a_library_that_fails(machine: Machine) -> None:
    machine.library.fail["execute"] = 5000
    x, w = (fg.asarray(normal(*s)).cuda() for s in ((2, 4, 8, 8), (8, 4, 3, 3)))
    with pytest.raises(DeviceError, match="cuDNN failed in cudnnBackendExecute: status 5000"):
        fg.compile(F.conv2d)(x, w)


def test_an_old_library_is_left_out(machine: Machine) -> None:
    machine.library = Library(version=8900)
    with substituted(CudaDriver(machine.cuda.packages(), machine.open)) as _:
        same(F.conv2d, normal(2, 4, 8, 8), normal(8, 4, 3, 3))
        driver = fg.runtime.devices.driver()
        assert isinstance(driver, CudaDriver)
        assert "older than" in driver.libraries.missing["cuDNN"]


def test_what_was_chosen_is_kept(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = cache.DiskCache(tmp_path / "kept")
    monkeypatch.setattr(cache, "default", lambda: disk)
    x, w = normal(2, 4, 8, 8), normal(8, 4, 3, 3)
    found = []
    for _ in range(2):
        with substituted(CudaDriver(machine.cuda.packages(), machine.open)):
            step = fg.compile(lambda x, w: F.conv2d(x, w) + 1)
            found.append(step(fg.asarray(x).cuda(), fg.asarray(w).cuda()).cpu().numpy().tobytes())
        machine.library.engines = {}
    assert found[0] == found[1]
    assert step.stats().origins == {"disk": 1}
    assert [run["engine"] for run in machine.library.run] == [7, 7]


def packed(parameter: int, dtype: str, *shape: int) -> Lattice:
    strides = [1, *itertools.accumulate(shape[:0:-1], lambda a, b: a * b)]
    return Lattice(parameter, dtype, 0, shape, tuple(reversed(strides)))


H200 = {
    **{"deviceName": "NVIDIA H200", "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0},
    **{"totalGlobalMem": 150_000_000_000, "multiProcessorCount": 132, "smCountOrigin": 0},
    **{"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64]},
    **{"warpSize": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32},
    **{"regsPerBlock": 65536, "maxRegistersPerSM": 65536, "l2CacheSize": 62914560},
    **{"maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448},
    **{"oversizedSharedMemoryPerBlock": 0, "reservedSharedMemoryPerBlock": 1024},
    **{"smClockRateKHz": 1980000, "memClockRateKHz": 3201000, "memoryBusWidth": 6144},
    **{"pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1},
}
"""A GPU in the words of cuDNN, which chooses engines for it where it is not."""


def real(**given: Any) -> Cudnn:
    try:
        return Cudnn(cuda_driver._library("cudnn"), **given)
    except Exception as problem:
        pytest.skip(f"cuDNN (a download of 500 MB) cannot be used: {type(problem).__name__}")


def a_call(direction: Direction, dtype: str) -> LibraryConvolution:
    return LibraryConvolution(
        *(direction, packed(0, dtype, 4, 32, 14, 14), packed(1, dtype, 64, 32, 3, 3)),
        *(packed(2, dtype, 4, 64, 7, 7), (2, 2), (1, 1), (1, 1), (0, 0)),
    )


@pytest.mark.parametrize("direction", Direction)
def test_descriptors_of_the_real_library(direction: Direction) -> None:
    assert len(real()._operation(a_call(direction, "bfloat16"))) == 5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("direction", Direction)
def test_the_real_library_has_engines_for_a_gpu(direction: Direction, dtype: str) -> None:
    library = real(properties=json.dumps(H200))
    call = a_call(direction, dtype)
    found = library.choose(0, call, False)
    assert found is not None
    # What was kept of it makes the same plan.
    assert library._planned(0, call, found).plan.number(402) == found.workspace


def test_what_a_library_does_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [fg.asarray(normal(*s)) for s in ((2, 4, 8, 8), (8, 4, 3, 3))]
    step = fg.compile(lambda x, w: F.conv2d(x, w) * 2)
    there = step.explain(*(g.cuda() for g in given))["libraries"]
    told = "cuDNN, convolution: float32, images 2x4x8x8, weights 8x4x3x3"
    assert there.endswith(told)
    machine.library.engines = {}
    assert step.explain(*(g.cuda() for g in given))["libraries"] == ""
    monkeypatch.setattr("fusegrad.compilation.explain.gpu_target", lambda: "sm_90")
    elsewhere = fg.compile(lambda x, w: F.conv2d(x, w) * 2).explain(*given)["libraries"]
    assert elsewhere.startswith("where these libraries are installed:")
    assert elsewhere.endswith(told)
