"""Modules: objects that hold parameters, buffers and other modules, and call `forward`.

User-level code: knows no graphs; all it does with tensors is to name, copy and replace them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Self, final

from .. import state
from ..errors import (
    ArgumentTypeError,
    CaptureError,
    StateError,
)
from ..functions.creation import asarray
from ..tensors.context import active, no_grad
from ..tensors.tensor_class import Tensor
from .module_conversions import ModuleConversions
from .module_hooks import ModuleHooks
from .parameter import Parameter

__all__ = ["Module", "StateDict", "module_fingerprint", "structure_version"]

StateDict = dict[str, Tensor]
# The attributes that hold the others.
_TABLES = frozenset({"_parameters", "_buffers", "_modules", "_transient"})


def structure_version() -> int:
    """A number that changes with every change of any module that is not a tensor's value.

    It counts changes of training flags and of plain attributes, and parameters, buffers and
    modules that are added, replaced or removed.

    Examples
    --------
    >>> from fusegrad import nn
    >>> layer = nn.Dropout(0.5)
    >>> before = structure_version()
    >>> _ = layer.eval()
    >>> structure_version() == before
    False
    """
    return state.version()


def module_fingerprint(module: Module) -> tuple[Hashable, ...]:
    """All that a recorded call of the module depends on except the values of tensors.

    Two fingerprints of a module are equal if classes, training flags, plain attributes, and the
    identities of parameters, buffers and modules are the same.

    Examples
    --------
    >>> from fusegrad import nn
    >>> layer = nn.Sequential(nn.Dropout(0.5))
    >>> before = module_fingerprint(layer)
    >>> module_fingerprint(layer.eval()) == before
    False
    """
    return module.__fusegrad_fingerprint__()


class Module(ModuleConversions, ModuleHooks):
    """The base of all layers and models.

    A subclass assigns parameters, buffers and other modules to attributes, in ``__init__``, and
    defines `forward`; calling the module calls it. Names and behaviour are torch's.

    Attributes
    ----------
    training : bool
        Whether layers such as `Dropout` behave as in training; see `train` and `eval`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> class Affine(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = nn.Parameter(fg.ones(3))
    ...         self.register_buffer("shift", fg.zeros(3))
    ...     def forward(self, x):
    ...         return x * self.scale + self.shift
    >>> model = Affine()
    >>> sorted(model.state_dict())
    ['scale', 'shift']
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Here and not in __init__, so that a subclass may set attributes before it calls that.
        self = super().__new__(cls)
        fields = self.__dict__
        fields["training"] = True
        fields["_parameters"] = {}
        fields["_buffers"] = {}
        fields["_modules"] = {}
        fields["_transient"] = set()
        if active.trace is not None:
            active.trace.note_made(self)
        return self

    def __init__(self) -> None:
        super().__init__()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "_call_hooks" in self.__dict__:
            return self._called_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    # --- attributes ---------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        table = self._table_for(name, value)
        if table is None:
            self._set_plain(name, value)
        elif table.get(name) is not value or name not in table:
            self._register(table, name, value)

    def _table_for(self, name: str, value: Any) -> dict[str, Any] | None:
        """Where an attribute of this name and value belongs; None for plain attributes."""
        if isinstance(value, Parameter):
            return self._parameters
        if isinstance(value, Module):
            return self._modules
        if name in self._parameters:
            if value is not None:
                raise ArgumentTypeError(
                    f"{name} of {type(self).__name__} is a parameter and cannot become a "
                    f"{type(value).__name__}; assign an nn.Parameter, or write its values with "
                    f"module.{name}[...] = value"
                )
            return self._parameters
        if name in self._modules:
            if value is not None:
                raise ArgumentTypeError(
                    f"{name} of {type(self).__name__} is a module and cannot become a "
                    f"{type(value).__name__}"
                )
            return self._modules
        if name in self._buffers and (value is None or isinstance(value, Tensor)):
            return self._buffers
        return None

    def _register(self, table: dict[str, Any], name: str, value: Any) -> None:
        rebound = table is self._buffers and name in table
        if active.trace is not None and not rebound and not active.trace.has_made(self):
            raise CaptureError(
                f"{name} of {type(self).__name__} is set while a compiled function is traced",
                remedy=f"make the change outside the compiled function; to change values only, "
                f"write into the tensor: module.{name}[...] = value",
            )
        for other in (self._parameters, self._buffers, self._modules):
            if other is not table:
                other.pop(name, None)
        self.__dict__.pop(name, None)
        table[name] = value
        state.bump()

    def _set_plain(self, name: str, value: Any) -> None:
        fields = self.__dict__
        same = name in fields and fields[name] is value
        self._buffers.pop(name, None)
        # By the class, so that properties with a setter work.
        object.__setattr__(self, name, value)
        if not same:
            state.bump()

    def __getattr__(self, name: str) -> Any:
        # Called only if there is no plain attribute of that name.
        fields = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            found = fields.get(table)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                break
        else:
            object.__delattr__(self, name)
        self._transient.discard(name)
        state.bump()

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None keeps the name for one that there is not."""
        if param is not None and not isinstance(param, Parameter):
            raise ArgumentTypeError(
                f"parameter {name} is a {type(param).__name__}, not an nn.Parameter"
            )
        self._check_name(name, self._parameters)
        self._register(self._parameters, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but no parameter, such as a running mean.

        Parameters
        ----------
        name : str
        tensor : Tensor or None
        persistent : bool, optional
            Whether it belongs to the `state_dict`.
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"buffer {name} is a {type(tensor).__name__}, not a Tensor")
        self._check_name(name, self._buffers)
        self._register(self._buffers, name, tensor)
        if persistent:
            self._transient.discard(name)
        else:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module under a name."""
        if module is not None and not isinstance(module, Module):
            raise ArgumentTypeError(f"module {name} is a {type(module).__name__}, not an nn.Module")
        self._check_name(name, self._modules)
        self._register(self._modules, name, module)

    register_module = add_module

    def _check_name(self, name: str, table: Mapping[str, Any]) -> None:
        if not name or "." in name:
            raise KeyError(f"{name!r} cannot be a name: it is empty or has a dot in it")
        if name not in table and hasattr(self, name):
            raise KeyError(f"{type(self).__name__} already has an attribute {name!r}")

    # --- iteration ----------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Pairs of name and module right under this one, each module once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules right under this one."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Pairs of name and module: this one, and all below it, each once."""
        memo = set() if memo is None else memo
        if remove_duplicate and id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                below = _join(prefix, name)
                yield from module.named_modules(memo, below, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Pairs of name and parameter, each parameter once.

        Examples
        --------
        >>> from fusegrad import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> [name for name, _ in model.named_parameters()]
        ['0.weight', '0.bias']
        """
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and of all below it."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Pairs of name and buffer, each buffer once."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and of all below it."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _named(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else iter([(prefix, self)])
        )
        for path, module in owners:
            for name, tensor in module.__dict__[table].items():
                if tensor is None or (remove_duplicate and id(tensor) in seen):
                    continue
                seen.add(id(tensor))
                yield _join(path, name), tensor

    def get_submodule(self, target: str) -> Module:
        """The module under a dotted path, ``"0.attention"``; itself for an empty path."""
        module = self
        for name in target.split(".") if target else ():
            below = module._modules.get(name)
            if below is None:
                raise AttributeError(f"{type(module).__name__} has no module {name!r}")
            module = below
        return module

    def get_buffer(self, target: str) -> Tensor:
        """The buffer under a dotted path, ``"1.running_mean"``."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        buffer = module._buffers.get(name)
        if buffer is None:
            raise AttributeError(f"{type(module).__name__} has no buffer {name!r}")
        return buffer

    def set_submodule(self, target: str, module: Module) -> None:
        """Put a module under a dotted path, in the place of what is there."""
        path, _, name = target.rpartition(".")
        setattr(self.get_submodule(path), name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter under a dotted path, ``"0.weight"``."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        parameter = module._parameters.get(name)
        if parameter is None:
            raise AttributeError(f"{type(module).__name__} has no parameter {name!r}")
        return parameter

    # --- state --------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "") -> StateDict:
        """The values of all parameters and persistent buffers, by name.

        Returns
        -------
        dict of str to Tensor
            Snapshots: unlike torch's they never change, whatever the module does later.

        Examples
        --------
        >>> from fusegrad import nn
        >>> {name: t.shape for name, t in nn.Linear(2, 3).state_dict().items()}
        {'weight': (3, 2), 'bias': (3,)}
        """
        return {prefix + name: tensor._snapshot() for name, tensor in self._state_entries()}

    def _state_entries(self) -> Iterator[tuple[str, Tensor]]:
        # Shared modules and parameters appear under each of their names, as in torch.
        for path, module in self.named_modules(remove_duplicate=False):
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield _join(path, name), parameter
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._transient:
                    yield _join(path, name), buffer

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Set the values of parameters and buffers; either all that fit, or none.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array
            As from `state_dict`. Values are copied and converted to the dtype of what they replace.
        strict : bool, optional
            Whether the names must be exactly those of ``self.state_dict()``.

        Returns
        -------
        LoadResult
            The names that were missing and those that were not expected.

        Raises
        ------
        StateError
            If names, with `strict`, or shapes do not fit. Nothing is changed then.
        """
        entries = dict(self._state_entries())
        missing = [name for name in entries if name not in state_dict]
        unexpected = [name for name in state_dict if name not in entries]
        problems = []
        if strict and missing:
            problems.append("missing: " + ", ".join(missing))
        if strict and unexpected:
            problems.append("not expected: " + ", ".join(unexpected))
        values = {n: asarray(state_dict[n]) for n in entries if n in state_dict}
        for name, value in values.items():
            if value.shape != entries[name].shape:
                problems.append(
                    f"{name} has shape {tuple(value.shape)} and "
                    f"{tuple(entries[name].shape)} is needed"
                )
        if problems:
            raise StateError(
                f"the state dict does not fit {type(self).__name__}\n    "
                + "\n    ".join(problems),
                remedy="build the module as the saved one was; strict=False ignores names that "
                "only one side has",
            )
        with no_grad():
            for name, value in values.items():
                entries[name].copy_(value.astype(entries[name].dtype))
        return LoadResult(missing, unexpected)

    # --- modes and conversions ----------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set the training flag of this module and of all below it.

        Compiled functions that call the module notice, and are traced again.
        """
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether gradients are computed for the parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        state.bump()
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters, to None or to zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = parameter.grad.detach() * 0

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call a function with every module below this one, and then with this one.

        Examples
        --------
        >>> from fusegrad import nn
        >>> def reset(module):
        ...     if isinstance(module, nn.Linear):
        ...         nn.init.zeros_(module.bias)
        >>> _ = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).apply(reset)
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # --- guards and printing ------------------------------------------------------------------

    def __fusegrad_fingerprint__(self) -> tuple[Hashable, ...]:
        return tuple([f for path, module in self.named_modules() for f in module._fields(path)])

    def __fusegrad_parts__(self) -> Iterator[tuple[str, object]]:
        for path, module in self.named_modules():
            yield _join(path, "__class__"), type(module)
            for name, value in module.__dict__.items():
                if name not in _TABLES:
                    yield _join(path, name), value
            for name, parameter in module._parameters.items():
                if getattr(parameter, "_hooks", None):
                    yield _join(path, name), parameter

    def __fusegrad_places__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path, module in self.named_modules():
            yield path, module.__dict__
            yield path, module._buffers

    def _fields(self, path: str) -> Iterator[state.Field]:
        yield state.Field.of(_join(path, "__class__"), type(self))
        for name, value in self.__dict__.items():
            if name not in _TABLES:
                yield state.Field.of(_join(path, name), value)
        for table in (self._parameters, self._buffers):
            for name, tensor in table.items():
                if tensor is None:
                    yield state.Field(_join(path, name), None, "None")
                else:
                    grad = tensor.requires_grad
                    identity = (state.Identity(tensor), grad)
                    text = f"a {type(tensor).__name__} with requires_grad={grad}"
                    yield state.Field(_join(path, name), identity, text)
        for name, module in self._modules.items():
            text = "None" if module is None else type(module).__name__
            yield state.Field(_join(path, name), state.Identity(module), f"a {text}")

    def extra_repr(self) -> str:
        """What `repr` shows between the parentheses; subclasses define it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        below = [f"({name}): {module!r}" for name, module in self._modules.items()]
        if not below and len(lines) <= 1:
            return f"{type(self).__name__}({extra})"
        text = "\n".join(lines + below).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {text}\n)"


@final
class LoadResult:
    """What `Module.load_state_dict` found.

    Attributes
    ----------
    missing_keys, unexpected_keys : list of str
        Names that only the module, or only the state dict has.
    """

    __slots__ = ("missing_keys", "unexpected_keys")

    def __init__(self, missing_keys: list[str], unexpected_keys: list[str]) -> None:
        self.missing_keys = missing_keys
        self.unexpected_keys = unexpected_keys

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"LoadResult(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"
        )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
