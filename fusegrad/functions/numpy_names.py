"""NumPy's names of reductions that the array API names differently.

Knows only the functions themselves: a name here is one more for the same function.
"""

from __future__ import annotations

from .reductions import max as amax
from .reductions import min as amin

__all__ = ["amax", "amin"]
