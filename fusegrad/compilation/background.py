"""A step that a thread compiles, and what runs until it is there: the interpreter of the graph."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..codegen.program import Program
from ..ir.interpret import evaluate
from ..ir.node import Node
from ..runtime.record import Record
from ..runtime.step import Step

__all__ = ["Background", "Interpreted"]


@final
class Interpreted:
    """A step without code: it computes the outputs of a graph one op after the other."""

    calls = ()
    may_fail = False
    arena_bytes = 0

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        count = len(self.outputs)
        program = Program("step", len(self.inputs), count, 0, 0, 0, ())
        self.record = Record(program, (), tuple(range(count)), (), 0, ())

    def __call__(self, addresses: Sequence[int], count: int = 0) -> None:
        """Run once; `addresses` are those of inputs, then of outputs."""
        inputs, outputs = addresses[: len(self.inputs)], addresses[len(self.inputs) :]
        known = {n: _array(a, n) for n, a in zip(self.inputs, inputs, strict=True)}
        values = evaluate(self.outputs, known)
        for node, address, value in zip(self.outputs, outputs, values, strict=True):
            np.copyto(_array(address, node), value)


def _array(address: int, node: Node) -> npt.NDArray[Any]:
    type_ = node.tensor_type
    dtype = type_.dtype.numpy
    size: int = type_.size  # type: ignore[assignment]
    memory = (ctypes.c_char * max(1, size * dtype.itemsize)).from_address(address)
    return np.ndarray(type_.shape, dtype, memory)  # type: ignore[arg-type]


@final
class Background:
    """A compilation that a thread works on.

    Parameters
    ----------
    compile_ : callable
        Gives the step, and where it came from.
    """

    def __init__(self, compile_: Callable[[], tuple[Step, str]]) -> None:
        self._compile = compile_
        self._made: tuple[Step, str] | None = None
        self._error: Exception | None = None
        self._process = os.getpid()
        # Not a daemon: the code generator must not be in the middle when the process ends.
        self._thread = threading.Thread(target=self._run, name="fusegrad.compile")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._made = self._compile()
        except Exception as error:
            self._error = error

    def take(self) -> tuple[Step, str] | None:
        """The step once it is there, None before; what its compilation raised is raised."""
        if self._process != os.getpid() and self._made is None and self._error is None:
            # A forked child has no such thread.
            self._run()
        if self._error is not None:
            raise self._error
        return self._made

    def wait(self) -> None:
        """Until it is there."""
        if self._process == os.getpid():
            self._thread.join()
