"""The checks of a native call: LLVM IR, in the shorthand of `native_text`.

Knows the tables that `native_text` describes; changes nothing that Python can see.
"""

from __future__ import annotations

__all__ = ["CHECKS_IR"]

CHECKS_IR = r"""
; Whether an object is one of some objects.
define internal i1 @among(ptr %object, ptr %objects, i64 %count) {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %no
one:
  %p = getelementptr ptr, ptr %objects, i64 %i
  %other = load ptr, ptr %p
  %i2 = add i64 %i, 1
  %is = icmp eq ptr %other, %object
  br i1 %is, label %yes, label %next
yes:
  ret i1 true
no:
  ret i1 false
}

; Whether the arguments are of the kinds in the plan; fills the block, and lists storages. No code
; of Python runs in it.
define internal i1 @fit(ptr %plan, ptr %args, ptr %block, ptr %scalars, ptr %held) {
entry:
  %count = get i64 %plan + $arguments_count
  %first = get ptr %plan + $arguments_at
  %outside_count = get i64 %plan + $outside_count
  %outside_at = get ptr %plan + $outside_at
  %changed = get i64 %plan + $changed_count
  %changing = icmp ne i64 %changed, 0
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %fits]
  %r = phi ptr [%first, %entry], [%r2, %fits]
  %h = phi ptr [%held, %entry], [%h2, %fits]
  %s = phi ptr [%scalars, %entry], [%s2, %fits]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %good
one:
  %ap = getelementptr ptr, ptr %args, i64 %i
  %value = load ptr, ptr %ap
  %class = get ptr %value + $class
  %kind = get i64 %r + 0
  %w = get i64 %r + 8
  %word = getelementptr i64, ptr %block, i64 %w
  %what = get ptr %r + 16
  switch i64 %kind, label %bad [
    i64 0, label %array
    i64 1, label %tensor
    i64 2, label %float
    i64 3, label %int
    i64 4, label %same
  ]
array:
  %isarray = icmp eq ptr %class, @ndarray
  br i1 %isarray, label %array1, label %bad
array1:
  %descr = get ptr %value + $array_descr
  %rank = get i32 %value + $array_rank
  %flags = get i32 %value + $array_flags
  %wanted = get i64 %r + 24
  %extents = get ptr %r + 32
  %rank64 = sext i32 %rank to i64
  %c1 = icmp eq ptr %descr, %what
  %c2 = icmp eq i64 %rank64, %wanted
  %plain = and i32 %flags, 257
  %c3 = icmp eq i32 %plain, 257
  %c12 = and i1 %c1, %c2
  %c123 = and i1 %c12, %c3
  %shape = get ptr %value + $array_shape
  br i1 %c123, label %extent, label %bad
extent:
  %d = phi i64 [0, %array1], [%d2, %equal]
  %dmore = icmp slt i64 %d, %rank64
  br i1 %dmore, label %compare, label %array2
compare:
  %ep = getelementptr i64, ptr %shape, i64 %d
  %e = load i64, ptr %ep
  %xp = getelementptr i64, ptr %extents, i64 %d
  %x = load i64, ptr %xp
  %alike = icmp eq i64 %e, %x
  %d2 = add i64 %d, 1
  br i1 %alike, label %equal, label %bad
equal:
  br label %extent
array2:
  %data = get ptr %value + $array_data
  store ptr %data, ptr %word
  br label %fits
tensor:
  %istensor = icmp eq ptr %class, @Tensor
  br i1 %istensor, label %tensor1, label %bad
tensor1:
  %type = get ptr %value + $tensor_type
  %weak = get ptr %value + $tensor_weak
  %requires = get ptr %value + $tensor_requires_grad
  %storage = get ptr %value + $tensor_storage
  %weaker = get ptr %r + 24
  %t1 = icmp eq ptr %type, %what
  %t2 = icmp eq ptr %weak, %weaker
  %t3 = icmp eq ptr %requires, @False
  %t4 = icmp ne ptr %storage, @None
  %t12 = and i1 %t1, %t2
  %t34 = and i1 %t3, %t4
  %shared = get ptr %value + $tensor_shared
  %written = get i64 %r + 32
  %apart = icmp eq ptr %shared, @None
  %read = icmp eq i64 %written, 0
  %t5 = or i1 %apart, %read
  %t1234 = and i1 %t12, %t34
  %t = and i1 %t1234, %t5
  br i1 %t, label %others, label %bad
others:
  ; Not a tensor that the step changes on another way, and not twice the same one.
  %before = call i1 @among(ptr %value, ptr %args, i64 %i)
  %twice = and i1 %before, %changing
  br i1 %twice, label %bad, label %outside
outside:
  %is_outside = call i1 @among(ptr %value, ptr %outside_at, i64 %outside_count)
  br i1 %is_outside, label %bad, label %tensor2
tensor2:
  call void @hold(ptr %storage, ptr %word, ptr %h)
  %hnext = getelementptr ptr, ptr %h, i64 1
  br label %fits
float:
  %isfloat = icmp eq ptr %class, @float
  br i1 %isfloat, label %float1, label %bad
float1:
  %f = call double @PyFloat_AsDouble(ptr %value)
  store double %f, ptr %s
  store ptr %s, ptr %word
  %sf = getelementptr i64, ptr %s, i64 1
  br label %fits
int:
  %isint = icmp eq ptr %class, @int
  br i1 %isint, label %int1, label %bad
int1:
  %n = call i64 @PyLong_AsLongLong(ptr %value)
  store i64 %n, ptr %s
  store ptr %s, ptr %word
  %si = getelementptr i64, ptr %s, i64 1
  %minus = icmp eq i64 %n, -1
  br i1 %minus, label %int2, label %fits
int2:
  %error = call ptr @PyErr_Occurred()
  %fine = icmp eq ptr %error, null
  br i1 %fine, label %fits, label %large
large:
  call void @PyErr_Clear()
  br label %bad
same:
  %is = icmp eq ptr %value, %what
  br i1 %is, label %fits, label %bad
fits:
  %h2 = phi ptr [%h, %array2], [%hnext, %tensor2], [%h, %float1], [%h, %int1], [%h, %int2],
      [%h, %same]
  %s2 = phi ptr [%s, %array2], [%s, %tensor2], [%sf, %float1], [%si, %int1], [%si, %int2],
      [%s, %same]
  %r2 = getelementptr i64, ptr %r, i64 5
  %i2 = add i64 %i, 1
  br label %next
good:
  ret i1 true
bad:
  ret i1 false
}

; Whether no mode is active that the plan was not made in: 1, 0, or -1 after an error.
define internal i32 @modes(ptr %plan) {
  ; The thread's dict lives as long as the thread.
  %modes = call ptr @PyObject_GetAttr(ptr @active, ptr @name_dict)
  %e = icmp eq ptr %modes, null
  br i1 %e, label %error, label %a
a:
  call void @Py_DecRef(ptr %modes)
  %trace = call ptr @PyDict_GetItemWithError(ptr %modes, ptr @name_trace)
  %c1 = icmp eq ptr %trace, @None
  br i1 %c1, label %b, label %no
b:
  %inline = call ptr @PyDict_GetItemWithError(ptr %modes, ptr @name_inline)
  %c2 = icmp eq ptr %inline, @zero
  br i1 %c2, label %c, label %no
c:
  %autocast = call ptr @PyDict_GetItemWithError(ptr %modes, ptr @name_autocast)
  %wanted = get ptr %plan + $autocast
  %c3 = icmp eq ptr %autocast, %wanted
  br i1 %c3, label %yes, label %no
yes:
  ret i32 1
no:
  ret i32 0
error:
  ret i32 -1
}

; Whether a dict holds these keys and values, in this order.
define internal i1 @holds(ptr %dict, i64 %count, ptr %pairs) {
entry:
  %position = alloca i64
  %key_at = alloca ptr
  %value_at = alloca ptr
  store i64 0, ptr %position
  %size = call i64 @PyDict_Size(ptr %dict)
  %same = icmp eq i64 %size, %count
  br i1 %same, label %next, label %no
next:
  %i = phi i64 [0, %entry], [%i2, %one]
  %r = phi ptr [%pairs, %entry], [%r2, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %found = call i32 @PyDict_Next(ptr %dict, ptr %position, ptr %key_at, ptr %value_at)
  %key = load ptr, ptr %key_at
  %value = load ptr, ptr %value_at
  %known_key = get ptr %r + 0
  %known = get ptr %r + 8
  %c1 = icmp eq ptr %key, %known_key
  %c2 = icmp eq ptr %value, %known
  %c = and i1 %c1, %c2
  %r2 = getelementptr ptr, ptr %r, i64 2
  %i2 = add i64 %i, 1
  br i1 %c, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

; Whether the surroundings are as they were: 1, 0, or -1 after an error. Where an object is another
; one or something changed, the guards themselves decide.
define internal i32 @surroundings(ptr %plan) {
entry:
  %hold = get ptr %plan + $hold
  %unguarded = icmp eq ptr %hold, null
  br i1 %unguarded, label %yes, label %begin
begin:
  ; Before anything that the number stands for is looked at.
  %number = call ptr @PyDict_GetItemWithError(ptr @state_dict, ptr @name_version)
  %version = call i64 @PyLong_AsLongLong(ptr %number)
  %known = get i64 %plan + $version
  %count = get i64 %plan + $watches_count
  %first = get ptr %plan + $watches_at
  %still = icmp eq i64 %version, %known
  br i1 %still, label %next, label %ask
next:
  %i = phi i64 [0, %begin], [%i2, %same]
  %r = phi ptr [%first, %begin], [%r2, %same]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %kind = get i64 %r + 0
  %where = get ptr %r + 8
  %key = get ptr %r + 16
  %length = get i64 %r + 16
  %value = get ptr %r + 24
  %decided = icmp uge i64 %kind, 8
  %what = and i64 %kind, 7
  switch i64 %what, label %attribute [
    i64 0, label %dict
    i64 1, label %cell
    i64 2, label %list
    i64 3, label %pairs
    i64 5, label %elements
  ]
dict:
  %item = call ptr @PyDict_GetItemWithError(ptr %where, ptr %key)
  br label %compare
cell:
  %content = call ptr @PyCell_Get(ptr %where)
  %empty = icmp eq ptr %content, null
  br i1 %empty, label %ask, label %held
held:
  call void @Py_DecRef(ptr %content)
  br label %compare
list:
  %size = get i64 %where + $list_size
  %whole = icmp eq i64 %size, %length
  br i1 %whole, label %items, label %ask
items:
  %items_at = get ptr %where + $list_items
  %bytes = mul i64 %size, 8
  %order = call i32 @memcmp(ptr %items_at, ptr %value, i64 %bytes)
  %equal = icmp eq i32 %order, 0
  br i1 %equal, label %same, label %ask
pairs:
  %holding = call i1 @holds(ptr %where, i64 %length, ptr %value)
  br i1 %holding, label %same, label %ask
elements:
  %rank = get i32 %where + $array_rank
  %shape = get ptr %where + $array_shape
  %known_rank = get i64 %key + 16
  %rank64 = sext i32 %rank to i64
  %ranks = icmp eq i64 %rank64, %known_rank
  br i1 %ranks, label %extents, label %ask
extents:
  %shape_bytes = mul i64 %rank64, 8
  %shapes = call i32 @memcmp(ptr %shape, ptr %value, i64 %shape_bytes)
  %alike = icmp eq i32 %shapes, 0
  br i1 %alike, label %contents, label %ask
contents:
  %data = get ptr %where + $array_data
  %nbytes = get i64 %key + 0
  %bytes_at = get ptr %key + 8
  %changed = call i32 @memcmp(ptr %data, ptr %bytes_at, i64 %nbytes)
  %unchanged = icmp eq i32 %changed, 0
  br i1 %unchanged, label %same, label %ask
attribute:
  %got = call ptr @PyObject_GetAttr(ptr %where, ptr %key)
  %absent = icmp eq ptr %got, null
  br i1 %absent, label %forget, label %drop
forget:
  call void @PyErr_Clear()
  br label %compare
drop:
  call void @Py_DecRef(ptr %got)
  br label %compare
compare:
  %now = phi ptr [%content, %held], [%item, %dict], [null, %forget], [%got, %drop]
  %is = icmp eq ptr %now, %value
  br i1 %is, label %same, label %other
other:
  br i1 %decided, label %no, label %ask
same:
  %r2 = getelementptr i64, ptr %r, i64 4
  %i2 = add i64 %i, 1
  br label %next
no:
  ret i32 0
ask:
  %answer = call ptr @PyObject_CallNoArgs(ptr %hold)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %error, label %answered
answered:
  %truth = call i32 @PyObject_IsTrue(ptr %answer)
  call void @Py_DecRef(ptr %answer)
  %holds = icmp eq i32 %truth, 1
  br i1 %holds, label %renew, label %told
renew:
  set i64 %version, %plan + $version
  br label %told
told:
  ret i32 %truth
yes:
  ret i32 1
error:
  ret i32 -1
}

; Whether the captured tensors are as they were; their storages are listed.
define internal i1 @captured(ptr %plan, ptr %words, ptr %held) {
entry:
  %count = get i64 %plan + $captures_count
  %first = get ptr %plan + $captures_at
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %one1]
  %r = phi ptr [%first, %entry], [%r2, %one1]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %grads
one:
  %tensor = get ptr %r + 0
  %type = get ptr %r + 8
  %requires = get ptr %r + 16
  %storage = get ptr %tensor + $tensor_storage
  %type_now = get ptr %tensor + $tensor_type
  %requires_now = get ptr %tensor + $tensor_requires_grad
  %c1 = icmp ne ptr %storage, @None
  %c2 = icmp eq ptr %type, %type_now
  %c3 = icmp eq ptr %requires, %requires_now
  %c12 = and i1 %c1, %c2
  %c = and i1 %c12, %c3
  br i1 %c, label %one1, label %bad
one1:
  %word = getelementptr ptr, ptr %words, i64 %i
  %h = getelementptr ptr, ptr %held, i64 %i
  call void @hold(ptr %storage, ptr %word, ptr %h)
  %r2 = getelementptr i64, ptr %r, i64 3
  %i2 = add i64 %i, 1
  br label %next
grads:
  %gcount = get i64 %plan + $seen_count
  %gfirst = get ptr %plan + $seen_at
  br label %gnext
gnext:
  %g = phi i64 [0, %grads], [%g2, %gone]
  %q = phi ptr [%gfirst, %grads], [%q2, %gone]
  %gmore = icmp slt i64 %g, %gcount
  br i1 %gmore, label %gone, label %good
gone:
  %gtensor = get ptr %q + 0
  %known = get ptr %q + 8
  %grad = get ptr %gtensor + $tensor_grad
  %as = icmp eq ptr %grad, %known
  %q2 = getelementptr i64, ptr %q, i64 2
  %g2 = add i64 %g, 1
  br i1 %as, label %gnext, label %bad
good:
  ret i1 true
bad:
  ret i1 false
}

; The numbers that are read anew at every call; false after an error, or when one is too large.
define internal i1 @numbers(ptr %plan, ptr %block, ptr %scalars) {
entry:
  %count = get i64 %plan + $getters_count
  %first = get ptr %plan + $getters_at
  %all = get i64 %plan + $scalars
  %before = sub i64 %all, %count
  %start = getelementptr i64, ptr %scalars, i64 %before
  br label %next
next:
  %i = phi i64 [0, %entry], [%i2, %stored]
  %r = phi ptr [%first, %entry], [%r2, %stored]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %good
one:
  %function = get ptr %r + 0
  %format = get i64 %r + 8
  %w = get i64 %r + 16
  %word = getelementptr i64, ptr %block, i64 %w
  %at = getelementptr i64, ptr %start, i64 %i
  store ptr %at, ptr %word
  %value = call ptr @PyObject_CallNoArgs(ptr %function)
  %failed = icmp eq ptr %value, null
  br i1 %failed, label %bad, label %convert
convert:
  switch i64 %format, label %bool [
    i64 0, label %float
    i64 1, label %int
    i64 2, label %single
    i64 3, label %half
  ]
float:
  %f = call double @PyFloat_AsDouble(ptr %value)
  store double %f, ptr %at
  br label %converted
int:
  %n = call i64 @PyLong_AsLongLong(ptr %value)
  store i64 %n, ptr %at
  br label %converted
single:
  %f2 = call double @PyFloat_AsDouble(ptr %value)
  %f4 = fptrunc double %f2 to float
  store float %f4, ptr %at
  %far = fpext float %f4 to double
  %there = call double @llvm.fabs.f64(double %far)
  %here = call double @llvm.fabs.f64(double %f2)
  %infinite = fcmp oeq double %there, 0x7FF0000000000000
  %finite = fcmp olt double %here, 0x7FF0000000000000
  %overflow = and i1 %infinite, %finite
  br i1 %overflow, label %large, label %converted
half:
  %n2 = call i64 @PyLong_AsLongLong(ptr %value)
  %n4 = trunc i64 %n2 to i32
  store i32 %n4, ptr %at
  %wide = sext i32 %n4 to i64
  %whole = icmp eq i64 %wide, %n2
  br i1 %whole, label %converted, label %large
large:
  call void @Py_DecRef(ptr %value)
  br label %bad
bool:
  %b = call i32 @PyObject_IsTrue(ptr %value)
  %b64 = sext i32 %b to i64
  store i64 %b64, ptr %at
  br label %converted
converted:
  call void @Py_DecRef(ptr %value)
  %error = call ptr @PyErr_Occurred()
  %wrong = icmp ne ptr %error, null
  br i1 %wrong, label %bad, label %stored
stored:
  %r2 = getelementptr i64, ptr %r, i64 3
  %i2 = add i64 %i, 1
  br label %next
good:
  ret i1 true
bad:
  ret i1 false
}
"""
