"""Further learning rates that fall with the epoch, under torch's names.

User-level code: each says the rate of an epoch.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import final

from ..errors import OptionError
from .optimizer import Optimizer
from .schedulers import LRScheduler

__all__ = [
    "ConstantLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "PolynomialLR",
]


@final
class ExponentialLR(LRScheduler):
    """Multiplies the rate by `gamma` every epoch.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    last_epoch : int, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter(fg.ones(3))], lr=1.0)
    >>> scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, base: float, group: int) -> float:
        return base * self.gamma**self.last_epoch


@final
class MultiStepLR(LRScheduler):
    """Multiplies the rate by `gamma` at each milestone.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int
        Epochs; one that is given twice counts twice.
    gamma : float, optional
    last_epoch : int, optional
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, base: float, group: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, self.last_epoch)


@final
class ConstantLR(LRScheduler):
    """Multiplies the rate by `factor` during the first `total_iters` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    factor : float, optional
    total_iters : int, optional
    last_epoch : int, optional
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise OptionError(f"factor lies between 0 and 1, {factor} does not")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _rate(self, base: float, group: int) -> float:
        return base * self.factor if self.last_epoch < self.total_iters else base


@final
class PolynomialLR(LRScheduler):
    """Lets the rate fall to 0 in `total_iters` epochs, along a power of what is left of them.

    Parameters
    ----------
    optimizer : Optimizer
    total_iters : int, optional
    power : float, optional
    last_epoch : int, optional
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _rate(self, base: float, group: int) -> float:
        done = min(self.last_epoch, self.total_iters) / self.total_iters
        return float(base * (1 - done) ** self.power)


@final
class MultiplicativeLR(LRScheduler):
    """Multiplies the rate every epoch by a function of the epoch.

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
        function = self.lr_lambdas[group]
        return base * math.prod(function(epoch) for epoch in range(1, self.last_epoch + 1))


@final
class CosineAnnealingWarmRestarts(LRScheduler):
    """Lets the rate fall along half a cosine, and starts again, each time for longer.

    Parameters
    ----------
    optimizer : Optimizer
    T_0 : int
        The epochs until the first restart.
    T_mult : int, optional
        How much longer each period is than the one before.
    eta_min : float, optional
    last_epoch : int, optional
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        for name, count in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(count, int) or count < 1:
                raise OptionError(f"{name} is an integer of at least 1, not {count}")
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to a given one, which may be a fraction."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch  # type: ignore[assignment]
        self._apply()

    def _rate(self, base: float, group: int) -> float:
        at, period = float(self.last_epoch), self.T_0
        if self.T_mult == 1:
            at %= period
        while at >= period:
            at -= period
            period *= self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * at / period)) / 2
