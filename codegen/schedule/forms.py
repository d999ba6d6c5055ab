"""Which form a product of matrices takes: chains, sums over lanes, blocks for the caches, panels.

Knows the forms; decides by what each of them says of itself.
"""

from __future__ import annotations

from ..targets.base import Features
from .blocked import blocked
from .contraction import Choice, Contraction, Tiled, tile
from .narrow import sums_over_lanes, turned
from .pairs import paired
from .shallow import shallow

__all__ = ["tiled_product"]


def tiled_product(c: Contraction, size: int, target: Features, choice: Choice | None) -> Tiled:
    """The mapped form of a product, as somebody chose it or as a rule says."""
    chains = shallow(c, size, target) if choice is None else None
    if chains is not None:
        return chains
    c = paired(c, size, target)
    if choice is None:
        found = sums_over_lanes(c, size, target) or blocked(c, size, target)
    else:
        found = blocked(c, size, target, choice) if choice.depth else None
    return found or tile(turned(c, size), size, target, choice)
