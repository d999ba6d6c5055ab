"""The machines that code is made for: widths, registers, cache sizes.

Knows LLVM's names of processors; knows no kernels.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import final

from ..dtypes import DType
from ..records import dataclass
from . import library

__all__ = ["Features", "described", "host", "named"]

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_L1, _L2, _L3 = 32 << 10, 512 << 10, 8 << 20


@final
@dataclass(frozen=True)
class Features:
    """What code generation needs to know of a processor.

    Attributes
    ----------
    triple, cpu, features : str
        LLVM's names; `features` is LLVM's flat list, ``"+avx2,-avx512f"``.
    vector_bytes : int
        The native vector width: 16, 32 or 64.
    masked_memory : bool
        Whether vector loads and stores can leave out lanes cheaply.
    registers : int
        How many vector registers there are.
    converts_half : bool
        Whether there are instructions between float16 and float32.
    multiplies_pairs : bool
        Whether one instruction adds two products of bfloat16 to a float32.
    l1_bytes, l2_bytes, l3_bytes : int
        Cache sizes, read by the schedule alone.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    masked_memory: bool
    registers: int
    converts_half: bool = True
    multiplies_pairs: bool = False
    l1_bytes: int = _L1
    l2_bytes: int = _L2
    l3_bytes: int = _L3

    @property
    def is_x86(self) -> bool:
        return self.triple.startswith(("x86_64", "i686"))

    def lanes(self, dtype: DType) -> int:
        """How many elements one vector holds.

        Examples
        --------
        >>> from fusegrad.codegen.dtypes import float32
        >>> named("avx2").lanes(float32), named("avx512").lanes(float32)
        (8, 16)
        """
        return self.vector_bytes // dtype.itemsize


def _cache_size(level: int) -> int | None:
    """The size of the data or unified cache of that level, as Linux tells it."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    for entry in sorted(_CACHES.glob("index*")):
        try:
            if int((entry / "level").read_text()) != level:
                continue
            if (entry / "type").read_text().strip() == "Instruction":
                continue
            text = (entry / "size").read_text().strip()
            return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)
        except (OSError, ValueError):
            continue
    return None


def described(triple: str, cpu: str, features: str) -> Features:
    """A processor as LLVM describes it.

    Parameters
    ----------
    triple, cpu, features : str
        LLVM's names; `features` is a flat list.

    Examples
    --------
    >>> described("x86_64-unknown-linux-gnu", "x86-64-v3", "+avx2,+fma,+f16c").vector_bytes
    32
    """
    on = {f[1:] for f in features.split(",") if f.startswith("+")}
    caches = {
        "l1_bytes": _cache_size(1) or _L1,
        "l2_bytes": _cache_size(2) or _L2,
        "l3_bytes": _cache_size(3) or _L3,
    }
    if triple.startswith(("aarch64", "arm64")):
        return Features(triple, cpu, features, 16, False, 32, True, False, **caches)
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= on:
        pairs = "avx512bf16" in on
        return Features(triple, cpu, features, 64, True, 32, True, pairs, **caches)
    half = "f16c" in on
    if {"avx2", "fma"} <= on:
        return Features(triple, cpu, features, 32, True, 16, half, False, **caches)
    return Features(triple, cpu, features, 16, False, 16, half, False, **caches)


_NAMED = {
    "avx512": ("x86-64-v4", "+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512cd,+avx2,+fma,+f16c"),
    "avx2": ("x86-64-v3", "+avx2,+fma,+avx,+f16c"),
    "sse4": ("x86-64-v2", "+sse4.2"),
}


@lru_cache(maxsize=8)
def named(name: str) -> Features:
    """A processor by name.

    Parameters
    ----------
    name : str
        ``"host"``, ``"avx512"``, ``"avx2"`` or ``"sse4"``. The narrower ones are cut out of the
        host's own architecture, so that their code runs here where the host has the instructions.

    Raises
    ------
    ValueError
        If there is no such name.

    Examples
    --------
    >>> named("avx2").vector_bytes, named("avx2").registers
    (32, 16)
    """
    if name == "host":
        return host()
    if name not in _NAMED:
        raise ValueError(f"no target {name!r}; the targets are host, {', '.join(_NAMED)}")
    cpu, features = _NAMED[name]
    return described("x86_64-unknown-linux-gnu", cpu, features)


@lru_cache(maxsize=1)
def host() -> Features:
    """The processor that this process runs on."""
    return described(*library.host())
