"""What is kept alive: steps outside of compile do not pile up graphs, values or tensors."""

from __future__ import annotations

import contextlib
import gc
import weakref
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.autodiff import reverse
from fusegrad.ir import interpret
from fusegrad.ir.node import Node, toposort
from fusegrad.tensors import evaluation, leaves
from fusegrad.tensors.context import active
from fusegrad.tensors.storage import Storage
from fusegrad.tensors.trace import Trace


def train(steps: int, look: bool) -> tuple[fg.Tensor, list[float]]:
    w = fg.asarray(np.linspace(-1, 1, 6), dtype="float32", requires_grad=True)
    velocity = fg.zeros(6)
    losses = []
    for _ in range(steps):
        loss = ((w - 3) ** 2).sum()
        w.grad = None
        loss.backward()
        with fg.no_grad():
            assert w.grad is not None
            velocity *= 0.5
            velocity += w.grad
            w -= 0.05 * velocity
        if look:
            losses.append(float(loss))
    return w, losses


@pytest.mark.parametrize("mode", [contextlib.nullcontext, fg.eager])
def test_training_outside_of_compile_keeps_nothing(mode: type) -> None:
    with mode():
        w, losses = train(3, look=True)
        gc.collect()
        before = len(evaluation._known), sum(r() is not None for r in active.pending)
        w, losses = train(30, look=True)
        gc.collect()
        after = len(evaluation._known), sum(r() is not None for r in active.pending)
    assert losses[-1] < losses[0] / 1e3
    assert after[0] <= before[0] + 10
    assert after[1] <= before[1] + 10
    assert w.tolist()
    assert w._node is None


def test_training_without_looking_is_right() -> None:
    expected, _ = train(40, look=True)
    actual, _ = train(40, look=False)
    np.testing.assert_array_equal(actual.numpy(), expected.numpy())


def visited(monkeypatch: pytest.MonkeyPatch, steps: int) -> int:
    """How many nodes the walks of so many steps see, when nobody looks at a value."""
    count = 0

    def counting(*args: Any, **params: Any) -> list[Node]:
        nonlocal count
        order = toposort(*args, **params)
        count += len(order)
        return order

    with monkeypatch.context() as patch:
        for module in (leaves, reverse, interpret):
            patch.setattr(module, "toposort", counting)
        train(steps, look=False)
    return count


def test_walks_of_a_training_loop_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert visited(monkeypatch, 40) <= 2.1 * visited(monkeypatch, 20)


def test_walks_of_unrolled_steps_in_a_trace_end_at_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def count(steps: int) -> int:
        seen = 0

        def counting(*args: Any, **params: Any) -> list[Node]:
            nonlocal seen
            order = toposort(*args, **params)
            seen += len(order)
            return order

        w = fg.asarray(np.linspace(-1, 1, 6), dtype="float32", requires_grad=True)
        with Trace() as trace, monkeypatch.context() as patch:
            for module in (leaves, reverse):
                patch.setattr(module, "toposort", counting)
            for _ in range(steps):
                w.grad = None
                ((w - 3) ** 2).sum().backward()
                with fg.no_grad():
                    assert w.grad is not None
                    w -= 0.05 * w.grad
        trace.restore()
        return seen

    assert count(10) == 2 * count(5)


def test_what_waits_is_bounded_in_bytes() -> None:
    large = fg.zeros(1 << 20)
    for _ in range(100):
        large = large + 1
        assert active.pending_bytes <= evaluation._LIMIT_BYTES
    assert float(large[0]) == 100


def test_backward_computes_gradients_and_what_waits() -> None:
    w = fg.asarray([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    loss.backward()
    assert w.grad is not None
    assert w.grad._storage is not None
    assert loss._storage is not None


def test_results_that_nobody_holds_are_not_computed() -> None:
    x = fg.ones(1 << 15)
    y = weakref.ref(x * 2)
    assert y() is None
    z = x * 3
    assert z.tolist() == [3] * (1 << 15)


def test_values_die_with_their_tensors() -> None:
    x = fg.asarray(np.zeros(1 << 15))
    storage = weakref.ref(x._materialize())
    y = x + 1
    del x
    assert storage() is not None  # the graph of y needs it
    y.tolist()
    gc.collect()
    assert storage() is None


def test_gradient_graphs_die_with_the_loss() -> None:
    w = fg.ones(5, requires_grad=True)
    loss = (fg.exp(w) * w).sum()
    assert loss._node is not None
    node = weakref.ref(loss._node)
    float(loss)
    loss.backward()
    assert w.grad is not None
    w.grad.tolist()
    del loss
    gc.collect()
    assert node() is None


def test_a_failing_graph_does_not_spoil_others(monkeypatch: pytest.MonkeyPatch) -> None:
    x = fg.full(1 << 15, 1.03125)  # No other test holds the same graph.
    bad, good = x + 1, x + 2

    calls = []
    original = evaluation.evaluate

    def failing(nodes: list[Node], environment: object) -> object:
        calls.append(len(nodes))
        if bad._node in nodes:
            raise MemoryError
        return original(nodes, environment)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "evaluate", failing)
    monkeypatch.setattr(evaluation, "_at_once", lambda node: None)
    assert good.numpy()[-1] == 3.03125
    with pytest.raises(MemoryError):
        bad.tolist()
    assert calls[0] == 3
    monkeypatch.undo()
    assert bad.numpy()[-1] == 2.03125


def test_storages_of_views() -> None:
    view = fg.asarray([1.0, 2.0, 3.0]).numpy()[1:]
    gc.collect()
    assert view.tolist() == [2, 3]
    assert isinstance(view.base, (Storage, np.ndarray))
