"""Tensor code that records a graph, and a compiler that fuses it into native code.

Holds the public names only: the work is in the sub-packages.
"""

__version__ = "0.1.0"
