"""LLVM is opened by a thread: forks and ends of processes in the middle, and who needs none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusegrad.runtime import linker, preparation

FIRST = """
import os, sys, threading
import numpy as np, fusegrad as fg
def opened():
    with open("/proc/self/maps") as maps:
        return "libllvmlite" in maps.read()
f = fg.compile(lambda x: fg.exp(x) + 1.0)
"""


def run(body: str, cache: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", FIRST + body],
        check=False,
        capture_output=True,
        env=os.environ | {"FUSEGRAD_CACHE_DIR": str(cache)},
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split()


def test_a_process_may_end_at_once(tmp_path: Path) -> None:
    assert run("print('end')", tmp_path) == ["end"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_is_forked_in_the_middle(tmp_path: Path) -> None:
    body = """
child = os.fork()
if not child:
    print(float(f(np.zeros(3, "float32"))[0]), flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(status, float(f(np.zeros(3, "float32"))[0]))
"""
    assert run(body, tmp_path) == ["2.0", "0", "2.0"]


@pytest.mark.skipif(not linker.is_possible(), reason="LLVM loads the code on this machine")
def test_who_finds_a_step_opens_nothing(tmp_path: Path) -> None:
    body = "print(float(f(np.zeros(3, 'float32'))[0]), opened(), *f.stats().origins)"
    assert run(body, tmp_path) == ["2.0", "True", "compiled"]
    assert run(body, tmp_path) == ["2.0", "False", "disk"]
    assert run("print(opened())", tmp_path) == ["False"]


def test_several_threads_may_wait() -> None:
    preparation.begin()
    preparation.wait()
    preparation.wait()
    assert preparation._thread is not None
    assert not preparation._thread.is_alive()
