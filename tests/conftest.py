"""What all tests share: golden texts, markers, and a cache directory of their own."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"

# Before anything reads them: verifiers run after every stage, and nothing of the user's is read.
os.environ.setdefault("FUSEGRAD_CHECK", "1")
_cache = tempfile.mkdtemp(prefix="fusegrad-tests-")
os.environ["FUSEGRAD_CACHE_DIR"] = _cache


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden texts anew from this run"
    )


def pytest_unconfigure() -> None:
    shutil.rmtree(_cache, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    no_device = pytest.mark.skip(reason="no CUDA device")
    no_peers = pytest.mark.skip(reason="torch and jax are not installed")
    has_device = Path("/dev/nvidiactl").exists()
    # Who asks for the peers by `-m peers` gets their import errors, not silence.
    has_peers = "peers" in config.option.markexpr or all(
        importlib.util.find_spec(name) for name in ("torch", "jax")
    )
    for item in items:
        if "cuda" in item.keywords and not has_device:
            item.add_marker(no_device)
        if "peers" in item.keywords and not has_peers:
            item.add_marker(no_peers)


class Golden(str):
    """A text kept in a file: ``assert text == golden`` compares, or updates with the flag.

    ``golden("part")`` is another text of the same test.
    """

    path: Path
    update: bool

    __slots__ = ("path", "update")

    def __new__(cls, path: Path, update: bool) -> Golden:
        golden = super().__new__(cls, path.read_text() if path.exists() else "")
        golden.path = path
        golden.update = update
        return golden

    def __call__(self, part: str) -> Golden:
        return Golden(self.path.with_name(f"{self.path.stem}.{_file_name(part)}.txt"), self.update)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return NotImplemented
        text = other if other.endswith("\n") else other + "\n"
        if self.update:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text)
            return True
        if not self.path.exists():
            pytest.fail(f"no golden text {self.path}; run pytest with --update-golden and read it")
        return str(self) == text

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden text of this test, in ``golden/<test file>/<test name>.txt``."""
    folder = GOLDEN / request.path.relative_to(TESTS).with_suffix("")
    path = folder / f"{_file_name(request.node.name)}.txt"
    return Golden(path, request.config.getoption("--update-golden"))
