"""Scans in registers: a vector of states from a vector of values, by steps of doubled distance.

Knows expressions and what a scan combines; knows no loops.
"""

from __future__ import annotations

from ..expr import Var
from ..scans import Scan
from .llvm_address import Mask
from .llvm_builder import Value
from .llvm_values import Values

__all__ = ["scanned", "started"]


def started(values: Values, scan: Scan, start: str, lanes: int) -> str:
    """The state before the first vector, in every lane."""
    return values.operand(Value(start, scan.carried.dtype, 0, values.depth), lanes)


def scanned(values: Values, scan: Scan, lanes: int, mask: Mask | None, state: str) -> str:
    """Bind the states after each of `lanes` iterations; gives the last one, in every lane.

    Lanes that the mask leaves out stand behind the others and change nothing.
    """
    dtype = scan.carried.dtype
    kind = values.type_of(dtype, lanes)
    neutral = values.operand(values.value(scan.neutral()), lanes)

    def combined(a: str, b: str) -> str:
        first, second = Var("first", dtype), Var("second", dtype)
        values.bind(first, Value(a, dtype, lanes, values.depth))
        values.bind(second, Value(b, dtype, lanes, values.depth))
        return values.operand(values.value(scan.combined(first, second)), lanes)

    def shuffled(a: str, b: str, order: list[int]) -> str:
        numbers = ", ".join(f"i32 {n}" for n in order)
        return values.emit(f"shufflevector {kind} {a}, {kind} {b}, <{lanes} x i32> <{numbers}>")

    so_far = values.operand(values.value(scan.value), lanes)
    if mask is not None:
        so_far = values.emit(
            f"select <{lanes} x i1> {mask.text}, {kind} {so_far}, {kind} {neutral}"
        )
    distance = 1
    while distance < lanes:
        order = [i if i < distance else lanes + i - distance for i in range(lanes)]
        so_far = combined(shuffled(neutral, so_far, order), so_far)
        distance *= 2
    states = combined(state, so_far)
    values.bind(scan.step.var, Value(states, dtype, lanes, values.depth))
    # Not the last lane of the states: what the next vector waits for is one operation.
    return combined(state, shuffled(so_far, so_far, [lanes - 1] * lanes))
