"""How a function is compiled, as its user said."""

from __future__ import annotations

from typing import final

from ..codegen.records import dataclass

__all__ = ["PLAIN", "Options"]


@final
@dataclass(frozen=True)
class Options:
    """The arguments of `compile` beside the function.

    Attributes
    ----------
    static_argnames : frozenset of str
    background : bool
    threads : int
        0: as many as there are.
    memory_limit : int or None
    """

    static_argnames: frozenset[str] = frozenset()
    background: bool = False
    threads: int = 0
    memory_limit: int | None = None


PLAIN = Options()
"""Nothing said."""
