"""The documents say what the code does: the worked example, the grammars, names, examples."""

from __future__ import annotations

import ast
import doctest
import linecache
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.targets import base, llvm
from fusegrad.compilation import explain
from fusegrad.errors import FusegradError
from fusegrad.runtime import build as building
from fusegrad.runtime.record import Record
from tests.test_layers import LAYERS

ROOT = Path(__file__).parent.parent
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"

MACHINE = replace(base.named("avx2"), l1_bytes=32 << 10, l2_bytes=512 << 10, l3_bytes=32 << 20)
"""Where the worked example is compiled for, wherever the test runs."""

EXAMPLE = ("trace", "graph", "regions", "logical", "mapped", "program")
"""The stages of the worked example that are compared; its code is only written anew."""

OUTDATED = "run pytest tests/test_docs.py --update-golden, and read the difference"

BLOCK = re.compile(
    r"(<!-- begin (?P<name>[\w ./-]+) -->\n```\w*\n)(?P<text>.*?)(```\n<!-- end (?P=name) -->)",
    re.DOTALL,
)


def blocks(document: Path) -> dict[str, str]:
    """The texts between markers, by name."""
    return {m["name"]: m["text"].rstrip("\n") for m in BLOCK.finditer(document.read_text())}


def fences(document: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)\n```", document.read_text(), re.DOTALL)


# --- the worked example ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every stage makes of the worked example, as FUSEGRAD_DUMP writes it."""
    made: list[building.Artifacts] = []

    def build_record(*args: Any, **options: Any) -> Record:
        made.append(args[3])
        return building.build_record(*args, **options)

    scope: dict[str, Any] = {}
    code = compile(blocks(ARCHITECTURE)["example"], "example.py", "exec", dont_inherit=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "target", lambda: MACHINE)
        patch.setattr(explain, "build_record", build_record)
        exec(code, scope)
        # Explained only: this machine need not be able to run the code.
        logits, labels = np.zeros((512, 1000), np.float32), np.zeros(512, np.int64)
        scope["step"].explain(logits, labels)
    folder = tmp_path_factory.mktemp("dump")
    explain.dump(folder, "step", made[0])
    texts = {p.name.split("-", 2)[2]: p.read_text().rstrip("\n") for p in folder.iterdir()}
    ir = texts["emit.ll"]
    return {
        "trace": texts["trace.graph"],
        "graph": texts["movement.graph"],
        "regions": texts["fuse.regions"],
        "logical": texts["lower.kernel"],
        "mapped": texts["schedule.kernel"],
        "llvm": first_loop_of_ir(ir),
        "assembly": first_loop_of_assembly(llvm.assembly(ir, MACHINE)),
        "program": texts["plan.program"],
    }


def first_loop_of_ir(text: str) -> str:
    """The first vector loop: one basic block that jumps to itself."""
    found = re.search(r"^(\w+):\n((?:  .*\n)*?  br i1 %\S+, label %\1, .*)$", text, re.MULTILINE)
    assert found is not None
    return found[0]


def first_loop_of_assembly(text: str) -> str:
    pattern = r"^(\.\w+):[^\n]*\n((?:(?!\.).*\n)*?\tj\w+\t\1)$"
    found = next(m for m in re.finditer(pattern, text, re.MULTILINE) if "ymm" in m[0])
    return re.sub(r"\s*#.*$", "", found[0], flags=re.MULTILINE).expandtabs(8)


@pytest.fixture(scope="module", autouse=True)
def _updated(request: pytest.FixtureRequest) -> None:
    """With --update-golden, write the blocks of ARCHITECTURE.md anew."""
    if not request.config.getoption("--update-golden"):
        return
    made = {**request.getfixturevalue("stages"), **grammars(), "files": files()}

    def rewritten(found: re.Match[str]) -> str:
        text = made.get(found["name"], found["text"].rstrip("\n"))
        return f"{found[1]}{text}\n{found[4]}"

    ARCHITECTURE.write_text(BLOCK.sub(rewritten, ARCHITECTURE.read_text()))


@pytest.mark.parametrize("stage", EXAMPLE)
def test_worked_example(stage: str, stages: dict[str, str]) -> None:
    assert blocks(ARCHITECTURE)[stage] == stages[stage], OUTDATED


# --- grammars and names ---------------------------------------------------------------------------

LANGUAGES = {
    "grammar of graphs": ROOT / "fusegrad" / "ir" / "printer.py",
    "grammar of kernels": ROOT / "codegen" / "kernel.py",
    "grammar of programs": ROOT / "codegen" / "program.py",
}


def grammars() -> dict[str, str]:
    """The grammars, from the docstrings of the modules that define the languages."""
    found = {}
    for name, file in LANGUAGES.items():
        docstring = ast.get_docstring(ast.parse(file.read_text()))
        assert docstring is not None
        parts = docstring.split("\n\n")
        (grammar,) = [part for part in parts if "::=" in part.splitlines()[0]]
        found[name] = "\n".join(line.removeprefix("    ") for line in grammar.splitlines())
    return found


@pytest.mark.parametrize("name", LANGUAGES)
def test_grammar(name: str) -> None:
    assert blocks(ARCHITECTURE)[name] == grammars()[name], OUTDATED


def modules() -> Iterator[tuple[str, str]]:
    """Every file of the package and what it is responsible for, folder by folder."""
    link = ROOT / "fusegrad" / "codegen"
    for folder in (ROOT / "codegen", ROOT / "fusegrad"):
        inside = [file for file in folder.rglob("*.py") if link not in file.parents]
        for file in sorted(inside, key=lambda p: (p.parent, p.name != "__init__.py", p.name)):
            docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
            yield file.relative_to(ROOT).as_posix(), docstring.splitlines()[0]


def files() -> str:
    """One line for each file, under a line for its folder."""
    lines = []
    for path, first in modules():
        folder, _, name = path.rpartition("/")
        if name == "__init__.py":
            lines += ["", f"{folder + '/':27}{first}"]
        else:
            lines.append(f"  {name:25}{first}")
    return "\n".join(lines).strip("\n")


def test_listed_files_exist() -> None:
    folder = ROOT
    for line in blocks(ARCHITECTURE)["files"].splitlines():
        name = line.split()[0] if line else "/"
        if line and not line.startswith(" "):
            folder = ROOT / name
            assert folder.is_dir(), name
        elif line:
            assert (folder / name).is_file(), f"{folder}/{name}"


def test_import_line_is_the_one_that_is_tested() -> None:
    line = blocks(ARCHITECTURE)["import line"]
    rank = {name: number for number, names in enumerate(LAYERS) for name in names}
    shown = [name for name in re.findall(r"\w+", line) if name in rank]
    ranks = [rank[name] for name in shown]
    assert ranks == sorted(ranks)
    assert set(ranks) == set(rank.values())


@pytest.mark.parametrize("document", [README, ARCHITECTURE, CONTRIBUTING], ids=lambda p: p.name)
def test_paths_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    named = set(re.findall(r"`((?:\w+/)+[\w.]*|\w+\.(?:py|md|toml))`", text))
    named |= set(re.findall(r"\]\(([\w./-]+)\)", text))
    roots = (ROOT, ROOT / "fusegrad", ROOT / "codegen")
    missing = [n for n in named if "<" not in n and not any((r / n).exists() for r in roots)]
    assert not missing, missing


# --- examples -------------------------------------------------------------------------------------


def test_readme_opens_with_the_two_commands() -> None:
    opening = README.read_text().split("##")[0]
    assert opening.index("make demo") < opening.index("make test")


def test_readme_runs() -> None:
    """Its code blocks in order, in one namespace; those with a prompt show the right results."""
    scope: dict[str, Any] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    parser = doctest.DocTestParser()
    shown = 0
    for number, code in enumerate(fences(README, "python")):
        if code.startswith("# train.py"):
            continue
        if ">>>" not in code:
            exec(compile(code, f"README.md block {number}", "exec", dont_inherit=True), scope)
            continue
        test = parser.get_doctest(code + "\n", {}, "README.md", str(README), 0)
        test.globs = scope
        failures: list[str] = []
        runner.run(test, out=failures.append, clear_globs=False)
        assert not failures, "".join(failures)
        shown += len(test.examples)
    assert shown > 0


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_examples_of_the_docs_run(document: Path) -> None:
    scope: dict[str, Any] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for code in fences(document, "python"):
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code + "\n", scope, document.name, None, 0)
            test.globs = scope
            failures: list[str] = []
            runner.run(test, out=failures.append, clear_globs=False)
            assert not failures, "".join(failures)


def test_error_of_the_readme() -> None:
    (code,) = [c for c in fences(README, "python") if c.startswith("# train.py")]
    lines = code.splitlines(keepends=True)
    linecache.cache["train.py"] = (len(code), None, lines, "train.py")
    with pytest.raises(FusegradError) as raised:
        exec(compile(code, "train.py", "exec", dont_inherit=True), {})
    assert str(raised.value) in fences(README, "text")
