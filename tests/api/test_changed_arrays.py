"""Arrays of NumPy that change after they were used: calls see it, gradients do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.array(2, np.float32),
        lambda: ones(3, 1),
        lambda: ones(3, 500),
        lambda: ones(3, 1000)[:, ::2],
        lambda: ones(500, 3).T,
        lambda: ones(3, 500).astype("float64"),
        lambda: ones(3, 500).astype(">f4"),
        lambda: np.ones(1000, np.int64),
    ],
)
def test_captured_arrays(make: Any) -> None:
    table = make()

    @fg.compile
    def f(x: Any) -> Any:
        return x + fg.sum(table) + fg.sum(fg.asarray(table, dtype="float32") * 2)

    for turn in range(4):
        table[...] += turn
        for _ in range(2):
            assert float(f(np.float32(1))) == 1 + 3 * float(table.sum())


def test_arrays_that_change_always_do_not_compile_always() -> None:
    small, index = ones(3), np.array([0, 2])

    @fg.compile
    def f(x: Any) -> Any:
        return (x * small)[index]

    x = np.arange(3, dtype=np.float32)
    for turn in range(6):
        small[turn % 3] += turn
        index[0] = turn % 3
        np.testing.assert_array_equal(f(x).numpy(), (x * small)[index])
    assert f.stats().compiles <= 3
    assert f.stats().reasons[0] == "the contents of a NumPy array changed that the function uses"


def test_large_arrays_are_read_where_they_lie() -> None:
    table = ones(64, 64)

    @fg.compile
    def f(x: Any) -> Any:
        return x + table

    first = f(np.float32(0))
    table[0] = 5
    assert float(f(np.float32(0))[0, 0]) == 5
    assert float(first[0, 0]) == 1
    assert f.stats().compiles == 1


def test_arrays_that_only_the_function_sees_are_constants() -> None:
    @fg.compile
    def f(x: Any) -> Any:
        return x * np.arange(3, dtype=np.float32) + np.ones((64, 64, 3), np.float32)

    for _ in range(3):
        assert float(f(np.float32(1)).sum()) == 64 * 64 * 6
    (entries,) = f._entries.values()
    assert entries[0].traced.arrays == []


def test_in_bodies_of_loops() -> None:
    small = ones(2)

    @fg.compile
    def f(x: Any) -> Any:
        return fg.fori_loop(0, 3, lambda i, total: total + small, x)

    assert f(ones(2)).tolist() == [4, 4]
    small[0] = 2
    assert f(ones(2)).tolist() == [7, 4]
    small[0] = 3
    assert f(ones(2)).tolist() == [10, 4]


@pytest.mark.parametrize("share", [fg.from_dlpack, lambda a: fg.asarray(a, copy=False)])
def test_gradients_of_shared_memory_are_those_of_the_forward_pass(share: Any) -> None:
    array = ones(3)
    shared, w = share(array), fg.asarray([1.0, 2.0, 3.0], requires_grad=True)
    y = (shared * w).sum()
    array[:] = 100
    again = (shared * w).sum()
    y.backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1, 1, 1]
    assert float(again) == 600
    w.grad = None
    again.backward()
    assert w.grad.tolist() == [100, 100, 100]


def test_gradients_by_shared_memory() -> None:
    array = ones(3)
    x = fg.from_dlpack(array).requires_grad_()
    y, z = (x * x).sum(), (x * 3).sum()
    (gradient,) = fg.autograd.grad(y + z, x)
    assert gradient.tolist() == [5, 5, 5]
    array[:] = 2
    assert (x * 1).tolist() == [2, 2, 2]
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("whole", [ones(4), ones(4, 2000)], ids=["small", "large"])
def test_parts_of_arrays(whole: Any) -> None:
    whole = whole.copy()

    @fg.compile
    def f(x: Any) -> Any:
        return x + fg.sum(whole[1:3])

    for turn in range(4):
        whole[2:] = turn
        for _ in range(2):
            assert float(f(np.float32(1))) == 1 + whole[1:3].sum()


def test_parts_of_what_only_the_function_sees_are_constants() -> None:
    @fg.compile
    def f(x: Any) -> Any:
        return x * np.arange(3, dtype=np.float32)[:, None]

    for _ in range(3):
        assert float(f(np.float32(1)).sum()) == 3
    (entries,) = f._entries.values()
    assert entries[0].traced.arrays == []
