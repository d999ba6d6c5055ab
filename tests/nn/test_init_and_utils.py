"""Initial values and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn
from fusegrad.errors import GradientError

SHAPE = (300, 200)


@pytest.mark.parametrize(
    ("fill", "deviation", "bounded"),
    [
        (lambda t: nn.init.uniform_(t, -1, 1), 1 / math.sqrt(3), True),
        (lambda t: nn.init.normal_(t, std=0.5), 0.5, False),
        (nn.init.xavier_uniform_, math.sqrt(2 / 500), True),
        (nn.init.xavier_normal_, math.sqrt(2 / 500), False),
        (nn.init.kaiming_uniform_, math.sqrt(2 / 200), True),
        (lambda t: nn.init.kaiming_normal_(t, mode="fan_out"), math.sqrt(2 / 300), False),
        (lambda t: nn.init.kaiming_uniform_(t, a=math.sqrt(5)), math.sqrt(1 / 600), True),
    ],
)
def test_distributions(fill: Callable[[Any], Any], deviation: float, bounded: bool) -> None:
    parameter = nn.Parameter(fg.zeros(SHAPE))
    assert fill(parameter) is parameter
    values = parameter.detach().numpy()
    assert abs(values.mean()) < 0.02 * deviation
    assert abs(values.std() / deviation - 1) < 0.02
    assert (abs(values).max() <= math.sqrt(3) * deviation * 1.0001) == bounded
    assert parameter.requires_grad
    assert parameter.is_leaf


def test_convolution_shapes() -> None:
    tensor = fg.zeros((16, 8, 3, 3))
    nn.init.kaiming_uniform_(tensor, nonlinearity="linear")
    assert abs(tensor.numpy()).max() <= math.sqrt(3 / 72)


def test_constants() -> None:
    parameter = nn.Parameter([1.0, 2.0])
    assert nn.init.ones_(parameter).detach().numpy().tolist() == [1, 1]
    assert nn.init.zeros_(parameter).detach().numpy().tolist() == [0, 0]
    assert nn.init.constant_(parameter, 3).detach().numpy().tolist() == [3, 3]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="2 axes are needed"):
        nn.init.xavier_uniform_(fg.zeros(3))
    with pytest.raises(ValueError, match="no gain is known for 'cube'"):
        nn.init.kaiming_uniform_(fg.zeros(SHAPE), nonlinearity="cube")
    with pytest.raises(ValueError, match="mode is"):
        nn.init.kaiming_uniform_(fg.zeros(SHAPE), mode="both")  # type: ignore[arg-type]


def test_layers_draw_from_the_seed() -> None:
    fg.random.seed(1)
    first = nn.Linear(4, 3).state_dict()
    fg.random.seed(1)
    second = nn.Linear(4, 3).state_dict()
    third = nn.Linear(4, 3).state_dict()
    assert (first["weight"].numpy() == second["weight"].numpy()).all()
    assert (first["weight"].numpy() != third["weight"].numpy()).any()
    assert abs(first["weight"].numpy()).max() <= 0.5
    assert abs(first["bias"].numpy()).max() <= 0.5


def gradients() -> list[nn.Parameter]:
    pair = [nn.Parameter([1.0, 1.0]), nn.Parameter([[1.0]]), nn.Parameter([1.0])]
    pair[0].grad = fg.asarray([3.0, 0.0])
    pair[1].grad = fg.asarray([[-4.0]])
    return pair


@pytest.mark.parametrize(
    ("kind", "norm"), [(2.0, 5.0), (1.0, 7.0), (math.inf, 4.0), (3.0, 91 ** (1 / 3))]
)
def test_clipping_the_norm(kind: float, norm: float) -> None:
    pair = gradients()
    assert float(nn.utils.clip_grad_norm_(pair, 1.0, kind)) == pytest.approx(norm)
    first, second = pair[0].grad, pair[1].grad
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(first.numpy(), [3 / norm, 0], rtol=1e-5)
    np.testing.assert_allclose(second.numpy(), [[-4 / norm]], rtol=1e-5)
    assert pair[2].grad is None


def test_small_gradients_are_not_clipped() -> None:
    pair = gradients()
    nn.utils.clip_grad_norm_(pair, 100.0)
    assert pair[1].grad is not None
    assert pair[1].grad.numpy().tolist() == [[-4.0]]
    assert float(nn.utils.clip_grad_norm_(nn.Parameter([1.0]), 1.0)) == 0


def test_norms_that_are_not_finite() -> None:
    pair = gradients()
    pair[0].grad = fg.asarray([np.inf, 0.0])
    with pytest.raises(GradientError, match="the norm of the gradients is inf"):
        nn.utils.clip_grad_norm_(pair, 1.0, error_if_nonfinite=True)


def test_clipping_values() -> None:
    pair = gradients()
    nn.utils.clip_grad_value_(pair, 2.0)
    assert pair[0].grad is not None
    assert pair[1].grad is not None
    assert pair[0].grad.numpy().tolist() == [2, 0]
    assert pair[1].grad.numpy().tolist() == [[-2]]
