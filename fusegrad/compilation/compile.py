"""`@fusegrad.compile`: trace once for each signature, then run native code.

Knows traces, guards and steps; what the stages do is in `runtime.step`.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast, final

import numpy as np

from .. import config, pytree
from ..errors import ArgumentTypeError, CaptureError
from ..runtime import preparation
from ..runtime.garbage import UNCOLLECTED
from ..runtime.locks import TRACING, Turn, recursive_lock
from ..runtime.step import Step, load_step
from ..tensors.context import active
from ..tensors.trace import ArrayReference, Trace
from .answering import Answered
from .arguments import Arguments, Leading, borrowed, pattern_of
from .background import Background, Interpreted
from .device_calls import device_of_trace, on_device
from .effects import Store, StoredOutside, Stores, Storing
from .fast import FastCalls, Form
from .guards import Guards
from .looks import at_what_runs, explaining, observer, planning, profiling
from .options import PLAIN, Options, chosen
from .series import arguments_of, stacked
from .signature import Parameters, difference, frozen_key, is_foreign, leaf_key
from .specialisation import FORMATS, MISS, Specialisation, Traced, differentiated, traced_again
from .statistics import Statistics

__all__ = ["CompiledFunction", "Statistics", "compile"]

_COMPILING = recursive_lock()
"""Graphs are compiled one at a time; functions may be traced meanwhile."""

_MOST_ENTRIES = 32
"""How many traces of one signature are kept, for different surroundings."""


@final
class CompiledFunction(Answered):
    """A function that is traced once for each signature and then runs as native code.

    Made by `compile`. Attributes that it lacks are the function's: a module's parameters.
    """

    def __init__(self, function: Callable[..., Any], options: Options = PLAIN) -> None:
        if not callable(function):
            raise ArgumentTypeError(f"compile takes a function, not {function!r}")
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.options = options
        self._parameters = Parameters(function, options.static_argnames)
        self._entries: dict[Any, list[Specialisation]] = {}
        self._statistics = Statistics()
        self._lock = Turn()
        self._last: tuple[Any, Any] | None = None
        self._fast = FastCalls(self._lock, self)
        self._hits, self._leading = 0, Leading()
        self._changing: dict[int, ArrayReference] = {}
        # What stands for a function that stores tensors outside, once that is known.
        self._storing: tuple[Storing, CompiledFunction] | None = None
        self._ended: list[FastCalls] = []
        preparation.begin_where_nothing_is_known()

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__qualname__', self.function)}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "function":
            raise AttributeError(f"a compiled function has no attribute {name!r}")
        return getattr(self.function, name)

    # --- calling ----------------------------------------------------------------------------------

    def general(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a call that native code does not: the first ones of a signature, and others."""
        fast = self._fast.named.get((len(args), *kwargs)) if kwargs else self._fast.flat
        if fast is not None:
            result = fast(*args, *kwargs.values()) if kwargs else fast(*args)
            if result is not MISS:
                return result
        if not kwargs and (result := self._fast.taken(args)) is not MISS:
            return result
        if active.trace is not None:
            return self.function(*args, **kwargs)
        if active.inline:
            return self._plainly(args, kwargs)
        if self._storing is not None:
            return self._store(args, kwargs)
        leaves, structure = pytree.flatten((args, kwargs) if kwargs else args)
        form = structure, bool(kwargs)
        fast = self._fast.nested.get(form)
        if fast is not None:
            result = fast(*leaves)
            if result is not MISS:
                return result
        if any(map(is_foreign, leaves)):
            leaves = self._as_arrays(leaves, self._parameters.mask(structure, bool(kwargs)))
        if differentiated(leaves):
            # The graph behind the results knows no views.
            leaves = tuple(np.ascontiguousarray(v) if type(v) is np.ndarray else v for v in leaves)
        key = self._key(leaves, structure, bool(kwargs))
        found = self._entries.get(key)
        if found is not None:
            for entry in found:
                if entry.holds() and entry.traced.fits(leaves):
                    if found[0] is not entry:
                        found.remove(entry)
                        found.insert(0, entry)
                    return self._run(self._ready(entry, found), leaves, form)
        try:
            entry = self._specialise(args, kwargs, leaves, structure, key)
        except StoredOutside as found:
            self._begin_storing(found)
            return self._store(args, kwargs)
        return self._run(entry, leaves, form, fresh=True)

    def _begin_storing(self, found: StoredOutside | None) -> None:
        """From now on the function is compiled as one that returns what it stores outside.

        Without anything new it is compiled anew.
        """
        if isinstance(self.function, Storing):
            raise found or AssertionError
        with TRACING:
            known = None if self._storing is None else self._storing[0]
            if known and found and not known.lacks(found):
                # Another thread found it meanwhile.
                return
            self._hits = self.stats().hits
            storing = Storing(self.function, found, known)
            compiled = CompiledFunction(storing, self.options)
            compiled._statistics = self._statistics
            self._storing = storing, compiled
            self.answered_by(self.weak_general())
            # Calls of other threads may be under way in it.
            self._ended.append(self._fast)
            self._entries, self._fast = {}, FastCalls(self._lock, self)

    def _store(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function, and put what it stores where it belongs."""
        settled: list[Store] = []
        with self._lock:
            while True:
                storing, compiled = cast("tuple[Storing, CompiledFunction]", self._storing)
                try:
                    result, *found = compiled(storing.held(), *args, **kwargs)
                except StoredOutside as more:
                    self._begin_storing(more)
                    # By this thread or by another there is more that it knows.
                    assert self._storing[0] is not storing  # type: ignore[index]
                except Exception as error:
                    # Perhaps because a number is an input; if not, it may stay one.
                    if not storing.settle(error, settled):
                        raise
                    self._begin_storing(None)
                else:
                    storing.put(*found)
                    return result

    def _run(
        self, entry: Specialisation, leaves: Sequence[Any], form: Form, fresh: bool = False
    ) -> Any:
        if entry.stateful:
            with self._lock:
                result = entry.run(leaves)
        else:
            result = entry.run(leaves)
        if not fresh:
            self._hits += 1
            self._fast.offer(entry, leaves, form)
        return result

    def _plainly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the plain function, on tensors as it would be traced with."""
        leaves, structure = pytree.flatten((args, kwargs))
        static = self._parameters.mask(structure, True)
        values = [
            borrowed(v) if isinstance(v, (np.ndarray, np.generic)) and not s else v
            for v, s in zip(self._as_arrays(leaves, static), static, strict=True)
        ]
        new_args, new_kwargs = pytree.unflatten(structure, values)
        return self.function(*new_args, **new_kwargs)

    @staticmethod
    def _as_arrays(leaves: Sequence[Any], static: Sequence[bool]) -> tuple[Any, ...]:
        """The arrays of other libraries as tensors: what they hold is an input, not a constant."""
        return tuple(
            borrowed(v) if is_foreign(v) and not s else v
            for v, s in zip(leaves, static, strict=True)
        )

    # --- signatures -------------------------------------------------------------------------------

    def _key(self, leaves: Sequence[Any], structure: Any, keywords: bool) -> Any:
        if self._parameters.static:
            masked = zip(leaves, self._parameters.mask(structure, keywords), strict=True)
            parts = [("static", frozen_key(v)) if s else leaf_key(v) for v, s in masked]
            return (structure, keywords, *parts)
        return (structure, keywords, *map(leaf_key, leaves))

    # --- tracing ----------------------------------------------------------------------------------

    def _specialise(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        leaves: Sequence[Any],
        structure: Any,
        key: Any,
    ) -> Specialisation:
        self._parameters.check(args, kwargs)
        with TRACING, UNCOLLECTED:
            for entry in self._entries.get(key, ()):
                if entry.holds() and entry.traced.fits(leaves):
                    # Another thread traced it meanwhile.
                    return entry
            if self._storing is not None:
                raise StoredOutside([], [])
            reason = self._reason(key)
            for entry in self._entries.get(key, ()):
                if rebound := entry.guards.rebound():
                    self._statistics.reasons.append(cast("str", reason))
                    raise StoredOutside(rebound, [])
                for found in entry.traced.changed_arrays():
                    self._changing[id(found())] = found
            stages: dict[str, float] = {}
            start = time.perf_counter()
            static = self._parameters.mask(structure, bool(kwargs))
            with TRACING.alone():
                guards = Guards(self.function)
                traced = self._trace(leaves, structure, bool(kwargs), static, guards.stores)
            guards.traced(traced.met)
            stages["trace"] = (time.perf_counter() - start) * 1e3
            observe = observer(getattr(self.function, "__name__", "step"))
            device = device_of_trace(traced)

            def compiled() -> tuple[Step, str]:
                with _COMPILING, UNCOLLECTED:
                    made = load_step(
                        *(traced.outputs, traced.inputs, traced.donations, stages, observe),
                        *(self.options.memory_limit, self.options.tuning),
                    )
                self._note(made, stages, reason)
                return made

            if device != "cpu":
                with _COMPILING, UNCOLLECTED:
                    entry, origin = on_device(traced, device, guards, self.options, stages, observe)
                self._note((entry.step, origin), stages, reason)
            elif self.options.background:
                entry = Specialisation(traced, Interpreted(traced.inputs, traced.outputs), guards)
                entry.fast_known = True
                entry.background = Background(compiled)
            else:
                entry = Specialisation(traced, compiled()[0], guards, self.options.threads)
            (entries := self._entries.setdefault(key, [])).insert(0, entry)
            # Used ones come first; a captured number that always changes must not pile up.
            del entries[_MOST_ENTRIES:]
        self._last = key, leaves
        return entry

    def _ready(self, entry: Specialisation, entries: list[Specialisation]) -> Specialisation:
        """The entry, or the one with code once a thread has compiled it."""
        made = None if entry.background is None else entry.background.take()
        if made is None:
            return entry
        ready = Specialisation(entry.traced, made[0], entry.guards, self.options.threads)
        ready.autocast = entry.autocast
        entries[entries.index(entry)] = ready
        return ready

    def _note(self, made: tuple[Step, str], stages: dict[str, float], reason: str | None) -> None:
        s = self._statistics
        step, origin = made
        s.compiles += 1
        s.kernels, s.arena_bytes = step.record.kernels, step.arena_bytes
        s.compiled_kernels = step.record.made if origin == "compiled" else 0
        s.origins[origin] = s.origins.get(origin, 0) + 1
        for stage, value in stages.items():
            s.compile_ms[stage] = s.compile_ms.get(stage, 0.0) + value
        if reason is not None:
            s.reasons.append(reason)
            if "cache" in config.current().explain:
                sys.stderr.write(f"fusegrad: {self!r} is traced again: {reason}\n")

    def _reason(self, key: Any) -> str | None:
        """Why this call cannot use what was traced before."""
        if not self._entries:
            return None
        if known := self._entries.get(key):
            return known[0].difference() or "its surroundings changed"
        (structure, keywords, *parts) = key
        alike = [k for k in self._entries if k[0] == structure and k[1] == keywords]
        if alike:
            # The nearest one, the last of equally near ones.
            near = min(
                reversed(alike),
                key=lambda k: sum(a != b for a, b in zip(k[2:], parts, strict=True)),
            )
            return difference(self._parameters.names(structure, keywords), near[2:], parts)
        last = next(reversed(self._entries))
        changed = pytree.first_difference(last[0], structure)
        return f"the structure of the arguments changed: {changed}"

    @TRACING.alone()
    def _trace(
        self,
        leaves: Sequence[Any],
        structure: Any,
        keywords: bool,
        static: Sequence[bool],
        stores: Stores,
        bound: frozenset[int] = frozenset(),
        together: bool = False,
    ) -> Traced:
        names = self._parameters.names(structure, keywords)
        if isinstance(self.function, Storing):
            names = self.function.labelled(names)
        traced = Traced()
        trace = Trace(self._changing)
        try:
            with trace:
                given = Arguments(trace, leaves, names, static, bound, together, self._leading)
                traced.kinds, traced.argument_grads_in = given.kinds, given.grads
                traced.inputs += given.inputs
                traced.scalars += [FORMATS[dtype] for dtype in given.formats]
                arguments = pytree.unflatten(structure, given.values)
                args, kwargs = arguments if keywords else (arguments, {})
                result = self.function(*args, **kwargs)
                stores.check(trace)
                # Before anything here looks at gradients.
                traced.grad_reads = list(trace.grad_reads.items())
                traced.collect(trace, result, given.numbers)
                for place in given.written():
                    traced.argument_writes.append((place, len(traced.outputs)))
                    traced.outputs.append(given.values[place]._read())
                for place, node in given.new_grads():
                    traced.argument_grads.append(
                        (place, None if node is None else len(traced.outputs))
                    )
                    traced.outputs += [] if node is None else [node]
        finally:
            stores.restore(trace)
            trace.restore()
        retraced = traced_again(leaves, traced, bound, together)
        if retraced is not None:
            return self._trace(leaves, structure, keywords, static, stores, *retraced)
        traced.bound = {place: leaves[place] for place in sorted(bound)}
        traced.pattern = pattern_of(leaves)
        # Those that only the function saw cannot change.
        traced.met = trace.met
        traced.arrays = [pair for pair in trace.arrays if pair[0]() is not None]
        traced.check(leaves)
        return traced

    def run(self, batches: Any) -> Any:
        """Call the function once for each batch, without returning to Python in between.

        Parameters
        ----------
        batches : tuple of arrays, array, or iterable
            A tuple of arrays (one for each argument), or one array, has the batches along the first
            axis. Otherwise each item is a tuple of arguments, or the only argument.

        Returns
        -------
        The results, every tensor with a new first axis for the batches; None if there are none.

        Raises
        ------
        ShapeError
            If the arrays have different lengths, or results different shapes.

        Examples
        --------
        >>> import fusegrad as fg
        >>> total = fg.zeros(2)
        >>> @fg.compile
        ... def add(x):
        ...     total[...] = total + x
        ...     return total.sum()
        >>> add.run(np.ones((3, 2), "float32")), total
        (Tensor([2., 4., 6.]), Tensor([3., 3.]))
        """
        calls = arguments_of(batches)
        results: list[Any] = []
        while len(results) < len(calls):
            before = len(results)
            series = self._fast.series_for(len(calls[before]))
            if series is not None:
                series(calls, before, results)
            if len(results) == before:
                results.append(self(*calls[before]))
        return stacked(results)

    # --- looking ----------------------------------------------------------------------------------

    def stats(self) -> Statistics:
        """What the function did so far.

        Returns
        -------
        Statistics
            A snapshot.
        """
        if self._storing is not None:
            inner = self._storing[1].stats()
            return replace(inner, hits=self._hits + inner.hits)
        s = self._statistics
        return replace(
            s,
            hits=self._hits + self._fast.hits,
            compile_ms=dict(s.compile_ms),
            origins=dict(s.origins),
            reasons=list(s.reasons),
            drafts=sum(len(e.step.record.drafts) for v in self._entries.values() for e in v),
        )

    @at_what_runs
    def explain(self, *args: Any, **kwargs: Any) -> explaining.Explanation:
        """Graph, regions and kernels for these arguments as text, and why it recompiled.

        The function is traced for it, but nothing runs and no state changes.

        Returns
        -------
        Explanation
            Printable.
        """
        traced = self._traced_for("explain", args, kwargs)
        name = getattr(self.function, "__name__", "function")
        limit, device = self.options.memory_limit, device_of_trace(traced)
        return explaining.explain(name, *traced.graph, self.stats(), limit, device)

    @at_what_runs
    def memory(self, *args: Any, **kwargs: Any) -> planning.Memory:
        """What a call with these arguments takes, before there is one: the planned arena.

        The function is traced and compiled for it, but nothing runs and no state changes.

        Returns
        -------
        Memory
            Printable: the peak, and every value with its bytes, its life and the user's line.
        """
        traced = self._traced_for("memory", args, kwargs)
        name = getattr(self.function, "__name__", "function")
        limit, device = self.options.memory_limit, device_of_trace(traced)
        return planning.memory(name, *traced.graph, limit, device)

    def _traced_for(self, method: str, args: Any, kwargs: Any) -> Traced:
        if not args and not kwargs and self._last is None and self._parameters.positional:
            raise CaptureError(
                f"{method}() needs arguments: the function was not called yet",
                remedy=f"pass arguments as in a call: f.{method}(x, y)",
            )
        self._parameters.check(args, kwargs)
        leaves, structure = pytree.flatten((args, kwargs) if kwargs else args)
        with TRACING, UNCOLLECTED:
            static = self._parameters.mask(structure, bool(kwargs))
            with TRACING.alone():
                stores = Guards(self.function).stores
                return self._trace(leaves, structure, bool(kwargs), static, stores)

    @at_what_runs
    def profile(self, *args: Any, rounds: int = 5, **kwargs: Any) -> profiling.Profile:
        """What every kernel takes for these arguments, against the limits of this machine.

        The function is traced and compiled for it, and its kernels run one by one on copies of
        what they change: no state does.

        Parameters
        ----------
        *args, **kwargs
            As in a call.
        rounds : int, optional
            How often each is timed; the best counts.

        Returns
        -------
        Profile
            Printable: kernels, the longest first.

        Examples
        --------
        >>> import fusegrad as fg
        >>> step = fg.compile(lambda x: fg.exp(x).sum())
        >>> report = step.profile(fg.ones(1000))
        >>> [row.calls for row in report.rows]
        [1]
        """
        self._parameters.check(args, kwargs)
        leaves, structure = pytree.flatten((args, kwargs) if kwargs else args)
        made: list[Any] = []
        with TRACING, UNCOLLECTED:
            static = self._parameters.mask(structure, bool(kwargs))
            with TRACING.alone():
                guards = Guards(self.function)
                traced = self._trace(leaves, structure, bool(kwargs), static, guards.stores)
            device = device_of_trace(traced)
            if device != "cpu":
                entry, _ = on_device(traced, device, guards, self.options, {}, made.append)
            else:
                step, _ = load_step(*traced.graph, {}, made.append, tune=self.options.tuning)
                entry = Specialisation(traced, step, guards)
        name = getattr(self.function, "__name__", "function")
        return profiling.profile(name, entry, leaves, made[0], rounds)


def compile(
    function: Callable[..., Any] | None = None,
    *,
    static_argnames: Sequence[str] | str = (),
    background: bool = False,
    threads: int | None = None,
    memory_limit: int | None = None,
    tune_ms: float | None = None,
) -> Any:
    """Compile a function of arrays, or a whole training step, to native code.

    The first call with arguments of some shapes and dtypes traces the function; later calls of the
    same signature run native code only. Tensors that the function reads from outside are hidden
    inputs, those that it changes hidden outputs. What it writes into a Tensor that is an argument,
    or into its ``.grad``, is there after the call; writing into a NumPy array is an error.

    Parameters
    ----------
    function : callable
        Takes and returns NumPy arrays, Tensors, Python numbers, and nested dicts, lists,
        tuples and dataclasses of them. ``float`` and ``int`` arguments may change from call to
        call; ``bool``, ``str`` and ``None`` are part of the signature.
    static_argnames : str or sequence of str
        Further parameters whose values are part of the signature.
    background : bool, optional
        Whether a thread compiles while the first calls of a signature run op by op. These are
        equal to later ones within tolerance, not to the bit.
    threads : int, optional
        How many threads its calls may use; by default all that `set_num_threads` allows. Results
        do not depend on it.
    memory_limit : int, optional
        The most bytes that a step may keep between its kernels. Values are computed again rather
        than kept, the cheapest first; MemoryLimitError names what can be reached if that is more.
    tune_ms : float, optional
        How many milliseconds the first call may spend on trying how products and convolutions are
        computed the fastest here; the disk keeps the answer. Results do not depend on it.

    Returns
    -------
    CompiledFunction

    Examples
    --------
    >>> import fusegrad as fg
    >>> @fg.compile
    ... def f(x):
    ...     return fg.exp(x).sum()
    >>> float(f(np.zeros(3, "float32")))
    3.0
    >>> f.stats().kernels
    1
    """
    options = chosen(static_argnames, background, threads, memory_limit, tune_ms)
    if function is None:
        return lambda f: CompiledFunction(f, options)
    return CompiledFunction(function, options)
