"""A machine with a GPU of NVIDIA, of stand-ins for the driver and for its libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.runtime import cache, cuda_driver
from fusegrad.runtime.cuda_driver import CudaDriver
from fusegrad.runtime.devices import substituted
from fusegrad.tensors.placement import bring_home
from tests.runtime.cuda_stand_in import Bindings


class Machine:
    """The stand-ins, and the driver that speaks to them."""

    def __init__(self, name: str, library: Callable[..., Any]) -> None:
        self.cuda = Bindings()
        self.name = name
        self.library = library(ask=lambda work: self.cuda._work(work))
        self.driver = CudaDriver(self.cuda.packages(), self.open)

    def open(self, name: str) -> Any:
        if name != self.name:
            raise OSError(f"lib{name}.so: cannot open shared object file")
        return self.library


@contextmanager
def running(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """The GPUs are those of a machine, and nothing comes from the disk."""
    monkeypatch.setattr(cache, "default", lambda: None)
    code_of = cuda_driver.code_of

    def noted(kernels: Any) -> Any:
        codes = code_of(kernels)
        for code, kernel in zip(codes, kernels, strict=True):
            for number, entry in enumerate(code.entries):
                machine.cuda.kernels[entry.name] = kernel.kernel, number == 0
        return codes

    monkeypatch.setattr(cuda_driver, "code_of", noted)
    with substituted(machine.driver):
        yield machine
        bring_home()


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("float32")


def same(
    function: Callable[..., Any], *arrays: Any, dtype: str = "float32", tol: float = 1e-5
) -> None:
    """A compiled function gives the same on the GPU, three times (captured from the second on)."""
    given = [fg.asarray(a).astype(dtype) for a in arrays]
    expected = fg.pytree.flatten(function(*given))[0]
    compiled = fg.compile(function)
    there = [g.cuda() for g in given]
    for _ in range(3):
        found = fg.pytree.flatten(compiled(*there))[0]
        for a, b in zip(found, expected, strict=True):
            x, y = (np.asarray(t.cpu().astype("float32").numpy()) for t in (a, b))
            np.testing.assert_allclose(x, y, rtol=tol, atol=tol * max(1.0, float(np.abs(y).max())))
