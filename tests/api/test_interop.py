"""Tensors and the arrays of others: shared memory, DLPack, NumPy's functions, pickles."""

from __future__ import annotations

import array
import copy
import pickle
import sys
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim
from fusegrad.errors import CopyError, DeviceError, DTypeError

DTYPES = ["bool", "int8", "int64", "uint8", "uint64", "float32", "float64"]
SHAPES = [(), (0,), (3,), (2, 0, 3), (2, 1, 3)]


def address(x: Any) -> int:
    return int(np.asarray(x).ctypes.data)


def values(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    return np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5, dtype=dtype)


class Foreign:
    """An array of another library: it has nothing but DLPack, on some device."""

    def __init__(self, values: Any, device: tuple[int, int] = (1, 0), old: bool = False) -> None:
        self.values, self.device, self.old = values, device, old

    def __dlpack__(self, *, stream: Any = None, **params: Any) -> Any:
        if self.old and params:
            raise TypeError("this library speaks an older version")
        return self.values.__dlpack__(**params)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


# --- into fusegrad --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_from_dlpack_shares(shape: tuple[int, ...], dtype: str) -> None:
    source = values(shape, dtype)
    for origin in (source, Foreign(source)):
        x = fg.from_dlpack(origin)
        assert (x.shape, x.dtype.name) == (shape, dtype)
        np.testing.assert_array_equal(x.numpy(), source)
        if source.size:
            assert address(x) == address(source)
            assert address(fg.from_dlpack(origin, copy=True)) != address(source)


def test_what_was_recorded_keeps_its_values() -> None:
    source = np.ones(3, np.float32)
    x = fg.from_dlpack(source)
    doubled, copied, part = x * 2, x.clone(), x[1:]
    kept, fresh = fg.asarray(x, copy=True), copy.copy(x)
    source[:] = 7
    assert doubled.tolist() == [2, 2, 2]
    assert part.tolist() == [1, 1]
    assert x.tolist() == [7, 7, 7]
    for other in (copied, kept, fresh):
        assert other.tolist() == [1, 1, 1]
    assert (x * 2).tolist() == [14, 14, 14]


def test_shared_memory_is_never_written() -> None:
    source = np.ones(3, np.float32)
    x, y = fg.from_dlpack(source), fg.from_dlpack(source)
    x += 1
    y[0] = 5
    z = fg.from_dlpack(source)

    @fg.compile
    def step() -> None:
        z.add_(1)

    for count in range(1, 4):
        step()
        assert z.tolist() == [1 + count] * 3
    assert source.tolist() == [1, 1, 1]
    assert (x.tolist(), y.tolist()) == ([2, 2, 2], [5, 1, 1])


def test_compiled_functions_read_shared_memory_where_it_is() -> None:
    source = np.arange(4.0)
    x = fg.from_dlpack(source)
    double = fg.compile(lambda: x * 2)
    assert double().tolist() == [0, 2, 4, 6]
    source[:] = 1
    assert double().tolist() == [2, 2, 2, 2]
    assert fg.compile(lambda x: x + 1)(x).tolist() == [2, 2, 2, 2]


def test_parameters_own_their_memory() -> None:
    source = np.ones(3, np.float32)
    weights = [nn.Parameter(fg.from_dlpack(source)), fg.Tensor(fg.from_dlpack(source))]
    source[:] = 7
    for weight in weights:
        assert weight.tolist() == [1, 1, 1]


def test_memory_lives_as_long_as_the_tensor() -> None:
    source = np.ones(3, np.float32)
    before = sys.getrefcount(source)
    x = fg.from_dlpack(source)
    assert sys.getrefcount(source) > before
    del x
    assert sys.getrefcount(source) == before


STRANGE = {
    "strides": np.arange(6.0).reshape(2, 3).T,
    "steps": np.arange(6)[::2],
    "backwards": np.arange(3)[::-1],
    "repeated": np.broadcast_to(np.float32(1), (3,)),
}


@pytest.mark.parametrize("name", STRANGE)
def test_other_layouts_are_copied_or_refused(name: str) -> None:
    source = STRANGE[name]
    x = fg.from_dlpack(Foreign(source)) if source.flags.writeable else fg.from_dlpack(source)
    np.testing.assert_array_equal(x.numpy(), source)
    assert address(x) != address(source)
    for share in (fg.from_dlpack, fg.asarray):
        with pytest.raises(CopyError, match="a copy is needed and copy=False: it has the shape"):
            share(source, copy=False)


def test_elements_that_are_not_aligned() -> None:
    source = np.zeros(9, np.uint8)[1:].view(np.float64)
    assert fg.asarray(source).tolist() == [0]
    assert fg.asarray(np.arange(3, dtype=">i4")).dtype is fg.int32
    with pytest.raises(CopyError, match="its elements are not aligned to 8 bytes"):
        fg.asarray(source, copy=False)
    with pytest.raises(CopyError, match="the bytes of its elements are swapped"):
        fg.asarray(np.ones(2).astype(np.dtype("f8").newbyteorder()), copy=False)


def test_read_only_memory() -> None:
    source = np.arange(3.0)
    source.flags.writeable = False
    assert address(fg.from_dlpack(source)) == address(source)
    assert address(fg.asarray(source, copy=False)) == address(source)


def test_asarray_without_a_copy() -> None:
    source = np.arange(3.0)
    assert address(fg.asarray(source, copy=False)) == address(source)
    assert address(fg.asarray(memoryview(source), copy=False)) == address(source)
    assert fg.asarray(array.array("d", [1.0, 2.0]), copy=False).tolist() == [1, 2]
    assert address(fg.asarray(Foreign(source), copy=False)) == address(source)
    x = fg.asarray(source)
    assert fg.asarray(x, copy=False) is x
    for value in (source, x):
        with pytest.raises(CopyError, match="values of float64 are no float32"):
            fg.asarray(value, dtype="float32", copy=False)
    for value in ([1.0, 2.0], 3.0):
        with pytest.raises(CopyError, match="has no memory to share"):
            fg.asarray(value, copy=False)
    assert issubclass(CopyError, ValueError)
    assert issubclass(CopyError, BufferError)


def test_arrays_that_know_dlpack_only() -> None:
    assert fg.asarray(Foreign(np.arange(3))).tolist() == [0, 1, 2]
    assert fg.asarray(Foreign(np.arange(3)), dtype="float32").dtype is fg.float32


def test_arguments_of_compiled_functions_are_inputs_whoever_made_them() -> None:
    source = np.arange(3.0)
    double = fg.compile(lambda x, n: x * n, static_argnames=("n",))
    for _ in range(3):
        result = double(Foreign(source), n=2)
        assert isinstance(result, fg.Tensor)
        assert result.tolist() == [*(2 * source)]
        source += 1
    assert double.stats().compiles == 1
    assert fg.grad(fg.compile(lambda x: (x * x).sum()))(Foreign(source)).tolist() == [*(2 * source)]


def test_arrays_that_cannot_be_read() -> None:
    with pytest.raises(DeviceError, match="there is no device 'cuda:0'"):
        fg.from_dlpack(Foreign(np.ones(2), device=(2, 0)))
    with pytest.raises(DeviceError, match="there is no device 'cuda'"):
        fg.from_dlpack(np.ones(2), device="cuda")
    with pytest.raises(DTypeError, match="a Foreign cannot be read"):
        fg.from_dlpack(Foreign(np.array("text")))


def test_arrays_that_refuse() -> None:
    class Differentiated:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            raise RuntimeError("this array requires grad; detach it first")

    with pytest.raises(DTypeError, match="of a Differentiated: this array requires grad; detach"):
        fg.asarray(Differentiated())


def test_older_versions_of_dlpack() -> None:
    source = np.arange(3)
    assert fg.from_dlpack(Foreign(source, old=True)).tolist() == [0, 1, 2]


# --- out of fusegrad ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_dlpack_shares(shape: tuple[int, ...], dtype: str) -> None:
    x = fg.asarray(values(shape, dtype))
    for out in (np.from_dlpack(x), np.asarray(x), x.numpy()):
        np.testing.assert_array_equal(out, values(shape, dtype))
        assert out.dtype == dtype
        assert not out.flags.writeable
        assert address(out) == address(x)
    assert x.__dlpack_device__() == (1, 0)


def test_readers_of_older_versions() -> None:
    """They know no read-only memory; the tensor's next value is computed elsewhere."""
    x = fg.asarray([1.0, 2.0])
    out = np.from_dlpack(Foreign(x, old=True))
    assert address(out) == address(x)
    step = fg.compile(lambda: x.add_(1))
    step()
    step()
    assert out.tolist() == [1, 2]
    assert x.tolist() == [3, 4]


def test_dlpack_copies_on_demand() -> None:
    x = fg.asarray([1.0, 2.0])
    for other in (np.from_dlpack(x, copy=True), np.array(x), np.asarray(x, copy=True)):
        assert address(other) != address(x)
        other[0] = 7
    assert x.tolist() == [1, 2]
    with pytest.raises(CopyError, match="values of float32 are no float64"):
        np.asarray(x, dtype=np.float64, copy=False)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(DeviceError, match="the CPU has no streams"):
        x.__dlpack__(stream=1)
    with pytest.raises(BufferError):
        x.__dlpack__(max_version=(1, 0), dl_device=(2, 0))


# --- Python's protocols ---------------------------------------------------------------------------


def test_python_protocols() -> None:
    x = fg.asarray([[1, 2, 3], [4, 5, 6]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2, 3], [4, 5, 6]]
    assert 5 in x
    assert 7 not in x
    assert len({x, x, fg.asarray(1)}) == 2
    assert list(range(10))[fg.asarray(3)] == 3
    assert f"{fg.asarray(3.14159):.2f} {fg.asarray(7):>3}" == "3.14   7"
    with pytest.raises(TypeError, match="without axes has no length"):
        len(fg.asarray(1))
    with pytest.raises(TypeError, match="is not an index"):
        [1, 2][fg.asarray(1.0)]
    with pytest.raises(ValueError, match="needs one element"):
        bool(x)


def test_numpy_on_the_left() -> None:
    x, a = fg.asarray([1.0, 2.0], dtype=fg.float64), np.array([3.0, 4.0])
    for result, expected in (
        (a + x, [4, 6]),
        (a - x, [2, 2]),
        (np.float64(2) * x, [2, 4]),
        (a @ x, 11),
        (a < x, [False, False]),
    ):
        assert isinstance(result, fg.Tensor)
        assert result.tolist() == expected
    assert isinstance(np.sin(x), np.ndarray)
    np.testing.assert_array_equal(np.concatenate([x, a]), [1, 2, 3, 4])
    b = a.copy()
    b[:] = x
    np.testing.assert_array_equal(b, [1, 2])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_training_goes_on_from_a_copy(again: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    opt = optim.Adam(model.parameters(), lr=0.1)
    x = fg.asarray(np.random.default_rng(0).standard_normal((5, 3)), dtype="float32")

    def train(model: Any, opt: Any) -> float:
        loss = (model(x) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        return float(loss)

    train(model, opt)
    other, its = again((model, opt))
    for a, b in zip(other.parameters(), its.param_groups[0]["params"], strict=True):
        assert a is b
    for _ in range(3):
        assert train(model, opt) == train(other, its)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert a is not b
        np.testing.assert_array_equal(a.numpy(), b.numpy())


class Other:
    """An array of a library that knows nothing of ours."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.values, dtype=dtype)


def test_operators_take_arrays_of_other_libraries() -> None:
    x, other = fg.asarray([1.0, 2.0]), Other(np.float32([3.0, 2.0]))
    assert (x + other).tolist() == [4, 4]
    assert (other - x).tolist() == [2, 0]  # type: ignore[operator]
    assert (x == other).tolist() == [False, True]
    assert float(x @ other) == 7
    assert fg.compile(lambda v: v * other)(x).tolist() == [3, 4]
    with pytest.raises(TypeError, match="unsupported operand"):
        x + object()  # type: ignore[operator]
