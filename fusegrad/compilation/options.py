"""How a function is compiled, as its user said."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import final

from ..codegen.records import dataclass
from ..errors import ConfigError
from ..runtime.step import Tuning
from ..runtime.threads import check_count

__all__ = ["PLAIN", "Options", "chosen"]


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
    tune_ms : float or None
    """

    static_argnames: frozenset[str] = frozenset()
    background: bool = False
    threads: int = 0
    memory_limit: int | None = None
    tune_ms: float | None = None

    @property
    def tuning(self) -> Tuning | None:
        """What a step is told of the search for the fastest products."""
        return None if self.tune_ms is None else Tuning(self.tune_ms, self.threads)


def chosen(
    static_argnames: Sequence[str] | str,
    background: bool,
    count: int | None,
    memory_limit: int | None,
    tune_ms: float | None,
) -> Options:
    """The arguments of `compile`, checked.

    Raises
    ------
    ConfigError
        If there cannot be so many threads, or the time is no time.

    Examples
    --------
    >>> chosen("training", False, None, None, 50).tuning
    Tuning(milliseconds=50.0, threads=0)
    """
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    if tune_ms is not None and not _is_time(tune_ms):
        raise ConfigError(
            f"tune_ms cannot be {tune_ms!r}",
            remedy="pass how many milliseconds the search may take, or None for no search",
        )
    return Options(
        frozenset(names),
        background,
        0 if count is None else check_count(count),
        memory_limit,
        None if tune_ms is None else float(tune_ms),
    )


def _is_time(milliseconds: object) -> bool:
    return isinstance(milliseconds, numbers.Real) and 0 <= float(milliseconds) < math.inf


PLAIN = Options()
"""Nothing said."""
