"""Activation functions as modules, under torch's names.

User-level code: each keeps its arguments and calls its function.
"""

from __future__ import annotations

from typing import Any, Literal

from ..tensors.tensor_class import Tensor
from . import functional as F
from .in_place import InPlaceModule
from .module import Module

__all__ = [
    "GELU",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]


class ReLU(InPlaceModule):
    """``max(x, 0)``; its derivative at 0 is 0.

    Parameters
    ----------
    inplace : bool, optional
        Whether the input takes the result.

    Examples
    --------
    >>> from fusegrad import nn
    >>> nn.ReLU()([-1.0, 2.0]).numpy()
    array([0., 2.], dtype=float32)
    """

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.relu(input, inplace=self.inplace)


class LeakyReLU(InPlaceModule):
    """``x`` above 0, ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    negative_slope : float, optional
    inplace : bool, optional
        Whether the input takes the result.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return self._described(f"negative_slope={self.negative_slope}")


class GELU(Module):
    """``x`` times the normal distribution function of ``x``.

    Parameters
    ----------
    approximate : {"none", "tanh"}, optional
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.tanh(input)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.sigmoid(input)


class LogSigmoid(Module):
    """The logarithm of the sigmoid."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.logsigmoid(input)


class SiLU(InPlaceModule):
    """``x * sigmoid(x)``."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.silu(input, inplace=self.inplace)


class Softplus(Module):
    """``log(1 + exp(beta * x)) / beta``.

    Parameters
    ----------
    beta : float, optional
    threshold : float, optional
        Where ``beta * x`` is larger, the result is `x` itself; see `functional.softplus`.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """Positive numbers that sum to 1 along an axis.

    Parameters
    ----------
    dim : int, optional
        The axis, by default the last.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of the softmax along an axis.

    Parameters
    ----------
    dim : int, optional
        The axis, by default the last.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
