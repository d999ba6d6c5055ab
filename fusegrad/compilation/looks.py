"""What a compiled function tells of itself, loaded when somebody asks, as the compiler is.

Knows names of modules, and when the environment asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import config
from ..codegen.deferred import deferred

if TYPE_CHECKING:
    from ..runtime import build
    from . import explain as explaining
    from . import memory as planning
    from . import profile as profiling
else:
    explaining = deferred("fusegrad.compilation.explain")
    planning = deferred("fusegrad.compilation.memory")
    profiling = deferred("fusegrad.compilation.profile")

__all__ = ["explaining", "observer", "planning", "profiling"]


def observer(name: str) -> Callable[[build.Artifacts], None] | None:
    """What prints and writes the stages of a compilation, where the environment asks for it."""
    asked = config.current()
    if asked.dump is None and not asked.explain:
        return None
    return explaining.observer(name)
