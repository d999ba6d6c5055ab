"""Compares the outputs of a contender with the reference.

Knows no library and no process: arrays in, a verdict out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .workload import TOLERANCES, Tolerance


@dataclass(frozen=True)
class Verdict:
    """Whether all outputs agree; ``worst`` is the largest error in units of what is allowed."""

    ok: bool
    worst: float
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary for JSON."""
        return asdict(self)


def save(outputs: Sequence[np.ndarray], folder: Path) -> None:
    """Write every output as ``N.npy`` under ``folder``."""
    for index, array in enumerate(outputs):
        np.save(folder / f"{index}.npy", array)


def load(folder: Path) -> list[np.ndarray]:
    """Map the arrays that ``save`` wrote."""
    count = len(list(folder.glob("*.npy")))
    return [np.load(folder / f"{index}.npy", mmap_mode="r") for index in range(count)]


def compare(
    outputs: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    tolerance: Tolerance | None = None,
) -> Verdict:
    """Compare every output with its reference, element by element.

    Examples
    --------
    >>> compare([np.array([1.0, 2.0])], [np.array([1.0, 2.0])]).ok
    True
    >>> compare([np.array([1.0, 3.0])], [np.array([1.0, 2.0])]).message
    'output 0: 1 of 2 elements differ, the worst by 1 (3 instead of 2)'
    """
    if len(outputs) != len(reference):
        return Verdict(False, np.inf, f"{len(outputs)} outputs instead of {len(reference)}")
    worst = 0.0
    for index, (value, expected) in enumerate(zip(outputs, reference, strict=True)):
        if value.shape != expected.shape:
            message = f"output {index}: shape {value.shape} instead of {expected.shape}"
            return Verdict(False, np.inf, message)
        allowed = tolerance or TOLERANCES.get(value.dtype.name, Tolerance(0.0, 0.0))
        error, message = _compare_one(value, expected, allowed)
        if message:
            return Verdict(False, error, f"output {index}: {message}")
        worst = max(worst, error)
    return Verdict(True, worst, "equal within tolerance")


def _compare_one(
    value: np.ndarray, expected: np.ndarray, tolerance: Tolerance
) -> tuple[float, str]:
    """Return the error in units of what is allowed, and a message where it is too large."""
    if not value.size:
        return 0.0, ""
    value, expected = np.atleast_1d(value), np.atleast_1d(expected)
    reference = expected.astype(np.float64)
    finite = np.isfinite(reference)
    size = np.abs(reference, where=finite, out=np.zeros_like(reference))
    with np.errstate(invalid="ignore"):
        difference = np.abs(value.astype(np.float64) - reference)
    difference[(value == reference) | (np.isnan(reference) & np.isnan(value))] = 0
    bound = tolerance.relative * size + tolerance.scaled * np.max(size)
    wrong = ~(difference <= bound)
    count = int(np.count_nonzero(wrong))
    if count > tolerance.outliers * value.size:
        at = np.unravel_index(int(np.argmax(np.where(wrong, difference, -1))), value.shape)
        message = (
            f"{count} of {value.size} elements differ, the worst by {difference[at]:.6g} "
            f"({value[at]:.6g} instead of {reference[at]:.6g})"
        )
        return float(difference[at] / max(bound[at], 1e-300)), message
    within = difference[~wrong] / np.maximum(bound[~wrong], 1e-300)
    return float(np.max(within, initial=0.0)), ""
