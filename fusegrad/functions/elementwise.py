"""The elementwise functions of ``fg``: what the rows of `ops.elementwise` are to users.

Their names and types are in the stub beside this file, which a test writes.
"""

from __future__ import annotations

from ..ops.elementwise import FUNCTIONS
from .from_rows import functions_of

# Under this name doctest finds their examples.
__test__ = functions_of(FUNCTIONS.values(), "fg")
__all__ = list(__test__)

globals().update(__test__)
