"""The wheel holds every package once, and `codegen` is importable under one name only."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pytest

import fusegrad

ROOT = Path(__file__).parent.parent


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


def python_folders() -> set[str]:
    found = set()
    for folder, prefix in ((ROOT / "fusegrad", "fusegrad"), (ROOT / "codegen", "fusegrad.codegen")):
        for file in folder.rglob("*.py"):
            parts = file.parent.relative_to(folder).parts
            if prefix == "fusegrad" and parts[:1] == ("codegen",):
                continue
            found.add(".".join([prefix, *parts]))
    return found


def python_files() -> set[str]:
    found = set()
    for folder, prefix in ((ROOT / "fusegrad", "fusegrad"), (ROOT / "codegen", "fusegrad/codegen")):
        for file in folder.rglob("*.py"):
            path = file.relative_to(folder).as_posix()
            if prefix == "fusegrad" and path.startswith("codegen/"):
                continue
            found.add(f"{prefix}/{path}")
    return found


def test_packages_are_the_folders() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = settings["tool"]["setuptools"]["packages"]
    assert listed == sorted(python_folders())


def test_every_folder_is_a_package() -> None:
    files = python_files()
    folders = {name.replace(".", "/") for name in python_folders()}
    assert not {folder for folder in folders if f"{folder}/__init__.py" not in files}


def test_the_symlink_is_there() -> None:
    link = ROOT / "fusegrad" / "codegen"
    assert link.is_symlink()
    assert link.readlink() == Path("../codegen")


def test_bare_codegen_refuses() -> None:
    done = run("-c", "import codegen", cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: this is fusegrad's kernel compiler, and its name is fusegrad.codegen, not "
        "codegen; write `import fusegrad.codegen`, and take the root of the repository off "
        "sys.path if `codegen` is meant to be another package"
    )


def test_core_dependencies() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [re.split(r"[<>=]", text)[0] for text in settings["project"]["dependencies"]]
    assert names == ["numpy", "llvmlite"]


@pytest.mark.slow
def test_the_wheel_holds_each_file_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("fusegrad", "codegen"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    arguments = "-m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir dist ."
    done = run(*arguments.split(), cwd=source)
    assert done.returncode == 0, done.stderr
    (wheel,) = (source / "dist").iterdir()
    assert wheel.name == f"fusegrad-{fusegrad.__version__}-py3-none-any.whl"
    names = Counter(zipfile.ZipFile(wheel).namelist())
    assert {name for name, count in names.items() if count > 1} == set()
    assert {name for name in names if name.endswith(".py")} == python_files()
    assert "fusegrad/py.typed" in names
    assert "fusegrad/functions/elementwise.pyi" in names
    assert "fusegrad/tensors/elementwise_methods.pyi" in names

    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    script = "import fusegrad.codegen.kernel as k; print(k.__file__)"
    done = run("-c", script, cwd=installed)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == installed / "fusegrad" / "codegen" / "kernel.py"
