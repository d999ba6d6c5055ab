"""What ops have in common: the forms they are lowered in, type checks, samples for tests.

Knows no concrete op; the tables are filled by the files that define the ops.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar, final

import numpy as np

from ..codegen.dtypes import DType, float64
from ..codegen.expr import Buffer, Expr
from ..codegen.kernel import Stmt
from ..codegen.records import dataclass
from ..codegen.scalar import TABLE
from ..errors import DTypeError, ShapeError
from ..ir.node import Array, Node, Op, Pattern
from ..ir.types import Extent, TensorType, Type

__all__ = [
    "CLASSES",
    "EXAMPLES",
    "ROWS",
    "Array",
    "CallOp",
    "Extent",
    "Index",
    "IndexedOp",
    "InputSpec",
    "LoopOp",
    "Node",
    "Op",
    "Pattern",
    "Read",
    "Sample",
    "TensorType",
    "Type",
    "check_axis",
    "dtype_error",
    "op_class",
    "shape_error",
]

Index = tuple[Expr, ...]
"""One int64 value for each axis."""
Read = Callable[[Index], Expr]
"""The element of an input at an index."""

ROWS: dict[str, Op] = {}
"""Every elementwise row by name."""
CLASSES: dict[str, Callable[..., Op]] = {}
"""Every class of ops with parameters by the name it has in printed graphs."""
EXAMPLES: dict[str, tuple[Any, ...]] = {}
"""The parameters of one op of each class."""


C = TypeVar("C", bound=Callable[..., Op])


def op_class(name: str, *example: Any) -> Callable[[C], C]:
    """Enter a class of ops in `CLASSES`, with the parameters of one of them, which tests ask."""

    def enter(cls: C) -> C:
        CLASSES[name] = cls
        EXAMPLES[name] = example
        return cls

    return enter


class IndexedOp(Op):
    """An op (SOURCE, MAP or MOVE) whose result has a value at each index."""

    @abstractmethod
    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        """The element of the result at `index`; ``reads[i]`` reads input i."""


class LoopOp(Op):
    """An op (LOOP) that is a loop nest over buffers."""

    pattern: ClassVar[Pattern] = Pattern.LOOP

    @abstractmethod
    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        """Statements that fill `output` from `inputs`."""

    def passes_over(self) -> tuple[int, ...]:
        """The operands whose elements the nest reads about once, at places known before.

        What is cheap to compute is computed where it reads them.
        """
        return ()


class CallOp(Op):
    """An op (CALL) whose meaning is its code: a compiled program calls it in the host.

    It may have several results (`infer` gives a TupleType, `ref` a tuple of arrays). What `call`
    raises ends the program that called it, and is raised there.
    """

    pattern: ClassVar[Pattern] = Pattern.CALL

    def call(self, *arrays: Array) -> Any:
        """What a compiled program computes: `ref`, unless failure is told in the values."""
        return self.ref(*arrays)


# --- type checks ----------------------------------------------------------------------------------


def shape_error(op: str, types: Sequence[object], problem: str, remedy: str) -> NoReturn:
    """Raise ShapeError naming the op, its operands and the remedy."""
    raise ShapeError(f"{op}({', '.join(map(str, types))}): {problem}", remedy=remedy)


def dtype_error(op: str, types: Sequence[object], problem: str, remedy: str) -> NoReturn:
    """Raise DTypeError naming the op, its operands and the remedy."""
    raise DTypeError(f"{op}({', '.join(map(str, types))}): {problem}", remedy=remedy)


def check_axis(op: str, operand: TensorType, axis: int) -> int:
    """`axis`, which must be one of the operand's, counted from 0."""
    if not 0 <= axis < len(operand.shape):
        shape_error(
            op,
            (operand,),
            f"there is no axis {axis}",
            f"the operand has {len(operand.shape)} axes; name one of them",
        )
    return axis


# --- samples --------------------------------------------------------------------------------------

_SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0)


@final
@dataclass(frozen=True)
class InputSpec:
    """A recipe for one input of a sample.

    Attributes
    ----------
    shape : tuple of int
    dtype : DType
    low, high : float
        The range of the values.
    distinct : bool
        Values that differ by at least 0.01, for functions with kinks at equal values.
    ordered : bool
        Values that ascend along the last axis, NaN last.
    form : {"", "regular", "definite"}
        Square matrices that have an inverse, or are symmetric and positive definite.
    """

    shape: tuple[int, ...]
    dtype: DType = float64
    low: float = -2.0
    high: float = 2.0
    distinct: bool = False
    ordered: bool = False
    form: str = ""

    def make(self, rng: np.random.Generator, special: bool = False) -> Array:
        """Values for the input; with `special`, NaN, infinities and signed zeros among them."""
        values = self._drawn(rng, special)
        return np.sort(values, -1) if self.ordered else values

    def _drawn(self, rng: np.random.Generator, special: bool) -> Array:
        size = int(np.prod(self.shape, dtype=np.int64))
        kind = self.dtype.kind
        if kind == "bool":
            return rng.integers(0, 2, self.shape).astype(np.bool_)
        if kind != "float":
            low = max(self.low, 0) if kind == "uint" else self.low
            whole = rng.integers(int(low), int(self.high) + 1, self.shape)
            return np.asarray(TABLE["cast"].meaning(whole, self.dtype))
        if self.distinct and size:
            values = np.linspace(self.low, self.high, size) + rng.uniform(0, 0.003, size)
            values = rng.permutation(values)
        else:
            values = rng.uniform(self.low, self.high, size)
        if special:
            places = rng.permutation(size)[: len(_SPECIAL)]
            values[places] = _SPECIAL[: len(places)]
        values = values.reshape(self.shape)
        if self.form == "definite":
            values = values @ np.swapaxes(values, -1, -2)
        if self.form:
            values = values + (2 + self.shape[-1]) * np.eye(self.shape[-1])
        return np.asarray(TABLE["cast"].meaning(values, self.dtype))


@final
@dataclass(frozen=True)
class Sample:
    """An op and inputs to test it on.

    Attributes
    ----------
    op : Op
    inputs : tuple of InputSpec
    gradient : bool
        Whether the result is smooth around the inputs, so that finite differences hold.
    """

    op: Op
    inputs: tuple[InputSpec, ...]
    gradient: bool = True

    def __str__(self) -> str:
        shown = ", ".join(
            f"{spec.dtype.short}{list(spec.shape)}".replace(" ", "") for spec in self.inputs
        )
        return f"{self.op}({shown})"
