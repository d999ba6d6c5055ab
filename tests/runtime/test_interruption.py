"""Signals while a compiled loop runs: it ends, raises the handler's error, and changes nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.runtime.interruption import symbols

pytestmark = pytest.mark.skipif(
    not symbols() or os.name == "nt", reason="loops ask where there is a monotonic clock"
)


class Told(Exception):
    """What the handler raises."""


def handler(*_: Any) -> None:
    raise Told


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, before)


def interrupted(run: Callable[[], Any]) -> None:
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    timer.start()
    started = time.perf_counter()
    with pytest.raises(Told):
        run()
    assert time.perf_counter() - started < 5
    timer.join()


def test_an_endless_loop_ends() -> None:
    endless = fg.compile(lambda x: fg.while_loop(lambda v: v < 10.0, lambda v: v * 1.0, x))
    assert float(endless(20.0)) == 20
    interrupted(lambda: endless(1.0))
    interrupted(lambda: endless(1.0))
    assert float(endless(20.0)) == 20


def test_a_long_loop_ends() -> None:
    run = fg.compile(lambda x: fg.fori_loop(0, 10**11, lambda _, v: fg.cos(v), x))
    interrupted(lambda: run(1.0))


def test_a_loop_in_a_loop_ends() -> None:
    def inner(_: Any, x: Any) -> Any:
        return fg.while_loop(lambda v: v < 2.0, lambda v: v * 1.0, x)

    run = fg.compile(lambda x: fg.fori_loop(0, 3, inner, x))
    interrupted(lambda: run(1.0))


def test_state_is_as_it_was() -> None:
    state = fg.asarray(np.ones(1000, "float32"))

    @fg.compile
    def step(x: Any) -> Any:
        state[...] = fg.while_loop(lambda v: v.max() < x, lambda v: v + 1.0, state)
        return state.sum()

    assert float(step(3.0)) == 3000
    step(3.0)
    interrupted(lambda: step(float("inf")))
    assert np.asarray(state).tolist() == [3.0] * 1000
    assert float(step(4.0)) == 4000


def test_other_threads_go_on() -> None:
    run = fg.compile(lambda n: fg.fori_loop(0, n, lambda _, v: v + 1, 0))
    found: list[int] = []
    count = fg.asarray(3_000_000)
    run(fg.asarray(1))
    thread = threading.Thread(target=lambda: found.append(int(run(count))))
    thread.start()
    with pytest.raises(Told):
        signal.raise_signal(signal.SIGUSR1)
    thread.join()
    assert found == [3_000_000]
