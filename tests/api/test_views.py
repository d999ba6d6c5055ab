"""Views: what is written to a part is written to the whole, and the other way round.

NumPy is the reference: the same function runs on an array, on a tensor, and on tensors in compiled
code.
"""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn
from fusegrad.errors import FusegradError, GradientError
from fusegrad.tensors.context import active
from fusegrad.testing import check_grads


def chained(t: Any) -> None:
    t[0][1] = 9
    t[-1][1:][0] = 8
    t[1:][1:][0][...] = 7


def augmented(t: Any) -> None:
    t[0] += 5
    t[1, ::2] *= 3
    t[:, 1][1] -= 2
    t[1][1:] += t[0][1:]


def transposed(t: Any) -> None:
    t.T[0] = 7
    t.T[1] += 1
    t.swapaxes(0, 1)[2][1] = 4


def reshaped(t: Any) -> None:
    t.reshape(-1)[3] = 4
    t.reshape((2, -1))[1][...] *= 2
    t[1].reshape((1, -1))[0, 0] = 70


def rows(t: Any) -> None:
    for row in t:
        row *= 2


def overlapping(t: Any) -> None:
    a, b = t[:3], t[1:]
    a += 1
    b *= 2
    a -= b[:3]


def backwards(t: Any) -> None:
    v = t[::-2, 1:]
    v[0] += 100
    v[..., 0] = -1


def copied_by_reshape(t: Any) -> None:
    v = t.T.reshape(-1)
    v += 5
    w = v[1:3]
    w *= 2
    t[0, 0] = v[1]


def with_axes(t: Any) -> None:
    v = t[None].swapaxes(0, 1)[..., None].squeeze()
    w = v[1]
    t += 1
    w *= 2
    t[1, 1] += w[0]


def after_the_base_was_written(t: Any) -> None:
    v = t[1:3]
    t[...] = t * 2
    v += 1
    t[2, 0] = v[0, 0]


def without_elements(t: Any) -> None:
    v = t[:0]
    v += 1
    t[0:0] = 3
    t.reshape(-1)[5:5] += 1


def one_element(t: Any) -> None:
    v = t[1:2, 2:3]
    v += 1
    w = v.reshape(())
    w *= 3


PROGRAMS = [
    chained,
    augmented,
    transposed,
    reshaped,
    rows,
    overlapping,
    backwards,
    copied_by_reshape,
    with_axes,
    after_the_base_was_written,
    without_elements,
    one_element,
]
Program = Callable[[Any], None]


def start() -> np.ndarray:
    return np.arange(20, dtype="float32").reshape(4, 5)


def expected(program: Program) -> np.ndarray:
    array = start()
    program(array)
    return array


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_numpy(program: Program) -> None:
    t = fg.asarray(start())
    program(t)
    np.testing.assert_array_equal(t.numpy(), expected(program))


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_numpy_op_by_op(program: Program) -> None:
    t = fg.asarray(start())
    with fg.eager():
        program(t)
    np.testing.assert_array_equal(t.numpy(), expected(program))


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_numpy_in_compiled_code(program: Program) -> None:
    @fg.compile
    def inside(x: Any) -> fg.Tensor:
        t = x * 1
        program(t)
        return t

    t = fg.asarray(start())

    @fg.compile
    def captured() -> fg.Tensor:
        program(t)
        return t * 1

    want = expected(program)
    np.testing.assert_array_equal(inside(start()).numpy(), want)
    np.testing.assert_array_equal(captured().numpy(), want)
    np.testing.assert_array_equal(t.numpy(), want)


@pytest.mark.parametrize("program", [chained, augmented, transposed, reshaped, rows, backwards])
def test_gradients(program: Program) -> None:
    def function(x: fg.Tensor) -> fg.Tensor:
        t = x * x
        program(t)
        return (t * t).sum()

    check_grads(function, [fg.asarray(start() / 10, dtype="float64")], order=2)


def test_gradients_flow_through_what_is_written_to_a_view() -> None:
    w = fg.asarray([1.0, 2.0], requires_grad=True)
    t = fg.zeros((2, 2))
    first, flat = t[0], t.reshape(-1)
    first += w
    t[1] = w * 3
    assert flat.requires_grad
    (flat**2).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [20, 40]


def test_captured_views_see_what_compiled_code_writes() -> None:
    t = fg.zeros((2, 3))
    v, flat = t[1], t.view(-1)

    @fg.compile
    def step(x: fg.Tensor) -> fg.Tensor:
        t[...] = t + x
        v.mul_(2)
        return flat.sum()

    for turn in range(3):
        before = t.numpy()
        total = step(np.float32(1))
        after = (before + 1) * [[1], [2]]
        np.testing.assert_array_equal(t.numpy(), after)
        np.testing.assert_array_equal(v.numpy(), after[1])
        np.testing.assert_array_equal(flat.numpy(), after.reshape(-1))
        assert float(total) == after.sum(), turn
    assert step.stats().compiles == 1


def test_views_whose_base_is_gone_see_each_other() -> None:
    t = fg.zeros(3)
    a, b = t[:2], t[1:]
    del t
    a[1] = 5
    assert b.tolist() == [5, 0]
    b[0] = 7
    assert a.tolist() == [0, 7]


def test_views_whose_base_is_gone_see_each_other_in_compiled_code() -> None:
    t = fg.zeros(3)
    a, b = t[:2], t[1:]
    del t

    @fg.compile
    def step() -> fg.Tensor:
        a[1] = a[1] + 5
        return b * 1

    assert step().tolist() == [5, 0]
    assert step().tolist() == [10, 0]
    assert (a.tolist(), b.tolist()) == ([0, 10], [10, 0])


def test_a_view_does_not_keep_its_base() -> None:
    t = fg.ones((100, 3))
    base = weakref.ref(t)
    v = t[0]
    del t
    gc.collect()
    assert base() is None
    v += 1
    assert v.tolist() == [2, 2, 2]


def test_a_view_sees_the_last_write_to_a_base_that_is_gone() -> None:
    t = fg.zeros((2, 3))
    row = t[1]
    t += 5
    del t
    gc.collect()
    assert row.tolist() == [5, 5, 5]
    row += 1
    assert row.tolist() == [6, 6, 6]


def test_written_tensors_die_without_the_collector_of_cycles() -> None:
    gc.disable()
    try:
        t = fg.zeros(3)
        a, b = t[:2], t[1:]
        storage = weakref.ref(t._storage)
        del t
        a[1] = 5
        assert b.tolist() == [5, 0]
        base = weakref.ref(a._shared.family.base())  # type: ignore[union-attr]
        assert base() is not None
        del a, b
        assert base() is None
        assert storage() is None
    finally:
        gc.enable()


def test_views_do_not_pile_up() -> None:
    t = fg.ones((100, 3))
    for i in range(1000):
        t[i % 100]
    assert len(t._shared._views) < 50  # type: ignore[union-attr]


def test_what_is_no_view() -> None:
    t = fg.asarray(start())
    before = t.numpy().copy()
    for part in (
        t[fg.asarray([0, 1])],
        t[t > 3],
        t.clone(),
        t.flip(0),
        t.repeat(1, 1),
        t + 0,
        fg.asarray(t, copy=True),
        fg.Tensor(t),
        copy.copy(t),
        copy.deepcopy(t),
        fg.reshape(t, (-1,), copy=True),
        fg.stack([t]),
        fg.concat([t]),
        fg.take(t, fg.asarray([0]), axis=0),
        t.astype("float64"),
    ):
        part += 1
    np.testing.assert_array_equal(t.numpy(), before)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.view(-1)[3:],
        lambda t: t.flatten(),
        lambda t: fg.flatten(t),
        lambda t: fg.ravel(t),
        lambda t: t.mT,
        lambda t: t.t(),
        lambda t: t.permute(1, 0),
        lambda t: fg.permute_dims(t, (1, 0)),
        lambda t: fg.moveaxis(t, 0, 1),
        lambda t: t.unsqueeze(0),
        lambda t: fg.expand_dims(t, axis=1),
        lambda t: t.unsqueeze(0).squeeze(0),
        lambda t: fg.squeeze(t[:1], axis=0),
        lambda t: t.diagonal(),
        lambda t: fg.diagonal(t, offset=-1),
        lambda t: t.T.diagonal(1),
        lambda t: t.narrow(1, 1, 2),
        lambda t: t.select(1, -1),
        lambda t: t.split(2)[1],
        lambda t: fg.split(t, 2)[0],
        lambda t: t.chunk(2, dim=1)[0],
        lambda t: t.unbind(1)[2],
        lambda t: fg.unstack(t)[2],
        lambda t: list(t)[1],
        lambda t: t.detach(),
        lambda t: t.data,
        lambda t: t.data[1],
        lambda t: t[...],
        lambda t: t[()],
        lambda t: fg.atleast_3d(t),
    ],
)
def test_what_is_a_view(view: Callable[[fg.Tensor], fg.Tensor]) -> None:
    t = fg.zeros((4, 5))
    v = view(t)
    v.fill_(1)
    count = v.size
    assert (v.tolist(), float(t.sum())) == (fg.ones(v.shape).tolist(), count)
    t.fill_(2)
    assert v.tolist() == fg.full(v.shape, 2.0).tolist()
    v += 1
    assert float(t.sum()) == 40 + count


def test_fill_of_a_diagonal() -> None:
    t = fg.ones((3, 3))
    t.diagonal().fill_(0)
    np.testing.assert_array_equal(t.numpy(), 1 - np.eye(3))


def test_parameters_are_written_through_views_without_gradients_only() -> None:
    p = nn.Parameter(fg.zeros((2, 2)))
    with pytest.raises(GradientError, match="changed in place"):
        p[0][1] = 3
    with fg.no_grad():
        p[0][1] = 3
        p.T[0].fill_(8)
    p.data[1][1] = 5
    p.data.view(-1)[2] = 4
    p.detach()[0, 0] = 1
    assert p.tolist() == [[1, 3], [4, 5]]
    assert p.requires_grad
    assert p.is_leaf
    (p[1] * 2).sum().backward()
    assert p.grad is not None
    assert p.grad.tolist() == [[0, 0], [2, 2]]


def test_views_of_parameters_see_training_steps() -> None:
    p = nn.Parameter(fg.ones((2, 2)))
    row = p[0]
    optimizer = fg.optim.SGD([p], lr=1.0)
    (p * p).sum().backward()
    optimizer.step()
    assert row.tolist() == [-1, -1]
    assert row.requires_grad


def test_state_dicts_are_snapshots() -> None:
    layer = nn.Linear(2, 2)
    saved = layer.state_dict()
    before = saved["weight"].numpy().copy()
    with fg.no_grad():
        layer.weight.fill_(0)
    np.testing.assert_array_equal(saved["weight"].numpy(), before)


def test_what_was_recorded_with_a_view_stays() -> None:
    t = fg.asarray([1.0, 2.0, 3.0])
    v = t[1:]
    y = v * 10
    v += 1
    t *= 2
    assert (y.tolist(), v.tolist(), t.tolist()) == ([20, 30], [6, 8], [2, 6, 8])


def test_in_functions_that_are_transformed() -> None:
    def function(x: fg.Tensor) -> fg.Tensor:
        t = x * 2
        t[0][1] = 0
        t.T[1] *= 3
        return (t * t).sum()

    x = fg.ones((2, 2))
    assert fg.grad(function)(x).tolist() == [[8, 0], [8, 72]]
    batch = fg.ones((3, 2, 2))
    assert fg.vmap(function)(batch).tolist() == [44.0] * 3
    assert fg.jvp(function, (x,), (x,))[1].item() == 88


def test_in_bodies_of_loops() -> None:
    def body(i: fg.Tensor, total: fg.Tensor) -> fg.Tensor:
        t = total * 1
        t[0][1] += 1
        t.reshape(-1)[0] = 5
        return t

    result = fg.fori_loop(0, 3, body, fg.zeros((2, 2)))
    assert result.tolist() == [[5, 3], [0, 0]]


def test_a_base_with_data_of_another_type_leaves_its_views() -> None:
    t = fg.zeros((2, 2))
    v = t[0]
    t.data = fg.ones(3)
    v += 1
    assert (t.tolist(), v.tolist()) == ([1, 1, 1], [1, 1])


def test_writing_rows_takes_linear_time() -> None:
    t = fg.zeros((300, 2))
    nodes = len(active.pending)
    for row in t:
        row += 1
    assert len(active.pending) - nodes < 300 * 10
    assert float(t.sum()) == 600


def test_a_failed_write_leaves_both() -> None:
    t = fg.zeros((2, 2), dtype="int64")
    v = t[0]
    with pytest.raises(FusegradError):
        v += 0.5
    with pytest.raises(FusegradError):
        v[...] = fg.ones(3, dtype="int64")
    assert (t.tolist(), v.tolist()) == ([[0, 0], [0, 0]], [0, 0])
