"""Targets by name, and steps that come from the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import float32
from fusegrad.codegen.kernel import Store, nested
from fusegrad.codegen.targets import base
from fusegrad.ir.types import TensorType
from fusegrad.ops import build
from fusegrad.runtime.build import Artifacts, build_record

SCRIPT = """
import numpy as np, fusegrad as fg
f = fg.compile(lambda x: fg.exp(x).sum(axis=1))
print(f(np.ones((3, 40), "float32")).numpy()[0])
"""


def run(target: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FUSEGRAD_TARGET": target}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("target", ["host", "avx512", "avx2", "sse4"])
def test_a_target_by_name_runs_or_says_why_not(target: str) -> None:
    done = run(target)
    if base.named(target).vector_bytes <= base.host().vector_bytes:
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) == pytest.approx(40 * np.e, rel=1e-5)
    else:
        assert "ConfigError" in done.stderr
        assert "does not have" in done.stderr


def test_an_unknown_target_is_refused() -> None:
    done = run("z80")
    assert "ConfigError" in done.stderr
    assert "the targets are host, avx512, avx2, sse4" in done.stderr


def test_a_broken_entry_on_disk_is_compiled_again(tmp_path: object) -> None:
    script = SCRIPT + "print(next(iter(f.stats().origins)))\n"
    environment = {**os.environ, "FUSEGRAD_CACHE_DIR": str(tmp_path)}
    origins = []
    for attempt in range(3):
        if attempt == 2:
            for entry in list(os.scandir(str(tmp_path))):
                if entry.is_file() and entry.stat().st_size > 200:
                    with open(entry.path, "r+b") as file:
                        file.seek(150)
                        file.write(b"broken")
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", script],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        origins.append(done.stdout.split()[-1])
    assert origins == ["compiled", "disk", "compiled"]
    assert done.stderr.count("FusegradWarning") == 1


def test_constants_of_a_step_are_read_where_they_are() -> None:
    table = np.arange(12, dtype="float32").reshape(3, 4)

    @fg.compile
    def f(x: fg.Tensor) -> fg.Tensor:
        return x + fg.asarray(table)

    np.testing.assert_array_equal(f(table).numpy(), table * 2)


@pytest.mark.parametrize(("rows", "streams"), [(64, False), (256, True)])
def test_outputs_go_around_a_cache_that_is_too_small(
    monkeypatch: pytest.MonkeyPatch, rows: int, streams: bool
) -> None:
    """What counts is everything the kernel moves, not the output alone."""
    small = replace(base.named("sse4"), l2_bytes=16 << 10, l3_bytes=256 << 10)
    monkeypatch.setattr("fusegrad.runtime.build.target", lambda: small)
    x, y = (build.input_(TensorType((rows, 256), float32)) for _ in range(2))
    made = Artifacts()
    build_record([build.add(x, y)], [x, y], [], made)
    (mapped,) = made.mapped
    stores = [s for s in nested(mapped.kernel.body) if isinstance(s, Store)]
    assert [s.nontemporal for s in stores] == [streams]


def test_what_the_next_kernel_reads_stays_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(base.named("sse4"), l2_bytes=16 << 10, l3_bytes=256 << 10)
    monkeypatch.setattr("fusegrad.runtime.build.target", lambda: small)
    x, w = (build.input_(TensorType((256, 256), float32)) for _ in range(2))
    made = Artifacts()
    hidden = build.exp(x)
    build_record([hidden, build.dot(hidden, w)], [x, w], [], made)
    stores = [s for m in made.mapped for s in nested(m.kernel.body) if isinstance(s, Store)]
    assert stores
    assert not any(s.nontemporal for s in stores)
