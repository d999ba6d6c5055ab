"""A trace: which tensors a function reads and writes while it is recorded as one graph.

Knows tensors and nodes; what becomes of the graph is the business of `compile`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast, final

import numpy as np
import numpy.typing as npt

from ..codegen.dtypes import DType
from ..codegen.records import dataclass
from ..ir.node import Node
from ..ir.types import Extent, TensorType
from ..ops import build
from ..semantics.promotion import as_dtype, kind_of
from .context import Cell, Recorder, Token, active
from .placement import device_of_cell
from .storage import Storage
from .tensor_class import Tensor, made

__all__ = ["ArrayReference", "Original", "Trace", "runtime_scalar"]

Number = bool | int | float
Getter = Callable[[], Number]
ArrayReference = Callable[[], npt.NDArray[Any] | None]
"""Gives an array while somebody else has it."""


@final
@dataclass(frozen=True)
class Original:
    """What a tensor was before a trace wrote it.

    Attributes
    ----------
    storage : Storage
        Its value.
    node : Node or None
        Its history, if it required a gradient and was no variable.
    requires_grad, leaf : bool
        Its flags.
    """

    storage: Storage
    node: Node | None
    requires_grad: bool
    leaf: bool


def _reference(array: npt.NDArray[Any]) -> ArrayReference:
    """A reference that keeps neither the array nor what it is a part of."""
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    if base is array or not base.flags.c_contiguous or base.dtype.hasobject:
        return weakref.ref(array)
    whole = weakref.ref(base)
    shape, strides, dtype = array.shape, array.strides, array.dtype
    offset = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]

    def part() -> npt.NDArray[Any] | None:
        memory = whole()
        return None if memory is None else np.ndarray(shape, dtype, memory, offset, strides)

    return part


@final
class Trace(Recorder):
    """Records what a function does to tensors while it is active in this thread.

    Values of tensors made outside become variables when they are first read. Writes to such tensors
    are noted, and last until `restore` puts the values from before back.

    Parameters
    ----------
    changing : mapping of int to reference, optional
        NumPy arrays, by id, whose memory is read at every call because their contents changed.

    Attributes
    ----------
    captures : list of (Tensor, Node)
        The tensors made outside that were read, and their variables, in the order of first use.
    scalars : list of (callable, Node, str)
        Numbers that are read anew at every call: getter, variable and label.
    written : dict of Tensor to Original
        The tensors made outside whose value was replaced. The new one is ``tensor._node``.
    grads : dict of Tensor to (Tensor or None)
        The tensors whose ``.grad`` was assigned, with what it was before.
    grad_reads : dict of Tensor to (Tensor or None)
        The tensors whose ``.grad`` was looked at before the trace assigned it, with what it was.
    arrays : list of (callable, bytes)
        References to the NumPy arrays that became constants, and their contents.
    met : set of int
        The numbers (`id`) of all NumPy arrays that were used.
    finished : bool
        Whether it is over.

    Examples
    --------
    >>> total = Tensor([1.0, 2.0])
    >>> with Trace() as trace:
    ...     x, node = trace.input((2,), "float32", "x")
    ...     total += x
    >>> [tensor is total for tensor in trace.written], total
    ([True], Tensor(<traced>, shape=(2,), dtype=float32))
    >>> trace.restore()
    >>> total
    Tensor([1., 2.])
    """

    def __init__(self, changing: Mapping[int, ArrayReference] | None = None) -> None:
        self.arrays: list[tuple[ArrayReference, bytes]] = []
        self.met: set[int] = set()
        self._changing = changing or {}
        self.captures: list[tuple[Tensor, Node]] = []
        self.scalars: list[tuple[Getter, Node, str]] = []
        self.written: dict[Tensor, Original] = {}
        self.grads: dict[Tensor, Tensor | None] = {}
        self.grad_reads: dict[Tensor, Tensor | None] = {}
        self.finished = False
        self._made: dict[int, object] = {}
        self._variables: dict[Cell, Node] = {}
        self._outer: Recorder | None = None

    def __enter__(self) -> Trace:
        self._outer = active.trace
        active.trace = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        active.trace = self._outer
        self.finished = True

    # --- variables --------------------------------------------------------------------------------

    def input(
        self,
        shape: Sequence[Extent],
        dtype: Any,
        label: str,
        weak: bool = False,
        device: str = "",
    ) -> tuple[Tensor, Node]:
        """A variable for an argument.

        Parameters
        ----------
        shape : sequence of Extent
        dtype : dtype
        label : str
            Its name, for messages.
        weak : bool, optional
            Whether it promotes as a Python number: it adopts the dtype of what it meets.
        device : str, optional
            Where the argument is; "" if it goes along with others.

        Returns
        -------
        tensor : Tensor
        node : Node
            The variable.
        """
        type_ = TensorType(shape, as_dtype(dtype))
        node = self._variable(type_, f"the argument {label!r}", device=device)
        tensor = made(node, weak=weak)
        tensor._trace = self
        tensor.name = label
        return tensor, node

    def scalar(self, getter: Getter, dtype: Any, label: str) -> Node:
        """A variable for a number that `getter` gives at every call."""
        node = self._variable(TensorType((), as_dtype(dtype)), label)
        self.scalars.append((getter, node, label))
        return node

    def _variable(
        self, type_: TensorType, label: str, tensor: Cell | None = None, device: str = ""
    ) -> Node:
        token = Token(tensor=tensor, trace=self, label=label, device=device)
        return build.input_(type_, token)

    # --- what tensors report ----------------------------------------------------------------------

    def capture(self, tensor: Cell) -> Node:
        node = self._variables.get(tensor)
        if node is None:
            mine = cast("Tensor", tensor)
            mine._materialize()
            label = f"the tensor {mine.name!r}" if mine.name else "a tensor made outside"
            node = self._variable(mine._type, label, mine, device_of_cell(mine))
            self._variables[mine] = node
            self.captures.append((mine, node))
        return node

    def note_array(self, array: npt.NDArray[Any], shareable: bool, large: bool) -> bool:
        self.met.add(id(array))
        if shareable and large:
            # What is read of the array is read of what it is a part of, too.
            base = array.base
            while isinstance(base, np.ndarray):
                self.met.add(id(base))
                base = base.base
            return False
        known = self._changing.get(id(array))
        if shareable and known is not None and known() is array:
            return False
        self.arrays.append((_reference(array), array.tobytes()))
        return True

    def note_write(self, tensor: Cell) -> None:
        mine = cast("Tensor", tensor)
        self.written.setdefault(
            mine, Original(mine._materialize(), mine._node, mine.requires_grad, mine._leaf)
        )

    def note_grad(self, tensor: Cell) -> None:
        mine = cast("Tensor", tensor)
        if tensor._trace is not self or mine in self.written:
            self.grads.setdefault(mine, cast("Tensor | None", mine._grad))

    def note_grad_read(self, tensor: Cell) -> None:
        mine = cast("Tensor", tensor)
        outside = tensor._trace is not self or mine in self.written
        if outside and mine not in self.grads:
            self.grad_reads.setdefault(mine, cast("Tensor | None", mine._grad))

    def note_made(self, thing: object) -> None:
        self._made[id(thing)] = thing

    def has_made(self, thing: object) -> bool:
        return id(thing) in self._made

    # --- afterwards -------------------------------------------------------------------------------

    def restore(self) -> None:
        """Give every tensor that was written, or whose ``.grad`` was, what it had before."""
        for tensor, original in self.written.items():
            tensor._install(original.storage)
            tensor._node = original.node
            tensor.requires_grad, tensor._leaf = original.requires_grad, original.leaf
        for tensor, grad in self.grads.items():
            tensor._grad = grad
        # Whoever holds the trace must hold no values: a step may write into what only it holds.
        self.written.clear()
        self.grads.clear()
        self.grad_reads.clear()
        self._made.clear()


def runtime_scalar(getter: Getter, label: str, dtype: DType | None = None) -> Tensor | Number:
    """A number that may change between the calls of a compiled function without tracing it again.

    Parameters
    ----------
    getter : callable
        Gives the number, a Python float, int or bool.
    label : str
        Its name, for messages and ``explain``.
    dtype : DType, optional
        By default that of Python numbers, float64 or int64. It promotes as a Python number: it
        adopts the dtype of the tensor that it meets.

    Returns
    -------
    Tensor or number
        The number itself outside of compiled functions.

    Examples
    --------
    >>> settings = {"rate": 0.5}
    >>> runtime_scalar(lambda: settings["rate"], "rate")
    0.5
    """
    trace = active.trace
    while trace is not None and trace.outer is not None:
        trace = trace.outer
    if not isinstance(trace, Trace):
        return getter()
    kind = {"bool": "bool", "int": "int64", "float": "float64"}[kind_of(getter())]
    return made(trace.scalar(getter, dtype or kind, label), weak=True)
