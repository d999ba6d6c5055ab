"""Losses scaled against underflow, as in torch.

User-level code: the scale is a tensor, so that compiled steps read and change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from ..errors import (
    OptionError,
    StateError,
)
from ..functions.creation import asarray, zeros
from ..functions.functional import isfinite, logical_not, logical_or, where
from ..tensors.context import no_grad
from ..tensors.placement import wander
from ..tensors.tensor_class import Tensor
from .optimizer import Optimizer

__all__ = ["GradScaler"]


@final
class GradScaler:
    """A factor for the loss that keeps gradients within the range of float16.

    Steps whose gradients are not finite change nothing, and the scale shrinks; after some good ones
    it grows. bfloat16 has the range of float32 and needs no scale.

    Parameters
    ----------
    init_scale : float, optional
        The factor at first.
    growth_factor : float, optional
        What the scale is multiplied by after `growth_interval` good steps.
    backoff_factor : float, optional
        What it is multiplied by after a bad one.
    growth_interval : int, optional
    enabled : bool, optional
        False: everything passes through.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.ones(2))
    >>> optimizer, scaler = optim.SGD([p], lr=0.5), optim.GradScaler()
    >>> scaler.scale((p * p).sum()).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> p.tolist(), scaler.get_scale()
    ([0.0, 0.0], 65536.0)
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if not (growth_factor > 1 > backoff_factor > 0 and init_scale > 0 and growth_interval > 0):
            raise OptionError(
                "a scale is positive and grows by a factor above 1, in an interval of at least one "
                "step, and shrinks by one below 1"
            )
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._enabled = enabled
        self._scale: Tensor = asarray(init_scale, dtype="float32")
        self._good_steps: Tensor = zeros((), dtype="int32")
        # They are where the gradients are.
        wander(self._scale)
        wander(self._good_steps)
        # Of this step: for each optimizer whether a gradient was not finite.
        self._found: dict[Optimizer, Tensor] = {}

    def is_enabled(self) -> bool:
        """Whether losses are scaled."""
        return self._enabled

    def get_scale(self) -> float:
        """The present factor."""
        return float(self._scale) if self._enabled else 1.0

    def scale(self, outputs: Any) -> Any:
        """A loss, or nested containers of losses, times the factor, in float32 at least."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, Mapping):
            return {name: self.scale(value) for name, value in outputs.items()}
        return type(outputs)(self.scale(value) for value in outputs)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the factor, for example to clip them before the step.

        Raises
        ------
        StateError
            If that was done already in this step.
        """
        if not self._enabled:
            return
        if optimizer in self._found:
            raise StateError(
                "the gradients are unscaled a second time",
                remedy="call unscale_ once between update() and step()",
            )
        bad = asarray(False)
        with no_grad():
            inverse = 1 / self._scale
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is None:
                        continue
                    gradient = parameter.grad * inverse
                    bad = logical_or(bad, logical_not(isfinite(gradient)).any())
                    parameter.grad = gradient.astype(parameter.dtype)
        self._found[optimizer] = bad

    def step(self, optimizer: Optimizer) -> None:
        """The optimizer's step, without effect if a gradient is not finite."""
        if not self._enabled:
            optimizer.step()
            return
        if optimizer not in self._found:
            self.unscale_(optimizer)
        bad = self._found[optimizer]
        written = _state_of(optimizer)
        before = [tensor._snapshot() for tensor in written]
        optimizer.step()
        with no_grad():
            for tensor, old in zip(written, before, strict=True):
                tensor.copy_(where(bad, old, tensor))

    def update(self, new_scale: float | None = None) -> None:
        """Change the factor by what the steps since the last update found."""
        if not self._enabled:
            return
        with no_grad():
            if new_scale is not None:
                self._scale.copy_(new_scale)
            elif self._found:
                bad = asarray(False)
                for found in self._found.values():
                    bad = logical_or(bad, found)
                count = self._good_steps + 1
                full = count >= self._growth_interval
                grown = where(full, self._scale * self._growth_factor, self._scale)
                self._scale.copy_(where(bad, self._scale * self._backoff_factor, grown))
                self._good_steps.copy_(where(logical_or(bad, full), 0, count))
        self._found.clear()

    def state_dict(self) -> dict[str, Any]:
        """The factor and how long it has held, in torch's layout."""
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": int(self._good_steps),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        with no_grad():
            self._scale.copy_(state_dict["scale"])
            self._good_steps.copy_(state_dict["_growth_tracker"])


def _state_of(optimizer: Optimizer) -> list[Tensor]:
    """Every tensor that a step may write."""
    found: list[Tensor] = []
    for group in optimizer.param_groups:
        found.append(group.step)
        for parameter in group["params"]:
            if parameter.grad is not None:
                found += [parameter, *optimizer.state[parameter].values()]
    return found
