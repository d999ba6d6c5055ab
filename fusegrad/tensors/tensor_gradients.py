"""Gradients of a Tensor, and its changes in place.

Knows which variables a graph depends on; how operations are recorded is the business of the Tensor.
"""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast, final

from ..errors import GradientError, ShapeError
from ..ir.node import Node, set_recording
from ..ops import build
from ..ops.elementwise import FUNCTIONS
from ..runtime.devices import use
from ..semantics.shapes import broadcast_to, show
from .context import active
from .evaluation import settle
from .leaves import HOOKS, leaf_gradients
from .placement import together, wanders
from .tensor_matrix_methods import MatrixMethods
from .tensor_operators import Operators
from .tensor_state import State

__all__ = ["Gradients", "Handle"]

ArrayLike = Any
TensorT = TypeVar("TensorT", bound=State)


@final
class Handle:
    """A hook that was registered."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks = hooks
        self._hook = hook

    def remove(self) -> None:
        """Do not call the hook any more."""
        self._hooks[:] = [hook for hook in self._hooks if hook is not self._hook]


class Gradients(State, Operators[TensorT], MatrixMethods[TensorT], Generic[TensorT]):
    """The methods that collect gradients, and those that change the value."""

    __slots__ = ()

    @staticmethod
    @abstractmethod
    def _made(node: Node, requires_grad: bool) -> TensorT:
        """A tensor whose value `node` gives."""

    @abstractmethod
    def _coerce(self, value: ArrayLike, fitting: bool = False) -> TensorT:
        """The value as a tensor; if `fitting`, a number takes the dtype of this tensor."""

    @abstractmethod
    def _fitting(self, value: TensorT, what: str, shape: tuple[int, ...] | None) -> Node:
        """The node of a value in the dtype of this tensor, for an assignment."""

    @abstractmethod
    def _take_flags(self, result: TensorT) -> None:
        """Require a gradient if the value that was assigned does."""

    # --- gradients --------------------------------------------------------------------------------

    @property
    def is_leaf(self) -> bool:
        """Whether it is a variable, not the result of an operation that requires a gradient."""
        return self._leaf or not self.requires_grad

    def requires_grad_(self, requires_grad: bool = True) -> TensorT:
        """Make the tensor a variable whose gradient `backward` collects, or make it none."""
        if requires_grad and not self.dtype.is_float:
            raise GradientError(
                f"a tensor of {self.dtype} has no gradient",
                remedy="convert it with .astype('float32') first",
            )
        if requires_grad and not self.requires_grad:
            self._leaf = self.requires_grad = True
            if self._storage is not None:
                self._node = None
        elif not requires_grad and self.requires_grad:
            if not self._leaf:
                raise GradientError(
                    "only variables can stop requiring a gradient",
                    remedy="use x.detach() for the value alone",
                )
            self.requires_grad = False
        return cast("TensorT", self)

    @property
    def grad(self) -> TensorT | None:
        """The gradient that `backward` collected, None before."""
        trace = active.trace
        if trace is not None:
            trace.note_grad_read(self)
        return cast("TensorT | None", self._grad)

    @grad.setter
    def grad(self, value: ArrayLike) -> None:
        new = None if value is None else self._coerce(value)
        if new is not None and new.shape != self.shape:
            raise ShapeError(
                f"a gradient of shape {show(new.shape)} for a tensor of shape {show(self.shape)}",
                remedy="the gradient has the shape of its tensor",
            )
        trace = active.trace
        if trace is not None:
            trace.note_grad(self)
        if active.levels:
            active.levels[-1].note(self)
        self._grad = new

    def backward(
        self,
        gradient: ArrayLike = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every variable it depends on.

        Parameters
        ----------
        gradient : array_like, optional
            The weights of the elements; needed unless the tensor has one element.
        retain_graph : bool, optional
            Without effect: the graph lives as long as a tensor that was computed with it.
        create_graph : bool, optional
            Whether the gradients can be differentiated again.

        Examples
        --------
        >>> import fusegrad as fg
        >>> x = fg.asarray([1.0, 2.0], requires_grad=True)
        >>> (x * x).backward(fg.asarray([1.0, 10.0]))
        >>> x.grad
        Tensor([ 2., 40.])
        """
        if not self.requires_grad:
            raise GradientError(
                "backward() of a tensor that does not depend on anything that requires a gradient",
                remedy="call requires_grad_() on the variables before computing with them, "
                "outside of fg.no_grad()",
            )
        before = set_recording(True)
        try:
            for cell, node in leaf_gradients(self._read(), self._seed(gradient)):
                tensor = cast("Gradients[Any]", cell)
                tensor._accumulate(tensor._hooked(node), create_graph)
        finally:
            set_recording(before)
        if active.trace is None and not active.abstract:
            # Gradients are wanted: a graph that waits for more would hold its operands' memory.
            settle(self)

    def _seed(self, gradient: ArrayLike) -> Node:
        if gradient is None:
            if self.size != 1:
                raise GradientError(
                    f"backward() of a tensor of shape {show(self.shape)} without a seed: "
                    "a gradient is that of a scalar",
                    remedy="reduce it first, y.sum().backward(), or weight the elements, "
                    "y.backward(seed) with a seed of the same shape",
                )
            return build.ones_like(self._read())
        seed = self._coerce(gradient)
        if seed.shape != self.shape:
            raise GradientError(
                f"backward() of a tensor of shape {show(self.shape)} with a seed of shape "
                f"{show(seed.shape)}",
                remedy="the seed has the shape of the tensor",
            )
        return build.cast(seed._read(), self.dtype)

    def register_hook(self, hook: Callable[[TensorT], TensorT | None]) -> Handle:
        """Call a function with the gradient of this tensor, whenever it is computed.

        Parameters
        ----------
        hook : callable
            Takes the gradient; what it returns, if not None, takes its place.

        Returns
        -------
        Handle
            Its ``remove()`` takes the hook away.

        Examples
        --------
        >>> import fusegrad as fg
        >>> x = fg.asarray([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_hook(lambda g: 10 * g)
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor([20., 40.])
        """
        if not self.requires_grad:
            raise GradientError(
                "a hook on a tensor that requires no gradient",
                remedy="call requires_grad_() on it, or on what it is computed from",
            )
        if self._leaf:
            try:
                own: list[Any] = self._hooks
            except AttributeError:
                own = self._hooks = []
            own.append(hook)
            return Handle(own, hook)
        made = self._made

        def on_node(node: Node) -> Node | None:
            found = hook(made(node, True))
            return None if found is None else build.cast(found._read(), node.dtype)

        hooks = HOOKS.setdefault(self._read(), [])
        hooks.append(on_node)
        return Handle(hooks, on_node)

    def retain_grad(self) -> None:
        """Collect the gradient of a result in `grad`, as that of a variable.

        Examples
        --------
        >>> import fusegrad as fg
        >>> y = fg.asarray([1.0, 2.0], requires_grad=True) * 2
        >>> y.retain_grad()
        >>> (y * y).sum().backward()
        >>> y.grad
        Tensor([4., 8.])
        """
        if self._leaf or not self.requires_grad:
            return
        reference = weakref.ref(self)

        def keep(gradient: TensorT) -> None:
            tensor = reference()
            if tensor is not None:
                tensor._accumulate(gradient._read(), False)

        self.register_hook(keep)

    def _hooked(self, node: Node) -> Node:
        """The gradient of a variable after its hooks."""
        for hook in getattr(self, "_hooks", ()):
            found = hook(self._made(node, True))
            node = node if found is None else build.cast(found._read(), node.dtype)
        return node

    def _accumulate(self, node: Node, create_graph: bool) -> None:
        if not create_graph:
            node = build.stop_gradient(node)
        if use.on:
            # One that depends on nothing is where its variable is.
            node = together(self, node)
        trace = active.trace
        if trace is not None:
            trace.note_grad_read(self)
        known = cast("State | None", self._grad)
        if known is None:
            self.grad = self._made(node, create_graph)
            return
        total = build.add(known._read(), node)
        if create_graph:
            self.grad = self._made(total, True)
        else:
            known._write(total)

    # --- in place ---------------------------------------------------------------------------------

    def _assign(self, value: ArrayLike, what: str) -> TensorT:
        new = self._coerce(value, fitting=True)
        if use.on and what == "copy to" and not wanders(self) and new.device != self.device:
            new = cast("Any", new).to(self.device)
        if self._adopt(new):
            return cast("TensorT", self)
        node = self._fitting(new, what, None)
        self._write(broadcast_to(node, self.shape))
        self._take_flags(new)
        return cast("TensorT", self)

    def copy_(self, source: ArrayLike, non_blocking: bool = False) -> TensorT:
        """Take over the values of `source`, which broadcast; see `to` for `non_blocking`."""
        return self._assign(source, "copy to")

    def fill_(self, value: ArrayLike) -> TensorT:
        """Set all elements to one value."""
        return self._assign(value, "fill")

    def zero_(self) -> TensorT:
        """Set all elements to zero."""
        return self._assign(0, "fill")

    def add_(self, other: ArrayLike, *, alpha: float = 1) -> TensorT:
        """Add `other`, times `alpha`, in place."""
        return self._in_place(FUNCTIONS["add"], other if alpha == 1 else other * alpha)

    def sub_(self, other: ArrayLike, *, alpha: float = 1) -> TensorT:
        """Subtract `other`, times `alpha`, in place."""
        return self._in_place(FUNCTIONS["subtract"], other if alpha == 1 else other * alpha)

    def mul_(self, other: ArrayLike) -> TensorT:
        """Multiply by `other` in place."""
        return self._in_place(FUNCTIONS["multiply"], other)

    def div_(self, other: ArrayLike) -> TensorT:
        """Divide by `other` in place."""
        return self._in_place(FUNCTIONS["divide"], other)

    def clamp_(self, min: Any = None, max: Any = None) -> TensorT:
        """Move the elements to the nearest of two bounds in place."""
        return self._update(self.clip(min, max))
