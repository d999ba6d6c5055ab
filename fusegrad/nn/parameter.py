"""Parameters: the tensors that a module learns.

User-level code: a parameter is a Tensor, and a module sees that it is one; nothing else.
"""

from __future__ import annotations

from typing import Any

from ..functional import asarray
from ..tensor import Tensor

__all__ = ["Parameter"]
