"""Reading and writing parts: every kind of index against NumPy, compiled, gradients, errors."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fusegrad as fg
from fusegrad.testing import check_grads

Array = npt.NDArray[Any]
RNG = np.random.default_rng(5)
X = RNG.normal(size=(3, 4, 5))
PLACES, COLUMNS = np.array([[0, 2], [1, -1]]), np.array([3, 0])


# --- against NumPy --------------------------------------------------------------------------------


def _array_index(rng: random.Random, extent: int, wide: tuple[int, ...]) -> Array:
    shape = tuple(1 if rng.random() < 0.3 else e for e in wide)[rng.randint(0, len(wide)) :]
    size = int(np.prod(shape))
    dtype = rng.choice([np.int64, np.int32, np.int8, np.uint8])
    low = 0 if dtype is np.uint8 else -extent
    return np.array([rng.randint(low, extent - 1) for _ in range(size)], dtype).reshape(shape)


def random_key(rng: random.Random, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """An index with items of every kind; its arrays may not broadcast."""
    wide = tuple(rng.randint(1, 3) for _ in range(rng.randint(0, 2)))
    key: list[Any] = []
    axis = 0
    while axis < len(shape) and rng.random() < 0.85:
        extent, kind = shape[axis], rng.random()
        if kind < 0.25:
            ends = [rng.choice([None, rng.randint(-6, 6)]) for _ in range(2)]
            key.append(slice(*ends, rng.choice([None, 1, 2, -1, -2, 3])))
        elif kind < 0.4:
            key.append(rng.randint(-extent, extent - 1))
        elif kind < 0.65:
            choices: list[Any] = [None, True, False]
            key.append(rng.choice(choices if any(item is ... for item in key) else [*choices, ...]))
            axis -= 1
        elif kind < 0.72:
            over = shape[axis : axis + rng.randint(1, 2)]
            mask = np.array([rng.random() < 0.5 for _ in range(int(np.prod(over)))])
            key.append(mask.reshape(over))
            axis += len(over) - 1
        else:
            key.append(_array_index(rng, extent, wide))
        axis += 1
    return tuple(key)


@pytest.mark.parametrize("seed", range(8))
def test_random_indices_are_numpys(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        shape = tuple(rng.randint(1, 5) for _ in range(rng.randint(0, 5)))
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        key = random_key(rng, shape)
        try:
            expected = x[key]
        except IndexError:
            with pytest.raises(IndexError):
                fg.asarray(x)[key]
            continue
        np.testing.assert_array_equal(fg.asarray(x)[key].numpy(), expected, strict=True)
        value = -1 - np.arange(expected.size, dtype=np.float32).reshape(expected.shape)
        changed, wanted = fg.asarray(x), x.copy()
        changed[key] = value
        wanted[key] = value
        np.testing.assert_array_equal(changed.numpy(), wanted, err_msg=str(key))
        np.add.at(total := np.atleast_1d(x.copy()), key if shape else (0, *key), value)
        added = fg.asarray(x).at[key].add(value)
        np.testing.assert_array_equal(added.numpy(), total.reshape(shape), err_msg=str(key))


def test_where_the_axes_of_arrays_go() -> None:
    x = fg.zeros((2, 3, 4, 5))
    assert x[0, :, [1, 2]].shape == (2, 3, 5)
    assert x[:, 0, [1, 2]].shape == (2, 2, 5)
    assert x[:, [[0], [1]], :, [0, 1, 2]].shape == (2, 3, 2, 4)
    assert x[:, [[0], [1]], [0, 1, 2]].shape == (2, 2, 3, 5)
    assert x[:, [0], None, [1]].shape == (1, 2, 1, 5)
    assert x[:, [0, 1], ..., fg.asarray(0)].shape == (2, 2, 4)
    assert x[True, None, ..., False].shape == (0, 1, 2, 3, 4, 5)


# --- compiled code and gradients ------------------------------------------------------------------

KEYS: tuple[Any, ...] = (
    (PLACES, COLUMNS),
    (slice(None), PLACES, COLUMNS),
    (0, slice(None), PLACES),
    ([0, 0, 1],),
    (slice(None, None, -2), slice(3, 0, -1), [0, 4, 4]),
    (slice(1, 3), 2),
    (np.array(1), slice(None), [[-1]]),
)


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("how", ["set", "add", "multiply", "min", "max"])
def test_writing_compiled_and_differentiated(key: Any, how: str) -> None:
    def write(x: fg.Tensor, v: fg.Tensor) -> fg.Tensor:
        changed: fg.Tensor = getattr(x.at[key], how)(v)
        return changed

    value = RNG.normal(size=X[key].shape)
    expected = write(fg.asarray(X), fg.asarray(value)).numpy()
    np.testing.assert_array_equal(fg.compile(write)(X, value).numpy(), expected)
    check_grads(write, (X, value))


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_reading_and_assigning_compiled_and_differentiated(key: Any) -> None:
    def twice(x: fg.Tensor, v: fg.Tensor) -> fg.Tensor:
        y = x * 1.0
        y[key] = v
        y[key] += y[key] * v
        return y

    value = RNG.normal(size=X[key].shape)
    wanted = X.copy()
    wanted[key] = value
    wanted[key] += wanted[key] * value
    result = fg.compile(twice)(X, value).numpy()
    np.testing.assert_array_equal(result, twice(fg.asarray(X), fg.asarray(value)).numpy())
    np.testing.assert_allclose(result, wanted, 1e-14)
    check_grads(twice, (X, value))


def test_the_last_value_gets_the_gradient() -> None:
    x, v = fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0, 5.0])
    gx, gv = fg.grad(lambda x, v: x.at[[0, 0, 1]].set(v).sum(), argnums=(0, 1))(x, v)
    assert (gx.tolist(), gv.tolist()) == ([0, 0], [0, 1, 1])


def test_equal_extremes_share_the_gradient() -> None:
    def largest(x: fg.Tensor, v: fg.Tensor) -> fg.Tensor:
        return x.at[[0, 0, 1]].max(v).sum()

    gx, gv = fg.grad(largest, argnums=(0, 1))(fg.asarray([2.0, 9.0]), fg.asarray([2.0, 2.0, 1.0]))
    np.testing.assert_allclose(gx.numpy(), [1 / 3, 1])
    np.testing.assert_allclose(gv.numpy(), [1 / 3, 1 / 3, 0])


def test_products_with_zeros_have_gradients() -> None:
    def product(x: fg.Tensor, v: fg.Tensor) -> fg.Tensor:
        return x.at[[0, 0, 1, 1, 1]].multiply(v)

    x, v = fg.asarray([2.0, 3.0]), fg.asarray([0.0, 5.0, 0.0, 0.0, 7.0])
    gx, gv = fg.grad(lambda x, v: product(x, v).sum(), argnums=(0, 1))(x, v)
    assert (gx.tolist(), gv.tolist()) == ([0, 0], [10, 0, 0, 0, 0])


def test_divide_power_subtract_apply() -> None:
    x = fg.asarray([2.0, 3.0, 4.0])
    assert x.at[[0, 0, 2]].divide([2.0, 4.0, 8.0]).tolist() == [0.25, 3, 0.5]
    assert x.at[1:].power(2).tolist() == [2, 9, 16]
    assert x.at[0].subtract(5).tolist() == [-3, 3, 4]
    assert x.at[x > 2.5].apply(lambda part: -part).tolist() == [2, -3, -4]
    assert fg.asarray([1, 2]).at[0].multiply(3).tolist() == [3, 2]
    assert x.tolist() == [2, 3, 4]


# --- masks ----------------------------------------------------------------------------------------


def test_one_place_is_written_in_place() -> None:
    cache = fg.zeros((4, 1000, 8))

    @fg.compile
    def remember(at: fg.Tensor, row: fg.Tensor) -> fg.Tensor:
        cache[:, at] = row
        return cache.sum()

    totals, addresses = [], set()
    for at in (5, 999, -1):
        totals.append(float(remember(fg.asarray(at), np.full(8, at, np.float32))))
        addresses.add(cache._materialize().address)
    assert totals == [32 * 5, 32 * 1004, 32 * 4]
    assert len(addresses) == 1
    assert cache[:, 5].tolist() == [[5] * 8] * 4


def test_masks_inside_of_compiled_functions() -> None:
    x = RNG.normal(size=(3, 4)).astype(np.float32)

    @fg.compile
    def clipped(x: fg.Tensor) -> fg.Tensor:
        x = x * 1
        x[x > 0] = 0
        x[:, fg.asarray([True, False, False, True])] -= 1
        x[fg.asarray([True, False, True])] = fg.asarray([1.0, 2.0, 3.0, 4.0])
        return x

    wanted = np.minimum(x, 0)
    wanted[:, [0, 3]] -= 1
    wanted[[0, 2]] = [1, 2, 3, 4]
    np.testing.assert_array_equal(clipped(x).numpy(), wanted)


def test_a_mask_takes_one_value_for_each_place() -> None:
    x = fg.zeros((2, 2))
    x[fg.asarray([[True, False], [True, True]])] = [1.0, 2.0, 3.0]
    assert x.tolist() == [[1, 0], [2, 3]]
    with pytest.raises(ValueError, match="cannot broadcast"):
        x[fg.asarray([[True, False], [True, True]])] = [1.0, 2.0]


def test_reading_by_mask_in_a_compiled_function_is_an_error() -> None:
    with pytest.raises(fg.errors.TracedValueError, match="an index with a mask needs a value"):
        fg.compile(lambda x: x[x > 0])(X)


# --- indices that lie outside ---------------------------------------------------------------------


def test_outside_is_an_error_where_values_are_known() -> None:
    x = fg.arange(3)
    for index in ([3], [-4], fg.asarray([0, 5]), np.array(7), fg.asarray([1]) + 2):
        with pytest.raises(IndexError, match="is outside of"):
            x[index]
        with pytest.raises(IndexError, match="is outside of"):
            x[index] = 0
    with pytest.raises(IndexError, match="index 3 is outside of an axis of extent 3"):
        fg.compile(lambda x: x[[0, 3]])(x)
    with pytest.raises(IndexError):
        fg.take(x, 4)


def test_outside_is_clamped_in_compiled_code() -> None:
    x = fg.arange(3)
    assert fg.compile(lambda x, i: x[i])(x, np.array([-9, -1, 9])).tolist() == [0, 2, 2]
    written = fg.compile(lambda x, i: x.at[i].set(7))(x, np.array([9]))
    assert written.tolist() == [0, 1, 7]


def test_modes() -> None:
    x, index = fg.asarray([1.0, 2.0, 3.0]), [-1, 3, -4, 1]
    assert x.at[index].get(mode="clip").tolist() == [1, 3, 1, 2]
    assert x.at[index].get(mode="wrap").tolist() == [3, 1, 3, 2]
    assert x.at[index].get(mode="fill", fill_value=9).tolist() == [3, 9, 9, 2]
    assert np.isnan(x.at[[5]].get(mode="fill").numpy()).all()
    assert x.at[index].set(0, mode="drop").tolist() == [1, 0, 0]
    assert fg.zeros((2, 2)).at[[0, 1, 2], [0, 2, 1]].add(1, mode="drop").tolist() == [
        [1, 0],
        [0, 0],
    ]
    check_grads(lambda x: x.at[index].multiply(x[[0, 1, 2, 0]], mode="drop"), (x,))


def test_what_is_no_index() -> None:
    x = fg.zeros((2, 3))
    for key in ("a", 1.5, [0.5], (0, 0, 0), (..., ...), [True], fg.zeros(2) > 0, len):
        if isinstance(key, fg.Tensor):
            key = (slice(None), key)
        with pytest.raises(IndexError):
            x[key]
    with pytest.raises(ValueError, match="slice step cannot be zero"):
        x[::0]
    with pytest.raises(IndexError, match=r"index arrays of shapes \(2,\) and \(3,\) do not"):
        x[[0, 1], [0, 1, 2]]
    with pytest.raises(TypeError, match="cannot assign to a tensor of int64"):
        fg.arange(3)[0] = fg.asarray(0.5)
    with pytest.raises(TypeError, match="add of bools"):
        (x > 0).at[0].add(True)


# --- state and batches ----------------------------------------------------------------------------


def test_state_is_changed_in_place() -> None:
    table = fg.zeros((4, 2))

    @fg.compile
    def record(i: Any, v: fg.Tensor) -> None:
        table[i] = v
        table[0] += 1

    record(fg.asarray(2), np.ones(2, np.float32))
    record(fg.asarray(3), np.full(2, 5, np.float32))
    assert table.tolist() == [[2, 2], [0, 0], [1, 1], [5, 5]]


@pytest.mark.parametrize("axes", [(0, 0, 0), (0, None, 0), (None, 0, 0), (0, 0, None)])
@pytest.mark.parametrize("how", ["set", "max"])
def test_batches(axes: tuple[Any, ...], how: str) -> None:
    x, v = RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 5, 2))
    index = RNG.integers(0, 4, (3, 5))
    args = [a if axis == 0 else a[0] for a, axis in zip((x, index, v), axes, strict=True)]

    def write(x: Any, i: Any, v: Any) -> fg.Tensor:
        changed: fg.Tensor = getattr(fg.asarray(x).at[i], how)(v)
        return changed

    result = fg.vmap(write, in_axes=axes)(*map(fg.asarray, args))
    for row in range(3):
        own = [a[row] if axis == 0 else a for a, axis in zip(args, axes, strict=True)]
        np.testing.assert_array_equal(result[row].numpy(), write(*own).numpy())
