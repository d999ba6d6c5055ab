"""The graph language: types, nodes, printer, verifier, interpreter, rewriting.

Knows no concrete op.
"""

from __future__ import annotations
