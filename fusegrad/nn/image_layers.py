"""Padding, interpolation, columns and shuffles as layers, under torch's names.

User-level code: each keeps its arguments and calls its function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..errors import ShapeError
from ..functions.creation import asarray
from ..tensors.tensor_class import Tensor
from . import functional as F
from .interpolation import Mode
from .module import Module
from .rearrangement import PaddingMode

__all__ = [
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Fold",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "Unfold",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]

Numbers = int | Sequence[int]


class Fold(Module):
    """Columns added up where they come from, as `F.fold`.

    Parameters
    ----------
    output_size : int or sequence of int
        The last two extents of the result.
    kernel_size, dilation, padding, stride : int or sequence of int
        As of `Unfold`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Fold((4, 5), 2)(fg.ones((1, 12, 12))).shape
    (1, 3, 4, 5)
    """

    def __init__(
        self,
        output_size: Numbers,
        kernel_size: Numbers,
        dilation: Numbers = 1,
        padding: Numbers = 0,
        stride: Numbers = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Tensor:
        """Add up."""
        sizes = self.kernel_size, self.dilation, self.padding, self.stride
        return F.fold(input, self.output_size, *sizes)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )


class Unfold(Module):
    """Every window as a column, as `F.unfold`.

    Parameters
    ----------
    kernel_size : int or sequence of int
        The extents of a window.
    dilation, stride : int or sequence of int, optional
        Steps inside of a window, and between windows.
    padding : int or sequence of int, optional
        Zeros on both sides.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Unfold(2)(fg.ones((1, 3, 4, 5))).shape
    (1, 12, 12)
    """

    def __init__(
        self,
        kernel_size: Numbers,
        dilation: Numbers = 1,
        padding: Numbers = 0,
        stride: Numbers = 1,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Tensor:
        """Gather."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Upsample(Module):
    """More or fewer elements along the last axes, as `F.interpolate`.

    Parameters
    ----------
    size : int or sequence of int, optional
        The new extents.
    scale_factor : float or sequence of float, optional
        By how much the extents grow, instead.
    mode : str, optional
    align_corners : bool, optional
    recompute_scale_factor : bool, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Upsample(scale_factor=2)(fg.ones((1, 3, 4))).shape
    (1, 3, 8)
    """

    def __init__(
        self,
        size: Numbers | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: Mode = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor: float | tuple[float, ...] | None
        if isinstance(scale_factor, Sequence):
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = None if scale_factor is None else float(scale_factor)
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Tensor:
        """Interpolate."""
        how = self.mode, self.align_corners, self.recompute_scale_factor
        return F.interpolate(input, self.size, self.scale_factor, *how)

    def extra_repr(self) -> str:
        named = f"size={self.size}" if self.scale_factor is None else None
        return f"{named or f'scale_factor={self.scale_factor}'}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` in mode "nearest".

    Parameters
    ----------
    size : int or sequence of int, optional
        The new extents.
    scale_factor : float or sequence of float, optional
        By how much the extents grow, instead.
    """

    def __init__(
        self,
        size: Numbers | None = None,
        scale_factor: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` in mode "bilinear" with aligned corners.

    Parameters
    ----------
    size : int or sequence of int, optional
        The new extents.
    scale_factor : float or sequence of float, optional
        By how much the extents grow, instead.
    """

    def __init__(
        self,
        size: Numbers | None = None,
        scale_factor: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    """Channels spread over places, as `F.pixel_shuffle`.

    Parameters
    ----------
    upscale_factor : int
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Tensor:
        """Spread."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Places gathered into channels, as `F.pixel_unshuffle`.

    Parameters
    ----------
    downscale_factor : int
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Tensor:
        """Gather."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels of several groups in turn, as `F.channel_shuffle`.

    Parameters
    ----------
    groups : int
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Any) -> Tensor:
        """Shuffle."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


# --- padding --------------------------------------------------------------------------------------


class _Pad(Module):
    _rank: ClassVar[int]
    _mode: ClassVar[PaddingMode]

    def __init__(self, padding: Numbers) -> None:
        super().__init__()
        count = 2 * self._rank
        widths = (padding,) * count if isinstance(padding, int) else tuple(padding)
        if len(widths) != count:
            raise ShapeError(
                f"{type(self).__name__}: {len(widths)} widths for {self._rank} axes",
                remedy="give one, or two for each axis, those of the last axis first",
            )
        self.padding = widths

    def _checked(self, input: Any) -> Tensor:
        x = asarray(input)
        if x.ndim not in (self._rank + 1, self._rank + 2):
            raise ShapeError(
                f"{type(self).__name__}: an input of shape {tuple(x.shape)} has {x.ndim} axes, "
                f"not {self._rank + 2} (or {self._rank + 1} without a batch)",
                remedy="the input has shape (batch, channels, places...)",
            )
        return x

    def forward(self, input: Any) -> Tensor:
        """Pad."""
        return F.pad(self._checked(input), self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    _mode = "constant"

    def __init__(self, padding: Numbers, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Tensor:
        """Pad."""
        return F.pad(asarray(input), self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Numbers) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class CircularPad1d(_Pad):
    """More elements before and behind the last axis: the axis repeated.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank, _mode = 1, "circular"


class CircularPad2d(_Pad):
    """More elements before and behind the last 2 axes: the axis repeated.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank, _mode = 2, "circular"


class CircularPad3d(_Pad):
    """More elements before and behind the last 3 axes: the axis repeated.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank, _mode = 3, "circular"


class ReflectionPad1d(_Pad):
    """More elements before and behind the last axis: the axis mirrored at its ends.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """More elements before and behind the last 2 axes: the axis mirrored at its ends.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """More elements before and behind the last 3 axes: the axis mirrored at its ends.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """More elements before and behind the last axis: its ends repeated.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """More elements before and behind the last 2 axes: its ends repeated.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """More elements before and behind the last 3 axes: its ends repeated.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank, _mode = 3, "replicate"


class ConstantPad1d(_ConstantPad):
    """One value before and behind the last axis.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    value : float
    """

    _rank = 1


class ConstantPad2d(_ConstantPad):
    """One value before and behind the last 2 axes.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    value : float
    """

    _rank = 2


class ConstantPad3d(_ConstantPad):
    """One value before and behind the last 3 axes.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    value : float
    """

    _rank = 3


class ZeroPad1d(_ZeroPad):
    """Zeros before and behind the last axis.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank = 1


class ZeroPad2d(_ZeroPad):
    """Zeros before and behind the last 2 axes.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank = 2


class ZeroPad3d(_ZeroPad):
    """Zeros before and behind the last 3 axes.

    Parameters
    ----------
    padding : int or sequence of int
        Everywhere, or before and behind each axis, the last one first.
    """

    _rank = 3
