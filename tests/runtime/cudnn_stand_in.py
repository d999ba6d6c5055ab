"""A stand-in for libcudnn: what the descriptors of its graphs say, computed in NumPy.

Numbers are those of its headers: kinds of descriptors, attributes and the kinds of their values.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from fusegrad.codegen.dtypes import bfloat16
from fusegrad.codegen.half import from_bfloat16, to_bfloat16
from tests.runtime.cublas_stand_in import host_bytes

Array = np.ndarray[Any, Any]

TYPES = {0: (np.float32, 4), 1: (np.float64, 8), 2: (np.float16, 2), 9: (bfloat16.numpy, 2)}
BFLOAT16 = 9
CTYPES = {
    **{1: ctypes.c_int, 3: ctypes.c_int64, 4: ctypes.c_float, 5: ctypes.c_double},
    **{0: ctypes.c_void_p, 6: ctypes.c_void_p, 7: ctypes.c_int, 8: ctypes.c_int},
    **{9: ctypes.c_int, 11: ctypes.c_int, 15: ctypes.c_void_p},
}
KINDS = {
    1: {100: 1, 101: 7, 102: 3, 103: 3, 104: 3, 105: 3, 106: 3},
    2: {1300: 15, 1301: 3},
    3: {300: 15, 302: 15},
    4: {200: 8, 201: 15},
    5: {400: 0, 401: 15},
    7: {600: 9, 601: 3},
    10: {700: None, 701: None, 702: 15, 703: 15, 704: 15, 705: 15},
    11: {712: None, 713: None, 714: 15, 715: 15, 716: 15, 717: 15},
    15: {800: 0, 801: 15},
    16: {1000: 3, 1001: 6, 1003: 6},
    17: {900: 3, 901: 1, 902: 3, 903: 3, 906: 3},
}
"""Of every kind of descriptor the attributes that are used, and the kind of their values."""
NOT_SUPPORTED, BAD = 3000, 2000
NO_ORDER, TENSOR_CORES = 4, 0


class _Version:
    restype: Any = None

    def __init__(self, version: int) -> None:
        self.version = version

    def __call__(self) -> int:
        return self.version


class Library:
    """The functions that are used; `ask` says when what was asked for runs.

    Heuristics give `engines`: the numerical notes of each, by its number.
    """

    def __init__(
        self, ask: Callable[[Callable[[], Any]], Any] | None = None, version: int = 91000
    ) -> None:
        self.ask = ask or (lambda work: work())
        self.objects: dict[int, dict[Any, Any]] = {}
        self.numbers = itertools.count(0x1000, 16)
        self.engines: dict[int, list[int]] = {5: [NO_ORDER], 6: [TENSOR_CORES], 7: []}
        self.run: list[dict[str, Any]] = []
        self.fail: dict[str, int] = {}
        self.stream: int | None = None
        self.cudnnGetVersion = _Version(version)

    def cudnnCreate(self, place: Any) -> int:
        place._obj.value = 0xD44
        return 0

    def cudnnSetStream(self, handle: Any, stream: Any) -> int:
        assert handle.value == 0xD44
        self.stream = stream.value
        return 0

    def cudnnBackendCreateDescriptor(self, kind: int, place: Any) -> int:
        assert kind in KINDS
        number = next(self.numbers)
        self.objects[number] = {"kind": kind, "done": False}
        place._obj.value = number
        return 0

    def cudnnBackendDestroyDescriptor(self, given: Any) -> int:
        del self.objects[given.value]
        return 0

    def cudnnBackendSetAttribute(
        self, given: Any, attribute: int, kind: int, count: Any, place: Any
    ) -> int:
        one = self.objects[given.value]
        known = KINDS[one["kind"]]
        if one["done"] or attribute not in known or (known[attribute] or kind) != kind:
            return BAD
        values = place._obj
        assert isinstance(values, CTYPES[kind] * count.value)
        one[attribute] = list(values)
        return 0

    def cudnnBackendFinalize(self, given: Any) -> int:
        one = self.objects[given.value]
        one["done"] = True
        if any(
            not self.objects[v]["done"]
            for name, kind in KINDS[one["kind"]].items()
            if kind == 15
            for v in one.get(name, [])
        ):
            return BAD
        if one["kind"] == 17 and min(*one[902], *one[903]) < 1:
            return BAD
        return self.fail.get({5: "plan", 15: "graph", 4: "heuristic"}.get(one["kind"], ""), 0)

    def cudnnBackendGetAttribute(
        self, given: Any, attribute: int, kind: int, wanted: Any, count: Any, place: Any
    ) -> int:
        one = self.objects[given.value]
        values = place._obj
        assert len(values) == wanted.value
        found = self._told(one, attribute, values)
        count._obj.value = len(found)
        for n, value in enumerate(found):
            if kind != 15:
                values[n] = value
        return 0

    def _told(self, one: dict[Any, Any], attribute: int, values: Any) -> list[Any]:
        if attribute == 202:
            for number, place in zip(self.engines, values, strict=False):
                made = {"kind": 2, "done": True, 1300: one[201], 1301: [number]}
                self.objects[place] |= {"done": True, "engine": made}
            return list(self.engines)
        if attribute == 300:
            self.objects[values[0]] |= one["engine"]
            return [0]
        if attribute == 302:
            self.objects[values[0]] |= {"done": True, 600: [3], 601: [42]}
            return [0]
        if attribute == 1303:
            return self.engines[one[1301][0]]
        if attribute == 402:
            return [512]
        return list(one[attribute])

    # --- running ----------------------------------------------------------------------------------

    def cudnnBackendExecute(self, handle: Any, plan: Any, pack: Any) -> int:
        assert handle.value == 0xD44
        assert self.stream == 77
        configuration = self.objects[self.objects[plan.value][401][0]]
        engine = configuration.get("engine") or self.objects[configuration[300][0]]
        knobs = [self.objects[k] for k in configuration.get(302, [])]
        assert [(k[600], k[601]) for k in knobs] == [([3], [42])]
        graph = self.objects[engine[1300][0]]
        given = self.objects[pack.value]
        places = dict(zip(given[1000], given[1001], strict=True))
        host_bytes(given[1003][0], 512)[:] = 0x5A
        operation = self.objects[graph[801][0]]
        made = {
            "engine": engine[1301][0],
            "forward": operation["kind"] == 10,
            "how": dict(self.objects[operation[702 if operation["kind"] == 10 else 714][0]]),
            "tensors": [
                dict(self.objects[operation[n][0]])
                for n in ((704, 703, 705) if operation["kind"] == 10 else (716, 715, 717))
            ],
        }
        assert [operation[n] for n in ((700, 701) if made["forward"] else (712, 713))] == [
            [1.0],
            [0.0],
        ]
        self.run.append(made)
        self.ask(lambda: self._compute(made, places))
        return self.fail.get("execute", 0)

    def _compute(self, made: dict[str, Any], places: dict[int, int]) -> None:
        views = [self._view(t, places[t[906][0]]) for t in made["tensors"]]
        x, w, y = (self._wide(v, t) for v, t in zip(views, made["tensors"], strict=True))
        how = made["how"]
        assert how[101] == [1]
        assert how[106] == [x.ndim - 2]
        pads = list(zip(how[105], how[104], strict=True))
        padded = np.pad(x, [(0, 0), (0, 0), *pads])
        groups = x.shape[1] // w.shape[1]
        result = np.zeros_like(y if made["forward"] else w)
        sizes, counts = w.shape[2:], y.shape[2:]
        for tap in np.ndindex(*sizes):
            where = tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, s, n in zip(tap, how[102], how[103], counts, strict=True)
            )
            part = padded[(slice(None), slice(None), *where)]
            assert part.shape[2:] == counts
            for g in range(groups):
                ins = slice(g * w.shape[1], (g + 1) * w.shape[1])
                outs = slice(g * w.shape[0] // groups, (g + 1) * w.shape[0] // groups)
                if made["forward"]:
                    own = w[(outs, slice(None), *tap)]
                    result[:, outs] += np.einsum("nc...,oc->no...", part[:, ins], own)
                else:
                    axes = [0, *range(2, y.ndim)]
                    own = np.tensordot(y[:, outs], part[:, ins], (axes, axes))
                    result[(outs, slice(None), *tap)] += own
        target, view = (
            (made["tensors"][2], views[2])
            if made["forward"]
            else (
                made["tensors"][1],
                views[1],
            )
        )
        if target[901] == [BFLOAT16]:
            result = to_bfloat16(np.ascontiguousarray(result, np.float32))
        view[...] = result

    def _view(self, tensor: dict[Any, Any], place: int) -> Array:
        kind, size = TYPES[tensor[901][0]]
        dims, strides = tensor[902], tensor[903]
        assert place % tensor[900][0] == 0
        last = sum((d - 1) * s for d, s in zip(dims, strides, strict=True)) + 1
        memory = host_bytes(place, last * size).view(kind)
        return np.lib.stride_tricks.as_strided(memory, dims, [s * size for s in strides])

    def _wide(self, view: Array, tensor: dict[Any, Any]) -> Array:
        if tensor[901] == [BFLOAT16]:
            view = from_bfloat16(np.ascontiguousarray(view))
        return np.asarray(view, np.float64)
