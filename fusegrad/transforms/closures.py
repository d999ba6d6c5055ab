"""Functions as closed graphs: what loops and branches run, recorded from the user's functions.

Knows tensors and traces; knows no loop.

What a function takes from outside becomes an operand. What it writes outside becomes an operand and
a result; the write is done where the loop or the branch ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast, final

import numpy as np

from .. import pytree
from ..autodiff.body import Body, body_of
from ..codegen.dtypes import int64
from ..codegen.records import dataclass
from ..errors import ArgumentStructureError, DTypeError, ShapeError, StateError, user_frame
from ..ir.node import Node, set_recording, substitute, where
from ..ir.types import TensorType
from ..ops import build
from ..tensors.context import Cell, Recorder, Token, active
from ..tensors.storage import Storage
from ..tensors.tensor_class import Tensor, as_tensor, made

__all__ = [
    "Carried",
    "Closure",
    "Counters",
    "Outside",
    "closed_functions",
    "difference_of",
    "finish",
    "recorded",
]


@final
@dataclass(frozen=True)
class _Before:
    """The fields of a tensor before a function wrote it."""

    storage: Storage | None
    node: Node | None
    trace: Recorder | None
    variable: Any
    requires_grad: bool
    leaf: bool


@final
class Outside:
    """What functions take from outside, and what they write there.

    Attributes
    ----------
    read : dict of Tensor to (Node, Node)
        The variable that stands for a tensor inside, and its node outside.
    written : dict of Tensor to Node
        Tensors that some function writes, by the variables of their values before.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.outer = active.trace
        self.read: dict[Tensor, tuple[Node, Node]] = {}
        self.written: dict[Tensor, Node] = {}

    def variable(self, tensor: Tensor) -> Node:
        """The variable that stands for a tensor from outside."""
        found = self.read.get(tensor)
        if found is None:
            with _tracing(self.outer):
                node = tensor._read()
            label = f"the tensor {tensor.name!r}" if tensor.name else "a tensor made outside"
            inside = build.input_(node.tensor_type, Token(label=label))
            found = self.read[tensor] = inside, node
        return found[0]

    def requires_grad(self) -> bool:
        """Whether something that is read requires a gradient."""
        return any(tensor.requires_grad for tensor in self.read)

    def nodes(self, inside: Sequence[Node]) -> list[Node]:
        """Nodes over the variables as nodes of what they stand for."""
        return substitute(inside, dict(self.read.values()))

    def constants(self, inside: Sequence[Node]) -> list[Node]:
        """`inside` with variables replaced that stand for constants."""
        known = {
            variable: node
            for tensor, (variable, node) in self.read.items()
            if tensor not in self.written and build.constant_value(node) is not None
        }
        return substitute(inside, known) if known else list(inside)


@contextmanager
def _tracing(trace: Recorder | None) -> Iterator[None]:
    before, active.trace = active.trace, trace
    try:
        yield
    finally:
        active.trace = before


@final
class _BodyTrace(Recorder):
    """Records one function."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self.outer = outside.outer
        self.before: dict[Tensor, _Before] = {}

    def capture(self, tensor: Cell) -> Node:
        return self.outside.variable(cast("Tensor", tensor))

    def note_write(self, tensor: Cell) -> None:
        mine = cast("Tensor", tensor)
        self.outside.written[mine] = self.outside.variable(mine)
        self.before[mine] = _Before(
            mine._storage,
            mine._node,
            mine._trace,
            mine._variable,
            mine.requires_grad,
            mine._leaf,
        )

    def note_grad(self, tensor: Cell) -> None:
        if tensor._trace is not self:
            name = f" of {tensor.name!r}" if tensor.name else ""
            raise StateError(
                f"{self.outside.what} assigns .grad{name}, of a tensor made outside of it",
                where=user_frame(),
                remedy="return what is differentiated, and call backward() after it; "
                "or use fg.grad inside",
            )

    def note_grad_read(self, tensor: Cell) -> None:
        if self.outer is not None and tensor._trace is not self:
            self.outer.note_grad_read(tensor)

    def writes(self) -> dict[Tensor, Node]:
        """The new values of the tensors that were written."""
        found = {}
        for tensor, before in self.before.items():
            node = tensor._read()
            if tensor.requires_grad or before.requires_grad:
                name = repr(tensor.name) if tensor.name else "made outside of it"
                raise StateError(
                    f"{self.outside.what} writes to a tensor {name}, and gradients lead through it",
                    where=user_frame(),
                    remedy="pass the tensor as an argument and return its new value; "
                    "or write a detached value",
                )
            found[tensor] = node
        return found

    def restore(self) -> None:
        """Give every tensor that was written what it had before."""
        for tensor, before in self.before.items():
            tensor._storage, tensor._node = before.storage, before.node
            tensor._trace, tensor._variable = before.trace, before.variable
            tensor.requires_grad, tensor._leaf = before.requires_grad, before.leaf


@final
@dataclass(frozen=True)
class Closure:
    """A recorded function.

    Attributes
    ----------
    parameters : list of Node
        The variables of its arguments.
    results : list of Tensor
        What it returned, flat; numbers as tensors.
    nodes : list of Node
        Those of the results.
    structure : Structure
    weak : list of bool
        Which results promote as Python numbers.
    writes : dict of Tensor to Node
        The values that it left in tensors from outside.
    """

    parameters: list[Node]
    nodes: list[Node]
    structure: pytree.Structure
    weak: list[bool]
    writes: dict[Tensor, Node]


def recorded(
    function: Callable[..., Any],
    arguments: Callable[[Sequence[Tensor]], Sequence[Any]],
    types: Sequence[TensorType],
    labels: Sequence[str],
    outside: Outside,
) -> Closure:
    """Record a function of tensors of the given types.

    Parameters
    ----------
    function : callable
    arguments : callable
        From the tensors to the arguments of the function.
    types : sequence of TensorType
    labels : sequence of str
        What each tensor is, for messages.
    outside : Outside
        Is told what is read and written.
    """
    trace = _BodyTrace(outside)
    before = set_recording(False)
    parameters = [
        build.input_(t, Token(trace=trace, label=label))
        for t, label in zip(types, labels, strict=True)
    ]
    set_recording(before)
    try:
        with _tracing(trace):
            tensors = [made(p, p.dtype.is_float) for p in parameters]
            result = function(*arguments(tensors))
            leaves, structure = pytree.flatten(result)
            weak = [isinstance(leaf, (bool, int, float)) for leaf in leaves]
            values = [as_tensor(leaf) for leaf in leaves]
            weak = [w or value._weak for w, value in zip(weak, values, strict=True)]
            nodes = [value._read() for value in values]
            writes = trace.writes()
    finally:
        trace.finished = True
        trace.restore()
    return Closure(parameters, nodes, structure, weak, writes)


def finish(
    nodes: Sequence[Node], requires: bool, writes: Sequence[tuple[Tensor, Node]]
) -> list[Tensor]:
    """The results of a loop as tensors, after the tensors that it wrote got their values."""
    for tensor, node in writes:
        tensor._write(node)
    results = []
    for node in nodes:
        differentiable = requires and node.dtype.is_float
        if differentiable and not active.grad:
            results.append(made(build.stop_gradient(node)))
        else:
            results.append(made(node, differentiable))
    return results


def closed_functions(
    variables: Sequence[Node],
    results: Sequence[Sequence[Node]],
    outside: Outside,
    hoist: bool = True,
) -> tuple[list[Body], list[Node]]:
    """Functions of the same variables, closed over the same values from outside.

    `hoist` is that of `body_of`.

    Returns
    -------
    list of Body
        One for each of `results`, over the values from outside and then the variables.
    list of Node
        The values from outside.
    """
    flat = outside.constants([node for nodes in results for node in nodes])
    _, captured = body_of(variables, flat, hoist)
    functions = []
    rest = iter(flat)
    for nodes in results:
        own = [next(rest) for _ in nodes]
        functions.append(Body.of([*captured, *variables], own))
    return functions, outside.nodes(captured)


def difference_of(name: str, expected: pytree.Structure, given: pytree.Structure) -> str | None:
    """Where the structures of two values of a name differ first, None if they are equal."""
    text = pytree.first_difference(expected, given)
    if text is None:
        return None
    return text.replace("the container", name, 1) if text.startswith("the ") else name + text


@final
class Counters:
    """Integers from outside to which every iteration adds the same, as drawing numbers does.

    Their value in an iteration follows from its number, so that they are no carries.

    Attributes
    ----------
    steps : dict of Tensor to int
        What an iteration adds.
    """

    def __init__(self, closure: Closure, outside: Outside) -> None:
        self.outside = outside
        self.number = build.input_(TensorType((), int64))
        self.steps: dict[Tensor, int] = {}
        for tensor, variable in outside.written.items():
            new = closure.writes[tensor]
            if variable.shape or not variable.dtype.is_integer or new.op.name != "add":
                continue
            step = build.constant_value(new.inputs[1])
            if new.inputs[0] is variable and step is not None:
                self.steps[tensor] = int(step)

    def variables(self) -> list[Node]:
        """The number of the iteration, if it is needed."""
        return [self.number] if self.steps else []

    def columns(self, length: int, reverse: bool) -> list[Node]:
        """The numbers of all iterations, where their slices lie."""
        if not self.steps:
            return []
        numbers = build.iota(length)
        if reverse:
            numbers = build.sub(build.full_like(numbers, length - 1), numbers)
        return [numbers]

    def counted(self, results: Sequence[Node]) -> list[Node]:
        """Results with the counters as functions of the number."""
        values = {}
        for tensor, step in self.steps.items():
            variable = self.outside.written[tensor]
            done = build.mul(build.cast(self.number, variable.dtype), _number(step, variable))
            values[variable] = build.add(variable, done)
        return substitute(results, values)

    def writes(self, length: int) -> list[tuple[Tensor, Node]]:
        """What the counters are after the loop."""
        found = []
        for tensor, step in self.steps.items():
            node = self.outside.read[tensor][1]
            found.append((tensor, build.add(node, _number(step * length, node))))
        return found


def _number(value: int, like: Node) -> Node:
    """An integer that wraps around as its dtype does."""
    wrapped = np.array(value & (2**64 - 1), np.uint64).astype(like.dtype.numpy)
    return build.constant(wrapped.item(), like.dtype)


# --- what is carried ------------------------------------------------------------------------------


@final
class Carried:
    """The value that an iteration takes from the one before: its type stays what it is."""

    def __init__(self, what: str, leaves: Sequence[Any], structure: pytree.Structure) -> None:
        self.what = what
        self.structure = structure
        self.paths = pytree.paths(structure)
        self.labels = [f"the carry{path} of {what}" for path in self.paths]
        self.tensors = [as_tensor(leaf) for leaf in leaves]
        # Python numbers adopt the dtype that the first iteration gives.
        self.weak = [
            isinstance(leaf, (bool, int, float)) or tensor._weak
            for leaf, tensor in zip(leaves, self.tensors, strict=True)
        ]
        self.types = [tensor._type for tensor in self.tensors]

    def nodes(self) -> list[Node]:
        """The first values."""
        return [
            build.cast(tensor._read(), kind.dtype)
            for tensor, kind in zip(self.tensors, self.types, strict=True)
        ]

    def requires_grad(self) -> bool:
        """Whether one of the first values requires a gradient."""
        return any(tensor.requires_grad for tensor in self.tensors)

    def record(
        self,
        function: Callable[..., Any],
        arguments: Callable[[Sequence[Tensor]], Sequence[Any]],
        more: Sequence[TensorType],
        labels: Sequence[str],
        carry_of: Callable[[Closure], pytree.Structure],
    ) -> tuple[Outside, Closure, list[Node]]:
        """The recorded function, and the carries that it returns, of the types it takes."""
        while True:
            outside = Outside(self.what)
            closure = recorded(
                function,
                arguments,
                [*self.types, *more],
                [*self.labels, *labels],
                outside,
            )
            given = carry_of(closure)
            difference = difference_of("carry", self.structure, given)
            if difference is not None:
                raise ArgumentStructureError(
                    f"{self.what}: the carry changes its structure: {difference}",
                    remedy="return a carry of the structure of the first one",
                )
            if not self._adopt(closure):
                return outside, closure, self._news(closure)

    def _adopt(self, closure: Closure) -> bool:
        """Take dtypes for Python numbers from the results; whether one is new."""
        changed = False
        for i, kind in enumerate(self.types):
            new = closure.nodes[i].type
            assert isinstance(new, TensorType)
            if self.weak[i] and not closure.weak[i] and new.dtype is not kind.dtype:
                self.types[i] = TensorType(kind.shape, new.dtype)
                self.weak[i] = False
                changed = True
        return changed

    def _news(self, closure: Closure) -> list[Node]:
        found = []
        for i, (kind, path) in enumerate(zip(self.types, self.paths, strict=True)):
            node = closure.nodes[i]
            if closure.weak[i]:
                node = build.cast(node, kind.dtype)
            if node.type.plain is not kind.plain:
                raise (ShapeError if node.shape != kind.shape else DTypeError)(
                    f"{self.what}: carry{path} is {kind} and becomes {node.type} in an iteration",
                    where=where(node),
                    remedy="return a carry of the shapes and dtypes of the first one; "
                    f"start with {node.type}, or convert what is returned",
                )
            found.append(node)
        return found
