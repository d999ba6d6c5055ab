"""Callables whose calls native code answers, with no Python code in between.

Knows nothing of compiled functions but that calls of one may be answered by another function.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

__all__ = ["Answered"]


class Answered(functools.partial):  # type: ignore[type-arg]
    """An object that is called as another function is, which may be replaced.

    The interpreter calls `functools.partial` from C, and what it is partial of from there: a
    method ``__call__`` would cost more than a small compiled function takes.

    Attributes
    ----------
    function : callable
        What the object is of, for everybody who looks.
    options : object
        With what else it was made.

    Examples
    --------
    >>> class Doubled(Answered):
    ...     def __init__(self, function, options=None):
    ...         self.function, self.options = function, options
    ...     def general(self, x):
    ...         return 2 * self.function(x)
    >>> Doubled(abs)(-3)
    6
    """

    __name__: str
    function: Callable[..., Any]
    options: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Not of what it is given: of a partial function, its arguments would be taken over.
        made = super().__new__(cls, _nothing)
        made.answered_by(made.weak_general())
        return made

    def weak_general(self) -> Callable[..., Any]:
        """The method `general`, which does not keep the object alive."""
        own = weakref.ref(self)

        def general(*args: Any, **kwargs: Any) -> Any:
            made = own()
            # Whoever calls the object has it.
            assert made is not None
            return made.general(*args, **kwargs)

        return general

    def general(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a call that nothing else does."""
        raise NotImplementedError

    def answered_by(self, function: Callable[..., Any]) -> None:
        """Have calls from now on answered by `function`.

        Calls that are under way go on in the function before, which must not end before them.
        """
        self.__setstate__((function, (), {}, vars(self)))  # type: ignore[attr-defined]

    @property
    def func(self) -> Callable[..., Any]:
        """The function itself, where `inspect` and others look for it."""
        return self.function

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """A method: one object for each instance."""
        try:
            bound = instance.__dict__[self._slot]
            # A copy of an instance has what belongs to the other one.
            if bound.function.__self__ is instance:
                return bound
        except (AttributeError, KeyError):
            if instance is None:
                return self
        bound = type(self)(self.function.__get__(instance, owner), self.options)
        with suppress(AttributeError):
            instance.__dict__[self._slot] = bound
        return bound

    @functools.cached_property
    def _slot(self) -> str:
        """Under which name an instance has its own."""
        return f"_compiled_{self.__name__}_{id(self):x}"

    def __reduce__(self) -> Any:
        """By name if it has one, as functions; else anew, of the function or of a copy of it."""
        name = getattr(self, "__qualname__", "")
        module = sys.modules.get(getattr(self, "__module__", ""))
        if getattr(module, name, None) is self:
            return name
        return type(self), (self.function, self.options)


def _nothing() -> None:
    """What is replaced before anybody can call it."""
