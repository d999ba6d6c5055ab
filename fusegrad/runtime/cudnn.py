"""Convolutions by cuDNN: an operation as descriptors, the choice of an engine, and the call.

The one file that knows the library's functions, which are called through ctypes: those of its
graphs, which all take descriptors with attributes. Float32 is multiplied in float32 unless tf32 was
asked for, and engines that add in no fixed order are not taken.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, final

from ..codegen.schedule.gpu_library_calls import Direction, Lattice, LibraryConvolution
from ..errors import DeviceError
from .libraries import Algorithm
from .locks import recursive_lock

__all__ = ["Cudnn"]

WORKSPACE = 256 << 20
"""Bytes that an engine may use."""
LEAST_VERSION = 90000

_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 9}
_SIZES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}

# Kinds of descriptors.
_CONVOLUTION, _ENGINE, _CONFIGURATION, _HEURISTIC, _PLAN, _KNOB = 1, 2, 3, 4, 5, 7
_FORWARD, _BACKWARD_FILTER, _GRAPH, _PACK, _TENSOR, _PROPERTIES = 10, 11, 15, 16, 17, 38
# Kinds of attributes.
_HANDLE, _DATA_TYPE, _INT64, _FLOAT, _DOUBLE, _POINTER = 0, 1, 3, 4, 5, 6
_CONVOLUTION_MODE, _HEURISTIC_MODE, _KNOB_TYPE, _NOTE, _DESCRIPTOR, _CHAR = 7, 8, 9, 11, 15, 24

_CROSS_CORRELATION = 1
_MODES = (3, 2)
"""Heuristics to ask: the one for speed, then whatever works."""
_TENSOR_CORES, _CONVERTED, _REDUCED, _NO_ORDER = 0, 1, 2, 4
_FAR_WINOGRAD = (7, 8)
_MOST = 32
"""Engines that a heuristic is asked for."""
_X, _W, _Y = 1, 2, 3
"""Names of the arrays in an operation."""
_BASE = 16
"""What addresses of arguments are aligned to."""

_size, _pointer = ctypes.c_size_t, ctypes.c_void_p


@final
class _Descriptor:
    """One descriptor of the library, which lives as long as this does."""

    def __init__(self, library: _Functions, kind: int) -> None:
        self.library = library
        self.at = _pointer()
        library.ask("cudnnBackendCreateDescriptor", kind, ctypes.byref(self.at))

    def __del__(self) -> None:
        self.library.library.cudnnBackendDestroyDescriptor(self.at)

    def set(self, attribute: int, kind: int, values: Any, count: int | None = None) -> None:
        """Give it an attribute: an array of ctypes."""
        number = ctypes.c_int64(len(values) if count is None else count)
        place = ctypes.byref(values)
        self.library.ask("cudnnBackendSetAttribute", self.at, attribute, kind, number, place)

    def numbers(self, attribute: int, *values: int) -> None:
        self.set(attribute, _INT64, (ctypes.c_int64 * len(values))(*values))

    def choice(self, attribute: int, kind: int, value: int) -> None:
        self.set(attribute, kind, (ctypes.c_int * 1)(value))

    def pointers(self, attribute: int, kind: int, *values: int | None) -> None:
        self.set(attribute, kind, (_pointer * len(values))(*values))

    def descriptors(self, attribute: int, *values: _Descriptor) -> None:
        self.pointers(attribute, _DESCRIPTOR, *(v.at.value for v in values))

    def finished(self) -> _Descriptor:
        self.library.ask("cudnnBackendFinalize", self.at)
        return self

    def get(self, attribute: int, kind: int, values: Any) -> int:
        """Fill an array with an attribute; how many elements it has."""
        count = ctypes.c_int64()
        self.library.ask(
            "cudnnBackendGetAttribute",
            *(self.at, attribute, kind, ctypes.c_int64(len(values))),
            *(ctypes.byref(count), ctypes.byref(values)),
        )
        return min(count.value, len(values))

    def number(self, attribute: int) -> int:
        found = (ctypes.c_int64 * 1)()
        self.get(attribute, _INT64, found)
        return int(found[0])


class _Unsupported(Exception):
    """The library does not do what it was asked for."""


@final
class _Functions:
    """The library's functions, with their failures as errors."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def ask(self, function: str, *arguments: Any) -> None:
        status = int(getattr(self.library, function)(*arguments))
        if not status:
            return
        if 2000 <= status < 4000:
            raise _Unsupported(f"{function}: {status}")
        raise DeviceError(
            f"cuDNN failed in {function}: status {status}",
            remedy="what it computed since the last look is lost; start the process again",
        )


class _Planned(NamedTuple):
    """A call that is ready to be asked for."""

    plan: _Descriptor
    keep: tuple[_Descriptor, ...]


@final
class Cudnn:
    """The library in one process.

    Parameters
    ----------
    library : ctypes.CDLL
        What has its functions.
    properties : str, optional
        What a GPU is like that is not there, in the library's own words; engines can be chosen for
        it, and nothing can run.

    Raises
    ------
    RuntimeError
        If the library is too old.
    """

    def __init__(self, library: Any, properties: str | None = None) -> None:
        self._functions = _Functions(library)
        self._lock = recursive_lock()
        self._handles: dict[int, Any] = {}
        self._ready: dict[tuple[int, LibraryConvolution, bytes], _Planned] = {}
        get = library.cudnnGetVersion
        get.restype = ctypes.c_size_t
        self.version = int(get())
        if self.version < LEAST_VERSION:
            raise RuntimeError(f"cuDNN {self.version} is older than {LEAST_VERSION}")
        self._properties: _Descriptor | None = None
        if properties is not None:
            text = ctypes.create_string_buffer(properties.encode(), len(properties.encode()))
            self._properties = _Descriptor(self._functions, _PROPERTIES)
            self._properties.set(2702, _CHAR, text)
            self._properties.finished()

    def _handle(self, index: int) -> Any:
        """That of a GPU, whose context is current."""
        handle = self._handles.get(index)
        if handle is None:
            handle = _pointer()
            self._functions.ask("cudnnCreate", ctypes.byref(handle))
            self._handles[index] = handle
        return handle

    def _belongs(self, descriptor: _Descriptor, index: int, handle: int, properties: int) -> None:
        """Say for which GPU a descriptor is."""
        if self._properties is None:
            descriptor.pointers(handle, _HANDLE, self._handle(index).value)
        elif properties:
            descriptor.descriptors(properties, self._properties)

    # --- descriptors ------------------------------------------------------------------------------

    def _made(self, kind: int) -> _Descriptor:
        return _Descriptor(self._functions, kind)

    def _tensor(self, name: int, lattice: Lattice) -> _Descriptor:
        made = self._made(_TENSOR)
        made.numbers(906, name)
        made.choice(901, _DATA_TYPE, _TYPES[lattice.dtype])
        made.numbers(902, *lattice.shape)
        made.numbers(903, *lattice.strides)
        made.numbers(900, math.gcd(_BASE, lattice.offset * _SIZES[lattice.dtype]))
        return made.finished()

    def _operation(self, call: LibraryConvolution) -> tuple[_Descriptor, ...]:
        """An operation, and what it is made of."""
        wide = call.x.dtype == "float64"
        how = self._made(_CONVOLUTION)
        how.choice(100, _DATA_TYPE, _TYPES["float64" if wide else "float32"])
        how.choice(101, _CONVOLUTION_MODE, _CROSS_CORRELATION)
        axes = call.dilations, call.steps, call.high, call.low
        for attribute, values in zip((102, 103, 104, 105), axes, strict=True):
            how.numbers(attribute, *values)
        how.numbers(106, len(call.steps))
        how.finished()
        tensors = [self._tensor(n, t) for n, t in ((_X, call.x), (_W, call.w), (_Y, call.y))]
        x, w, y = tensors
        forward = call.direction is Direction.FORWARD
        operation = self._made(_FORWARD if forward else _BACKWARD_FILTER)
        one, none, described, *places = range(700, 706) if forward else range(712, 718)
        number = ctypes.c_double if wide else ctypes.c_float
        for attribute, value in ((one, 1.0), (none, 0.0)):
            operation.set(attribute, _DOUBLE if wide else _FLOAT, (number * 1)(value))
        operation.descriptors(described, how)
        # In this order for the one: w, x, y; for the other: w, x, y as well, w being the result.
        for attribute, tensor in zip(places, (w, x, y), strict=True):
            operation.descriptors(attribute, tensor)
        return operation.finished(), how, *tensors

    def _graph(self, index: int, call: LibraryConvolution) -> tuple[_Descriptor, ...]:
        """A graph of one operation, and what it is made of."""
        operation, *parts = self._operation(call)
        graph = self._made(_GRAPH)
        self._belongs(graph, index, 800, 0)
        graph.descriptors(801, operation)
        return graph.finished(), operation, *parts

    def _plan(
        self, index: int, configuration: _Descriptor, keep: Sequence[_Descriptor]
    ) -> _Planned:
        plan = self._made(_PLAN)
        self._belongs(plan, index, 400, 407)
        plan.descriptors(401, configuration)
        return _Planned(plan.finished(), (configuration, *keep))

    # --- the choice -------------------------------------------------------------------------------

    def choose(self, index: int, call: LibraryConvolution, tf32: bool) -> Algorithm | None:
        """As of `Library`."""
        with self._lock:
            try:
                graph = self._graph(index, call)
            except _Unsupported:
                return None
            for configuration in self._proposed(index, graph[0]):
                try:
                    found = self._taken(index, call, tf32, configuration, graph)
                except _Unsupported:
                    continue
                if found is not None:
                    return found
        return None

    def _proposed(self, index: int, graph: _Descriptor) -> Iterator[_Descriptor]:
        """Engines with their settings, what is expected to be fastest first."""
        for mode in _MODES:
            heuristic = self._made(_HEURISTIC)
            heuristic.descriptors(201, graph)
            heuristic.choice(200, _HEURISTIC_MODE, mode)
            if self._properties is not None:
                heuristic.descriptors(204, self._properties)
            found = [self._made(_CONFIGURATION) for _ in range(_MOST)]
            places = (_pointer * _MOST)(*(f.at.value for f in found))
            try:
                heuristic.finished()
                count = heuristic.get(202, _DESCRIPTOR, places)
            except _Unsupported:
                continue
            yield from found[:count]

    def _taken(
        self,
        index: int,
        call: LibraryConvolution,
        tf32: bool,
        configuration: _Descriptor,
        graph: Sequence[_Descriptor],
    ) -> Algorithm | None:
        """What is kept of an engine that may be used and can be."""
        engine = self._made(_ENGINE)
        configuration.get(300, _DESCRIPTOR, (_pointer * 1)(engine.at.value))
        notes = (ctypes.c_int * 16)()
        told = set(notes[: engine.get(1303, _NOTE, notes)])
        refused = {_NO_ORDER, _REDUCED, *_FAR_WINOGRAD}
        if call.x.dtype == "float32" and not tf32:
            refused |= {_TENSOR_CORES, _CONVERTED}
        if told & refused:
            return None
        knobs = [self._made(_KNOB) for _ in range(_MOST)]
        places = (_pointer * _MOST)(*(k.at.value for k in knobs))
        settings = []
        for knob in knobs[: configuration.get(302, _DESCRIPTOR, places)]:
            kind = (ctypes.c_int * 1)()
            knob.get(600, _KNOB_TYPE, kind)
            settings.append([int(kind[0]), knob.number(601)])
        planned = self._plan(index, configuration, (*graph, engine, *knobs))
        workspace = planned.plan.number(402)
        if workspace > WORKSPACE:
            return None
        return Algorithm(json.dumps([engine.number(1301), settings]).encode(), workspace)

    def _planned(self, index: int, call: LibraryConvolution, algorithm: Algorithm) -> _Planned:
        """The plan of what was chosen, made again from what was kept of it."""
        key = index, call, algorithm.code
        known = self._ready.get(key)
        if known is not None:
            return known
        number, settings = json.loads(algorithm.code)
        graph = self._graph(index, call)
        engine = self._made(_ENGINE)
        engine.descriptors(1300, graph[0])
        engine.numbers(1301, number)
        if self._properties is not None:
            engine.descriptors(1307, self._properties)
        engine.finished()
        knobs = []
        for kind, value in settings:
            knob = self._made(_KNOB)
            knob.choice(600, _KNOB_TYPE, kind)
            knob.numbers(601, value)
            knobs.append(knob.finished())
        configuration = self._made(_CONFIGURATION)
        configuration.descriptors(300, engine)
        if knobs:
            configuration.descriptors(302, *knobs)
        configuration.finished()
        made = self._plan(index, configuration, (*graph, engine, *knobs))
        self._ready[key] = made
        return made

    # --- the call ---------------------------------------------------------------------------------

    def run(
        self,
        index: int,
        call: LibraryConvolution,
        algorithm: Algorithm,
        tf32: bool,
        address: Callable[[int], int],
        workspace: int,
        stream: int,
    ) -> None:
        """As of `Library`; whether tf32 may be used is in the choice."""
        with self._lock:
            planned = self._planned(index, call, algorithm)
            handle = self._handle(index)
            self._functions.ask("cudnnSetStream", handle, _pointer(stream))
            pack = self._made(_PACK)
            pack.numbers(1000, _X, _W, _Y)
            places = [
                address(t.parameter) + t.offset * _SIZES[t.dtype] for t in (call.x, call.w, call.y)
            ]
            pack.pointers(1001, _POINTER, *places)
            pack.pointers(1003, _POINTER, workspace)
            pack.finished()
            self._functions.ask("cudnnBackendExecute", handle, planned.plan.at, pack.at)
