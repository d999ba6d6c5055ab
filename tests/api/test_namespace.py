"""The essentials of the array API, as its users meet them: the namespace and how it inspects."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import DeviceError, DTypeError, ShapeError
from fusegrad.testing import check_grads

INFO = fg.__array_namespace_info__()


# --- inspection -----------------------------------------------------------------------------------


def test_namespace_of_an_array() -> None:
    assert fg.ones(2).__array_namespace__() is fg
    assert fg.ones(2).__array_namespace__(api_version="2024.12") is fg
    assert fg.__array_api_version__ == "2024.12"


def test_capabilities() -> None:
    capabilities = INFO.capabilities()
    assert capabilities["boolean indexing"] is True
    assert capabilities["data-dependent shapes"] is True
    assert capabilities["max dimensions"] == 64


def test_devices() -> None:
    assert INFO.default_device() in INFO.devices()
    assert fg.ones(2).device == INFO.default_device()
    assert fg.ones(2).to_device("cpu").device == "cpu"
    for ask in (INFO.dtypes, INFO.default_dtypes):
        with pytest.raises(DeviceError, match="there is no device 'cuda:7'"):
            ask(device="cuda:7")
    with pytest.raises(DeviceError, match="there is no device 'tpu'"):
        fg.ones(2).to_device("tpu")
    with pytest.raises(DeviceError, match="there are no streams"):
        fg.ones(2).to_device("cpu", stream=1)


def test_default_dtypes() -> None:
    defaults = INFO.default_dtypes()
    assert defaults["real floating"] is fg.asarray(1.0).dtype
    assert defaults["integral"] is fg.asarray(1).dtype
    assert defaults["indexing"] is fg.argmax(fg.ones(3)).dtype


def test_dtypes_by_kind() -> None:
    assert set(INFO.dtypes(kind="signed integer")) == {"int8", "int16", "int32", "int64"}
    assert INFO.dtypes(kind=("bool", "real floating")) == {
        "bool": fg.bool,
        "float32": fg.float32,
        "float64": fg.float64,
    }
    assert INFO.dtypes(kind="complex floating") == {}
    assert all(getattr(fg, name) is dtype for name, dtype in INFO.dtypes().items())


STANDARD = """
abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan atan2
atanh bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
broadcast_arrays broadcast_to can_cast ceil clip concat conj copysign cos cosh count_nonzero
cumulative_prod cumulative_sum diff divide empty empty_like equal exp expand_dims expm1 eye
finfo flip floor floor_divide from_dlpack full full_like greater greater_equal hypot iinfo imag
isdtype isfinite isinf isnan less less_equal linspace log log10 log1p log2 logaddexp logical_and
logical_not logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min minimum
moveaxis multiply negative nextafter nonzero not_equal ones ones_like permute_dims positive pow
prod real reciprocal remainder repeat reshape result_type roll round searchsorted sign signbit
sin sinh sort sqrt square squeeze stack std subtract sum take take_along_axis tan tanh tensordot
tile tril triu trunc unique_all unique_counts unique_inverse unique_values unstack var vecdot
where zeros zeros_like
"""
EXTENSION = """
cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank
matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
"""


def test_names_of_the_standard() -> None:
    missing = [name for name in STANDARD.split() if name not in fg.__all__]
    missing += [name for name in EXTENSION.split() if not callable(getattr(fg.linalg, name, None))]
    assert not missing
    assert len(set(fg.__all__)) == len(fg.__all__)
    assert (fg.newaxis, fg.e, fg.pi) == (None, np.e, np.pi)
    assert np.isinf(fg.inf)
    assert np.isnan(fg.nan)


def test_names_of_arguments() -> None:
    for name, arguments in {
        "argsort": ("x", "axis", "descending", "stable"),
        "clip": ("x", "min", "max"),
        "cumulative_sum": ("x", "axis", "dtype", "include_initial"),
        "diff": ("x", "axis", "n", "prepend", "append"),
        "eye": ("k", "dtype", "device"),
        "from_dlpack": ("x", "device", "copy"),
        "linspace": ("start", "stop", "num", "dtype", "device", "endpoint"),
        "reshape": ("shape", "copy"),
        "searchsorted": ("side", "sorter"),
        "std": ("axis", "correction", "keepdims"),
        "sum": ("axis", "dtype", "keepdims"),
        "take": ("indices", "axis"),
    }.items():
        known = inspect.signature(getattr(fg, name)).parameters
        assert not set(arguments) - set(known), name


# --- making tensors -------------------------------------------------------------------------------


def test_tensor_and_array_copy() -> None:
    x = fg.asarray([1.0, 2.0])
    assert fg.asarray(x) is x
    assert fg.array(x) is not x
    assert fg.array(x, copy=None) is x
    assert fg.array([1, 2], "float64").dtype is fg.float64
    y = fg.tensor(np.arange(3), dtype=fg.float32, requires_grad=True)
    (y * y).sum().backward()
    assert y.grad is not None
    np.testing.assert_array_equal(y.grad.numpy(), [0, 2, 4])
    assert not fg.tensor(y).requires_grad


@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
def test_shapes_in_both_styles(name: str) -> None:
    make = getattr(fg, name)
    assert make((2, 3)).shape == make(2, 3).shape == make(shape=(2, 3)).shape == (2, 3)
    assert make(4).shape == make([4]).shape == (4,)
    assert make(()).shape == ()
    first = next(iter(inspect.signature(make).parameters.values()))
    assert (first.name, first.kind) == ("shape", inspect.Parameter.POSITIONAL_OR_KEYWORD)


@pytest.mark.parametrize(
    "arguments",
    [
        ((5,), {}),
        ((1, 9, 3), {}),
        ((5, 0, -2), {}),
        ((3, 1), {}),
        ((0, 1, 0.1), {}),
        ((5,), {"dtype": "float64"}),
        ((np.float32(3),), {}),
    ],
)
def test_arange(arguments: Any) -> None:
    positional, named = arguments
    actual, expected = fg.arange(*positional, **named), np.arange(*positional, **named)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-6)
    assert actual.dtype == (
        np.float32 if expected.dtype.kind == "f" and not named else expected.dtype
    )


def test_arange_of_tensors() -> None:
    assert fg.arange(fg.asarray(3)).dtype is fg.int64
    assert fg.arange(np.array(1), fg.asarray(4)).tolist() == [1, 2, 3]


NUMBERS = [(0, 1, 5), (2, -3, 4), (0, 1, 1), (0, 1, 0), (-1.5, 7.25, 2000)]


@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
@pytest.mark.parametrize("numbers", NUMBERS)
def test_linspace(numbers: Any, dtype: str, endpoint: bool) -> None:
    for run in (fg.linspace, fg.compile(lambda *a, **k: fg.linspace(*numbers, **k))):
        actual = run(*numbers, dtype=dtype, endpoint=endpoint)
        expected = np.linspace(*numbers, dtype=dtype, endpoint=endpoint)
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(
            actual.numpy(), expected, rtol=1e-12 if dtype != "float32" else 1e-6
        )
        if endpoint and numbers[2] > 1:
            assert actual[-1] == expected[-1]


@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_linspace_between_arrays(count: int, endpoint: bool) -> None:
    low, high = np.array([[0.0], [1.0]]), np.array([10.0, -2.0, 0.5])
    expected = np.linspace(low, high, count, endpoint=endpoint)
    for run in (fg.linspace, fg.compile(fg.linspace, static_argnames=["num"])):
        actual = run(low, high, num=count, endpoint=endpoint)
        assert actual.dtype is fg.float64
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("dtype", [None, "float64", "int32"])
def test_ratios(dtype: str | None, endpoint: bool) -> None:
    kind = dtype or "float32"
    for actual, expected in (
        (
            fg.logspace(0, 3, 7, base=2, dtype=dtype, endpoint=endpoint),
            np.logspace(0, 3, 7, base=2, endpoint=endpoint),
        ),
        (
            fg.geomspace(-1, -1000, 4, dtype=dtype, endpoint=endpoint),
            np.geomspace(-1, -1000, 4, endpoint=endpoint),
        ),
    ):
        assert actual.dtype == kind
        np.testing.assert_allclose(actual.numpy(), expected.astype(kind), rtol=1e-6)
    for start, stop in ((0, 1), (-1, 1)):
        with pytest.raises(ShapeError, match="there are no equal ratios"):
            fg.geomspace(start, stop)


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_indices(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(fg.indices(shape).numpy(), np.indices(shape))
    for one, other in zip(
        fg.indices(shape, sparse=True), np.indices(shape, sparse=True), strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), other)
    assert fg.indices(shape, dtype="int32").dtype is fg.int32
    assert fg.identity(3).tolist() == np.identity(3).tolist()


def test_gradient_of_linspace() -> None:
    gradient = fg.grad(lambda a: (fg.linspace(a, 4.0, 5) * fg.asarray([1.0, 2, 3, 4, 5])).sum())
    assert float(gradient(fg.asarray(0.0))) == pytest.approx(1 + 1.5 + 1.5 + 1)


def test_numbers_that_fit_no_place() -> None:
    for make in (
        lambda: fg.full(2, 300, dtype="uint8"),
        lambda: fg.full(2, 2**70),
        lambda: fg.full(2, float("nan"), dtype="int32"),
        lambda: fg.asarray(-1, dtype="uint8"),
        lambda: fg.asarray([1, 300], dtype="int8"),
        lambda: fg.asarray([float("inf")], dtype="int8"),
        lambda: fg.asarray(1, dtype="int8") + 200,
        lambda: fg.arange(300, dtype="uint8"),
    ):
        with pytest.raises(DTypeError, match="does not fit"):
            make()
    with pytest.raises(DTypeError, match="no integer dtype holds all numbers"):
        fg.asarray([2**63, -1])
    assert fg.asarray(2**63).dtype is fg.uint64
    assert fg.asarray(np.array([300, -1]), dtype="uint8").tolist() == [44, 255]
    assert fg.asarray([1.7, -1.7], dtype="int32").tolist() == [1, -1]


def test_counts_that_are_none() -> None:
    for make, message in (
        (lambda: fg.eye(-1), "eye of -1 numbers"),
        (lambda: fg.linspace(0, 1, -1), "linspace of -1 numbers"),
        (lambda: fg.zeros(-1), "is negative"),
        (lambda: fg.arange(float("inf")), "arange from 0 to inf in steps of 1 has no end"),
        (lambda: fg.arange(3, 1, 0), "a step of 0 has no end"),
    ):
        with pytest.raises(ShapeError, match=message):
            make()
    with pytest.raises(DTypeError, match="is no shape"):
        fg.zeros((2, 2.5))


def test_axes_that_are_none() -> None:
    x = fg.ones((2, 3))
    for axis in (1.5, "a", None):
        with pytest.raises(DTypeError, match="unstack: an axis is an integer"):
            fg.unstack(x, axis=axis)
    with pytest.raises(TypeError, match="sum: an axis is an integer, not 1"):
        fg.sum(x, axis=1.5)
    for join in (fg.concat, fg.stack):
        with pytest.raises(ShapeError, match="there are no arrays"):
            join([])


# --- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INFO.dtypes())
def test_dtypes_are_numpys_too(name: str) -> None:
    dtype = getattr(fg, name)
    assert dtype == name
    assert dtype == np.dtype(name)
    assert np.dtype(name) == dtype
    assert dtype == np.dtype(name).type
    assert dtype != "complex64"
    for other in ("no dtype", "a, b", {}, [1], None, 1, float, fg):
        assert dtype != other
    assert (dtype == np.dtype("int8")) is (name == "int8")
    assert np.zeros(2, dtype=dtype).dtype == name
    assert len({dtype, getattr(fg, name)}) == 1


def test_powers_of_integers() -> None:
    x = fg.asarray([0, 1, 2, 3], dtype="uint16")
    assert (x**65).tolist() == (np.arange(4, dtype=np.uint16) ** 65).tolist()
    with pytest.raises(DTypeError, match="to the power -1"):
        x.astype("int64") ** (-1)


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [np.float32(0.1), np.arange(3), np.eye(2), np.zeros((0, 2))])
def test_text_is_numpys(values: Any) -> None:
    x = fg.asarray(values)
    assert str(x) == f"{x}" == str(values)


def test_formats() -> None:
    assert f"{fg.asarray(3.14159):.3f}|{fg.asarray(7):>4}" == "3.142|   7"
    with pytest.raises(DTypeError, match=r"the format '.3f' is one for numbers"):
        f"{fg.asarray([3.14159]):.3f}"


def test_where_of_a_condition_alone() -> None:
    rows, columns = fg.where(fg.asarray([[True, False], [False, True]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [0, 1])
    with pytest.raises(TypeError, match="alone, or with two operands"):
        fg.where(fg.asarray([True]), 1)


# --- names of others ------------------------------------------------------------------------------


OPERATORS = {
    "div": "truediv",
    **{n: n for n in ("eq", "ge", "gt", "le", "lt", "mul", "ne", "neg", "sub")},
}


@pytest.mark.parametrize("name", sorted(OPERATORS))
@pytest.mark.parametrize("wrap", [lambda f: f, fg.compile], ids=["recorded", "compiled"])
def test_names_of_operators(name: str, wrap: Any) -> None:
    values = [np.array([3.0, 1.0, 2.0]), np.array([3.0, 2.0, 1.0])][: 1 if name == "neg" else 2]
    expected = getattr(operator, OPERATORS[name])(*values)
    actual = wrap(getattr(fg, name))(*values)
    assert actual.dtype.numpy == expected.dtype
    np.testing.assert_array_equal(actual.numpy(), expected)


def test_div_rounds() -> None:
    x = fg.asarray([7.0, -7.0])
    assert fg.div(x, 2.0, rounding_mode="floor").tolist() == [3, -4]
    assert fg.div(x, 2.0, rounding_mode="trunc").tolist() == [3, -3]
    assert fg.grad(lambda v: fg.div(v, 2.0).sum())(x).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="rounding_mode is 'floor' or 'trunc', not 'up'"):
        fg.div(x, 2.0, rounding_mode="up")  # type: ignore[arg-type]


def test_methods_under_torchs_names() -> None:
    x = fg.asarray([[1.0, -2.0, 3.5], [4.0, 5.0, -6.0]])
    assert x.add(1, alpha=2).tolist() == (x + 2).tolist()
    assert x.sub(x, alpha=2).tolist() == (-x).tolist()
    assert x.div(2, rounding_mode="floor").tolist() == [[0, -1, 1], [2, 2, -3]]
    assert x.div(2, rounding_mode="trunc").tolist() == [[0, -1, 1], [2, 2, -3]]
    assert x.div(-4, rounding_mode="trunc").tolist()[1] == [-1, -1, 1]
    assert x.eq(4).tolist()[1] == [True, False, False]
    assert x.ge(x.T.T).tolist() == [[True] * 3] * 2
    assert x.real.tolist() == x.tolist()
    assert x.imag.tolist() == [[0, 0, 0]] * 2
    assert x.select(1, -1).tolist() == [3.5, -6]
    assert x.narrow(1, 1, 2).tolist() == [[-2, 3.5], [5, -6]]
    assert x.narrow(1, -2, 1).tolist() == [[-2], [5]]
    assert [part.tolist() for part in x.unbind(1)] == x.T.tolist()
    assert x.new_zeros(2, 3).dtype is fg.float32
    assert x.new_ones((2,), dtype="int8").tolist() == [1, 1]
    assert x.new_full((2,), 7).tolist() == [7, 7]
    assert (x.is_floating_point(), x.is_contiguous(), x.element_size()) == (True, True, 4)
    assert x.copy() is not x
    with pytest.raises(ShapeError, match="axis 1 of extent 3 has no 3 positions from 1"):
        x.narrow(1, 1, 3)
    with pytest.raises(ValueError, match="rounding_mode is"):
        x.div(2, rounding_mode="up")
    with pytest.raises(TypeError, match="add of a tensor and a str"):
        x.add("a")


def test_methods_are_differentiated_and_compiled() -> None:
    x = np.array([0.3, 0.7])

    def f(x: Any) -> Any:
        return (x.tan().mul(x.log2()).sub(x.expm1()).atan2(x.select(0, 1))).sum()

    expected = np.arctan2(np.tan(x) * np.log2(x) - np.expm1(x), x[1]).sum()
    for run in (f, fg.compile(f)):
        assert float(run(fg.asarray(x))) == pytest.approx(expected)
    check_grads(f, (fg.asarray(x),), order=2)
