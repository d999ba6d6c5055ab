"""Compiled functions under threads, forks and pools: right, to the bit, and without a hang."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.compilation import compile as compilation
from fusegrad.runtime import threads
from fusegrad.runtime.locks import TRACING

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    # Python warns of what is tested here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
SIZE = 300_000


@fg.compile
def norm(x, n):
    """Large enough for several chunks, with partial sums."""
    return (fg.tanh(x) * n).sum(), fg.exp(x)


def expected(n: float) -> tuple[bytes, bytes]:
    x = np.linspace(-1, 1, SIZE, dtype="float32")
    total, values = norm(x, n)
    return total.numpy().tobytes(), values.numpy().tobytes()


def call_many(n: float) -> tuple[bytes, bytes]:
    """In a process of its own: a pool of threads over one function."""
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(expected, [n] * 8))
    assert len(found) == 1
    return found.pop()


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = threads.num_threads()
    threads.set_num_threads(3)
    yield
    threads.set_num_threads(before)


def together(function: Callable[[int], Any], count: int) -> list[Any]:
    results: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait(30)
        results[number] = function(number)

    workers = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    return results


def in_child(function: Callable[[], Any]) -> None:
    """Run in a forked child; it must end, and without an error."""
    child = os.fork()
    if not child:
        code = 1
        try:
            threading.Timer(30, lambda: os._exit(9)).start()
            function()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_32_threads_call_one_function() -> None:
    first = expected(2.0)
    assert set(together(lambda _: [expected(2.0) for _ in range(3)] == [first] * 3, 32)) == {True}


def test_32_threads_make_the_first_call() -> None:
    function = fg.compile(lambda x: (x * 2).sum())
    x = np.ones(1000)
    found = together(lambda _: float(function(x)), 32)
    assert found == [2000.0] * 32
    assert function.stats().compiles >= 1


def test_32_threads_take_one_training_step() -> None:
    w = fg.zeros(50, requires_grad=True)
    opt = optim.SGD([w], lr=0.5)

    @fg.compile
    def step(x):
        opt.zero_grad()
        (w * x).sum().backward()
        opt.step()
        return w.sum()

    x = np.ones(50, "float32")
    found = together(lambda _: [float(step(x)) for _ in range(4)], 32)
    totals = sorted(value for values in found for value in values)
    assert totals == sorted(-25.0 * n for n in range(1, 129))


def test_functions_are_traced_while_others_run_and_compile() -> None:
    first = expected(3.0)

    def work(number: int) -> bool:
        if number % 2:
            return expected(3.0) == first
        function = fg.compile(lambda x: fg.cumsum(x * number).max() + number)
        return float(function(np.ones(5))) == 5 * number + number

    assert all(together(work, 8))


def test_bits_for_every_number_of_threads() -> None:
    def train(count: int) -> list[bytes]:
        threads.set_num_threads(count)
        fg.random.seed(0)
        model = nn.Sequential(nn.Linear(64, 300), nn.LayerNorm(300), nn.GELU(), nn.Linear(300, 10))
        opt = optim.Adam(model.parameters(), lr=1e-2)

        @fg.compile
        def step(x, y):
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            return loss

        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(256, 64)).astype("float32"), rng.integers(0, 10, 256)
        losses = [step(x, y).numpy().tobytes() for _ in range(3)]
        return losses + [p.numpy().tobytes() for p in model.parameters()]

    one = train(1)
    assert [train(count) for count in (2, 3, 4)] == [one] * 3


def test_a_function_has_its_own_number_of_threads() -> None:
    x = np.linspace(-1, 1, SIZE, dtype="float32")
    first = expected(2.0)
    for count in (1, 2, 3):
        function = fg.compile(norm.function, threads=count)
        for _ in range(3):
            total, values = function(x, 2.0)
            assert (total.numpy().tobytes(), values.numpy().tobytes()) == first
        assert function._fast.hits == 1
    for wrong in (0, -1, threads.max_threads() + 1):
        with pytest.raises(fg.errors.ConfigError, match=f"cannot be {wrong}"):
            fg.compile(norm.function, threads=wrong)


def test_one_thread_starts_no_worker() -> None:
    program = """
        import numpy as np
        import fusegrad as fg
        from fusegrad.runtime import threads

        threads.set_num_threads(4)
        x = np.ones(1_000_000, "float32")
        for count, workers in ((1, 0), (2, 1), (None, 3)):
            function = fg.compile(lambda x: fg.tanh(x).sum(), threads=count)
            function(x), function(x), function(x)
            assert threads.running_workers() == workers, (count, threads.running_workers())
    """
    code = textwrap.dedent(program)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_calls_after_a_fork() -> None:
    first = expected(2.0)

    def child() -> None:
        assert expected(2.0) == first
        assert float(fg.compile(lambda x: x.sum() * 7)(np.ones(3))) == 21

    in_child(child)
    in_child(lambda: in_child(child))


def test_a_fork_while_others_trace_and_step() -> None:
    """What a thread holds at the fork, nobody holds in the child."""
    w = fg.zeros(3)

    @fg.compile
    def step(x):
        w[...] = w + x
        return w.sum()

    x = np.ones(3, "float32")
    step(x)
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with TRACING, compilation._COMPILING, step._lock, TRACING.alone():
            held.set()
            over.wait(60)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(30)

    def child() -> None:
        assert [float(step(x)) for _ in range(3)] == [6, 9, 12]
        assert float(fg.compile(lambda x: x.sum() * 5)(np.ones(3))) == 15

    in_child(child)
    over.set()
    thread.join(30)
    assert float(step(x)) == 6


def test_a_child_compiles_that_was_forked_while_another_thread_does() -> None:
    over = threading.Event()

    def compile_many() -> None:
        number = 1.0
        while not over.is_set():
            number += 1
            fg.compile(lambda x, n=number: fg.sin(x * n).sum())(np.ones(int(number) % 50))

    thread = threading.Thread(target=compile_many, daemon=True)
    thread.start()
    try:
        for number in range(2, 8):
            time.sleep(0.013 * number)

            def child(number: int = number) -> None:
                function = fg.compile(lambda x: fg.exp(x * number).sum())
                assert float(function(np.zeros(7 + number))) == 7 + number

            in_child(child)
    finally:
        over.set()
        thread.join(30)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pools_of_threads_in_pools_of_processes(method: str) -> None:
    first = expected(2.0)
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        found = pool.map_async(call_many, [2.0] * (4 if method == "fork" else 2)).get(90)
    assert set(found) == {first}


def test_one_thread_traces_for_all() -> None:
    total = fg.zeros(3)

    @fg.compile
    def add(x):
        total.add_(x)

    together(lambda _: add(np.ones(3, "float32")), 32)
    assert add.stats().compiles == 1
    assert total.tolist() == [32.0] * 3


def test_a_trace_loses_no_update_of_a_running_step() -> None:
    total = fg.zeros(1 << 16)

    @fg.compile
    def add(x):
        total.add_(x)

    @fg.compile
    def refuse(x):
        total.mul_(2.0)
        time.sleep(0.001)
        raise ValueError("traced, and no more")

    one = fg.ones(1 << 16)
    add(one)

    def work(number: int) -> None:
        for _ in range(30):
            if number:
                add(one)
            else:
                with pytest.raises(ValueError, match="traced, and no more"):
                    refuse(one)

    together(work, 4)
    assert total.min() == total.max() == 1 + 3 * 30
