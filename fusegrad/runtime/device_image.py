"""The code of a step for a GPU as it is loaded: launches, calls of libraries, machine code.

Knows kernels, what libraries are asked for, and plain data; knows no driver.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from enum import Enum
from itertools import chain
from typing import Any, NamedTuple, TypeAlias, final

from ..codegen.expr import Buffer
from ..codegen.records import dataclass
from ..codegen.schedule.gpu_library import product_splits
from ..codegen.schedule.gpu_library_calls import (
    Activation,
    Direction,
    Lattice,
    LibraryCall,
    LibraryConvolution,
    LibraryProduct,
    Matrix,
    Split,
    Vector,
)
from ..codegen.schedule.gpu_library_windows import convolution_splits
from .device_code import DeviceCode, Entry
from .devices import DeviceKernel

__all__ = [
    "Image",
    "Launches",
    "Memory",
    "Parts",
    "Piece",
    "Served",
    "call_of",
    "launches",
    "memory_of",
    "parts_of",
]

_LINE = 256


@final
@dataclass(frozen=True)
class Launches:
    """Launches of one kernel, one after the other.

    Attributes
    ----------
    entries : tuple of Entry
    further : int
        0, or the parameter that it has besides those of the kernel it is a part of: -1 for what a
        product left, -2 for the vector that one takes.
    """

    entries: tuple[Entry, ...]
    further: int = 0


@final
@dataclass(frozen=True)
class Served:
    """A call of a library, and the algorithm that it chose for it."""

    call: LibraryCall
    algorithm: bytes
    workspace: int


Piece: TypeAlias = Launches | Served


class Memory(NamedTuple):
    """Bytes between the pieces of one kernel: a result, a vector, and what is no longer than a
    piece."""

    between: int = 0
    vector: int = 0
    scratch: int = 0

    def joined(self, other: Memory) -> Memory:
        """What serves both, one after the other."""
        return Memory(*map(max, zip(self, other, strict=True)))

    @property
    def total(self) -> int:
        """Bytes of all of it."""
        return sum(_rounded(n) for n in self)

    def places(self, start: int) -> tuple[int, int, int]:
        """The addresses of all three where the memory begins at `start`."""
        vector = start + _rounded(self.between)
        return start, vector, vector + _rounded(self.vector)


def _rounded(nbytes: int) -> int:
    return -(-nbytes // _LINE) * _LINE


class Parts(NamedTuple):
    """A kernel as what is compiled and what a library does, in order."""

    pieces: tuple[tuple[DeviceKernel, int] | LibraryCall, ...]
    memory: Memory

    @property
    def kernels(self) -> list[DeviceKernel]:
        """What is compiled."""
        return [p[0] for p in self.pieces if isinstance(p, tuple)]


def _splits(kernel: DeviceKernel) -> Iterator[Split]:
    given = kernel.kernel, kernel.size, kernel.shared
    return chain(convolution_splits(*given), product_splits(*given))


def call_of(kernel: DeviceKernel) -> LibraryCall | None:
    """What a library would be asked for first; None where a kernel is nothing that one does."""
    split = next(_splits(kernel), None)
    return None if split is None else split.call


def parts_of(kernel: DeviceKernel, serves: Callable[[LibraryCall], bool]) -> Parts:
    """The parts of a kernel; it is one where no library serves.

    Parameters
    ----------
    kernel : DeviceKernel
    serves : callable
        Whether a library does a call.
    """
    split = next((s for s in _splits(kernel) if serves(s.call)), None)
    if split is None:
        return Parts(((kernel, 0),), Memory())
    pieces: list[tuple[DeviceKernel, int] | LibraryCall] = []
    if split.before is not None:
        pieces.append((DeviceKernel(split.before, kernel.size, kernel.target), -2))
    pieces.append(split.call)
    if split.after is not None:
        further = 0 if split.between is None else -1
        pieces.append((DeviceKernel(split.after, kernel.size, kernel.target), further))
    return Parts(tuple(pieces), Memory(_bytes(split.between), _bytes(split.vector)))


def _bytes(buffer: Buffer | None) -> int:
    if buffer is None:
        return 0
    return math.prod(n for n in buffer.shape if isinstance(n, int)) * buffer.dtype.itemsize


def memory_of(parts: Sequence[Parts], pieces: Sequence[Sequence[Piece]], codes: int) -> Memory:
    """What is needed between the pieces of all kernels; `codes` is what generated ones need."""
    found = Memory(scratch=codes)
    for part, made in zip(parts, pieces, strict=True):
        most = max((p.workspace for p in made if isinstance(p, Served)), default=0)
        found = found.joined(part.memory._replace(scratch=most))
    return found


@final
@dataclass(frozen=True)
class Image:
    """The code of all kernels of a step.

    Attributes
    ----------
    kernels : tuple of tuple of Piece
        What each kernel is, in order.
    memory : Memory
        What lies between the pieces of a kernel.
    tf32 : bool
        How float32 is multiplied by a library.
    code : bytes
        A cubin with all entries; nothing where there are none.
    """

    kernels: tuple[tuple[Piece, ...], ...]
    memory: Memory
    tf32: bool
    code: bytes

    def to_json(self) -> dict[str, Any]:
        """All but the code as lists and numbers."""
        return {
            "kernels": [[_plain(piece) for piece in pieces] for pieces in self.kernels],
            "memory": list(self.memory),
            "tf32": self.tf32,
        }

    @staticmethod
    def from_json(record: dict[str, Any], code: bytes) -> Image:
        """The inverse of `to_json`."""
        kernels = tuple(tuple(map(_made, pieces)) for pieces in record["kernels"])
        return Image(kernels, Memory(*record["memory"]), record["tf32"], code)


def launches(code: DeviceCode, further: int) -> Launches:
    """The launches of compiled code that have blocks."""
    return Launches(tuple(e for e in code.entries if e.blocks), further)


def _plain(piece: Piece) -> Any:
    if isinstance(piece, Launches):
        return [piece.further, [[e.name, e.blocks, e.threads] for e in piece.entries]]
    call = asdict(piece.call)
    for name, value in call.items():
        if isinstance(value, Enum):
            call[name] = value.value
    kind = type(piece.call).__name__
    return {
        "kind": kind,
        "call": call,
        "algorithm": piece.algorithm.hex(),
        "workspace": piece.workspace,
    }


def _made(plain: Any) -> Piece:
    if isinstance(plain, list):
        further, entries = plain
        return Launches(tuple(Entry(*e) for e in entries), further)
    made = _convolution if plain["kind"] == LibraryConvolution.__name__ else _product
    call = made(dict(plain["call"]))
    return Served(call, bytes.fromhex(plain["algorithm"]), plain["workspace"])


def _product(given: dict[str, Any]) -> LibraryProduct:
    for name in ("left", "right", "result", "addend", "beside"):
        given[name] = given[name] and Matrix(**given[name])
    given["bias"] = given["bias"] and Vector(**given["bias"])
    given["activation"] = Activation(given["activation"])
    given["offsets"] = tuple(tuple(o) for o in given["offsets"])
    return LibraryProduct(**given)


def _convolution(given: dict[str, Any]) -> LibraryConvolution:
    for name in ("x", "w", "y"):
        shape, strides = tuple(given[name]["shape"]), tuple(given[name]["strides"])
        given[name] = Lattice(**given[name] | {"shape": shape, "strides": strides})
    given["direction"] = Direction(given["direction"])
    for name in ("steps", "dilations", "low", "high"):
        given[name] = tuple(given[name])
    return LibraryConvolution(**given)
