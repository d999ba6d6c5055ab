"""The functions of fg against NumPy: values, shapes, dtypes, promotion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import Tensor
from fusegrad.ops.elementwise import FUNCTIONS, Function

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 4)).astype(np.float32)
B = RNG.standard_normal((4,)).astype(np.float32)
WHOLE = RNG.integers(-5, 6, (3, 4))


def operands(row: Function) -> list[np.ndarray[Any, Any]]:
    """Floats where the function takes them, from where it is defined; the second one broadcasts."""
    shapes = [(3, 4), (4,)][: len(row.ranges)]
    drawn = [RNG.uniform(low, high, s) for (low, high), s in zip(row.ranges, shapes, strict=True)]
    try:
        row.operand_dtype(fg.float32)
    except fg.errors.DTypeError:
        return [x.astype(np.int64) for x in drawn]
    return [x.astype(np.float32) for x in drawn]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_elementwise_is_numpys(name: str) -> None:
    row = FUNCTIONS[name]
    values = operands(row)
    expected = np.asarray(row.reference(*values))
    for alias in row.names:
        actual = getattr(fg, alias)(*values)
        assert isinstance(actual, Tensor)
        assert actual.shape == expected.shape
        if not row.public.reference:
            assert actual.dtype.numpy == expected.dtype
        np.testing.assert_allclose(actual.numpy(), expected, rtol=2e-6, atol=1e-6)
    for method in row.methods:
        actual = getattr(fg.asarray(values[0]), method)(*values[1:])
        np.testing.assert_allclose(actual.numpy(), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "any", "all", "std", "var"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), [0, 1], ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name: str, axis: Any, keepdims: bool) -> None:
    as_numpy = tuple(axis) if isinstance(axis, list) else axis
    expected = getattr(np, name)(A, axis=as_numpy, keepdims=keepdims)
    for actual in (
        getattr(fg, name)(A, axis=axis, keepdims=keepdims),
        getattr(fg.asarray(A), name)(dim=axis, keepdim=keepdims),
    ):
        assert actual.shape == expected.shape
        assert actual.dtype.numpy == expected.dtype
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("values", [A, WHOLE, WHOLE > 0], ids=["float", "int", "bool"])
def test_arg_reductions(name: str, axis: int | None, values: Any) -> None:
    actual = getattr(fg, name)(values, axis)
    np.testing.assert_array_equal(actual.numpy(), getattr(np, name)(values, axis))
    assert actual.dtype is fg.int64


def test_sums_of_integers_are_wide() -> None:
    assert fg.sum(fg.asarray([True, True])).dtype is fg.int64
    assert fg.sum(fg.asarray([1, 2], dtype="int8")).dtype is fg.int64
    assert fg.sum(fg.asarray([1, 2], dtype="uint8")).dtype is fg.uint64
    assert fg.sum(fg.asarray([1, 2]), dtype=fg.float64).dtype is fg.float64
    assert fg.mean([1, 2]).dtype is fg.float32
    assert fg.max(fg.asarray([True, False])).dtype is fg.bool


def test_reductions_of_nothing_have_their_identity() -> None:
    empty = fg.zeros((0, 3))
    assert fg.sum(empty, axis=0).tolist() == [0, 0, 0]
    assert fg.prod(empty, axis=0).tolist() == [1, 1, 1]
    assert fg.any(empty).item() is False
    assert fg.all(empty).item() is True
    assert fg.sum(fg.zeros((3, 0)), axis=0).shape == (0,)


@pytest.mark.parametrize("name", ["mean", "var", "std"])
def test_means_of_nothing_are_nan(name: str) -> None:
    for run in (getattr(fg, name), fg.compile(getattr(fg, name))):
        assert np.isnan(float(run(fg.zeros((0, 3)))))
    assert np.isnan(getattr(fg, name)(fg.zeros((0, 3)), axis=0).numpy()).all()
    assert getattr(fg, name)(fg.zeros((0, 3)), axis=1).shape == (0,)


def test_variance_of_one_with_correction_is_nan() -> None:
    assert np.isnan(float(fg.var(fg.ones(1), correction=1)))


def test_infinities_divided_and_rounded_down_are_infinite() -> None:
    inf = math.inf
    a = fg.asarray([inf, inf, -inf, -inf, inf, inf, 1.0, -1.0, 7.5, math.nan], dtype=fg.float64)
    b = fg.asarray([2.0, -2.0, 2.0, -2.0, inf, 0.0, -inf, inf, 2.0, 1.0], dtype=fg.float64)
    expected = [inf, -inf, -inf, inf, math.nan, inf, -1.0, -1.0, 3.0, math.nan]
    for run in (fg.floor_divide, fg.compile(fg.floor_divide)):
        np.testing.assert_array_equal(run(a, b).numpy(), expected)


def test_variance_has_a_correction() -> None:
    np.testing.assert_allclose(fg.var(A, axis=0, correction=1), A.var(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(fg.std(A, axis=0, correction=1), A.std(0, ddof=1), rtol=1e-5)


def test_logsumexp_does_not_overflow() -> None:
    x = np.array([[1e5, 1e5], [-np.inf, -np.inf], [np.inf, 0]], np.float32)
    expected = np.logaddexp(x[:, 0], x[:, 1])
    np.testing.assert_allclose(fg.logsumexp(x, axis=1).numpy(), expected)


# --- promotion ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("int32", "int64", "int64"),
        ("uint8", "int8", "int16"),
        ("uint8", "uint16", "uint16"),
        ("bool", "int32", "int32"),
        ("bool", "float32", "float32"),
        ("int64", "float32", "float32"),
        ("int32", "float64", "float64"),
        ("float32", "float64", "float64"),
    ],
)
def test_dtypes_promote(a: str, b: str, expected: str) -> None:
    for one, two in ((a, b), (b, a)):
        assert (fg.ones(2, dtype=one) * fg.ones(2, dtype=two)).dtype.name == expected
        assert fg.result_type(getattr(fg, one), getattr(fg, two)).name == expected


@pytest.mark.parametrize(
    ("dtype", "number", "expected"),
    [
        ("float32", 2.5, "float32"),
        ("float64", 2.5, "float64"),
        ("int32", 2, "int32"),
        ("int32", 2.5, "float32"),
        ("int8", True, "int8"),
        ("bool", 2, "int64"),
        ("bool", True, "bool"),
        ("float32", np.float64(2.5), "float32"),
        ("int32", np.int64(3), "int32"),
    ],
)
def test_numbers_are_weak(dtype: str, number: Any, expected: str) -> None:
    x = fg.ones(2, dtype=dtype)
    assert (x + number).dtype.name == expected
    assert (number + x).dtype.name == expected


def test_division_of_integers_is_a_float() -> None:
    assert (fg.asarray([1, 2]) / 2).dtype is fg.float32
    assert (fg.asarray([7]) // 2).dtype is fg.int64
    assert fg.exp(fg.asarray([1])).dtype is fg.float32


def test_default_dtypes() -> None:
    assert fg.asarray([1.0]).dtype is fg.float32
    assert fg.asarray([1]).dtype is fg.int64
    assert fg.asarray([True]).dtype is fg.bool
    assert fg.asarray(np.array([1.0])).dtype is fg.float64
    assert fg.asarray(np.float64(1.0)).dtype is fg.float64
    assert fg.asarray([[1.0, 2], [3, 4]]).dtype is fg.float32
    assert fg.zeros(2).dtype is fg.float32
    assert fg.arange(3).dtype is fg.int64
    assert fg.arange(3.0).dtype is fg.float32


# --- operators ------------------------------------------------------------------------------------


def test_operators_with_arrays_on_both_sides() -> None:
    x = fg.asarray(A)
    for actual in (x + B, B + x, x - B, B - x, x @ B, B @ x.T, x > B, x < B):
        assert isinstance(actual, Tensor)
    np.testing.assert_array_equal((B - x).numpy(), B - A)
    np.testing.assert_array_equal((2 - x).numpy(), 2 - A)
    np.testing.assert_allclose((B @ x.T).numpy(), B @ A.T, rtol=1e-5)


def test_integer_operators() -> None:
    x = fg.asarray(WHOLE)
    for symbol in ("//", "%", "&", "|", "^"):
        expected = eval(f"WHOLE {symbol} 3")
        np.testing.assert_array_equal(eval(f"x {symbol} 3").numpy(), expected)
    np.testing.assert_array_equal((x**3).numpy(), WHOLE**3)
    np.testing.assert_array_equal((x**0).numpy(), WHOLE**0)
    np.testing.assert_array_equal((~x).numpy(), ~WHOLE)
    np.testing.assert_array_equal((-x).numpy(), -WHOLE)
    np.testing.assert_array_equal(abs(x).numpy(), abs(WHOLE))
    quotient, rest = divmod(x, 3)
    np.testing.assert_array_equal((quotient * 3 + rest).numpy(), WHOLE)
    quotient, rest = divmod(17, fg.asarray([5, -5]))
    assert (quotient.tolist(), rest.tolist()) == ([3, -4], [2, -3])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.5, -1, 2.5, -2])
def test_powers(exponent: float) -> None:
    x = np.abs(A) + 0.1
    np.testing.assert_allclose((fg.asarray(x) ** exponent).numpy(), x**exponent, rtol=1e-5)


def test_bools_add_as_logic() -> None:
    t, f = fg.asarray([True, True]), fg.asarray([True, False])
    assert (t + f).tolist() == [True, True]
    assert (t * f).tolist() == [True, False]
    assert fg.maximum(t, f).tolist() == [True, True]
    assert (t & f).tolist() == [True, False]
    assert (~f).tolist() == [False, True]


def test_comparison_with_none_is_python() -> None:
    x = fg.ones(2)
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    with pytest.raises(TypeError):
        x + "a"


def test_numpy_functions_on_tensors() -> None:
    x = fg.asarray(A)
    np.testing.assert_allclose(np.exp(x), np.exp(A))
    np.testing.assert_allclose(np.mean(x), A.mean(), rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate([x, x]), np.concatenate([A, A]))
    assert isinstance(np.add(A, x), Tensor)
    total = A.copy()
    total += x
    np.testing.assert_array_equal(total, A + A)


# --- movement -------------------------------------------------------------------------------------

C = np.arange(24).reshape(2, 3, 4)

MOVES = [
    (lambda x: fg.reshape(x, (4, -1)), lambda x: x.reshape(4, -1)),
    (lambda x: fg.flatten(x, 1), lambda x: x.reshape(2, 12)),
    (lambda x: fg.permute_dims(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1)),
    (lambda x: x.transpose(0, 2), lambda x: x.swapaxes(0, 2)),
    (lambda x: x.transpose((1, 0, 2)), lambda x: x.transpose(1, 0, 2)),
    (lambda x: x.T, lambda x: x.T),
    (lambda x: x.mT, lambda x: x.swapaxes(1, 2)),
    (lambda x: fg.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1)),
    (lambda x: fg.moveaxis(x, (0, 1), (1, 2)), lambda x: np.moveaxis(x, (0, 1), (1, 2))),
    (lambda x: fg.expand_dims(x, (0, 2)), lambda x: np.expand_dims(x, (0, 2))),
    (lambda x: x.unsqueeze(-1), lambda x: x[..., None]),
    (lambda x: fg.squeeze(x[:1], 0), lambda x: x[0]),
    (lambda x: x.squeeze(0), lambda x: x),
    (lambda x: fg.flip(x), lambda x: np.flip(x)),
    (lambda x: fg.flip(x, (0, 2)), lambda x: np.flip(x, (0, 2))),
    (lambda x: fg.roll(x, 5), lambda x: np.roll(x, 5)),
    (lambda x: fg.roll(x, (1, -1), (0, 2)), lambda x: np.roll(x, (1, -1), (0, 2))),
    (lambda x: fg.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3))),
    (lambda x: fg.tile(x, (2, 1, 1, 2)), lambda x: np.tile(x, (2, 1, 1, 2))),
    (lambda x: fg.repeat(x, 2, 1), lambda x: np.repeat(x, 2, 1)),
    (lambda x: fg.repeat(x, 3), lambda x: np.repeat(x, 3)),
    (lambda x: fg.concat([x, x], axis=1), lambda x: np.concatenate([x, x], 1)),
    (lambda x: fg.concat([x, x], axis=None), lambda x: np.concatenate([x, x], None)),
    (lambda x: fg.cat([x, x[:1]], dim=0), lambda x: np.concatenate([x, x[:1]])),
    (lambda x: fg.stack([x, x], axis=-1), lambda x: np.stack([x, x], -1)),
    (lambda x: fg.pad(x, 1), lambda x: np.pad(x, 1)),
    (
        lambda x: fg.pad(x, [(0, 0), (1, 2), (3, 0)], constant_values=7),
        lambda x: np.pad(x, [(0, 0), (1, 2), (3, 0)], constant_values=7),
    ),
    (
        lambda x: fg.pad(x, [(0, 0), (-1, 1), (0, -2)]),
        lambda x: np.pad(x[:, 1:, :2], [(0, 0), (0, 1), (0, 0)]),
    ),
    (lambda x: fg.tril(x, k=1), lambda x: np.tril(x, 1)),
    (lambda x: fg.triu(x, k=-1), lambda x: np.triu(x, -1)),
    (
        lambda x: fg.broadcast_to(x[:, :1], (5, 2, 3, 4)),
        lambda x: np.broadcast_to(x[:, :1], (5, 2, 3, 4)),
    ),
    (lambda x: x[:, :1].expand(-1, 3, -1), lambda x: np.broadcast_to(x[:, :1], (2, 3, 4))),
    (lambda x: fg.take(x, [2, 0, -1], axis=1), lambda x: np.take(x, [2, 0, -1], 1)),
    (lambda x: fg.take(x, [[0, 1], [1, 1]], axis=0), lambda x: np.take(x, [[0, 1], [1, 1]], 0)),
    (
        lambda x: fg.take_along_axis(x, fg.argmax(x, 1, keepdims=True), axis=1),
        lambda x: np.take_along_axis(x, np.argmax(x, 1, keepdims=True), 1),
    ),
    (lambda x: fg.swapaxes(x, 0, 1), lambda x: np.swapaxes(x, 0, 1)),
]


@pytest.mark.parametrize("place", range(len(MOVES)))
def test_movement(place: int) -> None:
    ours, numpys = MOVES[place]
    expected = numpys(C)
    actual = ours(fg.asarray(C))
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual.numpy(), expected)


def test_splitting() -> None:
    for ours, numpys in (
        (fg.split(C, 2, axis=2), np.split(C, 2, 2)),
        (fg.split(C, [1, 3], axis=2), np.split(C, [1, 3], 2)),
        (fg.chunk(C, 2, 1), np.split(C, [2], 1)),
        (fg.unstack(C, axis=1), list(np.moveaxis(C, 1, 0))),
        (fg.unbind(C, -1), list(np.moveaxis(C, -1, 0))),
    ):
        assert len(ours) == len(numpys)
        for a, b in zip(ours, numpys, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)


def test_broadcasting_functions() -> None:
    a, b = fg.broadcast_arrays(fg.ones((3, 1)), fg.ones(4))
    assert a.shape == b.shape == (3, 4)
    assert fg.broadcast_shapes((3, 1), (1, 4), ()) == (3, 4)
    x, y = fg.meshgrid([1, 2, 3], [4, 5])
    expected = np.meshgrid([1, 2, 3], [4, 5])
    np.testing.assert_array_equal(x.numpy(), expected[0])
    np.testing.assert_array_equal(y.numpy(), expected[1])


# --- products -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((3,), (3, 4)),
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((6, 6, 3, 4), (1, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 5)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((0, 4), (4, 2)),
        ((3, 0), (0, 2)),
    ],
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = RNG.standard_normal(a), RNG.standard_normal(b)
    actual = fg.matmul(x, y)
    expected = x @ y
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_matmul_of_integers() -> None:
    np.testing.assert_array_equal((fg.asarray(WHOLE) @ WHOLE.T).numpy(), WHOLE @ WHOLE.T)
    batch = RNG.integers(0, 9, (2, 3, 4))
    np.testing.assert_array_equal(
        (fg.asarray(batch) @ batch.swapaxes(1, 2)).numpy(), batch @ batch.swapaxes(1, 2)
    )


@pytest.mark.parametrize(
    ("formula", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("i,i->", [(3,), (3,)]),
        ("i,i", [(3,), (3,)]),
        ("ii->", [(3, 3)]),
        ("ii->i", [(3, 3)]),
        ("ij->ji", [(2, 3)]),
        ("ij->j", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("ijkl,jk->il", [(2, 3, 4, 5), (3, 4)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]),
        ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]),
        ("i,j->ij", [(2,), (3,)]),
        ("ij,ij->ij", [(2, 3), (2, 3)]),
        ("ij,kj->ik", [(2, 3), (4, 3)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
        ("ba", [(2, 3)]),
        ("ij,j->ij", [(2, 3), (3,)]),
    ],
)
def test_einsum(formula: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [RNG.standard_normal(shape) for shape in shapes]
    actual = fg.einsum(formula, *arrays)
    expected = np.einsum(formula, *arrays)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-10)


def test_other_products() -> None:
    x, y = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((4, 3, 5))
    np.testing.assert_allclose(
        fg.tensordot(x, y, axes=([1, 2], [1, 0])).numpy(), np.tensordot(x, y, ([1, 2], [1, 0]))
    )
    np.testing.assert_allclose(
        fg.tensordot(x, y, axes=1).numpy(), np.tensordot(x, y, 1), rtol=1e-10
    )
    np.testing.assert_allclose(fg.outer(A[0], B).numpy(), np.outer(A[0], B))
    np.testing.assert_allclose(fg.vecdot(A, B).numpy(), A @ B, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fg.dot(B, B).item(), B @ B, rtol=1e-6)
    np.testing.assert_allclose(fg.mv(A, B).numpy(), A @ B, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fg.mm(A, A.T).numpy(), A @ A.T, rtol=1e-5, atol=1e-6)


# --- creation -------------------------------------------------------------------------------------


def test_creation() -> None:
    np.testing.assert_array_equal(fg.eye(2, 3, k=1).numpy(), np.eye(2, 3, 1))
    np.testing.assert_array_equal(fg.arange(5, 0, -2).numpy(), np.arange(5, 0, -2))
    np.testing.assert_allclose(fg.arange(0, 1, 0.1).numpy(), np.arange(0, 1, 0.1), rtol=1e-6)
    np.testing.assert_allclose(fg.linspace(0, 1, 2000).numpy(), np.linspace(0, 1, 2000), rtol=1e-6)
    assert fg.full((), 3).item() == 3
    assert fg.full_like(fg.ones(2, dtype="int32"), 2.0).dtype is fg.int32
    assert fg.zeros_like(fg.ones((2, 3), dtype="float64")).dtype is fg.float64
    for like in (fg.zeros_like, fg.ones_like, fg.empty_like):
        assert like(np.ones(2, np.float32), requires_grad=True).requires_grad
    assert fg.full_like(fg.ones(2), 3, requires_grad=True).requires_grad
    assert fg.ones(2, requires_grad=True).requires_grad
    assert fg.asarray([fg.ones(2), fg.zeros(2)]).tolist() == [[1, 1], [0, 0]]
    assert fg.asarray([[]]).shape == (1, 0)


def test_where_and_clip() -> None:
    x = fg.asarray(A)
    np.testing.assert_array_equal(fg.where(x > 0, x, 0).numpy(), np.where(A > 0, A, 0))
    np.testing.assert_array_equal(fg.clip(x, -0.5, 0.5).numpy(), np.clip(A, -0.5, 0.5))
    np.testing.assert_array_equal(x.clamp(min=0).numpy(), A.clip(0))
    with pytest.raises(fg.errors.DTypeError, match="not bool"):
        fg.where(x, x, x)


def test_namespace() -> None:
    assert fg.ones(1).__array_namespace__() is fg
    for name in fg.__all__:
        assert hasattr(fg, name), name


def test_data_types() -> None:
    assert fg.finfo(fg.float64).max == np.finfo(np.float64).max
    assert fg.iinfo(fg.ones(1, dtype="uint8")).max == 255
    assert fg.isdtype(fg.int8, ("bool", "signed integer"))
    assert not fg.isdtype(fg.uint8, "signed integer")
    assert fg.isdtype(fg.uint8, fg.uint8)
    assert fg.can_cast(fg.uint8, fg.int16)
    assert not fg.can_cast(fg.uint8, fg.int8)
    assert not fg.can_cast(fg.int8, fg.uint64)
    assert fg.astype([1, 0], bool).tolist() == [True, False]


def test_dtypes_compare_with_anything() -> None:
    assert fg.float32 == "float32"
    assert fg.float32 == np.float32
    for other in (None, float, "no, such: dtype", [1], {}, object()):
        assert fg.float64 != other
        assert fg.float32 != other
    with pytest.raises(fg.errors.DTypeError, match="there is no dtype no, such"):
        fg.ones(2, dtype="no, such")
