"""The primitive scalar ops as LLVM instructions, on scalars and on vectors.

Knows operand texts and types; knows no loops and no buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from ..dtypes import DType, bfloat16, bool_, float16, int32, int64
from ..expr import Apply, Const, Expr
from . import llvm_half
from .llvm_builder import Builder, float_text, integer_text, scalar_type, splat_text

__all__ = ["PRIMITIVES", "Rule", "Site", "compare", "convert", "larger"]


@final
class Site:
    """Where an instruction goes and how wide it is."""

    __slots__ = ("builder", "depth", "lanes")

    def __init__(self, builder: Builder, lanes: int, depth: int) -> None:
        self.builder = builder
        self.lanes = lanes
        self.depth = depth

    def emit(self, text: str) -> str:
        return self.builder.emit(text, self.depth)

    def type(self, dtype: DType) -> str:
        return self.builder.type_of(dtype, self.lanes)

    def number(self, value: float, dtype: DType) -> str:
        """A constant operand."""
        if dtype.is_float:
            text = float_text(value, dtype)
        elif dtype is bool_:
            text = "true" if value else "false"
        else:
            text = integer_text(int(value), dtype)
        return splat_text(scalar_type(dtype), text) if self.lanes else text

    def call(self, name: str, dtype: DType, args: list[str], extra: tuple[str, ...] = ()) -> str:
        """An intrinsic whose operands and result are of `dtype`; `extra` are ``i1`` flags."""
        kind = self.type(dtype)
        suffix = f"{'f' if dtype.is_float else 'i'}{dtype.bits}"
        if self.lanes:
            suffix = f"v{self.lanes}{suffix}"
        types = [kind] * len(args) + ["i1"] * len(extra)
        return self.emit(self.builder.intrinsic(kind, f"{name}.{suffix}", types, [*args, *extra]))

    def select(self, condition: str, dtype: DType, a: str, b: str) -> str:
        kind = self.type(dtype)
        return self.emit(f"select {self.type(bool_)} {condition}, {kind} {a}, {kind} {b}")


Rule = Callable[[Site, Apply, list[str]], str]

_COMPARE_FLOAT = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


def compare(site: Site, name: str, dtype: DType, a: str, b: str) -> str:
    """A comparison, false for NaN but for `ne`."""
    if dtype.is_float:
        return site.emit(f"fcmp {_COMPARE_FLOAT[name]} {site.type(dtype)} {a}, {b}")
    sign = "" if name in ("eq", "ne") else "s" if dtype.kind == "int" else "u"
    return site.emit(f"icmp {sign}{name} {site.type(dtype)} {a}, {b}")


def larger(site: Site, dtype: DType, a: str, b: str, least: bool = False) -> str:
    """The larger (or the lesser) value; a NaN wins."""
    if dtype.is_float:
        kind = site.type(dtype)
        better = site.emit(f"fcmp {'olt' if least else 'ogt'} {kind} {a}, {b}")
        best = site.select(better, dtype, a, b)
        missing = site.emit(f"fcmp uno {kind} {a}, {a}")
        return site.select(missing, dtype, a, best)
    if dtype is bool_:
        return site.emit(f"{'and' if least else 'or'} {site.type(dtype)} {a}, {b}")
    sign = "s" if dtype.kind == "int" else "u"
    return site.call(f"{sign}{'min' if least else 'max'}", dtype, [a, b])


def _arithmetic(name: str) -> Rule:
    def rule(site: Site, e: Apply, args: list[str]) -> str:
        prefix = "f" if e.dtype.is_float else ""
        return site.emit(f"{prefix}{name} {site.type(e.dtype)} {args[0]}, {args[1]}")

    return rule


def _bitwise(name: str) -> Rule:
    def rule(site: Site, e: Apply, args: list[str]) -> str:
        return site.emit(f"{name} {site.type(e.dtype)} {args[0]}, {args[1]}")

    return rule


def _float_call(name: str) -> Rule:
    def rule(site: Site, e: Apply, args: list[str]) -> str:
        return site.call(name, e.dtype, args)

    return rule


def _compare(name: str) -> Rule:
    def rule(site: Site, e: Apply, args: list[str]) -> str:
        return compare(site, name, e.args[0].dtype, args[0], args[1])

    return rule


def _is_number(e: Expr) -> bool:
    """Whether `e` is a float constant that is not NaN."""
    return isinstance(e, Const) and e.dtype.is_float and e.value == e.value


def _extreme(least: bool) -> Rule:
    """The larger or lesser value; against a constant one comparison lets a NaN through."""

    def rule(site: Site, e: Apply, args: list[str]) -> str:
        a, b = args
        if _is_number(e.args[1]):
            a, b = b, a
        elif not _is_number(e.args[0]):
            return larger(site, e.dtype, a, b, least)
        name = "lt" if least else "gt"
        return site.select(compare(site, name, e.dtype, a, b), e.dtype, a, b)

    return rule


def _neg(site: Site, e: Apply, args: list[str]) -> str:
    kind = site.type(e.dtype)
    if e.dtype.is_float:
        return site.emit(f"fneg {kind} {args[0]}")
    return site.emit(f"sub {kind} {site.number(0, e.dtype)}, {args[0]}")


def _abs(site: Site, e: Apply, args: list[str]) -> str:
    if e.dtype.is_float:
        return site.call("fabs", e.dtype, args)
    if e.dtype.kind == "uint":
        return args[0]
    return site.call("abs", e.dtype, args, ("false",))


def _not(site: Site, e: Apply, args: list[str]) -> str:
    ones = site.number(1 if e.dtype is bool_ else -1, e.dtype)
    return site.emit(f"xor {site.type(e.dtype)} {args[0]}, {ones}")


def _divide(name: str) -> Rule:
    """Unsigned division; a zero divisor gives something, but does not trap."""

    def rule(site: Site, e: Apply, args: list[str]) -> str:
        kind = site.type(e.dtype)
        a, b = args
        if not (isinstance(e.args[1], Const) and e.args[1].value):
            zero = site.emit(f"icmp eq {kind} {b}, {site.number(0, e.dtype)}")
            b = site.select(zero, e.dtype, site.number(1, e.dtype), b)
        return site.emit(f"{name} {kind} {a}, {b}")

    return rule


def _shift(site: Site, e: Apply, args: list[str]) -> str:
    """A shift whose count may lie outside the width, as NumPy."""
    left = e.op == "shl"
    name = "shl" if left else "ashr" if e.dtype.kind == "int" else "lshr"
    kind, bits = site.type(e.dtype), e.dtype.bits
    count = e.args[1]
    if isinstance(count, Const) and 0 <= int(count.value) < bits:
        return site.emit(f"{name} {kind} {args[0]}, {args[1]}")
    inside = site.emit(f"icmp ult {kind} {args[1]}, {site.number(bits, e.dtype)}")
    most = site.number(bits - 1, e.dtype)
    shifted = site.emit(f"{name} {kind} {args[0]}, {site.select(inside, e.dtype, args[1], most)}")
    if name == "ashr":
        return shifted
    return site.select(inside, e.dtype, shifted, site.number(0, e.dtype))


def _select(site: Site, e: Apply, args: list[str]) -> str:
    return site.select(args[0], e.dtype, args[1], args[2])


def _bitcast(site: Site, e: Apply, args: list[str]) -> str:
    source, target = site.type(e.args[0].dtype), site.type(e.dtype)
    return args[0] if source == target else site.emit(f"bitcast {source} {args[0]} to {target}")


def _cast(site: Site, e: Apply, args: list[str]) -> str:
    return convert(site, e.args[0].dtype, e.dtype, args[0])


def convert(site: Site, source: DType, target: DType, x: str) -> str:
    """A cast as NumPy does it."""
    if source is target:
        return x
    kind, wanted = site.type(source), site.type(target)
    if target is bool_:
        test = "fcmp une" if source.is_float else "icmp ne"
        return site.emit(f"{test} {kind} {x}, {site.number(0, source)}")
    if source is bool_:
        if target.is_float:
            return site.select(x, target, site.number(1, target), site.number(0, target))
        return site.emit(f"zext {kind} {x} to {wanted}")
    if source.is_half or target.is_half:
        return _convert_half(site, source, target, x)
    if source.is_float:
        if target.is_float:
            name = "fptrunc" if target.bits < source.bits else "fpext"
            return site.emit(f"{name} {kind} {x} to {wanted}")
        return _float_to_integer(site, source, target, x)
    if target.is_float:
        name = "sitofp" if source.kind == "int" else "uitofp"
        return site.emit(f"{name} {kind} {x} to {wanted}")
    if source.bits == target.bits:
        return x
    if target.bits < source.bits:
        return site.emit(f"trunc {kind} {x} to {wanted}")
    name = "sext" if source.kind == "int" else "zext"
    return site.emit(f"{name} {kind} {x} to {wanted}")


def _convert_half(site: Site, source: DType, target: DType, x: str) -> str:
    """Between a half and float32; the scalar table makes all other casts of these."""
    width = llvm_half.Width(site.emit, site.lanes)
    if bfloat16 in (source, target):
        return width.from_bfloat16(x) if source is bfloat16 else width.to_bfloat16(x)
    if site.builder.target.converts_half:
        return width.extend(x) if source is float16 else width.truncate(x)
    return width.from_float16(x) if source is float16 else width.to_float16(x)


def _float_to_integer(site: Site, source: DType, target: DType, x: str) -> str:
    """Through a wider signed integer, so that what lies outside wraps; see `meanings.cast`."""
    kind = site.type(source)
    if target.name == "uint64":
        wide, most = site.type(target), site.number(2.0**63, source)
        large = compare(site, "ge", source, x, most)
        rest = site.select(large, source, site.emit(f"fsub {kind} {x}, {most}"), x)
        y = site.emit(f"fptosi {kind} {rest} to {wide}")
        moved = site.emit(f"xor {wide} {y}, {site.number(1 << 63, target)}")
        return site.select(large, target, moved, y)
    through = int64 if target.bits == 64 or target.name == "uint32" else int32
    y = site.emit(f"fptosi {kind} {x} to {site.type(through)}")
    return convert(site, through, target, y)


PRIMITIVES: dict[str, Rule] = {
    "add": _arithmetic("add"),
    "sub": _arithmetic("sub"),
    "mul": _arithmetic("mul"),
    "div": _arithmetic("div"),
    "neg": _neg,
    "abs": _abs,
    "divtrunc": _divide("udiv"),
    "remtrunc": _divide("urem"),
    "fma": _float_call("fma"),
    "minimum": _extreme(True),
    "maximum": _extreme(False),
    **{name: _compare(name) for name in _COMPARE_FLOAT},
    "and": _bitwise("and"),
    "or": _bitwise("or"),
    "xor": _bitwise("xor"),
    "not": _not,
    "shl": _shift,
    "shr": _shift,
    "select": _select,
    "cast": _cast,
    "bitcast": _bitcast,
    "sqrt": _float_call("sqrt"),
    "floor": _float_call("floor"),
    "ceil": _float_call("ceil"),
    "trunc": _float_call("trunc"),
    "rint": _float_call("rint"),
}
"""A rule for each primitive row of the scalar table but `rare`."""
