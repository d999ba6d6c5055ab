"""Where native calls begin: LLVM IR, in the shorthand of `native_text`.

Knows lists of plans, and that one is tried by `attempt` of `native_run`.
"""

from __future__ import annotations

__all__ = ["ENTRIES_IR"]

ENTRIES_IR = r"""
; The first of some plans that fits the arguments: a result, MISS, not a new reference, or null.
define internal ptr @first_fit(ptr %plans, ptr %args, i64 %count) {
entry:
  br label %next
next:
  %p = phi ptr [%plans, %entry], [%p2, %other]
  %plan = load ptr, ptr %p
  %end = icmp eq ptr %plan, null
  br i1 %end, label %miss, label %one
one:
  %wanted = get i64 %plan + $arguments_count
  %same = icmp eq i64 %wanted, %count
  br i1 %same, label %try, label %other
try:
  %result = call ptr @attempt(ptr %plan, ptr %args)
  %missed = icmp eq ptr %result, @MISS
  br i1 %missed, label %other, label %done
other:
  %p2 = getelementptr ptr, ptr %p, i64 1
  br label %next
done:
  ret ptr %result
miss:
  ret ptr @MISS
}

define ptr @fg_dispatch(ptr %self, ptr %args, i64 %count, ptr %keywords) {
entry:
  %named = icmp ne ptr %keywords, null
  br i1 %named, label %miss, label %begin
begin:
  %plans = call ptr @PyLong_AsVoidPtr(ptr %self)
  %result = call ptr @first_fit(ptr %plans, ptr %args, i64 %count)
  %missed = icmp eq ptr %result, @MISS
  br i1 %missed, label %miss, label %done
done:
  ret ptr %result
miss:
  call void @Py_IncRef(ptr @MISS)
  ret ptr @MISS
}

; Whether the names of a call are these objects.
define internal i1 @names(ptr %keywords, i64 %count, ptr %names) {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %name = call ptr @PyTuple_GetItem(ptr %keywords, i64 %i)
  %p = getelementptr ptr, ptr %names, i64 %i
  %known = load ptr, ptr %p
  %i2 = add i64 %i, 1
  %is = icmp eq ptr %name, %known
  br i1 %is, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

; A result of the plans for calls with such names, or MISS, not a new reference, or null.
define internal ptr @by_name(ptr %table, ptr %args, i64 %count, ptr %keywords) {
entry:
  %number = call i64 @PyTuple_Size(ptr %keywords)
  %all = add i64 %count, %number
  %first = getelementptr i64, ptr %table, i64 2
  br label %next
next:
  %r = phi ptr [%first, %entry], [%r2, %other]
  %positional = get i64 %r + 0
  %end = icmp slt i64 %positional, 0
  br i1 %end, label %miss, label %one
one:
  %named = get i64 %r + 8
  %known = get ptr %r + 16
  %c1 = icmp eq i64 %positional, %count
  %c2 = icmp eq i64 %named, %number
  %c = and i1 %c1, %c2
  br i1 %c, label %compare, label %other
compare:
  %same = call i1 @names(ptr %keywords, i64 %number, ptr %known)
  br i1 %same, label %found, label %other
other:
  %r2 = getelementptr i64, ptr %r, i64 4
  br label %next
found:
  %plans = get ptr %r + 24
  %result = call ptr @first_fit(ptr %plans, ptr %args, i64 %all)
  ret ptr %result
miss:
  ret ptr @MISS
}

; A compiled function: the plans that are its own now, held while one of them runs, or else what
; answers all calls.
define ptr @fg_call(ptr %self, ptr %args, i64 %count, ptr %keywords) {
entry:
  %own = call ptr @PyLong_AsVoidPtr(ptr %self)
  %table = get ptr %own + 0
  %holder = get ptr %table + 0
  call void @Py_IncRef(ptr %holder)
  %unnamed = icmp eq ptr %keywords, null
  br i1 %unnamed, label %positional, label %named
positional:
  %plans = get ptr %table + 8
  %fit = call ptr @first_fit(ptr %plans, ptr %args, i64 %count)
  br label %tried
named:
  %found = call ptr @by_name(ptr %table, ptr %args, i64 %count, ptr %keywords)
  br label %tried
tried:
  %result = phi ptr [%fit, %positional], [%found, %named]
  call void @Py_DecRef(ptr %holder)
  %missed = icmp eq ptr %result, @MISS
  br i1 %missed, label %general, label %done
done:
  ret ptr %result
general:
  %function = get ptr %own + 8
  %answer = call ptr @PyObject_Vectorcall(ptr %function, ptr %args, i64 %count, ptr %keywords)
  ret ptr %answer
}

; One call after the other: a list of tuples of arguments, from a number on; results are appended to
; a list. How many calls there were in the end, fewer when the next one is for the general path.
define ptr @fg_series(ptr %self, ptr %args, i64 %count, ptr %keywords) {
entry:
  %calls = load ptr, ptr %args
  %number = get ptr %args + 8
  %results = get ptr %args + 16
  %first = call i64 @PyLong_AsLongLong(ptr %number)
  br label %next
next:
  %i = phi i64 [%first, %entry], [%i2, %keep]
  %size = call i64 @PyList_Size(ptr %calls)
  %more = icmp slt i64 %i, %size
  br i1 %more, label %one, label %done
one:
  %item = call ptr @PyList_GetItem(ptr %calls, i64 %i)
  call void @Py_IncRef(ptr %item)
  %result = call ptr @spread(ptr %self, ptr %item)
  call void @Py_DecRef(ptr %item)
  %failed = icmp eq ptr %result, null
  br i1 %failed, label %bad, label %made
made:
  %missed = icmp eq ptr %result, @MISS
  br i1 %missed, label %miss, label %keep
keep:
  %r = call i32 @PyList_Append(ptr %results, ptr %result)
  call void @Py_DecRef(ptr %result)
  %i2 = add i64 %i, 1
  br label %next
miss:
  call void @Py_DecRef(ptr %result)
  br label %done
done:
  %end = call ptr @PyLong_FromLongLong(i64 %i)
  ret ptr %end
bad:
  ret ptr null
}

; A call with the arguments in a tuple.
define internal ptr @spread(ptr %self, ptr %tuple) {
entry:
  %count = call i64 @PyTuple_Size(ptr %tuple)
  %args = alloca ptr, i64 %count
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %go
one:
  %value = call ptr @PyTuple_GetItem(ptr %tuple, i64 %i)
  %p = getelementptr ptr, ptr %args, i64 %i
  store ptr %value, ptr %p
  %i2 = add i64 %i, 1
  br label %next
go:
  %result = call ptr @fg_dispatch(ptr %self, ptr %args, i64 %count, ptr null)
  ret ptr %result
}
"""
