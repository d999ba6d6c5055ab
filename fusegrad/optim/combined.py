"""Schedules made of others, and one that looks at a measure, under torch's names.

User-level code: knows schedules by what they set.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

from ..errors import OptionError
from .optimizer import Optimizer
from .schedulers import LRScheduler

__all__ = ["ChainedScheduler", "ReduceLROnPlateau", "SequentialLR"]


class _Several(LRScheduler):
    """Schedules of one optimizer."""

    def __init__(
        self, name: str, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None
    ) -> None:
        if not schedulers:
            raise OptionError(f"{name} needs at least one schedule")
        optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise OptionError(f"the schedules of {name} are of different optimizers")
        self.optimizer = optimizer
        self._schedulers = list(schedulers)
        self.base_lrs = list(schedulers[0].base_lrs)

    def state_dict(self) -> dict[str, Any]:
        """The numbers of the schedules."""
        own = {"last_epoch": self.last_epoch}
        return own | {"_schedulers": [each.state_dict() for each in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set what `state_dict` returned."""
        self.last_epoch = int(state_dict["last_epoch"])
        for scheduler, saved in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(saved)


@final
class SequentialLR(_Several):
    """One schedule after the other.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : sequence of LRScheduler
    milestones : sequence of int
        The epochs at which the next one begins, from its epoch 0.
    last_epoch : int, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter(fg.ones(3))], lr=1.0)
    >>> warm = optim.lr_scheduler.ConstantLR(optimizer, factor=0.1, total_iters=2)
    >>> fall = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = optim.lr_scheduler.SequentialLR(optimizer, [warm, fall], milestones=[2])
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     scheduler.step()
    >>> rates
    [0.1, 0.1, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        super().__init__("SequentialLR", schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise OptionError(
                f"{len(schedulers)} schedules have {len(schedulers) - 1} milestones between them, "
                f"not {len(milestones)}"
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        self._schedulers[0].step(self.last_epoch)

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch, or to a given one."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        position = bisect_right(self._milestones, self.last_epoch)
        begin = self._milestones[position - 1] if position else 0
        self._schedulers[position].step(self.last_epoch - begin)


@final
class ChainedScheduler(_Several):
    """Several schedules at once: their factors are multiplied.

    Parameters
    ----------
    schedulers : sequence of LRScheduler
    optimizer : Optimizer, optional
        By default that of the first.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        super().__init__("ChainedScheduler", schedulers, optimizer)
        self.last_epoch = schedulers[0].last_epoch
        self._apply()

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch with all of them, or to a given one."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        for scheduler in self._schedulers:
            scheduler.step(epoch)
        self._apply()

    def _rate(self, base: float, group: int) -> float:
        factors = [each.get_lr()[group] / each.base_lrs[group] for each in self._schedulers]
        return base * math.prod(factors)


@final
class ReduceLROnPlateau(LRScheduler):
    """Multiplies the rate by `factor` when a measure has not become better for a while.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}, optional
        Whether less or more is better.
    factor : float, optional
    patience : int, optional
        How many epochs without improvement are let pass.
    threshold : float, optional
        How much better counts as better.
    threshold_mode : {"rel", "abs"}, optional
    cooldown : int, optional
        How many epochs to wait after the rate was reduced.
    min_lr : float or sequence of float, optional
    eps : float, optional
        Smaller changes of the rate are not made.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter(fg.ones(3))], lr=1.0)
    >>> scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (3.0, 3.0, 3.0):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1:
            raise OptionError(f"factor is less than 1, not {factor}")
        if mode not in ("min", "max"):
            raise OptionError(f"mode is 'min' or 'max', not {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise OptionError(f"threshold_mode is 'rel' or 'abs', not {threshold_mode!r}")
        groups = len(optimizer.param_groups)
        least = list(min_lr) if isinstance(min_lr, Sequence) else [min_lr] * groups
        if len(least) != groups:
            raise OptionError(f"min_lr has {len(least)} numbers for {groups} groups")
        self.optimizer = optimizer
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lrs, self.eps = cooldown, least, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Go to the next epoch with the measure of this one."""
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        """Whether the rate was reduced a short while ago."""
        return self.cooldown_counter > 0

    def is_better(self, value: float) -> bool:
        """Whether a measure is better than the best so far."""
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "rel":
            return sign * value > sign * self.best * (1 + sign * self.threshold)
        return sign * value > sign * self.best + self.threshold

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                group["lr"] = new
