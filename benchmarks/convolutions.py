"""Convolutions of every kind: ``python -m benchmarks.convolutions``.

The family of sweeps of that name, beside torch with either order of memory, and jax: forward and
both derivatives, of random shapes. The options are those of ``python -m benchmarks.sweep``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import sweep

PEERS = ("torch", "torch channels last", "jax")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the worst cases; the exit status is that of the sweep."""
    own = ["--family", "convolutions", "--peers", *PEERS]
    return sweep.main([*own, *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    raise SystemExit(main())
