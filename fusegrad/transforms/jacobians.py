"""All derivatives of a function at once: `jacobian`, `jacrev`, `jacfwd`, `hessian`, and products.

Knows both passes and batches: a Jacobian is one row, or column, for every element of a basis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, final

from .. import pytree
from ..autodiff.forward import jvp as tangents_of
from ..batching import batch
from ..codegen.dtypes import DType
from ..errors import GradientError
from ..functions.creation import zeros_like
from ..ir.node import Node, set_recording
from ..ops import build
from ..ops.batch import with_batch
from ..tensors.context import transforming
from ..tensors.leaves import gradients
from ..tensors.tensor_class import as_tensor
from .forward_mode import jvp
from .gradients import position, value_and_grad, vjp
from .variables import Variables, argument_names, listed, result_of

__all__ = ["hessian", "hvp", "jacfwd", "jacobian", "jacrev", "vhp"]

Function = Callable[..., Any]
Argnums = int | Sequence[int]


def jacrev(
    function: Function, argnums: Argnums = 0, has_aux: bool = False, chunk_size: int | None = None
) -> Function:
    """The Jacobian of a function, row by row in reverse mode.

    Parameters
    ----------
    function : callable
        Of arrays, or containers of them, to arrays, or containers of them. It is called once.
    argnums : int or sequence of int, optional
        By which arguments to differentiate.
    has_aux : bool, optional
        Whether the function returns a pair, of whose second part no derivative is taken.
    chunk_size : int, optional
        At most so many rows at once, for less memory.

    Returns
    -------
    callable
        Of the same arguments. For every array of the result a Jacobian by every array of the
        argument: the axes of the result, then those of the argument. The containers of the result
        hold those of the argument, with several `argnums` in a tuple. With `has_aux` a pair of the
        Jacobian and the second part of what the function returned.

    See Also
    --------
    jacfwd : The same, column by column: faster where the result has more elements.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.jacrev(lambda x: fg.stack([x[0] * x[1], x[1] ** 2]))([2.0, 3.0])
    Tensor([[3., 2.],
            [0., 6.]])
    """

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        call = _Call("jacrev", function, argnums, has_aux, args, kwargs)
        return call.finish(call.rows(chunk_size))

    return differentiated


def jacfwd(
    function: Function, argnums: Argnums = 0, has_aux: bool = False, chunk_size: int | None = None
) -> Function:
    """The Jacobian of a function, column by column in forward mode.

    Parameters
    ----------
    function : callable
        Of arrays, or containers of them, to arrays, or containers of them. It is called once.
    argnums : int or sequence of int, optional
        By which arguments to differentiate.
    has_aux : bool, optional
        Whether the function returns a pair, of whose second part no derivative is taken.
    chunk_size : int, optional
        At most so many columns at once, for less memory.

    Returns
    -------
    callable
        As that of `jacrev`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.jacfwd(lambda x: fg.stack([x, x**2, x**3]))(2.0)
    Tensor([ 1.,  4., 12.])
    """

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        call = _Call("jacfwd", function, argnums, has_aux, args, kwargs)
        return call.finish(call.columns(chunk_size))

    return differentiated


def jacobian(
    function: Function, argnums: Argnums = 0, has_aux: bool = False, chunk_size: int | None = None
) -> Function:
    """The Jacobian of a function: `jacrev`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.jacobian(lambda x: 3 * x)([1.0, 2.0])
    Tensor([[3., 0.],
            [0., 3.]])
    """
    return jacrev(function, argnums, has_aux, chunk_size)


def hessian(
    function: Function, argnums: Argnums = 0, has_aux: bool = False, chunk_size: int | None = None
) -> Function:
    """The second derivatives of a function: forward mode over reverse mode.

    Parameters
    ----------
    function : callable
        Of arrays, or containers of them; usually to a scalar.
    argnums, has_aux, chunk_size
        As for `jacrev`.

    Returns
    -------
    callable
        Of the same arguments: the Jacobian of the Jacobian.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.hessian(lambda x: x[0] ** 2 * x[1])([2.0, 3.0])
    Tensor([[6., 4.],
            [4., 0.]])
    """
    rows = jacrev(function, argnums, has_aux, chunk_size)
    return jacfwd(rows, argnums, has_aux, chunk_size)


# --- products -------------------------------------------------------------------------------------


def hvp(function: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of a scalar function, and the product of its Hessian with a vector.

    No Hessian is made: it is the derivative of the gradient along the vector.

    Parameters
    ----------
    function : callable
        Its result is a tensor with one element.
    primals : tuple of array_like, or containers of them
        The arguments.
    tangents : tuple
        The vector, in the structure of the arguments.

    Returns
    -------
    value : Tensor
    product : tuple
        In the structure of the arguments.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.hvp(lambda x: (x**3).sum(), ([1.0, 2.0],), ([1.0, 10.0],))
    (Tensor(9.), (Tensor([  6., 120.]),))
    """
    both = value_and_grad(function, argnums=tuple(range(len(primals))))
    (value, _), (_, product) = jvp(both, tuple(primals), tuple(tangents))
    return value, product


def vhp(function: Function, primals: Sequence[Any], vector: Sequence[Any]) -> tuple[Any, Any]:
    """The value of a scalar function, and the product of a vector with its Hessian.

    As `hvp`, in reverse mode over reverse mode.

    Parameters
    ----------
    function : callable
        Its result is a tensor with one element.
    primals : tuple of array_like, or containers of them
        The arguments.
    vector : tuple
        In the structure of the arguments.

    Returns
    -------
    value : Tensor
    product : tuple
        In the structure of the arguments.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.vhp(lambda x: (x**3).sum(), ([1.0, 2.0],), ([1.0, 10.0],))
    (Tensor(9.), (Tensor([  6., 120.]),))
    """
    both = value_and_grad(function, argnums=tuple(range(len(primals))))
    (value, _), pullback = vjp(both, *primals)
    return value, pullback((zeros_like(value), tuple(map(listed, vector))))


# --- a call ---------------------------------------------------------------------------------------


@final
class _Call:
    """A call of a function on variables, of which every derivative is wanted."""

    def __init__(
        self,
        what: str,
        function: Function,
        argnums: Argnums,
        has_aux: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.single = isinstance(argnums, int)
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        places = [position(what, number, len(args)) for number in numbers]
        chosen = tuple(listed(args[number]) for number in places)
        leaves, self.structure = pytree.flatten(chosen)
        self.variables = Variables(what, argument_names(chosen, places), leaves)
        new = list(args)
        parts = pytree.unflatten(self.structure, self.variables.tensors)
        for number, value in zip(places, parts, strict=True):
            new[number] = value
        with transforming():
            result = function(*new, **kwargs)
        self.has_aux = has_aux
        self.aux: Any = None
        if has_aux:
            result, self.aux = self.variables.split_aux(what, result)
        outputs, self.shape = pytree.flatten(result)
        self.outputs = [as_tensor(output)._read() for output in outputs]
        for node in self.outputs:
            if not node.dtype.is_float:
                raise GradientError(
                    f"{what} of a function that returned a tensor of {node.dtype}",
                    remedy="return floating values; other results as the second part of a pair, "
                    "with has_aux",
                )

    def rows(self, chunk: int | None) -> list[list[Node]]:
        """For each output the Jacobian by each variable, in reverse mode."""
        marks = self.variables.marks
        found = []
        for output in self.outputs:
            seed = build.input_(output.tensor_type)
            given = gradients([output], [seed], marks)
            filled = [
                build.zeros_like(mark) if node is None else node
                for node, mark in zip(given, marks, strict=True)
            ]
            wide = _over_basis(filled, seed, chunk)
            found.append(
                [
                    build.reshape(node, (*output.shape, *mark.shape))
                    for node, mark in zip(wide, marks, strict=True)
                ]
            )
        return found

    def columns(self, chunk: int | None) -> list[list[Node]]:
        """For each output the Jacobian by each variable, in forward mode."""
        by_variable = []
        for mark in self.variables.marks:
            seed = build.input_(mark.tensor_type)
            given = tangents_of(self.outputs, [mark], [seed])
            filled = [
                build.zeros_like(output) if node is None else node
                for node, output in zip(given, self.outputs, strict=True)
            ]
            wide = _over_basis(filled, seed, chunk)
            by_variable.append(
                [
                    build.reshape(_first_to_last(node), (*output.shape, *mark.shape))
                    for node, output in zip(wide, self.outputs, strict=True)
                ]
            )
        return [list(nodes) for nodes in zip(*by_variable, strict=True)]

    def finish(self, found: list[list[Node]]) -> Any:
        """The Jacobians as tensors, in the containers of results and arguments."""
        before = set_recording(True)
        try:
            parts = []
            for nodes in found:
                tensors = [result_of(node) for node in self.variables.unmarked(nodes)]
                by_argument = pytree.unflatten(self.structure, tensors)
                parts.append(by_argument[0] if self.single else by_argument)
        finally:
            set_recording(before)
        result = pytree.unflatten(self.shape, parts)
        return (result, self.aux) if self.has_aux else result


def _over_basis(nodes: Sequence[Node], seed: Node, chunk: int | None) -> list[Node]:
    """`nodes` for every vector of the standard basis in place of `seed`, along a new axis 0."""
    size = _size(seed)
    step = size if chunk is None else chunk
    if step < 1 and size:
        raise GradientError(f"a Jacobian in chunks of {chunk}", remedy="take a positive chunk_size")
    parts: list[list[Node]] = []
    for start in range(0, max(size, 1), max(step, 1)):
        stop = min(start + step, size)
        rows = _basis(start, stop, seed.shape, size, seed.dtype)
        parts.append(
            [
                node if own else with_batch(node, stop - start)
                for node, own in batch(nodes, {seed: rows})
            ]
        )
    return [build.concat(column, 0) for column in zip(*parts, strict=True)]


def _size(node: Node) -> int:
    size = node.tensor_type.size
    assert size is not None
    return size


def _basis(start: int, stop: int, shape: Sequence[Any], size: int, dtype: DType) -> Node:
    """Rows `start` up to `stop` of the identity, each in the given shape."""
    count = build.iota(stop - start)
    rows = build.broadcast(count, (stop - start, size), (0,))
    if start:
        rows = build.add(rows, build.full_like(rows, start))
    columns = build.broadcast(build.iota(size), (stop - start, size), (1,))
    ones = build.cast(build.eq(rows, columns), dtype)
    return build.reshape(ones, (stop - start, *shape))


def _first_to_last(x: Node) -> Node:
    return build.transpose(x, (*range(1, len(x.shape)), 0))
