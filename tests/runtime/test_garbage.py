"""The collector of cycles rests while a graph is traced and compiled, and only then."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.runtime.garbage import UNCOLLECTED


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if before else gc.disable)()


def test_it_rests_inside_and_works_again_after_the_outermost() -> None:
    turn = sys.getswitchinterval()
    with UNCOLLECTED:
        assert sys.getswitchinterval() < turn
        with UNCOLLECTED:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    assert sys.getswitchinterval() == turn


def test_who_has_switched_it_off_finds_it_off() -> None:
    gc.disable()
    with UNCOLLECTED:
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_it_works_again_after_an_error() -> None:
    def fails(x: fg.Tensor) -> fg.Tensor:
        assert not gc.isenabled()
        raise KeyError("no")

    with pytest.raises(KeyError):
        fg.compile(fails)(np.ones(3, np.float32))
    assert gc.isenabled()


def test_of_several_threads_the_last_one_wakes_it() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with UNCOLLECTED:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    with UNCOLLECTED:
        pass
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_forked_meanwhile_collects() -> None:
    with UNCOLLECTED:
        child = os.fork()
        if child == 0:
            works = gc.isenabled()
            with UNCOLLECTED:
                works = works and not gc.isenabled()
            os._exit(0 if works and gc.isenabled() else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert gc.isenabled()
