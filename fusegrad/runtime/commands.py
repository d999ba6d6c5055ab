"""The text of the function that walks the table of a program: LLVM IR.

Knows the layout of the table; `executor` writes it.

All words are 64-bit. A command begins with its kind and the number of its words::

    table   ::= words launches block           words, launches: the most in any group or call
    block   ::= command* 0
    command ::= 1 length chunks count launch*                              group
              | 2 length address count place*                              call
              | 3 length bytes place place                                 copy: target, source
              | 4 length trips told counts cursor* rotation* block         loop
              | 5 length place counts test cursor* rotation* block block   while
              | 6 length place count branch* block*                        switch
    launch  ::= kernel finish arguments sizes items grain chunks place* size*
    counts  ::= cursors rotations
    cursor  ::= index place offset step
    rotation ::= index index index
    place   ::= (0, index into the pointers) | (1, offset into the arena)

`told` is whether a loop may be interrupted; a while always may. `test` is how many words the test
of a `while` has, `branch` where a branch begins, in words after the command's own. Cursors have
their addresses among the pointers, behind those of the constants.
"""

from __future__ import annotations

__all__ = ["COMMANDS_IR"]

COMMANDS_IR = r"""
declare void @fg_parallel(ptr, ptr, i64, i64, i64, ptr, i64)
declare ptr @memmove(ptr, ptr, i64)

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

; A group: its launches with their arguments, dealt together, then what each does at the end.
define internal void @fg_deal(
    ptr %at, ptr %pointers, ptr %arena, ptr %scratch, i64 %stride, ptr %args, ptr %desc) {
entry:
  %tp = getelementptr i64, ptr %at, i64 2
  %total = load i64, ptr %tp
  %cp = getelementptr i64, ptr %at, i64 3
  %count = load i64, ptr %cp
  %first0 = getelementptr i64, ptr %at, i64 4
  br label %launch
launch:
  %l = phi i64 [0, %entry], [%l2, %sized]
  %h = phi ptr [%first0, %entry], [%place, %sized]
  %w = phi ptr [%args, %entry], [%w3, %sized]
  %d = phi ptr [%desc, %entry], [%d2, %sized]
  %first = phi i64 [0, %entry], [%first2, %sized]
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
  br i1 %fmore, label %fbody, label %done
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
done:
  ret void
}

; The address that a place means.
define internal ptr @fg_place(ptr %place, ptr %pointers, ptr %arena) {
  %kind = load i64, ptr %place
  %xp = getelementptr i64, ptr %place, i64 1
  %x = load i64, ptr %xp
  %isarena = icmp eq i64 %kind, 1
  br i1 %isarena, label %inarena, label %pointer
inarena:
  %a = getelementptr i8, ptr %arena, i64 %x
  ret ptr %a
pointer:
  %pp = getelementptr ptr, ptr %pointers, i64 %x
  %p = load ptr, ptr %pp
  ret ptr %p
}

; Cursors where they begin.
define internal void @fg_begin(ptr %cursors, i64 %count, ptr %pointers, ptr %arena) {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %one]
  %c = phi ptr [%cursors, %entry], [%c2, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %index = load i64, ptr %c
  %sp = getelementptr i64, ptr %c, i64 1
  %start = call ptr @fg_place(ptr %sp, ptr %pointers, ptr %arena)
  %op = getelementptr i64, ptr %c, i64 3
  %offset = load i64, ptr %op
  %address = getelementptr i8, ptr %start, i64 %offset
  %pp = getelementptr ptr, ptr %pointers, i64 %index
  store ptr %address, ptr %pp
  %c2 = getelementptr i64, ptr %c, i64 5
  %i2 = add i64 %i, 1
  br label %next
done:
  ret void
}

; Cursors after an iteration: steps, then rotations.
define internal void @fg_move(
    ptr %cursors, i64 %count, ptr %rotations, i64 %turns, ptr %pointers) {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %one]
  %c = phi ptr [%cursors, %entry], [%c2, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %turn
one:
  %index = load i64, ptr %c
  %sp = getelementptr i64, ptr %c, i64 4
  %step = load i64, ptr %sp
  %pp = getelementptr ptr, ptr %pointers, i64 %index
  %before = load ptr, ptr %pp
  %after = getelementptr i8, ptr %before, i64 %step
  store ptr %after, ptr %pp
  %c2 = getelementptr i64, ptr %c, i64 5
  %i2 = add i64 %i, 1
  br label %next
turn:
  %t = phi i64 [0, %next], [%t2, %rotate]
  %r = phi ptr [%rotations, %next], [%r3, %rotate]
  %again = icmp slt i64 %t, %turns
  br i1 %again, label %rotate, label %done
rotate:
  %ci = load i64, ptr %r
  %r1 = getelementptr i64, ptr %r, i64 1
  %ni = load i64, ptr %r1
  %r2 = getelementptr i64, ptr %r, i64 2
  %si = load i64, ptr %r2
  %cp = getelementptr ptr, ptr %pointers, i64 %ci
  %np = getelementptr ptr, ptr %pointers, i64 %ni
  %spp = getelementptr ptr, ptr %pointers, i64 %si
  %written = load ptr, ptr %np
  %spare = load ptr, ptr %spp
  store ptr %written, ptr %cp
  store ptr %spare, ptr %np
  store ptr %written, ptr %spp
  %r3 = getelementptr i64, ptr %r, i64 3
  %t2 = add i64 %t, 1
  br label %turn
done:
  ret void
}

; The arguments of a call, and the call; not 0 when it failed.
define internal i64 @fg_host(ptr %at, ptr %pointers, ptr %arena, ptr %args) {
entry:
  %fp = getelementptr i64, ptr %at, i64 2
  %function = load ptr, ptr %fp
  %cp = getelementptr i64, ptr %at, i64 3
  %count = load i64, ptr %cp
  %first = getelementptr i64, ptr %at, i64 4
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %one]
  %p = phi ptr [%first, %entry], [%p2, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %go
one:
  %address = call ptr @fg_place(ptr %p, ptr %pointers, ptr %arena)
  %a = getelementptr ptr, ptr %args, i64 %i
  store ptr %address, ptr %a
  %p2 = getelementptr i64, ptr %p, i64 2
  %i2 = add i64 %i, 1
  br label %next
go:
  %failed = call i64 %function(ptr %args)
  ret i64 %failed
}

; Commands, one after the other; not 0 when a call failed, and nothing ran after it.
define internal i64 @fg_block(
    ptr %block, ptr %pointers, ptr %arena, ptr %scratch, i64 %stride, ptr %args, ptr %desc) {
entry:
  %since = alloca i64
  br label %next
next:
  %at = phi ptr [%block, %entry], [%at2, %advance]
  %kind = load i64, ptr %at
  %a2 = getelementptr i64, ptr %at, i64 2
  switch i64 %kind, label %done [
    i64 1, label %group
    i64 2, label %call
    i64 3, label %copy
    i64 4, label %loop
    i64 5, label %while
    i64 6, label %switch
  ]
advance:
  %lp = getelementptr i64, ptr %at, i64 1
  %length = load i64, ptr %lp
  %at2 = getelementptr i64, ptr %at, i64 %length
  br label %next
group:
  call void @fg_deal(ptr %at, ptr %pointers, ptr %arena,
      ptr %scratch, i64 %stride, ptr %args, ptr %desc)
  br label %advance
call:
  %cs = call i64 @fg_host(ptr %at, ptr %pointers, ptr %arena, ptr %args)
  %cf = icmp eq i64 %cs, 0
  br i1 %cf, label %advance, label %failed
copy:
  %bytes = load i64, ptr %a2
  %tp = getelementptr i64, ptr %at, i64 3
  %target = call ptr @fg_place(ptr %tp, ptr %pointers, ptr %arena)
  %sp = getelementptr i64, ptr %at, i64 5
  %source = call ptr @fg_place(ptr %sp, ptr %pointers, ptr %arena)
  call ptr @memmove(ptr %target, ptr %source, i64 %bytes)
  br label %advance
loop:
  %trips = load i64, ptr %a2
  %ltp = getelementptr i64, ptr %at, i64 3
  %asks = load i64, ptr %ltp
  %lcp = getelementptr i64, ptr %at, i64 4
  %lcount = load i64, ptr %lcp
  %lrp = getelementptr i64, ptr %at, i64 5
  %lturns = load i64, ptr %lrp
  %lcursors = getelementptr i64, ptr %at, i64 6
  %lcwords = mul i64 %lcount, 5
  %lrotations = getelementptr i64, ptr %lcursors, i64 %lcwords
  %lrwords = mul i64 %lturns, 3
  %lbody = getelementptr i64, ptr %lrotations, i64 %lrwords
  store i64 0, ptr %since
  call void @fg_begin(ptr %lcursors, i64 %lcount, ptr %pointers, ptr %arena)
  br label %trip
trip:
  %t = phi i64 [0, %loop], [%t2, %turned]
  %tmore = icmp slt i64 %t, %trips
  br i1 %tmore, label %open, label %advance
open:
  %free = icmp eq i64 %asks, 0
  br i1 %free, label %turn, label %question
question:
  %lt = call i64 @fg_told(ptr %since)
  %lon = icmp eq i64 %lt, 0
  br i1 %lon, label %turn, label %failed
turn:
  %ls = call i64 @fg_block(ptr %lbody, ptr %pointers, ptr %arena,
      ptr %scratch, i64 %stride, ptr %args, ptr %desc)
  %lf = icmp eq i64 %ls, 0
  br i1 %lf, label %turned, label %failed
turned:
  call void @fg_move(ptr %lcursors, i64 %lcount, ptr %lrotations, i64 %lturns, ptr %pointers)
  %t2 = add i64 %t, 1
  br label %trip
while:
  %wcp = getelementptr i64, ptr %at, i64 4
  %wcount = load i64, ptr %wcp
  %wrp = getelementptr i64, ptr %at, i64 5
  %wturns = load i64, ptr %wrp
  %wtp = getelementptr i64, ptr %at, i64 6
  %wtest = load i64, ptr %wtp
  %wcursors = getelementptr i64, ptr %at, i64 7
  %wcwords = mul i64 %wcount, 5
  %wrotations = getelementptr i64, ptr %wcursors, i64 %wcwords
  %wrwords = mul i64 %wturns, 3
  %wfirst = getelementptr i64, ptr %wrotations, i64 %wrwords
  %wbody = getelementptr i64, ptr %wfirst, i64 %wtest
  call void @fg_begin(ptr %wcursors, i64 %wcount, ptr %pointers, ptr %arena)
  store i64 0, ptr %since
  br label %test
test:
  %ws = call i64 @fg_block(ptr %wfirst, ptr %pointers, ptr %arena,
      ptr %scratch, i64 %stride, ptr %args, ptr %desc)
  %wf = icmp eq i64 %ws, 0
  br i1 %wf, label %tested, label %failed
tested:
  %wplace = call ptr @fg_place(ptr %a2, ptr %pointers, ptr %arena)
  %holds = load i8, ptr %wplace
  %stop = icmp eq i8 %holds, 0
  br i1 %stop, label %advance, label %asked
asked:
  %wt = call i64 @fg_told(ptr %since)
  %won = icmp eq i64 %wt, 0
  br i1 %won, label %again, label %failed
again:
  %as = call i64 @fg_block(ptr %wbody, ptr %pointers, ptr %arena,
      ptr %scratch, i64 %stride, ptr %args, ptr %desc)
  %af = icmp eq i64 %as, 0
  br i1 %af, label %moved, label %failed
moved:
  call void @fg_move(ptr %wcursors, i64 %wcount, ptr %wrotations, i64 %wturns, ptr %pointers)
  br label %test
switch:
  %splace = call ptr @fg_place(ptr %a2, ptr %pointers, ptr %arena)
  %number = load i64, ptr %splace
  %scp = getelementptr i64, ptr %at, i64 4
  %scount = load i64, ptr %scp
  %last = sub i64 %scount, 1
  %high = icmp sgt i64 %number, %last
  %n1 = select i1 %high, i64 %last, i64 %number
  %low = icmp slt i64 %n1, 0
  %chosen = select i1 %low, i64 0, i64 %n1
  %sb = getelementptr i64, ptr %at, i64 5
  %bp = getelementptr i64, ptr %sb, i64 %chosen
  %offset = load i64, ptr %bp
  %branch = getelementptr i64, ptr %at, i64 %offset
  %bs = call i64 @fg_block(ptr %branch, ptr %pointers, ptr %arena,
      ptr %scratch, i64 %stride, ptr %args, ptr %desc)
  %bf = icmp eq i64 %bs, 0
  br i1 %bf, label %advance, label %failed
failed:
  ret i64 1
done:
  ret i64 0
}

define internal void @fg_run(ptr %table, ptr %pointers, ptr %arena, ptr %scratch, i64 %stride) {
  %words = load i64, ptr %table
  %lp = getelementptr i64, ptr %table, i64 1
  %launches = load i64, ptr %lp
  %dwords = mul i64 %launches, 7
  %args = alloca i64, i64 %words, align 64
  %desc = alloca i64, i64 %dwords, align 64
  %body = getelementptr i64, ptr %table, i64 2
  %failed = call i64 @fg_block(ptr %body, ptr %pointers, ptr %arena,
      ptr %scratch, i64 %stride, ptr %args, ptr %desc)
  ret void
}
"""
