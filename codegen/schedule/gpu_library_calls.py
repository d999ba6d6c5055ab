"""What a library of the GPU is asked for: products of matrices, and convolutions, as plain data.

Records alone: which kernels are such is found in `gpu_library` and `gpu_library_windows`, and what
a library is told of them is in the one file that knows it.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias, final

from ..expr import Buffer
from ..kernel import Kernel
from ..records import dataclass

__all__ = [
    "Activation",
    "Direction",
    "Lattice",
    "LibraryCall",
    "LibraryConvolution",
    "LibraryProduct",
    "Matrix",
    "Split",
    "Vector",
]


class Activation(Enum):
    """What is done to each element last."""

    NONE = "none"
    RELU = "relu"
    GELU = "gelu"
    """The form with tanh."""
    GELU_SLOPE = "slope of gelu"
    """Not an activation: the product is multiplied by the derivative of GELU."""


@final
@dataclass(frozen=True)
class Matrix:
    """Matrices in a parameter: ``[b, i, j]`` is element ``offset + b*batch + i*row + j*column``.

    Parameter -1 is the memory between a product and the kernel that goes on with it.
    """

    parameter: int
    dtype: str
    offset: int
    batch: int
    row: int
    column: int


@final
@dataclass(frozen=True)
class Vector:
    """One number for each column (or row): element `offset` on of a parameter, side by side.

    Parameter -2 is the memory in which a kernel before the product left it.
    """

    parameter: int
    dtype: str
    offset: int
    of_columns: bool


@final
@dataclass(frozen=True)
class LibraryProduct:
    """What a library is asked for: the module says what it means.

    Attributes
    ----------
    batch, rows, columns, depth : int
    left, right, result : Matrix
    alpha : float
    addend : Matrix or None
    bias : Vector or None
    activation : Activation
    beside : Matrix or None
        Where the library writes what GELU is applied to, or reads it for the derivative.
    offsets : tuple of (int, int, int, int)
        One call for each, with these elements added to the offsets of left, right, result and
        addend.
    """

    batch: int
    rows: int
    columns: int
    depth: int
    left: Matrix
    right: Matrix
    result: Matrix
    alpha: float = 1.0
    addend: Matrix | None = None
    bias: Vector | None = None
    activation: Activation = Activation.NONE
    beside: Matrix | None = None
    offsets: tuple[tuple[int, int, int, int], ...] = ((0, 0, 0, 0),)


class Direction(Enum):
    """What of a convolution is computed."""

    FORWARD = "forward"
    WEIGHT = "weight"
    """The derivative by the weight."""


@final
@dataclass(frozen=True)
class Lattice:
    """An array in a parameter: an element is at `offset` plus its indices times `strides`.

    Parameter -1 is the memory between a convolution and the kernel that goes on with it.
    """

    parameter: int
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@final
@dataclass(frozen=True)
class LibraryConvolution:
    """A convolution, or its derivative by the weight.

    ``y[n, o, p] = sum over c and t of w[o, c, t] * x[n, g(o) + c, p*steps + t*dilations - low]``

    The first axis of `x` and `y` are images, the second one channels; `x` has a multiple of the
    channels of `w`, one group of them for each part of the channels of `y`. Beyond its edges `x` is
    zero. For `Direction.WEIGHT`, `w` is what is computed: the sum of ``y[n, o, p]`` times the same
    element of `x`.

    Attributes
    ----------
    direction : Direction
    x, w, y : Lattice
    steps, dilations, low, high : tuple of int
        One number for each axis of a window; `low` and `high` are zeros in front and behind.
    """

    direction: Direction
    x: Lattice
    w: Lattice
    y: Lattice
    steps: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]


LibraryCall: TypeAlias = LibraryProduct | LibraryConvolution


@final
@dataclass(frozen=True)
class Split:
    """A kernel as a call of a library and kernels around it.

    Attributes
    ----------
    call : LibraryCall
    between : Buffer or None
        What the call writes where that is no parameter; the last parameter of `after`.
    after : Kernel or None
        What follows, over the parameters of the kernel (and `between`).
    vector : Buffer or None
        What `before` writes, its last parameter.
    before : Kernel or None
        Makes the bias in the dtype that the library takes.
    """

    call: LibraryCall
    between: Buffer | None = None
    after: Kernel | None = None
    vector: Buffer | None = None
    before: Kernel | None = None
