"""Derivatives of functions by forward mode: `jvp`, `linearize`.

Knows tensors and the tangent pass; arguments become variables of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from .. import pytree
from ..autodiff.forward import jvp as tangents_of
from ..errors import ArgumentStructureError, GradientError
from ..ir.node import Node, set_recording, substitute
from ..ops import build
from ..semantics.shapes import show
from ..tensors.context import transforming
from ..tensors.tensor_class import Tensor, as_tensor
from .variables import Variables, argument_names, listed, result_of

__all__ = ["jvp", "linearize"]

Function = Callable[..., Any]


def jvp(
    function: Function, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of a function, and how it changes when its arguments do.

    Parameters
    ----------
    function : callable
        Of tensors, or containers of them, to tensors, or containers of them.
    primals : tuple of array_like, or containers of them
        The arguments.
    tangents : tuple
        The direction: for each argument an array of its shape, in the same containers. None for
        what does not change; arguments that are no floats have no other tangent.
    has_aux : bool, optional
        Whether the function returns a pair, of whose second part no derivative is taken.

    Returns
    -------
    value
        What the function returned.
    tangent
        The derivative along the direction, in the structure of the value: zeros for results that
        are no floats.
    aux
        With `has_aux`, the second part of what the function returned.

    Raises
    ------
    NotDifferentiableError
        If an operation on the way has no derivative, or a ``custom_vjp`` without a forward rule is
        not linear in the cotangent.

    See Also
    --------
    vjp : The derivative in reverse: cheaper for functions with fewer results than arguments.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.jvp(lambda x, y: x * y, (3.0, 4.0), (1.0, 0.0))
    (Tensor(12.), Tensor(4.))
    """
    call = _Linear("jvp", function, primals, has_aux)
    directions = [
        build.zeros_like(mark) if given is None else given
        for given, mark in zip(call.directions(tangents), call.variables.marks, strict=True)
    ]
    before = set_recording(True)
    try:
        pair = call.value(), call.pushed(directions)
    finally:
        set_recording(before)
    return (*pair, call.aux) if has_aux else pair


def linearize(function: Function, *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of a function, and its derivative there as a linear function.

    Parameters
    ----------
    function : callable
        Of tensors, or containers of them, to tensors, or containers of them. It is called once.
    *primals : array_like, or containers of them
        The arguments.
    has_aux : bool, optional
        Whether the function returns a pair, of whose second part no derivative is taken.

    Returns
    -------
    value
        What the function returned.
    pushforward : callable
        Takes a direction, a tangent for each argument as in `jvp`, to the tangent of the value.
    aux
        With `has_aux`, the second part of what the function returned.

    Examples
    --------
    >>> import fusegrad as fg
    >>> value, pushforward = fg.linearize(lambda x: x * x, fg.asarray([1.0, 2.0]))
    >>> pushforward(fg.asarray([1.0, 10.0]))
    Tensor([ 2., 40.])
    """
    call = _Linear("linearize", function, primals, has_aux)
    marks = call.variables.marks
    stand_ins = [build.input_(mark.tensor_type) for mark in marks]
    pushed = call.pushed_nodes(stand_ins)

    def pushforward(*tangents: Any) -> Any:
        directions = [
            build.zeros_like(mark) if given is None else given
            for given, mark in zip(call.directions(tangents), marks, strict=True)
        ]
        nodes = substitute(pushed, dict(zip(stand_ins, directions, strict=True)))
        return pytree.unflatten(call.shape, [result_of(node) for node in nodes])

    value = call.value()
    return (value, pushforward, call.aux) if has_aux else (value, pushforward)


@final
class _Linear:
    """A call of a function on variables, to be differentiated along directions."""

    def __init__(self, what: str, function: Function, primals: Any, has_aux: bool) -> None:
        if not isinstance(primals, (tuple, list)):
            raise ArgumentStructureError(
                f"{what}: the arguments are a {type(primals).__name__}",
                remedy="pass them as a tuple, one entry for each argument: (x,)",
            )
        self.what = what
        arguments = tuple(listed(primal) for primal in primals)
        leaves, self.structure = pytree.flatten(arguments)
        self.names = argument_names(arguments, range(len(arguments)))
        self.variables = Variables(what, self.names, leaves, integers=True)
        self.aux: Any = None
        with transforming():
            result = function(*pytree.unflatten(self.structure, self.variables.tensors))
        if has_aux:
            result, self.aux = self.variables.split_aux(what, result)
        outputs, self.shape = pytree.flatten(result)
        self.nodes = [as_tensor(output)._read() for output in outputs]

    def value(self) -> Any:
        plain = self.variables.unmarked(self.nodes)
        return pytree.unflatten(self.shape, [result_of(node) for node in plain])

    def directions(self, tangents: Any) -> list[Node | None]:
        """The tangent of every variable, checked; None where there is none."""
        found: list[Node | None] = []
        given = _along(tangents, self.structure, self.what)
        pairs = zip(given, self.variables.marks, self.names, strict=True)
        for value, mark, name in pairs:
            if value is None or getattr(getattr(value, "dtype", None), "names", None):
                found.append(None)
                continue
            tangent = as_tensor(value)
            if not mark.dtype.is_float:
                raise GradientError(
                    f"{self.what} along argument {name}, which has dtype {mark.dtype}: only "
                    "floats change",
                    remedy="pass None as its tangent",
                )
            if tangent.shape != mark.shape:
                raise GradientError(
                    f"{self.what}: the tangent of argument {name} has shape "
                    f"{show(tangent.shape)}, the argument {show(mark.shape)}",
                    remedy="a tangent has the shape of its argument",
                )
            found.append(build.cast(tangent._read(), mark.dtype))
        return found

    def pushed_nodes(self, directions: Sequence[Node]) -> list[Node]:
        """The tangents of the results, of the arguments as they are."""
        pairs = [
            (mark, direction)
            for mark, direction in zip(self.variables.marks, directions, strict=True)
            if mark.dtype.is_float
        ]
        found = tangents_of(self.nodes, [mark for mark, _ in pairs], [d for _, d in pairs])
        filled = [
            build.zeros_like(node) if tangent is None else tangent
            for tangent, node in zip(found, self.nodes, strict=True)
        ]
        return self.variables.unmarked(filled)

    def pushed(self, directions: Sequence[Node]) -> Any:
        tangents: list[Tensor] = [result_of(node) for node in self.pushed_nodes(directions)]
        return pytree.unflatten(self.shape, tangents)


def _along(tangents: Any, structure: pytree.Structure, what: str) -> list[Any]:
    """The tangent of each leaf of a structure; None stands for all leaves below it."""
    if tangents is None:
        return [None] * structure.leaves
    if structure is pytree.LEAF:
        return [listed(tangents)]
    found = pytree.children(tangents)
    same = found is not None and len(found[0]) == len(structure.children)
    if found is None or not same or found[1] != structure.metadata:
        raise ArgumentStructureError(
            f"{what}: the tangents have the structure {pytree.flatten(tangents)[1]}, "
            f"the arguments {structure}",
            remedy="pass one tangent for each argument, in the same containers; None for zero",
        )
    pairs = zip(found[0], structure.children, strict=True)
    return [value for part, child in pairs for value in _along(part, child, what)]
