"""Functions that are methods of a Tensor too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.errors import GradientError, ShapeError
from fusegrad.function_methods import METHODS

X = np.array([[1.0, -2.0, 3.5], [4.0, np.nan, -6.0]])
Y = np.array([[0.5, 2.0, 3.5], [4.0, 5.0, 1.0]])
INDEX = np.array([1, 0])

CALLS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "allclose": (lambda x: x.allclose(x), False),
    "isclose": (lambda x: x.isclose(x, equal_nan=True), np.isclose(X, X, equal_nan=True)),
    "bmm": (lambda x: x[None].bmm(x.T[None]), (X @ X.T)[None]),
    "chunk": (lambda x: x.chunk(2, dim=1)[1], X[:, 2:]),
    "compress": (lambda x: x.compress([False, True], axis=0), X[1:]),
    "count_nonzero": (lambda x: x.count_nonzero(dim=0), np.count_nonzero(X, axis=0)),
    "diag": (lambda x: x[0].diag(), np.diag(X[0])),
    "diff": (lambda x: x.diff(dim=0), np.diff(X, axis=0)),
    "dot": (lambda x: x[0].dot(x[0]), X[0] @ X[0]),
    "index_add": (lambda x: x.index_add(0, INDEX, Y), X + Y[::-1]),
    "index_fill": (lambda x: x.index_fill(1, INDEX, 7.0), [[7, 7, 3.5], [7, 7, -6]]),
    "masked_select": (lambda x: x.masked_select(x > 0), X[X > 0]),
    "matmul": (lambda x: x.matmul(x.T), X @ X.T),
    "movedim": (lambda x: x.movedim(0, 1), X.T),
    "nan_to_num": (lambda x: x.nan_to_num(nan=9.0), np.nan_to_num(X, nan=9.0)),
    "nanmean": (lambda x: x.nanmean(dim=1), np.nanmean(X, axis=1)),
    "nansum": (lambda x: x.nansum(), np.nansum(X)),
    "nonzero": (lambda x: x.nonzero()[1], np.nonzero(X)[1]),
    "outer": (lambda x: x[0].outer(x[0]), np.outer(X[0], X[0])),
    "quantile": (lambda x: x[0].quantile(0.5), 1.0),
    "repeat_interleave": (lambda x: x.repeat_interleave(2, dim=0), np.repeat(X, 2, axis=0)),
    "rot90": (lambda x: x.rot90(), np.rot90(X)),
    "scatter": (lambda x: x.scatter(0, INDEX[None], Y[:1, :2]), [[1, 2, 3.5], [0.5, np.nan, -6]]),
    "searchsorted": (lambda x: x[0, ::2].searchsorted(2.0), 1),
    "softmax": (lambda x: x.softmax(dim=0), F.softmax(X, 0).numpy()),
    "split": (lambda x: x.split(2, dim=1)[1], X[:, 2:]),
    "split by sizes": (lambda x: x.split([0, 1, 2], dim=-1)[2], X[:, 1:]),
    "swapdims": (lambda x: x.swapdims(0, 1), X.T),
    "t": (lambda x: x.t(), X.T),
    "take_along_dim": (lambda x: x.take_along_dim(INDEX[:1, None], 0), X[1:]),
    "tensor_split": (lambda x: x.tensor_split(2, dim=1)[0], X[:, :2]),
    "tile": (lambda x: x.tile(2, 1), np.tile(X, (2, 1))),
    "tile by a tuple": (lambda x: x.tile((1, 2)), np.tile(X, (1, 2))),
    "unflatten": (lambda x: x.unflatten(1, (3, 1)), X[..., None]),
    "unique": (lambda x: x[0].unique(), np.unique(X[0])),
    "where": (lambda x: x.where(x > 0, 0.0), np.where(X > 0, X, 0)),
    "new_tensor": (lambda x: x.new_tensor([1, 2]), [1.0, 2.0]),
    "fmod": (lambda x: x.fmod(1.5), np.fmod(X, 1.5)),
    "lerp": (lambda x: x.lerp(fg.asarray(Y), 0.25), X + 0.25 * (Y - X)),
    "fmax": (lambda x: x.fmax(Y), np.fmax(X, Y)),
    "nextafter": (lambda x: x.nextafter(9.0), np.nextafter(X, 9.0)),
    "fliplr": (lambda x: x.fliplr(), np.fliplr(X)),
    "addmm": (lambda x: x[:, :2].addmm(x, x.T), X[:, :2] + X @ X.T),
    "cov": (lambda x: x[:1].cov(), np.cov(X[:1])),
    "abs_": (lambda x: x.abs_(), np.abs(X)),
    "pow_": (lambda x: x.pow_(2), X**2),
    "relu_": (lambda x: x.relu_(), [[1, 0, 3.5], [4, np.nan, 0]]),
    "masked_fill_": (lambda x: x.masked_fill_(x < 0, 0.0), np.where(X < 0, 0, X)),
    "index_add_": (lambda x: x.index_add_(0, INDEX, Y), X + Y[::-1]),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    call, expected = CALLS[name]
    x = fg.asarray(X)
    result = call(x)
    np.testing.assert_allclose(result.numpy(), expected)
    assert not name.endswith("_") or result is x


def test_they_have_names_of_their_own() -> None:
    inherited = {name for base in fg.Tensor.__mro__[1:] for name in vars(base)}
    assert not inherited & set(METHODS)
    for name, method in METHODS.items():
        assert getattr(fg.Tensor, name) is method
        assert method.__doc__


def test_equal_is_one_answer() -> None:
    x = fg.asarray([1, 2])
    assert x.equal(fg.asarray([1, 2])) is True
    assert x.equal(fg.asarray([1, 3])) is False
    assert x.equal(fg.asarray([[1, 2]])) is False


def test_memory() -> None:
    x = fg.asarray(np.arange(6.0).reshape(1, 2, 3))
    assert x.stride() == (6, 3, 1)
    assert x.stride(-1) == 1
    assert x.data_ptr() == x.numpy().ctypes.data
    assert x.tobytes() == x.numpy().tobytes()


def test_draws_in_place() -> None:
    fg.random.seed(0)
    x = fg.zeros(1000)
    assert x.uniform_(2, 3) is x
    assert 2 <= float(x.min()) < float(x.max()) < 3
    assert abs(float(x.normal_(5, 0.1).mean()) - 5) < 0.05


def test_compiled_and_differentiated() -> None:
    def f(x: Any) -> Any:
        return (x.tile(2, 1).split(1)[3].outer(x[0]).softmax(dim=0).t() * x.diff().sum()).sum()

    x = fg.asarray(Y)
    np.testing.assert_allclose(fg.compile(fg.grad(f))(x).numpy(), fg.grad(f)(x).numpy())


def test_errors() -> None:
    x = fg.ones((2, 3))
    with pytest.raises(ShapeError, match=r"split: parts of \[1, 1\] of an axis of extent 3"):
        x.split([1, 1], dim=1)
    with pytest.raises(ShapeError, match="split into parts of 0"):
        x.split(0)
    with pytest.raises(GradientError, match="changed in place"):
        fg.ones(2, requires_grad=True).relu_()
