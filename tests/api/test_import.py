"""What `import fusegrad` loads and costs; what only a compilation needs comes with the first."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

from fusegrad.runtime import linker

LOADED = """
import json, sys, numpy
before = set(sys.modules)
import fusegrad
print(json.dumps(sorted(set(sys.modules) - before)))
"""

TIMED = """
import json, time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import fusegrad
print(json.dumps([middle - start, time.perf_counter() - middle]))
"""

COMPILED = """
import json, sys
import numpy as np, fusegrad as fg
f = fg.compile(lambda x: fg.exp(x) + 1.0)
f(np.ones(3, "float32"))
print(json.dumps([list(f.stats().origins), sorted(sys.modules)]))
"""

COMPILER = ("passes", "lower", "codegen.schedule", "codegen.targets.llvm", "runtime.build")
"""What a process needs that compiles, and no other one."""


def run(script: str, **environment: str) -> object:
    # Without bytecode, every process would compile all of it.
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        env=variables | environment,
        text=True,
    )
    return json.loads(process.stdout)


def of_compiler(modules: object) -> list[str]:
    assert isinstance(modules, list)
    parts = tuple(f"fusegrad.{name}" for name in COMPILER)
    return [m for m in modules if m.startswith(parts)]


def test_what_an_import_loads() -> None:
    loaded = run(LOADED)
    assert isinstance(loaded, list)
    assert not of_compiler(loaded)
    assert not [m for m in loaded if m.startswith(("llvmlite", "numba", "scipy", "torch", "jax"))]
    # What these load takes as long as much of fusegrad: archives, sockets, processes.
    assert not {"zipfile", "tempfile", "subprocess", "socket", "asyncio", "email"} & set(loaded)


def test_a_step_from_the_disk_needs_no_compiler(tmp_path: object) -> None:
    first, second = (run(COMPILED, FUSEGRAD_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert first[0] == ["compiled"]
    assert of_compiler(first[1])
    assert second[0] == ["disk"]
    assert not of_compiler(second[1])
    if linker.is_possible():
        assert not [m for m in second[1] if m.startswith("llvmlite.binding")]


def test_an_import_takes_a_few_times_what_numpy_takes(tmp_path: object) -> None:
    """A ratio, the best of several: 150 ms where NumPy takes 60."""
    pairs = [run(TIMED, PYTHONPYCACHEPREFIX=str(tmp_path)) for _ in range(5)][1:]
    ratios = [own / numpy for numpy, own in pairs]  # type: ignore[attr-defined, union-attr]
    assert min(ratios) < 4, f"{min(ratios):.1f}, median {statistics.median(ratios):.1f}"
