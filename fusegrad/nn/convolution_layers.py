"""Convolutions as layers, under torch's names.

User-level code: each makes its parameters and calls its function.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from ..errors import ShapeError
from ..functions.creation import asarray, empty
from ..semantics.convolution import numbers
from ..tensors.tensor_class import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]

Numbers = int | Sequence[int]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class _Convolution(Module):
    """What all convolutions have: parameters, their first values, and a text."""

    _rank: ClassVar[int]
    _transposed: ClassVar[bool]
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers,
        padding: Numbers | str,
        output_padding: Numbers,
        dilation: Numbers,
        groups: int,
        bias: bool,
        padding_mode: PaddingMode,
        dtype: Any,
    ) -> None:
        super().__init__()
        name, rank = type(self).__name__, self._rank
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"{name}: {in_channels} input and {out_channels} output channels in {groups} "
                "groups",
                remedy="groups divides the channels of input and output",
            )
        if self._transposed and padding_mode != "zeros":
            raise ShapeError(f"{name} has no padding_mode {padding_mode!r}", remedy="take 'zeros'")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ShapeError(
                f"{name}: there is no padding_mode {padding_mode!r}",
                remedy="take 'zeros', 'reflect', 'replicate' or 'circular'",
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = numbers(name, "kernel_size", kernel_size, rank)
        self.stride = numbers(name, "stride", stride, rank)
        self.padding: str | tuple[int, ...]
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ShapeError(
                    f"{name}: padding is {padding!r}", remedy="give 'same', 'valid', or numbers"
                )
            if padding == "same" and any(step != 1 for step in self.stride):
                raise ShapeError(
                    f"{name}: padding 'same' with stride {self.stride}",
                    remedy="take stride 1, or give the padding in numbers",
                )
            self.padding = padding
        else:
            self.padding = numbers(name, "padding", padding, rank, least=0)
        self.output_padding = numbers(name, "output_padding", output_padding, rank, least=0)
        self.dilation = numbers(name, "dilation", dilation, rank)
        self.groups, self.padding_mode = groups, padding_mode
        first, second = out_channels, in_channels // groups
        if self._transposed:
            first, second = in_channels, out_channels // groups
        self.weight = Parameter(empty((first, second, *self.kernel_size), dtype=dtype))
        if bias:
            self.bias = Parameter(empty((out_channels,), dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            inputs = self.weight.shape[1] * math.prod(self.kernel_size)
            bound = 1 / math.sqrt(inputs) if inputs else 0.0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        rank = self._rank
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * rank:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * rank:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * rank:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Forward(_Convolution):
    """A convolution; padding other than with zeros is a step of its own."""

    _transposed = False

    @abstractmethod
    def _convolve(self, input: Any, padding: Any) -> Tensor:
        """The function with the parameters of the layer."""

    def forward(self, input: Any) -> Tensor:
        """Convolve."""
        if self.padding_mode == "zeros":
            return self._convolve(input, self.padding)
        x = asarray(input)
        if isinstance(self.padding, str):
            spread = zip(self.kernel_size, self.dilation, strict=True)
            total = [d * (k - 1) if self.padding == "same" else 0 for k, d in spread]
            pairs = [(width // 2, width - width // 2) for width in total]
        else:
            pairs = [(width, width) for width in self.padding]
        widths = [width for pair in reversed(pairs) for width in pair]
        return self._convolve(F.pad(x, widths, self.padding_mode), 0)


class _Transposed(_Convolution):
    """A transposed convolution, whose result may be asked to have a given size."""

    _transposed = True

    @abstractmethod
    def _convolve(self, input: Any, output_padding: Any) -> Tensor:
        """The function with the parameters of the layer."""

    def _cut(self) -> tuple[int, ...]:
        """What is cut off the result at both ends."""
        assert not isinstance(self.padding, str)
        return self.padding

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Tensor:
        """Convolve; `output_size`, the last extents of the result, decides the output padding."""
        if output_size is None:
            return self._convolve(input, self.output_padding)
        rank = self._rank
        wanted = tuple(output_size)[-rank:]
        given, cut = asarray(input).shape[-rank:], self._cut()
        extra = []
        for axis in range(rank):
            least = (
                (given[axis] - 1) * self.stride[axis]
                - 2 * cut[axis]
                + self.dilation[axis] * (self.kernel_size[axis] - 1)
                + 1
            )
            extra.append(wanted[axis] - least if axis < len(wanted) else -1)
            if not 0 <= extra[-1] < max(self.stride[axis], self.dilation[axis]):
                raise ShapeError(
                    f"{type(self).__name__}: output_size {tuple(output_size)} from an input of "
                    f"shape {tuple(asarray(input).shape)}",
                    remedy=f"axis {axis - rank} can be {least} or up to stride - 1 more",
                )
        return self._convolve(input, tuple(extra))


class Conv1d(_Forward):
    """Windows of the input multiplied by weights and summed, as `F.conv1d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
        The extents of a window.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int, sequence of int, "same" or "valid", optional
        What is added on both sides.
    groups : int, optional
        Parts of the channels that do not see each other.
    bias : bool, optional
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
    dtype : optional
        Of the parameters, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Conv1d(2, 4, 3)(fg.ones((1, 2, 8))).shape
    (1, 4, 6)
    """

    _rank = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers | str = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            0,
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
        )

    def _convolve(self, input: Any, padding: Any) -> Tensor:
        steps = self.stride, padding, self.dilation
        return F.conv1d(input, self.weight, self.bias, *steps, self.groups)


class Conv2d(_Forward):
    """Windows of the input multiplied by weights and summed, as `F.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
        The extents of a window.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int, sequence of int, "same" or "valid", optional
        What is added on both sides.
    groups : int, optional
        Parts of the channels that do not see each other.
    bias : bool, optional
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
    dtype : optional
        Of the parameters, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Conv2d(2, 4, 3)(fg.ones((1, 2, 8, 8))).shape
    (1, 4, 6, 6)
    """

    _rank = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers | str = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            0,
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
        )

    def _convolve(self, input: Any, padding: Any) -> Tensor:
        steps = self.stride, padding, self.dilation
        return F.conv2d(input, self.weight, self.bias, *steps, self.groups)


class Conv3d(_Forward):
    """Windows of the input multiplied by weights and summed, as `F.conv3d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
        The extents of a window.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int, sequence of int, "same" or "valid", optional
        What is added on both sides.
    groups : int, optional
        Parts of the channels that do not see each other.
    bias : bool, optional
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
    dtype : optional
        Of the parameters, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Conv3d(2, 4, 3)(fg.ones((1, 2, 4, 4, 4))).shape
    (1, 4, 2, 2, 2)
    """

    _rank = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers | str = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            0,
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
        )

    def _convolve(self, input: Any, padding: Any) -> Tensor:
        steps = self.stride, padding, self.dilation
        return F.conv3d(input, self.weight, self.bias, *steps, self.groups)


class ConvTranspose1d(_Transposed):
    """Weights multiplied by each place and added at its window, as `F.conv_transpose1d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
        The extents of a window.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int or sequence of int, optional
        What is cut off the result at both ends.
    output_padding : int or sequence of int, optional
        What the result has more at the end.
    groups : int, optional
        Parts of the channels that do not see each other.
    bias : bool, optional
    padding_mode : "zeros", optional
    dtype : optional
        Of the parameters, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.ConvTranspose1d(2, 4, 3)(fg.ones((1, 2, 6))).shape
    (1, 4, 8)
    """

    _rank = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers = 0,
        output_padding: Numbers = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Numbers = 1,
        padding_mode: Literal["zeros"] = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
        )

    def _convolve(self, input: Any, output_padding: Any) -> Tensor:
        return F.conv_transpose1d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self._cut(),
            output_padding,
            self.groups,
            self.dilation,
        )


class ConvTranspose2d(_Transposed):
    """Weights multiplied by each place and added at its window, as `F.conv_transpose2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
        The extents of a window.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int or sequence of int, optional
        What is cut off the result at both ends.
    output_padding : int or sequence of int, optional
        What the result has more at the end.
    groups : int, optional
        Parts of the channels that do not see each other.
    bias : bool, optional
    padding_mode : "zeros", optional
    dtype : optional
        Of the parameters, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.ConvTranspose2d(2, 4, 3)(fg.ones((1, 2, 6, 6))).shape
    (1, 4, 8, 8)
    """

    _rank = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers = 0,
        output_padding: Numbers = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Numbers = 1,
        padding_mode: Literal["zeros"] = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
        )

    def _convolve(self, input: Any, output_padding: Any) -> Tensor:
        return F.conv_transpose2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self._cut(),
            output_padding,
            self.groups,
            self.dilation,
        )


class ConvTranspose3d(_Transposed):
    """Weights multiplied by each place and added at its window, as `F.conv_transpose3d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or sequence of int
        The extents of a window.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int or sequence of int, optional
        What is cut off the result at both ends.
    output_padding : int or sequence of int, optional
        What the result has more at the end.
    groups : int, optional
        Parts of the channels that do not see each other.
    bias : bool, optional
    padding_mode : "zeros", optional
    dtype : optional
        Of the parameters, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.ConvTranspose3d(2, 4, 3)(fg.ones((1, 2, 2, 2, 2))).shape
    (1, 4, 4, 4, 4)
    """

    _rank = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers = 0,
        output_padding: Numbers = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Numbers = 1,
        padding_mode: Literal["zeros"] = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            dilation,
            groups,
            bias,
            padding_mode,
            dtype,
        )

    def _convolve(self, input: Any, output_padding: Any) -> Tensor:
        return F.conv_transpose3d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self._cut(),
            output_padding,
            self.groups,
            self.dilation,
        )
