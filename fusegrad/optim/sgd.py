"""Stochastic gradient descent.

User-level code: the update is ordinary tensor code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, final

from ..functional import where, zeros_like
from ..tensor import Tensor
from .optimizer import Optimizer, ParamGroup, Scalar, runtime_scalar

__all__ = ["SGD"]


@final
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them.
    lr : float, optional
        The learning rate.
    momentum : float, optional
        How much of the last update is kept.
    dampening : float, optional
        How much of the gradient is left out of the momentum, after the first step.
    weight_decay : float, optional
        How much of the parameter is added to its gradient.
    nesterov : bool, optional
        Look ahead along the momentum.
    maximize : bool, optional
        Go up instead of down.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0, 2.0]))
    >>> optimizer = optim.SGD([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy()
    array([0., 0.], dtype=float32)
    """

    runtime_options = frozenset({"lr", "momentum", "dampening", "weight_decay"})
    switches = frozenset({"momentum", "dampening", "weight_decay"})
    counts_steps = False

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: Scalar = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("nesterov needs a momentum, and no dampening")

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        if not group["momentum"]:
            return {}
        kept = {"momentum_buffer": zeros_like(parameter.detach())}
        if group["dampening"]:
            kept["started"] = zeros_like(parameter.detach().sum())
        return kept

    def _update(self, group: ParamGroup, parameters: list[tuple[Tensor, Tensor]]) -> None:
        for parameter, gradient in parameters:

            def read(name: str, of: Tensor = parameter) -> Scalar:
                return runtime_scalar(lambda: group[name], of.dtype, name)

            if group["maximize"]:
                gradient = -gradient
            if group["weight_decay"]:
                gradient = gradient + parameter * read("weight_decay")
            if group["momentum"]:
                gradient = self._with_momentum(group, parameter, gradient, read("momentum"))
            parameter[...] = parameter - gradient * read("lr")

    def _with_momentum(
        self, group: ParamGroup, parameter: Tensor, gradient: Tensor, momentum: Scalar
    ) -> Tensor:
        kept = self.state[parameter]
        velocity = kept["momentum_buffer"]
        added = gradient
        if group["dampening"]:
            started = kept["started"]
            share = runtime_scalar(lambda: 1 - group["dampening"], parameter.dtype, "1 - dampening")
            added = gradient * where(started > 0, share, 1)
            started[...] = started * 0 + 1
        velocity[...] = velocity * momentum + added
        return gradient + velocity * momentum if group["nesterov"] else velocity
