"""vmap: over containers, nested, with gradients, compiled functions, random numbers, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn
from fusegrad.errors import ArgumentStructureError, BatchingError, FusegradError, TracedValueError
from fusegrad.testing import assert_close, check_grads

RNG = np.random.default_rng(11)


def values(*shape: int) -> fg.Tensor:
    return fg.asarray(RNG.normal(size=shape))


def looped(function: Callable[..., Any], *args: fg.Tensor) -> fg.Tensor:
    return fg.stack([fg.asarray(function(*row)) for row in zip(*args, strict=True)])


# --- values ---------------------------------------------------------------------------------------

FUNCTIONS: list[tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = [
    (lambda x: F.softmax(x, -1), ((4, 3),)),
    (lambda x, y: x @ y, ((2, 3), (3, 4))),
    (lambda x, y: x @ y, ((3,), (3,))),
    (lambda x, y: x @ y, ((2, 2, 3), (3,))),
    (lambda x: x[1:, ::2].sum(0), ((4, 5),)),
    (lambda x: fg.flip(x, axis=0).reshape(-1)[::-1], ((2, 3),)),
    (lambda x: x.T @ x, ((3, 2),)),
    (lambda x: x.max(-1) + x.argmax(0).sum(), ((3, 3),)),
    (lambda x: fg.concat([x, x * 2], axis=1), ((2, 3),)),
    (lambda x: x[fg.asarray([1, 0, 1])], ((3, 2),)),
    (lambda x: fg.var(x, axis=0), ((5, 2),)),
    (lambda x, y: fg.where(x > y, x, y), ((3,), (1,))),
    (lambda x: F.layer_norm(x, (4,)), ((3, 4),)),
    (lambda x: fg.prod(x, axis=1), ((3, 4),)),
    (lambda x: x.mean(), ((),)),
]


@pytest.mark.parametrize(("function", "shapes"), FUNCTIONS, ids=range(len(FUNCTIONS)))
@pytest.mark.parametrize("size", [1, 3])
def test_as_a_loop(
    function: Callable[..., Any], shapes: tuple[tuple[int, ...], ...], size: int
) -> None:
    args = [values(size, *shape) for shape in shapes]
    expected = looped(function, *args)
    over = fg.vmap(function)
    assert_close(over(*args), expected, rtol=1e-10, atol=1e-12)
    assert_close(fg.compile(over)(*args), expected, rtol=1e-10, atol=1e-12)
    assert_close(fg.vmap(fg.compile(function))(*args), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("number", [0, 1, 4, 9, 11, 13])
def test_gradients_of_each_element(number: int) -> None:
    function, shapes = FUNCTIONS[number]
    args = [values(3, *shape) for shape in shapes]

    def loss(*x: Any) -> Any:
        return (function(*x) ** 2).sum()

    expected = looped(fg.grad(loss), *args)
    assert_close(fg.vmap(fg.grad(loss))(*args), expected, rtol=1e-9, atol=1e-10)
    both = fg.grad(lambda *x: fg.vmap(loss)(*x).sum())
    assert_close(both(*args), expected, rtol=1e-9, atol=1e-10)
    assert_close(fg.compile(fg.vmap(fg.grad(loss)))(*args), expected, rtol=1e-9, atol=1e-10)
    check_grads(fg.vmap(function), args)


def test_no_elements() -> None:
    empty = fg.zeros((0, 3))
    assert fg.vmap(lambda x: x.sum())(empty).shape == (0,)
    assert fg.vmap(lambda x: (x, x @ fg.ones((3, 2))))(empty)[1].shape == (0, 2)
    assert fg.compile(fg.vmap(lambda x: fg.exp(x)))(empty).shape == (0, 3)


def test_dtypes_stay() -> None:
    x = fg.asarray([1, 2, 3])
    y = fg.vmap(lambda a: a + 1)(x)
    assert y.dtype == fg.int64
    assert fg.vmap(lambda a: a > 1)(x).tolist() == [False, True, True]
    assert fg.vmap(lambda a: a * 1.5)(x).dtype == fg.float32


# --- axes -----------------------------------------------------------------------------------------


def test_axes_of_arguments_and_results() -> None:
    x, y = values(2, 3, 4), values(4, 5)
    found = fg.vmap(lambda a, b: a.sum() * b, in_axes=(2, 0), out_axes=1)(x, y)
    expected = (x.numpy().sum((0, 1))[:, None] * y.numpy()).T
    assert_close(found, expected)
    assert_close(fg.vmap(lambda a, b: a.sum() * b, (-1, -2), -1)(x, y), expected)
    named = fg.vmap(lambda a, b: a.sum() * b, in_dims=(2, 0), out_dims=1)
    assert_close(named(x, y), expected)


def test_what_is_not_mapped() -> None:
    x, w = values(3, 2), values(2)
    expected = x.numpy() * w.numpy()
    assert_close(fg.vmap(lambda a, b: a * b, in_axes=(0, None))(x, w), expected)
    assert_close(fg.vmap(lambda a: a * w)(x), expected)
    assert_close(fg.vmap(lambda a, *, b: a * b)(x, b=w), expected)
    found = fg.vmap(lambda a: (a, w, 2.0), out_axes=(0, None, 0))(x)
    assert_close(found[1], w)
    assert found[2].tolist() == [2, 2, 2]
    assert fg.vmap(lambda: fg.ones(2), axis_size=3)().shape == (3, 2)
    assert_close(fg.vmap(lambda a, name: a if name == "same" else -a)(x, "same"), x)


def test_containers() -> None:
    tree = {"a": values(3, 2), "b": [values(2, 3), values(4)]}
    found = fg.vmap(
        lambda t, k: {"sum": t["a"].sum() + t["b"][0].sum(), "all": (t["b"][1] * k,)},
        in_axes=({"b": [1, None], "a": 0}, None),
        out_axes={"sum": 0, "all": 1},
    )(tree, 2.0)
    a, b, c = tree["a"].numpy(), tree["b"][0].numpy(), tree["b"][1].numpy()
    assert_close(found["sum"], a.sum(1) + b.sum(0))
    assert_close(found["all"][0], np.repeat(c[:, None] * 2, 3, 1))


def test_nested() -> None:
    x, y = values(3), values(4)
    outer = fg.vmap(fg.vmap(lambda a, b: a * b, (None, 0)), (0, None))
    assert_close(outer(x, y), np.outer(x.numpy(), y.numpy()))
    assert_close(fg.compile(outer)(x, y), np.outer(x.numpy(), y.numpy()))


def test_chunks() -> None:
    x, y = values(7, 3), values(3)
    over = fg.vmap(lambda a: (a * y, y), out_axes=(1, None), chunk_size=3)
    found, same = over(x)
    assert_close(found, (x.numpy() * y.numpy()).T)
    assert_close(same, y)


# --- gradients through it -------------------------------------------------------------------------


def test_captured_parameters_get_gradients() -> None:
    layer = nn.Linear(3, 2)
    x = fg.asarray(RNG.normal(size=(5, 3)).astype("float32"))
    (fg.vmap(layer)(x) ** 2).sum().backward()
    grad = layer.weight.grad
    layer.weight.grad = layer.bias.grad = None
    (layer(x) ** 2).sum().backward()
    assert_close(grad, layer.weight.grad, rtol=1e-5, atol=1e-5)


def test_detached_inside() -> None:
    x = values(3)
    found = fg.grad(lambda v: fg.vmap(lambda a: a * a.detach())(v).sum())(x)
    assert_close(found, x)
    with fg.no_grad():
        assert not fg.vmap(lambda a: a * 2)(fg.ones(3, requires_grad=True)).requires_grad


def test_custom_rules_inside() -> None:
    @fg.custom_vjp
    def scaled(x: Any, w: Any) -> Any:
        return x * w

    def backward(saved: Any, g: Any) -> Any:
        x, w = saved
        return 10 * g * w, (g * x).sum()

    scaled.defvjp(lambda x, w: (x * w, (x, w)), backward)
    x, w = values(4, 3), values()
    one = fg.grad(lambda a, b: (scaled(a, b) ** 2).sum(), argnums=(0, 1))
    expected = [one(row, w) for row in x]
    by_x, by_w = fg.vmap(one, in_axes=(0, None))(x, w)
    assert_close(by_x, np.stack([a.numpy() for a, _ in expected]))
    assert_close(by_w, np.stack([b.numpy() for _, b in expected]))
    whole = fg.grad(
        lambda a, b: (fg.vmap(scaled, in_axes=(0, None))(a, b) ** 2).sum(), argnums=(0, 1)
    )
    for given in (whole(x, w), fg.compile(whole)(x, w)):
        assert_close(given[0], by_x)
        assert_close(given[1], by_w.sum())


# --- random numbers -------------------------------------------------------------------------------


def test_random_numbers() -> None:
    x = fg.zeros((4, 5))
    fg.random.seed(3)
    same = fg.vmap(lambda a: a + fg.random.uniform(5), randomness="same")(x)
    assert (same == same[0]).all()
    other = fg.vmap(lambda a: a + fg.random.uniform(5), randomness="different")(x)
    assert len(np.unique(other.numpy())) == 20
    after = fg.random.uniform(5)
    fg.random.seed(3)
    drawn = fg.random.uniform((6, 5)).numpy()
    assert_close(same[0], drawn[0])
    assert_close(other, drawn[1:5])
    assert_close(after, drawn[5])


def test_random_numbers_nested_and_compiled() -> None:
    def draw() -> fg.Tensor:
        return fg.random.normal(3)

    inner = fg.vmap(draw, axis_size=2, randomness="different")
    both = fg.vmap(inner, axis_size=4, randomness="different")
    fg.random.seed(1)
    found = both()
    assert len(np.unique(found.numpy())) == 24
    fg.random.seed(1)
    assert_close(fg.compile(both)(), found, rtol=1e-5, atol=1e-6)


# --- what cannot be -------------------------------------------------------------------------------


def fails(kind: type[FusegradError], call: Callable[[], Any]) -> FusegradError:
    with pytest.raises(kind) as raised:
        call()
    return raised.value


def test_errors_of_arguments() -> None:
    x, y = fg.ones((3, 2)), fg.ones((4, 2))
    error = fails(BatchingError, lambda: fg.vmap(lambda a, b: a + b)(x, y))
    assert error.message == (
        "vmap over axes of different extents: 3 of 0, 4 of 1 (arguments by number)"
    )
    error = fails(BatchingError, lambda: fg.vmap(lambda a: a, 2)(x))
    assert error.message == "vmap over axis 2 of argument 0, which has 2 axes"
    error = fails(BatchingError, lambda: fg.vmap(lambda a: a)(1.0))
    assert error.message == "vmap over axis 0 of argument 0, which has 0 axes"
    error = fails(BatchingError, lambda: fg.vmap(lambda a: a, None)(x))
    assert error.message == "vmap: nothing is mapped over"
    error = fails(BatchingError, lambda: fg.vmap(lambda a: a, randomness="some"))
    assert error.message == "vmap: there is no randomness 'some'"
    error = fails(BatchingError, lambda: fg.vmap(lambda a: a, chunk_size=0))
    assert error.message == "vmap: chunks of 0 elements"
    error = fails(ArgumentStructureError, lambda: fg.vmap(lambda a: a, (0, 0))(x))
    assert error.message == "vmap: in_axes has 2 entries for 1 positional arguments"
    error = fails(ArgumentStructureError, lambda: fg.vmap(lambda a: a, (1.5,))(x))
    assert error.message == "vmap: in_axes holds 1.5"
    error = fails(ArgumentStructureError, lambda: fg.vmap(lambda a: a, ([0, 0],))(x))
    assert "in_axes has the structure" in error.message


def test_errors_of_results() -> None:
    x = fg.ones((3, 2))
    error = fails(BatchingError, lambda: fg.vmap(lambda a: a, out_axes=None)(x))
    assert error.message == (
        "vmap: out_axes is None for the result, which differs between the elements"
    )
    error = fails(BatchingError, lambda: fg.vmap(lambda a: a, out_axes=2)(x))
    assert error.message == "vmap over axis 2 of the result, which has 2 axes"


def test_values_of_elements_cannot_be_looked_at() -> None:
    error = fails(TracedValueError, lambda: fg.vmap(lambda a: a if a > 0 else -a)(fg.ones(3)))
    assert "an argument of a function that vmap maps over a batch" in error.message
    with fg.eager():
        fails(TracedValueError, lambda: fg.vmap(lambda a: float(a))(fg.ones(3)))


def test_random_numbers_are_refused() -> None:
    error = fails(BatchingError, lambda: fg.vmap(lambda a: a + fg.random.rand())(fg.ones(3)))
    assert error.message == "random numbers are drawn in a function that vmap maps"


def test_state_from_outside_cannot_take_a_batch() -> None:
    total = fg.zeros(())

    def add(a: fg.Tensor) -> fg.Tensor:
        total.add_(a)
        return a

    error = fails(BatchingError, lambda: fg.vmap(add)(fg.ones(3)))
    assert error.message == (
        "a tensor of shape () from outside of a function that vmap maps is given values that "
        "differ between the elements"
    )
    assert float(total) == 0
    count = fg.zeros(())

    def own(a: fg.Tensor) -> fg.Tensor:
        count.add_(1)
        mine = fg.zeros(2)
        mine += a
        mine[0] = 5
        return mine

    assert fg.vmap(own)(fg.ones(3)).tolist() == [[5, 1]] * 3
    assert float(count) == 1


def test_in_eager_mode() -> None:
    with fg.eager():
        assert fg.vmap(lambda a: a * 2)(fg.ones(3)).tolist() == [2, 2, 2]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("randomness", ["different", "same"])
def test_draws_in_loops_and_branches_of_a_batch(randomness: str, compiled: bool) -> None:
    def until(start: Any) -> Any:
        step = lambda s: (s[0] + fg.random.uniform(()), s[1] + 1)  # noqa: E731
        return fg.while_loop(lambda s: s[0] < 5.0, step, (start, 0))

    def perhaps(flag: Any, x: Any) -> Any:
        return fg.cond(flag, lambda x: x + fg.random.uniform(()), lambda x: x * 1.0, x)

    def run(x: Any, flags: Any) -> Any:
        sums, counts = fg.vmap(until, randomness=randomness)(x)
        chosen = fg.vmap(perhaps, randomness=randomness)(flags, x)
        return sums, counts, chosen, fg.random.uniform(())

    x, flags = fg.asarray([1.0, 4.5, 1.0, 9.0]), fg.asarray([True, False, True, True])
    fg.random.seed(3)
    run = fg.compile(run) if compiled else run
    sums, counts, chosen, after = (np.asarray(v) for v in run(x, flags))
    assert ((sums[:3] >= 5) & (sums[:3] < 6)).all()
    assert sums[3] == 9
    assert counts[3] == 0
    assert counts[0] > counts[1] > 0
    assert (sums[0] == sums[2]) == (randomness == "same")
    draws = chosen - np.asarray(x)
    assert draws[1] == 0
    assert (np.abs(draws[0] - draws[2]) < 1e-6) == (randomness == "same")
    assert not np.isin(after, draws)
    again = np.asarray(run(x, flags)[0])
    assert again[0] != sums[0]


def _doubled(x: Any) -> Any:
    function = fg.custom_vjp(lambda x: (fg.sin(x), x * 2))
    function.defvjp(lambda x: (function(x), x), lambda x, g: (g[0] * fg.cos(x) + g[1],))
    return function(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: fg.while_loop(lambda s: s.sum() < 8.0, lambda s: s * 1.5 + 1, x),
        lambda x: fg.scan(lambda s, r: (s * r, s + r), x[0], x),
        lambda x: fg.cond(x[0] > 1, lambda x: (x * 2, x), lambda x: (x, x - 1), x),
        lambda x: fg.switch(x[0].astype("int64"), [fg.sin, fg.cos, fg.exp], x),
        lambda x: fg.linalg.qr(x[:, None] * x + fg.eye(2)),
        lambda x: fg.grad(lambda x: fg.scan(lambda s, r: (s * r, None), x[0], x)[0])(x),
        _doubled,
    ],
)
def test_maps_of_maps(function: Any) -> None:
    x = np.linspace(0.2, 2.9, 12).reshape(2, 3, 2)
    twice = fg.vmap(fg.vmap(function))
    each = [fg.pytree.flatten(function(fg.asarray(x[at])))[0] for at in np.ndindex(2, 3)]
    for run in (twice, fg.compile(twice)):
        for number, y in enumerate(fg.pytree.flatten(run(x))[0]):
            expected = np.stack([np.asarray(leaves[number]) for leaves in each])
            np.testing.assert_allclose(
                np.asarray(y).reshape(expected.shape), expected, rtol=1e-9, atol=1e-12
            )
