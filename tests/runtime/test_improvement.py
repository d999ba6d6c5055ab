"""Drafts of code, and the better code that takes their place."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import FusegradWarning
from fusegrad.runtime import improvement
from fusegrad.runtime.improvement import Job, later
from fusegrad.runtime.step import Step


def step_of(function: Any) -> Step:
    ((entry,),) = function._entries.values()
    return entry.step  # type: ignore[no-any-return]


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def layers(x: Any, w: Any) -> Any:
    hidden = fg.tanh(x @ w)
    return fg.softmax(hidden, dim=1), (hidden * hidden).sum(0)


def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in ((37, 43), (43, 43))]


def test_jobs_are_done_in_order_and_by_whoever_comes_first() -> None:
    found: list[int] = []
    jobs = [Job(found.append(n) for n in range(k, k + 3)) for k in (0, 3)]
    _finish_all(jobs)
    assert found == list(range(6))
    jobs[0].finish()
    assert found == list(range(6))


def _finish_all(jobs: list[Job]) -> None:
    for job in jobs:
        later(job)
    eventually(lambda: all(job.done for job in jobs))


def test_a_job_that_fails_warns_and_ends_no_other() -> None:
    def failing() -> Iterator[None]:
        yield
        raise ValueError("broken")

    jobs = [Job(failing()), Job(iter([1]))]
    with pytest.warns(FusegradWarning, match="code stays as it is: broken"):
        _finish_all(jobs)


def test_the_second_call_has_drafts_replaced_and_bits_stay() -> None:
    f = fg.compile(layers)
    first = [y.numpy() for y in f(*inputs())]
    step = step_of(f)
    drafts, words = len(step.record.drafts), list(step.words)
    assert f.stats().drafts == drafts > 0
    time.sleep(0.02)
    assert len(step.record.drafts) == drafts
    f(*inputs())
    eventually(lambda: not f.stats().drafts)
    assert len(step.words) == len(words)
    assert sum(a != b for a, b in zip(words, step.words, strict=True)) >= step.record.kernels
    for a, b in zip(first, f(*inputs()), strict=True):
        assert a.tobytes() == b.numpy().tobytes()


def test_calls_of_other_threads_go_on_meanwhile() -> None:
    f = fg.compile(layers)
    given = inputs()
    expected = [y.numpy().tobytes() for y in f(*given)]
    step = step_of(f)
    wrong: list[Any] = []

    def call() -> None:
        while step.record.drafts:
            if [y.numpy().tobytes() for y in f(*given)] != expected:
                wrong.append(1)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_loops_and_large_kernels_are_no_drafts() -> None:
    x = np.ones((1 << 23) + 1, np.float32)
    large = fg.compile(lambda x: fg.exp(x) + 1.0)
    large(x)
    assert not step_of(large).record.drafts
    kernels = []
    for trips in (10, 1_000_000):
        loop = fg.compile(lambda x, n=trips: fg.fori_loop(0, n, lambda i, y: fg.sin(y) + i, x) * 2)
        loop(x[:10])
        texts = [draft.text for draft in step_of(loop).record.drafts]
        kernels.append(sum(text.count("define void") for text in texts))
    assert kernels[0] > kernels[1]
    last = fg.compile(lambda x: fg.while_loop(lambda y: y.sum() < 30, lambda y: fg.exp(y), x))
    last(x[:10])
    assert not step_of(last).record.drafts


def test_a_forked_child_calls_and_compiles() -> None:
    f = fg.compile(layers)
    given = inputs()
    expected = [y.numpy().tobytes() for y in f(*given)]
    f(*given)  # a thread begins
    child = os.fork()
    if child == 0:
        good = [y.numpy().tobytes() for y in f(*given)] == expected
        g = fg.compile(lambda x: fg.cos(x) * 3.5)
        for _ in range(3):
            good &= bool(abs(float(g(np.ones(1, np.float32))) - 3.5 * np.cos(1)) < 1e-5)
        step_of(g).improve()
        os._exit(0 if good and not step_of(g).record.drafts else 1)
    assert os.waitpid(child, 0)[1] == 0


SCRIPT = """
import numpy as np, fusegrad as fg
f = fg.compile(lambda x: (fg.softmax(fg.tanh(x), dim=1), x.sum(0), fg.erf(x).sum()))
x = np.ones((30, 40), np.float32)
for _ in range({calls}):
    value = f(x)[0].numpy()
step = [e for entries in f._entries.values() for e in entries][0].step
if {wait}:
    step.improve()
print(value.tobytes().hex()[:16], next(iter(f.stats().origins)), len(step.record.drafts) > 0)
"""


def test_the_disk_has_drafts_and_then_better_code(tmp_path: Any) -> None:
    environment = {**os.environ, "FUSEGRAD_CACHE_DIR": str(tmp_path)}
    lines = []
    for calls, wait in ((1, 0), (1, 1), (2, 0)):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(calls=calls, wait=wait)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        lines.append(done.stdout.split())
    assert [line[1:] for line in lines] == [
        ["compiled", "True"],
        ["disk", "False"],
        ["disk", "False"],
    ]
    assert len({line[0] for line in lines}) == 1


def test_a_process_may_end_while_the_thread_compiles() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(calls=2, wait=0)],
        capture_output=True,
        text=True,
        env={**os.environ, "FUSEGRAD_CACHE_DIR": ""},
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_nothing_begins_once_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(improvement._worker, "over", True)
    found: list[int] = []
    job = Job(found.append(n) for n in range(3))
    later(job)
    job.finish()
    assert found == []
