"""Gradients of recorded tensors, under torch's names.

What works on functions lies in `fusegrad` itself: `grad`, `vjp`, `jvp`, `vmap` and the rest.
"""

from __future__ import annotations

from ..tensors.context import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from ..transforms.custom_function import Function
from . import functional
from .engine import backward, grad

__all__ = [
    "Function",
    "backward",
    "enable_grad",
    "functional",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
