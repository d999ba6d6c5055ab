"""Many calls in one: `run`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.compilation import fast


def trainer() -> tuple[Any, Any]:
    fg.random.seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    opt = optim.Adam(model.parameters(), lr=1e-2)

    @fg.compile
    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return {"loss": loss, "correct": (model(x).argmax(1) == y).sum()}

    return model, step


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("form", ["stacks", "tensors", "list", "lists", "generator"])
def test_it_equals_single_calls(form: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native:
        monkeypatch.setattr(fast, "native", lambda: None)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 5, 4)).astype("float32")
    y = rng.integers(0, 3, (9, 5))
    model, step = trainer()
    expected = [step(a, b) for a, b in zip(x, y, strict=True)]
    weights = [p.numpy().tobytes() for p in model.parameters()]
    batches: Any = {
        "stacks": (x, y),
        "tensors": (fg.asarray(x), fg.asarray(y)),
        "list": list(zip(x, y, strict=True)),
        "lists": [list(pair) for pair in zip(x, y, strict=True)],
        "generator": (pair for pair in zip(x, y, strict=True)),
    }[form]
    model, step = trainer()
    found = step.run(batches)
    for name in ("loss", "correct"):
        np.testing.assert_array_equal(
            found[name].numpy(), np.stack([one[name].numpy() for one in expected])
        )
    assert [p.numpy().tobytes() for p in model.parameters()] == weights
    assert step.stats().compiles == 1
    assert step.stats().hits == 8
    if native:
        assert step._fast.hits == 7


def test_other_shapes_and_errors_in_between() -> None:
    @fg.compile
    def f(x, scale=1.0):
        return (x * scale).sum(), "fixed"

    sizes = [3, 3, 3, 5, 5, 5, 3, 3, 1]
    total, text = f.run([(np.ones(n), 2.0) for n in sizes])
    np.testing.assert_array_equal(total.numpy(), [2.0 * n for n in sizes])
    assert text == "fixed"
    assert f.stats().compiles == 3
    total, _ = f.run(np.ones((4, 3)))
    np.testing.assert_array_equal(total.numpy(), [3] * 4)
    total, _ = f.run([np.ones(3), np.ones(3)])
    np.testing.assert_array_equal(total.numpy(), [3] * 2)
    assert f.run([]) is None
    assert f.run(np.ones((0, 3))) is None
    with pytest.raises(fg.errors.ShapeError, match="no common number of calls"):
        f.run((np.ones((4, 3)), np.ones(3)))
    with pytest.raises(fg.errors.ShapeError, match="no common number of calls"):
        f.run(np.ones(()))
    with pytest.raises(fg.errors.ShapeError, match="one for each argument"):
        f.run((np.ones((4, 3)), 2.0))
    with pytest.raises(TypeError, match="multiply"):
        f.run([np.ones(3), "text"])
    g = fg.compile(lambda x: x * 2)
    with pytest.raises(fg.errors.ShapeError, match=r"float64\[3\] and float64\[2\]"):
        g.run([np.ones(3), np.ones(2)])


def test_numbers_are_read_anew_in_each_call() -> None:
    w = fg.zeros(1, requires_grad=True)
    opt = optim.SGD([w], lr=1.0)

    @fg.compile
    def step(x):
        opt.zero_grad()
        (w * x).sum().backward()
        opt.step()
        return w

    x = np.ones((4, 1), "float32")
    np.testing.assert_array_equal(step.run(x).numpy()[:, 0], [-1, -2, -3, -4])
    opt.param_groups[0]["lr"] = 0.5
    np.testing.assert_array_equal(step.run(x).numpy()[:, 0], [-4.5, -5, -5.5, -6])
