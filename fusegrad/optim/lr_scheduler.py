"""Learning rate schedules under torch's name of the module.

Holds the public names only.
"""

from __future__ import annotations

from .combined import ChainedScheduler, ReduceLROnPlateau, SequentialLR
from .cycles import CyclicLR, OneCycleLR
from .decays import (
    ConstantLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
)
from .schedulers import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler, StepLR

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
