"""What the machine is, for the record.

Knows no measurement.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

FEATURES = ("avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "asimd", "sve")


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def cpu_flags() -> list[str]:
    """Return the vector features of the processor."""
    info = _cpuinfo()
    present = (info.get("flags") or info.get("Features") or "").split()
    return [name for name in FEATURES if name in present]


def _caches() -> dict[str, str]:
    sizes: dict[str, str] = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (
            (index / name).read_text().strip() for name in ("type", "level", "size")
        )
        if kind != "Instruction":
            sizes[f"L{level}"] = size
    return sizes


def _huge_pages() -> str:
    try:
        text = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return "unknown"
    return text.partition("[")[2].partition("]")[0]


def describe() -> dict[str, Any]:
    """Return processor, caches, memory and system, without naming the machine."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpuinfo().get("model name", platform.machine()),
        "flags": cpu_flags(),
        "processors": len(os.sched_getaffinity(0)),
        "caches": _caches(),
        "memory_gb": round(pages / 1e9, 1),
        "huge_pages": _huge_pages(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
