"""Files and functions stay readable, and nothing unfinished is left lying about."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("fusegrad", "codegen")
FOLDERS = (*PACKAGES, "tests", "benchmarks", "examples")

MAX_FILE = 600
MAX_FUNCTION = 75

# Files that are one table, with the reason; keep this short.
LONG_FILES: dict[str, str] = {}


def files(*folders: str) -> list[Path]:
    return [
        file
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*.py"))
        if (ROOT / "fusegrad" / "codegen") not in file.parents
    ]


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", files(*FOLDERS), ids=name)
def test_file_is_not_too_long(file: Path) -> None:
    lines = len(file.read_text().splitlines())
    assert lines <= MAX_FILE or name(file) in LONG_FILES


def test_long_files_are_long() -> None:
    for long in LONG_FILES:
        assert len((ROOT / long).read_text().splitlines()) > MAX_FILE, f"{long} is short again"


@pytest.mark.parametrize("file", files(*PACKAGES), ids=name)
def test_functions_are_not_too_long(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if ast.get_docstring(node) is not None and len(node.body) > 1:
                first = node.body[1]
            lines = (node.end_lineno or 0) - first.lineno + 1
            assert lines <= MAX_FUNCTION, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("file", files(*FOLDERS), ids=name)
def test_nothing_is_unfinished(file: Path) -> None:
    if file == Path(__file__):
        return
    found = re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", file.read_text())
    assert not found


@pytest.mark.parametrize("file", files(*PACKAGES), ids=name)
def test_no_print_debugging(file: Path) -> None:
    calls = [
        f"line {node.lineno}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"print", "breakpoint", "pprint"}
    ]
    assert not calls


@pytest.mark.parametrize("file", files(*PACKAGES), ids=name)
def test_module_docstring_says_what_it_must_not_know(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    assert docstring is not None
    assert docstring.splitlines()[0].endswith((".", ":"))
