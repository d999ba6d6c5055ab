"""Learning rates that change with the epoch, under torch's names.

User-level code: a scheduler sets ``group["lr"]``, which compiled steps read at every call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from ..errors import OptionError
from .optimizer import Optimizer

__all__ = ["CosineAnnealingLR", "LRScheduler", "LambdaLR", "LinearLR", "StepLR"]


class LRScheduler:
    """The base of the schedulers.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int, optional
        The epoch to go on from; -1 starts anew.

    Attributes
    ----------
    base_lrs : list of float
        The learning rates of the groups when the scheduler was made.
    last_epoch : int
        How often `step` was called.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                # What an earlier schedule of the same optimizer began with is kept.
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError("to go on from an epoch, groups need an 'initial_lr'")
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def _rate(self, base: float, group: int) -> float:
        """The learning rate of a group in epoch ``last_epoch``."""
        raise NotImplementedError(f"{type(self).__name__} defines neither get_lr nor _rate")

    def get_lr(self) -> list[float]:
        """The learning rates of the groups in epoch ``last_epoch``; subclasses may define it."""
        return [self._rate(base, position) for position, base in enumerate(self.base_lrs)]

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch, or to a given one, outside of compiled functions."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._apply()

    def _apply(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """The learning rates of the groups."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """All numbers of the schedule; no functions, and not the optimizer."""
        return {
            name: list(value) if isinstance(value, list) else value
            for name, value in self.__dict__.items()
            if isinstance(value, (int, float, str, list, type(None))) and not _functions(value)
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set what `state_dict` returned."""
        self.__dict__.update(state_dict)


def _functions(value: Any) -> bool:
    return isinstance(value, list) and any(callable(item) for item in value)


@final
class StepLR(LRScheduler):
    """Multiplies the rate by `gamma` every `step_size` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float, optional
    last_epoch : int, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter(fg.ones(3))], lr=1.0)
    >>> scheduler = optim.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(4):
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, base: float, group: int) -> float:
        return base * self.gamma ** (self.last_epoch // self.step_size)


@final
class CosineAnnealingLR(LRScheduler):
    """Lets the rate fall to `eta_min` along half a cosine, in `T_max` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
    eta_min : float, optional
    last_epoch : int, optional
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _rate(self, base: float, group: int) -> float:
        share = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return self.eta_min + (base - self.eta_min) * share


@final
class LambdaLR(LRScheduler):
    """Multiplies the rate by a function of the epoch.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable or sequence of callable
        One function, or one for each group.
    last_epoch : int, optional
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        functions = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(functions) != groups:
            raise OptionError(f"{len(functions)} functions are given for {groups} groups")
        self.lr_lambdas = functions
        super().__init__(optimizer, last_epoch)

    def _rate(self, base: float, group: int) -> float:
        return base * self.lr_lambdas[group](self.last_epoch)


@final
class LinearLR(LRScheduler):
    """Changes the factor of the rate evenly in `total_iters` epochs; used for warming up.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor, end_factor : float, optional
    total_iters : int, optional
    last_epoch : int, optional
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise OptionError("start_factor and end_factor lie between 0 and 1")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _rate(self, base: float, group: int) -> float:
        share = min(self.last_epoch, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * share)
