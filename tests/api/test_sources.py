"""What explain shows of a GPU, on machines without one: FUSEGRAD_TARGET and the sources."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import OptionError
from fusegrad.testing import simulated_gpus


def step_and_batch() -> tuple[Any, Any, Any]:
    net = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 4))
    opt = optim.Adam(net.parameters(), lr=0.01)

    @fg.compile
    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    x = np.random.default_rng(0).standard_normal((64, 16)).astype("float32")
    return step, x, np.arange(64) % 4


def test_every_kernel_has_a_text() -> None:
    step, x, y = step_and_batch()
    told = step.explain(x, y)
    ptx = told.source("ptx")
    assert ".target sm_90" in ptx
    assert ptx.count(".entry") == told.source("numba.cuda").count("@cuda.jit\n")
    assert "grid" in told.source("gpu")
    assert "def " in told.source("python")
    assert "define " in told.source("llvm") == told.source()
    compile(told.source("numba.cuda"), "kernels", "exec")
    with pytest.raises(OptionError, match="no source in 'cobol'"):
        told.source("cobol")


def test_a_kernel_without_a_text_hides_no_others() -> None:
    f = fg.compile(lambda x: (x.astype("bfloat16") * 2, fg.cumsum(fg.exp(x))))
    text = f.explain(np.ones(40, "float32")).source("numba.cuda")
    assert "bfloat16" in text
    assert "@cuda.jit" in text


def test_tensors_on_a_gpu_explain_their_program() -> None:
    with simulated_gpus():
        step = fg.compile(lambda a: fg.linalg.inv(a) + fg.exp(a).sum())
        told = step.explain(fg.eye(60, device="cuda"))
        assert told["summary"].startswith("for cuda:0\n")
        assert "calls of the host" in told["summary"]
        assert "call inv" in told["program"]


PROGRAM = """
import numpy as np
import fusegrad as fg
f = fg.compile(lambda x: fg.exp(x).sum(1))
x = np.ones((8, 100), "float32")
told = f.explain(x)
print(told["summary"].splitlines()[0])
print([l for l in told.source("ptx").splitlines() if l.startswith(".target")][0])
print(float(f(x).sum()) > 0, fg.cuda.is_available())
"""


@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_for_a_gpu_that_is_not_here(target: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "FUSEGRAD_TARGET": target},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"for {target}", f".target {target}"]
    assert lines[2].startswith("True")


def test_no_such_gpu() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "FUSEGRAD_TARGET": "sm_1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "no GPU 'sm_1'" in done.stderr
