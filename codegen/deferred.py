"""Modules that are loaded when something in them is first needed, and not before.

Knows names of modules. Most processes import more than they use: a compiler is not needed where a
disk has the code, and nothing of it where nothing is compiled.
"""

from __future__ import annotations

import importlib
from typing import Any, final

__all__ = ["deferred"]


@final
class _Deferred:
    """Stands for a module: what is asked of it is asked of the module, which is loaded then."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)

    def __repr__(self) -> str:
        return f"<deferred module {self._name}>"


def deferred(name: str) -> Any:
    """What stands for a module until it is needed; import it under TYPE_CHECKING as well.

    Parameters
    ----------
    name : str
        Its full name.

    Examples
    --------
    >>> json = deferred("json")
    >>> json, json.dumps([1])
    (<deferred module json>, '[1]')
    """
    return _Deferred(name)
