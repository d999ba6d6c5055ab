"""Linear maps and tables of rows as functions, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError, ShapeError
from ..functions import functional as fg
from ..functions.creation import asarray, zeros
from ..functions.histograms import bincount
from ..functions.manipulation import expand_dims, reshape, take
from ..functions.precision import narrowed
from ..functions.products import einsum, matmul
from ..functions.ranges import arange
from ..linalg import vector_norm
from ..tensors.context import no_grad
from ..tensors.tensor_class import Tensor
from ..transforms.custom_rules import custom_vjp

__all__ = ["bilinear", "embedding", "linear", "one_hot"]


def linear(input: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(..., in)``.
    weight : Tensor
        Of shape ``(out, in)``, or ``(in,)``.
    bias : Tensor, optional
        Of shape ``(out,)``.
    """
    output = matmul(asarray(input), weight.T if weight.ndim == 2 else weight)
    return output if bias is None else output + narrowed(bias)


def bilinear(input1: Any, input2: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input1 @ weight[k] @ input2 + bias[k]`` for every k.

    Parameters
    ----------
    input1, input2 : Tensor or array
        Of shapes ``(..., in1)`` and ``(..., in2)``.
    weight : Tensor
        Of shape ``(out, in1, in2)``.
    bias : Tensor, optional
        Of shape ``(out,)``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.bilinear([1.0, 2.0], [3.0, 4.0, 5.0], fg.ones((1, 2, 3))).numpy()
    array([36.], dtype=float32)
    """
    x, y = asarray(input1), asarray(input2)
    shape = tuple(weight.shape)
    if weight.ndim != 3 or (x.shape[-1:], y.shape[-1:]) != (shape[1:2], shape[2:3]):
        raise ShapeError(
            f"bilinear: inputs of shapes {tuple(x.shape)} and {tuple(y.shape)}, and a weight of "
            f"shape {shape}",
            remedy="the shapes are (..., in1), (..., in2) and (out, in1, in2)",
        )
    output = einsum("...i,kij,...j->...k", x, weight, y)
    return output if bias is None else output + narrowed(bias)


def embedding(
    input: Any,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` that `input` names.

    Parameters
    ----------
    input : Tensor or array
        Integers from 0 to ``len(weight) - 1``. Others are clamped to these.
    weight : Tensor
        Of shape ``(count, width)``.
    padding_idx : int, optional
        A row that gets no gradient.
    max_norm : float, optional
        Rows that are named and whose norm is larger are scaled to it, in `weight` itself.
    norm_type : float, optional
        Which norm.
    scale_grad_by_freq : bool, optional
        Whether the gradient of a row is divided by how often `input` names it.
    sparse : bool, optional
        Of no effect: gradients are dense.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.embedding([2, 0], fg.asarray([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])).numpy()
    array([[4., 5.],
           [0., 1.]], dtype=float32)
    """
    x = asarray(input)
    if not x.dtype.is_integer:
        raise DTypeError(
            f"embedding needs integers to select rows, not {x.dtype}",
            remedy="convert them first: ids.astype('int64')",
        )
    if max_norm is not None:
        _renormalize(weight, x, float(max_norm), float(norm_type))
    rows = take(weight, x, axis=0)
    if scale_grad_by_freq:
        counts = bincount(reshape(x, (-1,)), length=weight.shape[0])
        shares = 1 / take(fg.maximum(counts, 1), x).astype(weight.dtype)
        rows = _scaled_gradient(rows, expand_dims(shares, axis=-1))
    if padding_idx is None:
        return rows
    padding = padding_idx + weight.shape[0] if padding_idx < 0 else padding_idx
    return fg.choose(expand_dims(x == padding, axis=-1), rows.detach(), rows)


def _renormalize(weight: Tensor, rows: Tensor, most: float, exponent: float) -> None:
    """Scale down the rows that are named and longer than `most`, in place."""
    with no_grad():
        named = zeros((weight.shape[0],), dtype="bool")
        named[rows] = True
        norm = vector_norm(weight, ord=exponent, axis=1)
        factor = fg.choose(named & (norm > most), most / (norm + 1e-7), 1)
        weight.copy_(weight * expand_dims(factor, axis=1))


@custom_vjp
def _scaled_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """`x` itself; its gradient is multiplied by `factor`."""
    return x


_scaled_gradient.defvjp(lambda x, factor: (x, factor), lambda factor, g: (g * factor, None))


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Integers as rows of zeros with a single one.

    Parameters
    ----------
    tensor : Tensor or array
        Integers from 0 to ``num_classes - 1``; for others the row is all zeros.
    num_classes : int, optional
        The length of the rows. -1 looks for the greatest integer, which cannot be done while a
        compiled function is traced.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.one_hot([2, 0]).numpy()
    array([[0, 0, 1],
           [1, 0, 0]])
    """
    x = asarray(tensor)
    if not x.dtype.is_integer:
        raise DTypeError(
            f"one_hot needs integers, not {x.dtype}",
            remedy="convert them first: labels.astype('int64')",
        )
    if num_classes == -1:
        num_classes = int(x.max()) + 1
    classes = arange(num_classes, dtype=x.dtype)
    return (expand_dims(tensor, axis=-1) == classes).astype("int64")
