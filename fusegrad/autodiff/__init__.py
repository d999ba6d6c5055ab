"""Reverse-mode differentiation of graphs.

Calls the rules of ops, and names no op.
"""

from __future__ import annotations

from .custom import CustomVjp, custom_call, inline_custom
from .reverse import vjp

__all__ = ["CustomVjp", "custom_call", "inline_custom", "vjp"]
