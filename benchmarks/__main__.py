"""The command line: ``python -m benchmarks``.

Knows no measurement itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from . import plot, report, workloads
from .harness import Options, measure

PEERS = ("numpy", "torch", "jax")


def _peers(text: str) -> tuple[str, ...]:
    peers = tuple(filter(None, text.split(",")))
    for peer in peers:
        if peer not in PEERS:
            raise argparse.ArgumentTypeError(f"unknown peer {peer!r}; known are {', '.join(PEERS)}")
    return peers


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    names = [workload.name for workload in workloads.WORKLOADS]
    result = argparse.ArgumentParser("python -m benchmarks", description="eager, fused and peers")
    result.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME",
                        help=f"workloads: {', '.join(names)}")  # fmt: skip
    result.add_argument("--peers", type=_peers, default=PEERS, help="default: numpy,torch,jax")
    result.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    result.add_argument("--plot", type=Path, metavar="FILE", help="write a bar chart (PNG)")
    result.add_argument("--rounds", type=_positive, default=15, help="default: 15")
    result.add_argument("--threads", type=_positive, default=0, help="default: all processors")
    result.add_argument("--scale", choices=("full", "small"), default="full",
                        help="small: only to see that everything works")  # fmt: skip
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; the exit status is 1 where fusegrad failed or was wrong."""
    options = parser().parse_args(arguments)
    if options.plot:
        plot.matplotlib()
    selected = [workloads.find(name) for name in dict.fromkeys(options.only)]
    chosen = Options(options.peers, options.rounds, options.threads, options.scale)
    record = measure(selected, chosen, lambda line: print(line, flush=True))
    print()
    print(report.text(record))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    if options.plot:
        plot.draw(record, options.plot)
    failed = {name for workload in record["workloads"].values() for name in workload["failed"]}
    return int(bool(failed & {"eager", "fused"}))


if __name__ == "__main__":
    raise SystemExit(main())
