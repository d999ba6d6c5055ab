"""Graphs as closed functions: parameters, results, and what they take from outside as operands.

Knows what a variable is; no op that computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..codegen.records import dataclass
from ..ir.node import Node, substitute, toposort
from ..ops import build
from ..ops.identities import Leaf, Mark
from ..ops.source import Input

__all__ = ["Closed", "close"]


@final
@dataclass(frozen=True)
class Closed:
    """A function of parameters alone.

    Attributes
    ----------
    parameters : tuple of Node
        Variables.
    results : tuple of Node
        They depend on no other variables.
    captured : tuple of Node
        The operands for the last parameters: what the graph took from outside.
    """

    parameters: tuple[Node, ...]
    results: tuple[Node, ...]
    captured: tuple[Node, ...]


def close(nodes: Sequence[Node], variables: Sequence[Node]) -> Closed:
    """The function that takes `variables`, and whatever else `nodes` rest on, to `nodes`.

    Parameters
    ----------
    nodes : sequence of Node
    variables : sequence of Node
        Nodes without which `nodes` would be something else, usually marks.

    Returns
    -------
    Closed
        With a fresh parameter for each of `variables`, then one for each captured node.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ir.types import TensorType
    >>> x, w = (build.input_(TensorType((2,), float32)) for _ in range(2))
    >>> close([build.mul(x, build.exp(w))], [x]).captured
    (<exp: f32[2]>,)
    """
    own = set(variables)
    depends = set(variables)
    # What rests on a variable of somebody else; the rest is constant and stays inside.
    outer: set[Node] = set()
    captured: dict[Node, None] = {}
    for node in toposort(nodes, own):
        if node in own:
            continue
        if not depends.isdisjoint(node.inputs):
            depends.add(node)
            captured.update(dict.fromkeys(x for x in node.inputs if x in outer))
        elif isinstance(node.op, (Input, Leaf, Mark)) or not outer.isdisjoint(node.inputs):
            outer.add(node)
    captured.update(dict.fromkeys(node for node in nodes if node in outer))
    operands = (*variables, *captured)
    parameters = tuple(build.input_(node.tensor_type) for node in operands)
    results = substitute(nodes, dict(zip(operands, parameters, strict=True)))
    return Closed(parameters, tuple(results), tuple(captured))
