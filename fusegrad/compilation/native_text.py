"""The text of the native call: LLVM IR that checks a call against tables, and runs the step.

Knows the fields of tensors and storages and the layout of the tables; `native_tables` writes them,
`native_layout` says where CPython keeps what.

`fg_dispatch` is a function of Python with the convention METH_FASTCALL | METH_KEYWORDS. Its self is
the address of a list of plans, ended by 0; the first that fits the arguments runs. What fits none
is answered with MISS, and the general path decides. `fg_series` makes many such calls. `fg_call` is
a whole compiled function: its self is the address of two words, a table and the general path, and
the table is::

    table     ::= keeper plans named* -1              an object that keeps all of it; a list
    named     ::= positional count names plans        for calls with these names of arguments

The text has a shorthand: ``%x = get T %p + offset`` loads from so many bytes behind `%p`, and
``set T %x, %p + offset`` stores there.

All words of a plan are 64-bit. They are those of `PLAN`, of which ``x_at`` is an address of records
and ``x_count`` their number. Records::

    argument  ::= 0 word descriptor rank extents      a NumPy array
                | 1 word type weak written            a tensor
                | 2 word 0 0 0                        a float
                | 3 word 0 0 0                        an int
                | 4 0 object 0 0                      the same object
    watch     ::= 0 dict key value                    value 0: not there
                | 1 cell 0 value
                | 2 list count items                  all of its items
                | 3 dict count pairs                  all of its keys and values
                | 4 object name value                 an attribute
                | 5 array bytes extents               a NumPy array's elements
    capture   ::= tensor type requires_grad
    outside   ::= tensor                              what no argument is
    seen      ::= tensor grad
    getter    ::= function format word                0: float64, 1: int64, 2: float32,
                                                      3: int32, 4: bool
    output    ::= type free allocate reuse class nbytes owner kept
    written   ::= tensor output
    changed   ::= argument output
    grad      ::= tensor output keep                  output -1: None
    result    ::= output object                       output -1: the object

8 is added to the kind of a watch where another object decides that the plan is not for the call.
`bytes` are how many, their address, and the rank. `word` is where in the block the address of the
value goes. An output is put into the storage of the capture `reuse`, if that is not negative and
nobody else refers to the storage, or into that of the gradient of `owner`, or into one of the
storages in the list `kept`, where small results stay. A gradient tensor that
somebody holds is another one afterwards, unless the step is to `keep` it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Template

from .native_checks import CHECKS_IR
from .native_entries import ENTRIES_IR
from .native_run import RUN_IR

__all__ = ["IMPORTS", "KEPT_RESULTS", "OBJECTS", "PLAN", "dispatch_ir"]

PLAN = [
    "arguments_count",
    "arguments_at",
    "block_words",
    "block_at",
    "scalars",
    "held",
    "outputs_count",
    "outputs_at",
    "watches_count",
    "watches_at",
    "hold",
    "version",
    "acquire",
    "release",
    "captures_count",
    "captures_at",
    "seen_count",
    "seen_at",
    "getters_count",
    "getters_at",
    "arenas",
    "take",
    "run",
    "first_output",
    "outside_count",
    "outside_at",
    "changed_count",
    "changed_at",
    "written_count",
    "written_at",
    "grads_count",
    "grads_at",
    "results_count",
    "results_at",
    "form",
    "finish",
    "hits",
    "autocast",
    "first_capture",
    "scratch_at",
    "needs_arena",
    "brief",
]
"""The words of a plan."""

KEPT_RESULTS = 2
"""Storages that are kept of each small result: one that the caller has, one for the next call."""

IMPORTS = {
    "PyCell_Get": "ptr (ptr)",
    "PyDict_GetItemWithError": "ptr (ptr, ptr)",
    "PyDict_Next": "i32 (ptr, ptr, ptr, ptr)",
    "PyDict_Size": "i64 (ptr)",
    "PyErr_Clear": "void ()",
    "PyErr_Fetch": "void (ptr, ptr, ptr)",
    "PyErr_Occurred": "ptr ()",
    "PyErr_Restore": "void (ptr, ptr, ptr)",
    "PyEval_RestoreThread": "void (ptr)",
    "PyEval_SaveThread": "ptr ()",
    "PyFloat_AsDouble": "double (ptr)",
    "PyList_Append": "i32 (ptr, ptr)",
    "PyList_GetItem": "ptr (ptr, i64)",
    "PyList_SetSlice": "i32 (ptr, i64, i64, ptr)",
    "PyList_Size": "i64 (ptr)",
    "PyLong_AsLongLong": "i64 (ptr)",
    "PyLong_AsVoidPtr": "ptr (ptr)",
    "PyLong_FromLongLong": "ptr (i64)",
    "PyObject_CallNoArgs": "ptr (ptr)",
    "PyObject_CallOneArg": "ptr (ptr, ptr)",
    "PyObject_GetAttr": "ptr (ptr, ptr)",
    "PyObject_IsTrue": "i32 (ptr)",
    "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)",
    "PyTuple_GetItem": "ptr (ptr, i64)",
    "PyTuple_New": "ptr (i64)",
    "PyTuple_SetItem": "i32 (ptr, i64, ptr)",
    "PyTuple_Size": "i64 (ptr)",
    "PyType_GenericAlloc": "ptr (ptr, i64)",
    "Py_DecRef": "void (ptr)",
    "Py_IncRef": "void (ptr)",
}
"""The functions of Python that the text calls, all of its public interface."""

OBJECTS = (
    "Tensor",
    "Storage",
    "Block",
    "ndarray",
    "float",
    "int",
    "None",
    "False",
    "zero",
    "MISS",
    "active",
    "name_dict",
    "name_trace",
    "name_inline",
    "name_autocast",
    "state_dict",
    "name_version",
    "notify",
    "blank_tensor",
    "blank_storage",
)
"""The objects whose addresses the text imports under these names."""

_TOOLS = r"""
define internal void @put(ptr %at, ptr %value) {
  %old = load ptr, ptr %at
  call void @Py_IncRef(ptr %value)
  store ptr %value, ptr %at
  %empty = icmp eq ptr %old, null
  br i1 %empty, label %done, label %drop
drop:
  call void @Py_DecRef(ptr %old)
  br label %done
done:
  ret void
}

; A new object with the fields of another one; null when there is no memory.
define internal ptr @like(ptr %type, ptr %model, i64 %size, i64 %skipped) {
entry:
  %new = call ptr @PyType_GenericAlloc(ptr %type, i64 0)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %done, label %next
next:
  %i = phi i64 [$head, %entry], [%i2, %advance]
  %more = icmp ult i64 %i, %size
  br i1 %more, label %field, label %done
field:
  %value = get ptr %model + %i
  %no = icmp eq ptr %value, null
  %skip = icmp eq i64 %i, %skipped
  %none = or i1 %no, %skip
  br i1 %none, label %advance, label %copy
copy:
  call void @Py_IncRef(ptr %value)
  set ptr %value, %new + %i
  br label %advance
advance:
  %i2 = add i64 %i, 8
  br label %next
done:
  ret ptr %new
}

define internal ptr @new_tensor(ptr %storage) {
  %new = call ptr @like(ptr @Tensor, ptr @blank_tensor, i64 $tensor_size, i64 $tensor_weaklist)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %done, label %fill
fill:
  %type = get ptr %storage + $storage_type
  %t = getelementptr i8, ptr %new, i64 $tensor_type
  call void @put(ptr %t, ptr %type)
  %s = getelementptr i8, ptr %new, i64 $tensor_storage
  call void @put(ptr %s, ptr %storage)
  br label %done
done:
  ret ptr %new
}

; The value of a tensor becomes another one; false after an error.
define internal i1 @install(ptr %tensor, ptr %storage) {
  %type = get ptr %storage + $storage_type
  %t = getelementptr i8, ptr %tensor, i64 $tensor_type
  call void @put(ptr %t, ptr %type)
  %s = getelementptr i8, ptr %tensor, i64 $tensor_storage
  call void @put(ptr %s, ptr %storage)
  %n = getelementptr i8, ptr %tensor, i64 $tensor_node
  call void @put(ptr %n, ptr @None)
  %r = getelementptr i8, ptr %tensor, i64 $tensor_trace
  call void @put(ptr %r, ptr @None)
  %v = getelementptr i8, ptr %tensor, i64 $tensor_variable
  call void @put(ptr %v, ptr @None)
  %shared = get ptr %tensor + $tensor_shared
  %alone = icmp eq ptr %shared, @None
  br i1 %alone, label %good, label %tell
tell:
  %told = call ptr @PyObject_CallOneArg(ptr @notify, ptr %tensor)
  %failed = icmp eq ptr %told, null
  br i1 %failed, label %bad, label %drop
drop:
  call void @Py_DecRef(ptr %told)
  br label %good
good:
  ret i1 true
bad:
  ret i1 false
}

; The last item of a list, taken out of it; null when it is empty.
define internal ptr @pop(ptr %list) {
  %count = call i64 @PyList_Size(ptr %list)
  %last = sub i64 %count, 1
  %empty = icmp slt i64 %last, 0
  br i1 %empty, label %none, label %some
some:
  %item = call ptr @PyList_GetItem(ptr %list, i64 %last)
  call void @Py_IncRef(ptr %item)
  %r = call i32 @PyList_SetSlice(ptr %list, i64 %last, i64 %count, ptr null)
  ret ptr %item
none:
  ret ptr null
}

; The storage of an output in memory of its own; null after an error.
define internal ptr @new_storage(ptr %record) {
  %type = get ptr %record + 0
  %free = get ptr %record + 8
  %allocate = get ptr %record + 16
  %class = get ptr %record + 32
  %nbytes = get ptr %record + 40
  %address = call ptr @pop(ptr %free)
  %none = icmp eq ptr %address, null
  br i1 %none, label %ask, label %make
ask:
  %asked = call ptr @PyObject_CallNoArgs(ptr %allocate)
  %refused = icmp eq ptr %asked, null
  br i1 %refused, label %failed, label %have
make:
  %made = call ptr @PyType_GenericAlloc(ptr @Block, i64 0)
  %unmade = icmp eq ptr %made, null
  br i1 %unmade, label %failed, label %fill
fill:
  set ptr %address, %made + $block_address
  call void @Py_IncRef(ptr %class)
  set ptr %class, %made + $block_class
  call void @Py_IncRef(ptr %nbytes)
  set ptr %nbytes, %made + $block_nbytes
  br label %have
have:
  %block = phi ptr [%asked, %ask], [%made, %fill]
  %storage = call ptr @like(
      ptr @Storage, ptr @blank_storage, i64 $storage_size, i64 $storage_weaklist)
  %bare = icmp eq ptr %storage, null
  br i1 %bare, label %drop, label %own
own:
  %place = get ptr %block + $block_address
  %a = getelementptr i8, ptr %storage, i64 $storage_address
  call void @put(ptr %a, ptr %place)
  %b = getelementptr i8, ptr %storage, i64 $storage_block
  call void @put(ptr %b, ptr %block)
  %t = getelementptr i8, ptr %storage, i64 $storage_type
  call void @put(ptr %t, ptr %type)
  br label %drop
drop:
  call void @Py_DecRef(ptr %block)
  ret ptr %storage
failed:
  ret ptr null
}

; A storage's address goes into the block, the storage into the list of what is held.
define internal void @hold(ptr %storage, ptr %word, ptr %held) {
  %number = get ptr %storage + $storage_address
  %address = call ptr @PyLong_AsVoidPtr(ptr %number)
  store ptr %address, ptr %word
  store ptr %storage, ptr %held
  ret void
}
"""

_ACCESS = re.compile(
    r"^  (?:(?P<result>%\w+) = get|set) (?P<type>\w+)(?P<value> [%@]\w+,)? "
    r"(?P<base>[%@]\w+) \+ (?P<offset>\S+)$"
)


def dispatch_ir(offsets: Mapping[str, int]) -> str:
    """The module.

    Parameters
    ----------
    offsets : Mapping
        Where the fields of objects are, in bytes: those of tensors, storages, blocks and arrays by
        names such as ``tensor_type``, ``class`` for the type of any object, ``head`` for where
        fields begin.

    Returns
    -------
    str
        LLVM IR that imports `IMPORTS` and `OBJECTS`.
    """
    names = {name: 8 * position for position, name in enumerate(PLAN)}
    names["kept_results"] = KEPT_RESULTS
    text = Template(_TOOLS + CHECKS_IR + RUN_IR + ENTRIES_IR).substitute(names, **offsets)
    lines = [f"declare {s.replace('(', f'@{n}(', 1)}" for n, s in IMPORTS.items()]
    lines += ["declare ptr @memcpy(ptr, ptr, i64)", "declare i32 @memcmp(ptr, ptr, i64)"]
    lines += ["declare double @llvm.fabs.f64(double)"]
    lines += [f"@{name} = external global i8" for name in OBJECTS]
    for number, line in enumerate(text.splitlines()):
        access = _ACCESS.match(line)
        if access is None:
            lines.append(line)
            continue
        result, kind, value, base, offset = access.groups()
        lines.append(f"  %at{number} = getelementptr i8, ptr {base}, i64 {offset}")
        if result is not None:
            lines.append(f"  {result} = load {kind}, ptr %at{number}")
        else:
            lines.append(f"  store {kind}{value} ptr %at{number}")
    return "\n".join([*lines, ""])
