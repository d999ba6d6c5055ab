"""`vmap`: a function of one element as a function of a batch.

Knows tensors and containers; how each operation runs over a batch is told by its op.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from .. import pytree
from ..batching import batch
from ..codegen.dtypes import uint64
from ..errors import ArgumentStructureError, BatchingError
from ..functions.joining import concat
from ..ir.node import Node, set_recording, toposort
from ..ir.types import TensorType
from ..ops import build
from ..ops.batch import with_batch
from ..semantics.shapes import show
from ..tensors.context import Level, Token, mapped
from ..tensors.tensor_class import Tensor, as_tensor, made
from .variables import listed, result_of

__all__ = ["vmap"]

Function = Callable[..., Any]
Axes = Any
"""An axis, None, or a container of them that has the structure of the values or less."""

_ABSENT: Any = object()
_RANDOMNESS = ("error", "different", "same")


def vmap(
    function: Function,
    in_axes: Axes = 0,
    out_axes: Axes = 0,
    *,
    axis_size: int | None = None,
    randomness: str = "error",
    chunk_size: int | None = None,
    in_dims: Axes = _ABSENT,
    out_dims: Axes = _ABSENT,
) -> Function:
    """A function that applies another one to every element of a batch, in one go.

    The function is recorded once, for one element; every operation is then recorded for the whole
    batch. It composes with `grad`, `jvp`, `compile` and itself, in any order: ``vmap(grad(f))``
    gives a gradient for each sample.

    Parameters
    ----------
    function : callable
        Of arrays, or containers of them, to arrays, or containers of them. It sees elements: the
        arguments without the axis that is mapped over.
    in_axes : int, None, or containers of them, optional
        Which axis of the arguments is the batch. One for all positional arguments, or one for each;
        for an argument that is a container one for all its arrays, or a container. None: the
        function sees the argument as a whole. Keyword arguments are never mapped over.
    out_axes : int, None, or containers of them, optional
        Where the batch goes in the results; None for a result that is the same for all elements.
    axis_size : int, optional
        The size of the batch; needed only if nothing is mapped over.
    randomness : {"error", "different", "same"}, optional
        What random numbers drawn inside are: an error, numbers of its own for each element, or the
        same for all.
    chunk_size : int, optional
        At most so many elements at once, for less memory.
    in_dims, out_dims
        The same as `in_axes` and `out_axes`, as torch calls them.

    Returns
    -------
    callable

    Raises
    ------
    BatchingError
        If the arguments have no axis of equal extent to map over, or an operation has no rule.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x, w = fg.asarray([[1.0, 2.0], [3.0, 4.0]]), fg.asarray([1.0, 10.0])
    >>> fg.vmap(fg.vecdot, in_axes=(0, None))(x, w)
    Tensor([21., 43.])
    >>> fg.vmap(fg.grad(lambda v: (v**2).sum()))(x)
    Tensor([[2., 4.],
            [6., 8.]])
    """
    if randomness not in _RANDOMNESS:
        raise BatchingError(
            f"vmap: there is no randomness {randomness!r}",
            remedy='take "error", "different" or "same"',
        )
    if chunk_size is not None and chunk_size < 1:
        raise BatchingError(
            f"vmap: chunks of {chunk_size} elements", remedy="take a positive chunk_size"
        )
    into = in_axes if in_dims is _ABSENT else in_dims
    out = out_axes if out_dims is _ABSENT else out_dims
    plan = _Plan(function, into, out, axis_size, randomness)

    @functools.wraps(function)
    def over_batch(*args: Any, **kwargs: Any) -> Any:
        return plan.call(args, kwargs, chunk_size)

    return over_batch


# --- axes -----------------------------------------------------------------------------------------


def _is_axis(value: Any) -> bool:
    return value is None or (
        isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))
    )


def _each(axes: Axes, structure: pytree.Structure, what: str) -> list[int | None]:
    """The axis of every leaf: an axis stands for all leaves below it."""
    if _is_axis(axes):
        return [axes] * structure.leaves
    found = pytree.children(axes)
    if found is None:
        raise ArgumentStructureError(
            f"vmap: {what} holds {axes!r}", remedy="an axis is an int, or None"
        )
    below, metadata = found
    if isinstance(axes, dict) and isinstance(structure.metadata, tuple):
        keys = structure.metadata[0]
        if set(keys) == set(axes):
            below = tuple(axes[key] for key in keys)
            metadata = structure.metadata
    same = len(below) == len(structure.children) and metadata == structure.metadata
    if structure is pytree.LEAF or not same:
        raise ArgumentStructureError(
            f"vmap: {what} has the structure {pytree.flatten(axes)[1]}, the values {structure}",
            remedy="give one axis for all, or containers like those of the values",
        )
    pairs = zip(below, structure.children, strict=True)
    return [axis for part, child in pairs for axis in _each(part, child, what)]


def _axis_of(axis: int, ndim: int, name: str) -> int:
    if not -ndim <= axis < ndim:
        raise BatchingError(
            f"vmap over axis {axis} of {name}, which has {ndim} axes",
            remedy="choose the axis with in_axes and out_axes; None for what is not mapped",
        )
    return axis % ndim


def _to_front(x: Node, axis: int) -> Node:
    return build.transpose(x, (axis, *(a for a in range(len(x.shape)) if a != axis)))


def _from_front(x: Node, axis: int) -> Node:
    others = list(range(1, len(x.shape)))
    return build.transpose(x, (*others[:axis], 0, *others[axis:]))


# --- calls ----------------------------------------------------------------------------------------


@final
class _Plan:
    """What `vmap` was asked for."""

    def __init__(
        self, function: Function, into: Axes, out: Axes, size: int | None, randomness: str
    ) -> None:
        self.function = function
        self.into = into
        self.out = out
        self.size = size
        self.randomness = randomness

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], chunk: int | None) -> Any:
        args = tuple(listed(argument) for argument in args)
        leaves, structure = pytree.flatten(args)
        into = self.into
        if isinstance(into, (list, tuple)) and len(into) != len(args):
            raise ArgumentStructureError(
                f"vmap: in_axes has {len(into)} entries for {len(args)} positional arguments",
                remedy="give one axis for each, or one int for all",
            )
        given = _each(tuple(into) if isinstance(into, list) else into, structure, "in_axes")
        names = pytree.paths(structure, [str(number) for number in range(len(args))])
        axes: list[int | None] = []
        values: list[Any] = []
        for leaf, axis, name in zip(leaves, given, names, strict=True):
            if axis is None or isinstance(leaf, str) or callable(leaf):
                values.append(leaf)
                axes.append(None)
                continue
            tensor = as_tensor(leaf)
            values.append(tensor)
            axes.append(_axis_of(axis, tensor.ndim, f"argument {name}"))
        size = self._size(values, axes, names)
        with_size = _Batch(self, structure, kwargs, size)
        if chunk is None or chunk >= size:
            return with_size.run(values, axes, self.out)
        return self._chunks(values, axes, structure, kwargs, size, chunk)

    def _size(self, values: Sequence[Any], axes: Sequence[int | None], names: Sequence[str]) -> int:
        found: dict[str, int] = {
            name: value.shape[axis]
            for value, axis, name in zip(values, axes, names, strict=True)
            if axis is not None
        }
        if self.size is not None:
            found["axis_size"] = self.size
        if not found:
            raise BatchingError(
                "vmap: nothing is mapped over",
                remedy="give an argument an axis with in_axes, or the size with axis_size",
            )
        if len(set(found.values())) > 1:
            extents = ", ".join(f"{extent} of {name}" for name, extent in found.items())
            raise BatchingError(
                f"vmap over axes of different extents: {extents} (arguments by number)",
                remedy="map over axes of one extent; None in in_axes for what is not mapped",
            )
        return next(iter(found.values()))

    def _chunks(
        self,
        values: Sequence[Any],
        axes: Sequence[int | None],
        structure: pytree.Structure,
        kwargs: dict[str, Any],
        size: int,
        chunk: int,
    ) -> Any:
        parts: list[tuple[Any, ...]] = []
        shape = pytree.LEAF
        for start in range(0, size, chunk):
            stop = min(start + chunk, size)
            own = [
                value if axis is None else _part(value, axis, start, stop)
                for value, axis in zip(values, axes, strict=True)
            ]
            leaves, shape = pytree.flatten(
                _Batch(self, structure, kwargs, stop - start).run(own, axes, self.out)
            )
            parts.append(leaves)
        out = _each(self.out, shape, "out_axes")
        joined = [
            column[0] if axis is None else concat(column, axis=axis)
            for column, axis in zip(zip(*parts, strict=True), out, strict=True)
        ]
        return pytree.unflatten(shape, joined)


def _part(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return x[(*[slice(None)] * axis, slice(start, stop))]


@final
class _Batch:
    """One batch: the function recorded for one element of it, and the graph for all."""

    def __init__(
        self, plan: _Plan, structure: pytree.Structure, kwargs: dict[str, Any], size: int
    ) -> None:
        self.plan = plan
        self.structure = structure
        self.kwargs = kwargs
        position = build.input_(
            TensorType((), uint64), Token(label="the number of an element that vmap maps over")
        )
        self.level = Level(size, position, plan.randomness)
        # What stands for the batch of a variable.
        self.rows: dict[Node, Node] = {position: build.iota(size, uint64)}

    def run(self, values: Sequence[Any], axes: Sequence[int | None], out: Axes) -> Any:
        before = set_recording(True)
        try:
            try:
                with mapped(self.level):
                    result, nodes, structure = self._record(values, axes)
                if self.level.written:
                    self._check_written(result)
            except BaseException:
                self.level.restore()
                raise
            found = batch(nodes, self.rows)
            places = _each(out, structure, "out_axes")
            names = pytree.paths(structure)
            tensors = [
                self._result(node, own, axis, name)
                for (node, own), axis, name in zip(found, places, names, strict=True)
            ]
            return pytree.unflatten(structure, tensors)
        finally:
            set_recording(before)

    def _record(
        self, values: Sequence[Any], axes: Sequence[int | None]
    ) -> tuple[tuple[Any, ...], list[Node], pytree.Structure]:
        variables = [
            value if axis is None else self._variable(value, axis)
            for value, axis in zip(values, axes, strict=True)
        ]
        arguments = pytree.unflatten(self.structure, variables)
        result = self.plan.function(*arguments, **self.kwargs)
        leaves, structure = pytree.flatten(result)
        return leaves, [as_tensor(leaf)._read() for leaf in leaves], structure

    def _variable(self, value: Tensor, axis: int) -> Tensor:
        rows = _to_front(value._read(), axis)
        token = Token(label="an argument of a function that vmap maps over a batch")
        node = build.input_(TensorType(rows.shape[1:], rows.dtype), token)
        self.rows[node] = rows
        return made(node, value.requires_grad, value._weak)

    def _result(self, node: Node, own: bool, axis: int | None, name: str) -> Tensor:
        if axis is None:
            if own:
                raise BatchingError(
                    f"vmap: out_axes is None for the result{name and ' '}{name}, which differs "
                    "between the elements",
                    remedy="give it an axis",
                )
            return result_of(node)
        rows = node if own else with_batch(node, self.level.size)
        place = _axis_of(axis, len(rows.shape), f"the result{name and ' '}{name}")
        return result_of(_from_front(rows, place))

    def _check_written(self, result: Sequence[Any]) -> None:
        """Tensors from outside must not take over what differs between the elements."""
        own = {id(value) for value in result}
        for reference, _ in self.level.written:
            tensor = reference()
            if tensor is None or id(tensor) in own:
                continue
            grad = tensor._grad
            nodes = [cell._node for cell in (tensor, grad) if cell is not None and cell._node]
            if not self.rows.keys().isdisjoint(toposort(nodes)):
                if isinstance(tensor, Tensor) and tensor in self.level.counters:
                    ((counts, _),) = batch(nodes, self.rows)
                    tensor._write(build.max_(counts, (0,)))
                    continue
                name = tensor.name or f"a tensor of shape {show(tensor._type.shape)}"
                raise BatchingError(
                    f"{name} from outside of a function that vmap maps is given values that "
                    "differ between the elements",
                    remedy="return the values, and assign what vmap returns",
                )
