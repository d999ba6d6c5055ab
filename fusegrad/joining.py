"""Joining arrays and splitting them.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from .errors import ShapeError
from .ir.node import Node
from .semantics import manipulation as semantics
from .semantics.shapes import broadcast_shapes, one_axis, show
from .tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record_nodes

__all__ = ["cat", "chunk", "concat", "meshgrid", "split", "stack", "unstack"]


def concat(
    arrays: Sequence[ArrayLike], /, axis: int | None = 0, *, dim: int | None = None
) -> Tensor:
    """Arrays one behind the other along an axis.

    Parameters
    ----------
    arrays : sequence of array_like
        Their dtypes promote.
    axis : int, optional
        None to take all arrays flat.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.concat([[1, 2], [3]])
    Tensor([1, 2, 3])
    """
    place = axis if dim is None else dim

    def join() -> tuple[Node, list[Tensor]]:
        nodes, tensors = common_nodes([as_tensor(array) for array in arrays])
        return semantics.concat(nodes, place), tensors

    return record_nodes(join)


def cat(arrays: Sequence[ArrayLike], dim: int = 0) -> Tensor:
    """`concat` under torch's name.

    Parameters
    ----------
    arrays : sequence of array_like
    dim : int, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cat([[1, 2], [3]])
    Tensor([1, 2, 3])
    """
    return concat(arrays, dim)


def stack(arrays: Sequence[ArrayLike], /, axis: int = 0, *, dim: int | None = None) -> Tensor:
    """Arrays of one shape along a new axis.

    Parameters
    ----------
    arrays : sequence of array_like
        Their dtypes promote.
    axis : int, optional
        The place of the new axis.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.stack([[1, 2], [3, 4]], axis=1)
    Tensor([[1, 3],
            [2, 4]])
    """
    place = axis if dim is None else dim

    def join() -> tuple[Node, list[Tensor]]:
        nodes, tensors = common_nodes([as_tensor(array) for array in arrays])
        return semantics.stack(nodes, place), tensors

    return record_nodes(join)


def unstack(x: ArrayLike, /, *, axis: int = 0) -> list[Tensor]:
    """The slices along an axis.

    Parameters
    ----------
    x : array_like
    axis : int, optional

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unstack([[1, 2], [3, 4]])
    [Tensor([1, 2]), Tensor([3, 4])]
    """
    tensor = as_tensor(x)
    place = one_axis("unstack", axis, tensor.ndim)
    before = (slice(None),) * place
    return [tensor[(*before, position)] for position in range(tensor.shape[place])]


def split(
    x: ArrayLike,
    sections: int | Sequence[int],
    axis: int = 0,
    *,
    dim: int | None = None,
) -> list[Tensor]:
    """Parts along an axis.

    Parameters
    ----------
    x : array_like
    sections : int or sequence of int
        The number of equal parts, or the places to cut at, as in NumPy.
    axis : int, optional

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.split([1, 2, 3, 4], 2)
    [Tensor([1, 2]), Tensor([3, 4])]
    """
    tensor = as_tensor(x)
    place = one_axis("split", axis if dim is None else dim, tensor.ndim)
    extent = tensor.shape[place]
    if isinstance(sections, int):
        if sections < 1 or extent % sections:
            raise ShapeError(
                f"split: axis {place} of shape {show(tensor.shape)} has no {sections} equal parts",
                remedy="give the places to cut at, or use fg.chunk for unequal parts",
            )
        step = extent // sections
        sections = [step * count for count in range(1, sections)]
    return _parts(tensor, sections, place)


def chunk(x: ArrayLike, chunks: int, axis: int = 0, *, dim: int | None = None) -> list[Tensor]:
    """At most so many parts along an axis, the last one possibly shorter, as in torch.

    Parameters
    ----------
    x : array_like
    chunks : int
    axis : int, optional

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.chunk([1, 2, 3, 4, 5], 2)
    [Tensor([1, 2, 3]), Tensor([4, 5])]
    """
    tensor = as_tensor(x)
    place = one_axis("chunk", axis if dim is None else dim, tensor.ndim)
    extent = tensor.shape[place]
    step = max(1, -(-extent // chunks))
    return _parts(tensor, list(range(step, extent, step)), place)


def _parts(x: Tensor, places: Sequence[int], axis: int) -> list[Tensor]:
    bounds = [0, *places, x.shape[axis]]
    before = (slice(None),) * axis
    return [x[(*before, slice(start, stop))] for start, stop in itertools.pairwise(bounds)]


def meshgrid(*arrays: ArrayLike, indexing: str = "xy") -> list[Tensor]:
    """The coordinates of a grid, from those along each axis.

    Parameters
    ----------
    *arrays : array_like
        Vectors.
    indexing : str, optional
        ``"xy"``: the first vector runs along the second axis; ``"ij"``: along the first.

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.meshgrid([1, 2], [3, 4], indexing="ij")[0]
    Tensor([[1, 1],
            [2, 2]])
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing is 'xy' or 'ij', not {indexing!r}")
    vectors = [as_tensor(a).reshape(-1) for a in arrays]
    count = len(vectors)
    order = list(range(count))
    if indexing == "xy" and count > 1:
        order[0], order[1] = 1, 0
    wide = [
        vector.reshape(*[-1 if axis == place else 1 for axis in range(count)])
        for vector, place in zip(vectors, order, strict=True)
    ]
    shape = broadcast_shapes("mesh", [vector.shape for vector in wide]) if wide else ()
    return [vector.broadcast_to(shape) for vector in wide]
