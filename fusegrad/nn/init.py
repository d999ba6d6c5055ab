"""Initial values of parameters, in place, under torch's names.

User-level code: draws from the random stream of the library.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from .. import random
from ..errors import OptionError
from ..tensors.context import no_grad
from ..tensors.tensor_class import Tensor
from .structured_init import dirac_, eye_, orthogonal_, sparse_, trunc_normal_

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

Mode = Literal["fan_in", "fan_out"]

_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor of the standard deviation that an activation function needs.

    Parameters
    ----------
    nonlinearity : str
        ``"linear"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` or ``"selu"``.
    param : float, optional
        The slope of ``"leaky_relu"``, 0.01 by default.

    Examples
    --------
    >>> round(calculate_gain("relu"), 4)
    1.4142
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope * slope))
    if nonlinearity not in _GAINS:
        names = ", ".join(sorted([*_GAINS, "leaky_relu"]))
        raise OptionError(f"no gain is known for {nonlinearity!r}, only for {names}")
    return _GAINS[nonlinearity]


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Set all elements to a number."""
    with no_grad():
        tensor.fill_(val)
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Set all elements to 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Set all elements to 1."""
    return constant_(tensor, 1.0)


def fill_row_(tensor: Tensor, index: int, val: float) -> Tensor:
    """Set one row to a number."""
    with no_grad():
        tensor[index] = val
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Draw the elements evenly between `a` and `b`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> bool((nn.init.uniform_(fg.zeros(100), 2, 3) >= 2).all())
    True
    """
    with no_grad():
        tensor.copy_(random.uniform(tensor.shape, a, b, dtype=tensor.dtype, generator=generator))
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Draw the elements from the normal distribution."""
    with no_grad():
        tensor.copy_(
            random.normal(tensor.shape, mean, std, dtype=tensor.dtype, generator=generator)
        )
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Draw evenly, scaled by the mean of the numbers of inputs and outputs (Glorot)."""
    fan_in, fan_out = _fans(tensor)
    bound = gain * math.sqrt(6 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Draw normally, scaled by the mean of the numbers of inputs and outputs (Glorot)."""
    fan_in, fan_out = _fans(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2 / (fan_in + fan_out)), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Draw evenly, scaled so that activations keep their variance (He).

    Parameters
    ----------
    tensor : Tensor
    a : float, optional
        The slope, for ``"leaky_relu"``.
    mode : {"fan_in", "fan_out"}, optional
        Whether the forward or the backward pass keeps it.
    nonlinearity : str, optional
        As for `calculate_gain`.
    """
    bound = math.sqrt(3) * _kaiming_deviation(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Draw normally, scaled as by `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_deviation(tensor, a, mode, nonlinearity), generator)


def _kaiming_deviation(tensor: Tensor, a: float, mode: Mode, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise OptionError(f"mode is 'fan_in' or 'fan_out', not {mode!r}")
    fan = _fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output has, and how many outputs an input."""
    shape: tuple[Any, ...] = tuple(tensor.shape)
    if len(shape) < 2:
        raise OptionError(f"a tensor of shape {shape} has no inputs and outputs; 2 axes are needed")
    window = math.prod(shape[2:])
    return int(shape[1] * window), int(shape[0] * window)
