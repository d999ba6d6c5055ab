"""The reference interpreter: the meaning of a graph, in NumPy.

Knows no concrete op: each op says what it means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import InternalError
from .halves import meaning
from .node import Array, Node, toposort, where
from .types import TensorType

__all__ = ["evaluate"]


def evaluate(outputs: Sequence[Node], environment: Mapping[Node, Array]) -> list[Array]:
    """The values of `outputs`, each a NumPy array of its node's shape and dtype.

    Parameters
    ----------
    outputs : sequence of Node
    environment : mapping of Node to numpy.ndarray
        Values of inputs, or of any nodes in between.

    Returns
    -------
    list of numpy.ndarray
        They may be views of values in the environment.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ops import build
    >>> x = build.input_(TensorType((2,), float32))
    >>> evaluate([build.add(x, x)], {x: np.ones(2, np.float32)})
    [array([2., 2.], dtype=float32)]
    """
    order = _needed(outputs, environment)
    uses: dict[Node, int] = dict.fromkeys(outputs, 1)
    for node in order:
        for operand in node.inputs:
            uses[operand] = uses.get(operand, 0) + 1
    values: dict[Node, Array] = dict(environment)
    with np.errstate(all="ignore"):
        for node in order:
            inputs = node.inputs
            values[node] = _checked(node, meaning(node, [values[operand] for operand in inputs]))
            for operand in inputs:
                uses[operand] -= 1
                if not uses[operand]:
                    values.pop(operand, None)
    return [values[node] for node in outputs]


def _needed(outputs: Sequence[Node], environment: Mapping[Node, Array]) -> list[Node]:
    """The nodes to compute, in order; what the environment gives hides what lies behind."""
    if all(not node.inputs for node in environment):
        return [node for node in toposort(outputs) if node not in environment]
    order: list[Node] = []
    seen: set[Node] = set(environment)
    stack = list(outputs)[::-1]
    while stack:
        node = stack[-1]
        if node in seen:
            stack.pop()
            continue
        missing = [operand for operand in reversed(node.inputs) if operand not in seen]
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        seen.add(node)
        order.append(node)
    return order


def _checked(node: Node, value: object) -> Array:
    expected = node.type
    if not isinstance(expected, TensorType):
        return value  # type: ignore[return-value]
    array = np.asarray(value)
    if array.shape != expected.shape or array.dtype != expected.dtype.numpy:
        raise InternalError(
            f"{node.op} computed {array.dtype}{list(array.shape)}, not {expected}",
            where=where(node),
        )
    return array
