"""`f.memory`: what a call takes, told before the first one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import CaptureError


def test_values_with_their_lives_and_lines() -> None:
    def f(x, y):
        z = x @ y
        return F.softmax(z, dim=1) @ z

    compiled = fg.compile(f)
    told = compiled.memory(np.ones((64, 64), np.float32), np.ones((64, 64), np.float32))
    assert compiled.stats().compiles == 0
    assert told.peak <= told.arena_bytes
    assert told.input_bytes == 2 * 64 * 64 * 4
    assert told.output_bytes == 64 * 64 * 4
    product = next(v for v in told.values if v.what.startswith("dot"))
    assert product.nbytes == 64 * 64 * 4
    assert product.first < product.last < told.steps
    assert product.line is not None
    assert "test_memory_plan.py" in product.line
    text = str(told)
    assert f"at most {told.peak:,} bytes live together" in text
    assert "test_memory_plan.py" in text
    assert "16,384" in text


def test_it_is_what_a_call_takes() -> None:
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    @fg.compile
    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    x, y = np.ones((32, 16), np.float32), np.zeros(32, np.int64)
    before = [p.numpy().copy() for p in model.parameters()]
    told = step.memory(x, y)
    assert all(
        np.array_equal(a, p.numpy()) for a, p in zip(before, model.parameters(), strict=True)
    )
    step(x, y)
    assert step.stats().arena_bytes >= told.arena_bytes > 0
    # No two values that live together overlap, and none ends behind the arena.
    for held in told.values:
        assert held.offset + held.nbytes <= told.arena_bytes
        for other in told.values:
            if other is held or other.last < held.first or held.last < other.first:
                continue
            ends = other.offset + other.nbytes
            assert ends <= held.offset or held.offset + held.nbytes <= other.offset
    at_peak = [v for v in told.values if v.first <= told.peak_step <= v.last]
    assert sum(v.nbytes for v in at_peak) == told.peak


def test_nothing_to_hold() -> None:
    told = fg.compile(lambda x: x + 1).memory(np.ones(3, np.float32))
    assert told.values == ()
    assert told.peak == 0
    assert "at most 0 bytes" in str(told)
    assert fg.compile(lambda x: x).memory(np.ones(3)).peak == 0


def test_many_values_are_added_up() -> None:
    def f(x):
        for _ in range(60):
            x = x @ x
        return x

    text = str(fg.compile(f).memory(np.ones((2, 2), np.float32)))
    assert "smaller values" in text


def test_a_memory_limit_shows() -> None:
    model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 16))

    def loss(x: Any) -> Any:
        return fg.sum(model(model(x)))

    x = np.ones((512, 16), np.float32)
    free = fg.compile(fg.grad(loss)).memory(x)
    tight = fg.compile(fg.grad(loss), memory_limit=int(free.arena_bytes * 0.8)).memory(x)
    assert tight.arena_bytes <= free.arena_bytes * 0.8
    assert tight.peak < free.peak


def test_arguments_are_asked_for() -> None:
    with pytest.raises(CaptureError, match=r"memory\(\) needs arguments") as raised:
        fg.compile(lambda x: x + 1).memory()
    assert "f.memory(x, y)" in str(raised.value)
