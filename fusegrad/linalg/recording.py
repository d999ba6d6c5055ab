"""Functions with several results as tensors.

Knows tensors and functions on nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.node import Node
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record, record_nodes

__all__ = ["each", "joined"]


def each(
    count: int, function: Callable[..., tuple[Node, ...]], tensors: Sequence[Tensor], *args: Any
) -> tuple[Tensor, ...]:
    """The results of a function of nodes, each as a tensor. Equal nodes are one: it runs once."""

    def pick(number: int) -> Callable[..., Node]:
        return lambda *nodes: function(*nodes)[number]

    return tuple(record(pick(number), tensors, *args) for number in range(count))


def joined(function: Callable[..., Node], a: ArrayLike, b: ArrayLike, *args: Any) -> Tensor:
    """``function(a, b, *args)`` of operands in their common dtype."""

    def made() -> tuple[Node, list[Tensor]]:
        (one, two), tensors = common_nodes((as_tensor(a), as_tensor(b)))
        return function(one, two, *args), tensors

    return record_nodes(made)
