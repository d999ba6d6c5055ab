"""Copies from the memory of the GPU to that of a block which threads do not wait for.

Knows what of a store such a copy can be; knows no schedule.
"""

from __future__ import annotations

from ..expr import Apply, Const, Expr, Load
from ..kernel import Store
from .gpu_team import Teams

__all__ = ["Copies"]

_SIZES = (4, 8, 16)
"""Bytes that one thread can copy."""


class Copies(Teams):
    """Asynchronous stores, on top of teams."""

    asynchronous = False
    """Whether something was copied that a barrier has to wait for."""

    def barrier(self) -> None:
        """All threads of the team wait for each other, and for what they copy."""
        if self.asynchronous:
            self.put('call void asm sideeffect "cp.async.wait_all;", "~{memory}"()')
        super().barrier()

    def copied(self, s: Store) -> bool:
        """Write an asynchronous store as a copy, if it is one; says whether it is."""
        loaded, tests = _selected(s.value)
        vector = self.vector
        lanes = 1 if vector is None else vector.lanes
        size = lanes * s.buffer.dtype.itemsize
        if loaded is None or size not in _SIZES or (vector is not None and vector.mask is not None):
            return False
        source = self.address(loaded.buffer, loaded.indices)
        target = self.address(s.buffer, s.indices)
        for buffer, place in ((loaded.buffer, source), (s.buffer, target)):
            if place.index is not None or (lanes > 1 and place.stride != 1):
                return False
            if self.alignment(buffer, place, lanes) < size:
                return False
        given = [self.value(test) for test in tests]
        if any(value.lanes for value in given):
            return False
        count = str(size)
        for value in given:
            count = self.emit(f"select i1 {value.text}, i32 {count}, i32 0")
        begin = self.element(source.pointer, loaded.buffer, source.constant, None)
        begin = self.emit(f"ptrtoint ptr {begin} to i64")
        there = self.element(target.pointer, s.buffer, target.constant, None)
        there = self.emit(f"addrspacecast ptr {there} to ptr addrspace(3)")
        there = self.emit(f"ptrtoint ptr addrspace(3) {there} to i64")
        kind = "cg" if size == 16 else "ca"
        text = f"cp.async.{kind}.shared.global [$0], [$1], {size}, $2;"
        arguments = f"i64 {there}, i64 {begin}, i32 {count}"
        self.put(f'call void asm sideeffect "{text}", "l,l,r,~{{memory}}"({arguments})')
        self.asynchronous = True
        return True


def _selected(value: Expr) -> tuple[Load | None, list[Expr]]:
    """What is loaded where all conditions hold, and otherwise is zero."""
    tests: list[Expr] = []
    while isinstance(value, Apply) and value.op == "select":
        test, value, other = value.args
        tests.append(test)
        if not isinstance(other, Const) or other.value != 0:
            return None, []
    return (value, tests) if isinstance(value, Load) else (None, [])
