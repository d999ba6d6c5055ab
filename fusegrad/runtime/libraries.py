"""NVIDIA's libraries as a step uses them: which does a call, what it chose, how it is asked.

Knows the calls and the files that know one library each; a library that is not installed is left
out, and says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, final

from ..codegen.schedule.gpu_library_calls import (
    Activation,
    Direction,
    LibraryCall,
    LibraryConvolution,
)
from .locks import recursive_lock

__all__ = ["Algorithm", "Libraries", "Library", "described"]


class Algorithm(NamedTuple):
    """What was chosen for a call: plain data, which a step keeps.

    Attributes
    ----------
    code : bytes
    workspace : int
        Bytes that it needs.
    """

    code: bytes
    workspace: int


class Library(Protocol):
    """A library in one process; the context of a GPU is current where it is asked."""

    version: int

    def choose(self, index: int, call: Any, tf32: bool) -> Algorithm | None:
        """The algorithm that it expects to be fastest among those that give the same bits every
        time, None if it has none."""

    def run(
        self,
        index: int,
        call: Any,
        algorithm: Algorithm,
        tf32: bool,
        address: Callable[[int], int],
        workspace: int,
        stream: int,
    ) -> None:
        """Ask for a call.

        Parameters
        ----------
        index : int
            The GPU.
        call : LibraryCall
        algorithm : Algorithm
        tf32 : bool
        address : callable
            Where a parameter is, by its number.
        workspace : int
            The address of memory that the algorithm may use.
        stream : int
        """


@final
class Libraries:
    """All libraries of a process, each opened when it is first asked for.

    Parameters
    ----------
    open_library : callable
        What opens a library of NVIDIA's by its name.

    Attributes
    ----------
    missing : dict of str to str
        Why a library is not used, by its title.
    """

    def __init__(
        self,
        open_library: Callable[[str], Any],
        known: dict[str, tuple[str, Callable[[Any], Library]]],
    ) -> None:
        self.missing: dict[str, str] = {}
        self._open = open_library
        self._known = known
        self._found: dict[str, Library | None] = {}
        self._lock = recursive_lock()

    def find(self, title: str) -> Library | None:
        """A library, None if it is not installed."""
        with self._lock:
            if title not in self._found:
                name, made = self._known[title]
                self._found[title] = None
                try:
                    self._found[title] = made(self._open(name))
                except (OSError, ImportError, AttributeError, RuntimeError) as problem:
                    self.missing[title] = f"{type(problem).__name__}: {problem}".split("\n")[0]
            return self._found[title]

    def versions(self) -> dict[str, int | None]:
        """Of every library its version, None if it is not installed."""
        found = {title: self.find(title) for title in self._known}
        return {title: None if one is None else one.version for title, one in found.items()}

    def serving(self, call: LibraryCall) -> Library | None:
        """The library that does such calls."""
        return self.find(_title(call))


def _title(call: LibraryCall) -> str:
    return "cuDNN" if isinstance(call, LibraryConvolution) else "cuBLASLt"


def described(call: LibraryCall) -> str:
    """A call in words, with the library that does it."""
    if isinstance(call, LibraryConvolution):
        what = "convolution" if call.direction is Direction.FORWARD else "derivative by the weight"
        x, w = ("x".join(map(str, lattice.shape)) for lattice in (call.x, call.w))
        return f"{_title(call)}, {what}: {call.x.dtype}, images {x}, weights {w}"
    batch = f"{call.batch} times " if call.batch > 1 else ""
    after = [call.activation.value] if call.activation is not Activation.NONE else []
    after += [name for name in ("addend", "bias", "beside") if getattr(call, name) is not None]
    return (
        f"{_title(call)}, product: {call.left.dtype}, {batch}{call.rows}x{call.depth} by "
        f"{call.depth}x{call.columns}" + "".join(f", {name}" for name in after)
    )
