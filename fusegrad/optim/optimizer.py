"""The base of the optimizers: parameter groups, their state, and what compiled steps see of them.

User-level code: an optimizer writes new values into parameters and state; the compiler sees only
that, and numbers such as the learning rate as inputs that are read at every call.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self, cast, final

from .. import state
from ..codegen.dtypes import DType
from ..errors import (
    ArgumentTypeError,
    CaptureError,
    DTypeError,
    OptionError,
    StateError,
)
from ..functions.creation import asarray, zeros, zeros_like
from ..nn.parameter import when_known
from ..tensors.context import active, enable_grad, no_grad
from ..tensors.placement import wander
from ..tensors.tensor_class import Tensor
from ..tensors.trace import runtime_scalar

__all__ = ["Optimizer", "ParamGroup", "Scalar", "number"]

Scalar = Tensor | float


@final
class ParamGroup(dict[str, Any]):
    """Parameters with their options: ``group["params"]``, ``group["lr"]``, and so on.

    Options that are numbers are inputs of a compiled step: it reads them at every call, so that
    changing them costs nothing. All other changes, and those of a number from or to zero where
    that leaves out a part of the update, make compiled steps trace again.

    Attributes
    ----------
    step : Tensor
        How often the group was updated, as far as its optimizer needs to know.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter(fg.ones(3))], lr=0.1)
    >>> optimizer.param_groups[0]["lr"] = 0.05
    """

    __slots__ = ("_owner", "step")

    def __init__(self, owner: Optimizer, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._owner = owner
        self.step: Tensor = zeros((), dtype="float32")
        wander(self.step)

    def __fusegrad_fingerprint__(self) -> tuple[Hashable, ...]:
        return tuple([self._field(name) for name in sorted(self)])

    def __fusegrad_parts__(self) -> tuple[tuple[str, object], ...]:
        return ()

    def _field(self, name: str, position: int = 0) -> state.Field:
        value = self[name]
        label = f"param_groups[{position}][{name!r}]"
        if name == "params":
            identities = tuple([state.Identity(parameter) for parameter in value])
            return state.Field(label, identities, f"{len(value)} parameters")
        if name in self._owner.runtime_options and not isinstance(value, Tensor):
            on = name in self._owner.switches and bool(value)
            return state.Field(label, on, "not 0" if on else "0")
        return state.Field.of(label, value)

    def __setitem__(self, name: str, value: Any) -> None:
        if active.trace is not None and not active.trace.has_made(self._owner):
            raise CaptureError(
                f"option {name!r} of a parameter group is set while a compiled function is traced"
            )
        if name == "params":
            value = tuple(value)
        before = self._field(name) if name in self else None
        super().__setitem__(name, value)
        if before != self._field(name):
            self._owner._make_state(self)
            state.bump()

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        state.bump()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several options."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Set an option that there is not."""
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str, *default: Any) -> Any:
        """Remove an option."""
        value = super().pop(name, *default)
        state.bump()
        return value

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ParamGroup:
        raise ArgumentTypeError(
            "a parameter group belongs to its optimizer; copy optimizer.state_dict()"
        )

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise ArgumentTypeError("a parameter group belongs to its optimizer; pickle the optimizer")


class Optimizer(ABC):
    """The base of the optimizers.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them: dicts with ``"params"`` and options of their own.
    defaults : mapping of str to object
        The options of groups that do not say otherwise.

    Attributes
    ----------
    param_groups : list of ParamGroup
    state : dict of Tensor to dict of str to Tensor
        What the optimizer keeps for each parameter; made in the constructor.
    """

    runtime_options: ClassVar[frozenset[str]] = frozenset({"lr"})
    """Options that are numbers, or tuples of them, and that compiled steps read at every call."""
    switches: ClassVar[frozenset[str]] = frozenset()
    """Those of them that leave out a part of the update when they are zero."""

    defaults: dict[str, Any]
    param_groups: list[ParamGroup]
    state: dict[Tensor, dict[str, Tensor]]

    def __init__(
        self, params: Iterable[Tensor] | Iterable[Mapping[str, Any]], defaults: Mapping[str, Any]
    ) -> None:
        if isinstance(params, Tensor):
            raise ArgumentTypeError("params is one Tensor; pass a list of them: [parameter]")
        self.defaults = dict(defaults)
        self.param_groups = []
        self.state = {}
        if active.trace is not None:
            active.trace.note_made(self)
        given: list[Any] = list(params)
        if not given:
            raise OptionError("there are no parameters to optimize")
        groups = given if isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    # --- what subclasses define ---------------------------------------------------------------

    @abstractmethod
    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        """The state of one parameter before the first step."""

    @abstractmethod
    def _update(self, group: ParamGroup, parameters: list[tuple[Tensor, Tensor]]) -> None:
        """Write new values into parameters, given with their gradients, and their state."""

    def _counts_steps(self, group: Mapping[str, Any]) -> bool:
        """Whether ``step`` of a group is part of the state."""
        return False

    # --- groups and state ---------------------------------------------------------------------

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters, with options of their own.

        Examples
        --------
        >>> import fusegrad as fg
        >>> from fusegrad import nn, optim
        >>> optimizer = optim.SGD([nn.Parameter(fg.ones(3))], lr=0.1)
        >>> optimizer.add_param_group({"params": [nn.Parameter(fg.ones(2))], "lr": 0.01})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.01]
        """
        if active.trace is not None and not active.trace.has_made(self):
            raise CaptureError("a parameter group is added while a compiled function is traced")
        params = param_group["params"]
        params = (params,) if isinstance(params, Tensor) else tuple(params)
        taken = {id(each) for group in self.param_groups for each in group["params"]}
        for parameter in params:
            if not isinstance(parameter, Tensor):
                raise ArgumentTypeError(
                    f"a parameter is a Tensor, not a {type(parameter).__name__}"
                )
            if parameter.dtype.kind != "float":
                raise DTypeError(
                    f"a parameter is floating, and this one is {parameter.dtype}",
                    remedy="leave it out, or convert it before it becomes a parameter",
                )
            if id(parameter) in taken:
                raise OptionError("a parameter is given twice, or in two groups")
            taken.add(id(parameter))
        group = ParamGroup(self, {**self.defaults, **param_group, "params": params})
        self._check(group)
        self.param_groups.append(group)
        self._make_state(group)
        state.bump()

    def _check(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError if options make no sense; subclasses add to it."""
        for name in ("lr", "eps", "weight_decay", "momentum"):
            value = group.get(name, 0.0)
            if not isinstance(value, Tensor) and not value >= 0:
                raise OptionError(f"{name} is {value}, and cannot be negative")

    def _make_state(self, group: ParamGroup) -> None:
        """Make what the options of the group need and what is not there yet."""
        for parameter in group["params"]:
            if not when_known(parameter, lambda: self._make_state(group)):
                continue
            kept = self.state.setdefault(parameter, {})
            for name, value in self._initial_state(group, parameter).items():
                kept.setdefault(name, value)

    def __fusegrad_fingerprint__(self) -> tuple[Hashable, ...]:
        groups = enumerate(self.param_groups)
        fields = [group._field(name, i) for i, group in groups for name in sorted(group)]
        return (state.Field.of("__class__", type(self)), *fields)

    def __fusegrad_parts__(self) -> tuple[tuple[str, object], ...]:
        return (("__class__", type(self)),)

    # --- the step -----------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters, to None or to zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad = zeros_like(parameter.grad)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have gradients.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and the gradients first; its result is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad(), _options_of(self):
            for group in self.param_groups:
                pairs = [(p, p.grad) for p in group["params"] if p.grad is not None]
                if pairs:
                    self._update(group, pairs)
        return loss

    # --- copies -------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        groups = [(dict(group), group.step) for group in self.param_groups]
        return {**self.__dict__, "param_groups": groups, "state": list(self.state.items())}

    def __setstate__(self, known: dict[str, Any]) -> None:
        self.__dict__.update(known, param_groups=[], state=dict(known["state"]))
        for options, step in known["param_groups"]:
            group = ParamGroup(self, options)
            group.step = step
            self.param_groups.append(group)

    # --- saving -------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything but the parameters, in torch's layout.

        Returns
        -------
        dict
            ``"state"`` maps the position of each parameter to its tensors, which are snapshots;
            ``"param_groups"`` holds the options, with positions in place of parameters.
        """
        found: dict[int, dict[str, Tensor]] = {}
        groups: list[dict[str, Any]] = []
        for group in self.param_groups:
            first = len(found)
            for parameter in group["params"]:
                entry = {"step": group.step._snapshot()} if self._counts_steps(group) else {}
                kept = self.state[parameter]
                found[len(found)] = entry | {name: t._snapshot() for name, t in kept.items()}
            groups.append({**group, "params": list(range(first, len(found)))})
        return {"state": {i: entry for i, entry in found.items() if entry}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set state and options from what `state_dict` returned; all of them, or none.

        Raises
        ------
        StateError
            If the groups, their parameters, or shapes are others.
        """
        groups: list[Mapping[str, Any]] = list(state_dict["param_groups"])
        sizes = [len(group["params"]) for group in groups]
        own = [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise StateError(
                f"the state dict has groups of {sizes} parameters, the optimizer of {own}",
                remedy="build the optimizer as the saved one was",
            )
        entries = state_dict["state"]
        writes: list[tuple[Tensor, Tensor]] = []
        for group, saved in zip(self.param_groups, groups, strict=True):
            # Before its options are set: they decide what belongs to the state.
            fresh = ParamGroup(self, {**group, **saved, "params": group["params"]})
            self._make_state(fresh)
            steps = [0.0]
            for parameter, position in zip(group["params"], saved["params"], strict=True):
                entry = dict(entries.get(position, {}))
                if "step" in entry:
                    steps.append(float(entry.pop("step")))
                writes += self._entry_writes(self.state[parameter], entry, position)
            writes.append((group.step, asarray(max(steps), dtype=group.step.dtype)))
        with no_grad():
            for target, value in writes:
                target.copy_(value)
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update({name: value for name, value in saved.items() if name != "params"})

    def _entry_writes(
        self, kept: dict[str, Tensor], entry: Mapping[str, Any], position: int
    ) -> list[tuple[Tensor, Tensor]]:
        # torch keeps None where momentum was never used.
        saved = {name: asarray(value) for name, value in entry.items() if value is not None}
        for name, value in saved.items():
            if name not in kept:
                raise StateError(
                    f"parameter {position} has no {name!r} in {type(self).__name__}; it has "
                    + (", ".join(kept) or "no state"),
                    remedy="load what the same kind of optimizer saved",
                )
            if value.shape != kept[name].shape:
                raise StateError(
                    f"{name!r} of parameter {position} has shape {tuple(value.shape)} and "
                    f"{tuple(kept[name].shape)} is needed",
                    remedy="build the optimizer over the same parameters in the same order",
                )
        # What was not saved starts anew.
        return [
            (target, saved[name].astype(target.dtype) if name in saved else zeros_like(target))
            for name, target in kept.items()
        ]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for position, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {position}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


class _Options(threading.local):
    # Whether the options are constants: those of an optimizer that a compiled function makes.
    fixed = False


_options = _Options()


@contextmanager
def _options_of(optimizer: Optimizer) -> Iterator[None]:
    before, trace = _options.fixed, active.trace
    _options.fixed = trace is not None and trace.has_made(optimizer)
    try:
        yield
    finally:
        _options.fixed = before


def number(getter: Callable[[], Scalar], label: str, dtype: DType) -> Scalar:
    """An option that compiled steps read at every call.

    Parameters
    ----------
    getter : callable
        Reads it. If it gives a Tensor, that is captured as any other.
    label : str
        What explanations call it.
    dtype : DType
        Of what it is combined with.
    """
    value = getter()
    if isinstance(value, Tensor) or _options.fixed:
        return value
    # The getter of a number stays one: another kind of option is a change of structure.
    return runtime_scalar(cast("Callable[[], float]", getter), label, dtype)
