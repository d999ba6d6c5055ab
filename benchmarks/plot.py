"""Draws the record of a run as a bar chart.

Knows the record only; the one file that imports matplotlib.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

COLOURS = {
    "fused": "#d1495b",
    "eager": "#edae49",
    "numpy": "#8d96a3",
    "torch": "#00798c",
    "torch.compile": "#30638e",
    "jax": "#66a182",
}


def matplotlib() -> Any:
    """Import matplotlib, or say how to get it."""
    try:
        module = importlib.import_module("matplotlib")
        module.use("Agg")
        return importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None


def draw(record: dict[str, Any], path: Path) -> None:
    """Write one panel a workload: median times, and the floor as a line."""
    pyplot = matplotlib()
    panels = {
        name: workload
        for name, workload in record["workloads"].items()
        if any("median" in values for values in workload["contenders"].values())
    }
    columns = min(2, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(6 * columns, 2.2 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, workload in zip(axes.flat, panels.values(), strict=False):
        _panel(axis, workload)
    threads = record["options"]["threads"]
    figure.suptitle(f"median step; {record['machine']['cpu']}, {threads} threads", fontsize=10)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _panel(axis: Any, workload: dict[str, Any]) -> None:
    timed = {n: v["median"] for n, v in workload["contenders"].items() if "median" in v}
    names = sorted(timed, key=timed.__getitem__, reverse=True)
    bars = axis.barh(
        names, [timed[name] for name in names], color=[COLOURS[name] for name in names]
    )
    axis.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
    axis.set_xscale("log")
    axis.margins(x=0.15)
    if workload["floor"]:
        axis.axvline(workload["floor_ms"], color="black", linestyle="--", linewidth=1)
    axis.set_title(workload["title"], fontsize=9)
    axis.set_xlabel("ms (dashed: floor)" if workload["floor"] else "ms", fontsize=8)
    axis.tick_params(labelsize=8)
