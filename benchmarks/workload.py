"""What a workload is: inputs, a floor, and one builder for each library that can run it.

Knows no library, no process and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from .libraries import Library

Inputs = dict[str, np.ndarray]
Builder = Callable[["Library", Inputs], "Task"]


@dataclass(frozen=True)
class Task:
    """One workload, made ready to run in one library.

    Attributes
    ----------
    step
        Runs the workload once. Whatever it returns is waited for before the clock stops.
    outputs
        Turns the last result of ``step`` into the arrays to compare; the result itself if absent.
    stats
        What the library says about what it compiled, if it says anything.
    """

    step: Callable[[], Any]
    outputs: Callable[[Any], Any] | None = None
    stats: Callable[[], dict[str, Any]] | None = None


@dataclass(frozen=True)
class Tolerance:
    """Accept ``|value - reference| <= relative * |reference| + scaled * max|reference|``.

    ``outliers`` is the share of elements that may miss it (a ReLU whose input is zero up to
    rounding sends a whole row of gradients another way).
    """

    relative: float
    scaled: float
    outliers: float = 0.0


TOLERANCES = {
    "float32": Tolerance(relative=1e-4, scaled=2e-5),
    "float64": Tolerance(relative=1e-9, scaled=1e-11),
}


@dataclass(frozen=True)
class Work:
    """What one step must do at least: the floor is computed from it.

    ``moved`` counts each input, output and state once; ``roof`` names the machine limit that
    such traffic is held against.
    """

    moved: int
    flops: int = 0
    roof: Literal["copy", "stream"] = "copy"


@dataclass(frozen=True)
class Workload:
    """A named workload.

    Attributes
    ----------
    name
        What ``--only`` selects.
    title
        One line for people.
    sizes
        Keyword arguments of ``inputs`` and ``work`` for every scale; ``full`` and ``small``.
    inputs
        Makes the arrays from a seeded generator.
    work
        Bytes and flops of one step.
    builders
        One for each of ``numpy``, ``fusegrad``, ``torch``, ``jax``; NumPy's, run in float64, is
        the reference.
    steps
        How many steps run before outputs are compared.
    tolerance
        Overrides the one that follows from the dtype.
    without
        Contenders for which this workload makes no sense.
    floor
        False where the floor says nothing (call overhead).
    summary
        What of the outputs is compared; all of them if absent.
    """

    name: str
    title: str
    sizes: Mapping[str, Mapping[str, Any]]
    inputs: Callable[..., Inputs]
    work: Callable[..., Work]
    builders: Mapping[str, Builder]
    steps: int = 1
    tolerance: Tolerance | None = None
    without: Sequence[str] = field(default=())
    floor: bool = True
    summary: Callable[[list[np.ndarray]], list[np.ndarray]] | None = None

    def make_inputs(self, scale: str) -> Inputs:
        """Return the input arrays, the same in every process."""
        return self.inputs(np.random.default_rng(20), **self.sizes[scale])

    def make_work(self, scale: str) -> Work:
        """Return the least work of one step."""
        return self.work(**self.sizes[scale])
