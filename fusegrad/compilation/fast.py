"""The calls that a compiled function answers without its general path.

Knows the two kinds of fast paths, and which specialisations have one; traces nothing.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, final

from .. import pytree
from .answering import Answered
from .containers import Taker, taker
from .device_calls import DeviceSpecialisation
from .device_fast import DeviceCalls, build_device_call
from .dispatch import build
from .native_layout import Call, Native, native
from .native_tables import plan_of
from .specialisation import MISS, Specialisation

__all__ = ["FastCalls"]

_MOST_PLANS = 8
"""How many specialisations are tried before the general path."""
_MOST_TAKERS = 4
"""How many forms of arguments are."""

Form = tuple[pytree.Structure, bool]
"""The structure of the arguments, and whether there are keyword arguments among them."""


@final
class FastCalls:
    """The fast paths of one compiled function.

    Attributes
    ----------
    call : Call or None
        Native code that takes the place of the general path, once there is a plan.
    flat : callable or None
        Takes positional arguments without nesting, where native code does not.
    named : dict
        From a number of positional arguments and the names of others, none of them nested, to what
        takes them all in order.
    nested : dict
        From the form of the arguments, if it is another, to what takes their leaves.
    takers : dict
        From some of these forms to what gives the leaves of arguments, and what takes them.
    series : dict
        From the form to what makes many calls, one after the other.
    """

    def __init__(self, lock: Any, function: Answered) -> None:
        self.call: Call | None = None
        self.flat: Callable[..., Any] | None = None
        self.named: dict[tuple[int | str, ...], Callable[..., Any]] = {}
        self.nested: dict[Form, Callable[..., Any]] = {}
        self.takers: dict[Form, tuple[Taker, Callable[..., Any]]] = {}
        self.series: dict[Form, Callable[..., int]] = {}
        self._lock = lock
        self._function = weakref.ref(function)
        self._plans: dict[Form, list[Any]] = {}
        self._device: dict[Form, DeviceCalls] = {}
        self._hits = ctypes.c_int64()

    @property
    def hits(self) -> int:
        """How many calls were answered."""
        return self._hits.value

    def taken(self, args: tuple[Any, ...]) -> Any:
        """The result of a call with nested positional arguments, MISS if nothing answers it."""
        for take, fast in self.takers.values():
            leaves = take(args)
            result = MISS if leaves is None else fast(*leaves)
            if result is not MISS:
                return result
        return MISS

    def offer(self, entry: Specialisation, leaves: Sequence[Any], form: Form) -> None:
        """Answer calls like this one from now on, if there is a way; for calls that come again."""
        flat = _is_flat(form)
        if not entry.fast_known:
            entry.fast_known = True
            if isinstance(entry, DeviceSpecialisation):
                call = build_device_call(entry, leaves, self._lock, self._hits)
                if call is not None:
                    self._device.setdefault(form, DeviceCalls()).add(call)
                    self.nested[form] = self._device[form]
            elif not self._plan(entry, leaves, form, flat) and flat:
                entry.fast = build(entry, leaves, self._lock, self._hits)
        if entry.fast is not None:
            self.flat = entry.fast
        elif flat:
            self.flat = self._device.get(form)
        elif form in self.nested and (names := _names(form)) is not None:
            self.named[names] = self.nested[form]

    def series_for(self, count: int) -> Callable[..., int] | None:
        """What makes many calls with so many positional arguments, None if there is none yet."""
        return self.series.get((_flat(count), False))

    def _plan(self, entry: Specialisation, leaves: Sequence[Any], form: Form, flat: bool) -> bool:
        caller = native()
        plan = plan_of(entry, leaves, self._lock, self._hits) if caller else None
        if caller is None or plan is None:
            return False
        # The last one is the first that is tried.
        plans = [plan, *self._plans.pop(form, [])][:_MOST_PLANS]
        self._plans[form] = plans
        call, self.series[form] = caller.functions([p.address for p in plans], plans)
        if flat or _names(form) is not None:
            self._answer(caller)
        if not flat:
            self.nested[form] = call
            self._take(form, call)
        return True

    def _take(self, form: Form, call: Callable[..., Any]) -> None:
        """Answer calls of a form with nested positional arguments soon."""
        known = self.takers.get(form)
        if known is None and (form[1] or len(self.takers) >= _MOST_TAKERS):
            return
        take = taker(form[0]) if known is None else known[0]
        if take is not None:
            # Others may be reading the one before.
            self.takers = {**self.takers, form: (take, call)}

    def _answer(self, caller: Native) -> None:
        """Have native code answer calls whose arguments are not nested."""
        flat: list[Any] = []
        named: list[tuple[int, tuple[str, ...], list[Any]]] = []
        for form, plans in reversed(self._plans.items()):
            names: Any = _names(form)
            if names is not None:
                named.append((names[0], names[1:], plans))
            elif _is_flat(form):
                flat += plans
        function = self._function()
        if self.call is None and function is not None:
            self.call = caller.call(function.weak_general())
            function.answered_by(self.call.function)
        if self.call is not None:
            addresses = [(count, names, _addresses(own)) for count, names, own in named]
            self.call.use(_addresses(flat), addresses, (flat, named))


def _addresses(plans: Sequence[Any]) -> list[int]:
    return [plan.address for plan in plans]


def _names(form: Form) -> tuple[int | str, ...] | None:
    """How many positional arguments there are, and the names of others; None if one is nested."""
    structure, keywords = form
    if not keywords:
        return None
    positional, named = structure.children
    if any(leaf is not pytree.LEAF for leaf in (*positional.children, *named.children)):
        return None
    metadata: Any = named.metadata
    return len(positional.children), *metadata[0]


def _is_flat(form: Form) -> bool:
    """Whether all arguments are positional, and none is nested."""
    structure, keywords = form
    return not keywords and structure == _flat(len(structure.children))


@functools.cache
def _flat(count: int) -> pytree.Structure:
    """The structure of `count` arguments without nesting."""
    return pytree.flatten(tuple(range(count)))[1]
