"""Optimizers and learning rate schedules, as in torch.

User-level code: uses the public interface only.
"""

from __future__ import annotations

from . import schedulers as lr_scheduler
from .adam import Adam, AdamW
from .optimizer import Optimizer, ParamGroup
from .scaler import GradScaler
from .schedulers import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler, StepLR
from .sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "GradScaler",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "Optimizer",
    "ParamGroup",
    "StepLR",
    "lr_scheduler",
]
