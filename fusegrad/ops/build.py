"""Constructor functions: the vocabulary in which everyone else writes graphs.

Knows the ops by name only, so that the rules in the files of the ops can use it. Operands have
equal types: promotion and implicit broadcasting happen in the tensor layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..codegen.dtypes import DType, as_dtype, int64
from ..codegen.kernel import Monoid
from ..ir.node import Item, Node, Op
from ..ir.types import Extent, TensorType
from .base import CLASSES, ROWS

__all__ = [
    "DType",
    "abs_",
    "acos",
    "acosh",
    "add",
    "all_",
    "any_",
    "argmax",
    "argmin",
    "array_constant",
    "as_dtype",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "barrier",
    "beside",
    "bitcast",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "broadcast",
    "broadcast_to",
    "cast",
    "cbrt",
    "ceil",
    "concat",
    "constant",
    "constant_value",
    "copysign",
    "cos",
    "cosh",
    "digamma",
    "div",
    "dot",
    "elementwise",
    "eq",
    "erf",
    "erfc",
    "erfcinv",
    "erfinv",
    "exp",
    "exp2",
    "expand_dims",
    "expm1",
    "first",
    "flip",
    "floor",
    "floordiv",
    "fmod",
    "full",
    "full_like",
    "gcd",
    "ge",
    "gt",
    "hypot",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "input_",
    "iota",
    "isfinite",
    "isinf",
    "isnan",
    "item",
    "le",
    "leaf",
    "lgamma",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "mark",
    "matrix_transpose",
    "max_",
    "maximum",
    "min_",
    "minimum",
    "mod",
    "mul",
    "ne",
    "neg",
    "nextafter",
    "not_differentiable",
    "ones_like",
    "pad",
    "panel_dot",
    "philox",
    "philox64",
    "pow_",
    "prod",
    "reciprocal",
    "reduce_",
    "reshape",
    "round_",
    "rsqrt",
    "scaled",
    "scatter",
    "scatter_add",
    "scatter_add_along",
    "select",
    "shift_left",
    "shift_right",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "slice_",
    "slice_axis",
    "sqrt",
    "square",
    "squeeze",
    "stop_gradient",
    "sub",
    "sum_",
    "take",
    "take_along",
    "tan",
    "tanh",
    "transfer",
    "transpose",
    "trigamma",
    "trunc",
    "where_",
    "zeros",
    "zeros_like",
    "zeta",
]

Shape = Sequence[Extent]
Unary = Callable[[Node], Node]
Binary = Callable[[Node, Node], Node]


def _op(name: str, *params: object) -> Op:
    return CLASSES[name](*params)


# --- elementwise ----------------------------------------------------------------------------------


def elementwise(name: str, *operands: Node) -> Node:
    """Row `name` of the elementwise table, applied."""
    return Node(ROWS[name], operands)


def _unary(name: str) -> Unary:
    def build(x: Node) -> Node:
        return Node(ROWS[name], (x,))

    build.__name__, build.__doc__ = name, f"Elementwise `{name}`."
    return build


def _binary(name: str) -> Binary:
    def build(a: Node, b: Node) -> Node:
        return Node(ROWS[name], (a, b))

    build.__name__, build.__doc__ = name, f"Elementwise `{name}` of operands of one type."
    return build


add, sub, mul, div = map(_binary, ("add", "sub", "mul", "div"))
floordiv, mod, fmod = map(_binary, ("floordiv", "mod", "fmod"))
minimum, maximum = map(_binary, ("minimum", "maximum"))
eq, ne, lt = map(_binary, ("eq", "ne", "lt"))
le, gt, ge = map(_binary, ("le", "gt", "ge"))
logical_and, logical_or = map(_binary, ("logical_and", "logical_or"))
logical_xor, logical_not = _binary("logical_xor"), _unary("logical_not")
bitwise_and, bitwise_or = map(_binary, ("bitwise_and", "bitwise_or"))
bitwise_xor, bitwise_not = _binary("bitwise_xor"), _unary("bitwise_not")
shift_left, shift_right = map(_binary, ("shift_left", "shift_right"))
atan2, hypot, copysign = map(_binary, ("atan2", "hypot", "copysign"))
nextafter = _binary("nextafter")
logaddexp, philox, philox64 = map(_binary, ("logaddexp", "philox", "philox64"))
neg, abs_, sign, square, reciprocal = map(_unary, ("neg", "abs", "sign", "square", "reciprocal"))
exp, exp2, expm1 = map(_unary, ("exp", "exp2", "expm1"))
log, log2, log10, log1p = map(_unary, ("log", "log2", "log10", "log1p"))
sqrt, rsqrt, cbrt = map(_unary, ("sqrt", "rsqrt", "cbrt"))
sin, cos, tan = map(_unary, ("sin", "cos", "tan"))
asin, acos, atan = map(_unary, ("asin", "acos", "atan"))
sinh, cosh, tanh = map(_unary, ("sinh", "cosh", "tanh"))
asinh, acosh, atanh = map(_unary, ("asinh", "acosh", "atanh"))
erf, erfc, erfinv, erfcinv = map(_unary, ("erf", "erfc", "erfinv", "erfcinv"))
lgamma, digamma, trigamma = map(_unary, ("lgamma", "digamma", "trigamma"))
i0, i0e, i1, i1e = map(_unary, ("i0", "i0e", "i1", "i1e"))
floor, ceil, trunc, round_ = map(_unary, ("floor", "ceil", "trunc", "round"))
isnan, isinf, isfinite, signbit = map(_unary, ("isnan", "isinf", "isfinite", "signbit"))


def zeta(s: Node, q: Node) -> Node:
    """The zeta function of Hurwitz; it has a derivative by `q` alone."""
    return Node(ROWS["zeta"], (not_differentiable(s, "zeta has no derivative by s"), q))


def not_differentiable(x: Node, reason: str) -> Node:
    """`x`, through which asking for a gradient is an error."""
    return Node(_op("not_differentiable", reason), (x,))


def pow_(a: Node, b: Node) -> Node:
    """``a ** b``; constant exponents 1 and 2 become `a` and its square."""
    exponent = constant_value(b)
    if a.type.plain is b.type.plain:
        if exponent == 1:
            return a
        if exponent == 2:
            return square(a)
    return Node(ROWS["pow"], (a, b))


def select(condition: Node, a: Node, b: Node) -> Node:
    """`a` where the condition holds, else `b`."""
    return Node(ROWS["select"], (condition, a, b))


def where_(condition: Node, a: Node, b: Node) -> Node:
    """As `select`, but no NaN comes back through the branch that is not taken."""
    return Node(ROWS["where"], (condition, a, b))


def cast(x: Node, dtype: DType) -> Node:
    """`x` converted; `x` itself if it has the dtype."""
    return x if x.dtype is dtype else Node(_op("cast", dtype), (x,))


def bitcast(x: Node, dtype: DType) -> Node:
    """The bits of `x` as a dtype of the same width; `x` itself if it has the dtype."""
    return x if x.dtype is dtype else Node(_op("bitcast", dtype), (x,))


def stop_gradient(x: Node) -> Node:
    """`x`, through which no gradient flows."""
    return Node(_op("stop_gradient"), (x,))


def transfer(x: Node, source: str, target: str) -> Node:
    """`x` on another device; what is on none stays `x` on the way back."""
    return Node(_op("transfer", source, target), (x,)) if target else x


def leaf(x: Node, token: object) -> Node:
    """`x` as a place of its own for gradients: none flows further back."""
    return Node(_op("leaf", token), (x,))


def mark(x: Node, token: object) -> Node:
    """`x` as a place of its own for gradients, which flow on through it."""
    return Node(_op("mark", token), (x,))


def barrier(x: Node, after: Node) -> Node:
    """`x`, not before the scalar `after` is there, nor shared with what is computed from `x`."""
    return Node(_op("barrier"), (x, after))


def beside(x: Node, other: Node) -> Node:
    """`x`, in the kernel that has `other`, which is of the same shape."""
    return Node(_op("beside"), (x, other))


def first(x: Node) -> Node:
    """The first element, as a scalar; 0 if there is none."""
    if 0 in x.shape:
        return constant(0, x.dtype)
    ones = (1,) * len(x.shape)
    return reshape(slice_(x, (0,) * len(ones), ones, ones), ())


# --- sources --------------------------------------------------------------------------------------


def input_(type: TensorType, token: object | None = None) -> Node:
    """A variable; a fresh one if no token is given."""
    return Node(_op("input", object() if token is None else token, type))


def constant(value: float | int | bool, dtype: DType) -> Node:
    """A scalar constant."""
    return Node(_op("constant", value, dtype))


def array_constant(data: object, token: object | None = None) -> Node:
    """A constant array, which nobody may change any more."""
    return Node(_op("array_constant", object() if token is None else token, data))


def full(shape: Shape, value: float | int | bool, dtype: DType) -> Node:
    """A tensor of one value."""
    return broadcast(constant(value, dtype), shape, ())


def full_like(x: Node, value: float | int | bool) -> Node:
    """A tensor of one value, of the type of `x`."""
    return full(x.shape, value, x.dtype)


def scaled(x: Node, factor: float) -> Node:
    """`x` times a number."""
    return mul(x, full_like(x, factor))


def zeros(shape: Shape, dtype: DType) -> Node:
    return full(shape, 0, dtype)


def zeros_like(x: Node) -> Node:
    return full(x.shape, 0, x.dtype)


def ones_like(x: Node) -> Node:
    return full(x.shape, 1, x.dtype)


def iota(extent: Extent, dtype: DType = int64) -> Node:
    """0, 1, 2, ... along one axis."""
    return Node(_op("iota", extent, dtype))


def constant_value(x: Node) -> float | int | bool | None:
    """The value of a constant, also of one that was broadcast; None for anything else."""
    while x.op.name == "broadcast":
        (x,) = x.inputs
    const = getattr(x.op, "const", None)
    if const is None:
        return None
    return const.value if const.origin is None else const.origin  # type: ignore[no-any-return]


# --- movement -------------------------------------------------------------------------------------


def broadcast(x: Node, shape: Shape, dims: Sequence[int]) -> Node:
    """Axis i of `x` becomes axis ``dims[i]`` of the result; other axes are new."""
    shape, dims = tuple(shape), tuple(dims)
    if shape == x.shape and dims == tuple(range(len(shape))):
        return x
    if x.op.name == "broadcast":
        (inner,) = x.inputs
        return broadcast(inner, shape, tuple(dims[d] for d in x.op.dims))  # type: ignore[attr-defined]
    return Node(_op("broadcast", shape, dims), (x,))


def broadcast_to(x: Node, shape: Shape) -> Node:
    """NumPy's broadcasting, axes aligned at the right and extents of 1 repeated."""
    shape = tuple(shape)
    offset = len(shape) - len(x.shape)
    if shape == x.shape:
        return x
    kept = [a for a, e in enumerate(x.shape) if e == shape[a + offset]]
    squeezed = squeeze(x, [a for a in range(len(x.shape)) if a not in kept])
    return broadcast(squeezed, shape, [a + offset for a in kept])


def reshape(x: Node, shape: Shape) -> Node:
    """The same elements under another shape."""
    shape = tuple(shape)
    while x.op.name == "reshape" and x.shape != shape:
        (x,) = x.inputs
    return x if x.shape == shape else Node(_op("reshape", shape), (x,))


def expand_dims(x: Node, axes: Iterable[int]) -> Node:
    """New axes of extent 1 at the places `axes` of the result."""
    places = set(axes)
    old = iter(x.shape)
    shape = [1 if a in places else next(old) for a in range(len(x.shape) + len(places))]
    return reshape(x, shape)


def squeeze(x: Node, axes: Iterable[int]) -> Node:
    """`x` without the axes, which have extent 1."""
    gone = set(axes)
    return reshape(x, [e for a, e in enumerate(x.shape) if a not in gone])


def transpose(x: Node, permutation: Sequence[int]) -> Node:
    """Axis i of the result is axis ``permutation[i]`` of `x`."""
    permutation = tuple(permutation)
    if permutation == tuple(range(len(x.shape))):
        return x
    if x.op.name == "transpose":
        inner: tuple[int, ...] = x.op.permutation  # type: ignore[attr-defined]
        return transpose(x.inputs[0], tuple(inner[p] for p in permutation))
    return Node(_op("transpose", permutation), (x,))


def matrix_transpose(x: Node) -> Node:
    """The last two axes exchanged."""
    rank = len(x.shape)
    return transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def slice_(x: Node, starts: Sequence[int], stops: Shape, steps: Sequence[int]) -> Node:
    """Elements start, start + step, ... below stop, along every axis."""
    starts, stops, steps = tuple(starts), tuple(stops), tuple(steps)
    if stops == x.shape and not any(starts) and all(step == 1 for step in steps):
        return x
    return Node(_op("slice", starts, stops, steps), (x,))


def slice_axis(x: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
    """Elements start, start + step, ... below stop of one axis."""
    rank = len(x.shape)
    starts, stops, steps = [0] * rank, list(x.shape), [1] * rank
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return slice_(x, starts, stops, steps)


def flip(x: Node, axes: Iterable[int]) -> Node:
    """Some axes backwards."""
    axes = tuple(sorted(a for a in axes if x.shape[a] != 1))
    return Node(_op("flip", axes), (x,)) if axes else x


def pad(
    x: Node, low: Sequence[int], high: Sequence[int], interior: Sequence[int] | None = None
) -> Node:
    """Zeros before, behind and between the elements of every axis."""
    low, high = tuple(low), tuple(high)
    interior = (0,) * len(low) if interior is None else tuple(interior)
    if not (any(low) or any(high) or any(interior)):
        return x
    return Node(_op("pad", low, high, interior), (x,))


def concat(xs: Sequence[Node], axis: int) -> Node:
    """The operands one behind the other along an axis."""
    return xs[0] if len(xs) == 1 else Node(_op("concat", axis), tuple(xs))


# --- reductions and contraction -------------------------------------------------------------------


def reduce_(monoid: Monoid, x: Node, axes: Iterable[int]) -> Node:
    """`x` reduced over `axes`, which vanish."""
    axes = tuple(sorted(axes))
    return Node(_op("reduce", monoid, axes), (x,)) if axes else x


def sum_(x: Node, axes: Iterable[int]) -> Node:
    return reduce_(Monoid.SUM, x, axes)


def prod(x: Node, axes: Iterable[int]) -> Node:
    return reduce_(Monoid.PROD, x, axes)


def max_(x: Node, axes: Iterable[int]) -> Node:
    return reduce_(Monoid.MAX, x, axes)


def min_(x: Node, axes: Iterable[int]) -> Node:
    return reduce_(Monoid.MIN, x, axes)


def any_(x: Node, axes: Iterable[int]) -> Node:
    return reduce_(Monoid.OR, x, axes)


def all_(x: Node, axes: Iterable[int]) -> Node:
    return reduce_(Monoid.AND, x, axes)


def argmax(x: Node, axis: int) -> Node:
    """The index of the first largest element along `axis`, which vanishes."""
    return Node(_op("arg_reduce", Monoid.ARGMAX, axis), (x,))


def argmin(x: Node, axis: int) -> Node:
    """The index of the first smallest element along `axis`, which vanishes."""
    return Node(_op("arg_reduce", Monoid.ARGMIN, axis), (x,))


def dot(a: Node, b: Node) -> Node:
    """Matrix product over the last two axes; the axes before are equal."""
    return Node(_op("dot"), (a, b))


def panel_dot(a: Node, panels: Node) -> Node:
    """Matrix product with a matrix whose columns lie in panels, (P, K, W)."""
    return Node(_op("panel_dot"), (a, panels))


# --- indexing -------------------------------------------------------------------------------------


def take(x: Node, indices: Node, axis: int) -> Node:
    """Slices of `x` along `axis`; the axes of `indices` take its place."""
    return Node(_op("take", axis), (x, indices))


def take_along(x: Node, indices: Node, axis: int) -> Node:
    """Elements of `x` at `indices` along `axis`, all other indices being equal."""
    return Node(_op("take_along", axis), (x, indices))


def scatter(x: Node, updates: Node, indices: Node, axis: int, how: str) -> Node:
    """`x` with `updates` written at `indices` along `axis`, or combined with what is there."""
    return Node(_op("scatter", axis, how), (x, updates, indices))


def scatter_add(updates: Node, indices: Node, axis: int, extent: Extent) -> Node:
    """Zeros with `updates` added at `indices` along `axis`: the adjoint of `take`."""
    return Node(_op("scatter_add", axis, extent), (updates, indices))


def scatter_add_along(updates: Node, indices: Node, axis: int, extent: Extent) -> Node:
    """Zeros with `updates` added at `indices` along `axis`: the adjoint of `take_along`."""
    return Node(_op("scatter_add_along", axis, extent), (updates, indices))


def gcd(a: Node, b: Node) -> Node:
    """The greatest common divisor of integers."""
    return Node(_op("gcd"), (a, b))


def item(x: Node, number: int) -> Node:
    """One of several results."""
    return Node(Item(number), (x,))
