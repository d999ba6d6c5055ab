"""What a compiled function became, as text, from its graph to its program, and why it recompiled.

Knows the artifacts of every stage; compiles nothing itself but through `runtime.step`.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import final

from .. import config
from ..codegen.printer import print_kernel
from ..codegen.program import print_program
from ..codegen.records import dataclass
from ..codegen.schedule.gpu_library_calls import LibraryCall
from ..ir.node import Node, all_nodes, where
from ..ir.printer import print_graph
from ..ops.base import Pattern
from ..passes.regions import Kind, Region, size_of
from ..runtime.bodies import functions_of
from ..runtime.build import Artifacts, build_record
from ..runtime.device_build import build_device_record
from ..runtime.device_code import gpu_target
from ..runtime.device_image import parts_of
from ..runtime.devices import DeviceKernel, products
from ..runtime.garbage import UNCOLLECTED
from ..runtime.libraries import described
from ..runtime.record import DeviceRecord, Record
from ..tensors.placement import gpu_of
from .sources import Sources
from .statistics import Statistics

__all__ = ["Explanation", "dump", "explain", "observer"]


@final
@dataclass(frozen=True)
class Explanation:
    """Text in sections; printing it prints all of them.

    Attributes
    ----------
    name : str
    sections : tuple of (str, str)
        Titles and texts: ``summary``, ``graph``, ``regions``, ``kernels``, ``program``, ``memory``;
        for a GPU ``libraries``, the kernels that a library of NVIDIA's does.
    """

    name: str
    sections: tuple[tuple[str, str], ...]
    sources: Sources = field(repr=False, compare=False)

    def source(self, language: str = "llvm") -> str:
        """The code of all kernels.

        Parameters
        ----------
        language : {"llvm", "ptx", "gpu", "numba.cuda", "python"}
            LLVM IR for the CPU; PTX, and the mapped kernels it is made of, for the GPU that
            FUSEGRAD_TARGET names, sm_90 if it names none: no GPU and no CUDA package is needed.
            Kernels of numba.cuda and functions in Python say the same to people.

        Raises
        ------
        OptionError
            If there is no such language.

        Examples
        --------
        >>> import fusegrad as fg
        >>> step = fg.compile(lambda x: fg.exp(x).sum())
        >>> told = step.explain(fg.ones(1000))
        >>> "@cuda.jit" in told.source("numba.cuda"), ".visible .entry" in told.source("ptx")
        (True, True)
        """
        return self.sources.text(language)

    def __getitem__(self, title: str) -> str:
        return dict(self.sections)[title]

    def __str__(self) -> str:
        return "\n\n".join(f"== {title} ==\n{text}" for title, text in self.sections)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [
            f"<details{' open' if i == 0 else ''}><summary>{html.escape(title)}</summary>"
            f"<pre>{html.escape(text)}</pre></details>"
            for i, (title, text) in enumerate(self.sections)
        ]
        return "".join(parts)


def explain(
    name: str,
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    statistics: Statistics,
    memory_limit: int | None = None,
    device: str = "cpu",
) -> Explanation:
    """Take a graph through all stages but code, and tell what every one made of it.

    With `device`, or where FUSEGRAD_TARGET names one, for a GPU.
    """
    made = Artifacts()
    record: Record | DeviceRecord
    with UNCOLLECTED:
        if device != "cpu" or gpu_target() is not None:
            record = build_device_record(outputs, inputs, donations, made, memory_limit)
        else:
            record = build_record(outputs, inputs, donations, made, memory_limit, objects=False)
    assert made.plan is not None
    launched = _launch_names(made)
    sections = (
        ("summary", _summary(name, made, statistics, device)),
        ("graph", _graphs(made.graphs[-1][1])),
        ("regions", regions_text(made)),
        ("kernels", "\n\n".join(print_kernel(e.kernel) for e in made.lowered)),
        ("program", print_program(record.program, launched)),
        ("memory", _memory(made)),
        *([("libraries", _libraries(record, device))] if isinstance(record, DeviceRecord) else ()),
    )
    return Explanation(name, sections, Sources(outputs, inputs, donations))


def _graphs(outputs: Sequence[Node]) -> str:
    """The graph, and the bodies of its loops and branches as they were recorded."""
    texts = {"": print_graph(outputs, sources=True)}
    for node in all_nodes(outputs):
        for body in functions_of(node):
            names = {p: f"p{i}" for i, p in enumerate(body.parameters)}
            texts[body.name] = f"body {body.name}:\n" + print_graph(body.results, names, True)
    return "\n\n".join(texts.values())


def _launch_names(made: Artifacts) -> list[str]:
    """A readable name for every different kernel: the first region that uses it."""
    assert made.plan is not None
    names: dict[int, str] = {}
    for number, name in zip(made.kernel_numbers, made.kernel_names, strict=True):
        names.setdefault(number, name)
    return [names[i] for i in range(len(names))]


def _summary(name: str, made: Artifacts, s: Statistics, device: str) -> str:
    assert made.plan is not None
    program = made.plan.program
    launches = sum(len(g.launches) for g in program.groups)
    target = gpu_target() if device == "cpu" else device
    lines = [
        *([f"for {target}"] if target else []),
        f"{name}: {len(made.regions)} regions, {launches} launches in "
        f"{len(program.groups)} groups, {len(set(made.kernel_numbers))} different kernels",
        f"arena {program.arena_bytes} bytes, scratch {program.scratch_bytes} bytes a thread",
        f"in place: {len(made.plan.donated)} of the outputs",
        *(
            [f"calls of the host, one at a time: {', '.join(program.calls)}"]
            if program.calls
            else []
        ),
        f"compiles {s.compiles}, hits {s.hits}",
    ]
    lines += [f"traced again because {reason}" for reason in s.reasons]
    return "\n".join(lines)


def regions_text(made: Artifacts) -> str:
    """What shares a kernel, and why: every region with its stages."""
    return "\n".join(_region(r, n) for r, n in zip(made.regions, made.names, strict=True))


def _region(region: Region, name: str) -> str:
    rows = "" if region.rows is None else f", {region.rows} rows"
    lines = [f"{name}: {region.kind.value}, {region.total} elements{rows}"]
    for stage in region.stages:
        node = stage.node
        line = where(node)
        place = f"  at {line}" if line is not None else ""
        finish = ", at the end" if stage.finish else ""
        lines.append(f"  {node.op} -> {node.type} ({stage.kind.value}{finish}){place}")
        if stage.kind is Kind.DOT:
            made = [n for n in stage.access.inlined if n.op.pattern is not Pattern.SOURCE]
            lines += [f"    computed by it: {n.op} of {n.type}" for n in made]
    return "\n".join(lines)


def _libraries(record: DeviceRecord, device: str) -> str:
    """Which kernels a library does: on this machine, or where there is no GPU, may do."""

    def serves(call: LibraryCall) -> bool:
        if device == "cpu":
            return True
        gpu = gpu_of(device)
        return gpu.driver.serves(gpu.index, call, products.tf32)

    lines = [] if device != "cpu" else ["where these libraries are installed:"]
    for lowered in record.code:
        for piece in parts_of(DeviceKernel.of(lowered, "", products.tf32), serves).pieces:
            if not isinstance(piece, tuple):
                lines.append(f"{lowered.kernel.name}: {described(piece)}")
    return "\n".join(lines)


def _memory(made: Artifacts) -> str:
    assert made.plan is not None
    lines = [
        f"{size} bytes at {offset}, steps {first} to {last}"
        for size, offset, first, last in made.plan.lifetimes
    ]
    lines += [f"output {o} in the memory of input {i}" for o, i in made.plan.donated]
    total = sum(size_of(n) * n.dtype.itemsize for e in made.lowered for n in e.arguments)
    lines.append(f"bytes read and written by all kernels: {total}")
    return "\n".join(lines)


def dump(folder: Path, name: str, made: Artifacts) -> None:
    """Write what every stage made into `folder`, one file a stage, numbered in order."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + len({p.name.split("-")[0] for p in folder.glob(f"{name}.*-*")})
    prefix = f"{name}.{number}-"
    for position, (stage, graph) in enumerate(made.graphs):
        (folder / f"{prefix}{position:02}-{stage}.graph").write_text(print_graph(graph) + "\n")
    at = len(made.graphs)
    (folder / f"{prefix}{at:02}-fuse.regions").write_text(regions_text(made) + "\n")
    kernels = "\n\n".join(print_kernel(e.kernel) for e in made.lowered)
    (folder / f"{prefix}{at + 1:02}-lower.kernel").write_text(kernels + "\n")
    mapped = "\n\n".join(print_kernel(m.kernel) for m in made.mapped)
    (folder / f"{prefix}{at + 2:02}-schedule.kernel").write_text(mapped + "\n")
    (folder / f"{prefix}{at + 3:02}-emit.ll").write_text(made.ir)
    if made.plan is not None:
        program = print_program(made.plan.program, _launch_names(made))
        (folder / f"{prefix}{at + 4:02}-plan.program").write_text(program + "\n")


def observer(name: str) -> Callable[[Artifacts], None] | None:
    """What prints and writes the stages of a compilation, as FUSEGRAD_DUMP and _EXPLAIN say."""
    folder, fusion = config.current().dump, "fusion" in config.current().explain
    if folder is None and not fusion:
        return None

    def observe(artifacts: Artifacts) -> None:
        if folder is not None:
            dump(folder, name, artifacts)
        if fusion:
            sys.stderr.write(f"fusegrad: {name}\n{regions_text(artifacts)}\n")

    return observe
