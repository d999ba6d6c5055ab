"""Stochastic gradient descent whose iterates are averaged.

User-level code: the update is ordinary tensor code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, final

from ..codegen.dtypes import DType, float32, float64
from ..functions.creation import full, zeros_like
from ..functions.functional import maximum
from ..functions.precision import widened
from ..tensors.tensor_class import Tensor
from .elementwise import ElementwiseOptimizer, Params, Read, steps_of
from .optimizer import ParamGroup, Scalar, number

__all__ = ["ASGD"]


class _Numbers(NamedTuple):
    fall: Scalar
    eta: Tensor
    """The rate of the next step."""
    share: Tensor
    """How much of the way the next average goes to the iterate."""


@final
class ASGD(ElementwiseOptimizer[_Numbers]):
    """Stochastic gradient descent that keeps an average of what it passed.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them.
    lr : float, optional
        The learning rate.
    lambd : float, optional
        How fast parameters fall towards 0.
    alpha : float, optional
        The power with which the rate falls.
    t0 : float, optional
        The step from which on iterates are averaged.
    weight_decay : float, optional
        How much of the parameter is added to its gradient.
    maximize : bool, optional
        Go up instead of down.

    Notes
    -----
    The average is ``optimizer.state[parameter]["ax"]``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0]))
    >>> optimizer = optim.ASGD([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> round(float(p), 3)
    0.8
    """

    runtime_options = frozenset({"lr", "lambd", "alpha", "t0", "weight_decay"})
    switches = frozenset({"weight_decay"})

    def __init__(
        self,
        params: Params,
        lr: Scalar = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        kind = float64 if parameter.dtype is float64 else float32
        return {
            "ax": zeros_like(widened(parameter.detach())),
            "eta": full((), float(group["lr"]), dtype=kind),
            "mu": full((), 1.0, dtype=kind),
        }

    def _counts_steps(self, group: Mapping[str, Any]) -> bool:
        return True

    def _numbers(self, group: ParamGroup, dtype: DType, read: Read) -> _Numbers:
        steps = steps_of(group)

        def wide(name: str) -> Scalar:
            return number(lambda: group[name], name, float64)

        lr = wide("lr")
        return _Numbers(
            fall=read("lambd", lambda: group["lambd"]),
            eta=(lr / (1 + wide("lambd") * lr * steps) ** wide("alpha")).astype(dtype),
            share=(1 / maximum(steps - wide("t0"), 1.0)).astype(dtype),
        )

    def _updated(
        self, group: ParamGroup, n: _Numbers, p: Tensor, g: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        average, eta, share = kept["ax"], kept["eta"], kept["mu"]
        p = p * (1 - n.fall * eta) - g * eta
        average.copy_(average + (p - average) * share)
        eta.copy_(n.eta)
        share.copy_(n.share)
        return p
