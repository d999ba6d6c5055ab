"""Modules that hold modules: a sequence that is called, a list, a dict.

User-level code: knows only `Module`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from .module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class _Indexed(Module):
    """Modules under the names 0, 1, 2, ...."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        # A copy: the loop may change the container.
        return iter(self._list())

    def __contains__(self, module: object) -> bool:
        return any(module is other for other in self._list())

    def _list(self) -> list[Module]:
        return [module for module in self._modules.values() if module is not None]

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Module | Self:
        if isinstance(index, slice):
            part = type(self).__new__(type(self))
            part._replace(list(self._modules.items())[index], rename=isinstance(self, ModuleList))
            return part
        return self._list()[self._position(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(list(self._modules)[self._position(index)], module)

    def __delitem__(self, index: int | slice) -> None:
        if isinstance(index, slice):
            doomed = set(list(self._modules)[index])
        else:
            doomed = {list(self._modules)[self._position(index)]}
        kept = [(name, module) for name, module in self._modules.items() if name not in doomed]
        self._replace(kept, rename=True)

    def _position(self, index: int) -> int:
        length = len(self._modules)
        if not -length <= index < length:
            raise IndexError(f"index {index} is out of range for {length} modules")
        return index % length

    def _replace(self, entries: Iterable[tuple[str, Module | None]], rename: bool) -> None:
        for name in list(self._modules):
            delattr(self, name)
        for position, (name, module) in enumerate(entries):
            self.add_module(str(position) if rename else name, module)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self._modules)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before a position."""
        modules = self._list()
        modules.insert(index, module)
        self._replace([("", each) for each in modules], rename=True)
        return self


class Sequential(_Indexed):
    """Modules called one after the other, each with what the one before returned.

    Parameters
    ----------
    *args : Module, or one dict of str to Module
        The modules, under the names 0, 1, 2, ... or those of the dict.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> model(fg.ones((5, 4))).shape
    (5, 2)
    >>> model[:2]
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *args: Module | Mapping[str, Module]) -> None:
        super().__init__()
        entries: Iterable[tuple[str, Any]] = ((str(i), module) for i, module in enumerate(args))
        if len(args) == 1 and isinstance(args[0], Mapping):
            entries = args[0].items()
        for name, module in entries:
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        """Call the modules in order."""
        for module in self._list():
            input = module(input)
        return input


class ModuleList(_Indexed):
    """A list of modules, whose parameters belong to the model.

    Parameters
    ----------
    modules : iterable of Module, optional

    Examples
    --------
    >>> from fusegrad import nn
    >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)


class ModuleDict(Module):
    """A dict of modules, whose parameters belong to the model.

    Parameters
    ----------
    modules : mapping of str to Module, optional

    Examples
    --------
    >>> from fusegrad import nn
    >>> heads = nn.ModuleDict({"class": nn.Linear(4, 10), "box": nn.Linear(4, 4)})
    >>> list(heads)
    ['class', 'box']
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __getitem__(self, name: str) -> Module:
        module = self._modules[name]
        assert module is not None
        return module

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        if name not in self._modules:
            raise KeyError(name)
        delattr(self, name)

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add modules, or replace those of the same names."""
        for name, module in modules.items():
            self[name] = module

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return [self[name] for name in self]

    def items(self) -> Iterable[tuple[str, Module]]:
        """Pairs of name and module."""
        return [(name, self[name]) for name in self]
