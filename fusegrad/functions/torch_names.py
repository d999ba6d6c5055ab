"""Small functions that torch has at the top level.

Knows the functions themselves: what stands here is written in a few of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import ShapeError
from ..semantics.shapes import one_axis
from ..tensors.tensor_class import ArrayLike, Tensor
from ..tensors.tensor_class import as_tensor as to_tensor
from ..tensors.tensor_methods import Axis
from .creation import asarray
from .cumulative import cumsum
from .functional import trunc
from .joining import meshgrid, stack
from .manipulation import broadcast_arrays, matrix_transpose, take
from .padding import pad
from .precision import in_float32
from .reductions import max as greatest
from .reductions import mean, std, var
from .reductions import min as least

__all__ = [
    "adjoint",
    "aminmax",
    "as_tensor",
    "broadcast_tensors",
    "cartesian_prod",
    "clone",
    "combinations",
    "constant_pad_nd",
    "cumulative_trapezoid",
    "fill",
    "frac",
    "std_mean",
    "var_mean",
]


class Extremes(NamedTuple):
    """The least and the greatest elements.

    Attributes
    ----------
    min, max : Tensor
    """

    min: Tensor
    max: Tensor


def aminmax(x: ArrayLike, *, dim: int | None = None, keepdim: bool = False) -> Extremes:
    """The least and the greatest elements, of all or along an axis.

    Parameters
    ----------
    x : array_like
    dim : int, optional
        By default all axes.
    keepdim : bool, optional
        Whether the axis stays with extent 1.

    Returns
    -------
    Extremes
        A pair with the names ``min`` and ``max``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> low, high = fg.aminmax([3, 1, 2])
    >>> int(low), int(high)
    (1, 3)
    """
    tensor = to_tensor(x)
    if not tensor.ndim:
        dim = None
    return Extremes(
        least(tensor, axis=dim, keepdims=keepdim), greatest(tensor, axis=dim, keepdims=keepdim)
    )


def var_mean(
    x: ArrayLike,
    dim: Axis = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Axis = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance and the mean.

    Parameters
    ----------
    x : array_like
    dim : int or sequence of int, optional
        Which axes vanish; by default all.
    unbiased : bool, optional
        Whether the number of elements is lessened by 1 in the denominator of the variance.
    keepdim : bool, optional
        Whether the axes stay with extent 1.
    correction : float, optional
        In place of `unbiased`: what the number of elements is lessened by.

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.var_mean([1.0, 2.0, 3.0])
    (Tensor(1.), Tensor(2.))
    """
    axes, keep, less = _options(dim, axis, unbiased, keepdim, keepdims, correction)
    return var(x, axis=axes, correction=less, keepdims=keep), mean(x, axis=axes, keepdims=keep)


def _options(
    dim: Axis,
    axis: Axis,
    unbiased: bool,
    keepdim: bool,
    keepdims: bool | None,
    correction: float | None,
) -> tuple[Axis, bool, float]:
    """The axes, whether they stay, and the correction."""
    axes = dim if axis is None else axis
    if isinstance(dim, bool):
        # Torch's short form: var_mean(x, unbiased).
        axes, unbiased = axis, dim
    keep = keepdim if keepdims is None else keepdims
    return axes, keep, float(unbiased) if correction is None else correction


def std_mean(
    x: ArrayLike,
    dim: Axis = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Axis = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean.

    Parameters
    ----------
    x : array_like
    dim, unbiased, keepdim, correction
        As for `var_mean`.

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.std_mean([1.0, 2.0, 3.0])
    (Tensor(1.), Tensor(2.))
    """
    axes, keep, less = _options(dim, axis, unbiased, keepdim, keepdims, correction)
    return std(x, axis=axes, correction=less, keepdims=keep), mean(x, axis=axes, keepdims=keep)


def as_tensor(data: ArrayLike, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor: one itself if it is one and has the dtype; torch's name of `asarray`.

    Parameters
    ----------
    data : array_like
    dtype : dtype, optional
    device : str, optional
        ``"cpu"``.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.as_tensor([1, 2], fg.float64)
    Tensor([1., 2.], dtype=float64)
    """
    return asarray(data, dtype=dtype, device=device)


def clone(x: ArrayLike) -> Tensor:
    """A tensor of its own with the same value, through which gradients flow.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.asarray([1.0, 2.0])
    >>> y = fg.clone(x)
    >>> x[0] = 5.0
    >>> y
    Tensor([1., 2.])
    """
    return to_tensor(x).clone()


def fill(x: ArrayLike, value: ArrayLike) -> Tensor:
    """A tensor of the same shape and dtype, all of whose elements are one value.

    Parameters
    ----------
    x : array_like
    value : number or Tensor
        A single value; gradients reach it.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.fill(fg.zeros(2), 3)
    Tensor([3., 3.])
    """
    like, one = to_tensor(x), to_tensor(value)
    if one.ndim:
        raise ShapeError(
            f"fill takes a single value, not one of shape {tuple(one.shape)}", remedy=None
        )
    return one.astype(like.dtype).broadcast_to(tuple(like.shape))


@in_float32
def frac(x: ArrayLike) -> Tensor:
    """What `trunc` takes away: the part behind the point, with the sign of the number.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.frac([1.25, -1.25])
    Tensor([ 0.25, -0.25])
    """
    tensor = to_tensor(x)
    return tensor - trunc(tensor)


def adjoint(x: ArrayLike) -> Tensor:
    """The matrices transposed; all numbers here are real.

    Parameters
    ----------
    x : array_like
        Of at least two axes.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.adjoint([[1, 2], [3, 4]])
    Tensor([[1, 3],
            [2, 4]])
    """
    return matrix_transpose(x)


def broadcast_tensors(*tensors: ArrayLike) -> tuple[Tensor, ...]:
    """The arrays, broadcast to their common shape.

    Parameters
    ----------
    *tensors : array_like

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> a, b = fg.broadcast_tensors([1, 2], [[3], [4]])
    >>> a.shape, b.shape
    ((2, 2), (2, 2))
    """
    return tuple(broadcast_arrays(*tensors))


def cartesian_prod(*tensors: ArrayLike) -> Tensor:
    """All combinations of an element of each vector, as rows.

    Parameters
    ----------
    *tensors : array_like
        Vectors.

    Returns
    -------
    Tensor
        Of a single vector, itself.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cartesian_prod([1, 2], [3, 4])
    Tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    if len(tensors) == 1:
        return to_tensor(tensors[0])
    grids = meshgrid(*tensors, indexing="ij")
    return stack([grid.reshape(-1) for grid in grids], axis=1)


def combinations(x: ArrayLike, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of `r` elements of a vector in their order, as rows.

    Parameters
    ----------
    x : array_like
        A vector.
    r : int, optional
    with_replacement : bool, optional
        Whether an element may be chosen more than once.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.combinations([1, 2, 3])
    Tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    tensor = to_tensor(x)
    if tensor.ndim != 1:
        raise ShapeError(
            f"combinations takes a vector, not an array of shape {tuple(tensor.shape)}",
            remedy="flatten it, x.reshape(-1)",
        )
    if r < 0:
        raise ShapeError(f"combinations of {r} elements", remedy="the number must be 0 or more")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = list(choose(range(tensor.shape[0]), r))
    if not places or not r:
        return tensor[:0].reshape(0, r) if r else tensor[:0]
    return take(tensor, to_tensor(places).reshape(-1), axis=0).reshape(len(places), r)


def constant_pad_nd(x: ArrayLike, pad_width: Sequence[int], value: float = 0) -> Tensor:
    """The array with one value around it; pairs of widths begin with the last axis, as in torch.

    Parameters
    ----------
    x : array_like
    pad_width : sequence of int
        Before and behind the last axis, then the one before it, and so on.
    value : number, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.constant_pad_nd([1, 2], (1, 2))
    Tensor([0, 1, 2, 0, 0])
    """
    tensor = to_tensor(x)
    widths = list(pad_width)
    if len(widths) % 2 or len(widths) > 2 * tensor.ndim:
        raise ShapeError(
            f"constant_pad_nd: {len(widths)} widths are no pairs for the axes of an array of "
            f"shape {tuple(tensor.shape)}",
            remedy="give two for each axis, beginning with the last",
        )
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)][::-1]
    # A negative width takes elements away.
    cut = [
        slice(max(-low, 0), size + min(high, 0))
        for (low, high), size in zip(pairs, tensor.shape[tensor.ndim - len(pairs) :], strict=True)
    ]
    whole = [slice(None)] * (tensor.ndim - len(pairs))
    kept = tensor[(*whole, *cut)]
    added = [(max(low, 0), max(high, 0)) for low, high in pairs]
    return pad(kept, [(0, 0)] * len(whole) + added, constant_values=value)


def cumulative_trapezoid(
    y: ArrayLike, x: ArrayLike = None, *, dx: float = 1.0, dim: int = -1, axis: int | None = None
) -> Tensor:
    """The areas under the line through samples, up to each of them but the first.

    Parameters
    ----------
    y : array_like
        The samples.
    x : array_like, optional
        Where they are; by default at a distance of `dx`.
    dx : float, optional
    dim : int, optional
        The axis, which becomes shorter by one.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cumulative_trapezoid([1.0, 2.0, 3.0])
    Tensor([1.5, 4. ])
    """
    values = to_tensor(y)
    place = one_axis("cumulative_trapezoid", dim if axis is None else axis, values.ndim)
    behind, before = _halves(values, place)
    step: Any = dx
    if x is not None:
        points = to_tensor(x)
        if points.ndim == 1:
            points = points.reshape(-1, *[1] * (values.ndim - place - 1))
            step = points[1:] - points[:-1]
        else:
            right, left = _halves(points, one_axis("cumulative_trapezoid", place, points.ndim))
            step = right - left
    return cumsum((behind + before) * step / 2, axis=place)


def _halves(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """All but the first, and all but the last positions of an axis."""
    front = (slice(None),) * axis
    return x[(*front, slice(1, None))], x[(*front, slice(None, -1))]
