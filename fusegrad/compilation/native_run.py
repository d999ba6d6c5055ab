"""What a native call does once its checks hold: LLVM IR, in the shorthand of `native_text`.

Knows the tables that `native_text` describes, and the functions of `native_checks`.
"""

from __future__ import annotations

__all__ = ["RUN_IR"]

RUN_IR = r"""
; The storage of a gradient that the step replaces, if nobody else has it; else null.
define internal ptr @spare_gradient(ptr %owner, ptr %record) {
  %grad = get ptr %owner + $tensor_grad
  %class = get ptr %grad + $class
  %plain = icmp eq ptr %class, @Tensor
  br i1 %plain, label %tensor, label %none
tensor:
  %holders = load i32, ptr %grad
  %storage = get ptr %grad + $tensor_storage
  %kind = get ptr %storage + $class
  %shared = get ptr %grad + $tensor_shared
  %held_once = icmp eq i32 %holders, 1
  %stored = icmp eq ptr %kind, @Storage
  %unshared = icmp eq ptr %shared, @None
  %own = and i1 %held_once, %unshared
  %has = and i1 %own, %stored
  br i1 %has, label %value, label %none
value:
  %references = load i32, ptr %storage
  %alone = icmp eq i32 %references, 1
  %type = get ptr %storage + $storage_type
  %wanted = get ptr %record + 0
  %same = icmp eq ptr %type, %wanted
  %free = and i1 %alone, %same
  br i1 %free, label %found, label %none
found:
  ret ptr %storage
none:
  ret ptr null
}

; The storage of an earlier call's result, if nobody has it any more; else null.
define internal ptr @spare_result(ptr %kept) {
entry:
  %items = get ptr %kept + $list_items
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %other]
  %more = icmp slt i64 %i, $kept_results
  br i1 %more, label %one, label %none
one:
  %p = getelementptr ptr, ptr %items, i64 %i
  %storage = load ptr, ptr %p
  %empty = icmp eq ptr %storage, @None
  br i1 %empty, label %none, label %held
held:
  %references = load i32, ptr %storage
  %weak = get ptr %storage + $storage_weaklist
  %unreferred = icmp eq i32 %references, 1
  %unwatched = icmp eq ptr %weak, null
  %unheld = and i1 %unreferred, %unwatched
  br i1 %unheld, label %view, label %other
view:
  %array = get ptr %storage + $storage_array
  %unseen = icmp eq ptr %array, @None
  br i1 %unseen, label %memory, label %seen
seen:
  %viewers = load i32, ptr %array
  %last = icmp eq i32 %viewers, 1
  br i1 %last, label %forget, label %other
forget:
  %slot = getelementptr i8, ptr %storage, i64 $storage_array
  call void @put(ptr %slot, ptr @None)
  br label %memory
memory:
  %block = get ptr %storage + $storage_block
  %holders = load i32, ptr %block
  %free = icmp eq i32 %holders, 1
  br i1 %free, label %found, label %other
other:
  %i2 = add i64 %i, 1
  br label %next
found:
  ret ptr %storage
none:
  ret ptr null
}

; A new result's storage is kept, in place of the oldest.
define internal void @keep_result(ptr %kept, ptr %storage) {
entry:
  %items = get ptr %kept + $list_items
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %next]
  %value = phi ptr [%storage, %entry], [%before, %next]
  %p = getelementptr ptr, ptr %items, i64 %i
  %before = load ptr, ptr %p
  store ptr %value, ptr %p
  %i2 = add i64 %i, 1
  %more = icmp slt i64 %i2, $kept_results
  br i1 %more, label %next, label %done
done:
  call void @Py_IncRef(ptr %storage)
  call void @Py_DecRef(ptr %before)
  ret void
}

; Memory for every output; how many there are, fewer after an error.
define internal i64 @places(ptr %plan, ptr %words, ptr %captures, ptr %outputs) {
entry:
  %count = get i64 %plan + $outputs_count
  %first = get ptr %plan + $outputs_at
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %placed]
  %r = phi ptr [%first, %entry], [%r2, %placed]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %reuse = get i64 %r + 24
  %owner = get ptr %r + 48
  %new = icmp slt i64 %reuse, 0
  br i1 %new, label %gradient, label %look
look:
  %cp = getelementptr ptr, ptr %captures, i64 %reuse
  %state = load ptr, ptr %cp
  %references = load i32, ptr %state
  %class = get ptr %state + $class
  ; The tensor's and the one of this call.
  %alone = icmp eq i32 %references, 2
  %own = icmp eq ptr %class, @Storage
  %take = and i1 %alone, %own
  br i1 %take, label %again, label %make
gradient:
  %no_owner = icmp eq ptr %owner, null
  br i1 %no_owner, label %result, label %spare
spare:
  %last = call ptr @spare_gradient(ptr %owner, ptr %r)
  %in_use = icmp eq ptr %last, null
  br i1 %in_use, label %make, label %again
result:
  %kept = get ptr %r + 56
  %unkept = icmp eq ptr %kept, null
  br i1 %unkept, label %make, label %former
former:
  %unused = call ptr @spare_result(ptr %kept)
  %none = icmp eq ptr %unused, null
  br i1 %none, label %first_of, label %again
first_of:
  %fresh = call ptr @new_storage(ptr %r)
  %unmade = icmp eq ptr %fresh, null
  br i1 %unmade, label %done, label %remember
remember:
  call void @keep_result(ptr %kept, ptr %fresh)
  br label %placed
again:
  %old = phi ptr [%state, %look], [%last, %spare], [%unused, %former]
  call void @Py_IncRef(ptr %old)
  br label %placed
make:
  %made = call ptr @new_storage(ptr %r)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %done, label %placed
placed:
  %storage = phi ptr [%old, %again], [%made, %make], [%fresh, %remember]
  %op = getelementptr ptr, ptr %outputs, i64 %i
  %wp = getelementptr ptr, ptr %words, i64 %i
  call void @hold(ptr %storage, ptr %wp, ptr %op)
  %r2 = getelementptr i64, ptr %r, i64 8
  %i2 = add i64 %i, 1
  br label %next
done:
  ret i64 %i
}

; Tensors that the step changes get what it computed; false after an error.
define internal i1 @deliver(ptr %plan, ptr %args, ptr %outputs) {
entry:
  %count = get i64 %plan + $written_count
  %first = get ptr %plan + $written_at
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %one]
  %r = phi ptr [%first, %entry], [%r2, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %arguments
one:
  %tensor = get ptr %r + 0
  %o = get i64 %r + 8
  %sp = getelementptr ptr, ptr %outputs, i64 %o
  %storage = load ptr, ptr %sp
  %installed = call i1 @install(ptr %tensor, ptr %storage)
  %r2 = getelementptr i64, ptr %r, i64 2
  %i2 = add i64 %i, 1
  br i1 %installed, label %next, label %bad
arguments:
  %acount = get i64 %plan + $changed_count
  %afirst = get ptr %plan + $changed_at
  br label %anext
anext:
  %a = phi i64 [0, %arguments], [%a2, %aone]
  %b = phi ptr [%afirst, %arguments], [%b2, %aone]
  %amore = icmp slt i64 %a, %acount
  br i1 %amore, label %aone, label %grads
aone:
  %place = get i64 %b + 0
  %ao = get i64 %b + 8
  %ap = getelementptr ptr, ptr %args, i64 %place
  %argument = load ptr, ptr %ap
  %asp = getelementptr ptr, ptr %outputs, i64 %ao
  %astorage = load ptr, ptr %asp
  %given_back = call i1 @install(ptr %argument, ptr %astorage)
  %b2 = getelementptr i64, ptr %b, i64 2
  %a2 = add i64 %a, 1
  br i1 %given_back, label %anext, label %bad
grads:
  %gcount = get i64 %plan + $grads_count
  %gfirst = get ptr %plan + $grads_at
  br label %gnext
gnext:
  %g = phi i64 [0, %grads], [%g2, %given]
  %q = phi ptr [%gfirst, %grads], [%q2, %given]
  %gmore = icmp slt i64 %g, %gcount
  br i1 %gmore, label %gone, label %good
gone:
  %gtensor = get ptr %q + 0
  %go = get i64 %q + 8
  %keep = get i64 %q + 16
  %slot = getelementptr i8, ptr %gtensor, i64 $tensor_grad
  %reset = icmp slt i64 %go, 0
  br i1 %reset, label %clear, label %value
clear:
  call void @put(ptr %slot, ptr @None)
  br label %given
value:
  %gp = getelementptr ptr, ptr %outputs, i64 %go
  %gstorage = load ptr, ptr %gp
  %grad = load ptr, ptr %slot
  %absent = icmp eq ptr %grad, @None
  br i1 %absent, label %fresh, label %known
known:
  %trace = get ptr %grad + $tensor_trace
  %outside = icmp eq ptr %trace, @None
  %holders = load i32, ptr %grad
  %shared = get ptr %grad + $tensor_shared
  %unshared = icmp eq ptr %shared, @None
  %held_once = icmp eq i32 %holders, 1
  %unseen = and i1 %held_once, %unshared
  %same_object = icmp ne i64 %keep, 0
  %may = or i1 %unseen, %same_object
  %change = and i1 %outside, %may
  br i1 %change, label %replace, label %fresh
replace:
  call void @Py_IncRef(ptr %grad)
  %replaced = call i1 @install(ptr %grad, ptr %gstorage)
  call void @Py_DecRef(ptr %grad)
  br i1 %replaced, label %given, label %bad
fresh:
  %new = call ptr @new_tensor(ptr %gstorage)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %bad, label %give
give:
  call void @put(ptr %slot, ptr %new)
  call void @Py_DecRef(ptr %new)
  br label %given
given:
  %q2 = getelementptr i64, ptr %q, i64 3
  %g2 = add i64 %g, 1
  br label %gnext
good:
  ret i1 true
bad:
  ret i1 false
}

; One result of the function: a tensor, or an object that is always the same.
define internal ptr @result(ptr %plan, ptr %outputs, i64 %i) {
  %first = get ptr %plan + $results_at
  %offset = mul i64 %i, 16
  %r = getelementptr i8, ptr %first, i64 %offset
  %o = get i64 %r + 0
  %fixed = icmp slt i64 %o, 0
  br i1 %fixed, label %object, label %tensor
object:
  %value = get ptr %r + 8
  call void @Py_IncRef(ptr %value)
  ret ptr %value
tensor:
  %sp = getelementptr ptr, ptr %outputs, i64 %o
  %storage = load ptr, ptr %sp
  %new = call ptr @new_tensor(ptr %storage)
  ret ptr %new
}

; What the function returns; null after an error.
define internal ptr @returned(ptr %plan, ptr %outputs) {
entry:
  %form = get i64 %plan + $form
  %count = get i64 %plan + $results_count
  %single = icmp eq i64 %form, 0
  br i1 %single, label %one, label %several
one:
  %only = call ptr @result(ptr %plan, ptr %outputs, i64 0)
  ret ptr %only
several:
  %tuple = call ptr @PyTuple_New(i64 %count)
  %refused = icmp eq ptr %tuple, null
  br i1 %refused, label %failed, label %next
next:
  %i = phi i64 [0, %several], [%i2, %item]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %make, label %made
make:
  %value = call ptr @result(ptr %plan, ptr %outputs, i64 %i)
  %bad = icmp eq ptr %value, null
  br i1 %bad, label %drop, label %item
item:
  %r = call i32 @PyTuple_SetItem(ptr %tuple, i64 %i, ptr %value)
  %i2 = add i64 %i, 1
  br label %next
made:
  %flat = icmp eq i64 %form, 1
  br i1 %flat, label %done, label %nest
nest:
  %finish = get ptr %plan + $finish
  %nested = call ptr @PyObject_CallOneArg(ptr %finish, ptr %tuple)
  call void @Py_DecRef(ptr %tuple)
  ret ptr %nested
done:
  ret ptr %tuple
drop:
  call void @Py_DecRef(ptr %tuple)
  br label %failed
failed:
  ret ptr null
}

; Arena, call and back, without the interpreter's lock unless to let it go takes longer than the
; step; false after an error.
define internal i1 @execute(ptr %plan, ptr %block) {
entry:
  %needs = get i64 %plan + $needs_arena
  %arenas = get ptr %plan + $arenas
  %any = icmp ne i64 %needs, 0
  br i1 %any, label %take, label %run
take:
  %free = call ptr @pop(ptr %arenas)
  %none = icmp eq ptr %free, null
  br i1 %none, label %ask, label %have
ask:
  %function = get ptr %plan + $take
  %asked = call ptr @PyObject_CallNoArgs(ptr %function)
  %refused = icmp eq ptr %asked, null
  br i1 %refused, label %bad, label %have
have:
  %arena = phi ptr [%free, %take], [%asked, %ask]
  %number = get ptr %arena + $block_address
  %address = call ptr @PyLong_AsVoidPtr(ptr %number)
  %offset = get i64 %plan + $scratch_at
  %scratch = getelementptr i8, ptr %address, i64 %offset
  set ptr %address, %block + 8
  set ptr %scratch, %block + 16
  br label %run
run:
  %lent = phi ptr [null, %entry], [%arena, %have]
  %step = get ptr %plan + $run
  %brief = get i64 %plan + $brief
  %at_once = icmp ne i64 %brief, 0
  br i1 %at_once, label %within, label %without
within:
  call void %step(ptr %block)
  br label %ran
without:
  %thread = call ptr @PyEval_SaveThread()
  call void %step(ptr %block)
  call void @PyEval_RestoreThread(ptr %thread)
  br label %ran
ran:
  br i1 %any, label %back, label %good
back:
  %r = call i32 @PyList_Append(ptr %arenas, ptr %lent)
  call void @Py_DecRef(ptr %lent)
  br label %good
good:
  ret i1 true
bad:
  ret i1 false
}

; One call by one plan: the result, MISS (not a new reference), or null after an error.
define internal ptr @attempt(ptr %plan, ptr %args) {
entry:
  %words = get i64 %plan + $block_words
  %scalar_words = get i64 %plan + $scalars
  %held_words = get i64 %plan + $held
  %output_words = get i64 %plan + $outputs_count
  %block = alloca i64, i64 %words
  %scalars = alloca i64, i64 %scalar_words
  %held = alloca ptr, i64 %held_words
  %outputs = alloca ptr, i64 %output_words
  %like = get ptr %plan + $block_at
  %bytes = mul i64 %words, 8
  call ptr @memcpy(ptr %block, ptr %like, i64 %bytes)
  %fits = call i1 @fit(ptr %plan, ptr %args, ptr %block, ptr %scalars, ptr %held)
  br i1 %fits, label %mode, label %miss
mode:
  %m = call i32 @modes(ptr %plan)
  switch i32 %m, label %failed [ i32 1, label %guard i32 0, label %miss ]
guard:
  %g = call i32 @surroundings(ptr %plan)
  switch i32 %g, label %failed [ i32 1, label %lock i32 0, label %miss ]
lock:
  %acquire = get ptr %plan + $acquire
  %stateless = icmp eq ptr %acquire, null
  br i1 %stateless, label %locked, label %wait
wait:
  %got = call ptr @PyObject_CallNoArgs(ptr %acquire)
  %interrupted = icmp eq ptr %got, null
  br i1 %interrupted, label %failed, label %acquired
acquired:
  call void @Py_DecRef(ptr %got)
  br label %locked
locked:
  %n = call i1 @numbers(ptr %plan, ptr %block, ptr %scalars)
  br i1 %n, label %check, label %unread
unread:
  %error = call ptr @PyErr_Occurred()
  %silent = icmp eq ptr %error, null
  %why = select i1 %silent, ptr @MISS, ptr null
  br label %unlock
check:
  ; Again: others may have run meanwhile.
  %fits2 = call i1 @fit(ptr %plan, ptr %args, ptr %block, ptr %scalars, ptr %held)
  br i1 %fits2, label %capture, label %unlock
capture:
  %fw = get i64 %plan + $first_capture
  %cwords = getelementptr i64, ptr %block, i64 %fw
  %ccount = get i64 %plan + $captures_count
  %before = sub i64 %held_words, %ccount
  %cheld = getelementptr ptr, ptr %held, i64 %before
  %c = call i1 @captured(ptr %plan, ptr %cwords, ptr %cheld)
  br i1 %c, label %keep, label %unlock
keep:
  call void @each(ptr @Py_IncRef, ptr %held, i64 %held_words)
  %ow = get i64 %plan + $first_output
  %owords = getelementptr i64, ptr %block, i64 %ow
  %placed = call i64 @places(ptr %plan, ptr %owords, ptr %cheld, ptr %outputs)
  %all = icmp eq i64 %placed, %output_words
  br i1 %all, label %run, label %drop
run:
  %ran = call i1 @execute(ptr %plan, ptr %block)
  br i1 %ran, label %give, label %drop
give:
  %given = call i1 @deliver(ptr %plan, ptr %args, ptr %outputs)
  br i1 %given, label %finish, label %drop
finish:
  %result = call ptr @returned(ptr %plan, ptr %outputs)
  %counter = get ptr %plan + $hits
  %hits = load i64, ptr %counter
  %hits2 = add i64 %hits, 1
  store i64 %hits2, ptr %counter
  br label %drop
drop:
  %made = phi ptr [null, %keep], [null, %run], [null, %give], [%result, %finish]
  call void @each(ptr @Py_DecRef, ptr %outputs, i64 %placed)
  call void @each(ptr @Py_DecRef, ptr %held, i64 %held_words)
  br label %unlock
unlock:
  %answer = phi ptr [%made, %drop], [%why, %unread], [@MISS, %check], [@MISS, %capture]
  br i1 %stateless, label %done, label %let
let:
  %release = get ptr %plan + $release
  call void @unlock(ptr %release)
  br label %done
done:
  ret ptr %answer
miss:
  ret ptr @MISS
failed:
  ret ptr null
}

define internal void @each(ptr %function, ptr %objects, i64 %count) {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %p = getelementptr ptr, ptr %objects, i64 %i
  %object = load ptr, ptr %p
  call void %function(ptr %object)
  %i2 = add i64 %i, 1
  br label %next
done:
  ret void
}

; Release a lock, whatever error is set.
define internal void @unlock(ptr %release) {
  %kind = alloca ptr
  %value = alloca ptr
  %traceback = alloca ptr
  call void @PyErr_Fetch(ptr %kind, ptr %value, ptr %traceback)
  %r = call ptr @PyObject_CallNoArgs(ptr %release)
  %failed = icmp eq ptr %r, null
  br i1 %failed, label %clear, label %drop
drop:
  call void @Py_DecRef(ptr %r)
  br label %restore
clear:
  call void @PyErr_Clear()
  br label %restore
restore:
  %k = load ptr, ptr %kind
  %v = load ptr, ptr %value
  %t = load ptr, ptr %traceback
  call void @PyErr_Restore(ptr %k, ptr %v, ptr %t)
  ret void
}
"""
