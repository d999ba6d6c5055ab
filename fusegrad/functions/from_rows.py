"""Functions of users made of the rows of the elementwise table, with their docstrings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..ops.elementwise import Function
from ..tensors.tensor_class import ArrayLike, Tensor, elementwise

__all__ = ["functions_of"]


def functions_of(rows: Iterable[Function], namespace: str) -> dict[str, Callable[..., Tensor]]:
    """The functions that rows are in a namespace, by all of their names.

    Parameters
    ----------
    rows : iterable of Function
    namespace : str
        What users write before the name.

    Returns
    -------
    dict
    """
    found: dict[str, Callable[..., Tensor]] = {}
    for row in rows:
        function = _unary(row) if len(row.ranges) == 1 else _binary(row)
        function.__name__ = function.__qualname__ = row.name
        function.__doc__ = _docstring(row, namespace)
        found |= dict.fromkeys(row.names, function)
    return found


def _unary(row: Function) -> Callable[..., Tensor]:
    def function(x: ArrayLike) -> Tensor:
        return elementwise(row, x)

    return function


def _binary(row: Function) -> Callable[..., Tensor]:
    def function(x1: ArrayLike, x2: ArrayLike) -> Tensor:
        return elementwise(row, x1, x2)

    return function


def _docstring(row: Function, namespace: str) -> str:
    call, _, result = row.public.example.partition(" -> ")
    return f"""{row.public.summary}

    Parameters
    ----------
    {"x" if len(row.ranges) == 1 else "x1, x2"} : array_like
        {"Integers and bools are computed as float32." if row.to_float else "Numbers."}

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> {namespace}.{row.name}({call})
    Tensor({result})
    """
