"""The printer, the verifier, the interpreter, the digest and rewriting."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from fusegrad.codegen.dtypes import float32, float64, int64
from fusegrad.codegen.expr import Buffer, Load, Var
from fusegrad.errors import InternalError, SourceLine
from fusegrad.ir.digest import digest
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node, role, source, where
from fusegrad.ir.printer import print_graph
from fusegrad.ir.rewrite import only, rewrite
from fusegrad.ir.types import Symbol, TensorType
from fusegrad.ir.verify import verify_graph
from fusegrad.ops import build
from fusegrad.ops.base import IndexedOp, LoopOp


def variable(*shape: int) -> Node:
    return build.input_(TensorType(shape, float32))


def softmax(x: Node) -> Node:
    peak = build.broadcast(build.max_(x, (1,)), x.shape, (0,))
    powers = build.exp(build.sub(x, peak))
    return build.div(powers, build.broadcast(build.sum_(powers, (1,)), x.shape, (0,)))


SOFTMAX = """\
%x: f32[2, 3] = input
%0: f32[2] = reduce<max, [1]>(%x)
%1: f32[2, 3] = broadcast<[2, 3], [0]>(%0)
%2: f32[2, 3] = sub(%x, %1)
%3: f32[2, 3] = exp(%2)
%4: f32[2] = reduce<sum, [1]>(%3)
%5: f32[2, 3] = broadcast<[2, 3], [0]>(%4)
%6: f32[2, 3] = div(%3, %5)
return %6"""


def test_printer() -> None:
    x = variable(2, 3)
    assert print_graph([softmax(x)], {x: "x"}) == SOFTMAX
    half = build.full((2,), 0.5, float32)
    assert print_graph([half]) == (
        "%0: f32[] = constant<0.5, float32>\n%1: f32[2] = broadcast<[2], []>(%0)\nreturn %1"
    )


def test_printer_shows_sources() -> None:
    x = variable(2)
    with source(SourceLine("a.py", 4, "f"), "backward"):
        y = build.neg(x)
    assert "neg(%0)  # a.py:4 in f (backward)" in print_graph([y], sources=True)


def test_interpreter() -> None:
    x = variable(2, 3)
    value = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    (found,) = evaluate([softmax(x)], {x: value})
    powers = np.exp(value - value.max(1, keepdims=True))
    np.testing.assert_array_equal(found, powers / powers.sum(1, keepdims=True), strict=True)


def test_interpreter_takes_values_in_between() -> None:
    x = variable(2)
    middle = build.exp(x)
    value = np.asarray([3.0, 4.0], np.float32)
    found = evaluate([build.add(middle, middle), middle], {middle: value})
    np.testing.assert_array_equal(found[0], [6, 8])
    assert found[1] is value


def test_interpreter_needs_its_inputs() -> None:
    with pytest.raises(InternalError, match="input"):
        evaluate([build.exp(variable(2))], {})


def test_digest_names_the_graph() -> None:
    x, y = variable(2, 3), variable(2, 3)
    same = digest([softmax(x)], [x])
    assert digest([softmax(y)], [y]) == same
    assert digest([softmax(x)], [x, y]) != same
    assert digest([build.sub(x, y)], [x, y]) != digest([build.sub(x, y)], [y, x])
    assert digest([build.neg(x)], [x]) != digest([build.exp(x)], [x])
    assert digest([build.neg(x), x], [x]) != digest([x, build.neg(x)], [x])
    constants = [np.asarray([1.0, 2.0]), np.asarray([1.0, 2.0]), np.asarray([1.0, 2.5])]
    digests = [digest([build.exp(build.array_constant(c))], []) for c in constants]
    assert digests[0] == digests[1] != digests[2]
    for a, b in ((0.0, -0.0), (1.0, 2.0)):
        one, other = (digest([build.constant(v, float32)], []) for v in (a, b))
        assert one != other


PROGRAM = """
from fusegrad.codegen.dtypes import float32
from fusegrad.codegen.kernel import Monoid
from fusegrad.ir.digest import digest
from fusegrad.ir.types import TensorType
from fusegrad.ops import build
from fusegrad.ops.base import IndexedOp, LoopOp
x = build.input_(TensorType((2, 3), float32))
y = build.prod(build.mul(x, build.full((2, 3), 0.1, float32)), (0,))
print(digest([y], [x]).hex())
"""


def test_digest_is_equal_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_rewriting_reaches_a_fixed_point_and_keeps_sources() -> None:
    x = variable(2)
    line = SourceLine("a.py", 4, "f")
    with source(line, "backward"):
        y = build.sub(build.exp(x), build.neg(build.neg(build.neg(x))))

    def add_of_negative(n: Node) -> Node | None:
        if n.op.name == "sub" and n.inputs[1].op.name == "neg":
            return build.add(n.inputs[0], n.inputs[1].inputs[0])
        return None

    def double_negation(n: Node) -> Node | None:
        if n.op.name == "neg" and n.inputs[0].op.name == "neg":
            return n.inputs[0].inputs[0]
        return None

    (found,) = rewrite([y], [add_of_negative, double_negation])
    assert found is build.add(build.exp(x), x)
    assert where(found) == line
    assert role(found) == "backward"


def test_what_a_rule_makes_is_rewritten_too() -> None:
    x = variable(2)

    def spread(n: Node) -> Node | None:
        return build.mul(n.inputs[0], n.inputs[0]) if n.op.name == "square" else None

    def exponents(n: Node) -> Node | None:
        if n.op.name == "exp2":
            return build.square(build.square(n.inputs[0]))
        return None

    (found,) = rewrite([build.exp2(x)], [spread, exponents])
    twice = build.mul(x, x)
    assert found is build.mul(twice, twice)


@pytest.mark.parametrize(
    "rule",
    [
        lambda n: build.neg(n) if n.op.name == "exp" else None,
        lambda n: {"exp": build.log, "log": build.exp}.get(n.op.name, lambda _: None)(
            n.inputs[0] if n.inputs else n
        ),
    ],
    ids=["wraps", "circles"],
)
def test_endless_rules_are_errors(rule: Callable[[Node], Node | None]) -> None:
    with pytest.raises(InternalError):
        rewrite([build.exp(variable(2))], [rule])


def test_a_rule_for_one_kind_of_op_is_tried_at_no_other() -> None:
    tried: list[Node] = []

    @only(lambda op: op is build.exp(variable(2)).op)
    def drop(node: Node) -> Node | None:
        tried.append(node)
        return node.inputs[0]

    x = variable(3)
    graph = build.neg(build.exp(build.reshape(build.exp(x), (1, 3))))
    (found,) = rewrite([graph], [drop])
    assert found is build.neg(build.reshape(x, (1, 3)))
    assert len(tried) == 2


def test_verifier() -> None:
    x, y = variable(2), variable(2)
    verify_graph([build.add(x, y)], [x, y])
    with pytest.raises(InternalError, match="not an input"):
        verify_graph([build.add(x, y)], [x])


# --- symbols --------------------------------------------------------------------------------------


def test_every_op_takes_a_symbolic_leading_axis() -> None:
    n = Symbol("n")
    x = build.input_(TensorType((n, 6), float64))
    y = build.input_(TensorType((n, 6), float64))
    labels = build.input_(TensorType((n, 1), int64))
    rows = build.input_(TensorType((n,), int64))
    w = build.input_(TensorType((6, 4), float64))
    batch = build.input_(TensorType((n, 6, 5), float64))
    results = {
        build.add(x, y): (n, 6),
        build.select(build.gt(x, y), x, y): (n, 6),
        build.cast(x, float32): (n, 6),
        build.stop_gradient(x): (n, 6),
        build.leaf(x, object()): (n, 6),
        build.mark(x, object()): (n, 6),
        build.full((n, 2), 1.0, float64): (n, 2),
        build.iota(n): (n,),
        build.reshape(x, (n, 2, 3)): (n, 2, 3),
        build.reshape(x, (2, 3, n)): (2, 3, n),
        build.transpose(x, (1, 0)): (6, n),
        build.slice_axis(x, 1, 1, 5, 2): (n, 2),
        build.flip(x, (0, 1)): (n, 6),
        build.pad(x, (0, 1), (0, 2), (0, 1)): (n, 14),
        build.concat([x, y], 1): (n, 12),
        build.sum_(x, (1,)): (n,),
        build.max_(x, (0,)): (6,),
        build.argmax(x, 1): (n,),
        build.argmin(x, 0): (6,),
        build.dot(x, w): (n, 4),
        build.dot(build.reshape(x, (n, 1, 6)), batch): (n, 1, 5),
        build.take(w, rows, 0): (n, 4),
        build.take(x, rows, 0): (n, 6),
        build.take_along(x, labels, 1): (n, 1),
        build.scatter_add(x, rows, 0, 9): (9, 6),
        build.scatter_add(x, rows, 0, n): (n, 6),
        build.scatter_add_along(build.cast(labels, float64), labels, 1, 6): (n, 6),
    }
    assert [node.shape for node in results] == list(results.values())
    verify_graph(list(results))
    for node in results:
        operands = [Buffer("x", x.dtype, [_size(e) for e in x.shape]) for x in node.inputs]
        if isinstance(node.op, IndexedOp):
            places = tuple(Var("i", extent=_size(e)) for e in node.shape)
            reads = [lambda index, buffer=buffer: Load(buffer, index) for buffer in operands]
            assert node.op.value(node, reads, places).dtype is node.dtype
        elif isinstance(node.op, LoopOp):
            output = Buffer("y", node.dtype, [_size(e) for e in node.shape])
            assert node.op.nest(node, operands, output)


def _size(extent: int | Symbol) -> int | Var:
    return extent.variable if isinstance(extent, Symbol) else extent
