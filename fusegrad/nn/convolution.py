"""Convolutions as functions, under torch's names.

User-level code: each says how many axes it runs over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from ..ir.node import Node
from ..semantics import convolution as semantics
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record_nodes

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]

Numbers = int | Sequence[int]
Padding = Numbers | Sequence[tuple[int, int]] | Literal["same", "valid"]


def _recorded(
    function: Callable[..., Node],
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    **params: Any,
) -> Tensor:
    operands = [as_tensor(x) for x in (input, weight, bias) if x is not None]

    def node() -> tuple[Node, list[Tensor]]:
        nodes, tensors = common_nodes(operands)
        return function(*nodes, **params), tensors

    return record_nodes(node)


def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Numbers = 1,
    padding: Padding = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """Windows of sequences, multiplied by weights and summed: a convolution over one axis.

    Parameters
    ----------
    input : array_like
        Of shape ``(N, C, L)``, or ``(C, L)``.
    weight : array_like
        Of shape ``(O, C / groups, k)``.
    bias : array_like, optional
        Of shape ``(O,)``.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int, sequence of int, sequence of pairs, "same" or "valid", optional
        Zeros on both sides of each axis, or before and behind it. "same" keeps the extents.
    groups : int, optional
        Parts of the channels that do not see each other.

    Returns
    -------
    Tensor
        Of shape ``(N, O, ...)``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.conv1d(fg.ones((1, 2, 8)), fg.ones((4, 2, 3))).shape
    (1, 4, 6)
    """
    return _recorded(
        semantics.convolution,
        input,
        weight,
        bias,
        rank=1,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        name="conv1d",
    )


def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Numbers = 1,
    padding: Padding = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """Windows of images, multiplied by weights and summed: a convolution over 2 axes.

    Parameters
    ----------
    input : array_like
        Of shape ``(N, C, H, W)``, or ``(C, H, W)``.
    weight : array_like
        Of shape ``(O, C / groups, kh, kw)``.
    bias : array_like, optional
        Of shape ``(O,)``.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int, sequence of int, sequence of pairs, "same" or "valid", optional
        Zeros on both sides of each axis, or before and behind it. "same" keeps the extents.
    groups : int, optional
        Parts of the channels that do not see each other.

    Returns
    -------
    Tensor
        Of shape ``(N, O, ...)``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.conv2d(fg.ones((1, 2, 8, 8)), fg.ones((4, 2, 3, 3))).shape
    (1, 4, 6, 6)
    """
    return _recorded(
        semantics.convolution,
        input,
        weight,
        bias,
        rank=2,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        name="conv2d",
    )


def conv3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Numbers = 1,
    padding: Padding = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """Windows of volumes, multiplied by weights and summed: a convolution over 3 axes.

    Parameters
    ----------
    input : array_like
        Of shape ``(N, C, D, H, W)``, or ``(C, D, H, W)``.
    weight : array_like
        Of shape ``(O, C / groups, kd, kh, kw)``.
    bias : array_like, optional
        Of shape ``(O,)``.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int, sequence of int, sequence of pairs, "same" or "valid", optional
        Zeros on both sides of each axis, or before and behind it. "same" keeps the extents.
    groups : int, optional
        Parts of the channels that do not see each other.

    Returns
    -------
    Tensor
        Of shape ``(N, O, ...)``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.conv3d(fg.ones((1, 2, 4, 4, 4)), fg.ones((4, 2, 3, 3, 3))).shape
    (1, 4, 2, 2, 2)
    """
    return _recorded(
        semantics.convolution,
        input,
        weight,
        bias,
        rank=3,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        name="conv3d",
    )


def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """Weights multiplied by each place of sequences and added at its window: `conv1d` transposed.

    Parameters
    ----------
    input : array_like
        Of shape ``(N, C, L)``, or ``(C, L)``.
    weight : array_like
        Of shape ``(C, O / groups, k)``.
    bias : array_like, optional
        Of shape ``(O,)``.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int or sequence of int, optional
        What is cut off the result at both ends of each axis.
    output_padding : int or sequence of int, optional
        What the result has more at the end of each axis.
    groups : int, optional
        Parts of the channels that do not see each other.

    Returns
    -------
    Tensor
        Of shape ``(N, O, ...)``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.conv_transpose1d(fg.ones((1, 4, 6)), fg.ones((4, 2, 3))).shape
    (1, 2, 8)
    """
    return _recorded(
        semantics.convolution_transpose,
        input,
        weight,
        bias,
        rank=1,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
        name="conv_transpose1d",
    )


def conv_transpose2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """Weights multiplied by each place of images and added at its window: `conv2d` transposed.

    Parameters
    ----------
    input : array_like
        Of shape ``(N, C, H, W)``, or ``(C, H, W)``.
    weight : array_like
        Of shape ``(C, O / groups, kh, kw)``.
    bias : array_like, optional
        Of shape ``(O,)``.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int or sequence of int, optional
        What is cut off the result at both ends of each axis.
    output_padding : int or sequence of int, optional
        What the result has more at the end of each axis.
    groups : int, optional
        Parts of the channels that do not see each other.

    Returns
    -------
    Tensor
        Of shape ``(N, O, ...)``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.conv_transpose2d(fg.ones((1, 4, 6, 6)), fg.ones((4, 2, 3, 3))).shape
    (1, 2, 8, 8)
    """
    return _recorded(
        semantics.convolution_transpose,
        input,
        weight,
        bias,
        rank=2,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
        name="conv_transpose2d",
    )


def conv_transpose3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """Weights multiplied by each place of volumes and added at its window: `conv3d` transposed.

    Parameters
    ----------
    input : array_like
        Of shape ``(N, C, D, H, W)``, or ``(C, D, H, W)``.
    weight : array_like
        Of shape ``(C, O / groups, kd, kh, kw)``.
    bias : array_like, optional
        Of shape ``(O,)``.
    stride, dilation : int or sequence of int, optional
        Steps between the windows, and inside of one.
    padding : int or sequence of int, optional
        What is cut off the result at both ends of each axis.
    output_padding : int or sequence of int, optional
        What the result has more at the end of each axis.
    groups : int, optional
        Parts of the channels that do not see each other.

    Returns
    -------
    Tensor
        Of shape ``(N, O, ...)``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.conv_transpose3d(fg.ones((1, 4, 2, 2, 2)), fg.ones((4, 2, 3, 3, 3))).shape
    (1, 2, 4, 4, 4)
    """
    return _recorded(
        semantics.convolution_transpose,
        input,
        weight,
        bias,
        rank=3,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
        name="conv_transpose3d",
    )
