"""Comparisons, logic, and operations on bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...codegen.dtypes import bool_, int64, uint8, uint64
from .. import build as b
from ..base import Node
from .table import ANY, ANYTHING, BITS, COUNT, INTEGERS, Public, function, row

__all__: list[str] = []

_question = partial(Public, takes=ANYTHING, in_place=False)
_comparison = partial(_question, verb="compare")

# --- comparisons ----------------------------------------------------------------------------------

row(
    "eq",
    ANY,
    ANY,
    public=_comparison(
        "Whether two numbers are equal.",
        "[1, 2], 2 -> [False,  True]",
        name="equal",
        aliases=("eq",),
        methods=("eq",),
    ),
)
row(
    "ne",
    ANY,
    ANY,
    public=_comparison(
        "Whether two numbers differ.",
        "[1, 2], 2 -> [ True, False]",
        name="not_equal",
        aliases=("ne",),
    ),
)
row(
    "lt",
    ANY,
    ANY,
    public=_comparison(
        "Whether the first is smaller.", "[1, 2], 2 -> [ True, False]", name="less", aliases=("lt",)
    ),
)
row(
    "le",
    ANY,
    ANY,
    public=_comparison(
        "Whether the first is not larger.",
        "[2, 3], 2 -> [ True, False]",
        name="less_equal",
        aliases=("le",),
    ),
)
row(
    "gt",
    ANY,
    ANY,
    public=_comparison(
        "Whether the first is larger.",
        "[2, 3], 2 -> [False,  True]",
        name="greater",
        aliases=("gt",),
    ),
)
row(
    "ge",
    ANY,
    ANY,
    public=_comparison(
        "Whether the first is not smaller.",
        "[1, 2], 2 -> [False,  True]",
        name="greater_equal",
        aliases=("ge",),
    ),
)

# --- logic ----------------------------------------------------------------------------------------


def _truths(build: Callable[..., Node]) -> Callable[..., Node]:
    return lambda *operands: build(*(b.cast(x, bool_) for x in operands))


row(
    "logical_and",
    ANY,
    ANY,
    public=_question(
        "Whether both are not 0.", "[1, 0], 1 -> [ True, False]", build=_truths(b.logical_and)
    ),
)
row(
    "logical_or",
    ANY,
    ANY,
    public=_question(
        "Whether one of two is not 0.", "[1, 0], 0 -> [ True, False]", build=_truths(b.logical_or)
    ),
)
row(
    "logical_xor",
    ANY,
    ANY,
    public=_question(
        "Whether exactly one of two is not 0.",
        "[1, 0], 1 -> [False,  True]",
        build=_truths(b.logical_xor),
    ),
)
row(
    "logical_not",
    ANY,
    public=_question(
        "Whether the number is 0.", "[1, 0] -> [False,  True]", build=_truths(b.logical_not)
    ),
)

# --- bits -----------------------------------------------------------------------------------------


def _bits(logical: Callable[..., Node], bitwise: Callable[..., Node]) -> Callable[..., Node]:
    return lambda *operands: (logical if operands[0].dtype is bool_ else bitwise)(*operands)


row(
    "bitwise_and",
    ANY,
    ANY,
    scalar="and",
    public=Public(
        "Bits that both have.",
        "[6, 5], 3 -> [2, 1]",
        build=_bits(b.logical_and, b.bitwise_and),
        takes=BITS,
    ),
)
row(
    "bitwise_or",
    ANY,
    ANY,
    scalar="or",
    public=Public(
        "Bits that one of two has.",
        "[6, 5], 3 -> [7, 7]",
        build=_bits(b.logical_or, b.bitwise_or),
        takes=BITS,
    ),
)
row(
    "bitwise_xor",
    ANY,
    ANY,
    scalar="xor",
    public=Public(
        "Bits that one alone has.",
        "[6, 5], 3 -> [5, 6]",
        build=_bits(b.logical_xor, b.bitwise_xor),
        takes=BITS,
    ),
)
row(
    "bitwise_not",
    ANY,
    scalar="not",
    public=Public(
        "The other bits.",
        "[0, 5] -> [-1, -6]",
        name="bitwise_invert",
        build=_bits(b.logical_not, b.bitwise_not),
        takes=BITS,
        aliases=("bitwise_not", "invert"),
    ),
)
row(
    "shift_left",
    ANY,
    COUNT,
    scalar="shl",
    public=Public(
        "Bits moved up.",
        "[1, 3], 2 -> [ 4, 12]",
        name="bitwise_left_shift",
        takes=INTEGERS,
        aliases=("left_shift",),
    ),
)
row(
    "shift_right",
    ANY,
    COUNT,
    scalar="shr",
    public=Public(
        "Bits moved down.",
        "[8, 5], 2 -> [2, 1]",
        name="bitwise_right_shift",
        takes=INTEGERS,
        aliases=("right_shift",),
    ),
)


def _count(x: Node) -> Node:
    """Sums of neighbouring bits, of pairs, of fours; a product adds up the bytes."""
    v = b.cast(b.abs_(b.cast(x, int64)) if x.dtype.kind == "int" else x, uint64)

    def number(value: int) -> Node:
        return b.full_like(v, value)

    def above(places: int) -> Node:
        return b.shift_right(v, number(places))

    pairs, fours = number(0x3333333333333333), number(0x0F0F0F0F0F0F0F0F)
    v = b.sub(v, b.bitwise_and(above(1), number(0x5555555555555555)))
    v = b.add(b.bitwise_and(v, pairs), b.bitwise_and(above(2), pairs))
    v = b.bitwise_and(b.add(v, above(4)), fours)
    v = b.mul(v, number(0x0101010101010101))
    return b.cast(above(56), uint8)


function(
    "bitwise_count",
    ANY,
    build=_count,
    public=Public(
        "How many bits are 1, of negative numbers in their size.",
        "[7, -8] -> [3, 1], dtype=uint8",
        takes=BITS,
        in_place=False,
    ),
)
