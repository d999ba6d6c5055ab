"""The samples of all ops, for parametrised tests."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from fusegrad.codegen.dtypes import float64
from fusegrad.ir.node import Node, Op
from fusegrad.ir.types import TensorType, TupleType
from fusegrad.ops import CLASSES, ELEMENTWISE, base, build
from fusegrad.ops.base import Sample
from fusegrad.ops.native import NativeFunction

Array = npt.NDArray[Any]

_product = ctypes.CFUNCTYPE(*[ctypes.c_double] * 3)(lambda x, y: x * y)
PRODUCT = NativeFunction(
    "product",
    _product,
    ctypes.cast(_product, ctypes.c_void_p).value or 0,
    (float64, float64),
    float64,
)

# What stands for something outside: it has neither a meaning nor samples.
_LEAVES = {"input", "array_constant"}
EXAMPLES = {**base.EXAMPLES, "native": (PRODUCT,)}
OPS: tuple[Op, ...] = (
    *ELEMENTWISE.values(),
    *(made(*EXAMPLES[name]) for name, made in CLASSES.items() if name not in _LEAVES),
)
"""One op of each row and class."""


def results(node: Node) -> list[Node]:
    """The node, or its items if it has several results."""
    if not isinstance(node.type, TupleType):
        return [node]
    return [build.item(node, i) for i in range(len(node.type.items))]


def all_samples() -> list[Sample]:
    return [sample for op in OPS for sample in op.samples()]


def inputs_of(
    sample: Sample, rng: np.random.Generator, special: bool = False
) -> tuple[list[Node], dict[Node, Array]]:
    nodes = [build.input_(TensorType(spec.shape, spec.dtype)) for spec in sample.inputs]
    values = [spec.make(rng, special) for spec in sample.inputs]
    return nodes, dict(zip(nodes, values, strict=True))
