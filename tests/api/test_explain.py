"""What compiled functions tell of themselves: explain, dumps, and why they were traced again."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import ArgumentStructureError, CaptureError
from fusegrad.passes.pipeline import PASSES

TITLES = ["summary", "graph", "regions", "kernels", "program", "memory"]


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def labels(rows: int, classes: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, classes, rows)


def softmax() -> Any:
    @fg.compile
    def f(x: Any) -> Any:
        return F.softmax(x, dim=1)

    return f


def training_step() -> tuple[Any, nn.Module, optim.Optimizer]:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    opt = optim.Adam(model.parameters(), lr=1e-2)

    @fg.compile
    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return step, model, opt


# --- explain --------------------------------------------------------------------------------------


def test_sections_of_one_kernel() -> None:
    told = softmax().explain(array(32, 100))
    assert [title for title, _ in told.sections] == TITLES
    assert told["summary"].startswith("f: 1 regions, 1 launches in 1 groups, 1 different kernels")
    assert "exp(" in told["graph"]
    assert told["kernels"].count("kernel ") == 1
    assert "tree(max)" in told["kernels"]
    assert "tree(sum)" in told["kernels"]
    assert "vector" not in told["kernels"]
    assert re.search(r"launch k0_\w+\(input\(0\), output\(0\); 32\) items 32 ", told["program"])
    # The bytes of the argument and of the result.
    assert told["memory"].endswith(str(2 * 32 * 100 * 4))


def test_every_stage_names_the_line_of_the_user() -> None:
    told = softmax().explain(array(4, 5))
    line = rf"{re.escape(__file__)}:\d+ in f"
    # Equal constants are one node, and name the line that built it first.
    nodes = re.findall(r"^%.* = (?:reduce|sub|exp|mul).*$", told["graph"], re.MULTILINE)
    assert len(nodes) == 5
    for node in nodes:
        assert re.search(rf"  # {line}$", node), node
    stages = told["regions"].splitlines()[1:]
    assert len(stages) == 3
    for stage in stages:
        assert re.search(rf"  at {line}$", stage), stage


def test_lines_of_gradients_say_backward() -> None:
    step, _, _ = training_step()
    graph = step.explain(array(4, 8), labels(4, 3))["graph"]
    backward = [line for line in graph.splitlines() if line.endswith("(backward)")]
    assert backward
    assert any(" = dot(" in line for line in backward)


def test_text_is_the_sections_in_order() -> None:
    told = softmax().explain(array(4, 5))
    text = str(told)
    places = [text.index(f"== {title} ==\n{told[title]}") for title in TITLES]
    assert places == sorted(places)
    assert repr(told) == text


def test_html_folds_and_escapes() -> None:
    told = softmax().explain(array(4, 5))
    shown = told._repr_html_()
    assert re.findall(r"<summary>(\w+)</summary>", shown) == TITLES
    assert shown.count("<details open>") == 1
    assert "reduce&lt;sum" in shown
    texts = re.findall(r"<pre>(.*?)</pre>", shown, re.DOTALL)
    assert [html.unescape(text) for text in texts] == [text for _, text in told.sections]


def test_explain_runs_nothing_and_changes_nothing() -> None:
    step, model, opt = training_step()
    x, y = array(4, 8), labels(4, 3)
    before = [p.numpy().copy() for p in model.parameters()]
    told = step.explain(x, y)
    for p, known in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.numpy(), known)
    assert all(p.grad is None for p in model.parameters())
    assert step.stats().compiles == 0
    assert "compiles 0, hits 0" in told["summary"]
    first = float(step(x, y))
    again = step.explain(x, y)
    assert step.stats().compiles == 1
    assert "compiles 1, hits 0" in again["summary"]
    assert float(step(x, y)) < first
    assert opt.param_groups[0]["lr"] == 1e-2


def test_updates_in_place_are_told() -> None:
    step, model, _ = training_step()
    told = step.explain(array(4, 8), labels(4, 3))
    count = int(re.search(r"in place: (\d+) of", told["summary"])[1])  # type: ignore[index]
    # Both moments of every parameter at least; parameters that others read late may be copied.
    assert count >= 2 * len(list(model.parameters()))
    assert len(re.findall(r"output \d+ in the memory of input \d+", told["memory"])) == count


def test_explain_of_another_signature_compiles_nothing() -> None:
    f = softmax()
    f(array(4, 5))
    assert "x0: f32[8, 6] in" in f.explain(array(8, 6))["kernels"]
    assert f.stats().compiles == 1


def test_explain_with_wrong_arguments() -> None:
    f = softmax()
    with pytest.raises(CaptureError, match="the function was not called yet"):
        f.explain()
    with pytest.raises(ArgumentStructureError):
        f.explain(array(2, 2), array(2, 2))


# --- why it was traced again ----------------------------------------------------------------------


def reason(f: Any) -> str:
    """Why it was traced the last time."""
    last: str = f.stats().reasons[-1]
    return last


def test_argument_is_named_by_its_path() -> None:
    @fg.compile
    def f(batch: Any, scale: float) -> Any:
        return batch["images"][0] * scale

    f({"images": [array(3, 4)]}, 1.0)
    f({"images": [array(3, 5)]}, 1.0)
    assert reason(f) == "argument `batch['images'][0]` was float32[3, 4] and is float32[3, 5]"
    f({"images": [array(3, 5)]}, 2)
    assert reason(f) == "argument `scale` was a float and is an int"
    f({"images": [array(3, 5).astype("float64")]}, 2)
    assert reason(f) == "argument `batch['images'][0]` was float32[3, 5] and is float64[3, 5]"
    assert len(f.stats().reasons) == f.stats().compiles - 1 == 3


def test_bool_argument_is_named() -> None:
    @fg.compile
    def f(x: Any, double: bool) -> Any:
        return x * 2 if double else x + 0

    f(array(3), True)
    f(array(3), False)
    assert reason(f) == "argument `double` was True and is False"


def test_structure_of_the_arguments() -> None:
    @fg.compile
    def f(values: Any) -> Any:
        return sum(values)

    f([array(3), array(3)])
    f([array(3), array(3), array(3)])
    assert reason(f).startswith("the structure of the arguments changed")


def test_closure_scalar_is_named() -> None:
    factor = 2.0

    @fg.compile
    def f(x: Any) -> Any:
        return x * factor

    f(array(3))
    factor = 3.0
    f(array(3))
    assert reason(f) == "`factor` was 2.0 and is 3.0"
    assert "traced again because `factor` was 2.0 and is 3.0" in f.explain(array(3))["summary"]


def test_training_flag_is_named() -> None:
    step, model, _ = training_step()
    x, y = array(4, 8), labels(4, 3)
    step(x, y)
    model.eval()
    step(x, y)
    assert reason(step) == "`model` (Sequential) changed: training was True and is False"


def test_hyperparameters_that_change_the_graph_are_named() -> None:
    step, _, opt = training_step()
    x, y = array(4, 8), labels(4, 3)
    step(x, y)
    opt.param_groups[0]["lr"] = 0.5
    step(x, y)
    assert step.stats().reasons == []
    opt.param_groups[0]["weight_decay"] = 0.1
    step(x, y)
    assert len(step.stats().reasons) == 1
    assert "`opt` (Adam) changed" in reason(step)
    assert "weight_decay" in reason(step)


# --- dumps and reports ----------------------------------------------------------------------------

SCRIPT = """
import numpy as np
import fusegrad as fg
import fusegrad.nn.functional as F

@fg.compile
def f(x):
    return F.softmax(x, dim=1)

f(np.ones((4, 5), "float32"))
f(np.ones((4, 6), "float32"))
"""


def run(**switches: str) -> str:
    """What the script says on standard error under these switches."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env={**os.environ, **switches},
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_dump_writes_every_stage_of_every_trace(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    # The disk cache is filled first: what is dumped is compiled all the same.
    run()
    run(FUSEGRAD_DUMP=str(folder))
    names = sorted(p.name for p in folder.iterdir())
    after = ["fuse.regions", "lower.kernel", "schedule.kernel", "emit.ll", "plan.program"]
    stages = ["trace.graph", *(f"{step.name}.graph" for step in PASSES), *after]
    lower = len(stages) - 4
    stages = [f"{number:02}-{stage}" for number, stage in enumerate(stages)]
    assert names == [f"f.{trace}-{stage}" for trace in (1, 2) for stage in stages]
    texts = {name: (folder / name).read_text() for name in names}
    assert "f32[4, 5] = input" in texts["f.1-00-trace.graph"]
    assert "f32[4, 6] = input" in texts["f.2-00-trace.graph"]
    assert texts[f"f.1-{lower:02}-lower.kernel"].startswith("kernel k0_")
    assert "vector(" in texts[f"f.1-{lower + 1:02}-schedule.kernel"]
    assert "define void @fg_" in texts[f"f.1-{lower + 2:02}-emit.ll"]
    assert texts[f"f.1-{lower + 3:02}-plan.program"].startswith("program step(inputs 1, outputs 1,")


def test_reasons_and_regions_are_reported_when_asked_for() -> None:
    assert run() == ""
    told = run(FUSEGRAD_EXPLAIN="cache")
    assert "argument `x` was float32[4, 5] and is float32[4, 6]" in told
    assert "reduce" not in told
    told = run(FUSEGRAD_EXPLAIN="fusion")
    assert "row, 20 elements, 4 rows" in told
    assert "row, 24 elements, 4 rows" in told
    assert "argument" not in told


def test_what_is_explained_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> bytes:
        raise AssertionError("code for an explanation")

    f = softmax()
    f(array(4, 5))
    expected = f.explain(array(4, 5)).sections
    # Of the other tests' functions a thread may be compiling drafts meanwhile: not here.
    monkeypatch.setattr("fusegrad.runtime.emission.llvm", SimpleNamespace(compile_module=refuse))
    assert f.explain(array(4, 5)).sections == expected
    assert "row, 35 elements" in dict(f.explain(array(5, 7)).sections)["regions"]
