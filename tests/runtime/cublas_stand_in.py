"""A stand-in for libcublasLt: what its descriptors say, computed in NumPy.

Matrices are by columns, as there: ``[i, j]`` of a layout is element ``i + j * leading``.
"""

from __future__ import annotations

import ctypes
import itertools
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fusegrad.codegen.dtypes import bfloat16
from fusegrad.codegen.half import from_bfloat16, to_bfloat16

Array = np.ndarray[Any, Any]

TYPES = {0: (np.float32, 4), 1: (np.float64, 8), 2: (np.float16, 2), 14: (bfloat16.numpy, 2)}
BFLOAT16 = 14
ATTRIBUTES = {
    "desc": {3: 4, 4: 4, 7: 4, 8: 8, 11: 8, 12: 8, 13: 8, 26: 4},
    "layout": {5: 4, 6: 8},
    "preference": {1: 8, 3: 4, 5: 4, 6: 4, 7: 4, 8: 4},
}
RELU, BIAS, GELU, SLOPE, BESIDE = 2, 4, 32, 64, 128
EPILOGUES = {1, 2, 4, 6, 32, 36, 160, 164, 192}
NOT_SUPPORTED, INVALID = 15, 7


class _Version:
    restype: Any = None

    def __call__(self) -> int:
        return 130100


class Library:
    """The functions that are used; `at` gives the bytes from an address on, `ask` when to run."""

    def __init__(
        self,
        at: Callable[[int, int], Array] | None = None,
        ask: Callable[[Callable[[], Any]], Any] | None = None,
    ) -> None:
        self.at = at or host_bytes
        self.ask = ask or (lambda work: work())
        self.objects: dict[int, dict[str, Any]] = {}
        self.numbers = itertools.count(0x1000, 16)
        self.problems: list[dict[str, Any]] = []
        self.refuse = False
        self.epilogues = set(EPILOGUES)
        self.fail: dict[str, int] = {}
        self.cublasLtGetVersion = _Version()

    def _new(self, place: Any, kind: str, **fields: Any) -> int:
        number = next(self.numbers)
        self.objects[number] = {"kind": kind, **fields}
        place._obj.value = number
        return self.fail.get(kind, 0)

    def _of(self, given: Any, kind: str) -> dict[str, Any]:
        found = self.objects[given.value]
        assert found["kind"] == kind
        return found

    def _set(self, kind: str, given: Any, attribute: int, place: Any, size: Any) -> int:
        value = place._obj
        if ATTRIBUTES[kind].get(attribute) != size.value or size.value != ctypes.sizeof(value):
            return INVALID
        self._of(given, kind)[attribute] = value.value
        return 0

    def cublasLtCreate(self, place: Any) -> int:
        return self._new(place, "handle")

    def cublasLtMatmulDescCreate(self, place: Any, compute: int, scale: int) -> int:
        return self._new(place, "desc", compute=compute, scale=scale)

    def cublasLtMatrixLayoutCreate(
        self, place: Any, kind: int, rows: Any, columns: Any, leading: Any
    ) -> int:
        rows, columns, leading = rows.value, columns.value, leading.value
        if leading < rows:
            return INVALID
        return self._new(place, "layout", type=kind, rows=rows, columns=columns, leading=leading)

    def cublasLtMatmulPreferenceCreate(self, place: Any) -> int:
        return self._new(place, "preference")

    def cublasLtMatmulPreferenceDestroy(self, given: Any) -> int:
        del self.objects[given.value]
        return 0

    def cublasLtMatmulDescSetAttribute(self, *given: Any) -> int:
        return self._set("desc", *given)

    def cublasLtMatrixLayoutSetAttribute(self, *given: Any) -> int:
        return self._set("layout", *given)

    def cublasLtMatmulPreferenceSetAttribute(self, *given: Any) -> int:
        return self._set("preference", *given)

    def cublasLtMatmulAlgoGetHeuristic(
        self,
        handle: Any,
        desc: Any,
        a: Any,
        b: Any,
        c: Any,
        d: Any,
        preference: Any,
        wanted: int,
        found: Any,
        count: Any,
    ) -> int:
        self._of(handle, "handle")
        wishes = self._of(preference, "preference")
        assert wishes[1] > 0
        assert wishes[3] & 1 == 0, "sums in place are in no fixed order"
        assert wanted == 1
        if self.refuse or not self._fits(desc, a, b, c, d):
            count._obj.value = 0
            return NOT_SUPPORTED
        result = found._obj
        result.algorithm[0] = self._number(desc, a, b, c, d)
        result.workspace, result.state = 1024, 0
        count._obj.value = 1
        return 0

    def _number(self, *given: Any) -> int:
        parts = [self.objects[g.value] for g in given]
        told = [sorted((str(k), v) for k, v in part.items() if k not in (8, 11)) for part in parts]
        return zlib.crc32(repr(told).encode())

    def _fits(self, desc: Any, a: Any, b: Any, c: Any, d: Any) -> bool:
        what = self._of(desc, "desc")
        of = [self._of(x, "layout") for x in (a, b, c, d)]
        kinds = [x["type"] for x in of]
        wide = kinds[0] == 1
        if wide and (what["compute"], what["scale"]) != (70, 1):
            return False
        if not wide and (what["compute"] not in (68, 77) or what["scale"] != 0):
            return False
        if kinds[0] != kinds[1] or kinds[2] != kinds[3] or kinds[3] not in (kinds[0], 0):
            return False
        if what[7] & BIAS and what[26] != kinds[3]:
            return False
        if what[7] not in self.epilogues:
            return False
        beside = what.get(12, 0)
        if what[7] & BESIDE and (beside % 8 or beside < of[3]["rows"] or what[11] % 16):
            return False
        (m, k), (k2, n) = (
            (x["columns"], x["rows"]) if what[turned] else (x["rows"], x["columns"])
            for x, turned in zip(of, (3, 4), strict=False)
        )
        counts = {x.get(5, 1) for x in of}
        return k == k2 and (m, n) == (of[3]["rows"], of[3]["columns"]) and len(counts) == 1

    def cublasLtMatmul(self, handle: Any, desc: Any, alpha: Any, *given: Any) -> int:
        at_a, a, at_b, b, beta, at_c, c, at_d, d, code, space, size, _ = given
        self._of(handle, "handle")
        if not self._fits(desc, a, b, c, d):
            return NOT_SUPPORTED
        assert code._obj[0] == self._number(desc, a, b, c, d), "chosen for another product"
        assert size.value == 1024
        self.at(space.value, size.value)[:] = 0x5A
        what = dict(self._of(desc, "desc"))
        self.problems.append(what | {"layouts": [self._of(x, "layout") for x in (a, b, c, d)]})
        factors = alpha._obj.value, beta._obj.value
        places = [x.value for x in (at_a, at_b, at_c, at_d)]
        layouts = [self._of(x, "layout") for x in (a, b, c, d)]
        self.ask(lambda: self._multiply(what, factors, places, layouts))
        return self.fail.get("matmul", 0)

    def _multiply(
        self,
        what: dict[str, Any],
        factors: tuple[float, float],
        places: list[int],
        layouts: list[dict[str, Any]],
    ) -> None:
        a, b, c = (self._read(p, x) for p, x in zip(places[:3], layouts[:3], strict=True))
        a = a.swapaxes(-1, -2) if what[3] else a
        b = b.swapaxes(-1, -2) if what[4] else b
        found = factors[0] * (a @ b)
        if factors[1]:
            found = found + factors[1] * c
        if what[7] & BIAS:
            rows = found.shape[1]
            layout = {"type": what[26], "rows": rows, "columns": 1, "leading": rows}
            found = found + self._read(what[8], layout)
        if what[7] & RELU:
            found = np.maximum(found, 0)
        beside = layouts[3] | {"leading": what.get(12), 6: what.get(13, 0)}
        if what[7] & BESIDE and what[7] & GELU:
            self._write(what[11], beside, found)
        if what[7] & SLOPE:
            z = self._read(what[11], beside)
            bent = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
            inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)
            found = found * (0.5 * (1 + bent) + 0.5 * z * (1 - bent**2) * inner)
        if what[7] & GELU:
            bent = np.tanh(np.sqrt(2 / np.pi) * (found + 0.044715 * found**3))
            found = 0.5 * found * (1 + bent)
        self._write(places[3], layouts[3], found)

    def _view(self, place: int, layout: dict[str, Any]) -> Array:
        kind, size = TYPES[layout["type"]]
        rows, columns, leading = layout["rows"], layout["columns"], layout["leading"]
        count, apart = layout.get(5, 1), layout.get(6, 0)
        last = (count - 1) * apart + (columns - 1) * leading + rows
        memory = self.at(place, last * size).view(kind)
        steps = (apart * size, size, leading * size)
        return np.lib.stride_tricks.as_strided(memory, (count, rows, columns), steps)

    def _read(self, place: int, layout: dict[str, Any]) -> Array:
        found = self._view(place, layout)
        if layout["type"] == BFLOAT16:
            found = from_bfloat16(np.ascontiguousarray(found))
        return np.asarray(found, np.float64)

    def _write(self, place: int, layout: dict[str, Any], values: Array) -> None:
        if layout["type"] == BFLOAT16:
            values = to_bfloat16(np.ascontiguousarray(values, np.float32))
        self._view(place, layout)[...] = values


def host_bytes(address: int, count: int) -> Array:
    memory: Any = (ctypes.c_uint8 * count).from_address(address)
    return np.frombuffer(memory, np.uint8)
