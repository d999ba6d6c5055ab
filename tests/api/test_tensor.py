"""Tensors: looking at values, indexing, assignment, ownership, copies."""

from __future__ import annotations

import copy
import math
import pickle
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fusegrad as fg
from fusegrad import Tensor
from fusegrad.tensors import evaluation
from fusegrad.tensors.context import active
from fusegrad.tensors.storage import Storage

A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

# --- looking --------------------------------------------------------------------------------------


def test_numbers() -> None:
    x = fg.asarray(2.75)
    assert float(x) == 2.75
    assert int(x) == 2
    assert complex(x) == 2.75
    assert x.item() == 2.75
    assert isinstance(x.item(), float)
    assert bool(x)
    assert f"{x:.1f}" == "2.8"
    assert list(range(fg.asarray(3))) == [0, 1, 2]
    assert [10, 20, 30][fg.asarray(1)] == 20
    assert fg.asarray([[1, 2]]).item(1) == 2
    with pytest.raises(TypeError):
        [1, 2][fg.asarray(1.0)]
    with pytest.raises(ValueError, match="needs one element"):
        float(fg.ones(2))


def test_shape_needs_no_value() -> None:
    x = fg.ones((2, 30000)) + 1
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 30000), 2, 60000, 2)
    assert (x.numel(), x.dim(), x.itemsize, x.nbytes) == (60000, 2, 4, 240000)
    assert x.device == "cpu"
    assert x._storage is None


def test_repr_is_numpys() -> None:
    assert repr(fg.asarray([1, 2])) == "Tensor([1, 2])"
    assert repr(fg.asarray([1.5], dtype="float64")) == "Tensor([1.5], dtype=float64)"
    assert repr(fg.zeros((0, 3))) == "Tensor([], shape=(0, 3), dtype=float32)"
    assert repr(fg.ones(1, requires_grad=True)) == "Tensor([1.], requires_grad=True)"
    assert repr(fg.ones((2, 2))) == "Tensor([[1., 1.],\n        [1., 1.]])"


def test_numpy_view_is_read_only_and_keeps_its_values() -> None:
    x = fg.asarray([1.0, 2.0])
    view = x.numpy()
    assert view.ctypes.data == x._materialize().address
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    x += 1
    assert x.tolist() == [2, 3]
    assert view.tolist() == [1, 2]


def test_views_hold_the_storage() -> None:
    x = fg.asarray([1.0, 2.0])
    storage = x._materialize()
    alone = sys.getrefcount(storage)
    view = x.numpy()[1:]
    assert sys.getrefcount(storage) == alone + 1
    del view
    assert sys.getrefcount(storage) == alone


def test_pending_graphs_hold_the_storage() -> None:
    x = fg.asarray(np.ones(1 << 15))
    storage = x._materialize()
    alone = sys.getrefcount(storage)
    y = x * 2
    assert sys.getrefcount(storage) == alone + 1
    y.tolist()
    assert sys.getrefcount(storage) == alone


def test_asarray_copies() -> None:
    values = np.ones(3, np.float32)
    x, y = fg.asarray(values), fg.from_numpy(values)
    values[:] = 7
    for tensor in (x, y):
        assert tensor.tolist() == [1, 1, 1]


def test_storage_is_aligned() -> None:
    for shape in ((), (1,), (3, 5), (1000,), (0, 4)):
        assert Storage.empty(shape, np.float32).address % 64 == 0
        assert Storage.empty(shape, np.float32).array.flags.c_contiguous


def test_non_contiguous_input() -> None:
    values = np.arange(12.0).reshape(3, 4).T[::2]
    np.testing.assert_array_equal(fg.asarray(values).numpy(), values)


def test_dlpack() -> None:
    x = fg.asarray([1.0, 2.0])
    assert np.from_dlpack(x).tolist() == [1, 2]
    assert x.__dlpack_device__() == (1, 0)


def test_iteration() -> None:
    x = fg.asarray([[1, 2], [3, 4]])
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert 3 in x
    assert 5 not in x
    a, b = x
    assert (a.tolist(), b.tolist()) == ([1, 2], [3, 4])
    with pytest.raises(TypeError):
        iter(fg.asarray(1))


def test_identity_hash() -> None:
    x, y = fg.ones(2), fg.ones(2)
    assert len({x, y, x}) == 2
    assert {x: 1}[x] == 1


# --- when values are computed ---------------------------------------------------------------------


def test_values_are_computed_when_somebody_looks() -> None:
    x = fg.ones(1 << 15) + 1
    y = x * 3
    assert x._storage is None
    assert y.numpy().max() == 6
    assert x._storage is not None  # together with what waits
    assert x._node is None


def test_many_pending_results_are_computed() -> None:
    x = fg.zeros(1)
    for _ in range(2 * evaluation.LIMIT + 10):
        x = x + 1
    assert len(active.pending) < evaluation.LIMIT
    assert x.item() == 2 * evaluation.LIMIT + 10


def test_a_recorded_graph_survives_later_writes() -> None:
    x = fg.asarray([1.0, 2.0])
    y = x * 10
    x += 5
    x[0] = 0
    assert y.tolist() == [10, 20]
    assert x.tolist() == [0, 7]


def test_eager_computes_at_once() -> None:
    with fg.eager():
        x = fg.ones(2, requires_grad=True)
        y = (x * 3).sum()
        assert y._storage is not None
        y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3, 3]


def test_threads_record_apart() -> None:
    results: list[float] = []

    def work(start: int) -> None:
        x = fg.full((4,), float(start))
        for _ in range(300):
            x = x + 1
        results.append(x.sum().item())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [4 * (i + 300) for i in range(4)]


def test_a_thread_computes_what_another_recorded() -> None:
    x = fg.ones(3) + 1
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(x.tolist()))
    thread.start()
    thread.join()
    assert found == [[2, 2, 2]]
    assert x.tolist() == [2, 2, 2]


# --- indexing -------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_basic_indexing_is_numpys(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    values = np.arange(np.prod(shape)).reshape(shape)
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    expected = values[key]
    actual = fg.asarray(values)[key]
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual.numpy(), expected)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_basic_assignment_is_numpys(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    values = np.arange(np.prod(shape)).reshape(shape)
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    new = -1 - np.arange(values[key].size).reshape(values[key].shape)
    tensor = fg.asarray(values)
    tensor[key] = new
    values[key] = new
    np.testing.assert_array_equal(tensor.numpy(), values)


@pytest.mark.parametrize(
    "key",
    [
        [1, 0, 1],
        (slice(None), [2, -1]),
        (0, [0, 2], slice(1, 3)),
        (..., np.array([[0, 1], [2, 3]])),
        (None, [1], ..., 0),
        ([0, 1], [2, 0]),
        ([0, 1], slice(None), [2, 0]),
        (slice(None), [0, 1], [1, 2]),
        (slice(None), [[0], [1]], [1, 2]),
        ([1, 0], [1, 2], [0, -1]),
        (range(2), [2, 1]),
    ],
)
def test_integer_arrays(key: Any) -> None:
    expected = A[
        tuple(list(k) if isinstance(k, range) else k for k in key)
        if isinstance(key, tuple)
        else key
    ]
    actual = fg.asarray(A)[key]
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual.numpy(), expected)


def test_masks() -> None:
    x = fg.asarray(A)
    np.testing.assert_array_equal(x[x > 5].numpy(), A[A > 5])
    mask = np.array([True, False])
    np.testing.assert_array_equal(x[mask].numpy(), A[mask])
    np.testing.assert_array_equal(x[:, [True, False, True]].numpy(), A[:, [True, False, True]])


def test_masked_assignment() -> None:
    x = fg.asarray(A)
    x[x > 5] = -1
    np.testing.assert_array_equal(x.numpy(), np.where(A > 5, -1, A))
    y = fg.asarray(A)
    y[np.array([True, False])] = 0
    np.testing.assert_array_equal(y.numpy()[0], 0)
    np.testing.assert_array_equal(y.numpy()[1], A[1])


def test_assignment_broadcasts_and_converts() -> None:
    x = fg.asarray(A)
    x[:, 1] = 5
    x[0, ..., ::2] = fg.asarray([1, 2])
    expected = A.copy()
    expected[:, 1] = 5
    expected[0, ..., ::2] = [1, 2]
    np.testing.assert_array_equal(x.numpy(), expected)
    ints = fg.asarray([1, 2, 3])
    with pytest.raises(fg.errors.DTypeError):
        ints[0] = fg.asarray(1.5)


# --- changes in place -----------------------------------------------------------------------------


def test_in_place_operators_keep_the_object() -> None:
    x = y = fg.asarray([1.0, 2.0])
    x += 1
    x *= fg.asarray([2.0, 3.0])
    x -= 1
    x /= 3
    x **= 2
    assert x is y
    np.testing.assert_allclose(x.numpy(), [1.0, (8 / 3) ** 2], rtol=1e-6)
    counts = fg.asarray([7, 8])
    counts //= 2
    counts %= 3
    assert counts.tolist() == [0, 1]
    assert counts.dtype is fg.int64


def test_rounding_gives_python_numbers() -> None:
    x = fg.asarray(-2.75)
    assert (round(x), round(x, 1), math.trunc(x)) == (-3, -2.8, -2)
    assert isinstance(round(x), int)
    with pytest.raises(fg.FusegradError, match=r"round\(\)"):
        round(fg.ones(2))
    with pytest.raises(fg.FusegradError, match=r"use x\.round\(\)"):
        fg.compile(lambda v: round(v))(x)


def test_in_place_methods() -> None:
    x = fg.ones(3)
    assert x.zero_() is x
    assert x.tolist() == [0, 0, 0]
    assert x.fill_(2).tolist() == [2, 2, 2]
    assert x.copy_(np.arange(3)).tolist() == [0, 1, 2]
    assert x.add_(1, alpha=2).mul_(2).sub_(1).div_(3).tolist() == pytest.approx([1, 5 / 3, 7 / 3])
    assert x.clamp_(max=1).tolist() == [1, 1, 1]
    assert x.clamp_min(2).tolist() == [2, 2, 2]
    assert x.clamp_max_(0).tolist() == x.tolist() == [0, 0, 0]


def test_in_place_keeps_the_dtype() -> None:
    x = fg.ones(2, dtype="float32")
    x += fg.ones(2, dtype="float64")
    assert x.dtype is fg.float32


def test_data_is_the_tensor_without_history() -> None:
    p = fg.ones(2, requires_grad=True)
    p.data.fill_(3)
    p.data[0] = 1
    p.data *= 2
    assert p.tolist() == [2, 6]
    assert not p.data.requires_grad
    p.data = np.zeros(4, np.float32)
    assert p.shape == (4,)
    assert p.requires_grad
    assert (p.data + 1).tolist() == [1, 1, 1, 1]
    assert float(p.data.sum()) == 0
    assert repr(p.data) == "Tensor([0., 0., 0., 0.])"


# --- copies ---------------------------------------------------------------------------------------


def test_copies_are_values_of_their_own() -> None:
    x = fg.asarray([1.0, 2.0])
    others = [x.clone(), copy.copy(x), copy.deepcopy(x), Tensor(x)]
    x += 1
    for other in others:
        assert other.tolist() == [1, 2]
        other[0] = 9
    assert x.tolist() == [2, 3]


def test_pickle() -> None:
    x = fg.asarray([[1.0, 2.0]], requires_grad=True)
    x.name = "weight"
    y = pickle.loads(pickle.dumps(x))
    assert y.tolist() == [[1, 2]]
    assert y.requires_grad
    assert y.name == "weight"
    assert y.dtype is fg.float32


def test_deepcopy_keeps_shared_tensors_shared() -> None:
    x = fg.ones(2, requires_grad=True)
    x.grad = fg.ones(2)
    one, two = copy.deepcopy([x, x])
    assert one is two
    assert one is not x
    assert one.grad.tolist() == [1, 1]
    assert one.grad is not x.grad


def test_conversions() -> None:
    x = fg.asarray([1.7, 0.0])
    assert x.to("cpu") is x
    assert x.to(fg.float32) is x
    assert x.float() is x
    assert x.to("float64").dtype is fg.float64
    assert x.double().dtype is fg.float64
    assert x.int().tolist() == [1, 0]
    assert x.long().dtype is fg.int64
    assert x.bool().tolist() == [True, False]
    assert x.to(fg.ones(1, dtype="int32")).dtype is fg.int32
    assert x.type_as(fg.ones(1, dtype="int32")).dtype is fg.int32
    assert x.astype(np.float64).dtype is fg.float64
    assert x.cpu() is x
