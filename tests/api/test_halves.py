"""float16 and bfloat16 as dtypes of tensors: results, rounding, promotion, training, files."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import DTypeError

ml_dtypes = pytest.importorskip("ml_dtypes")

Array = np.ndarray[Any, Any]
HALVES = ("float16", "bfloat16")
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def draw(*shape: int, dtype: str, seed: int = 0) -> fg.Tensor:
    return fg.asarray(np.random.default_rng(seed).normal(size=shape), dtype=dtype)


def wide(x: fg.Tensor) -> Array:
    return np.asarray(x.float().numpy())


def ways(function: Callable[..., Any], *args: Any) -> list[Any]:
    """The result recorded, op by op, and compiled."""
    with fg.eager():
        eager = function(*args)
        leaves = eager if isinstance(eager, tuple) else (eager,)
        for leaf in leaves:
            leaf.tolist()
    return [function(*args), eager, fg.compile(function)(*args)]


@pytest.mark.parametrize("dtype", HALVES)
def test_each_operation_is_rounded_once(dtype: str) -> None:
    x, y = draw(1003, dtype=dtype), draw(1003, dtype=dtype, seed=1)

    def chain(x: fg.Tensor, y: fg.Tensor) -> fg.Tensor:
        return (x * y + x) / (y * y + 1) - fg.sqrt(fg.abs(x))

    a, b = x.numpy(), y.numpy()
    one = a.dtype.type(1)
    expected = (a * b + a) / (b * b + one) - np.sqrt(np.abs(a))
    for found in ways(chain, x, y):
        assert found.dtype.name == dtype
        np.testing.assert_array_equal(wide(found), expected.astype(np.float32))


@pytest.mark.parametrize("dtype", HALVES)
def test_bits_do_not_depend_on_fusion(dtype: str) -> None:
    x = draw(37, 129, dtype=dtype)

    def both(x: fg.Tensor) -> tuple[fg.Tensor, fg.Tensor]:
        y = x * 1.1 + 0.3
        return y, (y * y).sum(axis=1)

    together = fg.compile(both)(x)
    alone = fg.compile(lambda x: both(x)[1])(x)
    assert together[1].tolist() == alone.tolist()
    squares = fg.compile(lambda y: (y * y).sum(axis=1))(together[0])
    assert squares.tolist() == alone.tolist()


@pytest.mark.parametrize("dtype", HALVES)
def test_sums_and_products_accumulate_in_float32(dtype: str) -> None:
    x, w = draw(33, 2050, dtype=dtype), draw(2050, 17, dtype=dtype, seed=1)

    def reduced(x: fg.Tensor, w: fg.Tensor) -> tuple[fg.Tensor, ...]:
        return x.sum(axis=1), x.max(axis=0), x @ w, x.mean(), fg.var(x, axis=0), x.argmax(axis=1)

    a, b = wide(x).astype(np.float64), wide(w).astype(np.float64)
    expected = (a.sum(1), a.max(0), a @ b, a.mean(), a.var(0), a.argmax(1))
    for results in ways(reduced, x, w):
        for found, want in zip(results[:-1], expected, strict=False):
            assert found.dtype.name == dtype
            np.testing.assert_allclose(wide(found), want, EPSILON[dtype], 1e-4)
        np.testing.assert_array_equal(results[-1].numpy(), expected[-1])


def test_sums_inside_of_means_do_not_overflow() -> None:
    x = fg.full(100_000, 3.0, dtype="float16")
    assert float(x.mean()) == 3
    assert float(fg.std(x)) == 0
    assert np.isinf(float(x.sum()))
    big = fg.asarray([60000.0, -60000.0], dtype="float16")
    assert float(fg.var(big)) == np.inf  # 3.6e9 is no float16
    assert float(fg.std(big)) == 60000
    image = fg.full((1, 1, 4, 4), 60000.0, dtype="float16")
    assert wide(F.avg_pool2d(image, 2)).tolist() == [[[[60000] * 2] * 2]]
    assert wide(F.softmax(big)).tolist() == [1, 0]
    assert float(F.mse_loss(big, fg.zeros_like(big))) == np.inf
    assert wide(F.layer_norm(big, 2)).tolist() == [1, -1]


@pytest.mark.parametrize("dtype", HALVES)
def test_movement_keeps_the_bits(dtype: str) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = bits.view(getattr(fg, dtype).numpy).reshape(256, 256)
    x = fg.asarray(values)

    def moved(x: fg.Tensor) -> tuple[fg.Tensor, ...]:
        return (
            x.T,
            fg.flip(x, axis=1)[::3, 5:],
            fg.concat([x[:3], x[-3:]], axis=1),
            fg.take(x, fg.asarray([5, 250, 0]), axis=1),
            fg.broadcast_to(x[:, None], (256, 2, 256)).reshape(512, 256),
        )

    ids = np.asarray([5, 250, 0])
    expected = (
        values.T,
        values[:, ::-1][::3, 5:],
        np.concatenate([values[:3], values[-3:]], 1),
        values[:, ids],
        np.repeat(values, 2, 0),
    )
    for results in ways(moved, x):
        for found, want in zip(results, expected, strict=True):
            np.testing.assert_array_equal(
                np.ascontiguousarray(found.numpy()).view(np.uint16),
                np.ascontiguousarray(want).view(np.uint16),
            )


def test_promotion() -> None:
    half, brain = fg.ones(2, dtype="float16"), fg.ones(2, dtype="bfloat16")
    assert (half + brain).dtype is fg.float32
    assert (half + fg.ones(2)).dtype is fg.float32
    assert (brain * fg.ones(2, dtype="float64")).dtype is fg.float64
    assert (half + fg.ones(2, dtype="int64")).dtype is fg.float16
    assert (brain + fg.ones(2, dtype="bool")).dtype is fg.bfloat16
    assert (half * 2.5).dtype is fg.float16
    assert (1 - brain).dtype is fg.bfloat16
    assert fg.where(half > 0, brain, 0).dtype is fg.bfloat16
    assert fg.result_type(fg.float16, fg.bfloat16, 1.0) is fg.float32
    assert fg.result_type("float16", 1.0) is fg.half is fg.float16
    assert not fg.can_cast("float16", "bfloat16")
    assert fg.can_cast("bfloat16", "float32")
    assert fg.isdtype(fg.bfloat16, "real floating")


def test_limits() -> None:
    for dtype in HALVES:
        info, expected = fg.finfo(dtype), ml_dtypes.finfo(dtype)
        assert info.bits == 16
        for name in ("eps", "max", "min", "smallest_normal"):
            assert getattr(info, name) == float(getattr(expected, name)), name
        top = fg.asarray([info.max, np.inf], dtype=dtype)
        assert wide(fg.nan_to_num(top))[1] == info.max


@pytest.mark.parametrize("dtype", HALVES)
def test_values_come_in_and_go_out(dtype: str, tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(3, 5)).astype(getattr(fg, dtype).numpy)
    x = fg.asarray(array)
    assert x.dtype.name == dtype
    assert x.numpy().dtype == array.dtype
    assert not x.numpy().flags.writeable
    np.testing.assert_array_equal(x.numpy().astype(np.float32), array.astype(np.float32))
    assert x.tolist() == array.astype(np.float32).tolist()
    assert x[1, 2].item() == float(array[1, 2]) == float(x[1, 2])
    assert fg.compile(lambda a: a + a)(array).dtype.name == dtype
    path = tmp_path / "halves.safetensors"
    fg.save({"x": x}, path)
    assert {"float16": b'"F16"', "bfloat16": b'"BF16"'}[dtype] in path.read_bytes()
    loaded = fg.load(path)["x"]
    assert loaded.dtype.name == dtype
    assert loaded.tolist() == x.tolist()
    for made in (x.half(), x.bfloat16(), x.float(), x.double()):
        assert wide(made).shape == (3, 5)
    for maker in (fg.zeros, fg.ones, fg.empty):
        assert maker(3, dtype=dtype).dtype.name == dtype
    assert fg.arange(5, dtype=dtype).tolist() == [0, 1, 2, 3, 4]
    assert fg.linspace(0, 1, 3, dtype=dtype).tolist() == [0, 0.5, 1]
    assert fg.eye(2, dtype=dtype).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("dtype", HALVES)
def test_pickles_and_sets(dtype: str) -> None:
    x = fg.asarray([2.0, -1.5, 2.0, 0.0], dtype=dtype)
    again = pickle.loads(pickle.dumps(x))
    assert again.dtype is x.dtype
    assert again.tolist() == x.tolist()
    assert copy.deepcopy(x).tolist() == x.tolist()
    unique = fg.unique_values(x)
    assert unique.dtype is x.dtype
    assert sorted(unique.tolist()) == [-1.5, 0, 2]
    assert x[x > 0].tolist() == [2, 2]


class Foreign:
    """An array of another library, known by the protocol alone."""

    def __init__(self, tensor: fg.Tensor) -> None:
        self.tensor = tensor

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, **params: Any) -> Any:
        return self.tensor.__dlpack__(**params)


class Older(Foreign):
    """The same before the protocol had parameters."""

    def __dlpack__(self) -> Any:  # type: ignore[override]
        return self.tensor.__dlpack__()


class Wrong(Foreign):
    """An array whose capsule is none."""

    def __dlpack__(self, **params: Any) -> Any:
        return object()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("library", [Foreign, Older])
def test_memory_is_shared_through_dlpack(dtype: str, library: type[Foreign]) -> None:
    x = draw(3, 5, dtype=dtype)
    shared = fg.from_dlpack(library(x))
    assert shared.dtype is x.dtype
    assert shared.tolist() == x.tolist()
    assert shared.numpy().ctypes.data == x.numpy().ctypes.data
    copied = fg.asarray(library(x))
    assert copied.dtype is x.dtype
    assert copied.tolist() == x.tolist()
    with pytest.raises(DTypeError, match="cannot be read"):
        fg.from_dlpack(Wrong(x))


def test_text() -> None:
    assert repr(fg.asarray([1, 0.1], dtype="float16")) == "Tensor([1. , 0.1], dtype=float16)"
    shown = repr(fg.asarray([1, 0.1], dtype="bfloat16"))
    assert shown == "Tensor([1.    , 0.1001], dtype=bfloat16)"


@pytest.mark.parametrize("dtype", HALVES)
def test_random_numbers(dtype: str) -> None:
    fg.random.seed(0)
    uniform, normal = fg.random.uniform(5000, dtype=dtype), fg.random.normal(5000, dtype=dtype)
    assert uniform.dtype.name == normal.dtype.name == dtype
    values = wide(uniform)
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.02
    assert abs(wide(normal).std() - 1) < 0.05


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_are_those_of_float32_rounded(dtype: str) -> None:
    x, w = draw(8, 5, dtype=dtype), draw(5, 3, dtype=dtype, seed=1)

    def loss(x: fg.Tensor, w: fg.Tensor) -> fg.Tensor:
        return F.cross_entropy(fg.tanh(x @ w), fg.asarray([0, 1, 2, 0, 1, 2, 0, 1]))

    expected = fg.grad(loss, argnums=(0, 1))(x.float(), w.float())
    for found in (fg.grad(loss, (0, 1))(x, w), fg.compile(fg.grad(loss, (0, 1)))(x, w)):
        for g, e in zip(found, expected, strict=True):
            assert g.dtype.name == dtype
            np.testing.assert_allclose(wide(g), wide(e), 0, 4 * EPSILON[dtype])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_training(dtype: str, kind: str) -> None:
    fg.random.seed(3)
    model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 1))
    model.to(dtype)
    assert {p.dtype.name for p in model.parameters()} == {dtype}
    make = {
        "sgd": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
        "adam": lambda p: optim.Adam(p, lr=0.02),
        "adamw": lambda p: optim.AdamW(p, lr=0.02, amsgrad=True),
    }[kind]
    optimizer = make(model.parameters())
    for kept in optimizer.state.values():
        assert {t.dtype.name for t in kept.values()} == {"float32"}
    x = draw(64, 6, dtype=dtype)
    y = (x * x).sum(axis=1, keepdims=True)

    @fg.compile
    def step(x: fg.Tensor, y: fg.Tensor) -> fg.Tensor:
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    first = float(step(x, y))
    for _ in range(60):
        last = float(step(x, y))
    assert last < 0.35 * first
    assert {p.dtype.name for p in model.parameters()} == {dtype}


def test_modules_convert() -> None:
    model = nn.Linear(3, 2)
    assert model.half().weight.dtype is fg.float16
    assert model.bfloat16().weight.dtype is fg.bfloat16
    assert model.float().weight.dtype is fg.float32
    assert model.double().weight.dtype is fg.float64


def test_without_ml_dtypes() -> None:
    """Everything but NumPy arrays of bfloat16."""
    program = """
import pickle, sys
sys.modules["ml_dtypes"] = None
import fusegrad as fg
from fusegrad.errors import DTypeError
x = fg.asarray([[1.0, 2.5], [0.1, -3.0]], dtype="bfloat16")
f = lambda x: (fg.exp(x @ x.T) + x.sum()).mean(axis=0)
print(repr(x), f(x).tolist(), fg.compile(f)(x).tolist(), x[0, 1].item())
print(sorted(fg.unique_values(x).tolist()), pickle.loads(pickle.dumps(x)).tolist())
print(fg.grad(lambda x: (x * x).sum())(x), (fg.flip(x) + 1.5).T.half().numpy().tolist())
try:
    x.numpy()
except DTypeError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "[[ 1.    ,  2.5   ],\n        [ 0.1001, -3.    ]], dtype=bfloat16)" in done.stdout
    recorded, compiled = re.findall(r"\[[\d.]+, [\d.]+\]", done.stdout)[:2]
    assert recorded == compiled
    assert "[[-1.5, 4.0], [1.6015625, 2.5]]" in done.stdout
    assert "[-3.0, 0.10009765625, 1.0, 2.5] [[1.0, 2.5], [0.10009765625, -3.0]]" in done.stdout
    assert "numpy(): NumPy has no bfloat16 of its own [FG102]" in done.stdout


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fg.zeros(3, dtype="complex64"), "the dtype complex64 is complex"),
        (lambda: fg.ones(2).astype(complex), "the dtype complex is complex"),
        (lambda: fg.asarray(np.ones(2, np.complex64)), "the ndarray is complex"),
        (lambda: fg.asarray([1j, 2]), "the list is complex"),
        (lambda: fg.ones(2) * 1j, "the number 1j is complex"),
        (lambda: 1j - fg.ones(2), r"the number \(?-?0?\+?1j\)? is complex"),
        (lambda: fg.ones(2) + np.complex128(2j), "complex"),
        (lambda: fg.add(fg.ones(2), 1j), "complex"),
        (lambda: fg.full(2, 1j), "complex"),
    ],
)
def test_complex_is_one_clear_error(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DTypeError, match=message) as caught:
        make()
    assert "there are no complex dtypes" in str(caught.value)
    assert "compute with the real and the imaginary part as two arrays" in str(caught.value)


def test_real_numbers_answer_complex_questions() -> None:
    x = fg.asarray([1.5, -2.0])
    assert fg.real(x).tolist() == fg.conj(x).tolist() == x.tolist()
    assert fg.imag(x).tolist() == [0, 0]
    assert fg.isrealobj(x)
    assert not fg.iscomplexobj(x)
    assert fg.iscomplexobj(1j)
