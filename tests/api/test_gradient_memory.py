"""What compiled steps do with gradients that they leave: memory, identity, and what is held."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.runtime import memory

WIDTH = 512
CALLS = 6
"""More than the first ones, which run in Python."""


def made(where: str = "first") -> tuple[nn.Linear, Any]:
    """A model and its compiled step; `where` the step resets gradients."""
    fg.random.seed(3)
    model = nn.Linear(WIDTH, WIDTH)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    @fg.compile
    def step(x: Any) -> Any:
        loss = F.mse_loss(model(x), x)
        if where == "first":
            optimizer.zero_grad()
        loss.backward()
        if where != "never":
            optimizer.step()
        if where == "last":
            optimizer.zero_grad()
        return loss

    return model, step


def data() -> Any:
    return fg.asarray(np.random.default_rng(0).standard_normal((8, WIDTH)), dtype="float32")


def address(tensor: Any) -> int:
    return int(tensor.numpy().__array_interface__["data"][0])


def test_gradients_are_written_where_the_last_ones_were() -> None:
    model, step = made()
    x = data()
    found = set()
    for _ in range(CALLS):
        step(x)
        found.add(address(model.weight.grad))
    used = memory.statistics().used_bytes
    for _ in range(CALLS):
        step(x)
    assert len(found) == 1
    assert memory.statistics().used_bytes <= used


@pytest.mark.parametrize("keep", ["tensor", "view", "copy", "detached"])
def test_a_gradient_that_somebody_holds_does_not_change(keep: str) -> None:
    model, step = made()
    x = data()
    holders = {
        "tensor": lambda g: g,
        "view": lambda g: g.numpy(),
        "copy": copy.copy,
        "detached": lambda g: g.detach(),
    }
    held, expected = [], []
    for _ in range(CALLS):
        step(x)
        held.append(holders[keep](model.weight.grad))
        expected.append(np.array(model.weight.grad.numpy()))
    assert not np.array_equal(expected[0], expected[-1])
    for before, values in zip(held, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(before), values)


def test_a_pending_graph_of_a_gradient_reads_what_it_was() -> None:
    model, step = made()
    x = data()
    pending, expected = [], []
    for _ in range(CALLS):
        step(x)
        expected.append(2 * np.array(model.weight.grad.numpy()))
        pending.append(model.weight.grad * 2)
    for value, numbers in zip(pending, expected, strict=True):
        np.testing.assert_array_equal(value.numpy(), numbers)


def test_a_gradient_that_the_step_adds_to_stays_the_same_tensor() -> None:
    model, step = made("never")
    x = data()
    step(x)
    step(x)
    first, once = model.weight.grad, np.array(model.weight.grad.numpy()) / 2
    for _ in range(CALLS):
        step(x)
    assert model.weight.grad is first
    np.testing.assert_allclose(first.numpy(), (2 + CALLS) * once, rtol=1e-5, atol=1e-9)


def test_gradients_that_are_reset_in_the_end_have_no_memory() -> None:
    model, step = made("last")
    other, first = made("first")
    x = data()
    np.testing.assert_array_equal(step(x).numpy(), first(x).numpy())
    assert model.weight.grad is None
    saved = _outputs(first, x) - _outputs(step, x)
    assert saved == other.weight.numpy().nbytes + other.bias.numpy().nbytes


def _outputs(step: Any, x: Any) -> int:
    """The bytes of results, those that are written over what was there before left out."""
    return int(step.memory(x).output_bytes)


def test_the_first_call_keeps_no_old_parameters() -> None:
    model, step = made()
    x = data()
    model.weight.numpy(), model.bias.numpy()
    before = memory.statistics().used_bytes
    step(x)
    arena = step.stats().arena_bytes
    grown = memory.statistics().used_bytes - before - arena
    size = model.weight.numpy().nbytes
    # Two moments and the gradient; the parameters are where they were.
    assert grown < 3.5 * size
