"""What a compiled function counts.

Knows no functions and no steps.
"""

from __future__ import annotations

from dataclasses import field
from typing import final

from ..codegen.records import dataclass

__all__ = ["Statistics"]


@final
@dataclass
class Statistics:
    """What a compiled function did.

    Attributes
    ----------
    compiles : int
        Traces whose graph was new to this function.
    hits : int
        Calls that ran native code only.
    kernels : int
        Kernels of the step that was compiled last, as they are launched: independent ones that
        share a launch count once.
    arena_bytes : int
        Planned memory of the step that was compiled last.
    compile_ms : dict
        Milliseconds by stage, over all traces.
    origins : dict
        How many steps were compiled, or found in the process or on disk.
    reasons : list of str
        Why each trace after the first happened.
    drafts : int
        Pieces of code that were compiled fast, not well. From the second call on a thread compiles
        them again, and the number falls to 0.
    compiled_kernels : int
        Kernels whose code was made for the step that was compiled last. Equal ones count once, and
        those do not count that the disk has, or a living step of this process: as that for another
        size of the batch.
    """

    compiles: int = 0
    hits: int = 0
    kernels: int = 0
    arena_bytes: int = 0
    compile_ms: dict[str, float] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    drafts: int = 0
    compiled_kernels: int = 0
