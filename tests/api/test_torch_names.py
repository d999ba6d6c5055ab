"""Functions and methods under torch's names, against NumPy, recorded and compiled."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import DeviceError, DTypeError, ShapeError, StateError
from fusegrad.testing import check_grads

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 4))
B = RNG.standard_normal((4, 5))
V = RNG.standard_normal(4)
W = RNG.standard_normal(3)
BATCH = RNG.standard_normal((2, 3, 4))
OTHER = RNG.standard_normal((2, 4, 5))
WRAPS = pytest.mark.parametrize("wrap", [lambda f: f, fg.compile], ids=["recorded", "compiled"])


def distances(x: Any, y: Any, p: float) -> Any:
    return (abs(x[:, None] - y) ** p).sum(-1) ** (1 / p)


def renormed(x: Any, bound: float) -> Any:
    norms = np.sqrt((x * x).sum(0, keepdims=True))
    return x * np.where(norms > bound, bound / (norms + 1e-7), 1)


def areas(y: Any, x: Any) -> Any:
    return np.cumsum((y[:, 1:] + y[:, :-1]) / 2 * np.diff(x, axis=-1), -1)


STEPS = np.array([0.0, 1.0, 1.5, 4.0])
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Any]] = {
    "addmv": (lambda x, m, v: fg.addmv(x, m, v, beta=2, alpha=3), (W, A, V), 2 * W + 3 * A @ V),
    "addmv unread": (lambda m, v: fg.addmv(math.nan, m, v, beta=0), (A, V), A @ V),
    "addr": (lambda x, u, v: fg.addr(x, u, v, alpha=2), (A, W, V), A + 2 * np.outer(W, V)),
    "addbmm": (
        lambda x, b, c: fg.addbmm(x, b, c, beta=0.5),
        (RNG.standard_normal(5), BATCH, OTHER),
        None,
    ),
    "adjoint": (fg.adjoint, (BATCH,), BATCH.swapaxes(1, 2)),
    "aminmax": (lambda x: fg.aminmax(x, dim=1).max, (A,), A.max(1)),
    "block_diag": (
        lambda m, v: fg.block_diag(m, v, 7.0),
        (A[:2, :2], V[:2]),
        np.block(
            [
                [A[:2, :2], np.zeros((2, 3))],
                [np.zeros((1, 2)), V[None, :2], np.zeros((1, 1))],
                [np.zeros((1, 4)), np.full((1, 1), 7.0)],
            ]
        ),
    ),
    "broadcast_tensors": (lambda x, v: fg.broadcast_tensors(x, v)[1], (A, V), np.tile(V, (3, 1))),
    "cartesian_prod": (fg.cartesian_prod, (W, V), np.array(list(itertools.product(W, V)))),
    "cdist": (fg.cdist, (A, A[:2] + 1), distances(A, A[:2] + 1, 2)),
    "cdist p": (lambda x, y: fg.cdist(x, y, 3.0), (A, A[:2] + 1), distances(A, A[:2] + 1, 3)),
    "chain_matmul": (fg.chain_matmul, (A, B, B.T), A @ B @ B.T),
    "clone": (fg.clone, (A,), A),
    "combinations": (
        lambda x: fg.combinations(x, 3, with_replacement=True),
        (W,),
        np.array(list(itertools.combinations_with_replacement(W, 3))),
    ),
    "constant_pad_nd": (
        lambda x: fg.constant_pad_nd(x, (1, -2, 0, 1), 9.0),
        (A,),
        np.pad(A[:, :2], [(0, 1), (1, 0)], constant_values=9.0),
    ),
    "cumulative_trapezoid": (
        lambda x: fg.cumulative_trapezoid(x, dx=0.5),
        (A,),
        areas(A, np.arange(4) / 2),
    ),
    "cumulative_trapezoid x": (
        lambda x: fg.cumulative_trapezoid(x, STEPS, dim=1),
        (A,),
        areas(A, STEPS),
    ),
    "fill": (fg.fill, (A, np.array(2.5)), np.full_like(A, 2.5)),
    "frac": (fg.frac, (3 * A,), 3 * A - np.trunc(3 * A)),
    "matvec": (fg.matvec, (BATCH, V), BATCH @ V),
    "renorm": (lambda x: fg.renorm(x, 2, 1, 1.5), (A,), renormed(A, 1.5)),
    "std_mean": (lambda x: fg.std_mean(x, 1)[0], (A,), A.std(1, ddof=1)),
    "var_mean": (
        lambda x: fg.var_mean(x, axis=0, correction=0, keepdims=True)[0],
        (A,),
        A.var(0, keepdims=True),
    ),
    "vecmat": (fg.vecmat, (W, BATCH), W @ BATCH),
    "igamma": (fg.igamma, (abs(A), abs(A)), None),
    "sum_to_size": (lambda x: x.sum_to_size(3, 1), (BATCH,), BATCH.sum((0, 2))[:, None]),
    "unfold": (
        lambda x: x.unfold(1, 3, 2),
        (OTHER.swapaxes(1, 2),),
        np.lib.stride_tricks.sliding_window_view(OTHER.swapaxes(1, 2), 3, 1)[:, ::2],
    ),
    "var unbiased": (lambda x: x.var(0, unbiased=True), (A,), A.var(0, ddof=1)),
    "std unbiased": (lambda x: fg.std(x, unbiased=False), (A,), A.std()),
}


@WRAPS
@pytest.mark.parametrize("name", CASES)
def test_values(name: str, wrap: Callable[[Any], Any]) -> None:
    function, operands, expected = CASES[name]
    if name == "addbmm":
        expected = 0.5 * operands[0] + (operands[1] @ operands[2]).sum(0)
    if name == "igamma":
        expected = fg.special.gammainc(*operands).numpy()
    found = wrap(function)(*map(fg.asarray, operands))
    assert found.dtype is fg.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"igamma"}))
def test_gradients(name: str) -> None:
    function, operands, _ = CASES[name]
    check_grads(function, tuple(map(fg.asarray, operands)), order=2)


# --- methods in place -----------------------------------------------------------------------------

_ONE = (
    *("abs", "absolute", "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan"),
    *("arctanh", "asin", "asinh", "atan", "atanh", "bitwise_not", "ceil", "cos", "cosh"),
    *("deg2rad", "digamma", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "fix", "floor"),
    *("frac", "i0", "lgamma", "log", "log10", "log1p", "log2", "logical_not", "logit", "mvlgamma"),
    *("nan_to_num", "neg", "negative", "polygamma", "rad2deg", "reciprocal", "relu", "renorm"),
    *("round", "rsqrt", "sgn", "sigmoid", "sign", "sin", "sinc", "sinh", "sqrt", "square", "tan"),
    *("tanh", "tril", "triu", "trunc", "cumprod", "cumsum"),
)
_TWO = (
    *("addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addr", "arctan2", "atan2", "baddbmm"),
    *("bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor"),
    *("clip", "copysign", "divide", "eq", "float_power", "floor_divide", "fmod", "gcd", "ge"),
    *("greater", "greater_equal", "gt", "heaviside", "hypot", "igamma", "igammac", "lcm", "ldexp"),
    *("le", "lerp", "less", "less_equal", "logical_and", "logical_or", "logical_xor", "lt"),
    *("multiply", "ne", "nextafter", "not_equal", "pow", "remainder", "subtract", "true_divide"),
    *("xlogy",),
)

WHOLE = ("bitwise", "gcd", "lcm")
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "addbmm": (BATCH[:, :, :3], BATCH),
    "addcdiv": (A, A + 9),
    "addcmul": (A, A),
    "addmm": (A @ A.T, A),
    "addmv": (A @ A.T, W),
    "addr": (W, V),
    "baddbmm": (BATCH @ BATCH.swapaxes(1, 2), BATCH),
    "clip": (-0.5, 0.5),
    "cumprod": (1,),
    "cumsum": (0,),
    "lerp": (A + 1, 0.25),
    "mvlgamma": (1,),
    "polygamma": (1,),
    "renorm": (2, 0, 1.0),
    "ldexp": (np.array([1, 2, 0, 3]),),
}


def operands(name: str) -> tuple[Any, tuple[Any, ...]]:
    if name.startswith(WHOLE):
        x = np.arange(12).reshape(3, 4)
        return x, () if name == "bitwise_not" else (np.array([1, 2, 3, 4]),)
    x = BATCH if name == "baddbmm" else W if name == "addmv" else A
    x = abs(x) / 4 + 0.1 if name in ("erfinv", "logit", "igamma", "igammac") else x
    x = abs(x) + 1.5 if name.startswith(("arccosh", "acosh")) else x
    default = (abs(x) + 0.5,) if name in _TWO else ()
    return x, ARGUMENTS.get(name, default)


@pytest.mark.filterwarnings("ignore:invalid value|divide by zero")
@pytest.mark.parametrize("name", sorted({*_ONE, *_TWO}))
def test_methods_in_place(name: str) -> None:
    start, arguments = operands(name)
    x, same = fg.asarray(start), fg.asarray(start)
    others = [fg.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    expected = getattr(same, name)(*others)
    assert getattr(x, f"{name}_")(*others) is x
    assert x.dtype is same.dtype
    np.testing.assert_array_equal(x.numpy(), expected.numpy().astype(start.dtype))
    np.testing.assert_array_equal(same.numpy(), start)


def test_in_place_methods_are_differentiated_and_compiled() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        y.tan_().lgamma_().hypot_(x)
        return y.sum()

    check_grads(f, (fg.asarray([0.2, 0.3]),), order=2)
    x = fg.asarray([0.2, 0.3])
    assert float(fg.compile(f)(x)) == pytest.approx(float(f(x)))


def test_other_methods() -> None:
    x = fg.asarray(A, requires_grad=True)
    y = (x * 2).detach_()
    assert (y.requires_grad, y.is_leaf) == (False, True)
    assert y.tolist() == (2 * A).tolist()
    z = fg.zeros(3)
    assert z.fill(2.0) is None  # type: ignore[func-returns-value]
    assert z.tolist() == [2, 2, 2]
    assert (x.nelement(), x.ndimension(), x.get_device()) == (12, 2, -1)
    assert (x.is_signed(), x.is_complex(), x.is_same_size(x.T)) == (True, False, False)
    assert fg.ones(1).is_nonzero()
    made = x.new_ones((2,), dtype="float32", device="cpu", requires_grad=True)
    assert (made.dtype, made.requires_grad, made.is_leaf) == (fg.float32, True, True)
    assert x.new_tensor([1], requires_grad=True).requires_grad
    assert x.new_empty(2, 3, requires_grad=True).shape == (2, 3)


# --- questions ------------------------------------------------------------------------------------


def test_questions() -> None:
    x = fg.asarray([[1.0, math.nan]])
    assert (fg.is_tensor(x), fg.is_tensor(A)) == (True, False)
    assert (fg.is_floating_point(x), fg.is_complex(x), fg.is_signed(x)) == (True, False, True)
    assert not fg.is_signed(fg.asarray([True]))
    assert (fg.numel(x), fg.size(x), fg.size(x, 1), fg.ndim(x), fg.shape(x)) == (2, 2, 2, 2, (1, 2))
    assert fg.is_same_size(x, x)
    assert (fg.is_nonzero(3.0), fg.isscalar(3), fg.isscalar(x)) == (True, True, False)
    assert [fg.iterable(o) for o in (x, x[0, 0], [1], 3)] == [True, False, True, False]
    assert fg.isreal(x).tolist() == [[True, True]]
    assert fg.iscomplex([1, 2]).tolist() == [False, False]
    assert fg.promote_types("int32", fg.float16) is fg.result_type(fg.int32, fg.float16)
    with pytest.raises(ValueError, match="one element"):
        fg.is_nonzero(x)


# --- creation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: fg.tri(2, **k),
        lambda **k: fg.identity(2, **k),
        lambda **k: fg.logspace(0, 1, 3, **k),
        lambda **k: fg.geomspace(1, 2, 3, **k),
        lambda **k: fg.ones(size=(2, 3), **k),
        lambda **k: fg.rand(2, **k),
        lambda **k: fg.randint(0, 3, (2,), dtype="float32", **k),
        lambda **k: fg.randperm(3, dtype="float32", **k),
        lambda **k: fg.randn_like(fg.ones(3), **k),
        lambda **k: fg.normal(0.0, 1.0, (2,), **k),
    ],
)
def test_creators_take_device_and_requires_grad(make: Any) -> None:
    x = make(device="cpu", requires_grad=True)
    assert x.requires_grad
    assert x.is_leaf
    with pytest.raises(DeviceError, match="there is no device 'tpu'"):
        make(device="tpu")


def test_torchs_ways_to_make_tensors() -> None:
    x = fg.asarray([1.0])
    assert fg.as_tensor(x) is x
    assert fg.as_tensor([1, 2], "float64").dtype is fg.float64
    assert fg.zeros().shape == ()
    assert fg.empty(size=(2,)).shape == (2,)
    assert fg.vander([2, 3], 2, dtype="float64").dtype is fg.float64
    with pytest.raises(DeviceError, match="there is no device"):
        fg.indices((2,), device="tpu")


NUMPYS = ["bartlett", "blackman", "hamming", "hanning"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
def test_tapers(count: int) -> None:
    for name in NUMPYS:
        expected = getattr(np, name)(count)
        found = getattr(fg, name)(count)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-15)
        assert found.dtype is fg.float64
    np.testing.assert_allclose(fg.kaiser(count, 8.6).numpy(), np.kaiser(count, 8.6), rtol=1e-9)
    for name, own in zip(NUMPYS, ["bartlett", "blackman", "hamming", "hann"], strict=True):
        window = getattr(fg, f"{own}_window")
        expected = getattr(np, name)(count + 1)[:count] if count > 1 else np.ones(count)
        np.testing.assert_allclose(window(count).numpy(), expected, rtol=1e-6, atol=1e-7)
        flat = window(count, periodic=False, dtype="float64", requires_grad=True)
        np.testing.assert_allclose(flat.detach().numpy(), getattr(np, name)(count), atol=1e-12)
        assert flat.requires_grad
    expected = np.kaiser(count + 1, 12.0)[:count] if count > 1 else np.ones(count)
    np.testing.assert_allclose(fg.kaiser_window(count).numpy(), expected, rtol=1e-5)


def test_the_width_of_a_taper_has_a_gradient() -> None:
    check_grads(lambda beta: fg.kaiser(5, beta), (fg.asarray(3.0, dtype="float64"),), order=2)
    with pytest.raises(ShapeError, match="hann_window of -1 numbers"):
        fg.hann_window(-1)


# --- random numbers -------------------------------------------------------------------------------


def test_the_state_of_the_stream() -> None:
    generator = fg.manual_seed(5)
    assert (generator.initial_seed(), fg.initial_seed(), generator.device) == (5, 5, "cpu")
    fg.rand(3)
    state = fg.get_rng_state()
    first = fg.randn(4).tolist()
    fg.set_rng_state(state)
    assert fg.randn(4).tolist() == first
    other = fg.random.Generator()
    other.set_state(state)
    assert fg.random.randn(4, generator=other).tolist() == first
    assert fg.seed() == fg.initial_seed()
    with pytest.raises(StateError, match="two numbers of uint64, not an array of int64"):
        fg.set_rng_state([1, 2])


def test_draws_with_torchs_arguments() -> None:
    fg.manual_seed(0)
    assert set(fg.randint(3, (100,)).tolist()) == {0, 1, 2}
    assert set(fg.randint(3, 5, size=(100,)).tolist()) == {3, 4}
    assert fg.randint_like(fg.ones(9), 5, 7).dtype is fg.float32
    assert fg.rand_like(fg.ones(3, dtype="float64")).dtype is fg.float64
    assert sorted(fg.randperm(5, dtype="int32").tolist()) == [0, 1, 2, 3, 4]
    chances = fg.asarray([0.0, 1.0])
    assert fg.bernoulli(chances).tolist() == chances.bernoulli().tolist() == [0, 1]
    assert fg.bernoulli(fg.ones(4000), 0.25).mean().item() == pytest.approx(0.25, abs=0.03)
    assert fg.poisson(fg.full(400, 3.0)).mean().item() == pytest.approx(3, abs=0.4)
    assert fg.normal(fg.full((4000,), 2.0), 0.5).mean().item() == pytest.approx(2, abs=0.05)
    assert fg.multinomial(chances, 1).tolist() == [1]


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda x: x.uniform_(1, 3), 2),
        (lambda x: x.normal_(2, 0.5), 2),
        (lambda x: x.bernoulli_(0.25), 0.25),
        (lambda x: x.exponential_(2.0), 0.5),
        (lambda x: x.log_normal_(0.0, 0.5), math.exp(0.125)),
        (lambda x: x.geometric_(0.25), 4),
        (lambda x: x.random_(11), 5),
        (lambda x: x.random_(10, 21), 15),
        (lambda x: x.random_(), 2**23),
    ],
)
def test_draws_in_place(draw: Any, mean: float) -> None:
    fg.manual_seed(1)
    x = fg.zeros(20_000)
    assert draw(x) is x
    assert x.dtype is fg.float32
    assert float(x.mean()) == pytest.approx(mean, rel=0.05)


def test_draws_in_place_of_other_dtypes() -> None:
    assert fg.zeros(9, dtype="int32").bernoulli_(1.0).tolist() == [1] * 9
    assert set(fg.zeros(999, dtype="bool").random_().tolist()) == {False, True}
    assert int(fg.zeros(999, dtype="int8").random_().max()) > 100
    assert abs(float(fg.zeros(999).cauchy_(3.0, 1e-6).median()) - 3) < 1e-5
    x = fg.ones(3, requires_grad=True)
    assert x.uniform_().is_leaf


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: fg.fill(A, V), ShapeError, r"fill takes a single value, not one of shape \(4,\)"),
        (lambda: fg.combinations(A), ShapeError, r"takes a vector, not an array of shape \(3, 4\)"),
        (lambda: fg.combinations(V, -1), ShapeError, "combinations of -1 elements"),
        (lambda: fg.constant_pad_nd(V, (1,)), ShapeError, "1 widths are no pairs"),
        (lambda: fg.matvec(A, 1.0), ShapeError, "matvec needs vectors"),
        (lambda: fg.vecmat(1.0, A), ShapeError, "vecmat needs vectors"),
        (lambda: fg.block_diag(BATCH), ShapeError, r"not an array of shape \(2, 3, 4\)"),
        (lambda: fg.cdist(A, B), ShapeError, r"cdist of arrays of shapes \(3, 4\) and \(4, 5\)"),
        (lambda: fg.renorm(V, 2, 0, 1), ShapeError, "renorm needs at least two axes"),
        (lambda: fg.asarray(A).unfold(1, 9), ShapeError, "axis 1 of extent 4 has no windows of 9"),
        (
            lambda: fg.asarray(A).sum_to_size(2, 4),
            ShapeError,
            r"shape \(3, 4\) does not come from shape \(2, 4\)",
        ),
        (lambda: fg.asarray([1]).exp_(), DTypeError, "cannot update a tensor of int64 in place"),
    ],
)
def test_what_is_refused(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
