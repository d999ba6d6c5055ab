"""Learning rates that rise and fall, together with the momentum, under torch's names.

User-level code: each says the rate of an epoch, and sets the momentum beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, final

from ..errors import OptionError
from .optimizer import Optimizer
from .schedulers import LRScheduler

__all__ = ["CyclicLR", "OneCycleLR"]

Each = float | Sequence[float]


def _for_groups(name: str, value: Each, optimizer: Optimizer) -> list[float]:
    groups = len(optimizer.param_groups)
    if not isinstance(value, Sequence):
        return [float(value)] * groups
    if len(value) != groups:
        raise OptionError(f"{name} has {len(value)} numbers for {groups} groups")
    return [float(number) for number in value]


def _momentum_option(optimizer: Optimizer) -> str:
    for name in ("momentum", "betas"):
        if all(name in group for group in optimizer.param_groups):
            return name
    raise OptionError(
        f"{type(optimizer).__name__} has no momentum to cycle; pass cycle_momentum=False"
    )


def _set_momentum(group: Any, option: str, value: float) -> None:
    group[option] = (value, *group["betas"][1:]) if option == "betas" else value


@final
class CyclicLR(LRScheduler):
    """Moves the rate between two bounds, to and fro.

    Parameters
    ----------
    optimizer : Optimizer
    base_lr, max_lr : float or sequence of float
        The bounds, or those of each group.
    step_size_up : int, optional
        The steps from the lower to the upper bound.
    step_size_down : int, optional
        The steps back, by default as many.
    mode : {"triangular", "triangular2", "exp_range"}, optional
        Whether the upper bound stays, is halved at each cycle, or falls by `gamma` at each step.
    gamma : float, optional
    scale_fn : callable, optional
        In place of `mode`: what the height is multiplied by.
    scale_mode : {"cycle", "iterations"}, optional
        Of what `scale_fn` is a function.
    cycle_momentum : bool, optional
        Whether the momentum moves the other way.
    base_momentum, max_momentum : float or sequence of float, optional
    last_epoch : int, optional
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Each,
        max_lr: Each,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Each = 0.8,
        max_momentum: Each = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise OptionError(
                f"mode is 'triangular', 'triangular2' or 'exp_range', not {mode!r}, "
                "unless scale_fn is given"
            )
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self.scale_mode = scale_mode
        if scale_fn is None and mode == "exp_range":
            self.scale_mode = "iterations"
        self._scale_fn = scale_fn
        self.max_lrs = _for_groups("max_lr", max_lr, optimizer)
        self.cycle_momentum = cycle_momentum
        self._option = _momentum_option(optimizer) if cycle_momentum else ""
        self.base_momentums = _for_groups("base_momentum", base_momentum, optimizer)
        self.max_momentums = _for_groups("max_momentum", max_momentum, optimizer)
        self.min_lrs = _for_groups("base_lr", base_lr, optimizer)
        super().__init__(optimizer, last_epoch)

    def scale_fn(self, x: float) -> float:
        """What the height of the cycle is multiplied by."""
        if self._scale_fn is not None:
            return self._scale_fn(x)
        if self.mode == "triangular":
            return 1.0
        return float(0.5 ** (x - 1) if self.mode == "triangular2" else self.gamma**x)

    def _height(self) -> float:
        """Where in the cycle the epoch is: 0 at the lower bound."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        at = 1 + self.last_epoch / self.total_size - cycle
        share = at / self.step_ratio if at <= self.step_ratio else (at - 1) / (self.step_ratio - 1)
        return share * self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)

    def _rate(self, base: float, group: int) -> float:
        low = self.min_lrs[group]
        return low + (self.max_lrs[group] - low) * self._height()

    def _apply(self) -> None:
        super()._apply()
        if self.cycle_momentum:
            height = self._height()
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                _set_momentum(group, self._option, high - (high - low) * height)


@final
class OneCycleLR(LRScheduler):
    """Lets the rate rise once and fall far below where it began; one step for each batch.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or sequence of float
        The greatest rate, or that of each group.
    total_steps : int, optional
        The number of steps; or give `epochs` and `steps_per_epoch`.
    epochs, steps_per_epoch : int, optional
    pct_start : float, optional
        The part of the steps in which the rate rises.
    anneal_strategy : {"cos", "linear"}, optional
    cycle_momentum : bool, optional
        Whether the momentum moves the other way.
    base_momentum, max_momentum : float or sequence of float, optional
    div_factor : float, optional
        The greatest rate over the first.
    final_div_factor : float, optional
        The first rate over the last.
    three_phase : bool, optional
        Whether the rate falls to where it began first, as slowly as it rose.
    last_epoch : int, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter(fg.ones(3))], lr=0.1, momentum=0.9)
    >>> scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> [round(rate, 3) for rate in scheduler.get_last_lr()]
    [0.04]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Each,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: Each = 0.85,
        max_momentum: Each = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise OptionError("pass total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps < 1:
            raise OptionError(f"total_steps is at least 1, not {total_steps}")
        if not 0 <= pct_start <= 1:
            raise OptionError(f"pct_start lies between 0 and 1, {pct_start} does not")
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(f"anneal_strategy is 'cos' or 'linear', not {anneal_strategy!r}")
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        rise = pct_start * total_steps - 1
        self._ends = (
            [rise, 2 * rise, total_steps - 1.0] if three_phase else [rise, total_steps - 1.0]
        )
        self._three_phase = three_phase
        self.max_lrs = _for_groups("max_lr", max_lr, optimizer)
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        self.cycle_momentum = cycle_momentum
        self._option = _momentum_option(optimizer) if cycle_momentum else ""
        self.base_momentums = _for_groups("base_momentum", base_momentum, optimizer)
        self.max_momentums = _for_groups("max_momentum", max_momentum, optimizer)
        if last_epoch == -1:
            for group, most in zip(optimizer.param_groups, self.max_lrs, strict=True):
                group["lr"] = most / div_factor
        super().__init__(optimizer, last_epoch)

    def _between(self, stations: Sequence[float]) -> float:
        """The number at this step, on the way from one station to the next."""
        if self.last_epoch > self.total_steps:
            raise OptionError(f"step {self.last_epoch} of a schedule of {self.total_steps} steps")
        begin = 0.0
        for phase, end in enumerate(self._ends):
            if self.last_epoch <= end or phase == len(self._ends) - 1:
                share = (self.last_epoch - begin) / (end - begin) if end != begin else 1.0
                return self._anneal(stations[phase], stations[phase + 1], share)
            begin = end
        raise AssertionError("a schedule has phases")

    def _anneal(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * share
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    def _rate(self, base: float, group: int) -> float:
        most = self.max_lrs[group]
        first = most / self.div_factor
        last = first / self.final_div_factor
        return self._between([first, most, *([first] if self._three_phase else []), last])

    def _apply(self) -> None:
        super()._apply()
        if self.cycle_momentum:
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                back = [high, high] if self._three_phase else [high]
                _set_momentum(group, self._option, self._between([high, low, *back]))
