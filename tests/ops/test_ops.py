"""Every op in every way: its type, its NumPy meaning, its value at an index or its loop nest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fusegrad.codegen.dtypes import bool_, float32, float64, int64
from fusegrad.codegen.evaluate import evaluate as scalar_value
from fusegrad.codegen.expr import Buffer, Load, Var
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Kernel, Monoid, Param, Role
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node, Op
from fusegrad.ir.types import TensorType
from fusegrad.ops import CLASSES, ELEMENTWISE, build
from fusegrad.ops.base import CallOp, IndexedOp, LoopOp, Pattern, Sample
from fusegrad.ops.convolution import Convolution
from fusegrad.ops.native import NativeMap
from fusegrad.ops.small_matrices import SmallMatrix
from tests.ops.samples import OPS, all_samples, inputs_of, results

Array = npt.NDArray[Any]


def computed(node: Node, environment: Mapping[Node, Array]) -> Array:
    """The value of `node` by the op's own code."""
    buffers = [Buffer(f"x{i}", x.dtype, x.shape) for i, x in enumerate(node.inputs)]
    memory = dict(zip(buffers, (environment[x] for x in node.inputs), strict=True))
    if isinstance(node.op, LoopOp):
        output = Buffer("y", node.dtype, node.shape)
        params = (*(Param(buffer, Role.IN) for buffer in buffers), Param(output, Role.OUT))
        result = np.full(node.shape, 77, node.dtype.numpy)
        kernel = Kernel("nest", params, (), node.op.nest(node, buffers, output))
        interpret_kernel(kernel, [*memory.values(), result], [])
        return result
    assert isinstance(node.op, IndexedOp)
    index = tuple(Var(f"i{axis}", int64, extent) for axis, extent in enumerate(node.shape))
    reads = [lambda places, buffer=buffer: Load(buffer, places) for buffer in buffers]
    expr = node.op.value(node, reads, index)
    assert expr.dtype is node.dtype

    def load(read: Load, places: tuple[Any, ...]) -> Any:
        data = memory[read.buffer]
        for place, extent in zip(places, data.shape, strict=True):
            assert np.all((place >= 0) & (place < extent)), "a read outside a buffer"
        return data[places]

    variables = dict(zip(index, np.indices(node.shape), strict=True))
    return np.broadcast_to(scalar_value(expr, variables, load), node.shape)


@pytest.mark.parametrize("sample", all_samples(), ids=str)
@pytest.mark.parametrize("special", [False, True], ids=["", "special"])
def test_type_meaning_and_code_agree(sample: Sample, special: bool) -> None:
    rng = np.random.default_rng(3)
    if sample.op.pattern is Pattern.CALL:
        # The meaning is the code. Matrices with NaN in them have no decomposition.
        nodes, environment = inputs_of(sample, rng)
        evaluate(results(Node(sample.op, tuple(nodes))), environment)
        return
    # Nor do loops have one; what becomes of those matrices has tests of its own.
    nodes, environment = inputs_of(sample, rng, special and not isinstance(sample.op, SmallMatrix))
    node = Node(sample.op, tuple(nodes))
    # The interpreter checks the meaning against the inferred type.
    (expected,) = evaluate([node], environment)
    if not isinstance(node.op, IndexedOp) and node.dtype.is_half:
        return  # its loops run on float32, see `widen_halves`
    if isinstance(node.op, (Convolution, SmallMatrix)):
        # Sums of products, in another order.
        epsilon = 0 if node.dtype.is_integer else 100 * np.finfo(node.dtype.numpy).eps
        np.testing.assert_allclose(computed(node, environment), expected, epsilon, epsilon)
    elif node.op.pattern not in (Pattern.REDUCE, Pattern.CONTRACT):
        found = computed(node, environment)
        assert found.dtype == expected.dtype
        if node.dtype.is_half:  # NumPy does not know that two NaN of bfloat16 are alike
            found, expected = found.astype(np.float32), expected.astype(np.float32)
        np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("op", OPS, ids=str)
def test_every_op_is_whole(op: Op) -> None:
    """With derivative, rule for vmap, a lowering and samples; type and meaning are abstract."""
    kind = type(op)
    # Whoever brings a native function brings its derivative.
    ruled = kind.vjp is not Op.vjp or kind.vjp_of_results is not Op.vjp_of_results
    assert ruled or kind is NativeMap, "no derivative"
    assert kind.batch is not Op.batch or op.pattern is Pattern.SOURCE, "no rule for vmap"
    lowered = op.pattern in (Pattern.REDUCE, Pattern.CONTRACT)
    assert lowered or isinstance(op, (IndexedOp, LoopOp, CallOp)), "no lowering"
    assert next(op.samples(), None) is not None, "no samples"


def test_table_is_large_enough() -> None:
    assert len(ELEMENTWISE) >= 60


def test_ops_with_equal_parameters_are_one_object() -> None:
    for name, params in (
        ("broadcast", ((2, 3), (1,))),
        ("slice", ((0,), (2,), (1,))),
        ("constant", (1.5, float32)),
        ("cast", (float64,)),
        ("reduce", (Monoid.SUM, (0, 1))),
    ):
        assert CLASSES[name](*params) is CLASSES[name](*params)


def test_constants_are_bits_and_dtype() -> None:
    zero, minus = (build.constant(v, float64) for v in (0.0, -0.0))
    assert zero is not minus
    assert build.constant(1, float64) is build.constant(1.0, float64)
    assert build.constant(1, float64) is not build.constant(1, float32)
    assert build.constant(True, bool_) is not build.constant(1, int64)
    nan = float("nan")
    assert build.constant(nan, float64) is build.constant(nan, float64)
    assert np.signbit(evaluate([minus], {})[0])


def test_light_normalisations() -> None:
    x = build.input_(TensorType((2, 3), float64))
    assert build.reshape(x, (2, 3)) is x
    assert build.reshape(build.reshape(x, (6,)), (2, 3)) is x
    assert build.transpose(build.transpose(x, (1, 0)), (1, 0)) is x
    assert build.cast(x, float64) is x
    assert build.broadcast(x, (2, 3), (0, 1)) is x
    assert build.slice_(x, (0, 0), (2, 3), (1, 1)) is x
    assert build.pad(x, (0, 0), (0, 0)) is x
    assert build.sum_(x, ()) is x
    assert build.concat([x], 0) is x
    row = build.input_(TensorType((3,), float64))
    twice = build.broadcast(build.broadcast(row, (2, 3), (1,)), (4, 2, 3), (1, 2))
    assert twice is build.broadcast(row, (4, 2, 3), (2,))


def test_broadcast_to_follows_numpy() -> None:
    for given, shape in (((3, 1), (2, 3, 4)), ((), (2,)), ((1, 1), (1, 5)), ((2, 3), (2, 3))):
        x = build.input_(TensorType(given, float64))
        value = np.random.default_rng(0).normal(size=given)
        (found,) = evaluate([build.broadcast_to(x, shape)], {x: value})
        np.testing.assert_array_equal(found, np.broadcast_to(value, shape), strict=True)


def test_indices_outside_the_axis_are_clamped() -> None:
    x = build.input_(TensorType((3,), float64))
    places = build.array_constant(np.asarray([-5, 0, 2, 99]))
    (found,) = evaluate([build.take(x, places, 0)], {x: np.asarray([1.0, 2.0, 3.0])})
    np.testing.assert_array_equal(found, [1, 1, 3, 3])


def test_error_function_against_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    values = np.concatenate([np.linspace(-6, 6, 201), [np.inf, -np.inf, np.nan, -0.0]])
    x = build.input_(TensorType(values.shape, float64))
    for name, meaning in (("erf", special.erf), ("erfc", special.erfc)):
        (found,) = evaluate([build.elementwise(name, x)], {x: values})
        np.testing.assert_allclose(found, meaning(values), rtol=1e-14, atol=0)
