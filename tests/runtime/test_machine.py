"""What LLVM says of the machine is asked once, kept on the disk, and asked again elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusegrad.codegen.targets import base
from fusegrad.runtime import cache, machine

FUNCTIONS = (machine.machine, machine.features, machine._remembered)


@pytest.fixture(autouse=True)
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    disk = cache.DiskCache(tmp_path / "cache")
    monkeypatch.setattr(cache, "default", lambda: disk)

    def clear() -> None:
        for function in FUNCTIONS:
            function.cache_clear()

    clear()
    yield
    clear()


def test_is_what_llvm_says() -> None:
    asked = machine._ask()
    assert machine.machine() == asked
    assert machine.features() == base.host()
    assert dict(machine.parts())["cpu"] == asked.cpu.encode()


@pytest.mark.skipif(not machine._PROCESSORS.exists(), reason="the system tells nothing")
def test_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not machine.is_known()
    first = machine.machine()
    for function in FUNCTIONS:
        function.cache_clear()
    monkeypatch.setattr(machine, "_ask", lambda: pytest.fail("asked again"))
    assert machine.is_known()
    assert machine.machine() == first


@pytest.mark.parametrize("processor", ["model: another\nflags: sse4\n\nmodel: third", "", None])
def test_another_processor_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: str | None
) -> None:
    machine.machine()
    for function in FUNCTIONS:
        function.cache_clear()
    other = tmp_path / "cpuinfo"
    if processor is not None:
        other.write_text(processor)
    monkeypatch.setattr(machine, "_PROCESSORS", other)
    assert not machine.is_known()
    assert machine.machine() == machine._ask()
