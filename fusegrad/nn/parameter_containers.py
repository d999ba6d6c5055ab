"""Modules that hold parameters: a list and a dict, under torch's names.

User-level code: knows only `Module` and `Parameter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from ..tensors.tensor_class import Tensor
from .module import Module
from .parameter import Parameter

__all__ = ["ParameterDict", "ParameterList"]


def _parameter(value: Any) -> Any:
    is_plain = isinstance(value, Tensor) and not isinstance(value, Parameter)
    return Parameter(value) if is_plain else value


class ParameterList(Module):
    """A list of parameters that belong to the model.

    Parameters
    ----------
    values : iterable of Parameter or Tensor, optional
        Tensors become parameters.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> weights = nn.ParameterList([fg.ones(2), fg.zeros(3)])
    >>> len(weights), [name for name, _ in weights.named_parameters()]
    (2, ['0', '1'])
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self._size = 0
        self.extend(values)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, str(position)) for position in range(self._size)])

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return getattr(self, str(self._position(index)))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(self._position(index)), _parameter(value))

    def _position(self, index: int) -> int:
        if not -self._size <= index < self._size:
            raise IndexError(f"index {index} is out of range for {self._size} parameters")
        return index % self._size

    def append(self, value: Any) -> Self:
        """Add a parameter at the end."""
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add parameters at the end."""
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n".join(f"({i}): {tuple(p.shape)} {p.dtype}" for i, p in enumerate(self))


class ParameterDict(Module):
    """A dict of parameters that belong to the model.

    Parameters
    ----------
    parameters : mapping of str to Parameter or Tensor, optional
        Tensors become parameters.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> weights = nn.ParameterDict({"scale": fg.ones(2)})
    >>> weights["shift"] = fg.zeros(2)
    >>> sorted(weights.state_dict())
    ['scale', 'shift']
    """

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._keys: tuple[str, ...] = ()
        self.update(parameters or {})

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def __getitem__(self, name: str) -> Any:
        if name not in self._keys:
            raise KeyError(name)
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._keys:
            self._check_name(name, self._parameters)
            self._keys = (*self._keys, name)
        setattr(self, name, _parameter(value))

    def __delitem__(self, name: str) -> None:
        if name not in self._keys:
            raise KeyError(name)
        self._keys = tuple(key for key in self._keys if key != name)
        delattr(self, name)

    def pop(self, name: str) -> Any:
        """Remove a parameter, and return it."""
        value = self[name]
        del self[name]
        return value

    def update(self, parameters: Mapping[str, Any]) -> None:
        """Add parameters, or replace those of the same names."""
        for name, value in parameters.items():
            self[name] = value

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._keys

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return [self[name] for name in self._keys]

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and parameter."""
        return [(name, self[name]) for name in self._keys]

    def extra_repr(self) -> str:
        return "\n".join(f"({n}): {tuple(p.shape)} {p.dtype}" for n, p in self.items())
