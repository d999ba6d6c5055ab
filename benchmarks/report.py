"""Turns the record of a run into text for a terminal.

Knows the record, not how it came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

HEADER = (
    "contender",
    "first call",
    "2nd process",
    "best",
    "median",
    "/floor",
    "/memory",
    "of fused",
    "memory",
    "2nd process",
)


def duration(milliseconds: float | None) -> str:
    """Write a time with three digits and a unit.

    Examples
    --------
    >>> duration(0.00371), duration(2.3), duration(1234.5)
    ('3.71 us', '2.30 ms', '1.23 s')
    """
    if milliseconds is None:
        return "-"
    value, unit = milliseconds * 1e3, "us"
    for larger in ("ms", "s"):
        if value >= 999.5:
            value, unit = value / 1e3, larger
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def megabytes(count: int | None) -> str:
    """Write a number of bytes.

    Examples
    --------
    >>> megabytes(1234567), megabytes(None)
    ('1.2 MB', '-')
    """
    return "-" if count is None else f"{count / 1e6:.{1 if count < 99.95e6 else 0}f} MB"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def machine_text(record: dict[str, Any]) -> str:
    """Return the machine, the versions and the limits."""
    machine, limits = record["machine"], record["limits"]
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    rates = ", ".join(
        f"{name.replace('_', ' ')} {rate['best']:.1f} (median {rate['median']:.1f})"
        for name, rate in limits["gb_per_s"].items()
    )
    products = ", ".join(
        f"{name} {max(rates.values()):.0f}" for name, rates in limits["gflop_per_s"].items()
    )
    small = record["options"]["scale"] == "small"
    note = ["SMALL SIZES, not those of the titles: the times say nothing"] if small else []
    return "\n".join(
        [
            *note,
            f"machine: {machine['cpu']} ({', '.join(machine['flags'])}), "
            f"{machine['processors']} processors, {caches}, "
            f"huge pages {machine['huge_pages']}; {record['options']['threads']} threads each",
            f"versions: python {machine['python']}, {versions}",
            f"memory, GB/s: {rates}",
            f"SGEMM, GFLOP/s: {products}",
        ]
    )


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _both(values: dict[str, float] | None) -> str:
    return "-" if values is None else f"{values['best']:.2f} {values['median']:.2f}"


def workload_text(name: str, workload: dict[str, Any]) -> str:
    """Return the table of one workload."""
    rate = workload["roof_gb_per_s"]
    title = f"{name}: {workload['title']}"
    if workload["floor"]:
        title += (
            f"\n  {workload['moved_bytes'] / 1e6:.3g} MB, {workload['flops'] / 1e9:.3g} GFLOP; "
            f"floor {duration(workload['floor_ms'])}; {workload['roof'].replace('_', ' ')} of the "
            f"same bytes in these rounds: best {duration(workload['memory_ms']['best'])}, "
            f"median {duration(workload['memory_ms']['median'])} ({rate['best']:.1f} GB/s)"
        )
    rows = []
    for contender, values in workload["contenders"].items():
        floor = workload["floor"]
        rows.append(
            (
                f"  {contender}",
                duration(values["first_call_ms"]),
                duration(values.get("warm_first_call_ms")),
                duration(values.get("best")),
                duration(values.get("median")),
                _ratio(values.get("over_floor") if floor else None),
                _both(values.get("over_memory") if floor else None),
                _both(values.get("over_fused")),
                megabytes(values.get("growth_bytes")),
                megabytes(values.get("warm_growth_bytes")),
            )
        )
    lines = [title, table(("  " + HEADER[0], *HEADER[1:]), rows)]
    lines += [f"  {who} failed: {why}" for who, why in workload["failed"].items()]
    fused = workload["contenders"].get("fused", {})
    for which, who in (("stats", "fused"), ("warm_stats", "fused, 2nd process")):
        if fused.get(which):
            parts = (f"{key} {_stat(value)}" for key, value in fused[which].items())
            lines.append(f"  {who}: {', '.join(parts)}")
    return "\n".join(lines)


def _stat(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_stat(part)}" for key, part in value.items()) + ")"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def text(record: dict[str, Any]) -> str:
    """Return the whole report; ratios are given for the best and for the median."""
    parts = [machine_text(record)]
    parts += [workload_text(name, workload) for name, workload in record["workloads"].items()]
    return "\n\n".join(parts)
