"""The text of what keeps the threads of the pool on processors of their own: LLVM IR for Linux.

The scheduler of a virtual machine may take a processor that sleeps for one that another machine
uses, and wake a thread on the processor of the one that wakes it; there it waits for milliseconds.
So sleepers are woken elsewhere, and a worker that finds itself on the processor of the launching
thread leaves it. Both change, for a moment, which processors a thread may use, never two at once.
"""

from __future__ import annotations

from string import Template

__all__ = ["text"]

# So many workers are woken elsewhere; where there are more, there are more places to choose from.
_PLACED = 8

# A worker that left a processor stays at least so long where it is.
_STAYS_NANOSECONDS = 2_000_000

# The number of the system call `gettid`.
_GETTID = {
    "x86_64": 186,
    "aarch64": 178,
    "riscv64": 178,
    "loongarch64": 178,
    "ppc64le": 207,
    "s390x": 236,
}

_TEXT = """
@rescue = internal global i32 0
; The system's numbers of the first workers, 0 where there is none.
@threads = internal global [$placed x i32] zeroinitializer
; Whether somebody changes where threads may run: what others read meanwhile is not to be restored.
@moving = internal global i32 0

declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)

define internal void @rescue_configure(i32 %rescue) nounwind {
  store i32 %rescue, ptr @rescue
  ret void
}

; In the child after a fork there are no workers.
define internal void @forget() nounwind {
  call void @llvm.memset.p0.i64(ptr @threads, i8 0, i64 $bytes, i1 false)
  store atomic i32 0, ptr @moving release, align 4
  ret void
}

; Worker %index, counted from 1, says who it is.
define internal void @enter(i32 %index) nounwind {
  %few = icmp ule i32 %index, $placed
  br i1 %few, label %name, label %done
name:
  %id = call i64 (i64, ...) @syscall(i64 $gettid)
  %id32 = trunc i64 %id to i32
  %own = sub i32 %index, 1
  %number = getelementptr i32, ptr @threads, i32 %own
  store atomic i32 %id32, ptr %number monotonic, align 4
  br label %done
done:
  ret void
}

; The processors that a thread may use, and those of them that are not %cpu; whether that is known.
define internal i1 @places(i32 %thread, i32 %cpu, ptr %all, ptr %others) nounwind {
  call void @llvm.memset.p0.i64(ptr %all, i8 0, i64 128, i1 false)
  %got = call i32 @sched_getaffinity(i32 %thread, i64 128, ptr %all)
  %known = icmp eq i32 %got, 0
  %small = icmp ult i32 %cpu, 1024
  %able = and i1 %known, %small
  br i1 %able, label %without, label %done
without:
  call void @llvm.memcpy.p0.p0.i64(ptr %others, ptr %all, i64 128, i1 false)
  %word = lshr i32 %cpu, 6
  %place = and i32 %cpu, 63
  %place64 = zext i32 %place to i64
  %bit = shl i64 1, %place64
  %rest = xor i64 %bit, -1
  %p = getelementptr i64, ptr %others, i32 %word
  %old = load i64, ptr %p
  %new = and i64 %old, %rest
  store i64 %new, ptr %p
  br label %done
done:
  ret i1 %able
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; Wake sleepers, where these are few elsewhere than on this processor: the first of them may use
; the others alone until they are awake.
define internal void @wake_elsewhere(i32 %cpu, i32 %count) nounwind {
entry:
  %all = alloca [$placed x [16 x i64]]
  %others = alloca [16 x i64]
  %rescue = load i32, ptr @rescue
  %rescuing = icmp ne i32 %rescue, 0
  %workers = load i32, ptr @workers
  %few = icmp ule i32 %workers, $placed
  %place = and i1 %rescuing, %few
  br i1 %place, label %try, label %plain
try:
  %exchange = cmpxchg ptr @moving, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %exchange, 1
  br i1 %mine, label %keep_away, label %plain
plain:
  call void @wake(ptr @epoch, i32 %count)
  ret void
keep_away:
  %i = phi i32 [0, %try], [%i_next, %kept]
  %more = icmp ult i32 %i, %workers
  br i1 %more, label %one, label %woken
one:
  %number = getelementptr i32, ptr @threads, i32 %i
  %thread = load atomic i32, ptr %number monotonic, align 4
  %own = getelementptr [16 x i64], ptr %all, i32 %i
  store i64 0, ptr %own
  %exists = icmp ne i32 %thread, 0
  br i1 %exists, label %ask, label %kept
ask:
  %able = call i1 @places(i32 %thread, i32 %cpu, ptr %own, ptr %others)
  br i1 %able, label %restrict, label %kept
restrict:
  %r1 = call i32 @sched_setaffinity(i32 %thread, i64 128, ptr %others)
  br label %kept
kept:
  %i_next = add i32 %i, 1
  br label %keep_away
woken:
  call void @wake(ptr @epoch, i32 %count)
  br label %release
release:
  %j = phi i32 [0, %woken], [%j_next, %released]
  %more2 = icmp ult i32 %j, %workers
  br i1 %more2, label %two, label %done
two:
  %number2 = getelementptr i32, ptr @threads, i32 %j
  %thread2 = load atomic i32, ptr %number2 monotonic, align 4
  %exists2 = icmp ne i32 %thread2, 0
  br i1 %exists2, label %restore, label %released
restore:
  ; An empty set is refused.
  %own2 = getelementptr [16 x i64], ptr %all, i32 %j
  %r2 = call i32 @sched_setaffinity(i32 %thread2, i64 128, ptr %own2)
  br label %released
released:
  %j_next = add i32 %j, 1
  br label %release
done:
  store atomic i32 0, ptr @moving release, align 4
  ret void
}

; Leave this processor for a moment: the scheduler then finds another.
define internal void @leave_cpu(i32 %cpu) nounwind {
  %all = alloca [16 x i64]
  %others = alloca [16 x i64]
  %exchange = cmpxchg ptr @moving, i32 0, i32 1 acquire monotonic
  %mine = extractvalue { i32, i1 } %exchange, 1
  br i1 %mine, label %look, label %done
look:
  %able = call i1 @places(i32 0, i32 %cpu, ptr %all, ptr %others)
  br i1 %able, label %move, label %end
move:
  %moved = call i32 @sched_setaffinity(i32 0, i64 128, ptr %others)
  %restored = call i32 @sched_setaffinity(i32 0, i64 128, ptr %all)
  br label %end
end:
  store atomic i32 0, ptr @moving release, align 4
  br label %done
done:
  ret void
}

; Once for each launch: a worker on the launching thread's processor leaves it, but not again and
; again, as all others may be in use.
define internal void @notice(ptr %seen, ptr %left_at) nounwind {
entry:
  %rescue = load i32, ptr @rescue
  %rescuing = icmp ne i32 %rescue, 0
  %epoch = load atomic i32, ptr @epoch monotonic, align 4
  %last = load i32, ptr %seen
  %new = icmp ne i32 %epoch, %last
  %check = and i1 %rescuing, %new
  br i1 %check, label %compare, label %done
compare:
  store i32 %epoch, ptr %seen
  %mine = call i32 @sched_getcpu()
  %theirs = load atomic i32, ptr @caller_cpu monotonic, align 4
  %same = icmp eq i32 %mine, %theirs
  br i1 %same, label %together, label %done
together:
  %now = call i64 @nanoseconds()
  %before = load i64, ptr %left_at
  %since = sub i64 %now, %before
  %leaving = icmp sgt i64 %since, $stays
  br i1 %leaving, label %leave, label %done
leave:
  store i64 %now, ptr %left_at
  call void @leave_cpu(i32 %mine)
  br label %done
done:
  ret void
}
"""


def text(machine: str) -> str:
    """The functions `enter`, `forget`, `notice`, `rescue_configure` and `wake_elsewhere`.

    Parameters
    ----------
    machine : str
        As `platform.machine` says.

    Returns
    -------
    str
        What the pool's module contains beside the pool itself.
    """
    return Template(_TEXT).substitute(
        gettid=_GETTID[machine],
        placed=_PLACED,
        bytes=4 * _PLACED,
        stays=_STAYS_NANOSECONDS,
    )
