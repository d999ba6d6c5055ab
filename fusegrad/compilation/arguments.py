"""The arguments of a function while it is traced: what stands for them, and what became of them.

Knows traces, tensors and views; runs nothing. A Tensor is changed by a call as by the function that
is called, so what a function writes into one, or into its ``.grad``, is an output of the program.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from typing import Any, Literal, final

import numpy as np

from ..codegen.varying import PROBES, Varying
from ..errors import StateError
from ..ir.node import Node
from ..runtime.devices import use
from ..tensors.context import Cell
from ..tensors.placement import device_of_cell
from ..tensors.sharing import Borrowed, Result, relatives
from ..tensors.tensor_class import Tensor, as_tensor, record
from ..tensors.trace import Trace
from .layout import Layout, layout_of
from .signature import FLOAT, check_array, leaf_key

__all__ = ["Arguments", "Kind", "Leading", "borrowed", "check_apart", "pattern_of"]

Kind = Literal["array", "view", "number", "static", "bound"]
"""What an argument is: an input, one read in place, a number, part of the signature, or a tensor
that the function knows from elsewhere too."""


_FEWER = 64
"""A batch of so many times fewer elements is computed in its own way."""


@final
class Leading:
    """The leading extents of arguments for which a function chose how to compute.

    Examples
    --------
    >>> seen = Leading()
    >>> [seen.likely("x", extent) for extent in (64, 37, 100, 37, 70)]
    [64, 64, 100, 64, 100]
    """

    def __init__(self) -> None:
        self._extents: dict[str, set[int]] = {}

    def likely(self, name: str, extent: int) -> int:
        """That of calls which were as large or larger; the extent itself if there were none."""
        known = self._extents.setdefault(name, set())
        found = min((e for e in known if extent <= e <= _FEWER * extent), default=extent)
        known.add(found)
        return found


@final
class Arguments:
    """What a function is called with while it is traced.

    Parameters
    ----------
    trace : Trace
        Open.
    leaves : sequence
        The arguments of the call, without their containers.
    names : sequence of str
        Where each stands, for messages.
    static : sequence of bool
        Which are part of the signature.
    bound : collection of int
        Tensors that the function uses from outside too: they are passed as they are.
    together : bool
        Whether a tensor that is passed twice is one inside of the function as well.
    leading : Leading
        What the arguments were before.

    Attributes
    ----------
    values : list
        What the function gets for each argument.
    kinds : list of Kind
    inputs : list of Node
        The variables of the arrays, and then those of gradients.
    numbers : list of Node
        The variables of Python numbers.
    formats : list of str
        Their dtypes.
    grads : list of int
        The arguments whose ``.grad`` is an input.
    """

    def __init__(
        self,
        trace: Trace,
        leaves: Sequence[Any],
        names: Sequence[str],
        static: Sequence[bool],
        bound: Collection[int],
        together: bool,
        leading: Leading,
    ) -> None:
        self.values: list[Any] = []
        self.kinds: list[Kind] = []
        self.inputs: list[Node] = []
        self.numbers: list[Node] = []
        self.formats: list[str] = []
        self.grads: list[int] = []
        self._trace = trace
        self._variables: dict[int, Node] = {}
        self._grad_nodes: dict[int, tuple[Tensor, Node]] = {}
        self._leading = leading
        self._extents: dict[int, int] = {}
        known: dict[int, Tensor] = {}
        for place, (value, name, fixed) in enumerate(zip(leaves, names, static, strict=True)):
            layout = layout_of(value) if type(value) is np.ndarray and not fixed else None
            kind = "static" if fixed else _kind(value, layout, place in bound)
            self.kinds.append(kind)
            if kind in ("array", "view"):
                tensor, node = self._array(value, name, layout)
                self.inputs.append(node)
                if together and isinstance(value, Tensor):
                    tensor = known.setdefault(id(value), tensor)
                self.values.append(tensor)
                if tensor._node is node:
                    self._variables[place] = node
            elif kind == "number":
                self.values.append(self._number(value, name))
            else:
                self.values.append(value)
        self._take_grads(leaves, names)

    def _array(self, value: Any, name: str, layout: Layout | None) -> tuple[Tensor, Node]:
        trace = self._trace
        if not isinstance(value, Tensor):
            check_array(name, value)
        if layout is not None:
            memory, node = trace.input(layout.nominal, value.dtype, name)
            tensor = record(layout.apply, (memory,))
            tensor._shared = Borrowed(f"the argument {name!r}", "a NumPy array")
            return tensor, node
        weak = isinstance(value, Tensor) and value._weak
        device = device_of_cell(value) if use.on and isinstance(value, Tensor) else ""
        trained = isinstance(value, Tensor) and value.requires_grad
        shape = value.shape if trained else self._varying(value.shape, name)
        tensor, node = trace.input(shape, value.dtype, name, weak, device)
        if not isinstance(value, Tensor):
            number = isinstance(value, np.generic)
            tensor._shared = Borrowed(
                f"the argument {name!r}", "a number" if number else "a NumPy array", number
            )
        elif isinstance(value._shared, Borrowed):
            tensor._shared = Borrowed(f"the argument {name!r}", value._shared.kind)
        elif value.requires_grad:
            tensor.requires_grad = True
            tensor._shared = None if value._leaf else Result()
            node.op.token.tensor = weakref.ref(tensor)  # type: ignore[attr-defined]
        return tensor, node

    def _varying(self, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
        """A shape whose leading extent is known to differ from call to call, as a batch does.

        Equal ones come from the same: arguments with a batch have it in common.
        """
        if not shape or shape[0] < 2:
            return shape
        extent, known = shape[0], self._extents
        if extent not in known:
            number = len(known)
            often = self._leading.likely(name, extent)
            varies = number < len(PROBES)
            known[extent] = Varying(extent, PROBES[number], often) if varies else extent
        return (known[extent], *shape[1:])

    def _number(self, value: float, name: str) -> Tensor:
        dtype = "float64" if leaf_key(value) is FLOAT else "int64"
        tensor, node = self._trace.input((), dtype, name, weak=True)
        tensor._shared = Borrowed(f"the argument {name!r}", "a number", True)
        self.numbers.append(node)
        self.formats.append(dtype)
        return tensor

    def _take_grads(self, leaves: Sequence[Any], names: Sequence[str]) -> None:
        """Variables for the gradients that arguments have already."""
        for place, (value, name) in enumerate(zip(leaves, names, strict=True)):
            if self.kinds[place] != "array" or not isinstance(value, Tensor):
                continue
            mine, grad = self.values[place], value._grad
            if grad is None or not value.requires_grad or mine._grad is not None:
                continue
            device = device_of_cell(grad) if use.on else ""
            kind = grad._type
            tensor, node = self._trace.input(kind.shape, kind.dtype, f"{name}.grad", device=device)
            mine._grad = tensor
            self._grad_nodes[place] = tensor, node
            self.grads.append(place)
            self.inputs.append(node)

    # --- afterwards -------------------------------------------------------------------------------

    def written(self) -> list[int]:
        """The arguments to which the function wrote."""
        return [
            place
            for place, node in self._variables.items()
            if self.values[place]._read() is not node
        ]

    def new_grads(self) -> list[tuple[int, Node | None]]:
        """The arguments with another ``.grad`` than before, None if they have none any more."""
        found: list[tuple[int, Node | None]] = []
        for place, kind in enumerate(self.kinds):
            if kind != "array" or place not in self._variables:
                continue
            tensor, node = self._grad_nodes.get(place, (None, None))
            grad: Tensor | None = self.values[place]._grad
            if grad is None:
                if tensor is not None:
                    found.append((place, None))
            elif grad is not tensor or grad._read() is not node:
                found.append((place, grad._read()))
        return found


def _kind(value: Any, layout: Layout | None, bound: bool) -> Kind:
    if bound:
        return "bound"
    if layout is not None:
        return "view"
    if isinstance(value, (np.ndarray, np.generic, Tensor)):
        return "array"
    return "number" if type(value) in (float, int) else "static"


def pattern_of(leaves: Sequence[Any]) -> tuple[int, ...]:
    """Which tensors among the arguments are the same: for each the first place where it stands."""
    first: dict[int, int] = {}
    return tuple(
        first.setdefault(id(value), place)
        for place, value in enumerate(leaves)
        if isinstance(value, Tensor)
    )


def check_apart(leaves: Sequence[Any], written: Sequence[int], others: Collection[Cell]) -> None:
    """Raise StateError if an argument that is written shares elements with another tensor."""
    for place in written:
        tensor = leaves[place]
        if tensor._shared is None:
            continue
        seen = [v for v in (*leaves, *others) if isinstance(v, Tensor) and v is not tensor]
        if relatives(tensor, seen):
            raise StateError(
                "a compiled function changes an argument in place that shares elements with "
                "another tensor which it uses: one is a view of the other",
                remedy="pass the tensor alone, and take the view of it inside of the function",
            )


def borrowed(array: Any) -> Tensor:
    """An array that is no Tensor as one, to which nothing may be written."""
    tensor = as_tensor(array)
    number = isinstance(array, np.generic)
    what = "a number" if number else f"a {type(array).__module__}.{type(array).__name__}"
    tensor._shared = Borrowed("", what, number)
    return tensor
