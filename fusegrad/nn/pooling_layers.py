"""Pooling as layers, under torch's names.

User-level code: each keeps its arguments and calls its function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..semantics.convolution import numbers
from ..tensors.tensor_class import Tensor
from . import functional as F
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]

Numbers = int | Sequence[int]
Sizes = int | None | Sequence[int | None]


class _MaxPool(Module):
    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        dilation: Numbers = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def _params(self) -> tuple[Any, ...]:
        sizes = self.kernel_size, self.stride, self.padding, self.dilation
        return (*sizes, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class _AvgPool(Module):
    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def _params(self) -> tuple[Any, ...]:
        sizes = self.kernel_size, self.stride, self.padding
        return (*sizes, self.ceil_mode, self.count_include_pad, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _LPPool(Module):
    def __init__(
        self,
        norm_type: float,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def _params(self) -> tuple[Any, ...]:
        return self.norm_type, self.kernel_size, self.stride, self.ceil_mode

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class _AdaptiveAvgPool(Module):
    def __init__(self, output_size: Sizes) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMaxPool(Module):
    def __init__(self, output_size: Sizes, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class MaxPool1d(_MaxPool):
    """The largest element of each window, as `F.max_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or sequence of int
        Windows lie side by side if there is no `stride`.
    return_indices : bool, optional
        Whether to give the row-major positions of the elements too.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.MaxPool1d(2)(fg.ones((1, 2, 8))).shape
    (1, 2, 4)
    """

    def forward(self, input: Any) -> Any:
        """Pool."""
        return F.max_pool1d(input, *self._params())


class MaxPool2d(_MaxPool):
    """The largest element of each window, as `F.max_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or sequence of int
        Windows lie side by side if there is no `stride`.
    return_indices : bool, optional
        Whether to give the row-major positions of the elements too.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.MaxPool2d(2)(fg.ones((1, 2, 8, 8))).shape
    (1, 2, 4, 4)
    """

    def forward(self, input: Any) -> Any:
        """Pool."""
        return F.max_pool2d(input, *self._params())


class MaxPool3d(_MaxPool):
    """The largest element of each window, as `F.max_pool3d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or sequence of int
        Windows lie side by side if there is no `stride`.
    return_indices : bool, optional
        Whether to give the row-major positions of the elements too.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.MaxPool3d(2)(fg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 2, 2, 2)
    """

    def forward(self, input: Any) -> Any:
        """Pool."""
        return F.max_pool3d(input, *self._params())


class AvgPool1d(_AvgPool):
    """The mean of each window, as `F.avg_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or sequence of one int
        Windows lie side by side if there is no `stride`.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.
    count_include_pad : bool, optional
        Whether padding counts as elements.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.AvgPool1d(2)(fg.ones((1, 2, 8))).shape
    (1, 2, 4)
    """

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        sizes = [kernel_size, kernel_size if stride is None else stride, padding]
        kernel, step, width = ((n,) if isinstance(n, int) else tuple(n) for n in sizes)
        super().__init__(kernel, step, width, ceil_mode, count_include_pad)

    def forward(self, input: Any) -> Tensor:
        """Pool."""
        return F.avg_pool1d(input, *self._params()[:-1])


class AvgPool2d(_AvgPool):
    """The mean of each window, as `F.avg_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or sequence of int
        Windows lie side by side if there is no `stride`.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.
    count_include_pad : bool, optional
        Whether padding counts as elements.
    divisor_override : int, optional
        What to divide by instead of the number of elements.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.AvgPool2d(2)(fg.ones((1, 2, 8, 8))).shape
    (1, 2, 4, 4)
    """

    def forward(self, input: Any) -> Tensor:
        """Pool."""
        return F.avg_pool2d(input, *self._params())


class AvgPool3d(_AvgPool):
    """The mean of each window, as `F.avg_pool3d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or sequence of int
        Windows lie side by side if there is no `stride`.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.
    count_include_pad : bool, optional
        Whether padding counts as elements.
    divisor_override : int, optional
        What to divide by instead of the number of elements.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.AvgPool3d(2)(fg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 2, 2, 2)
    """

    def forward(self, input: Any) -> Tensor:
        """Pool."""
        return F.avg_pool3d(input, *self._params())


class LPPool1d(_LPPool):
    """The root of the sum of powers of each window, as `F.lp_pool1d`.

    Parameters
    ----------
    norm_type : float
        The power.
    kernel_size, stride : int or sequence of int
        Windows lie side by side if there is no `stride`.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.LPPool1d(2, 2)(fg.ones((1, 2, 8))).shape
    (1, 2, 4)
    """

    def forward(self, input: Any) -> Tensor:
        """Pool."""
        return F.lp_pool1d(input, *self._params())


class LPPool2d(_LPPool):
    """The root of the sum of powers of each window, as `F.lp_pool2d`.

    Parameters
    ----------
    norm_type : float
        The power.
    kernel_size, stride : int or sequence of int
        Windows lie side by side if there is no `stride`.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.LPPool2d(2, 2)(fg.ones((1, 2, 8, 8))).shape
    (1, 2, 4, 4)
    """

    def forward(self, input: Any) -> Tensor:
        """Pool."""
        return F.lp_pool2d(input, *self._params())


class LPPool3d(_LPPool):
    """The root of the sum of powers of each window, as `F.lp_pool3d`.

    Parameters
    ----------
    norm_type : float
        The power.
    kernel_size, stride : int or sequence of int
        Windows lie side by side if there is no `stride`.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.LPPool3d(2, 2)(fg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 2, 2, 2)
    """

    def forward(self, input: Any) -> Tensor:
        """Pool."""
        return F.lp_pool3d(input, *self._params())


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The means of a given number of windows, as `F.adaptive_avg_pool1d`.

    Parameters
    ----------
    output_size : int or sequence of int
        How many; None keeps an extent.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.AdaptiveAvgPool1d(1)(fg.ones((1, 2, 8))).shape
    (1, 2, 1)
    """

    def forward(self, input: Any) -> Tensor:
        """Pool."""
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The means of a given number of windows, as `F.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or sequence of int
        How many; None keeps an extent.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.AdaptiveAvgPool2d(1)(fg.ones((1, 2, 8, 8))).shape
    (1, 2, 1, 1)
    """

    def forward(self, input: Any) -> Tensor:
        """Pool."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The means of a given number of windows, as `F.adaptive_avg_pool3d`.

    Parameters
    ----------
    output_size : int or sequence of int
        How many; None keeps an extent.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.AdaptiveAvgPool3d(1)(fg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 1, 1, 1)
    """

    def forward(self, input: Any) -> Tensor:
        """Pool."""
        return F.adaptive_avg_pool3d(input, self.output_size)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest elements of a given number of windows, as `F.adaptive_max_pool1d`.

    Parameters
    ----------
    output_size : int or sequence of int
        How many; None keeps an extent.
    return_indices : bool, optional
        Whether to give the row-major positions of the elements too.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.AdaptiveMaxPool1d(1)(fg.ones((1, 2, 8))).shape
    (1, 2, 1)
    """

    def forward(self, input: Any) -> Any:
        """Pool."""
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest elements of a given number of windows, as `F.adaptive_max_pool2d`.

    Parameters
    ----------
    output_size : int or sequence of int
        How many; None keeps an extent.
    return_indices : bool, optional
        Whether to give the row-major positions of the elements too.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.AdaptiveMaxPool2d(1)(fg.ones((1, 2, 8, 8))).shape
    (1, 2, 1, 1)
    """

    def forward(self, input: Any) -> Any:
        """Pool."""
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest elements of a given number of windows, as `F.adaptive_max_pool3d`.

    Parameters
    ----------
    output_size : int or sequence of int
        How many; None keeps an extent.
    return_indices : bool, optional
        Whether to give the row-major positions of the elements too.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.AdaptiveMaxPool3d(1)(fg.ones((1, 2, 4, 4, 4))).shape
    (1, 2, 1, 1, 1)
    """

    def forward(self, input: Any) -> Any:
        """Pool."""
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class _MaxUnpool(Module):
    def __init__(
        self, kernel_size: Numbers, stride: Numbers | None = None, padding: Numbers = 0
    ) -> None:
        super().__init__()
        rank = int(type(self).__name__[-2])
        self.kernel_size = numbers(type(self).__name__, "kernel_size", kernel_size, rank)
        steps = self.kernel_size if stride is None else stride
        self.stride = numbers(type(self).__name__, "stride", steps, rank)
        self.padding = numbers(type(self).__name__, "padding", padding, rank, least=0)

    def _params(self) -> tuple[Any, Any, Any]:
        return self.kernel_size, self.stride, self.padding

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Largest elements at the places they came from, as `F.max_unpool1d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or sequence of int
        As of the `MaxPool1d` before.
    """

    def forward(self, input: Any, indices: Any, output_size: Sequence[int] | None = None) -> Tensor:
        """Spread."""
        return F.max_unpool1d(input, indices, *self._params(), output_size)


class MaxUnpool2d(_MaxUnpool):
    """Largest elements at the places they came from, as `F.max_unpool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or sequence of int
        As of the `MaxPool2d` before.
    """

    def forward(self, input: Any, indices: Any, output_size: Sequence[int] | None = None) -> Tensor:
        """Spread."""
        return F.max_unpool2d(input, indices, *self._params(), output_size)


class MaxUnpool3d(_MaxUnpool):
    """Largest elements at the places they came from, as `F.max_unpool3d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or sequence of int
        As of the `MaxPool3d` before.
    """

    def forward(self, input: Any, indices: Any, output_size: Sequence[int] | None = None) -> Tensor:
        """Spread."""
        return F.max_unpool3d(input, indices, *self._params(), output_size)
