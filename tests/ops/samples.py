"""The samples of all ops, for parametrised tests."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from fusegrad.codegen.dtypes import float32, float64, int32
from fusegrad.codegen.kernel import Monoid
from fusegrad.ir.node import Node, Op
from fusegrad.ir.types import TensorType, TupleType
from fusegrad.ops import ELEMENTWISE, build
from fusegrad.ops.base import Sample
from fusegrad.ops.bits import Bitcast
from fusegrad.ops.contract import Dot
from fusegrad.ops.convolution import Convolution
from fusegrad.ops.cumulative import Cumulative, LinearRecurrence
from fusegrad.ops.decomposition import (
    LU,
    QR,
    Cholesky,
    Eig,
    Eigenvalues,
    Eigh,
    RowOrder,
    SingularValues,
    Svd,
    SymmetricEigenvalues,
)
from fusegrad.ops.divisors import Gcd
from fusegrad.ops.identities import Barrier, Cast, Leaf, Mark, NotDifferentiable, StopGradient
from fusegrad.ops.indexing import ScatterAdd, ScatterAddAlong, Take, TakeAlong
from fusegrad.ops.movement import Broadcast, Concat, Flip, Pad, Reshape, Slice, Transpose
from fusegrad.ops.native import NativeFunction, NativeMap
from fusegrad.ops.reduce import ArgReduce, Reduce
from fusegrad.ops.scatter import Scatter
from fusegrad.ops.solving import (
    Cofactor,
    CofactorDerivative,
    Determinant,
    Exponential,
    ExponentialDerivative,
    Inverse,
    LogDeterminant,
    PseudoInverse,
    Solve,
    TriangularSolve,
)
from fusegrad.ops.sorting import Argsort, SearchSorted, Sort
from fusegrad.ops.source import Constant, Iota
from fusegrad.ops.window import Overlap, Windows
from fusegrad.ops.window_extreme import WindowExtreme

Array = npt.NDArray[Any]

_product = ctypes.CFUNCTYPE(*[ctypes.c_double] * 3)(lambda x, y: x * y)
PRODUCT = NativeFunction(
    "product",
    _product,
    ctypes.cast(_product, ctypes.c_void_p).value or 0,
    (float64, float64),
    float64,
)

OPS: tuple[Op, ...] = (
    *ELEMENTWISE.values(),
    Cast(float32),
    StopGradient(),
    NotDifferentiable("a sample"),
    Bitcast(int32),
    Leaf(object()),
    Mark(object()),
    NativeMap(PRODUCT),
    Barrier(),
    Constant(1, float32),
    Iota(3, float32),
    Broadcast((), ()),
    Reshape(()),
    Transpose(()),
    Slice((), (), ()),
    Flip(()),
    Pad((), (), ()),
    Concat(0),
    Reduce(Monoid.SUM, (0,)),
    ArgReduce(Monoid.ARGMAX, 0),
    Dot(),
    Take(0),
    TakeAlong(0),
    ScatterAdd(0, 1),
    ScatterAddAlong(0, 1),
    Cumulative("add", 0, False),
    LinearRecurrence(0, False),
    Argsort(False),
    Sort(False),
    SearchSorted(False),
    Scatter(0, "set"),
    Gcd(),
    Windows((), (), ()),
    Overlap((), (), ()),
    WindowExtreme((1,), (1,), (1,), Monoid.MAX, False),
    Convolution((1,), (1,), False),
    TriangularSolve(True, False),
    Solve(),
    Inverse(True),
    Determinant(),
    Cofactor(),
    CofactorDerivative(),
    LogDeterminant(),
    PseudoInverse(False),
    Exponential(),
    ExponentialDerivative(),
    Cholesky(),
    QR(False),
    LU(),
    RowOrder(1),
    Svd(False),
    SingularValues(),
    Eigh(True),
    SymmetricEigenvalues(True),
    Eig(),
    Eigenvalues(),
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
