"""Small operations outside of traces, computed at once: recording them would cost more.

Knows nodes as programs over arrays; what operations mean is what their nodes mean.

An operation on small operands whose values are there, and from which no gradient is asked, needs no
graph of its own. Its nodes are made once, over variables of the operands' types, and kept as a list
of steps for all later calls with such operands.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from types import EllipsisType, FunctionType, NoneType
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..codegen import scalar
from ..codegen.dtypes import DType, as_dtype
from ..errors import FusegradError
from ..ir.halves import in_float32, meaning, number_of
from ..ir.node import Node, Pattern, set_recording, toposort
from ..ir.types import TensorType, TupleType
from ..ops import build
from ..ops.elementwise import Function
from ..ops.elementwise.table import Map
from ..ops.movement import Broadcast
from ..ops.source import Input
from ..semantics import indexing
from .context import Cell, Token, active
from .storage import Storage

__all__ = ["constant_of", "immediate", "immediate_elementwise", "source_value", "typed"]

Array = npt.NDArray[Any]
Result = tuple[Storage, bool]
"""A value, and whether it promotes as a Python number."""

_SMALL = 1 << 16
"""Bytes of an operand or result from which on the graph costs little beside the work."""
_MOST = 4096

_PLACES = frozenset({int, slice, NoneType, EllipsisType})
"""What a plain index consists of."""
_PLAIN = (int, bool, str, NoneType, EllipsisType, DType, type)


class _ValueNeeded(Exception):
    """A value was looked at where only types are known."""


@final
class _Program:
    """An operation as steps over a list of values.

    Attributes
    ----------
    type : TensorType
        That of the result.
    constants : list of array
        What comes after the operands in the list.
    steps : list of (callable, tuple of int)
        The function of a step and where its operands stand; its result is appended.
    place : int
        Where the result stands in it.
    last : (callable, tuple of int) or None
        The last step, if it is a function of NumPy that can write into the result.
    silent : bool
        Whether floating-point warnings may come up.
    weak : bool
        Whether the result promotes as a Python number.
    """

    __slots__ = ("constants", "last", "place", "silent", "steps", "type", "weak")

    def __init__(self, node: Node, variables: Sequence[Node], weak: bool) -> None:
        self.weak = weak
        self.type = node.tensor_type
        places = {variable: place for place, variable in enumerate(variables)}
        order = [n for n in _needed(node) if n not in places]
        fixed = [n for n in order if not n.inputs]
        self.constants = [np.asarray(meaning(n, [])) for n in fixed]
        places |= {n: len(places) + i for i, n in enumerate(fixed)}
        self.steps: list[tuple[Callable[..., Any], tuple[int, ...]]] = []
        for n in order:
            if n.inputs:
                self.steps.append((_function(n), tuple([places[i] for i in _operands(n)])))
                places[n] = len(places)
        self.place = places[node]
        # The last step may write into the result, if it computes values of its type.
        self.last = self.steps.pop() if node.inputs and _is_ufunc(node) else None
        moving = (Pattern.MOVE, Pattern.SOURCE)
        self.silent = any(n.inputs and n.op.pattern not in moving for n in order)

    def result(self, arrays: list[Array]) -> Result | None:
        """The result for operands that the list holds; None if it fails."""
        try:
            return self._run(arrays), self.weak
        except FusegradError:
            # Recorded, it says so when somebody looks, and where it was written.
            return None

    def _run(self, arrays: list[Array]) -> Storage:
        arrays += self.constants
        storage = Storage(self.type)
        if self.silent:
            with np.errstate(all="ignore"):
                self._steps(arrays, storage)
        else:
            self._steps(arrays, storage)
        return storage

    def _steps(self, arrays: list[Array], storage: Storage) -> None:
        for function, places in self.steps:
            arrays.append(function(*[arrays[place] for place in places]))
        if self.last is None:
            np.copyto(storage.array, arrays[self.place])
        else:
            function, places = self.last
            function(*[arrays[place] for place in places], out=storage.array)


def _is_ufunc(node: Node) -> bool:
    """Whether an elementwise node is a function of NumPy, which broadcasts by itself."""
    return isinstance(node.op, Map) and isinstance(_function(node), np.ufunc)


def _operands(node: Node) -> tuple[Node, ...]:
    """What a step reads: numbers as they are, where a function broadcasts them by itself."""
    inputs = node.inputs
    if not _is_ufunc(node):
        return inputs
    plain = [n.inputs[0] if _repeats_a_number(n) else n for n in inputs]
    whole = any(n.shape == node.shape for n in plain)
    return tuple(plain) if whole else inputs


def _repeats_a_number(node: Node) -> bool:
    return isinstance(node.op, Broadcast) and node.inputs[0].shape == ()


def _needed(node: Node) -> list[Node]:
    """The nodes of all steps, operands first."""
    kept: set[Node] = set()
    waiting = [node]
    while waiting:
        n = waiting.pop()
        if n not in kept:
            kept.add(n)
            waiting += _operands(n)
    return [n for n in toposort([node]) if n in kept]


def _function(node: Node) -> Callable[..., Any]:
    if in_float32(node.op, [operand.type for operand in node.inputs]):
        return lambda *arrays: meaning(node, arrays)
    if isinstance(node.op, Map):
        row = scalar.TABLE[node.op.scalar].meaning
        silenced: Callable[..., Any] = getattr(row, "__wrapped__", row)
        return silenced
    return node.op.ref


class _Unknown(Token):
    """A variable of which only the type is known."""

    __slots__ = ()

    @property
    def storage(self) -> Any:
        raise _ValueNeeded

    @storage.setter
    def storage(self, value: Any) -> None:
        pass


_programs: dict[Hashable, _Program | None] = {}


def immediate(
    function: Callable[..., Node], tensors: Sequence[Cell], args: Any, params: Any
) -> Result | None:
    """The tensor whose node would be ``function(*nodes of tensors, *args, **params)``.

    None if that is to be recorded.
    """
    thread = active
    if thread.trace is not None or thread.abstract or thread.levels or not _is_plain(function):
        return None
    if function is indexing.get_marked and len(tensors) == 1:
        part = _part(tensors[0], args[0])
        if part is not None:
            return part
    if thread.autocast is not None:
        return None
    grad = thread.grad
    arrays: list[Array] = []
    try:
        full: list[Hashable] = [function, typed(args), typed(params)]
    except TypeError:
        return None
    for tensor in tensors:
        storage, kind = tensor._storage, tensor._type
        if storage is None or (grad and tensor.requires_grad) or kind.nbytes > _SMALL:
            return None
        arrays.append(storage.array)
        full += kind, tensor._weak
    whole = tuple(full)
    try:
        program = _programs[whole]
    except KeyError:
        program = _made(whole, tensors, lambda nodes: function(*nodes, *args, **params))
    return None if program is None else program.result(arrays)


def _part(tensor: Cell, key: tuple[Any, ...]) -> Result | None:
    """The elements that a plain index names, if they are few.

    It needs no nodes: what such an index means is what NumPy says. And it reads no more than it
    gives, so the array may be of any size.
    """
    storage = tensor._storage
    if storage is None or storage.remote or (active.grad and tensor.requires_grad):
        return None
    if not all(type(item) in _PLACES for item in key):
        return None
    try:
        part = storage.array[key]
    except IndexError:
        return None
    if part.nbytes > _SMALL:
        return None
    made = Storage(TensorType(part.shape, tensor._type.dtype))
    np.copyto(made.array, part)
    return made, tensor._weak


def immediate_elementwise(
    function: Function,
    operands: Sequence[Any],
    record: Callable[[Sequence[Node], Function, Sequence[Any]], Node],
) -> Result | None:
    """As `immediate`, for an elementwise function of tensors and Python numbers."""
    thread = active
    if thread.trace is not None or thread.abstract or thread.levels or thread.autocast is not None:
        return None
    grad = thread.grad
    arrays: list[Array] = []
    full: list[Any] = [function]
    for x in operands:
        if isinstance(x, Cell):
            storage, kind = x._storage, x._type
            if storage is None or (grad and x.requires_grad) or kind.nbytes > _SMALL:
                return None
            arrays.append(storage.array)
            full += kind, x._weak
        else:
            number = type(x)
            if number is not float and number is not int and number is not bool:
                return None
            # 0.0 and -0.0 are equal, and so are 1 and 1.0.
            full.append(number)
            full.append(x or repr(x))
    whole = tuple(full)
    try:
        program = _programs[whole]
    except KeyError:
        tensors = [x for x in operands if isinstance(x, Cell)]
        program = _made(whole, tensors, lambda nodes: record(nodes, function, operands))
    return None if program is None else program.result(arrays)


def source_value(node: Node) -> Storage | None:
    """The value of a small node over constants alone, None for all others."""
    inputs = node.inputs
    if (
        active.abstract
        or active.levels
        or node.tensor_type.nbytes > _SMALL
        or isinstance(node.op, Input)
    ):
        return None
    for operand in inputs:
        if operand.inputs or isinstance(operand.op, Input):
            return None
    return Storage.copy_of(np.asarray(meaning(node, [meaning(i, []) for i in inputs])))


def constant_of(array: Array) -> Node:
    """A small array as a constant of a graph."""
    if array.size == 1:
        dtype = as_dtype(array.dtype)
        return build.full(array.shape, number_of(array, dtype), dtype)
    data = np.array(array)
    data.flags.writeable = False
    return build.array_constant(data)


def _made(
    key: Hashable, tensors: Sequence[Cell], record: Callable[[list[Node]], Node]
) -> _Program | None:
    program = None
    before = set_recording(False)
    try:
        variables = [build.input_(tensor._type, _Unknown()) for tensor in tensors]
        node = record(variables)
        if isinstance(node.type, TensorType):
            small = all(_size(n) <= _SMALL for n in toposort([node]))
            weak = bool(tensors) and all(tensor._weak for tensor in tensors)
            program = _Program(node, variables, weak) if small else None
    except _ValueNeeded:
        pass
    except FusegradError:
        # The message is that of the operation itself, with its line.
        return None
    finally:
        set_recording(before)
    if len(_programs) >= _MOST:
        _programs.clear()
    _programs[key] = program
    return program


def _size(node: Node) -> int:
    items = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    return sum(item.nbytes for item in items)


# --- keys -----------------------------------------------------------------------------------------


def typed(value: Any) -> Hashable:
    """A parameter as a key that equals no other one; TypeError if it cannot be one.

    Examples
    --------
    >>> typed(1) == typed(True), typed((1, slice(2))) == typed((1, slice(2)))
    (False, True)
    """
    kind = type(value)
    if kind is int or kind in _PLAIN:
        return kind, value
    if kind is tuple or kind is list:
        return (kind, *map(typed, value))
    if kind is slice:
        return kind, typed(value.start), typed(value.stop), typed(value.step)
    if kind is float:
        return kind, repr(value)
    if kind is dict:
        return (kind, *((name, typed(item)) for name, item in value.items()))
    raise TypeError


def _is_plain(function: Any) -> bool:
    """Whether a function is the same each time that it is used."""
    return (
        type(function) is FunctionType
        and function.__closure__ is None
        and function.__name__ != "<lambda>"
    )
