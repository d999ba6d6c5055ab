"""Optimizers and learning rate schedules, as in torch.

User-level code: uses the public interface only.
"""

from __future__ import annotations

from . import lr_scheduler, swa_utils
from .adam import Adam, AdamW
from .adam_kin import Adamax, NAdam, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop, Rprop
from .averaging import ASGD
from .lbfgs import LBFGS
from .lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler, StepLR
from .optimizer import Optimizer, ParamGroup
from .scaler import GradScaler
from .sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "CosineAnnealingLR",
    "GradScaler",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "NAdam",
    "Optimizer",
    "ParamGroup",
    "RAdam",
    "RMSprop",
    "Rprop",
    "StepLR",
    "lr_scheduler",
    "swa_utils",
]
