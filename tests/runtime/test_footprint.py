"""What LLVM's library holds in memory: the pages that are used, and none when nobody compiles."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fusegrad.codegen.targets import library
from fusegrad.codegen.targets.base import host
from fusegrad.codegen.targets.llvm import compile_module
from fusegrad.runtime import footprint

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="no /proc on this system"
)
MODULE = "define i64 @next(i64 %x) { %y = add i64 %x, 1  ret i64 %y }"


def of_library(field: str) -> int:
    """The kilobytes of LLVM's library, of some kind."""
    names = tuple(file.name for file in library.files())
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word = line.split()[0]
        if not word.endswith(":"):
            inside = line.endswith(names)
        elif inside and word == f"{field}:":
            total += int(line.split()[1])
    return total


def released() -> int:
    """What is left after it was given back, unless a thread that improves code has just begun."""
    footprint.release()
    left = of_library("Rss")
    time.sleep(0.1)
    return left


def test_code_is_the_same_whatever_was_given_back() -> None:
    expected = compile_module(MODULE, host())
    for start, nbytes in footprint._parts():
        # Whatever compiled before may have given it back already.
        ctypes.string_at(start, min(nbytes, 1 << 22))
    before = of_library("Rss")
    if sys.platform == "linux":
        # What was written when it was loaded has to stay.
        most = of_library("Private_Dirty") + 1024
        assert most < before
        assert any(released() <= most for _ in range(50))
    assert compile_module(MODULE, host()) == expected


def test_only_constant_parts_are_given_back() -> None:
    for start, nbytes in footprint._parts():
        ranges = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
        for limits, permissions, *_ in ranges:
            first, last = (int(limit, 16) for limit in limits.split("-"))
            if first < start + nbytes and start < last:
                assert "w" not in permissions


SINGLE = """
from fusegrad.runtime import footprint
from fusegrad.codegen.targets import library
from tests.runtime.test_footprint import MODULE, of_library
machine = library.target_machine(*library.host(), 0)
footprint.release()
code = library.compiled(MODULE, machine)
around = of_library("Rss") - of_library("Private_Dirty")
alone = footprint.take_single_pages()
footprint.release()
assert library.compiled(MODULE, machine) == code
print(int(alone), around, of_library("Rss") - of_library("Private_Dirty"))
"""


def test_single_pages_are_a_fraction() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SINGLE],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        text=True,
    )
    alone, around, single = map(int, done.stdout.split())
    if not alone:
        pytest.skip("this system gives pages around the one that is touched")
    assert single < 0.6 * around, (single, around)


def test_a_system_that_forbids_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "_CALLS", {})
    assert not footprint.take_single_pages()
    # No such call.
    monkeypatch.setattr(footprint, "_CALLS", dict.fromkeys(("x86_64", "aarch64"), 100_000))
    assert not footprint.take_single_pages()
