"""A name for a graph that is equal in every process.

Knows no concrete op: each op says its name and parameters.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

from .node import Node, toposort

__all__ = ["digest"]


def digest(outputs: Sequence[Node], inputs: Sequence[Node]) -> bytes:
    """SHA-256 of the graph: ops, parameters, types of inputs, structure.

    Inputs count by their position, not by what they stand for, and source lines do not count.

    Parameters
    ----------
    outputs : sequence of Node
    inputs : sequence of Node
        Variables of the graph, in an order that belongs to the graph's meaning. Variables that are
        not named count by the order in which the outputs need them.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ir.types import TensorType
    >>> from fusegrad.ops import build
    >>> x, y = (build.input_(TensorType((2,), float32)) for _ in range(2))
    >>> digest([build.exp(x)], [x]) == digest([build.exp(y)], [y])
    True
    """
    numbers: dict[Node, int] = {}
    spellings: dict[bytes, int] = {}
    structure = array("q")
    put = structure.append
    for node in (*inputs, *toposort(outputs)):
        if node in numbers:
            continue
        numbers[node] = len(numbers)
        put(spellings.setdefault(node.op.signature, len(spellings)))
        put(len(node.inputs))
        for operand in node.inputs:
            put(numbers[operand])
    structure.extend([numbers[node] for node in outputs])
    result = hashlib.sha256()
    result.update(b"%d %d %d\0" % (len(inputs), len(outputs), len(spellings)))
    for spelling in spellings:
        result.update(b"%d\0" % len(spelling))
        result.update(spelling)
    result.update(structure.tobytes())
    return result.digest()
