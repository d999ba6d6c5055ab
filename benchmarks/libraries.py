"""The contenders: how each library takes an array, compiles a function and is waited for.

Knows no workload and no clock; imports each optional library in one place, when it is asked for.
"""

from __future__ import annotations

import functools
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from .workload import Task


class Library(ABC):
    """One way of running a workload, in one process."""

    contender: str
    """Name in reports."""
    family: str
    """Which builder of a workload it uses."""
    packages: tuple[str, ...]
    """What must be installed; the versions are recorded."""
    caches = False
    """True where a second process may find compiled code on disk."""

    def __init__(self) -> None:
        self.module: Any = importlib.import_module(self.packages[0])

    def array(self, value: np.ndarray) -> Any:
        """Convert an input to the library's own array."""
        return value

    def numpy(self, value: Any) -> np.ndarray:
        """Convert a result to NumPy."""
        return np.asarray(value)

    @abstractmethod
    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a whole function, as far as the library can; eager libraries return it."""

    def compile_step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a training step: a function with backward pass and update inside."""
        return self.compile(function)

    def compile_forward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile the forward part of a step, where the library cannot compile the step."""
        return function

    def wait(self, result: Any) -> None:  # noqa: B027  only an asynchronous library waits
        """Return when the result is there."""

    def stats(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Return what the library says about a compiled function."""
        return {}

    def task(self, function: Callable[..., Any], *arguments: np.ndarray) -> Task:
        """Return the task of calling a pure function, compiled, on the same arrays again."""
        compiled = self.compile(function)
        step = functools.partial(compiled, *(self.array(value) for value in arguments))
        return Task(step=step, stats=lambda: self.stats(compiled))

    def outputs(self, result: Any) -> list[np.ndarray]:
        """Flatten a result (one array, or a nest of tuples and lists) to NumPy arrays."""
        if isinstance(result, tuple | list):
            return [array for part in result for array in self.outputs(part)]
        return [self.numpy(result)]


class NumPy(Library):
    """NumPy, written out by hand."""

    contender = "numpy"
    family = "numpy"
    packages = ("numpy",)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function


class Fused(Library):
    """fusegrad, compiled."""

    contender = "fused"
    family = "fusegrad"
    packages = ("fusegrad",)
    caches = True

    def __init__(self) -> None:
        super().__init__()
        self.nn = importlib.import_module("fusegrad.nn")
        self.optim = importlib.import_module("fusegrad.optim")
        self.functional = importlib.import_module("fusegrad.nn.functional")

    def array(self, value: np.ndarray) -> Any:
        return self.module.asarray(value)

    def numpy(self, value: Any) -> np.ndarray:
        return np.array(value.detach().numpy())

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = self.module.compile(function)
        return compiled

    def stats(self, function: Callable[..., Any]) -> dict[str, Any]:
        stats = function.stats()  # type: ignore[attr-defined]
        names = ("kernels", "arena_bytes", "origins", "compile_ms", "drafts")
        return {name: getattr(stats, name) for name in names}


class Eager(Fused):
    """fusegrad, op by op."""

    contender = "eager"
    caches = False

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            with self.module.eager():
                return function(*arguments)

        return run

    def stats(self, function: Callable[..., Any]) -> dict[str, Any]:
        return {}


class Torch(Library):
    """torch, op by op."""

    contender = "torch"
    family = "torch"
    packages = ("torch",)

    def __init__(self) -> None:
        super().__init__()
        self.nn = self.module.nn
        self.optim = self.module.optim
        self.functional = self.module.nn.functional

    def array(self, value: np.ndarray) -> Any:
        return self.module.from_numpy(value.copy())

    def numpy(self, value: Any) -> np.ndarray:
        return np.array(value.detach().numpy())

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function


class TorchChannelsLast(Torch):
    """torch, op by op, on images whose channels lie side by side."""

    contender = "torch channels last"

    def array(self, value: np.ndarray) -> Any:
        array = super().array(value)
        if value.ndim != 4:
            return array
        return array.contiguous(memory_format=self.module.channels_last)


class TorchCompile(Torch):
    """torch.compile of the forward pass; its backward pass and optimizer run as torch does."""

    contender = "torch.compile"
    caches = True

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = self.module.compile(function)
        return compiled

    def compile_step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def compile_forward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self.compile(function)


class Jax(Library):
    """jax.jit of the whole step."""

    contender = "jax"
    family = "jax"
    packages = ("jax", "jaxlib")
    caches = True

    def array(self, value: np.ndarray) -> Any:
        return self.module.numpy.array(value)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = self.module.jit(function)
        return compiled

    def wait(self, result: Any) -> None:
        if isinstance(result, tuple | list):
            for part in result:
                self.wait(part)
        else:
            result.block_until_ready()


LIBRARIES: tuple[type[Library], ...] = (Eager, Fused, NumPy, Torch, TorchCompile, Jax)
VARIANTS: tuple[type[Library], ...] = (TorchChannelsLast,)
"""Contenders of some benchmarks only."""


def find(contender: str) -> type[Library]:
    """Return the library class of that name."""
    for library in (*LIBRARIES, *VARIANTS):
        if library.contender == contender:
            return library
    known = ", ".join(library.contender for library in LIBRARIES)
    raise ValueError(f"unknown contender {contender!r}; known are {known}")
