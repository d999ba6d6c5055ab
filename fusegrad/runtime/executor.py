"""The native entry of every step: one function that runs a program given as a table.

Knows the layout of the table, made here from a program and the addresses of its kernels; knows no
graph.

A step costs no code of its own: the table is data, and the same few instructions walk every table.
All words are 64-bit::

    table  ::= groups words launches group*         words, launches: the most in any group
    group  ::= count chunks launch*
    launch ::= kernel finish arguments sizes items grain chunks place* size*
    place  ::= (0, index into the pointers) | (1, offset into the arena)
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Sequence
from typing import Any, final

from ..codegen.program import Program, Slot, SlotKind
from . import cache, loader, threads

__all__ = ["Entry", "entry", "table"]

_IR = r"""
declare void @fg_parallel(ptr, ptr, i64, i64, i64, ptr, i64)

; One chunk of several launches that run together: find the launch it belongs to.
define internal void @fg_group(ptr %desc, i64 %lo, i64 %hi, i64 %chunk, ptr %scratch) {
entry:
  br label %search
search:
  %p = phi ptr [%desc, %entry], [%next, %more]
  %fp = getelementptr i64, ptr %p, i64 5
  %first = load i64, ptr %fp
  %np = getelementptr i64, ptr %p, i64 4
  %count = load i64, ptr %np
  %local = sub i64 %chunk, %first
  %mine = icmp slt i64 %local, %count
  br i1 %mine, label %found, label %more
more:
  %next = getelementptr i64, ptr %p, i64 7
  br label %search
found:
  %kernel = load ptr, ptr %p
  %ap = getelementptr i64, ptr %p, i64 1
  %args = load ptr, ptr %ap
  %ip = getelementptr i64, ptr %p, i64 2
  %items = load i64, ptr %ip
  %gp = getelementptr i64, ptr %p, i64 3
  %grain = load i64, ptr %gp
  %start = mul i64 %local, %grain
  %e = add i64 %start, %grain
  %over = icmp sgt i64 %e, %items
  %end = select i1 %over, i64 %items, i64 %e
  call void %kernel(ptr %args, i64 %start, i64 %end, i64 %local, ptr %scratch)
  ret void
}

; The call of a step with everything in one block: table, arena, scratch, stride, pointers.
define void @fg_call(ptr %block) {
  %table = load ptr, ptr %block
  %p1 = getelementptr i64, ptr %block, i64 1
  %arena = load ptr, ptr %p1
  %p2 = getelementptr i64, ptr %block, i64 2
  %scratch = load ptr, ptr %p2
  %p3 = getelementptr i64, ptr %block, i64 3
  %stride = load i64, ptr %p3
  %pointers = getelementptr i64, ptr %block, i64 4
  call void @fg_run(ptr %table, ptr %pointers, ptr %arena, ptr %scratch, i64 %stride)
  ret void
}

define internal void @fg_run(ptr %table, ptr %pointers, ptr %arena, ptr %scratch, i64 %stride) {
entry:
  %groups = load i64, ptr %table
  %wp = getelementptr i64, ptr %table, i64 1
  %words = load i64, ptr %wp
  %lp = getelementptr i64, ptr %table, i64 2
  %launches = load i64, ptr %lp
  %dwords = mul i64 %launches, 7
  %args = alloca i64, i64 %words, align 64
  %desc = alloca i64, i64 %dwords, align 64
  %body = getelementptr i64, ptr %table, i64 3
  br label %group
group:
  %g = phi i64 [0, %entry], [%g2, %groupend]
  %at = phi ptr [%body, %entry], [%at2, %groupend]
  %more = icmp slt i64 %g, %groups
  br i1 %more, label %begin, label %done
begin:
  %count = load i64, ptr %at
  %tp = getelementptr i64, ptr %at, i64 1
  %total = load i64, ptr %tp
  %first0 = getelementptr i64, ptr %at, i64 2
  br label %launch
launch:
  %l = phi i64 [0, %begin], [%l2, %sized]
  %h = phi ptr [%first0, %begin], [%place, %sized]
  %w = phi ptr [%args, %begin], [%w3, %sized]
  %d = phi ptr [%desc, %begin], [%d2, %sized]
  %first = phi i64 [0, %begin], [%first2, %sized]
  %lmore = icmp slt i64 %l, %count
  br i1 %lmore, label %fill, label %go
fill:
  %kernel = load i64, ptr %h
  %h1 = getelementptr i64, ptr %h, i64 1
  %finish = load i64, ptr %h1
  %h2 = getelementptr i64, ptr %h, i64 2
  %nargs = load i64, ptr %h2
  %h3 = getelementptr i64, ptr %h, i64 3
  %nsizes = load i64, ptr %h3
  %h4 = getelementptr i64, ptr %h, i64 4
  %items = load i64, ptr %h4
  %h5 = getelementptr i64, ptr %h, i64 5
  %grain = load i64, ptr %h5
  %h6 = getelementptr i64, ptr %h, i64 6
  %chunks = load i64, ptr %h6
  store i64 %kernel, ptr %d
  %d1 = getelementptr i64, ptr %d, i64 1
  store ptr %w, ptr %d1
  %d2a = getelementptr i64, ptr %d, i64 2
  store i64 %items, ptr %d2a
  %d3 = getelementptr i64, ptr %d, i64 3
  store i64 %grain, ptr %d3
  %d4 = getelementptr i64, ptr %d, i64 4
  store i64 %chunks, ptr %d4
  %d5 = getelementptr i64, ptr %d, i64 5
  store i64 %first, ptr %d5
  %d6 = getelementptr i64, ptr %d, i64 6
  store i64 %finish, ptr %d6
  %d2 = getelementptr i64, ptr %d, i64 7
  %first2 = add i64 %first, %chunks
  %l2 = add i64 %l, 1
  %h7 = getelementptr i64, ptr %h, i64 7
  br label %arg
arg:
  %a = phi i64 [0, %fill], [%a2, %argnext]
  %q = phi ptr [%h7, %fill], [%q2, %argnext]
  %w1 = phi ptr [%w, %fill], [%w2, %argnext]
  %amore = icmp slt i64 %a, %nargs
  br i1 %amore, label %argbody, label %size
argbody:
  %kind = load i64, ptr %q
  %xp = getelementptr i64, ptr %q, i64 1
  %x = load i64, ptr %xp
  %isarena = icmp eq i64 %kind, 1
  br i1 %isarena, label %inarena, label %pointer
inarena:
  %ap = getelementptr i8, ptr %arena, i64 %x
  br label %argnext
pointer:
  %pp = getelementptr ptr, ptr %pointers, i64 %x
  %pv = load ptr, ptr %pp
  br label %argnext
argnext:
  %value = phi ptr [%ap, %inarena], [%pv, %pointer]
  store ptr %value, ptr %w1
  %w2 = getelementptr i64, ptr %w1, i64 1
  %q2 = getelementptr i64, ptr %q, i64 2
  %a2 = add i64 %a, 1
  br label %arg
size:
  %s = phi i64 [0, %arg], [%s2, %sizebody]
  %place = phi ptr [%q, %arg], [%place2, %sizebody]
  %w3 = phi ptr [%w1, %arg], [%w4, %sizebody]
  %smore = icmp slt i64 %s, %nsizes
  br i1 %smore, label %sizebody, label %sized
sizebody:
  %sv = load i64, ptr %place
  store i64 %sv, ptr %w3
  %w4 = getelementptr i64, ptr %w3, i64 1
  %place2 = getelementptr i64, ptr %place, i64 1
  %s2 = add i64 %s, 1
  br label %size
sized:
  br label %launch
go:
  %single = icmp eq i64 %count, 1
  br i1 %single, label %one, label %several
one:
  %k1 = load ptr, ptr %desc
  %a1p = getelementptr i64, ptr %desc, i64 1
  %a1 = load ptr, ptr %a1p
  %i1p = getelementptr i64, ptr %desc, i64 2
  %i1 = load i64, ptr %i1p
  %g1p = getelementptr i64, ptr %desc, i64 3
  %g1 = load i64, ptr %g1p
  call void @fg_parallel(ptr %k1, ptr %a1, i64 %i1, i64 %g1, i64 %total, ptr %scratch, i64 %stride)
  br label %finishes
several:
  call void @fg_parallel(
      ptr @fg_group, ptr %desc, i64 %total, i64 1, i64 %total, ptr %scratch, i64 %stride)
  br label %finishes
finishes:
  %f = phi i64 [0, %one], [0, %several], [%f2, %fnext]
  %fd = phi ptr [%desc, %one], [%desc, %several], [%fd2, %fnext]
  %fmore = icmp slt i64 %f, %count
  br i1 %fmore, label %fbody, label %groupend
fbody:
  %ffp = getelementptr i64, ptr %fd, i64 6
  %ff = load ptr, ptr %ffp
  %has = icmp ne ptr %ff, null
  br i1 %has, label %fcall, label %fnext
fcall:
  %fap = getelementptr i64, ptr %fd, i64 1
  %fa = load ptr, ptr %fap
  %fcp = getelementptr i64, ptr %fd, i64 4
  %fc = load i64, ptr %fcp
  call void %ff(ptr %fa, i64 %fc)
  br label %fnext
fnext:
  %f2 = add i64 %f, 1
  %fd2 = getelementptr i64, ptr %fd, i64 7
  br label %finishes
groupend:
  %at2 = phi ptr [%h, %finishes]
  %g2 = add i64 %g, 1
  br label %group
done:
  ret void
}
"""


@final
class Entry:
    """The native function ``fg_call(block)``.

    The block has the addresses of table, arena and scratch, the bytes of scratch a thread has,
    and the addresses of inputs, outputs and constants.
    """

    def __init__(self, library: loader.Library) -> None:
        self.library = library
        self.address = library.address("fg_call")
        self.call: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)


@functools.cache
def entry() -> Entry:
    """The entry, compiled once for a machine and kept on disk."""
    key = cache.Key([("executor", _IR.encode()), *loader.host_parts()])
    disk = cache.default()
    found = disk.get(key) if disk is not None else None
    if found is not None:
        code = found.blobs["object"]
    else:
        code = loader.compile_module(_IR)
        if disk is not None:
            disk.put(key, {}, {"object": code})
    symbols = {"fg_parallel": threads.symbol_address()}
    return Entry(loader.load(code, ["fg_call"], symbols))


def _place(slot: Slot, program: Program) -> tuple[int, int]:
    if slot.kind is SlotKind.ARENA:
        return 1, slot.index
    start = {
        SlotKind.INPUT: 0,
        SlotKind.OUTPUT: program.inputs,
        SlotKind.CONSTANT: program.inputs + program.outputs,
    }
    return 0, start[slot.kind] + slot.index


def table(program: Program, kernels: Sequence[tuple[int, int]]) -> array[int]:
    """The program as words.

    Parameters
    ----------
    program : Program
    kernels : sequence of (int, int)
        The addresses of each kernel and of its finish (0 when it has none).

    Returns
    -------
    array of int64
        Alive as long as calls use its address.
    """
    words: list[int] = []
    most_words = most_launches = 0
    for group in program.groups:
        words += [len(group.launches), sum(e.chunks for e in group.launches)]
        used = 0
        for e in group.launches:
            kernel, finish = kernels[e.kernel]
            words += [kernel, finish, len(e.slots), len(e.sizes), e.items, e.grain, e.chunks]
            for slot in e.slots:
                words += _place(slot, program)
            words += e.sizes
            used += len(e.slots) + len(e.sizes)
        most_words = max(most_words, used)
        most_launches = max(most_launches, len(group.launches))
    return array("q", [len(program.groups), most_words, most_launches, *words])
