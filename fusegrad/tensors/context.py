"""What holds in the running thread, and what a tensor holds.

Knows the trace by what it must be able to do, and of tensors only their fields.
"""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ContextDecorator, contextmanager
from typing import Any, final

import numpy.typing as npt

from ..codegen.dtypes import DType
from ..ir.node import Node
from ..ir.types import TensorType
from .storage import Storage

__all__ = [
    "Cell",
    "Level",
    "Recorder",
    "Sharing",
    "Thread",
    "Token",
    "active",
    "eager",
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "mapped",
    "no_grad",
    "outside",
    "set_grad_enabled",
    "transforming",
]


class Cell:
    """The fields of a tensor.

    One of `_storage` and `_node` is the value: the storage if there is one. Neither is there for a
    view whose base was written; it is read from the base.
    """

    __slots__ = (
        "__weakref__",
        "_grad",
        "_hooks",
        "_leaf",
        "_node",
        "_shared",
        "_storage",
        "_trace",
        "_type",
        "_variable",
        "_weak",
        "name",
        "requires_grad",
    )
    _type: TensorType
    _storage: Storage | None
    # What to compute; with a storage, how it was computed, for gradients.
    _node: Node | None
    # The trace in which the value was recorded.
    _trace: Recorder | None
    # The variable that stands for the storage in graphs that somebody holds.
    _variable: weakref.ref[Node] | None
    # What else is to be written with it.
    _shared: Sharing | None
    # Whether it promotes as a Python number.
    _weak: bool
    # Whether gradients end here, if it requires any.
    _leaf: bool
    _grad: Cell | None
    # What is called with the gradient of a variable; not there if nothing is.
    _hooks: list[Callable[[Cell], Cell | None]]
    name: str | None
    requires_grad: bool

    def _blank(self, type_: TensorType) -> None:
        self._type = type_
        self._storage = None
        self._node = None
        self._trace = None
        self._variable = None
        self._shared = None
        self._weak = False
        self._leaf = True
        self._grad = None
        self.name = None
        self.requires_grad = False

    def _settle(self, node: Node, storage: Storage) -> None:
        """Take the value of `node`, unless the tensor has another one by now."""
        if self._node is node and self._storage is None:
            self._storage = storage
            if self._leaf or not self.requires_grad:
                self._node = None


class Sharing(ABC):
    """What a tensor is to others that see the same elements."""

    __slots__ = ()
    # Whether what is written to the tensor goes nowhere else.
    whole: bool = False
    # Whether augmented assignment gives another tensor.
    number: bool = False
    # Whether a variable may be changed in place: outside it is the result of an operation.
    result: bool = False

    @abstractmethod
    def divert(self, tensor: Cell, node: Node) -> bool:
        """Write a new value of the tensor elsewhere; False if the tensor itself is written."""

    @abstractmethod
    def changed(self, tensor: Cell) -> None:
        """Called after the value of the tensor changed."""

    @abstractmethod
    def require(self, tensor: Cell) -> None:
        """Called when the tensor got a value that requires a gradient."""

    def elsewhere(self, tensor: Cell, trace: Recorder | None) -> Node | None:
        """The node of the tensor in another trace, None if that is as for any other tensor."""
        return None

    def refresh(self, tensor: Cell) -> Node:
        """Give a value to a tensor that has lost it."""
        raise AssertionError(tensor)


class Recorder(ABC):
    """What a trace does for the tensors that are used while it is active."""

    finished: bool = False
    # The trace that the body of a loop is part of.
    outer: Recorder | None = None

    @abstractmethod
    def capture(self, tensor: Cell) -> Node:
        """The node that stands for the value of a tensor made outside."""

    def note_array(self, array: npt.NDArray[Any], shareable: bool, large: bool) -> bool:
        """Called when a NumPy array is used; False if its memory is to be read at every call."""
        if self.outer is None:
            return not (shareable and large)
        return self.outer.note_array(array, shareable, large)

    @abstractmethod
    def note_write(self, tensor: Cell) -> None:
        """Called before the value of a tensor made outside changes."""

    @abstractmethod
    def note_grad(self, tensor: Cell) -> None:
        """Called before ``tensor.grad`` of a tensor changes."""

    @abstractmethod
    def note_grad_read(self, tensor: Cell) -> None:
        """Called before somebody looks which tensor ``tensor.grad`` is."""

    def note_made(self, thing: object) -> None:
        """Called when an object is made that has tensors, such as a module."""
        if self.outer is not None:
            self.outer.note_made(thing)

    def has_made(self, thing: object) -> bool:
        """Whether an object is the trace's own: nobody outside depends on what it is."""
        return self.outer is not None and self.outer.has_made(thing)


class Token:
    """What a variable of a graph stands for.

    Attributes
    ----------
    storage : Storage or None
        Its value; None if a trace gives it.
    tensor : weakref to Tensor, or None
        The tensor whose value it is, to which gradients go.
    trace : Recorder or None
        The trace whose variable it is.
    label : str
        Its name in messages.
    device : str
        Where its value will be; "" if it is on none, or may go along with others.
    """

    __slots__ = ("__weakref__", "device", "label", "storage", "tensor", "trace")

    def __init__(
        self,
        storage: Storage | None = None,
        tensor: Cell | None = None,
        trace: Recorder | None = None,
        label: str = "",
        device: str = "",
    ) -> None:
        self.device = device
        self.storage = storage
        self.tensor = None if tensor is None else weakref.ref(tensor)
        self.trace = trace
        self.label = label


_CHANGED = ("_storage", "_node", "_variable", "_trace", "_grad", "requires_grad", "_leaf")
"""The fields of a tensor that assignments change."""


@final
class Level:
    """A function that is recorded for one element of a batch.

    Attributes
    ----------
    size : int
        How many elements the batch has.
    position : Node
        The variable for the number of the element.
    randomness : {"error", "different", "same"}
        What random numbers are for the elements.
    written : list of (weakref to Tensor, tuple)
        The tensors that were given a value or a gradient meanwhile, and what they had before.
    counters : set of Tensor
        Those that count what is used up: afterwards it is the most that an element used.
    """

    __slots__ = ("counters", "position", "randomness", "size", "written")

    def note(self, tensor: Cell) -> None:
        """Called before the value or the gradient of a tensor changes."""
        before = tuple(getattr(tensor, name) for name in _CHANGED)
        self.written.append((weakref.ref(tensor), before))

    def restore(self) -> None:
        """Give every tensor what it had before."""
        for reference, before in reversed(self.written):
            tensor = reference()
            if tensor is not None:
                for name, value in zip(_CHANGED, before, strict=True):
                    setattr(tensor, name, value)

    def __init__(self, size: int, position: Node, randomness: str) -> None:
        self.size = size
        self.position = position
        self.randomness = randomness
        self.written: list[tuple[weakref.ref[Cell], tuple[object, ...]]] = []
        self.counters: set[Cell] = set()


@final
class Thread(threading.local):
    """The modes of one thread.

    Attributes
    ----------
    trace : Recorder or None
        The trace that records now.
    grad : bool
        Whether results require gradients when operands do.
    eager : bool
        Whether values are computed op by op.
    inline : int
        How many modes are open in which compiled functions run as plain Python: transformations of
        functions, and `eager`.
    abstract : int
        How many functions are being recorded over variables without values.
    levels : list of Level
        The batches that are being mapped over, outermost first.
    autocast : DType or None
        What products of float32 values are computed in, if not in float32.
    devices : list of str
        Where new tensors are put if nothing is said: on the last one, the CPU if there is none.
    at_once : list of Token
        The memory of others that the next result reads: it is computed when it is recorded.
    pending : list of weakref to Tensor
        What was recorded outside of traces and not computed yet.
    pending_bytes : int
        How much memory these results would take.
    """

    def __init__(self) -> None:
        self.trace: Recorder | None = None
        self.grad = True
        self.eager = False
        self.inline = 0
        self.abstract = 0
        self.levels: list[Level] = []
        self.autocast: DType | None = None
        self.devices: list[str] = []
        self.at_once: list[Token] = []
        self.pending: list[weakref.ref[Cell]] = []
        self.pending_bytes = 0


active = Thread()


@contextmanager
def no_grad() -> Iterator[None]:
    """Record without gradients: results do not depend on what requires them.

    What is computed inside counts as a constant for ``backward``, `fusegrad.grad` and the rest,
    and parameters may be changed in place. Also a decorator.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.ones(3, requires_grad=True)
    >>> with fg.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """
    before = active.grad
    active.grad = False
    try:
        yield
    finally:
        active.grad = before


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record with gradients again, inside of `no_grad`. Also a decorator.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.ones(3, requires_grad=True)
    >>> with fg.no_grad(), fg.enable_grad():
    ...     y = x * 2
    >>> y.requires_grad
    True
    """
    before = active.grad
    active.grad = True
    try:
        yield
    finally:
        active.grad = before


def is_grad_enabled() -> bool:
    """Whether operations record gradients in this thread.

    Examples
    --------
    >>> with no_grad():
    ...     is_grad_enabled()
    False
    """
    return active.grad


@final
class set_grad_enabled(ContextDecorator):
    """Switch gradients on or off, for good or for a ``with`` block. Also a decorator.

    Parameters
    ----------
    mode : bool

    Examples
    --------
    >>> with set_grad_enabled(False):
    ...     is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        self._mode = mode
        self._before = [active.grad]
        active.grad = mode

    def __call__(self, function: Any) -> Any:
        # As a decorator it is for the calls alone.
        active.grad = self._before.pop()
        return super().__call__(function)

    def __enter__(self) -> None:
        if active.grad is not self._mode or not self._before:
            self._before.append(active.grad)
        active.grad = self._mode

    def __exit__(self, *error: object) -> None:
        active.grad = self._before.pop()


def inference_mode(mode: bool = True) -> AbstractContextManager[None]:
    """As `no_grad`, under torch's other name.

    Parameters
    ----------
    mode : bool, optional
        False: with gradients.

    Examples
    --------
    >>> with inference_mode():
    ...     is_grad_enabled()
    False
    """
    return no_grad() if mode else enable_grad()


@contextmanager
def eager() -> Iterator[None]:
    """Compute every operation at once, in NumPy: nothing stays recorded but for gradients.

    Compiled functions that are called inside run as compiled. Also a decorator.

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.eager():
    ...     y = fg.ones(3) * 2
    >>> y
    Tensor([2., 2., 2.])
    """
    before = active.eager
    active.eager = True
    active.inline += 1
    try:
        yield
    finally:
        active.eager = before
        active.inline -= 1


@contextmanager
def outside() -> Iterator[None]:
    """What is made while it is open has values, whatever is being traced around it."""
    before = active.trace, active.levels, active.abstract, active.inline
    active.trace, active.levels, active.abstract, active.inline = None, [], 0, 0
    try:
        yield
    finally:
        active.trace, active.levels, active.abstract, active.inline = before


# --- transformations ------------------------------------------------------------------------------


@contextmanager
def transforming(abstract: bool = False) -> Iterator[None]:
    """While it is open, a function is recorded to be differentiated.

    Gradients are on: a `no_grad` inside of the function counts, one around it is for the results.

    Parameters
    ----------
    abstract : bool, optional
        Whether its variables have no values.
    """
    before = active.grad
    active.grad = True
    active.inline += 1
    active.abstract += abstract
    try:
        yield
    finally:
        active.grad = before
        active.inline -= 1
        active.abstract -= abstract


@contextmanager
def mapped(level: Level) -> Iterator[None]:
    """While it is open, a function is recorded for one element of a batch."""
    active.levels.append(level)
    active.inline += 1
    active.abstract += 1
    try:
        yield
    finally:
        active.levels.pop()
        active.inline -= 1
        active.abstract -= 1
