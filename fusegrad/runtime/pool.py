"""The text of the thread pool: LLVM IR for Linux, and a plain loop for other systems.

Knows nothing of how the text is compiled, and nothing of what the chunks compute.

A launch has a number of chunks. Who takes part takes a chunk from `@unclaimed`, the launching
thread at one end, workers at the other, until there is none, and then adds the number of chunks
that it ran to `@finished`; the launch is over when all have been added. So nobody waits for a
thread that took nothing, and a thread that comes late, or sleeps, costs nothing. `@job` is read
only while holding a claimed chunk that is not yet counted: the launch cannot end before, and so
`@job` cannot change meanwhile.

Idle workers look for work for a while, giving way to other threads, and then sleep on `@epoch`.
Worker i sleeps on `@limit` instead while fewer than i + 1 threads are allowed. The launching thread
wakes a few sleepers and each of those wakes more, so that many cores are not woken one by one.
Which processors they run on: `pool_places`.
"""

from __future__ import annotations

import platform
import sys
from string import Template

from . import pool_places

__all__ = ["EXPORTS", "IMPORTS", "pool_ir", "runs_threads"]

EXPORTS = ("fg_parallel", "fg_pool_configure", "fg_pool_reset", "fg_pool_workers")
"""What the text defines for others."""

IMPORTS = (
    "clock_gettime",
    "pthread_create",
    "pthread_detach",
    "pthread_sigmask",
    "sched_getaffinity",
    "sched_getcpu",
    "sched_setaffinity",
    "sched_yield",
    "syscall",
)
"""The functions of the C library that the text needs where `runs_threads` holds."""

# The number of the system call `futex`.
_FUTEX = {
    "x86_64": 202,
    "aarch64": 98,
    "riscv64": 98,
    "loongarch64": 98,
    "ppc64le": 221,
    "s390x": 238,
}

# How a core is told that it waits in a loop: declaration and call.
_PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}

# Chunks one after the other, by the calling thread.
_INLINE = """
define internal void @run_inline(ptr %kernel, ptr %args, i64 %n, i64 %grain, i64 %chunks,
                                 ptr %scratch) nounwind {
entry:
  br label %head
head:
  %chunk = phi i64 [0, %entry], [%next, %body]
  %more = icmp slt i64 %chunk, %chunks
  br i1 %more, label %body, label %done
body:
  %lo = mul i64 %chunk, %grain
  %end = add i64 %lo, %grain
  %hi = call i64 @llvm.smin.i64(i64 %end, i64 %n)
  call void %kernel(ptr %args, i64 %lo, i64 %hi, i64 %chunk, ptr %scratch)
  %next = add i64 %chunk, 1
  br label %head
done:
  ret void
}
declare i64 @llvm.smin.i64(i64, i64)
"""

_WITHOUT_THREADS = """
define void @fg_parallel(ptr %kernel, ptr %args, i64 %n, i64 %grain, i64 %chunks, ptr %scratch,
                         i64 %stride) nounwind {
  tail call void @run_inline(ptr %kernel, ptr %args, i64 %n, i64 %grain, i64 %chunks, ptr %scratch)
  ret void
}
define void @fg_pool_configure(i32 %limit, i64 %spin, i32 %rescue) nounwind {
  ret void
}
define void @fg_pool_reset() nounwind {
  ret void
}
define i32 @fg_pool_workers() nounwind {
  ret i32 0
}
"""

_STATE = """
%job_type = type { ptr, ptr, i64, i64, ptr, i64 }

; Each on cache lines of its own.
; The chunks that nobody took: the first one in the lower half, the one behind the last above.
@unclaimed = internal global i64 0, align 128
@finished = internal global i32 0, align 128
@caller_sleeps = internal global i32 0, align 128
@epoch = internal global i32 0, align 128
@sleepers = internal global i32 0, align 128
@busy = internal global i32 0, align 128
@job = internal global %job_type zeroinitializer, align 128
@caller_cpu = internal global i32 -1
@limit = internal global i32 1, align 128
; How many threads the launch that is under way may have.
@allowed = internal global i32 2147483647, align 128
@workers = internal global i32 0
@spin = internal global i64 0

; Signals are for the interpreter's own threads: workers take only those that a fault of their own
; raises (ill 4, trap 5, abrt 6, bus 7, fpe 8, segv 11).
@blocked_signals = internal constant [16 x i64] [i64 -1273, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1,
  i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1]

declare i32 @clock_gettime(i32, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sched_getcpu()
declare i32 @sched_yield()
declare i64 @syscall(i64, ...)
"""

_TOOLS = """
define internal void @sleep(ptr %word, i32 %value) nounwind {
  %r = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i32 128, i32 %value, ptr null, ptr null,
                                    i32 0)
  ret void
}
define internal void @wake(ptr %word, i32 %count) nounwind {
  %r = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i32 129, i32 %count, ptr null, ptr null,
                                    i32 0)
  ret void
}
define internal i64 @nanoseconds() nounwind {
  %time = alloca [2 x i64]
  %r = call i32 @clock_gettime(i32 1, ptr %time)
  %seconds = load i64, ptr %time
  %p = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %p
  %whole = mul i64 %seconds, 1000000000
  %sum = add i64 %whole, %rest
  ret i64 %sum
}

; How many chunks a value of `unclaimed` says are left; not more than 0 if there is none.
define internal i64 @left(i64 %word) nounwind {
  %first = trunc i64 %word to i32
  %above = lshr i64 %word, 32
  %end = trunc i64 %above to i32
  %count = sub i32 %end, %first
  %count64 = sext i32 %count to i64
  ret i64 %count64
}

; Wait for about a microsecond, until chunks are left or `finished` = %target; then give way.
define internal void @look(ptr %word, i32 %target) nounwind {
entry:
  %for_work = icmp eq ptr %word, @unclaimed
  br label %head
head:
  %round = phi i32 [0, %entry], [%next, %pause]
  br i1 %for_work, label %work, label %end
work:
  %word_now = load atomic i64, ptr @unclaimed monotonic, align 8
  %left = call i64 @left(i64 %word_now)
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %done, label %pause
end:
  %value = load atomic i32, ptr %word monotonic, align 4
  %equal = icmp eq i32 %value, %target
  br i1 %equal, label %done, label %pause
pause:
  $pause
  %next = add i32 %round, 1
  %again = icmp ult i32 %next, 64
  br i1 %again, label %head, label %give_way
give_way:
  %r = call i32 @sched_yield()
  br label %done
done:
  ret void
}

; Run chunks until none is left; how many it ran. The launching thread takes the first of those that
; are left, workers the last: so launches over the same rows find them in the caches where the last
; launch left them.
define internal i32 @work(i64 %thread) nounwind {
entry:
  %launches = icmp eq i64 %thread, 0
  %step = select i1 %launches, i64 1, i64 -4294967296
  br label %head
head:
  %ran = phi i32 [0, %entry], [%ran_next, %body]
  %word = atomicrmw add ptr @unclaimed, i64 %step acquire
  %left = call i64 @left(i64 %word)
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %body, label %done
body:
  %front = and i64 %word, 4294967295
  %end_word = lshr i64 %word, 32
  %back = sub i64 %end_word, 1
  %chunk = select i1 %launches, i64 %front, i64 %back
  %kernel = load ptr, ptr @job
  %args = load ptr, ptr getelementptr (%job_type, ptr @job, i32 0, i32 1)
  %n = load i64, ptr getelementptr (%job_type, ptr @job, i32 0, i32 2)
  %grain = load i64, ptr getelementptr (%job_type, ptr @job, i32 0, i32 3)
  %scratch = load ptr, ptr getelementptr (%job_type, ptr @job, i32 0, i32 4)
  %stride = load i64, ptr getelementptr (%job_type, ptr @job, i32 0, i32 5)
  %offset = mul i64 %thread, %stride
  %own = getelementptr i8, ptr %scratch, i64 %offset
  %lo = mul i64 %chunk, %grain
  %stop = add i64 %lo, %grain
  %hi = call i64 @llvm.smin.i64(i64 %stop, i64 %n)
  call void %kernel(ptr %args, i64 %lo, i64 %hi, i64 %chunk, ptr %own)
  %ran_next = add i32 %ran, 1
  br label %head
done:
  ret i32 %ran
}
"""

_WORKER = """
define internal ptr @worker(ptr %argument) nounwind {
entry:
  %seen = alloca i32
  %left_at = alloca i64
  store i32 0, ptr %seen
  store i64 0, ptr %left_at
  %thread = ptrtoint ptr %argument to i64
  %index = trunc i64 %thread to i32
  call void @enter(i32 %index)
  br label %idle
idle:
  %start = call i64 @nanoseconds()
  br label %search
search:
  %limit = load atomic i32, ptr @limit acquire, align 4
  %wanted = icmp ugt i32 %limit, %index
  br i1 %wanted, label %wanted_now, label %surplus
surplus:
  call void @sleep(ptr @limit, i32 %limit)
  br label %idle
wanted_now:
  call void @look(ptr @unclaimed, i32 0)
  %word = load atomic i64, ptr @unclaimed monotonic, align 8
  %left = call i64 @left(i64 %word)
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %found, label %nothing
nothing:
  call void @notice(ptr %seen, ptr %left_at)
  %now = call i64 @nanoseconds()
  %spent = sub i64 %now, %start
  %spin = load i64, ptr @spin
  %patient = icmp slt i64 %spent, %spin
  br i1 %patient, label %search, label %tired
tired:
  ; The launching thread changes unclaimed, then epoch, then looks at sleepers; here it is the
  ; other way round, so one of the two sees the other.
  %before = load atomic i32, ptr @epoch seq_cst, align 4
  %s1 = atomicrmw add ptr @sleepers, i32 1 seq_cst
  %word2 = load atomic i64, ptr @unclaimed seq_cst, align 8
  %left2 = call i64 @left(i64 %word2)
  %none = icmp sle i64 %left2, 0
  br i1 %none, label %sleep, label %awake
sleep:
  call void @sleep(ptr @epoch, i32 %before)
  br label %awake
awake:
  %s2 = atomicrmw sub ptr @sleepers, i32 1 seq_cst
  %word3 = load atomic i64, ptr @unclaimed monotonic, align 8
  %left3 = call i64 @left(i64 %word3)
  %many = icmp sgt i64 %left3, 2
  %others = icmp sgt i32 %s2, 1
  %call = and i1 %many, %others
  br i1 %call, label %wake_more, label %idle
wake_more:
  call void @wake(ptr @epoch, i32 2)
  br label %idle

found:
  %allowed = load atomic i32, ptr @allowed monotonic, align 4
  %welcome = icmp ugt i32 %allowed, %index
  br i1 %welcome, label %take, label %nothing
take:
  call void @notice(ptr %seen, ptr %left_at)
  %ran = call i32 @work(i64 %thread)
  %any = icmp ne i32 %ran, 0
  br i1 %any, label %report, label %reported
report:
  %f = atomicrmw add ptr @finished, i32 %ran seq_cst
  %waiting = load atomic i32, ptr @caller_sleeps seq_cst, align 4
  %is_waiting = icmp ne i32 %waiting, 0
  br i1 %is_waiting, label %wake_caller, label %reported
wake_caller:
  call void @wake(ptr @finished, i32 1)
  br label %reported
reported:
  br label %idle
}
"""

_LAUNCH = """
; Called by the thread that holds `busy`. If the system refuses a thread, the limit becomes what
; there is.
define internal void @start_workers(i32 %limit) nounwind {
entry:
  %handle = alloca i64
  %old = alloca [16 x i64]
  %masked = call i32 @pthread_sigmask(i32 2, ptr @blocked_signals, ptr %old)
  %first = load i32, ptr @workers
  br label %head
head:
  %have = phi i32 [%first, %entry], [%index, %made]
  %index = add i32 %have, 1
  %enough = icmp uge i32 %index, %limit
  br i1 %enough, label %done, label %make
make:
  %wide = zext i32 %index to i64
  %argument = inttoptr i64 %wide to ptr
  %refused = call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %argument)
  %ok = icmp eq i32 %refused, 0
  br i1 %ok, label %made, label %fewer
made:
  %h = load i64, ptr %handle
  %d = call i32 @pthread_detach(i64 %h)
  store atomic i32 %index, ptr @workers monotonic, align 4
  br label %head
fewer:
  store atomic i32 %index, ptr @limit release, align 4
  br label %done
done:
  %unmasked = call i32 @pthread_sigmask(i32 2, ptr %old, ptr null)
  ret void
}

define void @fg_parallel(ptr %kernel, ptr %args, i64 %n, i64 %grain, i64 %chunks, ptr %scratch,
                         i64 %given) nounwind {
entry:
  %most = lshr i64 %given, 48
  %stride = and i64 %given, 281474976710655
  %all_of_them = icmp eq i64 %most, 0
  %wanted = select i1 %all_of_them, i64 2147483647, i64 %most
  %wanted32 = trunc i64 %wanted to i32
  %general = load atomic i32, ptr @limit acquire, align 4
  %limit = call i32 @llvm.umin.i32(i32 %general, i32 %wanted32)
  ; From 2 on, and countable in half a word.
  %above_one = sub i64 %chunks, 2
  %several = icmp ult i64 %above_one, 2147483645
  %threads = icmp ugt i32 %limit, 1
  %worthwhile = and i1 %several, %threads
  br i1 %worthwhile, label %try, label %inline
try:
  %exchange = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %free = extractvalue { i32, i1 } %exchange, 1
  br i1 %free, label %check, label %inline
inline:
  call void @run_inline(ptr %kernel, ptr %args, i64 %n, i64 %grain, i64 %chunks, ptr %scratch)
  ret void

check:
  %have = load i32, ptr @workers
  %with_caller = add i32 %have, 1
  %short = icmp ult i32 %with_caller, %limit
  br i1 %short, label %start, label %publish
start:
  call void @start_workers(i32 %limit)
  br label %publish
publish:
  %cpu = call i32 @sched_getcpu()
  store atomic i32 %cpu, ptr @caller_cpu monotonic, align 4
  store ptr %kernel, ptr @job
  store ptr %args, ptr getelementptr (%job_type, ptr @job, i32 0, i32 1)
  store i64 %n, ptr getelementptr (%job_type, ptr @job, i32 0, i32 2)
  store i64 %grain, ptr getelementptr (%job_type, ptr @job, i32 0, i32 3)
  store ptr %scratch, ptr getelementptr (%job_type, ptr @job, i32 0, i32 4)
  store i64 %stride, ptr getelementptr (%job_type, ptr @job, i32 0, i32 5)
  store atomic i32 %wanted32, ptr @allowed monotonic, align 4
  store atomic i32 0, ptr @finished monotonic, align 4
  %all_chunks = shl i64 %chunks, 32
  store atomic i64 %all_chunks, ptr @unclaimed release, align 8
  %e = atomicrmw add ptr @epoch, i32 1 seq_cst
  %sleeping = load atomic i32, ptr @sleepers seq_cst, align 4
  %any = icmp ne i32 %sleeping, 0
  br i1 %any, label %wake_some, label %take_part
wake_some:
  %others = add i64 %chunks, -1
  %few = call i64 @llvm.smin.i64(i64 %others, i64 4)
  %few32 = trunc i64 %few to i32
  call void @wake_elsewhere(i32 %cpu, i32 %few32)
  br label %take_part
take_part:
  %ran = call i32 @work(i64 0)
  %chunks32 = trunc i64 %chunks to i32
  %target = sub i32 %chunks32, %ran
  br label %wait
wait:
  %round = phi i32 [0, %take_part], [%round_next, %again], [0, %slept]
  %done = load atomic i32, ptr @finished acquire, align 4
  %all = icmp eq i32 %done, %target
  br i1 %all, label %over, label %not_yet
not_yet:
  call void @look(ptr @finished, i32 %target)
  %round_next = add i32 %round, 1
  %patient = icmp ult i32 %round_next, 64
  br i1 %patient, label %again, label %tired
again:
  br label %wait
tired:
  store atomic i32 1, ptr @caller_sleeps seq_cst, align 4
  %done2 = load atomic i32, ptr @finished seq_cst, align 4
  %all2 = icmp eq i32 %done2, %target
  br i1 %all2, label %slept, label %sleep
sleep:
  call void @sleep(ptr @finished, i32 %done2)
  br label %slept
slept:
  store atomic i32 0, ptr @caller_sleeps seq_cst, align 4
  br label %wait
over:
  store atomic i32 0, ptr @busy release, align 4
  ret void
}
"""

_CONTROL = """
define void @fg_pool_configure(i32 %limit, i64 %spin, i32 %rescue) nounwind {
  store i64 %spin, ptr @spin
  call void @rescue_configure(i32 %rescue)
  store atomic i32 %limit, ptr @limit seq_cst, align 4
  call void @wake(ptr @limit, i32 2147483647)
  ret void
}
define i32 @fg_pool_workers() nounwind {
  %n = load atomic i32, ptr @workers monotonic, align 4
  ret i32 %n
}

; In the child after a fork: there are no workers, and nobody's launch is under way.
define void @fg_pool_reset() nounwind {
  store i64 0, ptr @unclaimed
  store i32 0, ptr @finished
  store i32 0, ptr @caller_sleeps
  store i32 0, ptr @sleepers
  store i32 0, ptr @workers
  call void @forget()
  store atomic i32 0, ptr @busy seq_cst, align 4
  ret void
}
"""


def runs_threads() -> bool:
    """Whether the pool of this system has threads, or runs everything on the caller.

    Returns
    -------
    bool
        True for Linux on the machines that it knows.
    """
    return sys.platform == "linux" and sys.maxsize > 2**32 and platform.machine() in _FUTEX


def pool_ir() -> str:
    """The pool for this system.

    Returns
    -------
    str
        A module that defines `EXPORTS` and declares `IMPORTS`.

    Examples
    --------
    >>> "define void @fg_parallel" in pool_ir()
    True
    """
    if not runs_threads():
        return _INLINE + _WITHOUT_THREADS
    machine = platform.machine()
    declaration, pause = _PAUSE.get(machine, ("", ""))
    text = _STATE + _INLINE + _TOOLS + _WORKER + _LAUNCH + _CONTROL + declaration + "\n"
    known = Template(text).substitute(futex=_FUTEX[machine], pause=pause)
    return known + pool_places.text(machine)
