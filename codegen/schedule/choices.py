"""The ways to compute a product that a search compares: tiles, packing, blocks, forms of windows.

Knows what is possible, not what is fast. The order of every sum is the same in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

from ..kernel import Kernel, Role
from ..targets.base import Features
from .blocked import block_choice, block_rule, may_block, must_block
from .contraction import Choice, match, must_pack, number, row_count, rule
from .narrow import sums_over_lanes, turned
from .pairs import paired
from .shallow import shallow
from .window_tiling import WindowProduct, match_windows
from .windows import WindowChoice, window_forms

__all__ = ["AnyChoice", "Product", "WindowedProduct", "product_of"]

AnyChoice = Choice | WindowChoice

_DEPTHS = (128, 256, 512)
"""Steps of the sum in one part."""


def product_of(kernel: Kernel, size: int, target: Features) -> Product | WindowedProduct | None:
    """The product that a kernel computes, if there are several ways with the same result.

    Not so where lanes share a sum, where long windows are summed, and where chunks have partial
    results of their own.
    """
    contraction = match(kernel)
    partial = any(p.role is Role.PARTIAL for p in kernel.params)
    if partial or kernel.finish:
        return None
    if contraction is None:
        windows = match_windows(kernel)
        if windows is None or windows.in_rows or not window_forms(windows, size, target):
            return None
        return WindowedProduct(windows, size, target)
    if any(form(contraction, size, target) is not None for form in (shallow, sums_over_lanes)):
        return None
    return Product(kernel, size, target)


@final
class Product:
    """The ways to compute one product.

    Attributes
    ----------
    first : Choice
        That of the rule.
    work : float
        Multiplications.
    """

    def __init__(self, kernel: Kernel, size: int, target: Features) -> None:
        contraction = match(kernel)
        assert contraction is not None
        contraction = paired(contraction, size, target)
        self.target = target
        self.whole = contraction
        self.flat = turned(contraction, size)
        self.size = size
        self.rows = row_count(contraction, size)
        in_blocks = block_rule(contraction, size, target)
        self.first = in_blocks or rule(self.flat, size, target)
        columns = number(contraction.columns.extent)
        batch = 1.0
        for f in contraction.batch:
            batch *= f.extent if isinstance(f.extent, int) else size
        self.work = batch * self.rows * columns * contraction.depth

    @property
    def stages(self) -> Sequence[Callable[[Choice], Sequence[Choice]]]:
        """What to try one after the other, each beside the best so far."""
        return (self.forms, self.shapes, self.packing, self.sizes)

    def forms(self, best: Choice) -> Sequence[Choice]:
        """In blocks, or not."""
        if must_block(self.whole, self.rows):
            return ()
        if best.depth:
            return (rule(self.flat, self.size, self.target),)
        if not may_block(self.whole, self.rows):
            return ()
        return (block_choice(self.whole, self.rows, self.target, _DEPTHS[1]),)

    def shapes(self, best: Choice) -> Sequence[Choice]:
        """The largest tile of each width that leaves registers for the operands."""
        contraction = self.whole if best.depth else self.flat
        lanes = self.target.lanes(contraction.acc.dtype)
        rows = row_count(contraction, self.size)
        found = []
        for vectors in range(1, min(8, -(-number(contraction.columns.extent) // lanes)) + 1):
            height = min(rows, (self.target.registers - 2 - vectors) // vectors, 14)
            if height > 0 and (height, vectors) != (best.height, best.vectors):
                found.append(_resized(replace(best, height=height, vectors=vectors)))
        return found

    def packing(self, best: Choice) -> Sequence[Choice]:
        """Panels of the right operand copied, or read where they lie."""
        if best.depth or must_pack(self.flat, self.target):
            return ()
        return (replace(best, packed=not best.packed),)

    def sizes(self, best: Choice) -> Sequence[Choice]:
        """Larger and smaller pieces."""
        if best.depth:
            parts = (block_choice(self.whole, self.rows, self.target, d) for d in _DEPTHS)
            return [replace(best, depth=p.depth) for p in parts if p.depth != best.depth]
        blocks = (max(1, best.block // 2), best.block * 2)
        return [_resized(replace(best, block=b)) for b in blocks]


@final
class WindowedProduct:
    """The ways to compute one product with short windows.

    Attributes
    ----------
    first : WindowChoice
        That of the rule.
    work : float
        Multiplications.
    """

    def __init__(self, product: WindowProduct, size: int, target: Features) -> None:
        forms = window_forms(product, size, target)
        fastest = min(forms, key=lambda name: forms[name].time)
        self.most = {name: form.most for name, form in forms.items()}
        self.first = WindowChoice(fastest, self.most[fastest])
        extents = [f.extent for f in (*product.batch, product.rows, product.columns, *product.sums)]
        self.work = 1.0
        for extent in extents:
            self.work *= extent if isinstance(extent, int) else size

    @property
    def stages(self) -> Sequence[Callable[[WindowChoice], Sequence[WindowChoice]]]:
        """What to try one after the other, each beside the best so far."""
        return (self.forms, self.heights)

    def forms(self, best: WindowChoice) -> Sequence[WindowChoice]:
        """The other forms."""
        return [WindowChoice(n, most) for n, most in self.most.items() if n != best.form]

    def heights(self, best: WindowChoice) -> Sequence[WindowChoice]:
        """Tiles of fewer rows."""
        if best.form == "unrolled":
            return ()
        most = (best.most - 2, best.most - 4, best.most // 2)
        return [replace(best, most=rows) for rows in dict.fromkeys(most) if rows > 0]


def _resized(choice: Choice) -> Choice:
    """With blocks of whole tiles."""
    return replace(choice, block=-(-choice.block // choice.height) * choice.height)
