"""The search for the fastest way to compute a product: what it picks, keeps, and never changes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.schedule.contraction import Choice
from fusegrad.errors import ConfigError
from fusegrad.runtime import tuning

ROOT = Path(__file__).parents[2]
FIRST = Choice(12, 2, True, 96)
WIDE, FLAT, LARGE = replace(FIRST, vectors=4), replace(FIRST, packed=False), replace(FIRST, block=8)


class Times:
    """A clock that goes on when something is prepared or runs, as long as it is said to take."""

    def __init__(self, seconds: dict[Choice, float], preparation: float = 1.0) -> None:
        self.seconds = seconds
        self.preparation = preparation
        self.now = 100.0
        self.prepared: list[Choice] = []

    def __call__(self) -> float:
        return self.now

    def prepare(self, choice: Choice) -> tuning.Run:
        self.now += self.preparation
        self.prepared.append(choice)

        def run() -> float:
            self.now += self.seconds[choice]
            return self.seconds[choice]

        return run


class Ways:
    """Two stages: another width, and then another packing or block of the best."""

    first = FIRST

    @property
    def stages(self) -> Sequence[Callable[[Choice], Sequence[Choice]]]:
        return (
            lambda best: [replace(best, vectors=4)],
            lambda best: [replace(best, packed=False), replace(best, block=8)],
        )


def found(times: Times, seconds: float) -> tuple[Choice, bool]:
    ways: Any = Ways()
    return tuning.search(ways, times.prepare, times, times.now + seconds)


def test_the_fastest_of_all_ways_is_found() -> None:
    both = replace(FLAT, vectors=4)
    times = Times({FIRST: 0.010, WIDE: 0.008, both: 0.005, replace(WIDE, block=8): 0.006})
    assert found(times, 1000) == (both, True)
    assert times.prepared == [FIRST, WIDE, both, replace(WIDE, block=8)]


def test_the_rule_wins_ties_and_what_is_hardly_slower() -> None:
    assert found(Times({FIRST: 1.0, WIDE: 1.0, FLAT: 0.98, LARGE: 2.0}), 1000) == (FIRST, True)


def test_the_search_ends_in_time() -> None:
    """It begins nothing that would end too late if it took as long as the longest trial."""
    seconds = {FIRST: 0.01, WIDE: 0.005, replace(WIDE, packed=False): 0.001}
    times = Times(seconds, preparation=2.0)
    assert found(times, 7.0) == (WIDE, False)
    assert times.now <= 107.0
    assert times.prepared == [FIRST, WIDE]


def test_without_time_nothing_is_tried() -> None:
    times = Times({})
    assert found(times, -1.0) == (FIRST, False)
    assert times.prepared == []


def operands(rows: int, columns: int, depth: int, layout: str, dtype: str) -> tuple[Any, Any]:
    random = np.random.default_rng(3)
    a, b = random.standard_normal((rows, depth)), random.standard_normal((depth, columns))
    return (a.T.copy() if layout[0] == "T" else a).astype(dtype), (
        b.T.copy() if layout[1] == "T" else b
    ).astype(dtype)


def product(layout: str) -> Callable[[Any, Any], Any]:
    """A product and something after each element."""

    def multiply(x: Any, y: Any) -> Any:
        return fg.maximum((x.mT if layout[0] == "T" else x) @ (y.mT if layout[1] == "T" else y), 0)

    return multiply


@pytest.mark.parametrize(
    ("shape", "layout", "dtype"),
    [
        ((75, 70, 300), "NN", "float32"),
        ((130, 67, 40), "TN", "float32"),
        ((64, 90, 33), "NT", "float64"),
        ((3, 200, 50), "NN", "float32"),
        ((200, 2, 50), "TT", "float64"),
    ],
    ids=str,
)
def test_every_way_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], layout: str, dtype: str
) -> None:
    a, b = operands(*shape, layout, dtype)
    expected = np.asarray(fg.compile(product(layout))(a, b)).tobytes()
    ways: list[Choice] = []

    def collect(p: Any, *_: Any) -> tuple[Choice, bool]:
        first = [p.first, *p.forms(p.first)]
        ways.extend(dict.fromkeys(way for f in first for s in p.stages for way in [f, *s(f)]))
        return p.first, False

    monkeypatch.setattr(tuning, "search", collect)
    fg.compile(product(layout), tune_ms=1)(a, b)
    assert len(ways) >= 4
    for number, way in enumerate(ways):
        monkeypatch.setattr(tuning, "search", lambda *_, way=way: (way, False))
        tuned = fg.compile(product(layout), tune_ms=2 + number)
        assert np.asarray(tuned(a, b)).tobytes() == expected, way


def convolution(stride: int, groups: int) -> Callable[[Any, Any], Any]:
    """A convolution and something after each element."""

    def convolve(x: Any, w: Any) -> Any:
        y = fg.nn.functional.conv2d(x, w, stride=stride, padding=1, groups=groups)
        return fg.maximum(y, 0)

    return convolve


@pytest.mark.parametrize(
    ("given", "weight", "stride", "groups", "dtype", "least"),
    [
        ((2, 5, 9, 8), (13, 5, 3, 3), 1, 1, "float32", 5),
        ((1, 40, 11, 37), (22, 20, 3, 2), 2, 2, "float64", 5),
        ((2, 6, 12, 21), (6, 1, 3, 3), 1, 6, "float32", 3),
    ],
    ids=str,
)
def test_every_way_of_a_convolution_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[int, ...],
    weight: tuple[int, ...],
    stride: int,
    groups: int,
    dtype: str,
    least: int,
) -> None:
    random = np.random.default_rng(4)
    x, w = (random.standard_normal(shape).astype(dtype) for shape in (given, weight))
    expected = np.asarray(fg.compile(convolution(stride, groups))(x, w)).tobytes()
    ways: list[Any] = []

    def collect(p: Any, *_: Any) -> tuple[Any, bool]:
        first = [p.first, *p.forms(p.first)]
        ways.extend(dict.fromkeys(way for f in first for s in p.stages for way in [f, *s(f)]))
        return p.first, False

    monkeypatch.setattr(tuning, "search", collect)
    fg.compile(convolution(stride, groups), tune_ms=1)(x, w)
    assert len({way.form for way in ways}) >= 2
    assert len(ways) >= least
    for number, way in enumerate(ways):
        monkeypatch.setattr(tuning, "search", lambda *_, way=way: (way, False))
        tuned = fg.compile(convolution(stride, groups), tune_ms=2 + number)
        assert np.asarray(tuned(x, w)).tobytes() == expected, way


def test_tuned_convolutions_compute_the_same() -> None:
    random = np.random.default_rng(5)
    x = random.standard_normal((3, 8, 14, 14)).astype("float32")
    w = random.standard_normal((9, 8, 3, 3)).astype("float32")
    tuned = fg.compile(convolution(1, 1), tune_ms=20_000)
    expected = np.asarray(fg.compile(convolution(1, 1))(x, w))
    assert np.asarray(tuned(x, w)).tobytes() == expected.tobytes()
    assert "tune" in tuned.stats().compile_ms


def test_tuned_functions_compute_the_same(tmp_path: Path) -> None:
    a, b = operands(130, 150, 70, "NN", "float32")
    program = """
        import sys, numpy as np, fusegrad as fg
        from fusegrad.runtime import tuning
        a, b = np.load(sys.argv[1]), np.load(sys.argv[2])
        def plain(x, y): return x @ y
        def other(x, y): return x @ y, x + 1
        tuned = fg.compile(plain, tune_ms=20_000)
        if sys.argv[3] == "second":
            def search(*_): raise AssertionError("searched again")
            tuning.search = search
        assert np.asarray(tuned(a, b)).tobytes() == np.asarray(fg.compile(plain)(a, b)).tobytes()
        print("tune" in tuned.stats().compile_ms)
        if sys.argv[3] == "second":
            fg.compile(other, tune_ms=20_000)(a, b)
    """
    files = [str(tmp_path / name) for name in ("a.npy", "b.npy")]
    for name, array in zip(files, (a, b), strict=True):
        np.save(name, array)
    environment = dict(os.environ, FUSEGRAD_CACHE_DIR=str(tmp_path / "cache"), PYTHONPATH=str(ROOT))
    said = []
    for turn in ("first", "second"):
        lines = "\n".join(line[8:] for line in program.splitlines())
        command = [sys.executable, "-c", lines, *files, turn]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip())
    # The second process finds the step, and the way of its product for another step.
    assert said == ["True", "False"]


def test_steps_without_products_need_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "search", None)
    f = fg.compile(lambda x: fg.exp(x).sum(), tune_ms=5)
    assert float(f(np.zeros(3, np.float32))) == 3.0


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), "soon"])
def test_a_time_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="tune_ms cannot be"):
        fg.compile(lambda x: x, tune_ms=value)
