"""Object code loads, runs, reports what is missing, and is unloaded."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from fusegrad.errors import CompileError
from fusegrad.runtime import linker, loader

UNARY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)

PLUS = """
@calls = internal global i64 0, align 64
define i64 @plus(i64 %x) {
  %n = atomicrmw add ptr @calls, i64 1 monotonic
  %y = add i64 %x, AMOUNT
  ret i64 %y
}
define i64 @count(i64 %x) {
  %n = load i64, ptr @calls
  ret i64 %n
}
"""


@pytest.fixture(autouse=True, params=["own", "llvm"])
def either_linker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "llvm":
        monkeypatch.setattr(linker, "is_possible", lambda: False)
    elif not linker.is_possible():
        pytest.skip("no machine for it")


def compiled(amount: int) -> bytes:
    return loader.compile_module(PLUS.replace("AMOUNT", str(amount)))


def test_runs_and_finds_every_name() -> None:
    library = loader.load(compiled(5), ["plus", "count"], {})
    assert library.names == ("plus", "count")
    assert UNARY(library.address("plus"))(37) == 42
    assert UNARY(library.address("count"))(0) == 1
    with pytest.raises(KeyError):
        library.address("other")


def test_two_libraries_with_the_same_names_are_apart() -> None:
    one, two = loader.load(compiled(1), ["plus"], {}), loader.load(compiled(2), ["plus"], {})
    assert UNARY(one.address("plus"))(0) == 1
    assert UNARY(two.address("plus"))(0) == 2


def test_imports_a_symbol_by_address() -> None:
    callback = UNARY(lambda x: 3 * x)
    address = ctypes.cast(callback, ctypes.c_void_p).value
    assert address is not None
    text = """
    declare i64 @triple(i64)
    define i64 @f(i64 %x) { %y = call i64 @triple(i64 %x)  ret i64 %y }
    """
    library = loader.load(loader.compile_module(text), ["f"], {"triple": address})
    assert UNARY(library.address("f"))(14) == 42


def test_knows_what_a_code_generator_calls() -> None:
    text = """
    declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
    declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
    define i64 @f(i64 %n) {
      %buffer = alloca [100 x i64]
      %copy = alloca [100 x i64]
      call void @llvm.memset.p0.i64(ptr %buffer, i8 1, i64 %n, i1 false)
      call void @llvm.memcpy.p0.p0.i64(ptr %copy, ptr %buffer, i64 %n, i1 false)
      %value = load i64, ptr %copy
      ret i64 %value
    }
    """
    library = loader.load(loader.compile_module(text), ["f"], {})
    assert UNARY(library.address("f"))(800) == 0x0101010101010101


ADDRESSES = """
@outside = external global i64
@table = constant [3 x ptr] [ptr @one, ptr @two, ptr @count]
@count = global i64 5
@far = internal constant [4 x i64] [i64 1, i64 2, i64 3, i64 4], align 64
declare i64 @triple(i64)
define i64 @one(i64 %x) { ret i64 1 }
define i64 @two(i64 %x) {
  %y = call i64 @triple(i64 %x)
  ret i64 %y
}
define i64 @f(i64 %x) {
  %place = getelementptr ptr, ptr @table, i64 %x
  %function = load ptr, ptr %place
  %y = call i64 %function(i64 7)
  %old = load i64, ptr @outside
  store i64 %y, ptr @outside
  %counted = load i64, ptr @count
  %constant = getelementptr i64, ptr @far, i64 %x
  %c = load i64, ptr %constant
  %a = add i64 %old, %counted
  %b = add i64 %a, %c
  ret i64 %b
}
define ptr @pointer() { ret ptr @triple }
"""


@pytest.mark.parametrize("level", [0, 2])
def test_addresses_of_all_kinds(level: int) -> None:
    callback = UNARY(lambda x: 3 * x)
    triple = ctypes.cast(callback, ctypes.c_void_p).value or 0
    outside = ctypes.c_int64(100)
    names = ["f", "pointer", "count", "table"]
    symbols = {"triple": triple, "outside": ctypes.addressof(outside)}
    library = loader.load(loader.compile_module(ADDRESSES, level=level), names, symbols)
    function = UNARY(library.address("f"))
    assert [function(1), outside.value, function(0), outside.value] == [107, 21, 27, 1]
    assert UNARY(library.address("pointer"))(0) % (1 << 64) == triple
    count = ctypes.c_int64.from_address(library.address("count"))
    count.value = 50
    assert function(0) == 1 + 50 + 1
    table = (ctypes.c_uint64 * 3).from_address(library.address("table"))
    assert table[2] == library.address("count")


def test_objects_are_linked_together() -> None:
    caller = (
        "declare i64 @next(i64)\ndefine i64 @f(i64 %x) { %y = call i64 @next(i64 %x)  ret i64 %y }"
    )
    called = "define i64 @next(i64 %x) { %y = add i64 %x, 1  ret i64 %y }"
    code = [loader.compile_module(text) for text in (caller, called)]
    for order in (code, code[::-1]):
        assert UNARY(loader.load(order, ["f"], {}).address("f"))(41) == 42
    with pytest.raises(CompileError, match="cannot be loaded"):
        loader.load([code[1], code[1]], ["next"], {})


def test_damaged_code_is_refused() -> None:
    code = compiled(1)
    for end in (0, 10, 63, 64, 100, len(code) // 2, len(code) - 1):
        with pytest.raises(CompileError):
            loader.load(code[:end], ["plus"], {})


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_levels(level: int) -> None:
    code = loader.compile_module(PLUS.replace("AMOUNT", "5"), level=level)
    assert UNARY(loader.load(code, ["plus"], {}).address("plus"))(1) == 6


def test_refuses_what_is_no_object_code() -> None:
    with pytest.raises(CompileError, match="cannot be loaded"):
        loader.load(b"no object code", ["f"], {})


def test_refuses_a_missing_symbol(capfd: pytest.CaptureFixture[str]) -> None:
    text = "declare void @nowhere()\ndefine void @f() { call void @nowhere()  ret void }"
    code = loader.compile_module(text)
    with pytest.raises(CompileError, match="cannot be loaded") as caught:
        loader.load(code, ["f"], {})
    assert "nowhere" in str(caught.value) + capfd.readouterr().err
    with pytest.raises(CompileError, match="absent"):
        loader.load(compiled(1), ["absent"], {})


def test_refuses_ill_formed_text() -> None:
    with pytest.raises(CompileError, match="LLVM refuses the module"):
        loader.compile_module("define void @f() { ret i32 1 }")


def executable_bytes() -> int:
    """How much memory outside files may be executed."""
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, access, *_, inode = line.split()[:5]
        if "x" in access and inode == "0":
            start, end = (int(address, 16) for address in addresses.split("-"))
            total += end - start
    return total


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc on this system")
def test_is_unloaded_with_the_last_reference() -> None:
    code = compiled(1)
    gc.collect()
    before = executable_bytes()
    libraries = [loader.load(code, ["plus"], {}) for _ in range(20)]
    loaded = executable_bytes()
    watched = weakref.ref(libraries[0])
    libraries.clear()
    assert watched() is None
    assert loaded - before >= 20 * 4096
    assert executable_bytes() <= before


def test_threads_load_at_once() -> None:
    results: list[int] = []

    def work(amount: int) -> None:
        for _ in range(5):
            library = loader.load(compiled(amount), ["plus"], {})
            results.append(UNARY(library.address("plus"))(0) - amount)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 20


# Every free hole above a region of 33 GiB is taken; in it, free pages lie 3 GiB apart. What maps
# the sections of an object one by one gets them from different holes.
SCATTERED = """
import ctypes, mmap
from fusegrad.runtime.loader import compile_module, load

code = compile_module(
    "define double @f(double %x) { %y = fmul double %x, 3.25  %z = fadd double %y, 1.0  "
    "ret double %z }"
)
load(code, ["f"], {})
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
gibibyte, page = 1 << 30, mmap.PAGESIZE


def reserve(size):
    return libc.mmap(None, size, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, -1, 0)


region = reserve(33 * gibibyte)
for size in (gibibyte >> 2, 1 << 24, 1 << 20, 1 << 16, 1 << 13, page):
    while (hole := reserve(size)) > region:
        pass
    libc.munmap(hole, size)
for index in range(1, 11):
    libc.munmap(region + 3 * gibibyte * index, page)
library = load(code, ["f"], {})
print(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(library.address("f"))(2.0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="maps memory as Linux does")
def test_loads_into_scattered_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCATTERED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "7.5"), done.stderr
