"""How rows are sorted: by the function that the target has for it, or by loops that merge runs.

Holds the choice; knows neither of them.
"""

from __future__ import annotations

from ..arranging import without_arranging
from ..kernel import Arrange, Kernel, nested
from ..targets.base import Features

__all__ = ["with_loops"]

_COMPRESSING = 64
"""Bytes of the vectors of targets that compress them; others do it element by element."""
_SHORT = 1 << 13
_LONG = 1 << 20
"""Elements beyond which parts of parts are faster than merged runs: these pass over all of them
more often. With vectors that are compressed, and without."""


def with_loops(kernel: Kernel, target: Features) -> Kernel:
    """A logical kernel with loops where they sort faster."""

    def pays(s: Arrange) -> bool:
        if target.vector_bytes < _COMPRESSING:
            return s.count <= _LONG
        whole = s.first == 0 and s.last == s.count
        # Runs are merged in whole halves where they are as long as a power of two.
        power = 1 << (s.count - 1).bit_length()
        full = 4 * power <= 5 * s.count
        return whole and full and s.keys.dtype.bits >= 32 and s.count <= _SHORT

    if not any(isinstance(s, Arrange) for s in nested(kernel.body)):
        return kernel
    return without_arranging(kernel, pays)
