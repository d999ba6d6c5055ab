"""Imports run one way: no upward edge, no cycle, no import inside a function to dodge one."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Lowest first; a name is a module or a package right under fusegrad. Names on one line may import
# each other as long as there is no cycle between modules.
LAYERS = [
    ["codegen"],
    ["source_lines", "errors", "config", "pytree", "state"],
    ["ir"],
    ["ops"],
    ["autodiff", "batching"],
    ["passes"],
    ["lower"],
    ["runtime"],
    ["semantics", "tensors"],
    ["functions", "transforms", "random", "special", "linalg", "autograd", "amp", "streams"],
    ["compilation"],
    [
        *("nn", "optim", "serialization", "testing", "objectives", "func", "cuda"),
        *("function_methods", "in_place_methods"),
    ],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# What ops may know of the kernel compiler.
OPS_MAY_IMPORT = {"dtypes", "expr", "kernel", "networks", "records", "scalar", "varying"}

CORE_DEPENDENCIES = {"numpy", "llvmlite"}

# Heavy optional packages, and the one file that imports each, inside a function.
LAZY = {
    "ml_dtypes": "fusegrad.codegen.half",
    "cuda": "fusegrad.runtime.cuda_driver",
    "numba": "fusegrad.codegen.targets.numba_intrinsic",
    "numba_cuda": "fusegrad.codegen.targets.numba_intrinsic",
}


@dataclass(frozen=True)
class Import:
    """One imported module, as seen in one file."""

    importer: str
    line: int
    target: str
    in_function: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def modules() -> dict[str, Path]:
    found = {}
    for folder, prefix in ((ROOT / "fusegrad", "fusegrad"), (ROOT / "codegen", "fusegrad.codegen")):
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            if parts[0] == "codegen" and prefix == "fusegrad":
                continue  # the symlink: the same files again
            name = ".".join([prefix, *parts]).removesuffix(".__init__")
            found[name] = file
    return found


MODULES = modules()


def imports_of(name: str) -> Iterator[Import]:
    file = MODULES[name]
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    stack: list[tuple[ast.AST, bool]] = [(ast.parse(file.read_text()), False)]
    while stack:
        node, in_function = stack.pop()
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        stack.extend((child, inside) for child in ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, node.lineno, alias.name, in_function)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                target = deeper if deeper in MODULES else base
                yield Import(name, node.lineno, target, in_function)


IMPORTS = [found for name in MODULES for found in imports_of(name)]
INTERNAL = [i for i in IMPORTS if i.target.split(".")[0] == "fusegrad"]
EXTERNAL = [
    i for i in IMPORTS if i.target.split(".")[0] not in {"fusegrad", *sys.stdlib_module_names}
]


def layer(module: str) -> str | None:
    """The name right under fusegrad; None for the root, which imports everything."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def test_every_module_has_a_layer() -> None:
    missing = {layer(name) for name in MODULES} - {None, *RANK}
    assert not missing, f"add to LAYERS of {Path(__file__).name}: {missing}"


def test_no_import_goes_up() -> None:
    upward = []
    for edge in INTERNAL:
        importer, target = layer(edge.importer), layer(edge.target)
        if importer not in RANK:
            continue  # the root may import everything; others have a test of their own above
        if target is None or RANK[importer] < RANK.get(target, 0):
            upward.append(str(edge))
    assert not upward, "\n".join(upward)


def test_no_cycle() -> None:
    # A module needs the packages around it too, but packages that only gather the names of
    # their modules would then be cycles with them; importing a package by name is an edge.
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for edge in INTERNAL:
        if edge.target != edge.importer:
            graph[edge.importer].add(edge.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("cycle of imports: " + " <- ".join(error.args[1]))


def test_no_import_inside_a_function() -> None:
    inside = [
        str(edge)
        for edge in IMPORTS
        if edge.in_function and LAZY.get(edge.target.split(".")[0]) != edge.importer
    ]
    assert not inside, "\n".join(inside)


def test_only_core_dependencies() -> None:
    foreign = [
        str(edge)
        for edge in EXTERNAL
        if edge.target.split(".")[0] not in CORE_DEPENDENCIES and not edge.in_function
    ]
    assert not foreign, "\n".join(foreign)


def test_codegen_imports_nothing_else_of_fusegrad() -> None:
    wrong = []
    for name, file in MODULES.items():
        if layer(name) != "codegen":
            continue
        absolute = "fusegrad" in file.read_text() and any(
            isinstance(node, ast.Import | ast.ImportFrom)
            and not getattr(node, "level", 0)
            and "fusegrad" in ast.dump(node)
            for node in ast.walk(ast.parse(file.read_text()))
        )
        if absolute:
            wrong.append(f"{name} imports fusegrad by its absolute name")
    wrong += [
        str(edge)
        for edge in INTERNAL
        if layer(edge.importer) == "codegen" and layer(edge.target) != "codegen"
    ]
    assert not wrong, "\n".join(wrong)


def test_what_ops_know_of_codegen() -> None:
    allowed = {"fusegrad.codegen", *(f"fusegrad.codegen.{name}" for name in OPS_MAY_IMPORT)}
    wrong = [
        str(edge)
        for edge in INTERNAL
        if layer(edge.importer) == "ops"
        and layer(edge.target) == "codegen"
        and edge.target not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_only_lower_names_nodes_and_kernels() -> None:
    """`lower` alone stands between the graph and the kernels."""
    both = {}
    for name in MODULES:
        targets = {edge.target for edge in INTERNAL if edge.importer == name}
        if layer(name) in {"lower", "ops", None}:
            continue
        if "fusegrad.ir.node" in targets and "fusegrad.codegen.kernel" in targets:
            both[name] = targets
    assert not both, both
