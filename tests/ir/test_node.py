"""Nodes: interning, immutability, sources, traversals, depth."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

from fusegrad.autodiff import vjp
from fusegrad.codegen.dtypes import float32, float64
from fusegrad.errors import DTypeError, ShapeError, SourceLine
from fusegrad.ir.digest import digest
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import (
    Node,
    record_source,
    role,
    set_recording,
    source,
    substitute,
    toposort,
    where,
)
from fusegrad.ir.printer import print_graph
from fusegrad.ir.rewrite import rewrite
from fusegrad.ir.types import Symbol, TensorType, TupleType
from fusegrad.ir.verify import verify_graph
from fusegrad.ops import build

DEPTH = 100_000


def variable(*shape: int) -> Node:
    return build.input_(TensorType(shape, float64))


def test_equal_nodes_are_one_object() -> None:
    x, y = variable(3), variable(3)
    assert build.add(x, y) is build.add(x, y)
    assert build.add(x, y) is not build.add(y, x)
    assert x is not y
    token = object()
    assert build.input_(x.tensor_type, token) is build.input_(x.tensor_type, token)
    assert build.mark(x, token) is build.mark(x, token)
    assert build.mark(x, token) is not build.mark(x, object())


def test_nodes_and_types_cannot_be_changed() -> None:
    x = variable(3)
    with pytest.raises(AttributeError):
        x.op = None  # type: ignore[assignment,misc]
    with pytest.raises(AttributeError):
        x.tensor_type.dtype = float32  # type: ignore[misc]
    assert copy.copy(x) is x
    assert copy.deepcopy([x])[0] is x
    with pytest.raises(TypeError):
        pickle.dumps(x)


def test_types_are_interned_and_survive_pickling() -> None:
    a = TensorType([2, 3], float32)
    assert a is TensorType((2, 3), float32)
    assert pickle.loads(pickle.dumps(a)) is a
    assert TupleType([a, a]) == TupleType([a, a])
    assert TensorType((Symbol("n"),), float32) is not TensorType((Symbol("n"),), float32)


def test_ill_typed_nodes_cannot_be_built() -> None:
    with pytest.raises(ShapeError, match=r"add\(f64\[3\], f64\[4\]\)") as shapes:
        build.add(variable(3), variable(4))
    assert shapes.value.remedy is not None
    assert shapes.value.where is not None
    assert shapes.value.where.file == __file__
    with pytest.raises(DTypeError, match=r"add\(f64\[3\], f32\[3\]\)"):
        build.add(variable(3), build.cast(variable(3), float32))


def test_nothing_is_kept_alive() -> None:
    class Token:
        pass

    token = Token()
    alive = weakref.ref(token)
    node = build.exp(build.input_(TensorType((3,), float64), token))
    del token, node
    gc.collect()
    assert alive() is None


def test_reused_ids_do_not_join_nodes() -> None:
    for i in range(2000):
        x = variable(3)
        y = build.add(x, x)
        assert y.inputs[0] is x, i


def test_threads_get_the_same_nodes() -> None:
    x = variable(3)
    start = threading.Barrier(4)
    found: list[list[Node]] = [[] for _ in range(4)]

    def work(mine: list[Node]) -> None:
        start.wait()
        node = x
        for _ in range(2000):
            node = build.add(node, x)
            mine.append(node)
            build.exp(build.full((3,), float(len(mine)), float64))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for others in found[1:]:
        assert all(a is b for a, b in zip(found[0], others, strict=True))


def test_sources() -> None:
    line = SourceLine("train.py", 3, "step")
    x = variable(3)
    with source(line, "backward"):
        y = build.exp(x)
    assert where(y) == line
    assert role(y) == "backward"
    with source(SourceLine("other.py", 1, "f")):
        assert where(build.exp(x)) == line, "the first creation wins"
    assert where(x) is None
    assert role(x) == "forward"
    with record_source():
        z = build.log(x)
    here = where(z)
    assert here is not None
    assert (here.file, here.function) == (__file__, "test_sources")
    assert where(build.sin(x)) is None
    assert set_recording(False) is False
    (replaced,) = substitute([z], {x: variable(3)})
    assert where(replaced) == here


def test_adjoint_nodes_inherit_the_source() -> None:
    x = variable(3)
    line = SourceLine("train.py", 7, "step")
    with source(line):
        y = build.tanh(x)
    (gradient,) = vjp([y], [build.ones_like(y)], [x])
    assert gradient is not None
    assert where(gradient) == line
    assert role(gradient) == "backward"


def test_toposort_is_complete_and_deterministic() -> None:
    x, y = variable(3), variable(3)
    a = build.add(x, y)
    b = build.mul(a, x)
    assert toposort([b, a]) == [x, y, a, b]
    assert toposort([a, b, b]) == [x, y, a, b]


def test_substitute() -> None:
    x, y, z = variable(3), variable(3), variable(3)
    kept = build.exp(z)
    (found, same) = substitute([build.add(build.exp(x), kept), kept], {x: y})
    assert found is build.add(build.exp(y), kept)
    assert same is kept
    (swapped,) = substitute([build.sub(x, y)], {x: y, y: x})
    assert swapped is build.sub(y, x)


def test_graphs_may_be_deep() -> None:
    """No traversal recurses, and no garbage collection either."""
    x = variable(2)
    node = x
    for _ in range(DEPTH):
        node = build.neg(node)
    assert len(toposort([node])) == DEPTH + 1
    (value,) = evaluate([node], {x: np.asarray([1.0, -2.0])})
    np.testing.assert_array_equal(value, [1, -2])
    (gradient,) = vjp([node], [build.ones_like(node)], [x])
    assert gradient is not None
    assert len(toposort([gradient])) == DEPTH + 2
    assert len(digest([node], [x])) == 32
    (other,) = substitute([node], {x: variable(2)})
    assert other is not node
    assert print_graph([node]).count("\n") == DEPTH + 1
    verify_graph([node], [x])

    def cancel(n: Node) -> Node | None:
        if n.op.name == "neg" and n.inputs[0].op.name == "neg":
            return n.inputs[0].inputs[0]
        return None

    assert rewrite([node], [cancel])[0] is x
    alive = weakref.ref(node)
    del node, gradient, other
    gc.collect()
    assert alive() is None
