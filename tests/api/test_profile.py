"""Profiles: times of kernels, what they do, and that nothing changes by looking."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import ShapeError


def test_a_product_of_matrices() -> None:
    a, b = fg.ones((64, 32)), fg.ones((32, 48))
    report = fg.compile(lambda a, b: a @ b).profile(a, b, rounds=2)
    (row,) = report.rows
    assert "dot" in row.name
    assert row.calls == 1
    assert row.flops == 2 * 64 * 32 * 48
    assert row.bytes == 4 * (64 * 32 + 32 * 48 + 64 * 48)
    assert "test_profile.py" in row.line
    assert 0 < row.milliseconds == report.milliseconds
    assert report.bandwidth > 0 < report.arithmetic
    text = str(report)
    assert text.splitlines()[0].startswith("<lambda>: ")
    assert row.name in text
    assert row.name in report._repr_html_()


def test_iterations_of_loops_count() -> None:
    @fg.compile
    def run(x: Any) -> Any:
        total = fg.scan(lambda c, row: (fg.tanh(c @ x + row), None), x[0], x)[0]
        chosen = fg.cond(total.sum() > 0, lambda t: t * 2, lambda t: t - 1, total)
        return fg.while_loop(lambda t: t.max() < 100, lambda t: fg.abs(t) * 2 + 1, chosen)

    x = fg.asarray(np.random.default_rng(0).standard_normal((7, 7)).astype(np.float32))
    before = run(x).numpy()
    report = run.profile(x, rounds=1)
    assert max(row.calls for row in report.rows) >= 7
    np.testing.assert_array_equal(run(x).numpy(), before)


def test_state_stays() -> None:
    model = nn.Linear(4, 3)
    update = optim.Adam(model.parameters(), lr=1e-3)

    @fg.compile
    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y)
        update.zero_grad()
        loss.backward()
        update.step()
        return loss

    x, y = np.ones((5, 4), np.float32), np.arange(5) % 3
    step(x, y)
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    compiles = step.stats().compiles
    assert len(step.profile(x, y).rows) > 0
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    first = float(step(x, y))
    assert step.stats().compiles == compiles
    assert float(step(x, y)) < first


def test_calls_of_the_host_are_timed() -> None:
    report = fg.compile(lambda x: fg.linalg.inv(x)).profile(np.eye(60), rounds=1)
    assert [row.name for row in report.rows] == ["call"]


def test_what_a_call_refuses() -> None:
    with pytest.raises(ShapeError):
        fg.compile(lambda a, b: a @ b).profile(np.ones((2, 3)), np.ones((2, 3)))
