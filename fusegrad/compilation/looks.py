"""What a compiled function tells of itself, loaded when somebody asks, as the compiler is.

Knows names of modules, and when the environment asks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import config
from ..codegen.deferred import deferred
from .effects import StoredOutside

if TYPE_CHECKING:
    from ..runtime import build
    from . import explain as explaining
    from . import memory as planning
    from . import profile as profiling
else:
    explaining = deferred("fusegrad.compilation.explain")
    planning = deferred("fusegrad.compilation.memory")
    profiling = deferred("fusegrad.compilation.profile")

__all__ = ["at_what_runs", "explaining", "observer", "planning", "profiling"]


def observer(name: str) -> Callable[[build.Artifacts], None] | None:
    """What prints and writes the stages of a compilation, where the environment asks for it."""
    asked = config.current()
    if asked.dump is None and not asked.explain:
        return None
    return explaining.observer(name)


def at_what_runs(look: Callable[..., Any]) -> Any:
    """A method that looks at what stands for its function, if that stores tensors outside."""

    @functools.wraps(look)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        while True:
            try:
                if self._storing is None:
                    return look(self, *args, **kwargs)
                storing, compiled = self._storing
                return look(compiled, storing.held(), *args, **kwargs)
            except StoredOutside as found:
                self._begin_storing(found)

    return method
