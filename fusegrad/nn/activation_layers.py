"""Further activations as layers, under torch's names.

User-level code: each keeps its arguments and calls its function.
"""

from __future__ import annotations

from typing import Any

from ..functions.creation import full
from ..tensors.tensor_class import Tensor
from . import functional as F
from .in_place import InPlaceModule
from .init import constant_
from .module import Module
from .parameter import Parameter

__all__ = [
    "CELU",
    "ELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Mish",
    "PReLU",
    "ReLU6",
    "Softshrink",
    "Softsign",
    "Tanhshrink",
    "Threshold",
]


class CELU(InPlaceModule):
    """``x`` above 0, ``alpha * (exp(x / alpha) - 1)`` elsewhere.

    Parameters
    ----------
    alpha : float, optional
    inplace : bool, optional
        Whether the input takes the result.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return self._described(f"alpha={self.alpha}")


class ELU(InPlaceModule):
    """``x`` above 0, ``alpha * (exp(x) - 1)`` elsewhere.

    Parameters
    ----------
    alpha : float, optional
    inplace : bool, optional
        Whether the input takes the result.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return self._described(f"alpha={self.alpha}")


class GLU(Module):
    """The first half along an axis times the sigmoid of the second.

    Parameters
    ----------
    dim : int, optional
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Hardshrink(Module):
    """0 from ``-lambd`` to ``lambd``, ``x`` elsewhere.

    Parameters
    ----------
    lambd : float, optional
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Hardsigmoid(InPlaceModule):
    """0 below -3, 1 above 3, and a line between them."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.hardsigmoid(input, inplace=self.inplace)


class Hardswish(InPlaceModule):
    """``x`` times the hard sigmoid."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.hardswish(input, inplace=self.inplace)


class Hardtanh(InPlaceModule):
    """``x`` between two values, and these beyond them.

    Parameters
    ----------
    min_val : float, optional
    max_val : float, optional
    inplace : bool, optional
        Whether the input takes the result.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return self._described(f"min_val={self.min_val}, max_val={self.max_val}")


class Mish(InPlaceModule):
    """``x * tanh(softplus(x))``."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.mish(input, inplace=self.inplace)


class PReLU(Module):
    """``x`` above 0, ``weight * x`` elsewhere, with slopes that are learnt.

    Parameters
    ----------
    num_parameters : int, optional
        One slope, or one for each channel.
    init : float, optional
        The first slope.
    dtype : optional
        Of the slopes, float32 by default.
    """

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(full((num_parameters,), init, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set the slopes to the first one."""
        constant_(self.weight, self.init)

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ReLU6(InPlaceModule):
    """``x`` between 0 and 6, and these beyond them."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.relu6(input, inplace=self.inplace)


class SELU(InPlaceModule):
    """`ELU` with the constants that keep mean 0 and variance 1."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.selu(input, inplace=self.inplace)


class Softshrink(Module):
    """``x`` moved towards 0 by ``lambd``.

    Parameters
    ----------
    lambd : float, optional
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softsign(Module):
    """``x / (1 + abs(x))``."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.softsign(input)


class Tanhshrink(Module):
    """``x - tanh(x)``."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.tanhshrink(input)


class Threshold(InPlaceModule):
    """``x`` above a threshold, a value elsewhere.

    Parameters
    ----------
    threshold : float
    value : float
    inplace : bool, optional
        Whether the input takes the result.
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold = threshold
        self.value = value

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return self._described(f"threshold={self.threshold}, value={self.value}")
