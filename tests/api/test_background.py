"""Functions that a thread compiles while their first calls are interpreted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.compilation import compile as compilation
from fusegrad.errors import CompileError


class Gate:
    """Compilations wait at it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        real: Callable[..., Any] = compilation.load_step

        def waits(*args: Any) -> Any:
            assert self.open.wait(20)
            return real(*args)

        monkeypatch.setattr(compilation, "load_step", waits)

    def finish(self, function: Any) -> None:
        self.open.set()
        for entries in function._entries.values():
            for entry in entries:
                if entry.background is not None:
                    entry.background.wait()


def test_first_calls_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    @fg.compile(background=True)
    def f(x, a):
        return fg.exp(x * a), x.sum(), 3

    x = np.linspace(-1, 1, 6).reshape(2, 3)
    for a in (1.0, 2.0):
        y, total, three = f(x, a)
        np.testing.assert_allclose(y.numpy(), np.exp(x * a), rtol=1e-12)
        assert (float(total), three) == (pytest.approx(0, abs=1e-12), 3)
    assert f.stats().compiles == 0
    assert f.stats().kernels == 0
    gate.finish(f)
    for _ in range(3):
        y, _, _ = f(x, 1.0)
        np.testing.assert_allclose(y.numpy(), np.exp(x), rtol=1e-12)
    assert f.stats().compiles == 1
    assert f.stats().kernels >= 1
    assert f._fast.hits >= 1


def test_a_training_step_goes_on_as_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(background: bool, gate: Gate | None = None) -> list[float]:
        fg.random.seed(2)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))
        opt = optim.Adam(model.parameters(), lr=1e-2)

        @fg.compile(background=background)
        def step(x, y):
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            return loss

        rng = np.random.default_rng(0)
        found = []
        for number in range(8):
            if gate is not None and number == 4:
                gate.finish(step)
            x = rng.normal(size=(6, 4)).astype("float32")
            found.append(float(step(x, rng.integers(0, 3, 6))))
        assert step.stats().compiles == 1
        return found

    expected = losses(False)
    np.testing.assert_allclose(losses(True, Gate(monkeypatch)), expected, rtol=1e-5)


def test_what_the_compiler_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: Any) -> Any:
        raise CompileError("this cannot be compiled")

    monkeypatch.setattr(compilation, "load_step", refuses)
    f = fg.compile(lambda x: x + 1, background=True)
    assert float(f(np.ones(()))) == 2
    for entries in f._entries.values():
        entries[0].background.wait()
    with pytest.raises(CompileError, match="cannot be compiled"):
        f(np.ones(()))


def test_another_function_is_traced_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    f = fg.compile(lambda x: x * 3, background=True)
    g = fg.compile(lambda x: f(x) + 1, background=True)
    x = np.ones(2)
    assert float(f(x)[0]) == 3
    assert float(g(x)[0]) == 4
    gate.finish(f)
    gate.finish(g)
    assert [float(h(x)[0]) for h in (f, g)] == [3, 4]
