"""Joining arrays and splitting them.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import (
    ArgumentTypeError,
    OptionError,
    ShapeError,
)
from ..ir.node import Node
from ..semantics import manipulation as semantics
from ..semantics.shapes import broadcast_shapes, one_axis, show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record_nodes

__all__ = [
    "array_split",
    "cat",
    "chunk",
    "column_stack",
    "concat",
    "concatenate",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "meshgrid",
    "row_stack",
    "split",
    "stack",
    "tensor_split",
    "unbind",
    "unstack",
    "vsplit",
    "vstack",
]


def concat(
    arrays: Sequence[ArrayLike],
    /,
    axis: int | None = 0,
    *,
    dim: int | None = None,
    dtype: Any = None,
) -> Tensor:
    """Arrays one behind the other along an axis.

    Parameters
    ----------
    arrays : sequence of array_like
        Their dtypes promote.
    axis : int, optional
        None to take all arrays flat.
    dtype : dtype, optional
        Of the result, in place of the common one.

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
    if not isinstance(arrays, Iterable):
        raise ArgumentTypeError(f"concat takes a sequence of arrays, not {arrays!r}")

    def join() -> tuple[Node, list[Tensor]]:
        nodes, tensors = common_nodes([as_tensor(array) for array in arrays])
        return semantics.concat(nodes, place), tensors

    joined = record_nodes(join)
    return joined if dtype is None else joined.astype(dtype, copy=False)


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


def unstack(x: ArrayLike, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis.

    Parameters
    ----------
    x : array_like
    axis : int, optional

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unstack([[1, 2], [3, 4]])
    (Tensor([1, 2]), Tensor([3, 4]))
    """
    tensor = as_tensor(x)
    place = one_axis("unstack", axis, tensor.ndim)
    before = (slice(None),) * place
    return tuple(tensor[(*before, position)] for position in range(tensor.shape[place]))


def unbind(x: ArrayLike, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis: torch's name of `unstack`.

    Parameters
    ----------
    x : array_like
    dim : int, optional

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unbind([[1, 2], [3, 4]], 1)
    (Tensor([1, 3]), Tensor([2, 4]))
    """
    return as_tensor(x).unbind(dim)


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
    if chunks < 1:
        raise ShapeError(f"chunk: {chunks} parts", remedy="the number of parts is 1 or more")
    step = max(1, -(-extent // chunks))
    return _parts(tensor, list(range(step, extent, step)), place)


def _parts(x: Tensor, places: Sequence[int], axis: int) -> list[Tensor]:
    bounds = [0, *places, x.shape[axis]]
    before = (slice(None),) * axis
    return [x[(*before, slice(start, stop))] for start, stop in itertools.pairwise(bounds)]


def concatenate(arrays: Sequence[ArrayLike], axis: int | None = 0, *, dtype: Any = None) -> Tensor:
    """`concat` under NumPy's name.

    Parameters
    ----------
    arrays : sequence of array_like
    axis : int, optional
        None to take all arrays flat.
    dtype : dtype, optional
        Of the result, in place of the common one.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.concatenate(([1, 2], [3]))
    Tensor([1, 2, 3])
    """
    return concat(arrays, axis, dtype=dtype)


def vstack(arrays: Sequence[ArrayLike]) -> Tensor:
    """Arrays below each other: along the first axis, vectors being rows.

    Parameters
    ----------
    arrays : sequence of array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.vstack(([1, 2], [3, 4]))
    Tensor([[1, 2],
            [3, 4]])
    """
    tensors = [as_tensor(array) for array in arrays]
    return concat([x if x.ndim > 1 else x.reshape(1, -1) for x in tensors], 0)


row_stack = vstack


def hstack(arrays: Sequence[ArrayLike]) -> Tensor:
    """Arrays beside each other: along the second axis, vectors along their only one.

    Parameters
    ----------
    arrays : sequence of array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.hstack(([1, 2], [3]))
    Tensor([1, 2, 3])
    """
    tensors = [as_tensor(array) for array in arrays]
    tensors = [x if x.ndim else x.reshape(1) for x in tensors]
    return concat(tensors, 0 if tensors and tensors[0].ndim == 1 else 1)


def dstack(arrays: Sequence[ArrayLike]) -> Tensor:
    """Arrays behind each other: along the third axis, which is made if there is none.

    Parameters
    ----------
    arrays : sequence of array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.dstack(([1, 2], [3, 4])).shape
    (1, 2, 2)
    """
    tensors = [as_tensor(array) for array in arrays]
    tensors = [x if x.ndim > 1 else x.reshape(1, -1) for x in tensors]
    return concat([x if x.ndim > 2 else x.unsqueeze(2) for x in tensors], 2)


def column_stack(arrays: Sequence[ArrayLike]) -> Tensor:
    """Arrays beside each other, vectors being columns.

    Parameters
    ----------
    arrays : sequence of array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.column_stack(([1, 2], [3, 4]))
    Tensor([[1, 3],
            [2, 4]])
    """
    tensors = [as_tensor(array) for array in arrays]
    return concat([x if x.ndim > 1 else x.reshape(-1, 1) for x in tensors], 1)


def array_split(
    x: ArrayLike, sections: int | Sequence[int], axis: int = 0, *, dim: int | None = None
) -> list[Tensor]:
    """Parts along an axis, of extents that differ by at most 1.

    Parameters
    ----------
    x : array_like
    sections : int or sequence of int
        The number of parts, or the places to cut at.
    axis : int, optional

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.array_split([1, 2, 3], 2)
    [Tensor([1, 2]), Tensor([3])]
    """
    tensor = as_tensor(x)
    place = one_axis("array_split", axis if dim is None else dim, tensor.ndim)
    if isinstance(sections, int):
        if sections < 1:
            raise ShapeError(f"array_split: {sections} parts", remedy="ask for at least one")
        size, more = divmod(tensor.shape[place], sections)
        sections = [size * count + min(count, more) for count in range(1, sections)]
    return _parts(tensor, list(sections), place)


tensor_split = array_split


def vsplit(x: ArrayLike, sections: int | Sequence[int]) -> list[Tensor]:
    """Parts along the first axis.

    Parameters
    ----------
    x : array_like
        Of two axes or more.
    sections : int or sequence of int
        The number of equal parts, or the places to cut at.

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.vsplit([[1, 2], [3, 4]], 2)
    [Tensor([[1, 2]]), Tensor([[3, 4]])]
    """
    return split(_of_axes("vsplit", x, 2), sections, 0)


def hsplit(x: ArrayLike, sections: int | Sequence[int]) -> list[Tensor]:
    """Parts along the second axis, of a vector along its only one.

    Parameters
    ----------
    x : array_like
    sections : int or sequence of int
        The number of equal parts, or the places to cut at.

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.hsplit([1, 2, 3, 4], 2)
    [Tensor([1, 2]), Tensor([3, 4])]
    """
    tensor = _of_axes("hsplit", x, 1)
    return split(tensor, sections, 1 if tensor.ndim > 1 else 0)


def dsplit(x: ArrayLike, sections: int | Sequence[int]) -> list[Tensor]:
    """Parts along the third axis.

    Parameters
    ----------
    x : array_like
        Of three axes or more.
    sections : int or sequence of int
        The number of equal parts, or the places to cut at.

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> [part.shape for part in fg.dsplit(fg.ones(1, 2, 4), 2)]
    [(1, 2, 2), (1, 2, 2)]
    """
    return split(_of_axes("dsplit", x, 3), sections, 2)


def _of_axes(name: str, x: ArrayLike, least: int) -> Tensor:
    tensor = as_tensor(x)
    if tensor.ndim < least:
        raise ShapeError(
            f"{name} of an array of shape {show(tensor.shape)}",
            remedy=f"pass an array with at least {least} axes",
        )
    return tensor


def meshgrid(
    *arrays: ArrayLike, indexing: str = "xy", sparse: bool = False, copy: bool = True
) -> list[Tensor]:
    """The coordinates of a grid, from those along each axis.

    Parameters
    ----------
    *arrays : array_like
        Vectors; or one list or tuple of Tensors, as torch takes.
    indexing : str, optional
        ``"xy"``: the first vector runs along the second axis; ``"ij"``: along the first.
    sparse : bool, optional
        Whether each result has extent 1 along the axes of the others.
    copy : bool, optional
        Without effect: the results are values of their own.

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
        raise OptionError(f"indexing is 'xy' or 'ij', not {indexing!r}")
    if len(arrays) == 1 and isinstance(arrays[0], (list, tuple)):
        only = arrays[0]
        arrays = tuple(only) if any(isinstance(a, Tensor) for a in only) else arrays
    vectors = [as_tensor(a).reshape(-1) for a in arrays]
    count = len(vectors)
    order = list(range(count))
    if indexing == "xy" and count > 1:
        order[0], order[1] = 1, 0
    wide = [
        vector.reshape(*[-1 if axis == place else 1 for axis in range(count)])
        for vector, place in zip(vectors, order, strict=True)
    ]
    if sparse:
        return wide
    shape = broadcast_shapes("mesh", [vector.shape for vector in wide]) if wide else ()
    return [vector.broadcast_to(shape) for vector in wide]
