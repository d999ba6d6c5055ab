"""Products of matrices by cuBLASLt: descriptors, the choice of an algorithm, and the call.

The one file that knows the library's functions, which are called through ctypes. It thinks in
columns: a matrix whose rows lie side by side is to it the transposed one, so that where the result
lies by rows the operands change places.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

from ..codegen.schedule.gpu_library_calls import Activation, LibraryProduct, Matrix
from ..errors import DeviceError
from .libraries import Algorithm
from .locks import recursive_lock

__all__ = ["CublasLt"]

WORKSPACE = 32 << 20
"""Bytes that an algorithm may use between its parts."""

_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_TF32 = 68, 70, 77
_TRANS_A, _TRANS_B, _EPILOGUE, _BIAS_POINTER, _BIAS_TYPE = 3, 4, 7, 8, 26
_BATCH_COUNT, _BATCH_STRIDE = 5, 6
_WORKSPACE, _REDUCTIONS, _ALIGNMENT_A = 1, 3, 5
_BESIDE_POINTER, _BESIDE_LEADING, _BESIDE_STRIDE = 11, 12, 13
_WITH_BIAS, _WITH_BESIDE = 4, 128
_EPILOGUES = {
    Activation.NONE: 0,
    Activation.RELU: 2,
    Activation.GELU: 32,
    Activation.GELU_SLOPE: 64,
}
_PLAIN = 1
_DETERMINISTIC = 2 | 4
"""Sums of split products in the compute or output type, added in a fixed order; not in place."""
_NOWHERE = 1 << 8
"""In place of an address that is not known yet."""
_BASE = 16
"""What addresses of arguments are aligned to."""

_size, _pointer = ctypes.c_size_t, ctypes.c_void_p


@final
class _Heuristic(ctypes.Structure):
    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


class _Stored(NamedTuple):
    """A matrix by columns: what the library calls one."""

    rows: int
    columns: int
    leading: int
    transposed: bool


def _stored(rows: int, columns: int, row: int, column: int) -> _Stored:
    """A matrix with these strides, one of which is 1, as one by columns."""
    if row == 1 and column >= rows:
        return _Stored(rows, columns, column, False)
    return _Stored(columns, rows, row, True)


class _Planned(NamedTuple):
    """The descriptors of a product, first operand first as the library has them."""

    operation: Any
    first: Any
    second: Any
    addend: Any
    result: Any


@final
class CublasLt:
    """The library in one process.

    Parameters
    ----------
    library : ctypes.CDLL
        What has its functions.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._lock = recursive_lock()
        self._handles: dict[int, Any] = {}
        self._planned: dict[tuple[LibraryProduct, bool], _Planned] = {}
        get = library.cublasLtGetVersion
        get.restype = ctypes.c_size_t
        self.version = int(get())

    def _ask(self, function: str, *arguments: Any) -> None:
        status = int(getattr(self._library, function)(*arguments))
        if status:
            raise DeviceError(
                f"cuBLASLt failed in {function}: {_STATUS.get(status, status)}",
                remedy="what it computed since the last look is lost; start the process again",
            )

    def _handle(self, index: int) -> Any:
        """That of a GPU, whose context is current."""
        handle = self._handles.get(index)
        if handle is None:
            handle = _pointer()
            self._ask("cublasLtCreate", ctypes.byref(handle))
            self._handles[index] = handle
        return handle

    # --- descriptors ------------------------------------------------------------------------------

    def _set(self, kind: str, target: Any, attribute: int, value: Any) -> None:
        size = _size(ctypes.sizeof(value))
        self._ask(f"cublasLt{kind}SetAttribute", target, attribute, ctypes.byref(value), size)

    def _layout(self, stored: _Stored, matrix: Matrix, batch: int) -> Any:
        layout = _pointer()
        self._ask(
            "cublasLtMatrixLayoutCreate",
            *(ctypes.byref(layout), _TYPES[matrix.dtype]),
            *(ctypes.c_uint64(stored.rows), ctypes.c_uint64(stored.columns)),
            ctypes.c_int64(stored.leading),
        )
        if batch > 1:
            self._set("MatrixLayout", layout, _BATCH_COUNT, ctypes.c_int32(batch))
            self._set("MatrixLayout", layout, _BATCH_STRIDE, ctypes.c_int64(matrix.batch))
        return layout

    def _plan(self, product: LibraryProduct, tf32: bool) -> _Planned:
        known = self._planned.get((product, tf32))
        if known is not None:
            return known
        p = product
        wide = p.left.dtype == "float64"
        compute = _COMPUTE_64F if wide else _COMPUTE_32F
        if tf32 and p.left.dtype == "float32":
            compute = _COMPUTE_TF32
        operation = _pointer()
        scale = _TYPES["float64" if wide else "float32"]
        self._ask("cublasLtMatmulDescCreate", ctypes.byref(operation), compute, scale)
        if _by_rows(p):
            # The transposed product: its rows are our columns.
            first, second = (
                _stored(p.columns, p.depth, p.right.column, p.right.row),
                _stored(p.depth, p.rows, p.left.column, p.left.row),
            )
            matrices = p.right, p.left
            result = _Stored(p.columns, p.rows, p.result.row, False)
            of_addend = p.addend.row if p.addend is not None else 0
        else:
            first = _stored(p.rows, p.depth, p.left.row, p.left.column)
            second = _stored(p.depth, p.columns, p.right.row, p.right.column)
            matrices = p.left, p.right
            result = _Stored(p.rows, p.columns, p.result.column, False)
            of_addend = p.addend.column if p.addend is not None else 0
        for attribute, stored in ((_TRANS_A, first), (_TRANS_B, second)):
            turned = ctypes.c_int32(int(stored.transposed))
            self._set("MatmulDesc", operation, attribute, turned)
        epilogue = _EPILOGUES[p.activation]
        epilogue |= _WITH_BIAS if p.bias is not None else 0
        epilogue |= _WITH_BESIDE if p.beside is not None else 0
        self._set("MatmulDesc", operation, _EPILOGUE, ctypes.c_uint32(epilogue or _PLAIN))
        if p.beside is not None:
            leading = ctypes.c_int64(p.beside.row if _by_rows(p) else p.beside.column)
            self._set("MatmulDesc", operation, _BESIDE_LEADING, leading)
            # Of the place a choice needs to know how it is aligned.
            place = _pointer(_NOWHERE + p.beside.offset * _SIZES[p.beside.dtype])
            self._set("MatmulDesc", operation, _BESIDE_POINTER, place)
            if p.batch > 1:
                apart = ctypes.c_int64(p.beside.batch)
                self._set("MatmulDesc", operation, _BESIDE_STRIDE, apart)
        if p.bias is not None:
            kind = ctypes.c_int32(_TYPES[p.bias.dtype])
            self._set("MatmulDesc", operation, _BIAS_TYPE, kind)
        target = self._layout(result, p.result, p.batch)
        addend = target
        if p.addend is not None:
            addend = self._layout(result._replace(leading=of_addend), p.addend, p.batch)
        made = _Planned(
            operation,
            self._layout(first, matrices[0], p.batch),
            self._layout(second, matrices[1], p.batch),
            addend,
            target,
        )
        self._planned[product, tf32] = made
        return made

    # --- what a step asks for ---------------------------------------------------------------------

    def choose(self, index: int, product: LibraryProduct, tf32: bool) -> Algorithm | None:
        """As of `Library`."""
        planned = self._plan(product, tf32)
        preference = _pointer()
        self._ask("cublasLtMatmulPreferenceCreate", ctypes.byref(preference))
        try:
            wanted = [
                (_WORKSPACE, ctypes.c_uint64(WORKSPACE)),
                (_REDUCTIONS, ctypes.c_uint32(_DETERMINISTIC)),
                *(
                    (_ALIGNMENT_A + n, ctypes.c_uint32(alignment))
                    for n, alignment in enumerate(_alignments(product))
                ),
            ]
            for attribute, value in wanted:
                self._set("MatmulPreference", preference, attribute, value)
            found, count = _Heuristic(), ctypes.c_int()
            status = self._library.cublasLtMatmulAlgoGetHeuristic(
                *(self._handle(index), planned.operation, planned.first, planned.second),
                *(planned.addend, planned.result, preference, 1),
                *(ctypes.byref(found), ctypes.byref(count)),
            )
        finally:
            self._ask("cublasLtMatmulPreferenceDestroy", preference)
        if status or not count.value or found.state:
            return None
        return Algorithm(bytes(found.algorithm), int(found.workspace))

    def run(
        self,
        index: int,
        product: LibraryProduct,
        algorithm: Algorithm,
        tf32: bool,
        address: Callable[[int], int],
        workspace: int,
        stream: int,
    ) -> None:
        """As of `Library`."""
        with self._lock:
            # The places of the bias, and of what is beside the result, are in the descriptor.
            self._multiply(index, product, algorithm, tf32, address, workspace, stream)

    def _multiply(
        self,
        index: int,
        product: LibraryProduct,
        algorithm: Algorithm,
        tf32: bool,
        address: Callable[[int], int],
        workspace: int,
        stream: int,
    ) -> None:
        p, planned = product, self._plan(product, tf32)
        if p.bias is not None:
            size = _SIZES[p.bias.dtype]
            place = _pointer(address(p.bias.parameter) + p.bias.offset * size)
            self._set("MatmulDesc", planned.operation, _BIAS_POINTER, place)
        if p.beside is not None:
            place = _pointer(_at(address, p.beside, 0))
            self._set("MatmulDesc", planned.operation, _BESIDE_POINTER, place)
        number = ctypes.c_double if p.left.dtype == "float64" else ctypes.c_float
        alpha, beta = number(p.alpha), number(0.0 if p.addend is None else 1.0)
        code = (ctypes.c_uint64 * 8).from_buffer_copy(algorithm.code)
        for left, right, result, addend in p.offsets:
            at_left, at_right = _at(address, p.left, left), _at(address, p.right, right)
            at_result = _at(address, p.result, result)
            at_addend = at_result if p.addend is None else _at(address, p.addend, addend)
            first, second = (at_right, at_left) if _by_rows(p) else (at_left, at_right)
            self._ask(
                "cublasLtMatmul",
                *(self._handle(index), planned.operation, ctypes.byref(alpha)),
                *(_pointer(first), planned.first, _pointer(second), planned.second),
                *(ctypes.byref(beta), _pointer(at_addend), planned.addend),
                *(_pointer(at_result), planned.result, ctypes.byref(code)),
                *(_pointer(workspace), _size(algorithm.workspace), _pointer(stream)),
            )


_SIZES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
_STATUS = {
    1: "it is not initialized",
    3: "it has no memory",
    7: "a value is not valid",
    8: "this GPU cannot do it",
    13: "it could not run",
    14: "an internal error",
    15: "it is not supported",
}


def _by_rows(product: LibraryProduct) -> bool:
    return product.result.column == 1


def _at(address: Callable[[int], int], matrix: Matrix, further: int) -> int:
    return address(matrix.parameter) + (matrix.offset + further) * _SIZES[matrix.dtype]


def _alignments(product: LibraryProduct) -> list[int]:
    """What the addresses of both operands, the addend and the result are multiples of."""
    p = product

    def of(matrix: Matrix, offsets: Sequence[int]) -> int:
        size = _SIZES[matrix.dtype]
        steps = [(matrix.offset + o) * size for o in offsets]
        return math.gcd(_BASE, matrix.batch * size if p.batch > 1 else 0, *steps)

    left, right, result, addend = (
        of(m or p.result, [o[n] for o in p.offsets])
        for n, m in enumerate((p.left, p.right, p.result, p.addend))
    )
    if p.addend is None:
        addend = result
    return [right, left, addend, result] if _by_rows(p) else [left, right, addend, result]
