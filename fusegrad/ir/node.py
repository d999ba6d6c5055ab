"""The graph: ops with parameters, and interned nodes that apply them.

Knows no concrete op (but `Item`), no values and no kernels.
"""

from __future__ import annotations

import dataclasses
import threading
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, final

import numpy as np
import numpy.typing as npt

from ..codegen.dtypes import DType
from ..codegen.records import dataclass
from ..codegen.varying import origins
from ..errors import BatchingError, InternalError, NotDifferentiableError, SourceLine, user_frame
from .intern import InternTable
from .types import Extent, Symbol, TensorType, TupleType, Type

__all__ = [
    "Array",
    "Item",
    "Node",
    "Op",
    "Pack",
    "Pattern",
    "Role",
    "Roots",
    "all_nodes",
    "inherit_source",
    "record_source",
    "role",
    "set_recording",
    "source",
    "substitute",
    "toposort",
    "where",
]

Array: TypeAlias = npt.NDArray[Any]
Role = Literal["forward", "backward"]


class Pattern(Enum):
    """What fusion may do with an op."""

    SOURCE = "source"
    MAP = "map"
    MOVE = "move"
    REDUCE = "reduce"
    CONTRACT = "contract"
    LOOP = "loop"
    CALL = "call"


# --- ops ------------------------------------------------------------------------------------------

_ops: InternTable[Op] = InternTable()


class _OpMeta(ABCMeta):
    """Interns ops: equal parameters give the same object, so equality is identity."""

    # Nobody registers virtual subclasses, and what is an instance is asked for every node.
    __instancecheck__ = type.__instancecheck__

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            made = super().__call__(*args, **kwargs)
            args = tuple(getattr(made, field.name) for field in dataclasses.fields(made))
        key: tuple[Any, ...] = (cls, cls.intern_key(*args))  # type: ignore[attr-defined]
        if args and (known := origins(args)):
            key = (*key, known)
        found = _ops.get(key)
        return _ops.add(key, super().__call__(*args)) if found is None else found


@dataclass(frozen=True, eq=False)
class Op(ABC, metaclass=_OpMeta):
    """What a node does: a name, parameters, and the answers to every question about it.

    Subclasses are abstract, or final frozen dataclasses whose fields are the parameters.
    """

    pattern: ClassVar[Pattern]
    # Whether gradients can flow back through it.
    passes_gradients: ClassVar[bool] = True
    # Whether halves are made float32 around it; not where it holds graphs of its own.
    widens: ClassVar[bool] = True

    if TYPE_CHECKING:

        @property
        def name(self) -> str:
            """The name in printed graphs: a class constant, or a field for rows of a table."""

    @abstractmethod
    def infer(self, *types: Any) -> Type:
        """The type of the result, or ShapeError or DTypeError."""

    @abstractmethod
    def ref(self, *arrays: Array) -> Any:
        """The meaning, in NumPy."""

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        """The cotangent of each input; None where no gradient flows."""
        raise NotDifferentiableError(f"{self.name} has no derivative", where=where(node))

    def vjp_of_results(
        self, node: Node, cotangents: tuple[Node | None, ...]
    ) -> tuple[Node | None, ...]:
        """As `vjp`, for an op with several results; None where a result has no cotangent."""
        raise NotDifferentiableError(f"{self.name} has no derivative", where=where(node))

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        """Where cotangents of the inputs can be other than zero; None: everywhere.

        `mask` says so of the cotangent of the result.
        """
        return (None,) * len(node.inputs)

    def keeps_zero(self, node: Node) -> bool:
        """Whether a cotangent of zero gives zeros, be the values infinite or NaN."""
        return True

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Any:
        """The tangent of the result, from those of the inputs (None: zero).

        NotImplemented, as here, leaves it to be derived from `vjp`. For an op with several results
        a tuple.
        """
        return NotImplemented

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        """The op over a batch: the rule of ``vmap``.

        Parameters
        ----------
        node : Node
            The op applied to operands without the batch.
        operands : sequence of Node
            Where ``batched[i]`` holds, operand i has the batch as a new axis 0; the others are
            those of `node`.
        batched : sequence of bool
            At least one holds.

        Returns
        -------
        Node
            With the batch as axis 0, of each of several results.
        """
        raise BatchingError(f"{self.name} has no rule for vmap", where=where(node))

    def bodies(self) -> tuple[tuple[Node, ...], ...]:
        """The closed graphs that the op applies to its operands, each as its results."""
        return ()

    def samples(self) -> Iterator[Any]:
        """Where to test it, as `ops.base.Sample`; for a class of ops, other parameters too."""
        return iter(())

    def params(self) -> tuple[Any, ...]:
        """The parameters as plain values: names, numbers, strings and tuples of them."""
        return tuple(_plain(getattr(self, field.name)) for field in dataclasses.fields(self))

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        """What makes two ops of the class equal. It keeps alive only what it may for ever."""
        return args

    @cached_property
    def signature(self) -> bytes:
        """Name and parameters as bytes that are equal in every process."""
        parts: tuple[Any, ...] = (self.name, self.params())
        fields = [getattr(self, field.name) for field in dataclasses.fields(self)]
        known = origins(tuple(f.shape if isinstance(f, TensorType) else f for f in fields))
        return repr((*parts, known) if known else parts).encode()

    def __repr__(self) -> str:
        params = self.params()
        return self.name if not params else f"{self.name}({', '.join(map(str, params))})"

    def __reduce__(self) -> Any:
        raise TypeError("ops are not pickled")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (DType, Symbol)):
        return value.name
    if isinstance(value, TensorType):
        return repr(value)
    if isinstance(value, float):
        return value.hex()
    return value


# --- nodes ----------------------------------------------------------------------------------------

_nodes: InternTable[Node] = InternTable()


class _Recording(threading.local):
    """What new nodes of this thread note as their source."""

    on: bool = False
    fixed: tuple[SourceLine | None, Role] | None = None


_recording = _Recording()


@final
class Node:
    """An op applied to nodes. Immutable and interned: equal nodes are the same object.

    Parameters
    ----------
    op : Op
    inputs : tuple of Node

    Raises
    ------
    ShapeError, DTypeError
        If the inputs do not fit the op: an ill-typed node cannot be built.
    """

    __slots__ = ("__weakref__", "_source", "inputs", "op", "type")
    __match_args__ = ("op", "inputs")
    op: Op
    inputs: tuple[Node, ...]
    type: Type
    _source: tuple[SourceLine | None, Role] | None

    def __new__(cls, op: Op, inputs: tuple[Node, ...] = ()) -> Node:
        # The node holds its op and inputs, so the ids stay theirs as long as it lives.
        key = (id(op), *map(id, inputs))
        found = _nodes.get(key)
        if found is not None:
            return found
        self = object.__new__(cls)
        _set_type(self, op.infer(*map(_type_of, inputs)))
        _set_op(self, op)
        _set_inputs(self, inputs)
        noted = _recording.fixed
        if noted is None and _recording.on:
            noted = user_frame(), "forward"
        _set_source(self, noted)
        return _nodes.add(key, self)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Node cannot be changed")

    @property
    def tensor_type(self) -> TensorType:
        """The type, for nodes with one result."""
        if isinstance(self.type, TupleType):
            raise InternalError(f"{self.op} has several results", where=where(self))
        return self.type

    # Asked for every node, again and again.
    @property
    def shape(self) -> tuple[Extent, ...]:
        known = self.type
        return known.shape if type(known) is TensorType else self.tensor_type.shape

    @property
    def dtype(self) -> DType:
        known = self.type
        return known.dtype if type(known) is TensorType else self.tensor_type.dtype

    def __repr__(self) -> str:
        return f"<{self.op}: {self.type}>"

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: object) -> Node:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("nodes are not pickled")


_type_of = attrgetter("type")
_set_op = Node.__dict__["op"].__set__
_set_inputs = Node.__dict__["inputs"].__set__
_set_type = Node.__dict__["type"].__set__
_set_source = Node.__dict__["_source"].__set__


@final
@dataclass(frozen=True, eq=False, repr=False)
class Item(Op):
    """One of several results."""

    number: int
    name: ClassVar[str] = "item"
    widens: ClassVar[bool] = False
    pattern: ClassVar[Pattern] = Pattern.CALL

    def infer(self, *types: Any) -> Type:
        (results,) = types
        if not isinstance(results, TupleType) or not 0 <= self.number < len(results.items):
            raise InternalError(f"no item {self.number} in {results}")
        return results.items[self.number]

    def ref(self, *arrays: Any) -> Array:
        return np.asarray(arrays[0][self.number])

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        (results,) = operands
        if isinstance(results.op, Pack):  # It is gone then, and no rule of its own is needed.
            return results.inputs[self.number]
        return Node(self, (results,))


@final
@dataclass(frozen=True, eq=False, repr=False)
class Pack(Op):
    """Several nodes as the results of one."""

    widens: ClassVar[bool] = False
    name: ClassVar[str] = "pack"
    pattern: ClassVar[Pattern] = Pattern.CALL

    def infer(self, *types: Any) -> Type:
        return TupleType(types)

    def ref(self, *arrays: Array) -> Any:
        return arrays

    def vjp_of_results(
        self, node: Node, cotangents: tuple[Node | None, ...]
    ) -> tuple[Node | None, ...]:
        return cotangents

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        raise BatchingError("pack is the result of a rule for vmap", where=where(node))


# --- where a node comes from ----------------------------------------------------------------------


def where(node: Node) -> SourceLine | None:
    """The user's line that made the node first, if it was recorded."""
    return None if node._source is None else node._source[0]


def role(node: Node) -> Role:
    """Whether the node was made for a value or for a gradient."""
    return "forward" if node._source is None else node._source[1]


def set_recording(on: bool) -> bool:
    """Switch the recording of user lines in this thread; the setting before is returned."""
    before = _recording.on
    _recording.on = on
    return before


@contextmanager
def record_source(on: bool = True) -> Iterator[None]:
    """While it is open, new nodes of this thread note the user's running line."""
    before = set_recording(on)
    try:
        yield
    finally:
        _recording.on = before


class source:
    """While it is open, new nodes of this thread note `line` and `role`.

    Parameters
    ----------
    line : SourceLine or None
    role : {"forward", "backward"}
    """

    __slots__ = ("_before", "_noted")
    _before: tuple[SourceLine | None, Role] | None

    def __init__(self, line: SourceLine | None, role: Role = "forward") -> None:
        self._noted = line, role

    def __enter__(self) -> None:
        self._before = _recording.fixed
        _recording.fixed = self._noted

    def __exit__(self, *error: object) -> None:
        _recording.fixed = self._before


def inherit_source(node: Node, origin: Node) -> Node:
    """`node`, with the line and role of `origin` if it has no line of its own."""
    if node._source is None or (node._source[0] is None and origin._source is not None):
        _set_source(node, origin._source)
    return node


# --- traversals -----------------------------------------------------------------------------------


@final
class Roots(tuple[Node, ...]):
    """Outputs that are looked at again and again: their order is found once."""

    @cached_property
    def order(self) -> list[Node]:
        """What `toposort` gives; not to be changed."""
        return toposort([*self])


def toposort(
    outputs: Iterable[Node], known: Container[Node] = (), *, differentiable: bool = False
) -> list[Node]:
    """All nodes that `outputs` need, inputs before users, in an order the graph alone fixes.

    What only nodes of `known` need is left out; with `differentiable`, also what lies behind ops
    through which no gradient flows.
    """
    if isinstance(outputs, Roots) and not known and not differentiable:
        return outputs.order
    order: list[Node] = []
    seen: set[Node] = set()
    stack = list(outputs)[::-1]
    while stack:
        node = stack[-1]
        if node in seen:
            stack.pop()
            continue
        depth = len(stack)
        ends = differentiable and not node.op.passes_gradients
        if not ends and (not known or node not in known):
            for operand in reversed(node.inputs):
                if operand not in seen:
                    stack.append(operand)
        if len(stack) == depth:
            stack.pop()
            seen.add(node)
            order.append(node)
    return order


def all_nodes(outputs: Iterable[Node]) -> Iterator[Node]:
    """Every node that `outputs` need, and those of the bodies of ops, each once."""
    seen: set[Node] = set()
    graphs = [tuple(outputs)]
    while graphs:
        for node in toposort(graphs.pop()):
            if node not in seen:
                seen.add(node)
                graphs.extend(node.op.bodies())
                yield node


def substitute(outputs: Sequence[Node], mapping: Mapping[Node, Node]) -> list[Node]:
    """`outputs` with the nodes that `mapping` names replaced; what replaces is taken as it is."""
    done: dict[Node, Node] = {}
    for node in toposort(outputs, mapping):
        replacement = mapping.get(node)
        if replacement is not None:
            done[node] = replacement
            continue
        inputs = tuple([done[operand] for operand in node.inputs])
        same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
        if same:
            done[node] = node
            continue
        with source(where(node), role(node)):
            done[node] = Node(node.op, inputs)
    return [done[node] for node in outputs]
