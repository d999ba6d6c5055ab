"""What instructions of PTX compute, on the registers of many threads at once.

Knows arithmetic; knows no memory, no branches and no threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..half import from_bfloat16
from ..meanings import fma

__all__ = ["KINDS", "compute", "kind_of", "multiply_tiles"]

Array = np.ndarray[Any, Any]

KINDS: dict[str, Any] = {
    **{f"b{n}": np.dtype(f"u{n // 8}") for n in (8, 16, 32, 64)},
    **{f"u{n}": np.dtype(f"u{n // 8}") for n in (8, 16, 32, 64)},
    **{f"s{n}": np.dtype(f"i{n // 8}") for n in (8, 16, 32, 64)},
    **{f"f{n}": np.dtype(f"f{n // 8}") for n in (16, 32, 64)},
    "pred": np.dtype(bool),
}

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_ROUND = {"rni": np.rint, "rmi": np.floor, "rpi": np.ceil, "rzi": np.trunc}


def kind_of(op: Sequence[str]) -> Any:
    """The type that the last part of an instruction's name says."""
    return KINDS[op[-1]]


def compute(op: tuple[str, ...], args: Sequence[Array]) -> Array:
    """The result of an instruction; operands and result have the types it says."""
    with np.errstate(all="ignore"):
        result: Array = _RULES[op[0]](op, *args)
        return result


def _simple(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda op, *args: function(*args)


def _multiply(op: tuple[str, ...], a: Array, b: Array) -> Array:
    kind = kind_of(op)
    if op[1] == "wide":
        wide = np.dtype(f"{kind.kind}{2 * kind.itemsize}")
        product: Array = a.astype(wide) * b.astype(wide)
        return product
    if op[1] == "hi":
        bits = 8 * kind.itemsize
        if bits < 64:
            wide = np.dtype(f"{kind.kind}8")
            high: Array = (a.astype(wide) * b.astype(wide) >> bits).astype(kind)
            return high
        assert kind.kind == "u"
        low = np.uint64(0xFFFFFFFF)
        half = np.uint64(32)
        a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
        middle = a1 * b0 + (a0 * b0 >> half)
        other = a0 * b1 + (middle & low)
        result: Array = a1 * b1 + (middle >> half) + (other >> half)
        return result
    low_half: Array = a * b
    return low_half


def _mad(op: tuple[str, ...], a: Array, b: Array, c: Array) -> Array:
    result: Array = _multiply(op, a, b) + c
    return result


def _fma(op: tuple[str, ...], a: Array, b: Array, c: Array) -> Array:
    result: Array = np.asarray(fma(a, b, c), kind_of(op))
    return result


def _divide(op: tuple[str, ...], a: Array, b: Array) -> Array:
    if kind_of(op).kind == "f":
        ratio: Array = a / b
        return ratio
    safe = np.where(b == 0, 1, b)
    quotient: Array = (a // safe).astype(a.dtype)
    if kind_of(op).kind == "i":
        quotient = np.trunc(a / safe).astype(a.dtype)
    return quotient


def _remainder(op: tuple[str, ...], a: Array, b: Array) -> Array:
    result: Array = np.fmod(a, np.where(b == 0, 1, b))
    return result


def _shift(left: bool) -> Callable[..., Any]:
    def rule(op: tuple[str, ...], a: Array, b: Array) -> Array:
        bits = 8 * a.dtype.itemsize
        count = np.minimum(b.astype(np.uint64), bits - 1).astype(a.dtype)
        moved: Array = a << count if left else a >> count
        signed = a.dtype.kind == "i" and not left
        outside = b.astype(np.uint64) >= bits
        result: Array = moved if signed else np.where(outside, 0, moved).astype(a.dtype)
        return result

    return rule


def _compare(op: tuple[str, ...], a: Array, b: Array) -> Array:
    name = op[1]
    if name in ("nan", "num"):
        missing = np.isnan(a) | np.isnan(b)
        return missing if name == "nan" else ~missing
    if a.dtype.kind != "f":
        result: Array = _COMPARE[name[:2]](a, b)
        return result
    missing = np.isnan(a) | np.isnan(b)
    # A letter u behind the name: also where there is no order.
    found: Array = _COMPARE[name[:2]](a, b)
    return (found | missing) if len(name) == 3 else (found & ~missing)


def _extreme(least: bool) -> Callable[..., Any]:
    return lambda op, a, b: (np.fmin if least else np.fmax)(a, b)


def _convert(op: tuple[str, ...], a: Array, *second: Array) -> Array:
    if second:
        halves = [x.astype(np.float16).view(np.uint16).astype(np.uint32) for x in (a, *second)]
        pair: Array = halves[0] << np.uint32(16) | halves[1]
        return pair
    target, source = KINDS[op[-2]], KINDS[op[-1]]
    rounding = op[1] if op[1] in _ROUND else ""
    if rounding and source.kind == "f":
        a = _ROUND[rounding](a)
    if source.kind == "f" and target.kind in "iu":
        limits = np.iinfo(target)
        inside = np.where(np.isnan(a), 0, a)
        low, high = float(limits.min), float(limits.max)
        clipped = np.where((inside > low) & (inside < high), inside, 0).astype(target)
        clipped = np.where(inside <= low, limits.min, clipped)
        result: Array = np.where(inside >= high, limits.max, clipped).astype(target)
        return result
    return a.astype(target)


def _field(op: tuple[str, ...], a: Array, start: Array, length: Array) -> Array:
    """Bits from `start` on, the highest of them a sign where the type has one."""
    bits = 8 * a.dtype.itemsize
    wide = a.astype(np.int64 if a.dtype.kind == "i" else np.uint64)
    n = np.asarray(np.minimum(length, bits - start), wide.dtype)
    up = (64 - start.astype(wide.dtype) - n).astype(wide.dtype)
    down = (64 - n).astype(wide.dtype)
    result: Array = ((wide << up) >> down).astype(a.dtype)
    return result


def _insert(op: tuple[str, ...], a: Array, b: Array, start: Array, length: Array) -> Array:
    """`b` with the lowest bits of `a` from `start` on."""
    bits = 8 * b.dtype.itemsize
    at = np.minimum(start, bits - 1).astype(b.dtype)
    count = np.minimum(length, bits - at).astype(b.dtype)
    ones = np.where(count == bits, ~b.dtype.type(0), (b.dtype.type(1) << count) - b.dtype.type(1))
    mask = np.where(start < bits, ones << at, 0).astype(b.dtype)
    result: Array = b & ~mask | (a << at) & mask
    return result


def _permute(op: tuple[str, ...], a: Array, b: Array, selector: Array) -> Array:
    both = a.astype(np.uint64) | b.astype(np.uint64) << np.uint64(32)
    result = np.zeros_like(a, dtype=np.uint32)
    for place in range(4):
        choice = selector >> np.uint32(4 * place)
        at = (choice & np.uint32(7)).astype(np.uint64) * np.uint64(8)
        byte = (both >> at & np.uint64(255)).astype(np.uint32)
        sign = np.where(byte & np.uint32(128), np.uint32(255), np.uint32(0))
        byte = np.where(choice & np.uint32(8), sign, byte).astype(np.uint32)
        result |= byte << np.uint32(8 * place)
    return result


def _select(op: tuple[str, ...], a: Array, b: Array, condition: Array) -> Array:
    return np.where(condition, a, b)


_RULES: dict[str, Callable[..., Any]] = {
    "add": _simple(np.add),
    "sub": _simple(np.subtract),
    "mul": lambda op, a, b: a * b if kind_of(op).kind == "f" else _multiply(op, a, b),
    "mad": _mad,
    "fma": _fma,
    "div": _divide,
    "rem": _remainder,
    "rcp": lambda op, a: np.ones_like(a) / a,
    "sqrt": _simple(np.sqrt),
    "neg": _simple(np.negative),
    "abs": _simple(np.abs),
    "copysign": lambda op, a, b: np.copysign(b, a),
    "min": _extreme(True),
    "max": _extreme(False),
    "and": _simple(np.bitwise_and),
    "or": _simple(np.bitwise_or),
    "xor": _simple(np.bitwise_xor),
    "not": _simple(np.invert),
    "shl": _shift(True),
    "shr": _shift(False),
    "setp": _compare,
    "selp": _select,
    "cvt": _convert,
    "bfe": _field,
    "bfi": _insert,
    "prmt": _permute,
    "mov": _simple(lambda a: a),
    "cvta": _simple(lambda a: a),
}


def multiply_tiles(
    left: Sequence[Array], right: Sequence[Array], sums: Sequence[Array], brain: bool
) -> list[Array]:
    """What a warp's product of a 16 by 16 and a 16 by 8 tile leaves in the sums of each thread.

    Each of the arrays has a word of two numbers, or a sum, for each thread.
    """
    lane = np.arange(32)
    group, pair = lane // 4, lane % 4 * 2

    def tile(words: Sequence[Array], moved: Sequence[tuple[int, int]], rows: int) -> Array:
        made = np.zeros((words[0].size // 32, rows, 16), np.float32)
        for word, (row, step) in zip(words, moved, strict=True):
            parts = np.ascontiguousarray(word, np.uint32).view(np.uint16).reshape(-1, 32, 2)
            numbers = from_bfloat16(parts) if brain else parts.view(np.float16)
            for k in (0, 1):
                made[:, group + row, pair + step + k] = numbers[..., k].astype(np.float32)
        return made

    a = tile(left, ((0, 0), (8, 0), (0, 8), (8, 8)), 16)
    b = tile(right, ((0, 0), (0, 8)), 8)
    with np.errstate(all="ignore"):
        product = np.einsum("wik,wjk->wij", a.astype(np.float64), b.astype(np.float64))
    result = []
    for c, total in enumerate(sums):
        added = product[:, group + 8 * (c // 2), pair + c % 2].reshape(-1)
        result.append((total + added).astype(np.float32))
    return result
