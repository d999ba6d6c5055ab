"""Tensors that share elements: views, and what is written through them.

Knows how a view was made of its base, and how to put a new value of it back; which functions make
views is listed here, what they mean is in `semantics`.

Values are never changed in memory. A write to a base marks its views as out of date, and they are
read from the base again when somebody needs them; a write to a view makes a new value of the base.
So views cost nothing more than a note for those who do not write. Until the first write a view does
not keep its base alive: when nobody else can see the base, the view is a tensor of its own, and
several views of a base that is gone get one back on the first write that they could see of each
other.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast, final

import numpy as np

from ..errors import StateError
from ..ir.node import Node, set_recording
from ..ir.types import TensorType
from ..ops import build
from ..ops.movement import Flip, Reshape, Slice, Transpose
from ..semantics import diagonals, indexing, manipulation
from ..semantics.assignment import put_box
from .context import Cell, Recorder, Sharing, Token, active, no_grad
from .evaluation import wait
from .tensor_state import State

__all__ = [
    "VIEWS",
    "Borrowed",
    "Result",
    "detached_view",
    "is_part",
    "note_view",
    "relatives",
]

VIEWS: frozenset[Callable[..., Node]] = frozenset(
    {
        indexing.get_marked,
        manipulation.reshape,
        manipulation.flatten,
        manipulation.permute,
        manipulation.swapaxes,
        manipulation.moveaxis,
        manipulation.matrix_transpose,
        manipulation.squeeze,
        manipulation.expand_dims,
        diagonals.diagonal,
    }
)
"""The functions of one operand whose results are views of it."""
_RESHAPES = (manipulation.reshape, manipulation.flatten)
_FEW = 16

Step = tuple[Callable[..., Node], tuple[Any, ...], dict[str, Any]]


def note_view(
    result: Cell, base: Cell, function: Callable[..., Node], args: Any, params: Any
) -> None:
    """Note that `result` is ``function(base, *args, **params)``, one of `VIEWS`."""
    shared = base._shared
    step: Step = (function, args, params)
    if isinstance(shared, View):
        if function in _RESHAPES and not shared.can_reshape(result._type.shape):
            return
        shared.next((*shared.steps, step), shared.detached).join(result)
    elif isinstance(shared, Borrowed):
        result._shared = shared
    else:
        View(_family_of(base), (step,), False).join(result)


def detached_view(result: Cell, base: Cell) -> None:
    """Note that `result` is the value of `base`, written without its history."""
    shared = base._shared
    if isinstance(shared, View):
        shared.next(shared.steps, True).join(result)
    elif isinstance(shared, Borrowed):
        result._shared = shared
    else:
        View(_family_of(base), (), True).join(result)


def is_part(value: Cell, base: Cell, key: tuple[Any, ...]) -> bool:
    """Whether `value` is the view ``base[key]``, with nothing to write back to `base`."""
    view, own = value._shared, base._shared
    if not isinstance(view, View) or value._trace is not active.trace:
        return False
    if isinstance(own, View):
        before, family = own.steps, own.family
    elif isinstance(own, Family):
        before, family = (), own
    else:
        return False
    return (
        view.family is family
        and len(view.steps) == len(before) + 1
        and view.steps[: len(before)] == before
        and view.steps[-1][0] is indexing.get_marked
        and view.steps[-1][1] == (key,)
    )


def _family_of(base: Cell) -> Family:
    shared = base._shared
    if isinstance(shared, Family):
        return shared
    base._shared = family = Family(base)
    return family


@final
class Family(Sharing):
    """A tensor and its views.

    Attributes
    ----------
    type : TensorType
        That of the base.
    """

    __slots__ = ("_base", "_views", "result", "type")
    whole = True

    def __init__(self, base: Cell) -> None:
        self.result = base._shared is not None and base._shared.result
        self.type = base._type
        self._base = weakref.ref(base)
        self._views: list[weakref.ref[Cell]] = []

    def add(self, view: Cell) -> None:
        views = self._views
        # Those that are gone must not pile up.
        if len(views) >= _FEW and not len(views) & (len(views) - 1):
            self._views = views = [v for v in views if v() is not None]
        views.append(weakref.ref(view))

    def base(self) -> Cell | None:
        """What they are views of, None if it is gone."""
        base = self._base()
        return None if base is None or base._shared is not self else base

    def views(self) -> Iterator[Cell]:
        """The views that live."""
        for reference in self._views:
            view = reference()
            if view is not None and isinstance(view._shared, View) and view._shared.family is self:
                yield view

    def divert(self, tensor: Cell, node: Node) -> bool:
        return False

    def changed(self, tensor: Cell) -> None:
        # Views that an outer trace knows are read through the base until the trace is over.
        for view in self.views():
            if view._trace is tensor._trace and view is not tensor:
                if active.levels:
                    active.levels[-1].note(view)
                cast("View", view._shared).held = tensor
                view._storage = view._node = view._variable = None

    def require(self, tensor: Cell) -> None:
        for view in self.views():
            shared = cast("View", view._shared)
            if view._trace is tensor._trace and view._leaf and not shared.detached:
                view.requires_grad, view._leaf = True, False

    def resurrected(self, writer: Cell) -> Cell | None:
        """A base for views that have lost theirs; None if only the writer lives."""
        views = list(self.views())
        if all(view is writer for view in views):
            return None
        trace = writer._trace
        before, active.trace = active.trace, trace
        recording = set_recording(True)
        try:
            node = build.zeros(self.type.shape, self.type.dtype)
            for view in views:
                if view._trace is trace:
                    shared = cast("View", view._shared)
                    node = shared.put(node, cast("State", view)._read())
            base = object.__new__(State)
            base._blank(self.type)
            base._node, base._trace, base._shared = node, trace, self
            if any(view.requires_grad for view in views):
                base.requires_grad, base._leaf = True, False
            if trace is None:
                wait(base)
        finally:
            active.trace = before
            set_recording(recording)
        self._base = weakref.ref(base)
        for view in views:
            cast("View", view._shared).held = base
        return base


@final
class View(Sharing):
    """How a tensor is made of its base.

    Attributes
    ----------
    family : Family
    steps : tuple of (callable, tuple, dict)
        The functions from the node of the base to that of the view.
    detached : bool
        Whether gradients stop at the view, and writes count as made without gradients.
    held : Cell or None
        The base, once it has a value that the view may still have to be read from.
    """

    __slots__ = ("_path", "detached", "family", "held", "steps")

    def __init__(self, family: Family, steps: tuple[Step, ...], detached: bool) -> None:
        self.family = family
        self.steps = steps
        self.detached = detached
        self.held: Cell | None = None
        self._path: list[tuple[Node, Node]] | None = None

    def next(self, steps: tuple[Step, ...], detached: bool) -> View:
        """A view of this one."""
        view = View(self.family, steps, detached)
        view.held = self.held
        return view

    def join(self, tensor: Cell) -> None:
        """Make `tensor` this view."""
        tensor._shared = self
        self.family.add(tensor)

    # --- reading ----------------------------------------------------------------------------------

    def of(self, node: Node) -> Node:
        """The view, of the node of the base."""
        for function, args, params in self.steps:
            node = function(node, *args, **params)
        return build.stop_gradient(node) if self.detached else node

    def elsewhere(self, tensor: Cell, trace: Recorder | None) -> Node | None:
        """The view in another trace than its own, if the base was written in between."""
        base = self.family.base()
        if base is None or base._trace is tensor._trace or trace is None:
            return None
        return self.of(cast("State", base)._read())

    def refresh(self, tensor: Cell) -> Node:
        base = cast("State", self.family.base())
        before, active.trace = active.trace, tensor._trace
        recording = set_recording(True)
        try:
            node = self.of(base._read())
            if not tensor.requires_grad and base.requires_grad:
                node = build.stop_gradient(node)
            tensor._node = node
            if tensor._trace is None:
                wait(tensor)
        finally:
            active.trace = before
            set_recording(recording)
        return node

    # --- writing ----------------------------------------------------------------------------------

    def divert(self, tensor: Cell, node: Node) -> bool:
        base = self.family.base()
        if base is None:
            base = self.family.resurrected(tensor)
        if base is None:
            tensor._shared = None
            return False
        owner = cast("State", base)
        recording = set_recording(True)
        try:
            if self.detached:
                with no_grad():
                    owner._write(self.put(owner._read(), node))
            else:
                owner._write(self.put(owner._read(), node))
        finally:
            set_recording(recording)
        if tensor._trace is active.trace:
            tensor._storage = tensor._variable = None
            tensor._node = node
            if tensor._trace is None:
                wait(tensor)
        return True

    def changed(self, tensor: Cell) -> None:
        pass

    def require(self, tensor: Cell) -> None:
        base = self.family.base()
        if base is None or self.detached:
            return
        if not (base.requires_grad and base._leaf):
            base.requires_grad, base._leaf = True, False
        self.family.require(base)

    def put(self, base: Node, value: Node) -> Node:
        """The base with another value of the view."""
        path = self._path_from_base()
        if not path:
            return base if 0 in value.shape and value.shape != base.shape else value
        parts = [base]
        for _, made in path[:-1]:
            parts.append(Node(made.op, (parts[-1],)))
        for (_, made), part in zip(reversed(path), reversed(parts), strict=True):
            value = _put_back(made, part, value)
        return value

    def _path_from_base(self) -> list[tuple[Node, Node]]:
        """The nodes from a base to the view, as pairs of operand and result."""
        if self._path is None:
            start = _variable(self.family.type)
            node = start
            for function, args, params in self.steps:
                node = function(node, *args, **params)
            path: list[tuple[Node, Node]] = []
            # A part without elements may be a constant.
            while node is not start and node.inputs:
                path.append((node.inputs[0], node))
                node = node.inputs[0]
            self._path = path[::-1] if node is start else []
        return self._path

    def can_reshape(self, shape: Sequence[Any]) -> bool:
        """Whether the view has such a view: NumPy's rule, where axes must not be torn apart."""
        if not all(isinstance(extent, int) for extent in (*self.family.type.shape, *shape)):
            return False
        memory: Any = np.empty(self.family.type.shape, np.bool_)
        for _, made in self._path_from_base():
            memory = made.op.ref(memory)
        try:
            np.reshape(memory, tuple(shape), copy=False)
        except ValueError:
            return False
        return True


def _variable(type_: TensorType) -> Node:
    before = set_recording(False)
    try:
        return build.input_(type_, Token())
    finally:
        set_recording(before)


def _put_back(made: Node, part: Node, value: Node) -> Node:
    """`part` with another value of what the op of `made` takes of it."""
    op = made.op
    if isinstance(op, Reshape):
        return build.reshape(value, part.shape)
    if isinstance(op, Transpose):
        inverse = sorted(range(len(part.shape)), key=op.permutation.__getitem__)
        return build.transpose(value, inverse)
    if isinstance(op, Flip):
        return build.flip(value, op.axes)
    assert isinstance(op, Slice), op
    if 0 in value.shape:
        return part
    shape = list(value.shape)
    box = indexing.Box(list(op.starts), list(op.stops), list(op.steps), [], shape, shape)
    return put_box(part, box, value)


def relatives(tensor: Cell, others: Sequence[Cell]) -> bool:
    """Whether one of `others` is a view of what `tensor` is, or is a view of."""

    def family(cell: Cell) -> Family | None:
        shared = cell._shared
        shared = shared.family if isinstance(shared, View) else shared
        return shared if isinstance(shared, Family) else None

    own = family(tensor)
    return own is not None and any(family(other) is own for other in others)


@final
class Result(Sharing):
    """An argument of a compiled function that is a variable inside, and none outside."""

    __slots__ = ()
    result = True

    def divert(self, tensor: Cell, node: Node) -> bool:
        return False

    def changed(self, tensor: Cell) -> None:
        pass

    def require(self, tensor: Cell) -> None:
        pass


@final
class Borrowed(Sharing):
    """An argument of a compiled function that is no Tensor: what is written to it would be lost.

    Parameters
    ----------
    label : str
        What to call it in messages; "" if it has no name.
    kind : str
        What it is.
    number : bool, optional
        Whether ``x += y`` gives another object in Python.
    """

    __slots__ = ("kind", "label", "number")

    def __init__(self, label: str, kind: str, number: bool = False) -> None:
        self.label, self.kind, self.number = label, kind, number

    def divert(self, tensor: Cell, node: Node) -> bool:
        raise StateError(
            f"{self.label or 'an argument'} is {self.kind}, and a compiled function changes it in "
            "place: what it writes would be lost",
            remedy="pass a Tensor, fg.asarray(x), which is changed as outside of the function; or "
            "change a copy, x = x.clone()",
        )

    def changed(self, tensor: Cell) -> None:
        pass

    def require(self, tensor: Cell) -> None:
        pass
