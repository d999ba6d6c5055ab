"""Messages of functions that are made of others: they name the one that was called.

Knows errors only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ..errors import FusegradError

__all__ = ["named"]

P = ParamSpec("P")
R = TypeVar("R")


def named(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, whose errors begin with its own name where they begin with that of another.

    Examples
    --------
    >>> import fusegrad as fg
    >>> @named
    ... def total(x):
    ...     return fg.sum(x, axis=1)
    >>> try:
    ...     total([1.0])
    ... except fg.FusegradError as error:
    ...     print(error.message)
    total: there is no axis 1 in an array of 1 dimensions
    """
    own = function.__name__

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except FusegradError as error:
            first, colon, rest = error.message.partition(":")
            if colon and first.isidentifier() and first != own:
                error.message = f"{own}:{rest}"
                error.args = (error.message,)
            raise

    return call
