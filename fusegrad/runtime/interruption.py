"""Signals while a loop runs: it asks Python for them now and then, and ends when told.

Knows the C API of Python and one clock; knows no program. A handler of Python runs only when the
interpreter does, so the loop takes the GIL for a moment, every twentieth of a second.
"""

from __future__ import annotations

import ctypes
from typing import Any

from . import loader
from .calls import failed

__all__ = ["INTERRUPTION_IR", "symbols"]

_NAMES = (
    "PyGILState_Ensure",
    "PyGILState_Release",
    "PyErr_CheckSignals",
    "PyErr_Fetch",
    "PyErr_NormalizeException",
    "Py_DecRef",
)
_CLOCK = loader.c_symbols(["clock_gettime"])

# Clock 6 is the coarse monotonic one of Linux, and the monotonic one of macOS.
_ASKING = r"""
declare i32 @clock_gettime(i32, ptr)
declare i32 @PyGILState_Ensure()
declare void @PyGILState_Release(i32)
declare i32 @PyErr_CheckSignals()
declare void @PyErr_Fetch(ptr, ptr, ptr)
declare void @PyErr_NormalizeException(ptr, ptr, ptr)
declare void @Py_DecRef(ptr)
declare void @fg_raised(ptr)

; Whether the program is to end; %since has the time of the last question, 0 at first.
define internal i64 @fg_told(ptr %since) {
entry:
  %time = alloca [2 x i64]
  %known = call i32 @clock_gettime(i32 6, ptr %time)
  %seconds = load i64, ptr %time
  %np = getelementptr i64, ptr %time, i64 1
  %nanoseconds = load i64, ptr %np
  %scaled = mul i64 %seconds, 1000000000
  %now = add i64 %scaled, %nanoseconds
  %last = load i64, ptr %since
  %begins = icmp eq i64 %last, 0
  br i1 %begins, label %begin, label %later
begin:
  store i64 %now, ptr %since
  ret i64 0
later:
  %passed = sub i64 %now, %last
  %long = icmp ugt i64 %passed, 50000000
  br i1 %long, label %ask, label %on
on:
  ret i64 0
ask:
  store i64 %now, ptr %since
  %state = call i32 @PyGILState_Ensure()
  %answer = call i32 @PyErr_CheckSignals()
  %raised = icmp ne i32 %answer, 0
  br i1 %raised, label %take, label %done
take:
  %error = alloca [3 x ptr]
  %value = getelementptr ptr, ptr %error, i64 1
  %lines = getelementptr ptr, ptr %error, i64 2
  call void @PyErr_Fetch(ptr %error, ptr %value, ptr %lines)
  call void @PyErr_NormalizeException(ptr %error, ptr %value, ptr %lines)
  %object = load ptr, ptr %value
  call void @fg_raised(ptr %object)
  %kind = load ptr, ptr %error
  %trace = load ptr, ptr %lines
  call void @Py_DecRef(ptr %kind)
  call void @Py_DecRef(ptr %object)
  call void @Py_DecRef(ptr %trace)
  br label %done
done:
  call void @PyGILState_Release(i32 %state)
  %told = zext i1 %raised to i64
  ret i64 %told
}
"""
_NOT_ASKING = """
define internal i64 @fg_told(ptr %since) {
  ret i64 0
}
"""
INTERRUPTION_IR = _ASKING if _CLOCK else _NOT_ASKING

_raised: Any = ctypes.CFUNCTYPE(None, ctypes.py_object)(failed)


def symbols() -> dict[str, int]:
    """The addresses that `INTERRUPTION_IR` names."""
    if not _CLOCK:
        return {}
    functions = {name: getattr(ctypes.pythonapi, name) for name in _NAMES}
    functions["fg_raised"] = _raised
    addresses = {n: ctypes.cast(f, ctypes.c_void_p).value or 0 for n, f in functions.items()}
    return _CLOCK | addresses
