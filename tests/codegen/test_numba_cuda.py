"""The source for numba.cuda: in Python with a stand-in for `cuda`, and in numba's own simulator."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.targets.numba_cuda import numba_cuda_source
from tests.codegen.examples import EXAMPLES

SIMULATED = ("softmax", "elementwise", "column_sum", "scatter_add")


def run_as_threads(source: str, name: str, arrays: list[Any], threads: int) -> None:
    """The kernel as so many threads, one after the other."""
    thread = SimpleNamespace(number=0)
    cuda = SimpleNamespace(
        jit=lambda f: f,
        grid=lambda _: thread.number,
        gridsize=lambda _: threads,
        local=SimpleNamespace(array=lambda size, dtype: np.empty(size, dtype)),
    )
    names: dict[str, Any] = {"cuda": cuda}
    exec(source.replace("from numba import cuda\n", ""), names)
    with np.errstate(all="ignore"):
        for thread.number in range(threads):
            names[name](*arrays)


@pytest.mark.parametrize("threads", [1, 7])
@pytest.mark.parametrize("name", list(EXAMPLES))
def test_threads_share_the_work(name: str, threads: int) -> None:
    example = EXAMPLES[name]()
    arrays = example.arrays()
    flat = [array.reshape(-1) for array in arrays]
    source = numba_cuda_source(example.kernel)
    run_as_threads(source, example.kernel.name, [*flat, *example.sizes], threads)
    example.check(arrays)


PROGRAM = """
import numpy as np
from numba import cuda
from fusegrad.codegen.targets.numba_cuda import numba_cuda_source
from tests.codegen.examples import EXAMPLES

assert cuda.is_available()
for name in {names!r}:
    example = EXAMPLES[name]()
    arrays = example.arrays()
    scope = {{}}
    exec(numba_cuda_source(example.kernel), scope)
    with np.errstate(all="ignore"):
        scope[example.kernel.name][2, 4](*(a.reshape(-1) for a in arrays), *example.sizes)
    example.check(arrays)
    print(name)
"""


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
def test_in_the_official_simulator() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM.format(names=SIMULATED)],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == list(SIMULATED)
