"""Random integers between bounds, which may be arrays.

Knows tensors; bounds that are numbers are the business of the draw itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from . import draws
from .draws import Generator, extents_of

__all__ = ["randint"]


def randint(
    low: ArrayLike,
    high: ArrayLike | None = None,
    shape: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Integers, each with the same probability.

    Parameters
    ----------
    low, high : int or array_like
        The smallest, and the first that does not occur; with one number, from 0 up to it. Arrays
        broadcast. Where there is no integer between them, the result is `low`.
    shape : int or sequence of int, optional
        By default the shape that the bounds have together.
    dtype : dtype, optional
        By default int64.
    device : str, optional
        ``"cpu"``.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If bounds are no integers, or numbers without an integer between them.
    ShapeError
        If the bounds cannot be broadcast to `shape`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.random.randint(1, 7, 100)
    >>> int(x.min()) >= 1, int(x.max()) <= 6
    (True, True)
    >>> fg.random.randint([0, 10], [1, 11])
    Tensor([ 0, 10])
    """
    bounds = (0, low) if high is None else (low, high)
    if all(isinstance(bound, (int, np.integer)) for bound in bounds):
        first, end = int(bounds[0]), int(bounds[1])
        given = () if shape is None else shape
        return draws.randint(first, end, given, dtype=dtype, device=device, generator=generator)
    lowest, behind = map(as_tensor, bounds)
    for bound in (lowest, behind):
        if not bound.dtype.is_integer:
            raise DTypeError(f"randint between bounds of {bound.dtype}", remedy="take integers")
    common = np.broadcast_shapes(tuple(lowest.shape), tuple(behind.shape))
    extents = common if shape is None else extents_of(shape)
    if np.broadcast_shapes(common, extents) != extents:
        raise ShapeError(
            f"randint: bounds of shape {common} do not fit a draw of shape {extents}",
            remedy="draw a shape that they can be broadcast to",
        )
    spans = (behind.astype("int64") - lowest.astype("int64")).clip(0, 1 << 32).astype("uint64")
    steps = ((draws.words(extents, generator) >> 32) * spans) >> 32
    drawn = lowest.astype("int64") + steps.astype("int64")
    return drawn if dtype is None else drawn.astype(dtype)
