"""LBFGS finds minima; averaged models are the averages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim
from fusegrad.errors import OptionError
from fusegrad.optim import swa_utils

WRAPS = pytest.mark.parametrize("wrap", [lambda f: f, fg.compile], ids=["recorded", "compiled"])


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def closure_of(p: Any, optimizer: Any, loss_of: Callable[[Any], Any], wrap: Any) -> Any:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of(p)
        loss.backward()
        return loss

    return wrap(closure)


@WRAPS
def test_a_curved_valley(wrap: Any) -> None:
    p = nn.Parameter(np.array([-1.2, 1.0]))
    optimizer = optim.LBFGS(
        [p], max_iter=100, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )
    closure = closure_of(p, optimizer, rosenbrock, wrap)
    first = optimizer.step(closure)
    for _ in range(3):
        optimizer.step(closure)
    assert float(first) == pytest.approx(float(rosenbrock(fg.asarray([-1.2, 1.0]))))
    np.testing.assert_allclose(p.detach().numpy(), 1, atol=1e-5)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_several_parameters(search: str | None) -> None:
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((2, 50, 3))
    model = nn.Linear(3, 3).double()
    optimizer = optim.LBFGS(model.parameters(), lr=0.5, max_iter=60, line_search_fn=search)
    for _ in range(4):
        optimizer.step(
            closure_of(model, optimizer, lambda m: ((m(x) - target) ** 2).mean(), lambda f: f)
        )
    columns = np.concatenate([x, np.ones((50, 1))], axis=1)
    expected = np.linalg.lstsq(columns, target, rcond=None)[0]
    found = np.concatenate([model.weight.detach().numpy().T, model.bias.detach().numpy()[None]])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_restored_optimizer_begins_anew() -> None:
    p = nn.Parameter([3.0])
    optimizer = optim.LBFGS([p], lr=0.1, max_iter=2)
    optimizer.step(closure_of(p, optimizer, lambda x: (x * x).sum(), lambda f: f))
    other = optim.LBFGS([nn.Parameter([3.0])])
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["lr"] == 0.1
    with pytest.raises(OptionError, match=r"LBFGS\.step needs a closure"):
        other.step()
    with pytest.raises(OptionError, match="line_search_fn is None or 'strong_wolfe'"):
        optim.LBFGS([p], line_search_fn="wolf")
    with pytest.raises(OptionError, match="LBFGS takes one group"):
        optim.LBFGS([{"params": [p]}, {"params": [nn.Parameter([1.0])]}])


@WRAPS
def test_plain_means(wrap: Any) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = swa_utils.AveragedModel(model)
    update = wrap(lambda: average.update_parameters(model))
    seen = []
    for step in range(4):
        nn.init.uniform_(model[0].weight)
        model[1].running_mean.fill_(step)
        seen.append(model[0].weight.detach().numpy().copy())
        update()
        np.testing.assert_allclose(
            average.module[0].weight.detach().numpy(), np.mean(seen, axis=0), rtol=1e-6
        )
    assert int(average.n_averaged) == 4
    assert average.module[1].running_mean.tolist() == [3, 3, 3]
    x = fg.ones((5, 2))
    average.eval()
    np.testing.assert_array_equal(average(x).detach().numpy(), average.module(x).detach().numpy())


@pytest.mark.parametrize("several", [False, True])
def test_running_means(several: bool) -> None:
    model = nn.Linear(1, 1, bias=False)
    rule: dict[str, Any] = {"avg_fn": swa_utils.get_ema_avg_fn(0.75)}
    if several:
        rule = {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.75)}
    average = swa_utils.AveragedModel(model, use_buffers=True, **rule)
    expected = None
    for value in (1.0, 2.0, 5.0):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        expected = value if expected is None else 0.75 * expected + 0.25 * value
        assert average.module.weight.item() == pytest.approx(expected)
    with pytest.raises(OptionError, match="decay lies between 0 and 1, 2 does not"):
        swa_utils.get_ema_avg_fn(2)
    with pytest.raises(OptionError, match="are two rules"):
        swa_utils.AveragedModel(model, avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=print)  # type: ignore[arg-type]
