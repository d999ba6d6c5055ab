"""Traces: what is captured, written, restored; what may not be looked at or leave."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import LeakedTracerError, TracedValueError
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node
from fusegrad.ir.types import Symbol
from fusegrad.ops.source import Input
from fusegrad.tensors.trace import Trace, runtime_scalar


def run(nodes: list[Node], trace: Trace, arguments: dict[Node, object]) -> list[np.ndarray]:
    environment = {node: np.asarray(value, node.dtype.numpy) for node, value in arguments.items()}
    for tensor, node in trace.captures:
        environment[node] = tensor.numpy()
    for getter, node, _ in trace.scalars:
        environment[node] = np.asarray(getter(), node.dtype.numpy)
    return evaluate(nodes, environment)


def test_reads_are_captured_once_in_order() -> None:
    a, b = fg.ones(2), fg.asarray([3.0, 4.0])
    with Trace() as trace:
        x, node = trace.input((2,), "float32", "x")
        y = x * b + a * b
    assert [tensor for tensor, _ in trace.captures] == [b, a]
    assert isinstance(node.op, Input)
    assert y._node is not None
    assert run([y._node], trace, {node: [1, 2]})[0].tolist() == [6, 12]
    assert not trace.written


def test_writes_are_state() -> None:
    total = fg.asarray([1.0, 2.0])
    storage = total._materialize()
    with Trace() as trace:
        x, node = trace.input((2,), "float32", "x")
        total += x
        total *= 2
        y = total + 1
    assert list(trace.written) == [total]
    assert trace.written[total].storage is storage
    assert total._node is not None
    assert y._node is not None
    final, shown = run_nodes = [total._node, y._node]
    trace.restore()
    assert total._storage is storage
    assert total.tolist() == [1, 2]
    assert [v.tolist() for v in run([final, shown], trace, {node: [10, 20]})] == [
        [22, 44],
        [23, 45],
    ]
    assert len(run_nodes) == 2


def test_pending_tensors_are_computed_when_captured() -> None:
    a = fg.ones(2) * 3
    with Trace() as trace:
        y = a + 1
    assert a._storage is not None
    assert y._node is not None
    assert run([y._node], trace, {})[0].tolist() == [4, 4]


def test_gradients_in_a_trace() -> None:
    w = fg.asarray([1.0, 2.0], requires_grad=True)
    with Trace() as trace:
        x, node = trace.input((2,), "float32", "x")
        (w * w * x).sum().backward()
        grad = w.grad
        with fg.no_grad():
            w -= 0.5 * w.grad
        w.grad = None
    assert list(trace.grads) == [w]
    assert trace.grads[w] is None
    assert list(trace.written) == [w]
    assert w._node is not None
    final = w._node
    trace.restore()
    assert w.grad is None
    assert w.tolist() == [1, 2]
    assert w.requires_grad
    assert w.is_leaf
    assert run([final], trace, {node: [1, 10]})[0].tolist() == [0, -18]
    assert grad is not None


def test_existing_gradients_accumulate_in_place() -> None:
    w = fg.asarray([1.0, 2.0], requires_grad=True)
    w.grad = fg.asarray([100.0, 100.0])
    before = w.grad
    with Trace() as trace:
        (w * w).sum().backward()
    assert w.grad is before
    assert list(trace.written) == [before]
    trace.restore()
    assert before.tolist() == [100, 100]


def test_constants_need_no_variable() -> None:
    with Trace() as trace:
        y = fg.arange(3) + fg.asarray(np.array([1, 2, 3])) * fg.ones(3, dtype="int64")
        assert y.tolist() == [1, 3, 5]
        assert float(fg.zeros(())) == 0
    assert not trace.captures


def test_large_arrays_are_captured() -> None:
    with Trace() as trace:
        y = fg.asarray(np.ones(5000, np.float32)) * 2
    assert len(trace.captures) == 1
    assert y.shape == (5000,)


def test_runtime_scalars() -> None:
    settings = {"lr": 0.1}
    w = fg.ones(2)
    with Trace() as trace:
        lr = runtime_scalar(lambda: settings["lr"], "lr")
        y = w * lr
        z = 1 - lr**2
    assert isinstance(lr, fg.Tensor)
    assert y.dtype is fg.float32
    assert isinstance(z, fg.Tensor)
    assert z.dtype is fg.float64
    assert [label for _, _, label in trace.scalars] == ["lr"]
    settings["lr"] = 0.5
    assert y._node is not None
    assert z._node is not None
    a, b = run([y._node, z._node], trace, {})
    assert a.tolist() == [0.5, 0.5]
    assert b == 0.75
    assert runtime_scalar(lambda: settings["lr"], "lr") == 0.5


def test_weak_arguments_promote_as_numbers() -> None:
    with Trace() as trace:
        rate, _ = trace.input((), "float64", "rate", weak=True)
        count, _ = trace.input((), "int64", "count", weak=True)
        assert (fg.ones(2) * rate).dtype is fg.float32
        assert (fg.ones(2, dtype="float64") * rate).dtype is fg.float64
        assert (fg.ones(2, dtype="int32") * count).dtype is fg.int32
        assert (fg.ones(2, dtype="int32") * rate).dtype is fg.float32
        assert (rate * count).dtype is fg.float64
        assert (fg.ones(2) * fg.sqrt(rate * 2)).dtype is fg.float32


def test_traced_values_cannot_be_looked_at() -> None:
    w = fg.ones(2)
    with Trace() as trace:
        x, _ = trace.input((2,), "float32", "x")
        for look in (
            lambda: bool(x.sum() > 0),
            lambda: float(x[0]),
            lambda: int(x[0]),
            lambda: x.item if x.size == 1 else x[0].item(),
            lambda: np.exp(x),
            lambda: np.mean(x),
            lambda: np.asarray(x),
            lambda: x.numpy(),
            lambda: x.tolist(),
            lambda: w.tolist(),
            lambda: float(w.sum()),
            lambda: range(x.astype("int64")[0]),
            lambda: x[x > 0],
        ):
            with pytest.raises(TracedValueError):
                look()
        assert repr(x) == "Tensor(<traced>, shape=(2,), dtype=float32)"
        assert x.shape == (2,)
    assert w.tolist() == [1, 1]


def test_traced_values_cannot_leave() -> None:
    with Trace() as trace:
        x, _ = trace.input((2,), "float32", "x")
        y = x * 2
        constant = fg.arange(3) + 1
    for use in (lambda: y + 1, lambda: y.tolist(), lambda: float(y.sum()), lambda: x.numpy()):
        with pytest.raises(LeakedTracerError):
            use()
    assert repr(y) == "Tensor(<traced>, shape=(2,), dtype=float32)"
    assert (constant * 2).tolist() == [2, 4, 6]
    with Trace(), pytest.raises(LeakedTracerError):
        y + 1


def test_two_threads_trace_at_once() -> None:
    weight = fg.ones(3)
    counts: list[int] = []
    barrier = threading.Barrier(2)

    def work() -> None:
        barrier.wait()
        for _ in range(50):
            with Trace() as trace:
                x, _ = trace.input((3,), "float32", "x")
                y = x * weight
                for _ in range(10):
                    y = y + weight
            counts.append(len(trace.captures))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1] * 100


def test_errors_end_the_trace() -> None:
    x = fg.ones(2)
    trace = Trace()

    def step() -> None:
        nonlocal x
        with trace:
            x += 1
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        step()
    trace.restore()
    assert trace.finished
    assert x.tolist() == [1, 1]
    assert (x + 1).tolist() == [2, 2]


def test_every_node_knows_the_users_line() -> None:
    from fusegrad.ir.node import where

    x = fg.ones(2, requires_grad=True)
    y = fg.exp(x) * 3.25
    assert y._node is not None
    line = where(y._node)
    assert line is not None
    assert line.file == __file__
    assert line.text == "y = fg.exp(x) * 3.25"


def test_extents_may_be_symbols() -> None:
    rows = Symbol("rows")
    w = fg.ones((8, 4))
    with Trace() as trace:
        x, _ = trace.input((rows, 8), "float32", "x")
        h = fg.relu(x @ w + fg.ones(4))
        assert h.shape == (rows, 4)
        assert x.reshape(-1, 4, 2).shape == (rows, 4, 2)
        assert (x.T @ x).shape == (8, 8)
        assert fg.logsumexp(h, axis=1).shape == (rows,)
        assert x.mean().shape == ()
        assert x[:, 2:4].shape == (rows, 2)
        assert fg.concat([x, x], axis=1).shape == (rows, 16)
        assert h.argmax(1).shape == (rows,)
        assert fg.grad(lambda v: (x @ v).mean())(w).shape == (8, 4)
        with pytest.raises(fg.errors.ShapeError, match="variable extent"):
            x[0]
    trace.restore()
