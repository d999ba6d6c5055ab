"""The calls that a compiled function answers without its general path.

Knows the two kinds of fast paths, and which specialisations have one; traces nothing.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

from .. import pytree
from .device_calls import DeviceSpecialisation
from .device_fast import DeviceCalls, build_device_call
from .dispatch import build
from .native_layout import native
from .native_tables import plan_of
from .specialisation import Specialisation

__all__ = ["FastCalls"]

_MOST_PLANS = 8
"""How many specialisations are tried before the general path."""

Form = tuple[pytree.Structure, bool]
"""The structure of the arguments, and whether there are keyword arguments among them."""


@final
class FastCalls:
    """The fast paths of one compiled function.

    Attributes
    ----------
    flat : callable or None
        Takes positional arguments without nesting.
    named : dict
        From a number of positional arguments and the names of others, none of them nested, to what
        takes them all in order.
    nested : dict
        From the form of the arguments to what takes their leaves.
    series : dict
        From the form to what makes many calls, one after the other.
    """

    def __init__(self, lock: Any) -> None:
        self.flat: Callable[..., Any] | None = None
        self.named: dict[tuple[int | str, ...], Callable[..., Any]] = {}
        self.nested: dict[Form, Callable[..., Any]] = {}
        self.series: dict[Form, Callable[..., int]] = {}
        self._lock = lock
        self._plans: dict[Form, list[Any]] = {}
        self._device: dict[Form, DeviceCalls] = {}
        self._hits = ctypes.c_int64()

    @property
    def hits(self) -> int:
        """How many calls were answered."""
        return self._hits.value

    def offer(self, entry: Specialisation, leaves: Sequence[Any], form: Form) -> None:
        """Answer calls like this one from now on, if there is a way; for calls that come again."""
        flat = form == (_flat(len(leaves)), False)
        if not entry.fast_known:
            entry.fast_known = True
            if isinstance(entry, DeviceSpecialisation):
                call = build_device_call(entry, leaves, self._lock, self._hits)
                if call is not None:
                    self._device.setdefault(form, DeviceCalls()).add(call)
                    self.nested[form] = self._device[form]
            elif not self._plan(entry, leaves, form) and flat:
                entry.fast = build(entry, leaves, self._lock, self._hits)
        if entry.fast is not None:
            self.flat = entry.fast
        elif flat:
            self.flat = self.nested.get(form)
        elif form in self.nested and (names := _names(form)) is not None:
            self.named[names] = self.nested[form]

    def series_for(self, count: int) -> Callable[..., int] | None:
        """What makes many calls with so many positional arguments, None if there is none yet."""
        return self.series.get((_flat(count), False))

    def _plan(self, entry: Specialisation, leaves: Sequence[Any], form: Form) -> bool:
        caller = native()
        plan = plan_of(entry, leaves, self._lock, self._hits) if caller else None
        if caller is None or plan is None:
            return False
        plans = [plan, *self._plans.get(form, [])][:_MOST_PLANS]
        self._plans[form] = plans
        functions = caller.functions([p.address for p in plans], plans)
        self.nested[form], self.series[form] = functions
        return True


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


@functools.cache
def _flat(count: int) -> pytree.Structure:
    """The structure of `count` arguments without nesting."""
    return pytree.flatten(tuple(range(count)))[1]
