"""NVIDIA's driver as it is spoken to: against a stand-in for cuda-bindings that computes in NumPy.

Whether the real one answers so is for machines that have a GPU (`python -m benchmarks.gpu`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import DeviceError
from fusegrad.runtime import cache, cuda_driver, device_build
from fusegrad.runtime.cuda_driver import CudaDriver, Packages
from fusegrad.runtime.devices import substituted
from fusegrad.tensors.placement import bring_home
from tests.runtime.cuda_stand_in import Bindings


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bindings]:
    stand_in = Bindings(2)
    code_of = cuda_driver.code_of

    def noted(kernels: Any) -> Any:
        codes = code_of(kernels)
        for code, kernel in zip(codes, kernels, strict=True):
            for number, entry in enumerate(code.entries):
                stand_in.kernels[entry.name] = kernel.kernel, number == 0
        return codes

    monkeypatch.setattr(cuda_driver, "code_of", noted)
    # The stand-in knows the kernels that were compiled for it.
    monkeypatch.setattr(cache, "default", lambda: None)
    with substituted(CudaDriver(stand_in.packages())):
        yield stand_in
        bring_home()


def test_a_training_step(bindings: Bindings) -> None:
    def trained(device: str) -> list[float]:
        fg.random.seed(1)
        net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 3))
        net.to(device)
        opt = optim.Adam(net.parameters(), lr=0.01)

        @fg.compile
        def step(x: Any, y: Any) -> Any:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            return loss

        x = np.random.default_rng(0).standard_normal((9, 6)).astype("float32")
        return [float(step(x, np.arange(9) % 3)) for _ in range(10)]

    there = trained("cuda:1")
    calls = bindings.calls.copy()
    np.testing.assert_allclose(there, trained("cpu"), rtol=1e-5)
    assert "graph.launch" in calls
    last = len(calls) - 1 - calls[::-1].index("graph.launch")
    # One transfer up, one piece of work, one number down.
    assert calls[last - 1 :] == [
        "cuMemcpyHtoDAsync",
        "graph.launch",
        "cuMemcpyDtoHAsync",
        "cuStreamSynchronize",
    ]


def test_a_second_process_lowers_nothing(
    bindings: Bindings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = cache.DiskCache(tmp_path / "kept")
    monkeypatch.setattr(cache, "default", lambda: disk)
    w = fg.asarray(np.random.default_rng(0).standard_normal((20, 24)).astype("float32"))

    def called(driver: CudaDriver) -> tuple[Any, Any]:
        with substituted(driver):
            step = fg.compile(lambda x: F.relu(x @ there) + np.arange(24, dtype="float32"))
            there = w.cuda()
            return step(fg.ones(3, 20).cuda()).cpu().numpy(), step.stats().origins

    def absent(name: str) -> Any:
        raise OSError(name)

    first, origins = called(CudaDriver(bindings.packages(), absent))
    assert origins == {"compiled": 1}
    monkeypatch.delattr(device_build, "build_device_record")
    monkeypatch.delattr(cuda_driver, "code_of")
    before = bindings.calls.count("cuLinkCreate")
    second, origins = called(CudaDriver(bindings.packages(), absent))
    assert origins == {"disk": 1}
    assert bindings.calls.count("cuLinkCreate") == before
    np.testing.assert_array_equal(first, second)
    # Another driver makes other code.
    monkeypatch.setattr(bindings, "cuDriverGetVersion", lambda: (0, 13010), raising=False)
    with pytest.raises(AttributeError, match="build_device_record"):
        called(CudaDriver(bindings.packages(), absent))


def test_long_transfers_go_through_two_buffers(
    bindings: Bindings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_driver, "_PINNED", 1 << 17)
    array = np.arange(100_000, dtype="float32")
    x = fg.asarray(array).cuda()
    np.testing.assert_array_equal(x.cpu().numpy(), array)
    assert bindings.calls.count("cuMemHostAlloc") == 2
    assert bindings.calls.count("cuEventSynchronize") == 2


def test_what_it_says_of_gpus(bindings: Bindings) -> None:
    assert fg.cuda.get_device_name() == "Stand-in"
    assert fg.cuda.get_device_capability() == (9, 0)
    assert fg.cuda.mem_get_info() == (1 << 30, 1 << 31)
    bindings.limit = 1000
    with pytest.raises(DeviceError, match="cuda:0 is out of memory: 4000000 bytes"):
        fg.asarray(np.ones(1_000_000, "float32")).cuda()


@pytest.mark.parametrize(
    ("bindings_", "reason"),
    [
        (Bindings(start=100), "there is no NVIDIA GPU"),
        (Bindings(start=999), "does not start: CUDA_ERROR_999"),
        (Bindings(gpus=0), "there is no NVIDIA GPU"),
        (Bindings(capability=(7, 5)), "compute capability 7.5, and 8.0 is needed"),
    ],
)
def test_why_not(bindings_: Bindings, reason: str) -> None:
    with substituted(CudaDriver(bindings_.packages())):
        assert not fg.cuda.is_available()
        assert reason in (fg.cuda.why_not() or "")
        assert fg.cuda.device_count() == 0
        with pytest.raises(DeviceError, match="there is no device 'cuda'"):
            fg.zeros(2, device="cuda")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert "pip install 'fusegrad[cuda]'" in (CudaDriver().why_not() or "")


def test_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(flags: int) -> Any:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    driver = CudaDriver(Packages(SimpleNamespace(cuInit=absent), None))
    assert "NVIDIA's driver is not installed" in (driver.why_not() or "")
