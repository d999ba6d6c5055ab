"""`Function`: an operation with a gradient of its own, as a class with `forward` and `backward`.

Knows tensors and containers; the closed graph of a call and its rules are an op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from .. import pytree
from ..autodiff.custom import Rule
from ..errors import ArgumentStructureError, GradientError, NotDifferentiableError
from ..ir.node import Node, set_recording
from ..ops import build
from ..tensors.context import transforming
from ..tensors.tensor_class import Tensor, as_tensor
from .recorded import Recorded
from .variables import result_of

__all__ = ["Function", "FunctionContext"]

Nodes = Sequence[Node | None]


class FunctionContext:
    """What the `forward` of a `Function` leaves for its `backward`.

    Attributes of any name may be set; tensors among them are kept like saved ones.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument whether it is a tensor that requires a gradient.
    """

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Any, ...] = ()
        self._constants: set[int] = set()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors, arguments or results or any others, for `saved_tensors`."""
        self._saved = tensors

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept."""
        return self._saved

    def mark_non_differentiable(self, *results: Tensor) -> None:
        """Say which results have no gradient."""
        self._constants.update(map(id, results))

    def set_materialize_grads(self, value: bool) -> None:
        """Whether results that nobody uses have cotangents of zeros in `backward`, or None."""
        self._materialize = value


class Function:
    """An operation with a gradient of its own: a class with static methods, used by ``apply``.

    ``forward(ctx, *args)`` computes the result, and keeps with ``ctx.save_for_backward`` what
    ``backward(ctx, *cotangents)`` needs, which gives a gradient for each argument, None where there
    is none. Instead, ``forward(*args)`` may know nothing of the context, which
    ``setup_context(ctx, inputs, output)`` then fills. ``jvp(ctx, *tangents)`` gives the tangents of
    the results; without it forward mode follows from `backward`.

    Gradients of gradients, `vmap` and compiled functions go through it.

    Examples
    --------
    >>> import fusegrad as fg
    >>> class Exponential(fg.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = fg.exp(x)
    ...         ctx.save_for_backward(y)
    ...         return y
    ...
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (y,) = ctx.saved_tensors
    ...         return g * y
    >>> fg.grad(Exponential.apply)(0.0)
    Tensor(1.)
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result; first the context, then the arguments."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """The gradient by each argument, from those of the results."""
        raise NotDifferentiableError(
            "a Function without backward is differentiated",
            remedy="give it a static method backward(ctx, *cotangents)",
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what `backward` needs, for a `forward` without context."""
        raise NotImplementedError

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """The tangent of each result, from those of the arguments."""
        raise NotImplementedError

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Compute the result for tensors, and whatever else `forward` takes.

        Parameters
        ----------
        *args, **kwargs
            What `forward` takes after the context. Gradients are for positional arguments that are
            tensors.

        Returns
        -------
        Tensor or tuple of Tensor
        """
        return _Call(cls, args, kwargs).run()


@final
class _Call:
    """One application of a Function."""

    def __init__(self, cls: type[Function], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.cls = cls
        self.kwargs = kwargs
        self.name = cls.__name__
        self.count = len(args)
        # Each argument is a leaf: containers among them are passed on as they are.
        self.arrays = [i for i, value in enumerate(args) if isinstance(value, Tensor)]
        self.args = args
        self.recorded = Recorded(tuple(args[i] for i in self.arrays))
        self.context = FunctionContext(
            tuple(isinstance(value, Tensor) and value.requires_grad for value in args)
        )
        self.single = True
        self.results = 0
        self.kept: pytree.Structure = pytree.LEAF
        self.kept_leaves: list[Any] = []

    def run(self) -> Any:
        before = set_recording(True)
        try:
            outputs = self.recorded.run(self._forward, differentiable=False)
            self.single = not isinstance(outputs, (tuple, list))
            results = [outputs] if self.single else list(outputs)
            constants = [
                i for i, value in enumerate(results) if id(value) in self.context._constants
            ]
            tensors = [self._tensor(value) for value in results]
            saved = self._keep()
            self.results = len(tensors)
            self.recorded.close((*tensors, *saved))
            forward: Rule | None = None
            if self.cls.jvp is not Function.jvp:
                forward = self._forward_rule
            made = self.recorded.call(
                self.results, self._reverse_rule, forward, self.name, captured=False
            )
        finally:
            set_recording(before)
        final_ = [y._snapshot() if i in constants else y for i, y in enumerate(made)]
        return final_[0] if self.single else tuple(final_)

    def _forward(self, *tensors: Tensor) -> Any:
        args = list(self.args)
        for place, tensor in zip(self.arrays, tensors, strict=True):
            args[place] = tensor
        if self.cls.setup_context is Function.setup_context:
            return self.cls.forward(self.context, *args, **self.kwargs)
        output = self.cls.forward(*args, **self.kwargs)
        self.cls.setup_context(self.context, tuple(args), output)
        return output

    def _tensor(self, value: Any) -> Tensor:
        if not hasattr(value, "shape") and not isinstance(value, (int, float)):
            raise ArgumentStructureError(
                f"forward of {self.name} returned a {type(value).__name__}",
                remedy="return a tensor, or a tuple of tensors",
            )
        return as_tensor(value)

    def _keep(self) -> list[Tensor]:
        """The tensors that the context holds, as further results."""
        leaves, self.kept = pytree.flatten(dict(vars(self.context)))
        self.kept_leaves = list(leaves)
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def _restored(self, nodes: Sequence[Node]) -> FunctionContext:
        """The context with what it kept as these nodes."""
        kept = iter(nodes)
        leaves = [
            result_of(next(kept)) if isinstance(leaf, Tensor) else leaf for leaf in self.kept_leaves
        ]
        context = FunctionContext(())
        vars(context).update(pytree.unflatten(self.kept, leaves))
        return context

    # --- rules ------------------------------------------------------------------------------------

    def _reverse_rule(
        self, inputs: Sequence[Node], items: Sequence[Node], cotangents: Nodes
    ) -> list[Node | None]:
        with transforming(abstract=True):
            context = self._restored(items[self.results :])
            given = self.cls.backward(context, *self._filled(context, items, cotangents))
            gradients = list(given) if isinstance(given, (tuple, list)) else [given]
            while len(gradients) > self.count and gradients[-1] is None:
                gradients.pop()
            if len(gradients) != self.count:
                raise GradientError(
                    f"backward of {self.name} gave {len(gradients)} gradients for "
                    f"{self.count} arguments",
                    remedy="return one for each argument of forward, None where there is none",
                )
            chosen = [gradients[i] for i in self.arrays]
            found = self.recorded.by_place(f"Function {self.name}", chosen)
        return [*found, *[None] * (len(inputs) - len(found))]

    def _filled(
        self, context: FunctionContext, items: Sequence[Node], cotangents: Nodes
    ) -> list[Tensor | None]:
        filled: list[Tensor | None] = []
        for node, cotangent in zip(items[: self.results], cotangents, strict=True):
            if cotangent is None and not context._materialize:
                filled.append(None)
            else:
                filled.append(result_of(build.zeros_like(node) if cotangent is None else cotangent))
        return filled

    def _forward_rule(
        self, inputs: Sequence[Node], items: Sequence[Node], tangents: Nodes
    ) -> list[Node | None]:
        with transforming(abstract=True):
            context = self._restored(items[self.results :])
            every: list[Any] = [None] * self.count
            for place, node, tangent in zip(self.arrays, inputs, tangents, strict=False):
                if tangent is not None:
                    every[place] = result_of(tangent)
                elif node.dtype.is_float and context._materialize:
                    every[place] = result_of(build.zeros_like(node))
            given = self.cls.jvp(context, *every)
            found = list(given) if isinstance(given, (tuple, list)) else [given]
            if len(found) != self.results:
                raise GradientError(
                    f"jvp of {self.name} gave {len(found)} tangents for {self.results} results",
                    remedy="return one for each result of forward, None where there is none",
                )
            return [
                None if value is None else build.cast(as_tensor(value)._read(), node.dtype)
                for value, node in zip(found, items, strict=False)
            ]
