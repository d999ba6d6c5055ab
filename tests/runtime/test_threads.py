"""Every chunk runs once, whoever launches it from wherever; the pool sleeps and survives forks."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import ConfigError
from fusegrad.runtime import loader, pool, threads

ROOT = Path(__file__).parents[2]
MAX = threads.max_threads()

KERNELS = """
declare void @fg_parallel(ptr, ptr, i64, i64, i64, ptr, i64)

; args: counts of runs for each chunk, then lo, hi, and where the scratch was.
define void @mark(ptr %args, i64 %lo, i64 %hi, i64 %chunk, ptr %scratch) {
  %record = mul i64 %chunk, 4
  %count = getelementptr i64, ptr %args, i64 %record
  %old = atomicrmw add ptr %count, i64 1 monotonic
  %p1 = getelementptr i64, ptr %count, i64 1
  store i64 %lo, ptr %p1
  %p2 = getelementptr i64, ptr %count, i64 2
  store i64 %hi, ptr %p2
  %p3 = getelementptr i64, ptr %count, i64 3
  %where = ptrtoint ptr %scratch to i64
  store i64 %where, ptr %p3
  ret void
}

; args: input, output. The sum of each chunk, in order, with as many steps as the chunk is long.
define void @sum(ptr %args, i64 %lo, i64 %hi, i64 %chunk, ptr %scratch) {
entry:
  %in = load ptr, ptr %args
  %q = getelementptr ptr, ptr %args, i64 1
  %out = load ptr, ptr %q
  br label %head
head:
  %i = phi i64 [%lo, %entry], [%next, %body]
  %s = phi float [0.0, %entry], [%t, %body]
  %more = icmp slt i64 %i, %hi
  br i1 %more, label %body, label %done
body:
  %p = getelementptr float, ptr %in, i64 %i
  %x = load float, ptr %p
  %y = fdiv float %x, 3.0
  %t = fadd float %s, %y
  %next = add i64 %i, 1
  br label %head
done:
  %o = getelementptr float, ptr %out, i64 %chunk
  store float %s, ptr %o
  ret void
}

; args: number of errors. Writes the chunk to the scratch again and again, and reads it back.
define void @own(ptr %args, i64 %lo, i64 %hi, i64 %chunk, ptr %scratch) {
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %head]
  store volatile i64 %chunk, ptr %scratch
  %back = load volatile i64, ptr %scratch
  %same = icmp eq i64 %back, %chunk
  %wrong = select i1 %same, i64 0, i64 1
  %old = atomicrmw add ptr %args, i64 %wrong monotonic
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, 200
  br i1 %more, label %head, label %done
done:
  ret void
}

; Each chunk launches `mark` over its own part of args.
define void @nested(ptr %args, i64 %lo, i64 %hi, i64 %chunk, ptr %scratch) {
  %offset = mul i64 %chunk, 40
  %part = getelementptr i64, ptr %args, i64 %offset
  call void @fg_parallel(ptr @mark, ptr %part, i64 100, i64 10, i64 10, ptr %scratch, i64 0)
  ret void
}

; args: a counter, and the sum of what @many was told to launch.
define void @add(ptr %args, i64 %lo, i64 %hi, i64 %chunk, ptr %scratch) {
  %old = atomicrmw add ptr %args, i64 1 monotonic
  ret void
}
define void @many(ptr %kernel, ptr %args, i64 %chunks, i64 %times) {
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %head]
  call void @fg_parallel(ptr %kernel, ptr %args, i64 %chunks, i64 1, i64 %chunks, ptr null, i64 0)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %head, label %done
done:
  ret void
}
"""
NAMES = ["mark", "sum", "own", "nested", "add", "many"]


class Kernels:
    """The kernels of this file, and how to launch them."""

    def __init__(self) -> None:
        address = threads.symbol_address()
        self.library = loader.load(loader.compile_module(KERNELS), NAMES, {threads.SYMBOL: address})
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        launch = ctypes.CFUNCTYPE(
            None, pointer, pointer, integer, integer, integer, pointer, integer
        )
        self._launch = launch(address)
        many = ctypes.CFUNCTYPE(None, pointer, pointer, integer, integer)
        self._many = many(self.library.address("many"))

    def launch(
        self, name: str, args: np.ndarray, n: int, grain: int, scratch: np.ndarray | None = None
    ) -> None:
        chunks = -(-n // grain)
        base, stride = (None, 0) if scratch is None else (scratch.ctypes.data, scratch.strides[0])
        kernel = self.library.address(name)
        self._launch(kernel, args.ctypes.data, n, grain, chunks, base, stride)

    def many(self, name: str, args: np.ndarray, chunks: int, times: int) -> None:
        self._many(self.library.address(name), args.ctypes.data, chunks, times)


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels()


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    before = threads.num_threads()
    yield
    threads.set_num_threads(before)


def marks(kernels: Kernels, n: int, grain: int, scratch: np.ndarray) -> np.ndarray:
    records = np.zeros((-(-n // grain), 4), np.int64)
    kernels.launch("mark", records, n, grain, scratch)
    return records


@pytest.mark.parametrize("count", [1, 2, 3, MAX])
def test_every_chunk_runs_once(kernels: Kernels, count: int) -> None:
    threads.set_num_threads(count)
    scratch = np.zeros((MAX, 64), np.uint8)
    for n, grain in [(1, 1), (2, 1), (10, 3), (1000, 7), (1000, 1000), (64, 100), (100_000, 10)]:
        records = marks(kernels, n, grain, scratch)
        starts = np.arange(len(records)) * grain
        assert (records[:, 0] == 1).all()
        assert (records[:, 1] == starts).all()
        assert (records[:, 2] == np.minimum(starts + grain, n)).all()
        thread = (records[:, 3] - scratch.ctypes.data) // 64
        assert ((thread >= 0) & (thread < count)).all()
        # The launching thread has the first chunks, workers the others.
        assert (np.diff((thread > 0).astype(np.int8)) >= 0).all()
        if len(records) == 1:
            assert thread[0] == 0


def test_no_chunks(kernels: Kernels) -> None:
    threads.set_num_threads(2)
    args = np.zeros(1, np.int64)
    kernels.launch("add", args, 0, 10)
    assert args[0] == 0


def test_results_do_not_depend_on_the_number_of_threads(kernels: Kernels) -> None:
    values = np.random.default_rng(0).standard_normal(100_003, np.float32)
    results = []
    for count in (1, 2, 4, MAX, 2):
        threads.set_num_threads(count)
        out = np.zeros(-(-values.size // 997), np.float32)
        args = np.array([values.ctypes.data, out.ctypes.data], np.uint64)
        kernels.launch("sum", args, values.size, 997)
        results.append(out.tobytes())
    assert len(set(results)) == 1


def test_scratch_belongs_to_one_thread(kernels: Kernels) -> None:
    threads.set_num_threads(MAX)
    scratch = np.zeros((MAX, 128), np.uint8)
    errors = np.zeros(1, np.int64)
    for _ in range(20):
        kernels.launch("own", errors, 200, 1, scratch)
    assert errors[0] == 0


def test_a_launch_inside_a_launch(kernels: Kernels) -> None:
    threads.set_num_threads(4)
    for _ in range(50):
        records = np.zeros((20, 10, 4), np.int64)
        kernels.launch("nested", records, 20, 1)
        assert (records[..., 0] == 1).all()


def test_launches_from_several_threads(kernels: Kernels) -> None:
    threads.set_num_threads(3)
    sums = np.zeros((4, 8), np.int64)
    errors = np.zeros((4, 8), np.int64)

    def work(row: int) -> None:
        scratch = np.zeros((MAX, 128), np.uint8)
        for _ in range(40):
            kernels.many("add", sums[row], 13, 50)
            kernels.launch("own", errors[row], 10, 1, scratch)

    together(work, 4)
    assert (sums[:, 0] == 40 * 13 * 50).all()
    assert (errors == 0).all()


def test_the_number_of_threads_changes_while_launches_run(kernels: Kernels) -> None:
    sums = np.zeros((2, 8), np.int64)
    done = threading.Event()

    def change() -> None:
        count = 1
        while not done.is_set():
            count = count % MAX + 1
            threads.set_num_threads(count)
            time.sleep(0.0005)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        together(lambda row: kernels.many("add", sums[row], 17, 20_000), 2)
    finally:
        done.set()
        changer.join()
    assert (sums[:, 0] == 17 * 20_000).all()


def test_many_launches_with_pauses(kernels: Kernels) -> None:
    threads.set_num_threads(3)
    total = np.zeros(8, np.int64)
    for round_ in range(30):
        kernels.many("add", total, 5, 200)
        time.sleep(0.004 if round_ % 2 else 0)
    assert total[0] == 30 * 5 * 200


def together(work: Callable[[int], None], count: int) -> None:
    workers = [threading.Thread(target=work, args=(row,)) for row in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def test_idle_workers_sleep(kernels: Kernels) -> None:
    threads.set_num_threads(2)
    kernels.many("add", np.zeros(8, np.int64), 4, 100)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.03


@pytest.mark.skipif(not pool.runs_threads(), reason="the pool of this system has no threads")
def test_workers_start_with_the_first_launch_that_needs_them(kernels: Kernels) -> None:
    threads.set_num_threads(3)
    kernels.many("add", np.zeros(8, np.int64), 4, 1)
    assert threads.running_workers() >= 2


def test_the_number_of_threads_is_checked() -> None:
    with pytest.raises(ConfigError) as caught:
        threads.set_num_threads(MAX + 1)
    assert f"pass a number from 1 to {MAX}" in str(caught.value)
    with pytest.raises(ConfigError):
        threads.set_num_threads(0)
    with pytest.raises(TypeError):
        threads.set_num_threads(1.5)  # type: ignore[arg-type]
    threads.set_num_threads(2)
    assert threads.num_threads() == 2


def test_the_text_for_other_systems_runs_on_the_caller(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "other")
    assert not pool.runs_threads()
    library = loader.load(loader.compile_module(pool.pool_ir()), pool.EXPORTS, {})
    inline = loader.load(
        loader.compile_module(KERNELS), NAMES, {threads.SYMBOL: library.address(threads.SYMBOL)}
    )
    many = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
        inline.address("many")
    )
    total = np.zeros(8, np.int64)
    many(inline.address("add"), total.ctypes.data, 6, 7)
    assert total[0] == 42


# --- whole processes ------------------------------------------------------------------------------

SCRIPT = """
import ctypes, os, sys, threading, time
import numpy as np
sys.path.insert(0, {here!r})
from test_threads import Kernels
from fusegrad.runtime import threads
threads.set_num_threads(3)
kernels = Kernels()
total = np.zeros(8, np.int64)
"""


def run_script(body: str, **environment: str) -> str:
    script = SCRIPT.format(here=str(Path(__file__).parent)) + textwrap.dedent(body)
    completed = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@needs_fork
def test_a_child_starts_its_own_workers() -> None:
    out = run_script(
        """
        kernels.many("add", total, 5, 100)
        for gap in (0, 0.01):
            time.sleep(gap)
            child = os.fork()
            if child == 0:
                assert threads.running_workers() == 0
                kernels.many("add", total, 5, 100)
                assert total[0] == 1000, total
                assert threads.running_workers() == 2
                grandchild = os.fork()
                if grandchild == 0:
                    kernels.many("add", total, 5, 100)
                    os._exit(0 if total[0] == 1500 else 1)
                os._exit(os.waitpid(grandchild, 0)[1])
            assert os.waitpid(child, 0)[1] == 0
        kernels.many("add", total, 5, 100)
        print(total[0], threads.running_workers())
        """
    )
    assert out.split() == ["1000", "2"]


@needs_fork
def test_a_fork_while_another_thread_launches() -> None:
    run_script(
        """
        stop = False
        def work():
            own = np.zeros(8, np.int64)
            while not stop:
                kernels.many("add", own, 7, 200)
        worker = threading.Thread(target=work)
        worker.start()
        for _ in range(30):
            child = os.fork()
            if child == 0:
                kernels.many("add", total, 5, 300)
                os._exit(0 if total[0] == 1500 else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop = True
        worker.join()
        """
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_leaving_a_crowded_processor_keeps_the_affinity() -> None:
    run_script(
        """
        tasks = lambda: {int(name) for name in os.listdir("/proc/self/task")}
        before = tasks()
        one = {min(os.sched_getaffinity(0))}
        os.sched_setaffinity(0, one)
        threads._pool.configure(3, 1_000_000, 1)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            kernels.many("add", total, 40, 2000)
        workers = tasks() - before
        assert len(workers) == 2
        assert all(os.sched_getaffinity(worker) == one for worker in workers)
        """
    )


def test_exit_while_workers_look_for_work_or_sleep() -> None:
    for gap in ("0", "0.05"):
        run_script(f'kernels.many("add", total, 5, 100); time.sleep({gap})')


def test_exit_while_a_daemon_thread_launches() -> None:
    run_script(
        """
        def work():
            scratch = np.zeros((64, 128), np.uint8)
            while True:
                kernels.launch("own", total, 100, 1, scratch)
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.1)
        """
    )


def test_a_second_process_does_not_compile_the_pool(tmp_path: Path) -> None:
    # The kernels of this file are compiled each time, so the pool itself is asked for first.
    body = """
    from fusegrad.runtime import cache, machine
    known = machine.is_known()
    print(cache.default().hits - known, cache.default().writes)
    """
    directory = str(tmp_path / "cache")
    hits, writes = run_script(body, FUSEGRAD_CACHE_DIR=directory).split()
    # What LLVM says of the machine is kept too, where the system tells one from another.
    assert (hits, writes in ("1", "2")) == ("0", True)
    assert run_script(body, FUSEGRAD_CACHE_DIR=directory).split() == ["1", "0"]
    assert run_script("print('ran')", FUSEGRAD_CACHE_DIR="off").split() == ["ran"]


def test_the_environment_sets_the_number_of_threads() -> None:
    script = "from fusegrad.runtime import threads; print(threads.num_threads())"
    completed = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "FUSEGRAD_NUM_THREADS": "5"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert completed.stdout.split() == ["5"]


def test_the_public_names() -> None:
    fg.set_num_threads(3)
    assert fg.get_num_threads() == threads.num_threads() == 3


@pytest.mark.skipif(not pool.runs_threads(), reason="no threads on this system")
def test_workers_that_were_woken_elsewhere_may_run_everywhere_again(kernels: Kernels) -> None:
    threads.set_num_threads(2)
    counter = np.zeros(1, np.int64)
    for _ in range(12):
        kernels.many("add", counter, 30, 5)
        time.sleep(0.003)
    expected = os.sched_getaffinity(0)
    tasks = [int(name) for name in os.listdir("/proc/self/task")]
    assert len(tasks) > 1
    assert all(os.sched_getaffinity(task) == expected for task in tasks)
    assert counter[0] == 12 * 30 * 5
