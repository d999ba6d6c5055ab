"""From regions of the graph to kernels: the only package that names both nodes and kernels.

Knows regions and kernels; knows no machine: `schedule` maps the kernels, targets print them.
"""

from __future__ import annotations

from ..ir.node import Node
from ..ops.window_dot import WindowDot
from ..passes.regions import Kind, Region
from .between import lower_between
from .build import Lowered
from .other import lower_dot, lower_nest, lower_strided
from .rows import lower_rows
from .windows import lower_window_dot

__all__ = ["Lowered", "lower_region"]


def lower_region(region: Region, outside: frozenset[Node], name: str) -> Lowered:
    """The logical kernel of one region.

    Parameters
    ----------
    region : Region
        From `fusegrad.passes.fuse`.
    outside : frozenset of Node
        The region's values that are read outside it: they get output parameters.
    name : str
        The name of the kernel.
    """
    if region.kind is Kind.DOT and isinstance(region.stages[0].node.op, WindowDot):
        return lower_window_dot(region, outside, name)
    if region.kind is Kind.DOT:
        return lower_dot(region, outside, name)
    if region.kind is Kind.BETWEEN:
        return lower_between(region, outside, name)
    if region.kind is Kind.STRIDED:
        return lower_strided(region, outside, name)
    if region.kind is Kind.LOOP:
        return lower_nest(region, name)
    return lower_rows(region, outside, name)
