"""Where CPython keeps the fields of the objects that a native call reads, and the call itself.

Every offset is found by looking for a known value, and whatever is assumed is looked at once: where
something is not as expected, there is no native call, and the Python text of `dispatch` is used.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from .. import state
from ..codegen.deferred import deferred
from ..codegen.dtypes import as_dtype
from ..ir.types import TensorType
from ..runtime import cache, improvement, loader, machine
from ..runtime.memory import Block
from ..tensors.context import active
from ..tensors.storage import Storage
from ..tensors.tensor_class import Tensor
from .native_text import IMPORTS, OBJECTS, dispatch_ir
from .specialisation import MISS

if TYPE_CHECKING:
    from ..codegen.targets import llvm_machine
else:
    llvm_machine = deferred("fusegrad.codegen.targets.llvm_machine")

__all__ = ["Call", "Native", "native"]

_FIELDS = {
    Tensor: (
        [
            "_type",
            "_storage",
            "_node",
            "_trace",
            "_variable",
            "_shared",
            "_grad",
            "_weak",
            "requires_grad",
        ],
        "tensor",
    ),
    Storage: (["type", "address", "_block", "_array"], "storage"),
    Block: (["address", "nbytes", "_class"], "block"),
}
# PyArrayObject as NumPy's C interface publishes it, after the head.
_ARRAY = {"data": 16, "rank": 24, "shape": 32, "descr": 56, "flags": 64}
# PyListObject, whose items Python's own macros reach so.
_LIST = {"size": 16, "items": 24}
_FUNCTIONS = ("fg_dispatch", "fg_series", "fg_call")
_METHOD_FLAGS = 0x80 | 0x02  # METH_FASTCALL | METH_KEYWORDS
_HEAD = 16


class _MethodDefinition(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


@final
class Native:
    """The native call, loaded."""

    def __init__(self, offsets: dict[str, int]) -> None:
        text = dispatch_ir(offsets)
        type_ = TensorType((), as_dtype("float32"))
        storage = object.__new__(Storage)
        storage._array = None
        tensor = object.__new__(Tensor)
        tensor._blank(type_)
        objects = {
            "Tensor": Tensor,
            "Storage": Storage,
            "Block": Block,
            "ndarray": np.ndarray,
            "float": float,
            "int": int,
            "None": None,
            "False": False,
            "zero": 0,
            "MISS": MISS,
            "active": active,
            "name_dict": "__dict__",
            "name_trace": "trace",
            "name_inline": "inline",
            "name_autocast": "autocast",
            "state_dict": vars(state),
            "name_version": "_version",
            "notify": _notify,
            "blank_tensor": tensor,
            "blank_storage": storage,
        }
        self.objects = [objects[name] for name in OBJECTS]
        symbols = {name: id(objects[name]) for name in OBJECTS}
        for name in IMPORTS:
            symbols[name] = _address(getattr(ctypes.pythonapi, name))
        self._symbols = symbols
        self._dispatch, self._series, self._call = (
            _MethodDefinition(name.encode(), None, _METHOD_FLAGS, None) for name in _FUNCTIONS
        )
        code, self.libraries = _kept(text, 2), list[loader.Library]()
        if code is None:
            # Compiling it well takes longer than most functions do: a thread does that meanwhile.
            code = _kept(text, 0) or _compiled(text, 0)
            improvement.later(improvement.Job(self._improvement(text)))
        self._use(code)
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]
        self._make = make

    def _use(self, code: bytes) -> None:
        """Have all calls from now on run this code; others may be inside of the one before."""
        library = loader.load(code, _FUNCTIONS, self._symbols)
        self.libraries.append(library)
        for definition in (self._dispatch, self._series, self._call):
            definition.function = library.address(definition.name.decode())

    def _improvement(self, text: str) -> Iterator[None]:
        code = _compiled(text, 2)
        yield
        self._use(code)

    def functions(self, plans: Sequence[int], keep: Any) -> tuple[Any, Any]:
        """A function that tries plans one after the other, and one that does so for many calls.

        Parameters
        ----------
        plans : sequence of int
            Their addresses.
        keep : object
            What they need; it lives as long as the function.

        Returns
        -------
        dispatch : callable
            Gives MISS for calls that no plan is for.
        series : callable
            ``series(calls, first, results)`` makes the calls of a list of tuples from a number on,
            appends to a list, and gives the number of the first call that no plan is for.
        """
        table = (ctypes.c_uint64 * (len(plans) + 1))(*plans)
        address = ctypes.addressof(table)
        # The third argument is kept like a module's name would be.
        kept = _Kept(table, keep)
        definitions = self._dispatch, self._series
        call, series = (self._make(ctypes.addressof(d), address, kept) for d in definitions)
        return call, series

    def call(self, general: Callable[..., Any]) -> Call:
        """A function that tries the plans it has now, and leaves all other calls to `general`."""
        made = Call(general)
        made.function = self._make(
            ctypes.addressof(self._call), ctypes.addressof(made.words), made.owner
        )
        return made


Named = tuple[int, Sequence[str], Sequence[int]]


@final
class Call:
    """A native function whose plans may change, also while it runs.

    Attributes
    ----------
    function : callable
    words : array
        What the function reads: the table of plans, and what answers where none fits.
    owner : object
        Keeps what the words refer to; the function keeps it.
    """

    function: Callable[..., Any]

    def __init__(self, general: Callable[..., Any]) -> None:
        self.words = (ctypes.c_uint64 * 2)()
        self.owner = _Kept(self.words, (general, None))
        self.words[1] = id(general)
        self.use([], [], None)

    def use(self, plans: Sequence[int], named: Sequence[Named], keep: Any) -> None:
        """Try these plans from now on, and none of those before.

        Parameters
        ----------
        plans : sequence of int
            For calls with positional arguments alone: their addresses.
        named : sequence of Named
            For others: how many positional arguments, the names, and plans.
        keep : object
            What they need.
        """
        words, parts = [0, 0], [_words(plans)]
        for positional, names, own in named:
            # What a call names its arguments by is interned too.
            interned = [sys.intern(name) for name in names]
            parts += [_words([id(name) for name in interned]), _words(own), interned]
            places = (ctypes.addressof(part) for part in parts[-3:-1])
            words += [positional, len(names), *places]
        table = (ctypes.c_int64 * (len(words) + 1))(*words, -1)
        kept = _Kept(table, (parts, keep))
        table[0], table[1] = id(kept), ctypes.addressof(parts[0])
        before = self.owner.keep
        self.owner.keep = before[0], kept, before[1]
        # One word: whoever reads it sees all of this table, or all of the one before.
        self.words[0] = ctypes.addressof(table)
        self.owner.keep = before[0], kept


def _words(values: Sequence[int]) -> Any:
    """Words in memory, and a zero behind them."""
    return (ctypes.c_uint64 * (len(values) + 1))(*values, 0)


@final
class _Kept:
    def __init__(self, table: Any, keep: Any) -> None:
        self.table, self.keep = table, keep


def _notify(tensor: Tensor) -> None:
    """Say that a tensor which others see changed."""
    if tensor._shared is not None:
        tensor._shared.changed(tensor)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _key(text: str, level: int) -> cache.Key:
    parts = [("kind", b"native call"), ("level", bytes([level])), *machine.parts()]
    return cache.Key([*parts, ("text", text.encode())])


def _kept(text: str, level: int) -> bytes | None:
    """The object code that the disk has, of a level of the code generator."""
    disk = cache.default()
    found = disk.get(_key(text, level)) if disk is not None else None
    return None if found is None else found.blobs["object"]


def _compiled(text: str, level: int) -> bytes:
    code = llvm_machine.compile_module(text, machine.features(), level)
    disk = cache.default()
    if disk is not None:
        disk.put(_key(text, level), {}, {"object": code})
    return code


@functools.cache
def native() -> Native | None:
    """The native call, or None where CPython is not as it is expected to be."""
    offsets = _offsets()
    return None if offsets is None else Native(offsets)


def _offsets() -> dict[str, int] | None:
    if not _is_usual():
        return None
    result = {"head": _HEAD, "class": 8}
    for cls, (names, label) in _FIELDS.items():
        for name in names:
            offset = _offset(cls, name)
            if offset is None:
                return None
            result[f"{label}_{name.lstrip('_')}"] = offset
        result[f"{label}_size"] = cls.__basicsize__
        result[f"{label}_weaklist"] = cls.__weakrefoffset__
        if cls.__dictoffset__ != 0:
            return None
    result.update({f"array_{name}": offset for name, offset in _ARRAY.items()})
    result.update({f"list_{name}": offset for name, offset in _LIST.items()})
    return result


def _is_usual() -> bool:
    """Whether objects begin with a count and a type, and arrays are as NumPy documents."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if sys.maxsize < 2**32 or sys.byteorder != "little" or object.__basicsize__ != _HEAD:
        return False
    return _counts() and _has_type() and _lists() and _arrays()


def _counts() -> bool:
    """Whether an object begins with the number of references to it."""
    value = object()
    count = ctypes.c_uint32.from_address(id(value))
    before = count.value
    more = [value] * 5
    return before == sys.getrefcount(value) - len(more) - 1 and count.value == before + 5


def _has_type() -> bool:
    return _word(np.ones(3), 8) == id(np.ndarray) and _word(2.5, 8) == id(float)


def _lists() -> bool:
    """Whether a list has its length, and a pointer to its items."""
    values = [2.5, 3.5, 4.5]
    items = _word(values, _LIST["items"])
    known = [id(value) for value in values]
    return (
        _word(values, _LIST["size"]) == 3
        and list((ctypes.c_uint64 * 3).from_address(items)) == known
    )


def _arrays() -> bool:
    array = np.ones((3, 5), "float32")
    shape = _word(array, _ARRAY["shape"])
    return (
        _word(array, _ARRAY["data"]) == array.ctypes.data
        and _word(array, _ARRAY["rank"]) & 0xFFFFFFFF == array.ndim
        and tuple((ctypes.c_int64 * 2).from_address(shape)) == array.shape
        and _word(array, _ARRAY["descr"]) == id(array.dtype)
        and _word(array, _ARRAY["flags"]) & 0xFFFFFFFF == array.flags.num
    )


def _word(value: object, offset: int) -> int:
    return ctypes.c_uint64.from_address(id(value) + offset).value


def _offset(cls: type, name: str) -> int | None:
    """Where the objects of a class have a field: where its value is, and nothing else changes."""
    instance: Any = object.__new__(cls)
    values = object(), object()
    if cls is Block:
        # Its end gives the memory back.
        instance._class = _NoClass
        instance.address = 0
    found = list(range(_HEAD, cls.__basicsize__, 8))
    for value in values:
        before = getattr(instance, name, None)
        setattr(instance, name, value)
        found = [o for o in found if _word(instance, o) == id(value)]
        if cls is Block:
            setattr(instance, name, before)
    return found[0] if len(found) == 1 else None


class _NoClass:
    @staticmethod
    def release(address: object) -> None:
        """Nothing."""
