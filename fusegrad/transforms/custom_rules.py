"""Functions with a derivative of their own: `custom_vjp`, `custom_jvp`, `checkpoint`.

Knows tensors and containers; the closed graph of a call and its rules are an op.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

from .. import pytree
from ..autodiff.custom import (
    Rule,
    custom_call,
    forward_by_inlining,
    reverse_by_inlining,
    transposed,
)
from ..errors import ArgumentStructureError, ArgumentTypeError, GradientError
from ..ir.node import Node, set_recording
from ..ops import build
from ..semantics.shapes import show
from ..tensors.context import transforming
from ..tensors.tensor_class import as_tensor
from .recorded import Recorded
from .variables import result_of

__all__ = ["CustomFunction", "CustomTangent", "checkpoint", "custom_jvp", "custom_vjp"]

Function = Callable[..., Any]
Nodes = Sequence[Node | None]


def _split(args: tuple[Any, ...], numbers: Sequence[int]) -> tuple[list[Any], list[int]]:
    """The arguments that are passed on as they are, and the places of the others."""
    fixed = {number % len(args) for number in numbers if args}
    return [args[i] for i in sorted(fixed)], [i for i in range(len(args)) if i not in fixed]


def _filled(
    function: Function, args: tuple[Any, ...], places: Sequence[int], kwargs: dict[str, Any]
) -> Function:
    """The function of the arguments at `places`, the others being fixed."""

    def partial(*values: Any) -> Any:
        new = list(args)
        for place, value in zip(places, values, strict=True):
            new[place] = value
        return function(*new, **kwargs)

    return partial


# --- custom_vjp -----------------------------------------------------------------------------------


@final
class CustomFunction:
    """A function whose gradient is given by a rule; made by `custom_vjp`."""

    def __init__(self, function: Function, nondiff_argnums: Sequence[int] = ()) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._fixed = tuple(nondiff_argnums)
        self._forward: Function | None = None
        self._backward: Function | None = None
        self._inside = contextvars.ContextVar("inside", default=False)

    def defvjp(self, forward: Function, backward: Function) -> None:
        """Give the rule.

        Parameters
        ----------
        forward : callable
            Of the same arguments, to ``(result, residuals)``: what the function returns, and
            tensors that the rule needs, in any containers. It may call the function itself.
        backward : callable
            ``backward(residuals, cotangent)`` gives a tuple with the gradient by each positional
            argument, None where there is none. The cotangent has the structure of the result.
            The arguments of `nondiff_argnums` come before, and get no gradient.
        """
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward is None or self._backward is None:
            raise GradientError(
                "a custom_vjp function has no rule yet", remedy="call f.defvjp(forward, backward)"
            )
        if self._inside.get():  # The forward function asks for the value: no rule in a rule.
            return self._function(*args, **kwargs)
        fixed, places = _split(args, self._fixed)
        backward = functools.partial(self._backward, *fixed)
        call = _ReverseCall(backward, tuple(args[place] for place in places))
        before = self._inside.set(True)
        try:
            return call.run(_filled(self._forward, args, places, kwargs))
        finally:
            self._inside.reset(before)


@final
class _ReverseCall:
    """One call: the graph of the forward function over variables of its own."""

    def __init__(self, backward: Function, args: tuple[Any, ...]) -> None:
        self._backward = backward
        self._recorded = Recorded(args)
        self._results: pytree.Structure = pytree.LEAF
        self._residuals: pytree.Structure = pytree.LEAF
        self._count = 0

    def run(self, forward: Function) -> Any:
        """Record the call; the result, as the function returned it."""
        before = set_recording(True)
        try:
            pair = self._recorded.run(forward, differentiable=False)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise ArgumentStructureError(
                    f"the forward function of a custom_vjp returned a {type(pair).__name__}",
                    remedy="return (result, residuals)",
                )
            results, self._results = pytree.flatten(pair[0])
            residuals, self._residuals = pytree.flatten(pair[1])
            self._count = len(results)
            self._recorded.close((*results, *residuals))
            outputs = self._recorded.call(
                self._count, self._rule, None, "custom_vjp", captured=False
            )
        finally:
            set_recording(before)
        return pytree.unflatten(self._results, outputs)

    def _rule(self, inputs: Sequence[Node], results: Sequence[Node], given: Nodes) -> Nodes:
        count = self._count
        with transforming(abstract=True):
            residuals = pytree.unflatten(self._residuals, [result_of(n) for n in results[count:]])
            filled = [
                result_of(build.zeros_like(node) if cotangent is None else cotangent)
                for node, cotangent in zip(results[:count], given, strict=True)
            ]
            answer = self._backward(residuals, pytree.unflatten(self._results, filled))
            gradients = list(answer) if isinstance(answer, (tuple, list)) else [answer]
            found = self._recorded.by_place("custom_vjp", self._by_leaf(gradients))
        return [*found, *[None] * (len(inputs) - len(found))]

    def _by_leaf(self, given: Sequence[Any]) -> list[Any]:
        """The gradient of each leaf, from those of the positional arguments."""
        arguments = self._recorded.structure.children
        if len(given) != len(arguments):
            raise GradientError(
                f"the rule of a custom_vjp gave {len(given)} gradients for "
                f"{len(arguments)} arguments",
                remedy="return one gradient for each positional argument, None where there is none",
            )
        leaves: list[Any] = []
        for value, structure in zip(given, arguments, strict=True):
            if structure is pytree.LEAF or value is None:
                leaves += [value] * structure.leaves
            else:
                leaves += pytree.flatten(value)[0]
        return leaves


def custom_vjp(function: Function | None = None, *, nondiff_argnums: Sequence[int] = ()) -> Any:
    """A function whose gradient you give, with ``defvjp``.

    Parameters
    ----------
    function : callable
        Of tensors, and other arguments, to tensors. Of what it takes from outside no gradient is
        taken.
    nondiff_argnums : sequence of int, optional
        Arguments that are passed to the rule as they are.

    Returns
    -------
    CustomFunction

    See Also
    --------
    custom_jvp : The rule in forward mode, from which the one in reverse mode follows.

    Examples
    --------
    >>> import fusegrad as fg
    >>> @fg.custom_vjp
    ... def clipped(x):
    ...     return fg.clip(x, -1.0, 1.0)
    >>> clipped.defvjp(lambda x: (fg.clip(x, -1.0, 1.0), None), lambda _, g: (g,))
    >>> fg.grad(lambda x: clipped(x).sum())([-3.0, 0.5])
    Tensor([1., 1.])
    """
    if function is None:
        return functools.partial(CustomFunction, nondiff_argnums=nondiff_argnums)
    return CustomFunction(function, nondiff_argnums)


# --- custom_jvp -----------------------------------------------------------------------------------


@final
class CustomTangent:
    """A function whose tangent is given by a rule; made by `custom_jvp`."""

    def __init__(self, function: Function, nondiff_argnums: Sequence[int] = ()) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._fixed = tuple(nondiff_argnums)
        self._rule: Function | None = None

    def defjvp(self, rule: Function) -> Function:
        """Give the rule. Also a decorator.

        Parameters
        ----------
        rule : callable
            ``rule(primals, tangents)`` gives the value and its tangent. Both arguments are tuples
            with an entry for each positional argument; the tangents are zeros where nothing
            changes, and None for arguments that are no floats. The rule must be linear in the
            tangents. The arguments of `nondiff_argnums` come before.
        """
        self._rule = rule
        return rule

    def defjvps(self, *rules: Function | None) -> None:
        """Give the rule in parts, one for each argument.

        Parameters
        ----------
        *rules : callable or None
            ``rule(tangent, value, *primals)`` gives what the tangent of this argument contributes
            to that of the value. None: nothing.
        """

        def rule(primals: Any, tangents: Any) -> Any:
            value = self._function(*primals)
            parts = [
                part(tangent, value, *primals)
                for part, tangent in zip(rules, tangents, strict=True)
                if part is not None and tangent is not None
            ]
            total = parts[0] if parts else 0 * value
            for part in parts[1:]:
                total = total + part
            return value, total

        self._rule = rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._rule is None:
            raise GradientError(
                "a custom_jvp function has no rule yet", remedy="call f.defjvp(rule)"
            )
        fixed, places = _split(args, self._fixed)
        call = _ForwardCall(
            functools.partial(self._rule, *fixed), tuple(args[place] for place in places)
        )
        return call.run(_filled(self._function, args, places, kwargs))


@final
class _ForwardCall:
    """One call of a function with a rule for tangents."""

    def __init__(self, rule: Function, args: tuple[Any, ...]) -> None:
        self._user_rule = rule
        self._recorded = Recorded(args)
        self._results: pytree.Structure = pytree.LEAF

    def run(self, function: Function) -> Any:
        """Record the call; the result, as the function returned it."""
        before = set_recording(True)
        try:
            result = self._recorded.run(function, differentiable=False)
            leaves, self._results = pytree.flatten(result)
            self._recorded.close(leaves)
            outputs = self._recorded.call(
                len(leaves), transposed(self._rule), self._rule, "custom_jvp", captured=False
            )
        finally:
            set_recording(before)
        return pytree.unflatten(self._results, outputs)

    def _rule(self, inputs: Sequence[Node], results: Sequence[Node], given: Nodes) -> Nodes:
        recorded = self._recorded
        primals = list(recorded.leaves)
        # Numbers of Python do not change.
        tangents: list[Any] = [0.0 if isinstance(leaf, float) else None for leaf in primals]
        with transforming(abstract=True):
            pairs = zip(recorded.places, inputs, given, strict=False)
            for place, node, tangent in pairs:
                primals[place] = result_of(node)
                if node.dtype.is_float:
                    own = build.zeros_like(node) if tangent is None else tangent
                    tangents[place] = result_of(own)
            shape = recorded.structure
            pair = self._user_rule(
                pytree.unflatten(shape, primals), pytree.unflatten(shape, tangents)
            )
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ArgumentStructureError(
                    f"the rule of a custom_jvp returned a {type(pair).__name__}",
                    remedy="return (value, tangent)",
                )
            return self._tangents(results, pair[1])

    def _tangents(self, results: Sequence[Node], given: Any) -> Nodes:
        leaves, structure = pytree.flatten(given)
        if structure != self._results:
            raise ArgumentStructureError(
                f"the rule of a custom_jvp gave a tangent with the structure {structure} for a "
                f"value with {self._results}",
                remedy="the tangent has the containers of the value",
            )
        found: list[Node | None] = []
        for value, node in zip(leaves, results, strict=True):
            if not node.dtype.is_float:
                found.append(None)
                continue
            tangent = as_tensor(value)
            if tangent.shape != node.shape:
                raise GradientError(
                    f"the rule of a custom_jvp gave a tangent of shape {show(tangent.shape)} for "
                    f"a value of shape {show(node.shape)}",
                    remedy="a tangent has the shape of its value",
                )
            found.append(build.cast(tangent._read(), node.dtype))
        return found


def custom_jvp(function: Function | None = None, *, nondiff_argnums: Sequence[int] = ()) -> Any:
    """A function whose derivative you give as a rule for tangents, with ``defjvp``.

    Reverse mode uses the transpose of the rule.

    Parameters
    ----------
    function : callable
        Of tensors, and other arguments, to tensors. Of what it takes from outside no derivative is
        taken.
    nondiff_argnums : sequence of int, optional
        Arguments that are passed to the rule as they are.

    Returns
    -------
    CustomTangent

    Examples
    --------
    >>> import fusegrad as fg
    >>> @fg.custom_jvp
    ... def softplus(x):
    ...     return fg.log1p(fg.exp(x))
    >>> @softplus.defjvp
    ... def rule(primals, tangents):
    ...     return softplus(*primals), tangents[0] * fg.sigmoid(primals[0])
    >>> fg.grad(softplus)(0.0), fg.jvp(softplus, (100.0,), (1.0,))[1]
    (Tensor(0.5), Tensor(1.))
    """
    if function is None:
        return functools.partial(CustomTangent, nondiff_argnums=nondiff_argnums)
    return CustomTangent(function, nondiff_argnums)


# --- checkpoint -----------------------------------------------------------------------------------


def checkpoint(function: Function) -> Function:
    """The same function, whose inner values are computed again for the gradient, not kept.

    A program that takes the gradient of a long chain keeps all values in between from the way
    there to the way back. With this around parts of the chain it keeps only what goes into the
    parts, for a second computation of each. The values are the same to the bit. What is to be
    computed again must depend on the arguments.

    Parameters
    ----------
    function : callable
        Of tensors, and other arguments, to tensors, or containers of them. Gradients flow to what
        it takes from outside, too.

    Returns
    -------
    callable

    Examples
    --------
    >>> import fusegrad as fg
    >>> block = fg.checkpoint(lambda x: fg.sin(fg.exp(x)))
    >>> fg.grad(lambda x: block(block(x)).sum())([0.0])
    Tensor([-0.8534177])
    """

    if not callable(function):
        raise ArgumentTypeError(f"checkpoint takes a function, not {function!r}")

    @functools.wraps(function)
    def recomputing(*args: Any, **kwargs: Any) -> Any:
        recorded = Recorded(args)
        before = set_recording(True)
        try:
            result = recorded.run(functools.partial(function, **kwargs), differentiable=True)
            leaves, structure = pytree.flatten(result)
            closed = recorded.close(leaves)
            forward = forward_by_inlining(closed.parameters, closed.results)
            outputs = recorded.call(
                len(leaves),
                _again(closed.parameters, closed.results),
                forward,
                "checkpoint",
                captured=True,
            )
        finally:
            set_recording(before)
        return pytree.unflatten(structure, outputs)

    return recomputing


def _again(parameters: Sequence[Node], results: Sequence[Node]) -> Rule:
    """The gradient of a closed graph, from its operands alone."""

    natural = reverse_by_inlining(parameters, results)

    def reverse(inputs: Sequence[Node], items: Sequence[Node], cotangents: Nodes) -> Nodes:
        given = [g for g in cotangents if g is not None]
        # Nothing is computed again before the way back has come here.
        held = [build.barrier(node, build.first(given[0])) for node in inputs]
        own = [build.input_(node.tensor_type) for node in (*held, *given)]
        seeds = iter(own[len(held) :])
        each = [None if g is None else next(seeds) for g in cotangents]
        found = natural(own[: len(held)], items, each)
        known = [g for g in found if g is not None]
        # A checkpoint in its turn, so that a gradient of the gradient keeps no more.
        forward = forward_by_inlining(own, known)
        again = custom_call(
            own, known, _again(own, known), (*held, *given), forward=forward, label="checkpoint"
        )
        wanted = iter(again)
        return [None if g is None else next(wanted) for g in found]

    return reverse
