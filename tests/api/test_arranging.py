"""Movement, joining, picking and padding: against NumPy, compiled, differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fusegrad as fg
from fusegrad.testing import check_grads

Array = npt.NDArray[Any]
RNG = np.random.default_rng(11)
V = RNG.normal(size=5)
M = RNG.normal(size=(3, 4))
S = RNG.normal(size=(3, 3))
C = RNG.normal(size=(2, 3, 4))
D = RNG.normal(size=(2, 1, 3, 1, 2))
ONE = RNG.normal(size=())
NONE = np.zeros((0, 3))
ODD = np.arange(24, dtype=np.float64).reshape(4, 6)[::2, ::-2]

PADDED = ((M, ((2, 9), (0, 1))), (V, 3), (V[:1], 2), (C, ((0, 1), (7, 0), (2, 2))))

# name, arguments, keywords: the same in NumPy
SAME: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("diagonal", (M,), {}),
    ("diagonal", (M, 1), {}),
    ("diagonal", (M, -2), {}),
    ("diagonal", (M, 9), {}),
    ("diagonal", (C, -1, 0, 2), {}),
    ("diagonal", (C,), {"axis1": -1, "axis2": 0}),
    ("diagonal", (NONE,), {}),
    ("diagonal", (ODD,), {}),
    ("diag", (V,), {}),
    ("diag", (V, 2), {}),
    ("diag", (V, -1), {}),
    ("diag", (M, 1), {}),
    ("diagflat", (M, -1), {}),
    ("trace", (M,), {}),
    ("trace", (C, 1, 1, 2), {}),
    ("trace", (np.eye(3, dtype=np.int32),), {}),
    ("rot90", (M,), {}),
    ("rot90", (M, 2), {}),
    ("rot90", (C, -1, (0, 2)), {}),
    ("rot90", (M, 4), {}),
    ("fliplr", (M,), {}),
    ("flipud", (C,), {}),
    ("ravel", (C,), {}),
    ("ravel", (ONE,), {}),
    ("transpose", (C,), {}),
    ("transpose", (C, (1, 2, 0)), {}),
    ("moveaxis", (D, (0, -1), (-1, 0)), {}),
    ("moveaxis", (C, [0, 1], [1, 2]), {}),
    ("rollaxis", (D, 3, 1), {}),
    ("rollaxis", (D, 0, 5), {}),
    ("rollaxis", (D, -1), {}),
    ("expand_dims", (M, (0, -1)), {}),
    ("squeeze", (D,), {}),
    ("squeeze", (D, (1, 3)), {}),
    ("atleast_1d", (ONE,), {}),
    ("atleast_2d", (V,), {}),
    ("atleast_3d", (V,), {}),
    ("atleast_3d", (M,), {}),
    ("atleast_3d", (ONE,), {}),
    ("roll", (M, 5), {}),
    ("roll", (C, (1, -2), (0, 2)), {}),
    ("roll", (C, (1, -2), 2), {}),
    ("roll", (C, 1, (0, 2)), {}),
    ("roll", (NONE, 2, 0), {}),
    ("repeat", (M, 2), {}),
    ("repeat", (M, 3, 1), {}),
    ("repeat", (M, [0, 2, 1], 0), {}),
    ("repeat", (M, [2], -1), {}),
    ("tile", (M, 2), {}),
    ("tile", (V, (2, 1, 3)), {}),
    ("resize", (M, (5, 4)), {}),
    ("resize", (M, 5), {}),
    ("append", (M, V), {}),
    ("append", (M, S[:, :1]), {"axis": 1}),
    ("delete", (M, 1, 0), {}),
    ("delete", (M, [0, -1], 1), {}),
    ("delete", (M, slice(None, None, 2)), {}),
    ("delete", (V, [True, False, False, True, False]), {}),
    ("insert", (V, 2, 7.0), {}),
    ("insert", (M, [1, 3], [[1.0], [2.0], [3.0]], 1), {}),
    ("insert", (M, 1, [1.0, 2.0, 3.0], 1), {}),
    ("insert", (M, -1, 5.0, 0), {}),
    ("insert", (V, [2, 2, 0], [1.0, 2.0, 3.0]), {}),
    ("insert", (V, slice(0, 3), 0.0), {}),
    ("take", (M, [[0, 2], [1, -1]]), {}),
    ("take", (M, [0, -4, 1], 1), {}),
    ("take", (M, [9, -9, 5, 1], 1), {"mode": "clip"}),
    ("take", (M, [9, -9, 5, 1], 1), {"mode": "wrap"}),
    ("take_along_axis", (M, np.array([[0], [-1], [2]]), 1), {}),
    ("take_along_axis", (M, np.array([0, 5, 11]), None), {}),
    ("array_split", (V, 3), {}),
    ("array_split", (C, 4, 1), {}),
    ("array_split", (V, [1, 3, 9]), {}),
    ("split", (M, 2, 1), {}),
    ("hsplit", (M, 2), {}),
    ("hsplit", (V, [2]), {}),
    ("vsplit", (M, 3), {}),
    ("dsplit", (C, 2), {}),
    ("tri", (3, 4, 1), {"dtype": np.float32}),
    ("tril_indices", (3, 1, 4), {}),
    ("triu_indices", (3, -1), {}),
    ("diag_indices", (3, 3), {}),
    ("vander", (V, 3), {}),
    ("vander", (V,), {"increasing": True}),
    ("ix_", ([0, 2], [True, False, True]), {}),
    ("unravel_index", ([5, 11, 0], (3, 4)), {}),
    ("unravel_index", (7, (2, 2, 2)), {}),
    ("ravel_multi_index", (([0, 2], [1, 3]), (3, 4)), {}),
    ("ravel_multi_index", (([0, 5], [-1, 3]), (3, 4)), {"mode": "clip"}),
    ("ravel_multi_index", (([0, 5], [-1, 3]), (3, 4)), {"mode": "wrap"}),
    ("select", ([M > 1, M > 0], [M, M * 2], -1.0), {}),
    ("choose", ([0, 2, 1, 0], [M[0], M[1], M[2]]), {}),
    ("choose", (np.array([[0], [5]]), M), {"mode": "clip"}),
    ("compress", ([True, False, True], M, 0), {}),
    ("extract", (M > 0, M), {}),
    ("pad", (M, 2), {}),
    ("pad", (M, ((1, 2), (0, 3))), {"constant_values": ((1, 2), (3, 4))}),
    ("pad", (V, (2, 1)), {"constant_values": (5, -1)}),
    *[
        ("pad", (array, width), {"mode": mode})
        for mode in ("edge", "reflect", "symmetric", "wrap", "linear_ramp", "maximum", "mean")
        for array, width in (
            (M, ((2, 9), (0, 1))),
            (V, 3),
            (V[:1], 2),
            (C, ((0, 1), (7, 0), (2, 2))),
        )
    ],
    ("pad", (M, 2), {"mode": "reflect", "reflect_type": "odd"}),
    ("pad", (V, (7, 3)), {"mode": "symmetric", "reflect_type": "odd"}),
    ("pad", (M, 2), {"mode": "minimum", "stat_length": ((2, 1), (3, 3))}),
    ("pad", (M, 2), {"mode": "linear_ramp", "end_values": (3, -4)}),
    ("pad", (np.arange(6).reshape(2, 3), 2), {"mode": "mean"}),
    ("pad", (M, ((2, 9), (0, 1))), {"mode": "median"}),
    ("pad", (np.arange(8).reshape(2, 4), 2), {"mode": "median", "stat_length": 2}),
    ("tril", (M, -1), {}),
    ("triu", (M, 1), {}),
    ("pad", (np.arange(6).reshape(2, 3), 2), {"mode": "linear_ramp", "end_values": 9}),
]
JOINS: list[tuple[str, Any, dict[str, Any]]] = [
    ("hstack", [V, V], {}),
    ("hstack", [M, S], {}),
    ("hstack", [ONE, V], {}),
    ("vstack", [V, V], {}),
    ("vstack", [M, M[:1]], {}),
    ("dstack", [V, V], {}),
    ("dstack", [M, M], {}),
    ("dstack", [C, C], {}),
    ("column_stack", [V, V], {}),
    ("column_stack", [V[:3], M], {}),
    ("concatenate", [M, S], {"axis": 1}),
    ("concatenate", [M, V], {"axis": None}),
    ("stack", [V, V], {"axis": -1}),
    ("block", [[S, M], [M[:1], S[:1]]], {}),
    ("block", [V, V], {}),
]


def identity(case: tuple[str, Any, dict[str, Any]]) -> str:
    shapes = [np.shape(a) if isinstance(a, np.ndarray) else a for a in case[1]]
    return f"{case[0]}-{shapes}-{case[2]}".replace(" ", "")[:60]


def compare(actual: Any, expected: Any) -> None:
    if isinstance(expected, (tuple, list)):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            compare(one, other)
        return
    assert isinstance(actual, fg.Tensor)
    assert actual.shape == expected.shape
    assert actual.dtype.numpy == expected.dtype
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-13, atol=1e-13)


def of_array(name: str, rest: tuple[Any, ...], params: dict[str, Any]) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        result = getattr(fg, name)(x, *rest, **params)
        return (
            fg.concat([part.reshape(-1) for part in result]) if isinstance(result, list) else result
        )

    return function


@pytest.mark.parametrize("case", SAME, ids=identity)
def test_is_numpys(case: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    name, args, params = case
    compare(getattr(fg, name)(*args, **params), getattr(np, name)(*args, **params))


@pytest.mark.parametrize("case", SAME[::2], ids=identity)
def test_compiled_and_differentiated(case: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    name, (first, *rest), params = case
    if not isinstance(first, np.ndarray) or first.dtype != np.float64 or not first.size:
        return
    function = of_array(name, tuple(rest), params)
    compare(fg.compile(function)(first), function(first).numpy())
    check_grads(function, (fg.asarray(first),), order=1)


@pytest.mark.parametrize("case", JOINS, ids=identity)
def test_joins_are_numpys(case: tuple[str, Any, dict[str, Any]]) -> None:
    name, arrays, params = case
    compare(getattr(fg, name)(arrays, **params), getattr(np, name)(arrays, **params))
    if name != "block":
        function = fg.compile(lambda xs: getattr(fg, name)(xs, **params))
        compare(function(arrays), getattr(np, name)(arrays, **params))


# --- what NumPy does not have, or does otherwise --------------------------------------------------


def test_diagonals() -> None:
    assert fg.diag_embed(fg.asarray(M), 1).shape == (3, 5, 5)
    np.testing.assert_array_equal(fg.diag_embed(fg.asarray(M), -1)[1].numpy(), np.diag(M[1], -1))
    moved = fg.diag_embed(fg.asarray(M), 0, 0, 2)
    np.testing.assert_array_equal(moved[:, 1].numpy(), np.diag(M[1]))
    x = np.array(M)
    np.fill_diagonal(x, 7)
    np.testing.assert_array_equal(fg.fill_diagonal(M, 7).numpy(), x)
    cube = np.zeros((3, 3, 3))
    np.fill_diagonal(cube, 2)
    np.testing.assert_array_equal(fg.fill_diagonal(np.zeros((3, 3, 3)), 2).numpy(), cube)
    check_grads(lambda x, d: fg.diagonal_scatter(x, d, 1), (M, V[:3]))
    check_grads(fg.diag_embed, (M,))


def test_strides() -> None:
    x = fg.asarray(M)
    view = np.lib.stride_tricks.as_strided(M, (2, 3, 2), (32, 8, 16))
    np.testing.assert_array_equal(fg.as_strided(x, (2, 3, 2), (4, 1, 2)).numpy(), view)
    assert fg.as_strided(fg.arange(5), (5,), (-1,), 4).tolist() == [4, 3, 2, 1, 0]
    assert fg.as_strided(fg.arange(5), (2, 2), (0, 0), 3).tolist() == [[3, 3], [3, 3]]
    assert fg.as_strided(fg.arange(5), (), ()).tolist() == 0
    check_grads(lambda x: fg.as_strided(x, (3, 3), (1, 2)) ** 2, (x,))
    with pytest.raises(IndexError, match="reaches from element 0 to 12 of 12"):
        fg.as_strided(x, (4,), (4,))


def test_gather_and_scatter() -> None:
    x, index = fg.asarray(M), np.array([[0, 3, 3], [2, -4, 1]])
    np.testing.assert_array_equal(
        fg.gather(x, 1, index).numpy(), np.take_along_axis(M[:2], index, 1)
    )
    assert fg.gather(x, 0, np.array([[2]])).shape == (1, 1)
    src = fg.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    zeros = fg.zeros((2, 4))
    rows = np.array([[0, 1, 1], [3, 3, 0]])
    assert fg.scatter(zeros, 1, rows, src).tolist() == [[1, 3, 0, 0], [6, 0, 0, 5]]
    assert fg.scatter(zeros, 1, rows[:, :1], 9).tolist() == [[9, 0, 0, 0], [0, 0, 0, 9]]
    assert fg.scatter_add(zeros, 1, rows, src).tolist() == [[1, 5, 0, 0], [6, 0, 0, 9]]
    assert fg.scatter(zeros + 1, 1, rows, src, reduce="multiply")[0].tolist() == [1, 6, 1, 1]
    reduced = fg.scatter_reduce(zeros + 7, 1, rows, src, "mean", include_self=False)
    assert reduced.tolist() == [[1, 2.5, 7, 7], [6, 7, 7, 4.5]]
    reduced = fg.scatter_reduce(zeros + 7, 1, rows, src, "amin", include_self=False)
    assert reduced.tolist() == [[1, 2, 7, 7], [6, 7, 7, 4]]
    whole = fg.scatter_reduce(fg.asarray([5, 5]), 0, [0, 0], [1, 3], "mean")
    assert whole.tolist() == [3, 5]
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for own in (True, False):
            check_grads(
                lambda x, s, reduce=reduce, own=own: fg.scatter_reduce(
                    x, 1, rows, s, reduce, include_self=own
                ),
                (RNG.normal(size=(2, 4)), RNG.normal(size=(2, 3))),
            )
    with pytest.raises(ValueError, match="an index of shape"):
        fg.scatter(zeros, 1, np.zeros((3, 2), int), 1)
    with pytest.raises(ValueError, match="at least one value for each index"):
        fg.scatter(zeros, 1, rows, src[:, :2])
    with pytest.raises(IndexError):
        fg.gather(x, 1, [[4]])


def test_writing_slices() -> None:
    x = fg.zeros((3, 2))
    assert fg.index_add(x, 0, [1, 1], fg.ones((2, 2)), alpha=2).tolist() == [[0, 0], [4, 4], [0, 0]]
    assert fg.index_copy(x, 1, [1], fg.ones((3, 1)))[0].tolist() == [0, 1]
    assert fg.index_fill(x, 0, [0, 2], 3)[:, 0].tolist() == [3, 0, 3]
    assert fg.index_put(x, ([0, 0], None), 1, accumulate=True)[0].tolist() == [2, 2]
    assert fg.select_scatter(x, [1, 2], 0, -1)[2].tolist() == [1, 2]
    assert fg.slice_scatter(x, fg.ones((2, 2)), 0, 0, None, 2)[:, 0].tolist() == [1, 0, 1]
    assert fg.narrow(x, 0, -2, 1).shape == (1, 2)
    np.testing.assert_array_equal(fg.index_select(M, -1, [0, 0]).numpy(), M[:, [0, 0]])
    y, index = np.array(M), np.array([[0, 2], [3, -1], [1, 1]])
    np.put_along_axis(y, index, -5.0, 1)
    np.testing.assert_array_equal(fg.put_along_axis(M, index, -5.0, 1).numpy(), y)
    assert fg.put_along_axis(fg.zeros((2, 2)), [3], 1.0, None).tolist() == [[0, 0], [0, 1]]
    with pytest.raises(IndexError, match="narrow"):
        fg.narrow(x, 0, 2, 2)


def test_masks_and_choices() -> None:
    assert fg.masked_fill(M, M > 0, 0.0).numpy().max() == 0
    np.testing.assert_array_equal(fg.masked_select(M, M > 0).numpy(), M[M > 0])
    np.testing.assert_array_equal(fg.masked_select(V, np.array([[True], [False]])).numpy(), V)
    filled = fg.compile(fg.masked_scatter)(M, M > 0, np.arange(12.0))
    wanted = np.array(M)
    wanted[M > 0] = np.arange((M > 0).sum())
    np.testing.assert_array_equal(filled.numpy(), wanted)
    x = fg.asarray(M)
    pieces = fg.piecewise(x, [x < -0.5, x > 0.5], [lambda v: -v, 7.0, lambda v: v * 0])
    wanted = np.piecewise(M, [M < -0.5, M > 0.5], [lambda v: -v, 7.0, 0])
    np.testing.assert_array_equal(pieces.numpy(), wanted)
    with pytest.raises(TypeError, match="not bool"):
        fg.masked_select(M, [1, 0, 1, 0])


def test_one_hot() -> None:
    x = fg.asarray([[0, 2], [1, 1]])
    assert fg.one_hot(x).tolist() == np.eye(3, dtype=int)[x.numpy()].tolist()
    assert fg.one_hot(x, 4, dtype="float32", axis=0).shape == (4, 2, 2)
    assert fg.one_hot(x, 3).dtype is fg.int64
    assert fg.one_hot(fg.asarray(1, dtype="uint8"), 300).shape == (300,)
    assert fg.compile(lambda x: fg.one_hot(x, 2))(np.array([1, 5])).tolist() == [[0, 1], [0, 0]]
    with pytest.raises(IndexError, match="index 2 is not in 0 to 1"):
        fg.one_hot(x, 2)
    with pytest.raises(fg.errors.TracedValueError, match="num_classes"):
        fg.compile(fg.one_hot)(x)
    with pytest.raises(TypeError, match="one_hot of float32"):
        fg.one_hot(x.float(), 3)


def test_torchs_names() -> None:
    x = fg.asarray(C)
    assert fg.permute(x, (2, 0, 1)).shape == fg.movedim(x, 2, 0).shape == (4, 2, 3)
    assert fg.swapdims(x, 0, -1).shape == (4, 3, 2)
    assert fg.unflatten(x, -1, (2, -1)).shape == (2, 3, 2, 2)
    assert fg.unsqueeze(x, 0).shape == (1, 2, 3, 4)
    assert fg.t(M).shape == (4, 3)
    assert fg.repeat_interleave(M, 2, 0).shape == (6, 4)
    assert fg.take_along_dim(x, fg.asarray([[[1]]]), 2).shape == (2, 3, 1)
    assert [p.shape for p in fg.tensor_split(V, 2)] == [(3,), (2,)]


def test_methods_are_the_functions() -> None:
    x, zeros = fg.asarray(M), fg.zeros((2, 4))
    rows, src = np.array([[0, 1, 1], [3, 3, 0]]), fg.ones((2, 3))
    same: list[tuple[fg.Tensor, fg.Tensor]] = [
        (zeros.scatter(1, rows, src), fg.scatter(zeros, 1, rows, src)),
        (zeros.scatter_add(1, rows, src), fg.scatter_add(zeros, 1, rows, src)),
        (
            zeros.scatter_reduce(1, rows, src, "mean", include_self=False),
            fg.scatter_reduce(zeros, 1, rows, src, "mean", include_self=False),
        ),
        (x.index_add(1, [0, 0], x[:, :2], alpha=2), fg.index_add(x, 1, [0, 0], x[:, :2], alpha=2)),
        (x.index_copy(0, [1], x[:1]), fg.index_copy(x, 0, [1], x[:1])),
        (x.index_fill(0, [1], 5.0), fg.index_fill(x, 0, [1], 5.0)),
        (x.index_put(([0], None), 1.0), fg.index_put(x, ([0], None), 1.0)),
        (x.masked_select(x > 0), fg.masked_select(x, x > 0)),
        (x.masked_scatter(x > 0, x), fg.masked_scatter(x, x > 0, x)),
        (x.moveaxis(0, 1), fg.moveaxis(x, 0, 1)),
        (x.swapdims(0, 1), x.t()),
        (x.as_strided((2, 2), (1, 2), 1), fg.as_strided(x, (2, 2), (1, 2), 1)),
        (x.diag(1), fg.diag(x, 1)),
        (x.diag_embed(), fg.diag_embed(x)),
        (x.matmul(M.T), x @ x.T),
        (x.dot(M.T), fg.dot(x, x.T)),
        (x.inner(x), fg.inner(x, x)),
        (x.kron(x), fg.kron(x, x)),
    ]
    for number, (one, other) in enumerate(same):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), str(number), strict=True)
    assert [part.shape for part in x.split(3, 1)] == [(3, 3), (3, 1)]
    assert [part.shape for part in x.split([1, 2])] == [(1, 4), (2, 4)]
    assert [part.shape for part in x.chunk(2)] == [(2, 4), (1, 4)]
    np.testing.assert_array_equal(x.flip(0, 1).numpy(), M[::-1, ::-1])
    np.testing.assert_array_equal(fg.flip(x, dims=(1,)).numpy(), M[:, ::-1])
    np.testing.assert_array_equal(x.roll(1, dims=0).numpy(), np.roll(M, 1, 0))
    with pytest.raises(ValueError, match="add up"):
        x.split([1, 1])


def test_methods_in_place() -> None:
    x = fg.zeros((2, 2))
    x.scatter_(0, [[1, 0]], 3.0).scatter_add_(1, [[0], [0]], fg.ones((2, 1)))
    assert x.tolist() == [[1, 3], [4, 0]]
    x.index_add_(0, [0], fg.ones((1, 2))).index_copy_(1, [1], fg.zeros((2, 1)))
    assert x.tolist() == [[2, 0], [4, 0]]
    x.index_fill_(0, [1], 7).index_put_(([0], [1]), 9.0).masked_fill_(x == 7, -1)
    assert x.tolist() == [[2, 9], [-1, -1]]
    x.fill_diagonal_(0).masked_scatter_(x < 0, [5.0]).scatter_reduce_(0, [[0, 0]], 8.0, "amin")
    assert x.tolist() == [[0, 8], [5, 0]]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_grids(indexing: Any, sparse: bool) -> None:
    vectors = ([1.0, 2.0], [3.0, 4.0, 5.0], [6.0])
    given = [np.array(vector) for vector in vectors]
    found = fg.meshgrid(*given, indexing=indexing, sparse=sparse)
    compare(found, list(np.meshgrid(*given, indexing=indexing, sparse=sparse)))


def test_errors() -> None:
    with pytest.raises(ValueError, match="moveaxis: an axis is named twice"):
        fg.moveaxis(M, (0, 0), (0, 1))
    with pytest.raises(ValueError, match="repeat: -1 is no number of repetitions"):
        fg.repeat(V, -1)
    with pytest.raises(ValueError, match="repeat: 2 numbers for an axis of extent 5"):
        fg.repeat(V, [1, 2])
    with pytest.raises(fg.errors.TracedValueError):
        fg.compile(fg.repeat)(V, np.array([1, 2, 3, 4, 5]))
    with pytest.raises(ValueError, match="there is no mode 'mirror'"):
        fg.pad(V, 1, "mirror")
    with pytest.raises(ValueError, match="copies elements"):
        fg.pad(NONE, 1, "edge")
    with pytest.raises(IndexError):
        fg.delete(V, 7)
    with pytest.raises(IndexError):
        fg.insert(V, 9, 0)
    with pytest.raises(ValueError, match="at least two axes"):
        fg.diagonal(V)
    with pytest.raises(ValueError, match="name two axes"):
        fg.rot90(M, axes=(1, -1))
    with pytest.raises(IndexError, match="index 12 is not in 0 to 11"):
        fg.unravel_index(12, (3, 4))
    with pytest.raises(ValueError, match="unflatten"):
        fg.unflatten(M, 1, (3, 2))


def test_triangles_under_torchs_name() -> None:
    compare(fg.tril(M, diagonal=1), np.tril(M, 1))
    compare(fg.asarray(M).triu(diagonal=-1), np.triu(M, -1))
