"""The simulator finds what a GPU would not tell: races, poison, places outside, endless waiting."""

from __future__ import annotations

import numpy as np
import pytest

from fusegrad.codegen.targets import ptx_simulator
from fusegrad.codegen.targets.gpu import compile_gpu
from fusegrad.codegen.targets.ptx_simulator import SimulationError, simulate
from tests.codegen.examples import EXAMPLES
from tests.codegen.gpu_support import Array
from tests.codegen.gpu_support import run as run_kernel
from tests.codegen.test_nvptx import gelu_kernel, total_kernel

HEAD = """.version 7.8
.target sm_90
.address_size 64
.visible .entry k(
    .param .u64 .ptr .align 16 k_param_0,
    .param .u64 .ptr .align 16 k_param_1
)
.maxntid 64
{
    .reg .pred %p<4>;
    .reg .b32 %r<8>;
    .reg .b64 %rd<8>;
    .shared .align 16 .b8 k_shared[256];
    ld.param.b64 %rd1, [k_param_0];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    mov.b64 %rd4, k_shared;
    add.s64 %rd5, %rd4, %rd2;
"""


def run(body: str, blocks: int = 1, threads: int = 64, fresh: bool = False) -> Array:
    found = np.zeros(64, np.uint32)
    text = HEAD + body + "\n    ret;\n}\n"
    simulate(text, [("k", blocks, threads)], [found], 0, [], [fresh])
    return found


REVERSED = """
    st.shared.b32 [%rd5], %r1;
    {barrier}
    sub.s64 %rd6, %rd4, %rd2;
    ld.shared.b32 %r2, [%rd6+252];
    st.global.b32 [%rd3], %r2;
"""


def test_threads_exchange_through_shared_memory() -> None:
    found = run(REVERSED.replace("{barrier}", "bar.sync 0;"))
    np.testing.assert_array_equal(found, np.arange(64)[::-1])


@pytest.mark.parametrize("barrier", ["", "bar.warp.sync -1;"])
def test_what_another_thread_writes_needs_a_barrier(barrier: str) -> None:
    with pytest.raises(SimulationError, match="no barrier between"):
        run(REVERSED.replace("{barrier}", barrier))


def test_two_threads_write_one_place() -> None:
    with pytest.raises(SimulationError, match="two threads"):
        run("st.global.b32 [%rd1], %r1;")


def test_blocks_do_not_wait_for_each_other() -> None:
    with pytest.raises(SimulationError, match="no barrier between"):
        run(
            "bar.sync 0;\n ld.global.b32 %r2, [%rd3];\n bar.sync 0;\n st.global.b32 [%rd3], %r2;", 2
        )


def test_outputs_that_nobody_wrote_are_not_read_and_shared_memory_begins_as_nan() -> None:
    with pytest.raises(SimulationError, match="nobody has written"):
        run("ld.global.b32 %r2, [%rd3];", fresh=True)
    found = run("ld.shared.b32 %r2, [%rd5];\n st.global.b32 [%rd3], %r2;")
    assert np.isnan(found.view(np.float32)).all()


@pytest.mark.parametrize("offset", ["256", "-4"])
def test_places_outside(offset: str) -> None:
    with pytest.raises(SimulationError, match="leaves its arrays"):
        run(f"st.global.b32 [%rd3+{offset}], %r1;")


def test_an_access_that_is_not_aligned() -> None:
    with pytest.raises(SimulationError, match="aligned"):
        run("st.global.v2.b32 [%rd3], {%r1, %r1};")


def test_a_loop_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptx_simulator, "MOST_STEPS", 10_000)
    ends = "setp.lt.u32 %p1, %r1, 32;\n @%p1 bra $A;\n bra.uni $A;\n$A:\n bra $A;"
    with pytest.raises(SimulationError, match="does not end"):
        run(ends, 1, 32)


def test_a_shuffle_with_lanes_that_have_ended() -> None:
    body = "setp.lt.u32 %p1, %r1, 7;\n @%p1 ret;\n shfl.sync.bfly.b32 %r2, %r1, 16, 31, -1;"
    with pytest.raises(SimulationError, match="have ended"):
        run(body)


def test_diverged_lanes_meet_at_a_shuffle() -> None:
    body = """
    setp.lt.u32 %p1, %r1, 7;
    mov.b32 %r3, 1;
    @%p1 bra $LATER;
$MEET:
    shfl.sync.bfly.b32 %r2, %r3, 1, 31, -1;
    st.global.b32 [%rd3], %r2;
    ret;
$LATER:
    mov.b32 %r3, 2;
    bra.uni $MEET;
"""
    expected = np.where(np.arange(64) < 7, 2, 1)[np.arange(64) ^ 1]
    np.testing.assert_array_equal(run(body), expected)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_the_order_of_threads_changes_no_bit(name: str) -> None:
    example = EXAMPLES[name]()
    size = example.sizes[0] if example.sizes else 1
    made = compile_gpu(example.kernel, size)
    results = []
    for seed in (None, 1, 2):
        arrays = example.arrays()
        run_kernel(made, arrays, size, seed)
        example.check(arrays)
        results.append(b"".join(a.tobytes() for a in arrays))
    assert results[0] == results[1] == results[2]


def test_a_seed_chooses_an_order() -> None:
    """Of two branches that write one place each in its turn, the last one wins."""
    branches = """
    setp.lt.u32 %p1, %r1, 32;
    @%p1 bra $LOW;
    ld.global.b32 %r2, [%rd1];
    st.global.b32 [%rd3], %r2;
    ret;
$LOW:
    mov.b32 %r3, 9;
    st.global.b32 [%rd3], %r3;
"""
    seen = set()
    for seed in range(8):
        found = np.zeros(64, np.uint32)
        try:
            simulate(HEAD + branches + "\n    ret;\n}\n", [("k", 1, 64)], [found], 0, [], (), seed)
        except SimulationError as error:
            seen.add(str(error).split("\n")[-1].strip().split(".")[0])
    assert seen == {"ld", "st"}, "whoever comes second is told of the race"


def test_an_entry_runs_with_no_more_threads_than_it_is_made_for() -> None:
    with pytest.raises(SimulationError, match="made for 64"):
        run("", 1, 128)


def test_a_compiled_kernel_gives_the_bits_of_numpy() -> None:
    made = compile_gpu(total_kernel(), 100_000)
    x = np.arange(100_000, dtype=np.float32) % 7
    y = np.zeros((), np.float32)
    blocks = [int(s.grid.value) for s in made.stages]  # type: ignore[attr-defined]
    launches = [(s.entry, n, s.block) for s, n in zip(made.stages, blocks, strict=True)]
    simulate(made.ptx, launches, [x, np.zeros((), np.float32), y], made.workspace_bytes, [100_000])
    assert y == x.sum(dtype=np.float64)


def test_a_launch_that_is_too_small_leaves_elements_undefined() -> None:
    made = compile_gpu(gelu_kernel(), 4096)
    x, y = np.ones(4096, np.float32), np.full(4096, 7, np.float32)
    simulate(made.ptx, [(made.stages[0].entry, 1, 256)], [x, y], 0, [4096])
    assert (y[:2048] != 7).all()
    assert (y[2048:] == 7).all()
