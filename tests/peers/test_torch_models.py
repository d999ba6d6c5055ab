"""Whole training steps of models of many kinds, written once: fusegrad compiled against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim
from fusegrad.nn import functional

from .models import MODELS, Library, Loss

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.peers

FUSEGRAD = Library(fg, nn, functional, optim, lambda a: fg.asarray(a.copy()))
TORCH = Library(
    torch, torch.nn, torch.nn.functional, torch.optim, lambda a: torch.from_numpy(a.copy())
)
STEPS = 3


def train(
    lib: Library, build: Callable[[Library], tuple[Any, Loss]], state: dict[str, Any] | None
) -> tuple[dict[str, np.ndarray], list[float], dict[str, np.ndarray]]:
    """The parameters at the start, the losses, and the parameters at the end."""
    model, loss_of = build(lib)
    if state is not None:
        model.load_state_dict({name: lib.array(value) for name, value in state.items()})
    start = {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}
    # Not Adam: it divides by gradients that may be next to nothing.
    optimizer = lib.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(*inputs: Any) -> Any:
        loss = loss_of(*inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run = fg.compile(step) if lib is FUSEGRAD else step
    inputs = [lib.array(value) for value in MODELS[build]]
    losses = [float(run(*inputs).detach()) for _ in range(STEPS)]
    end = {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}
    return start, losses, end


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_training_steps(build: Callable[[Library], tuple[Any, Loss]]) -> None:
    torch.manual_seed(0)
    start, losses, end = train(TORCH, build, None)
    _, ours, reached = train(FUSEGRAD, build, start)
    np.testing.assert_allclose(ours, losses, rtol=2e-5)
    assert reached.keys() == end.keys()
    for name, value in end.items():
        np.testing.assert_allclose(reached[name], value, rtol=1e-3, atol=2e-5, err_msg=name)
