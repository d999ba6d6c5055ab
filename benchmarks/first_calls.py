"""The first call of a workload, cold, by stage; and what its functions cost LLVM.

Knows the harness's workloads and the texts that ``FUSEGRAD_DUMP`` writes; part of
``python -m benchmarks.compile_time``.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import libraries, workloads
from .process import WorkerError, run_module
from .report import duration, table

MOST = 10
"""How many functions are listed of each workload."""

_NAME = re.compile(r"define [^@]*@([\w.$-]+|\"[^\"]+\")\(")
_CALLED = re.compile(r"call [^@]*@(fg\.[\w.$-]+)\(")


def first_call(name: str, scale: str) -> dict[str, Any]:
    """Make the first call of a workload here; return the milliseconds, in all and by stage."""
    kind = libraries.find("fused")
    library, workload = kind(), workloads.find(name)
    task = workload.builders[kind.family](library, workload.make_inputs(scale))
    started = time.perf_counter()
    library.wait(task.step())
    total = (time.perf_counter() - started) * 1e3
    stages = task.stats()["compile_ms"] if task.stats else {}
    return {"ms": total, "stages": stages}


def functions(text: str) -> Iterator[tuple[str, str]]:
    """Split a module into its functions, each by name as a module of its own."""
    lines = text.splitlines()
    head = [line for line in lines if line.startswith(("target ", "declare ", "!0 = "))]
    bodies: dict[str, list[str]] = {}
    body: list[str] = []
    for line in lines:
        if line.startswith("define "):
            found = _NAME.match(line)
            assert found is not None, line
            body = bodies[found.group(1)] = []
        elif line.startswith(("target ", "declare ", "!0 = ")):
            continue
        body.append(line.replace("define internal ", "define ", 1))
    for name, body in bodies.items():
        called = {n for line in body for n in _CALLED.findall(line)} - {name}
        imported = [bodies[n][0].partition("{")[0] for n in sorted(called)]
        heads = [line.replace("define ", "declare ", 1) for line in imported]
        yield name, "\n".join([*head, *heads, *body, ""])


def costs(directory: Path) -> list[dict[str, Any]]:
    """Compile every function of the dumped modules alone: milliseconds as they are at the end,
    and as a draft; the most expensive first."""
    base: Any = importlib.import_module("fusegrad.codegen.targets.base")
    llvm: Any = importlib.import_module("fusegrad.codegen.targets.llvm")
    rows: dict[str, dict[str, Any]] = {}
    llvm.compile_module("define void @nothing() { ret void }", base.host())
    for path in sorted(directory.glob("*.ll")):
        for name, module in functions(path.read_text()):
            if name in rows:
                continue
            spent = []
            for level in (2, 0):
                started = time.thread_time()
                llvm.compile_module(module, base.host(), level)
                spent.append((time.thread_time() - started) * 1e3)
            instructions = module.count(" = ") + module.count("store ")
            rows[name] = {"name": name, "size": instructions, "ms": spent[0], "draft_ms": spent[1]}
    return sorted(rows.values(), key=lambda row: -row["ms"])


def measure(name: str, scale: str) -> dict[str, Any]:
    """Measure one workload, each part in a process of its own with an empty cache."""
    parts = []
    for part in ("call", "costs"):
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as cache:
            arguments = (part, name, scale, cache)
            parts.append(run_module("benchmarks.first_calls", *arguments, cache=Path(cache)))
    return {"name": name, **parts[0], "functions": parts[1]["functions"]}


def text(records: Sequence[dict[str, Any]]) -> str:
    """Return the tables: first calls by stage, then the most expensive functions of each."""
    stages = list(dict.fromkeys(stage for r in records for stage in r["stages"]))
    rows = [
        [r["name"], duration(r["ms"]), *(duration(r["stages"].get(stage)) for stage in stages)]
        for r in records
    ]
    parts = ["first calls, cold", table(["workload", "first call", *stages], rows)]
    for r in records:
        costs = r["functions"]
        total, draft = (sum(row[key] for row in costs) for key in ("ms", "draft_ms"))
        parts.append(
            f"\n{r['name']}: {len(costs)} functions, {duration(total)} of LLVM, "
            f"{duration(draft)} as drafts"
        )
        rows = [
            [row["name"], str(row["size"]), duration(row["ms"]), duration(row["draft_ms"])]
            for row in costs[:MOST]
        ]
        parts.append(table(["function", "instructions", "LLVM", "draft"], rows))
    return "\n".join(parts)


def measure_all(names: Sequence[str], scale: str) -> list[dict[str, Any]]:
    """Measure workloads, and say which fail."""
    records = []
    for name in names:
        try:
            records.append(measure(name, scale))
        except WorkerError as error:
            print(f"  {name} failed: {error}", flush=True)
    return records


def main(arguments: Sequence[str]) -> None:
    """Measure one part in this process, and print it as JSON."""
    part, name, scale, directory = arguments
    if part == "call":
        print(json.dumps(first_call(name, scale)))
        return
    # Before fusegrad is imported.
    os.environ["FUSEGRAD_DUMP"] = directory
    first_call(name, scale)
    print(json.dumps({"functions": costs(Path(directory))}))


if __name__ == "__main__":
    main(sys.argv[1:])
