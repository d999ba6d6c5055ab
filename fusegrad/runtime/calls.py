"""Calls of the host: ops whose NumPy meaning runs in the middle of a native step.

Knows ops by their signature and types; knows no program and no plan. A record on disk names a call
by its symbol, and the graph that was traced says which op that is: no address is ever stored.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np

from ..codegen.records import dataclass
from ..errors import InternalError
from ..ir.halves import wide
from ..ir.node import Array, Node, Op, all_nodes
from ..ir.types import TensorType, TupleType
from ..ops.base import CallOp
from ..ops.native import NativeMap
from .native import NativeLoop

__all__ = ["Callee", "HostCall", "callee_of", "failed", "find_calls", "raising", "resolve"]


@final
@dataclass(frozen=True)
class Callee:
    """An op and the types that it is called with."""

    op: Op
    operands: tuple[TensorType, ...]

    @property
    def symbol(self) -> str:
        """Its name, equal in every process."""
        what = repr((self.op.signature, self.operands))
        return f"{self.op.name}_{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def callee_of(node: Node) -> Callee:
    """The call that computes `node`."""
    return Callee(node.op, tuple(i.tensor_type for i in node.inputs))


def find_calls(outputs: Iterable[Node]) -> dict[str, Callee]:
    """The calls of a graph and of the bodies in it, by symbol; of halves in float32 too."""
    found: dict[str, Callee] = {}
    for node in all_nodes(outputs):
        if isinstance(node.op, CallOp):
            callee = callee_of(node)
            single = tuple(TensorType(t.shape, wide(t.dtype)) for t in callee.operands)
            for each in (callee, Callee(node.op, single)):
                found[each.symbol] = each
    return found


class _Failures(threading.local):
    """What the calls of a running step raised, in the thread that runs it."""

    def __init__(self) -> None:
        self.first: BaseException | None = None


_failures = _Failures()


def failed(error: BaseException) -> None:
    """Note what the running step of this thread is to raise when its program has ended."""
    _failures.first = error


@final
class HostCall:
    """A function of C that computes an op in NumPy, over the addresses of operands and results.

    Attributes
    ----------
    address : int
        ``int64_t call(void **places)``, not 0 for a failure; valid as long as the object lives.
    """

    def __init__(self, callee: Callee) -> None:
        assert isinstance(callee.op, CallOp)
        self._op = callee.op
        self._operands = callee.operands
        kind = callee.op.infer(*callee.operands)
        self._several = isinstance(kind, TupleType)
        self._results = kind.items if isinstance(kind, TupleType) else (kind,)
        signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p))
        self._function = signature(self._call)
        self.address = ctypes.cast(self._function, ctypes.c_void_p).value or 0

    def _call(self, places: Any) -> int:
        try:
            count = len(self._operands)
            operands = [_view(t, places[i]) for i, t in enumerate(self._operands)]
            for operand in operands:
                operand.flags.writeable = False
            results = [_view(t, places[count + i]) for i, t in enumerate(self._results)]
            self._compute(operands, results)
        except BaseException as error:
            # An exception cannot cross native code: the program ends first.
            failed(error)
            return 1
        return 0

    def _compute(self, operands: Sequence[Array], results: Sequence[Array]) -> None:
        with np.errstate(all="ignore"):
            found = self._op.call(*operands)
        values = tuple(found) if self._several else (found,)
        for result, value in zip(results, values, strict=True):
            array = np.asarray(value)
            if array.shape != result.shape or array.dtype != result.dtype:
                raise InternalError(
                    f"{self._op} computed {array.dtype}{list(array.shape)}, "
                    f"not {result.dtype}{list(result.shape)}"
                )
            result[...] = array


def _view(kind: TensorType, address: int | None) -> Array:
    shape: tuple[int, ...] = kind.shape  # type: ignore[assignment]
    size = int(np.prod(shape, dtype=np.int64)) * kind.dtype.itemsize
    if not size:
        return np.empty(shape, kind.dtype.numpy)
    memory: Any = (ctypes.c_char * size).from_address(address or 0)
    array: Array = np.frombuffer(memory, kind.dtype.numpy).reshape(shape)
    return array


def raising(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """`run`, which raises afterwards what its calls raised, or handlers of signals in its loops."""

    def checked(block: Any) -> None:
        outer, _failures.first = _failures.first, None
        try:
            run(block)
            failure = _failures.first
        finally:
            _failures.first = outer
        if failure is not None:
            raise failure

    return checked


def resolve(symbols: Sequence[str], known: Mapping[str, Callee]) -> list[HostCall | NativeLoop]:
    """The functions of the host that a program names."""
    return [_resolved(known[symbol]) for symbol in symbols]


def _resolved(callee: Callee) -> HostCall | NativeLoop:
    if not isinstance(callee.op, NativeMap):
        return HostCall(callee)
    size = callee.operands[0].size
    assert size is not None
    return NativeLoop(callee.op, size)
