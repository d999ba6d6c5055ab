"""NumPy's names of functions that the array API names differently.

Knows only the functions themselves: a name here is one more for the same function.
"""

from __future__ import annotations

from .functional import abs as absolute
from .functional import abs as fabs
from .functional import acos as arccos
from .functional import acosh as arccosh
from .functional import asin as arcsin
from .functional import asinh as arcsinh
from .functional import atan as arctan
from .functional import atan2 as arctan2
from .functional import atanh as arctanh
from .functional import bitwise_invert as bitwise_not
from .functional import bitwise_invert as invert
from .functional import bitwise_left_shift as left_shift
from .functional import bitwise_right_shift as right_shift
from .functional import conj as conjugate
from .functional import divide as true_divide
from .functional import pow as power
from .functional import remainder as mod
from .functional import round as around
from .functional import round as rint
from .functional import trunc as fix
from .reductions import max as amax
from .reductions import min as amin

__all__ = [
    "absolute",
    "amax",
    "amin",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "around",
    "bitwise_not",
    "conjugate",
    "fabs",
    "fix",
    "invert",
    "left_shift",
    "mod",
    "power",
    "right_shift",
    "rint",
    "true_divide",
]
