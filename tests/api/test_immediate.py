"""Small operations outside of traces: computed at once, and equal to recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import DTypeError, FusegradError, IndexBoundsError, LinAlgError, ShapeError
from fusegrad.tensors import immediate

Function = Callable[..., Any]

FUNCTIONS: list[Function] = [
    lambda x: x + 1,
    lambda x: x + 1.0,
    lambda x: x + True,
    lambda x: 1 - x,
    lambda x: x * 0.0,
    lambda x: x * -0.0,
    lambda x: x / float("nan"),
    lambda x: x * np.float32(2),
    lambda x: x * np.int8(2),
    lambda x: x.astype("float16") * 3 + x,
    lambda x: x.astype("int8") + 100,
    lambda x: x.clip(0, 1),
    lambda x: x.clip(0.0, 1.0),
    lambda x: x.sum(),
    lambda x: x.sum(axis=1, keepdims=True),
    lambda x: x.mean(axis=-1),
    lambda x: x @ x.T,
    lambda x: x[1],
    lambda x: x[1:, ::-1],
    lambda x: x[..., None, 0],
    lambda x: x.reshape(-1)[3:5],
    lambda x: x.T.exp(),
    lambda x: fg.sort(x, axis=0),
    lambda x: fg.where(x > 0, x, -x),
    lambda x: fg.concat([x, x]),
    lambda x: x[fg.asarray([1, 0])],
    lambda x: fg.linalg.inv(x @ x.T + fg.eye(2)),
    lambda x: fg.log(x),
    lambda x: x // 2,
    lambda x: x == x,
    lambda x: x.astype("float32"),
    lambda x: x.clone(),
    lambda x: x.sum(axis=()),
    lambda x: fg.var(x, correction=1),
]


def values() -> np.ndarray:
    return np.array([[-1.5, 0.0, 2.25], [3.0, -0.0, 1.0]], np.float32)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("again", [False, True])
def test_as_recorded(function: Function, again: bool) -> None:
    if not again:
        immediate._programs.clear()
    got = function(fg.asarray(values()))
    # What requires a gradient is recorded.
    want = function(fg.asarray(values(), requires_grad=True))
    assert got.dtype is want.dtype
    assert got.numpy().tobytes() == want.numpy().tobytes()
    assert got.shape == want.shape
    assert not got.requires_grad


def test_nothing_stays_recorded() -> None:
    x = fg.asarray(values())
    y = (x * 2).sum(axis=0)[1:]
    assert y._node is None
    assert y._storage is not None
    assert fg.zeros(3)._storage is not None


def test_large_and_differentiated_operations_are_recorded() -> None:
    assert (fg.ones(1 << 15) * 2)._storage is None
    assert (fg.ones(3, requires_grad=True) * 2)._storage is None
    with fg.no_grad():
        assert (fg.ones(3, requires_grad=True) * 2)._storage is not None


def test_numbers_are_told_apart() -> None:
    x = fg.asarray([1, 2])
    assert [(x + n).dtype.name for n in (1, 1.0, True)] == ["int64", "float32", "int64"]
    zeros = [np.signbit((fg.asarray([1.0]) * z).numpy()[0]) for z in (0.0, -0.0)]
    assert zeros == [False, True]
    assert [float((fg.asarray([2.0]) * n)[0]) for n in (2, 3)] == [4, 6]


def test_python_numbers_stay_weak() -> None:
    n = fg.asarray(2.0) * 1
    assert (fg.asarray([1.0], dtype="float16") + n).dtype is fg.float32
    total = fg.fori_loop(0, 2, lambda i, t: t + i * 0.5, 0.0)
    assert float(total) == 0.5


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: x + fg.ones(2), ShapeError, "(2, 3)"),
        (lambda x: x[5], IndexBoundsError, "5"),
        (lambda x: x[fg.asarray([0, 9])], IndexBoundsError, "9"),
        (lambda x: x.astype("int8") + 1000, DTypeError, "1000"),
        (lambda x: fg.linalg.inv(x @ x.T * 0).numpy(), LinAlgError, "singular"),
        (lambda x: x.sum(axis=7), FusegradError, "7"),
    ],
)
def test_errors_name_the_line(function: Function, error: type, message: str) -> None:
    x = fg.asarray(values())
    for _ in range(2):
        with pytest.raises(error) as raised:
            function(x)
        assert message in str(raised.value)
        assert "test_immediate.py" in str(raised.value)


def test_modes() -> None:
    x = fg.asarray(values())
    with fg.autocast(dtype="bfloat16"):
        assert (x @ x.T).dtype is fg.bfloat16
    assert (x @ x.T).dtype is fg.float32
    assert fg.vmap(lambda row: (row * 2).sum() + fg.ones(()))(x).tolist() == [2.5, 9]
    assert fg.compile(lambda y: y * 2 + fg.asarray(values()))(x).shape == (2, 3)


def test_programs_do_not_pile_up() -> None:
    x = fg.ones(1)
    for i in range(immediate._MOST + 100):
        x = x + float(i)
    assert len(immediate._programs) <= immediate._MOST


def test_threads_and_copies() -> None:
    x = fg.asarray(values())
    y = x + 0
    view = y.numpy()
    y += 1
    np.testing.assert_array_equal(view, values())
    np.testing.assert_array_equal(x.numpy(), values())


def test_writes_stay_in_place_when_nobody_else_sees_the_memory() -> None:
    x = fg.asarray(values())
    address = x.data_ptr()
    x += 1
    x[0] = 3
    x.mul_(2)
    x.copy_(x * 2)
    assert x.data_ptr() == address
    view, before = x.numpy(), x.tolist()
    x += 1
    assert x.data_ptr() != address
    assert view.tolist() == before
    address = x.data_ptr()
    w = fg.ones(3, requires_grad=True)
    y = (w * x).sum()
    before = x.sum(axis=0).tolist()
    x += 1
    assert x.data_ptr() != address
    y.backward()
    assert w.grad is not None
    assert w.grad.tolist() == before
    with fg.no_grad():
        w.detach().fill_(7)
    assert w.tolist() == [7, 7, 7]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32", "bool"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 1), (2, 3)])
def test_numbers_are_repeated_for_every_shape(dtype: str, shape: tuple[int, ...]) -> None:
    x = fg.asarray(np.arange(6)[: int(np.prod(shape))].reshape(shape)).astype(dtype)
    scalar = fg.asarray(2).astype(dtype)
    for function in (
        lambda a, b: a + 1,
        lambda a, b: 1 - a if dtype != "bool" else 1 + a,
        lambda a, b: a * b,
        lambda a, b: b * a + b,
        lambda a, b: b == a,
        lambda a, b: (b < a) | (a < 1),
        lambda a, b: fg.maximum(a, b),
        lambda a, b: fg.where(a > b, a, b),
        lambda a, b: fg.broadcast_to(b, (2, 3)) + b,
        lambda a, b: b + b,
    ):
        at_once = function(x, scalar)
        recorded = fg.compile(function)(x, scalar)
        assert at_once.shape == recorded.shape
        assert at_once.dtype == recorded.dtype
        np.testing.assert_array_equal(
            at_once.astype("float64").numpy(), recorded.astype("float64").numpy()
        )
    before = x.astype("float64").numpy().copy()
    assert (x + 0)._storage is not x._storage
    np.testing.assert_array_equal(x.astype("float64").numpy(), before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_parts_of_large_arrays_are_read_where_they_are(dtype: str) -> None:
    values = np.arange(60_000).reshape(300, 200) % 251
    x = fg.asarray(values).astype(dtype)
    expected = x.numpy() if dtype != "bfloat16" else x.astype("float64").numpy()
    for key in (
        0,
        -1,
        (3, 5),
        (slice(2, 9, 3), -2),
        (slice(None, None, -50), slice(0, 4)),
        (Ellipsis, 7),
        (None, 4, None, slice(3, 5)),
        (slice(5, 2), 0),
        (slice(-1000, 1000), 0),
    ):
        part = x[key]
        assert part.dtype == x.dtype
        assert part.shape == expected[key].shape
        got = part.numpy() if dtype != "bfloat16" else part.astype("float64").numpy()
        np.testing.assert_array_equal(got, expected[key])
    for key in (300, (0, 200), (0, 0, 0), -301):
        with pytest.raises(IndexBoundsError):
            x[key]


def test_parts_are_views_and_carry_gradients() -> None:
    x = fg.zeros((300, 200))
    float(x.sum())
    row, part = x[7], x[:, 3]
    row[3] = 5.0
    assert float(part[7]) == float(x[7, 3]) == 5
    x += 1
    assert float(row[3]) == 6
    part[...] = 0.0
    assert float(row[3]) == float(x[7, 3]) == 0
    w = fg.zeros((300, 200), requires_grad=True)
    with fg.no_grad():
        assert not w[3].requires_grad
    (w[3].sum() * 2).backward()
    gradient = w.grad.numpy()
    assert gradient[3].sum() == 400
    assert gradient.sum() == 400
    assert float(x[0].sum()) == float(fg.compile(lambda a: a[0].sum())(x))
