"""Loops and branches on values: as Python's own, compiled and not, with gradients and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fusegrad as fg
from fusegrad.errors import (
    ArgumentStructureError,
    DTypeError,
    LeakedTracerError,
    NotDifferentiableError,
    ShapeError,
    StateError,
    TracedValueError,
)
from fusegrad.testing import assert_no_recompile, check_grads

Array = npt.NDArray[Any]
T = fg.Tensor


def numbers(*shape: int, seed: int = 0, dtype: str = "float64") -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def both(function: Callable[..., Any], *args: Any) -> list[list[Array]]:
    """The results, flat: interpreted, op by op, compiled, and compiled again."""
    args = tuple(map(fg.asarray, args))
    compiled = fg.compile(function)
    results = []
    for run in (function, fg.eager()(function), compiled, compiled):
        leaves, _ = fg.pytree.flatten(run(*args))
        results.append([leaf.numpy() for leaf in leaves])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            tolerance = 1e-12 if a.dtype == np.float64 else 1e-5
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=1e-7)
    return results


def cell(carry: T, x: T, w: T) -> tuple[T, T]:
    new = fg.tanh(carry @ w + x)
    return new, new * x


def unrolled(w: T, h: T, xs: T, reverse: bool = False) -> tuple[T, T]:
    ys: list[T] = []
    steps = range(xs.shape[0])
    for i in reversed(steps) if reverse else steps:
        h, y = cell(h, xs[i], w)
        ys.append(y)
    return h, fg.stack(ys[::-1] if reverse else ys)


def scanned(w: T, h: T, xs: T, **more: Any) -> tuple[T, T]:
    return fg.scan(lambda c, x: cell(c, x, w), h, xs, **more)


# --- scan -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("every", [None, 2])
def test_scan_is_the_unrolled_loop(length: int, reverse: bool, every: int | None) -> None:
    w, h, xs = numbers(3, 3), numbers(2, 3, seed=1), numbers(length, 2, 3, seed=2)

    def loss(run: Callable[..., tuple[T, T]], *args: T, **more: Any) -> T:
        last, ys = run(*args, reverse=reverse, **more)
        return (last * last).sum() + (fg.sin(ys) * ys).sum()

    def values(w: T, h: T, xs: T) -> Any:
        more = {"checkpoint_every": every}
        found = fg.value_and_grad(lambda *a: loss(scanned, *a, **more), (0, 1, 2))(w, h, xs)
        return scanned(w, h, xs, reverse=reverse, **more), found

    results = both(values, w, h, xs)[0]
    last, ys = unrolled(*map(fg.asarray, (w, h, xs)), reverse=reverse)
    expected = fg.value_and_grad(lambda *a: loss(unrolled, *a), (0, 1, 2))(w, h, xs)
    leaves, _ = fg.pytree.flatten(((last, ys), expected))
    for found, wanted in zip(results, leaves, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("every", [None, 2])
def test_gradients_of_scan_to_second_order(every: int | None) -> None:
    def f(w: T, h: T, xs: T) -> T:
        last, ys = scanned(w, h, xs, checkpoint_every=every)
        return last.sum() + (ys * ys).sum()

    arguments = numbers(2, 2) * 0.5, numbers(1, 2, seed=1), numbers(3, 1, 2, seed=2)
    check_grads(f, arguments)
    first = fg.grad(lambda w: fg.grad(f)(w, *arguments[1:]).sum())
    np.testing.assert_allclose(
        first(arguments[0]).numpy(), fg.compile(first)(arguments[0]).numpy(), rtol=1e-10
    )


def test_containers_integers_and_several_carries() -> None:
    def f(xs: T) -> Any:
        def step(carry: dict[str, T], x: tuple[T, T]) -> Any:
            a, b = carry["a"], carry["b"]
            return {"a": b, "b": a + b + x[0]}, {"sum": a, "pair": (x[1], b * 2), "none": None}

        start = {"a": fg.asarray(0), "b": fg.asarray(1)}
        return fg.scan(step, start, (xs, xs > 2))

    last, ys = f(fg.asarray([1, 2, 3, 4]))
    assert ys["none"] is None
    a, b, kept = 0, 1, []
    for x in (1, 2, 3, 4):
        kept.append(a)
        a, b = b, a + b + x
    assert (last["a"].item(), last["b"].item()) == (a, b)
    assert ys["sum"].numpy().tolist() == kept
    assert ys["pair"][0].numpy().tolist() == [False, False, True, True]
    both(f, np.array([1, 2, 3, 4]))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 1, 3, 1, 2)])
def test_scan_of_every_shape(shape: tuple[int, ...]) -> None:
    def f(xs: T) -> Any:
        return fg.scan(lambda c, x: (c * 0.5 + x, fg.exp(x) + c), fg.zeros(shape), xs)

    given = numbers(4, *shape, dtype="float32")
    found = both(f, given)[0]
    carry, ys = np.zeros(shape, np.float32), []
    for x in given:
        ys.append(np.exp(x) + carry)
        carry = carry * np.float32(0.5) + x
    np.testing.assert_allclose(found[0], carry, rtol=1e-5)
    np.testing.assert_allclose(found[1], np.stack(ys), rtol=1e-5)


def test_scan_without_iterations() -> None:
    def f(xs: T) -> Any:
        return fg.scan(lambda c, x: (c + x, (x * 2, c)), fg.ones(3), xs)

    found = both(f, np.zeros((0, 3), np.float32))[0]
    assert found[0].tolist() == [1, 1, 1]
    assert [y.shape for y in found[1:]] == [(0, 3), (0, 3)]


def test_length_alone_and_numbers_as_carry() -> None:
    def f(x: T) -> Any:
        return fg.scan(lambda c, _: (c * x, c), 1, length=4)

    found = both(f, np.float32(2))[0]
    assert found[0].dtype == np.float32
    assert found[0] == 16
    assert found[1].tolist() == [1, 2, 4, 8]


def test_a_carry_that_never_changes_and_one_that_moves() -> None:
    def f(a: T, b: T) -> Any:
        return fg.scan(lambda c, _: ((c[1], c[0], c[2]), c[0]), (a, b, a + b), length=5)

    found = both(f, numbers(2), numbers(2, seed=1))[0]
    np.testing.assert_array_equal(found[0], numbers(2, seed=1))
    np.testing.assert_array_equal(found[1], numbers(2))


def test_what_does_not_depend_on_the_iteration_is_computed_once() -> None:
    def f(w: T, xs: T) -> T:
        return fg.scan(lambda c, x: (c + x @ fg.exp(w), None), fg.zeros(3), xs)[0]

    w, xs = numbers(3, 3, dtype="float32"), numbers(5, 3, dtype="float32")
    found = both(f, w, xs)[0][0]
    np.testing.assert_allclose(found, (xs @ np.exp(w)).sum(0), rtol=1e-4)
    program = fg.compile(f).explain(w, xs)["program"]
    before, loop = program.split("loop 5")
    assert "exp" in before
    assert "exp" not in loop


def test_nested_loops_and_branches() -> None:
    def f(xs: T) -> Any:
        def outer(total: T, row: T) -> Any:
            def inner(c: T, x: T) -> Any:
                bigger = fg.cond(x > 0, lambda v: v * 2, lambda v: v - total, x)
                return c + bigger, c

            row_sum, parts = fg.scan(inner, total * 0.5, row)
            return row_sum, parts

        return fg.scan(outer, fg.asarray(1.0, dtype="float64"), xs)

    given = numbers(3, 4)
    found = both(f, given)[0]
    total, parts = 1.0, np.zeros((3, 4))
    for i, row in enumerate(given):
        c = total * 0.5
        for j, x in enumerate(row):
            parts[i, j] = c
            c = c + (x * 2 if x > 0 else x - total)
        total = c
    np.testing.assert_allclose(found[0], total)
    np.testing.assert_allclose(found[1], parts)
    check_grads(lambda xs: f(xs)[0] + f(xs)[1].sum(), (given,))


def test_backward_and_modules_inside_of_compiled_steps() -> None:
    w = fg.asarray(numbers(3, 3, dtype="float32"), requires_grad=True)

    @fg.compile
    def step(xs: T) -> T:
        last, _ = fg.scan(lambda c, x: cell(c, x, w), fg.zeros((2, 3)), xs)
        loss = (last * last).sum()
        w.grad = None
        loss.backward()
        with fg.no_grad():
            w.data = w - 0.1 * w.grad
        return loss

    xs = numbers(6, 2, 3, dtype="float32")
    losses = [float(step(xs)) for _ in range(4)]
    assert losses[-1] < losses[0]
    reference = fg.asarray(numbers(3, 3, dtype="float32"))
    for loss in losses:
        value, gradient = fg.value_and_grad(
            lambda w: (unrolled(w, fg.zeros((2, 3)), fg.asarray(xs))[0] ** 2).sum()
        )(reference)
        assert float(value) == pytest.approx(loss, rel=1e-4)
        reference = reference - 0.1 * gradient


def test_results_outside_of_gradients() -> None:
    w = fg.asarray(numbers(3, 3), requires_grad=True)
    with fg.no_grad():
        last, _ = scanned(w, fg.zeros((2, 3), dtype="float64"), fg.asarray(numbers(4, 2, 3)))
    assert not last.requires_grad
    last, ys = scanned(w, fg.zeros((2, 3), dtype="float64"), fg.asarray(numbers(4, 2, 3)))
    assert last.requires_grad
    assert ys.requires_grad


def test_the_size_of_the_code_does_not_depend_on_the_length() -> None:
    sizes = set()
    for length in (10, 1000):
        f = fg.compile(
            fg.grad(lambda w, h, xs: scanned(w, h, xs)[0].sum()),
        )
        arguments = [numbers(*s, dtype="float32") * 0.1 for s in ((4, 4), (2, 4), (length, 2, 4))]
        f(*arguments)
        sizes.add((f.stats().kernels, f.explain(*arguments)["kernels"].count("kernel ")))
    assert len(sizes) == 1


def test_calls_do_not_compile_again() -> None:
    f = fg.compile(lambda xs: fg.scan(lambda c, x: (c + x, c), fg.zeros(2), xs))
    f(np.ones((3, 2), np.float32))
    with assert_no_recompile(f):
        f(np.zeros((3, 2), np.float32))


def test_random_numbers_differ_between_iterations_and_from_those_after() -> None:
    def f() -> Any:
        _, ys = fg.scan(lambda c, _: (c, fg.random.uniform(3)), (), length=4)
        return ys, fg.random.uniform(3)

    def draws(function: Callable[[], Any]) -> list[float]:
        fg.random.seed(3)
        return [v for ys, y in (function(), function()) for v in [*ys.numpy().ravel(), *y.numpy()]]

    plain = draws(f)
    assert len(set(plain)) == 30
    assert draws(fg.compile(f)) == plain
    fg.random.seed(3)
    unrolled_draws = [fg.random.uniform(3).numpy() for _ in range(5)]
    np.testing.assert_array_equal(np.concatenate(unrolled_draws), plain[:15])


def test_integer_state_from_outside_is_written_when_the_loop_ends() -> None:
    count = fg.asarray(0)

    def f(xs: T) -> T:
        def step(c: T, x: T) -> Any:
            nonlocal count
            count += 2
            return c + x * count, None

        return fg.scan(step, 0, xs)[0]

    assert f(fg.asarray([1, 1, 1])).item() == 12
    assert count.item() == 6
    compiled = fg.compile(f)
    assert compiled(np.array([1, 1, 1])).item() == 3 * 6 + 12
    assert compiled(np.array([1, 1, 1])).item() == 3 * 12 + 12
    assert count.item() == 18


# --- errors ---------------------------------------------------------------------------------------


def test_a_carry_keeps_its_type() -> None:
    with pytest.raises(ShapeError, match=r"scan: carry\['h'\] is f32\[2\] and becomes f32\[1, 2\]"):
        fg.scan(lambda c, _: ({"h": c["h"][None]}, None), {"h": fg.zeros(2)}, length=3)
    with pytest.raises(DTypeError, match=r"carry is i64\[2\] and becomes f32\[2\]") as caught:
        fg.scan(lambda c, _: (c * 0.5, None), fg.zeros(2, dtype="int64"), length=3)
    assert "test_control.py" in str(caught.value)
    message = "the carry changes its structure: carry was a leaf and is a tuple"
    with pytest.raises(ArgumentStructureError, match=message):
        fg.scan(lambda c, _: ((c, c), None), fg.zeros(2), length=3)
    with pytest.raises(ArgumentStructureError, match=r"carry\[1\] was a leaf and is a list"):
        fg.scan(lambda c, _: ((c[0], [c[1]]), None), (fg.zeros(2), 0.0), length=3)
    with pytest.raises(ArgumentStructureError, match="did not return a pair"):
        fg.scan(lambda c, _: c, fg.zeros(2), length=3)


def test_lengths_must_agree() -> None:
    with pytest.raises(ShapeError, match=r"xs\[1\] has 3 slices, and not 2"):
        fg.scan(lambda c, x: (c, None), 0.0, (fg.zeros(2), fg.zeros(3)))
    with pytest.raises(ShapeError, match="neither xs nor a length"):
        fg.scan(lambda c, x: (c, None), 0.0)
    with pytest.raises(ShapeError, match="has no axis"):
        fg.scan(lambda c, x: (c, None), 0.0, fg.asarray(1.0))
    with pytest.raises(ShapeError, match="length is -1"):
        fg.scan(lambda c, x: (c, None), 0.0, length=-1)


def test_bodies_cannot_be_looked_into_or_leak() -> None:
    kept = []

    def looks(c: T, _: Any) -> Any:
        return (c if c > 0 else -c), None

    def leaks(c: T, _: Any) -> Any:
        kept.append(c * 2)
        return c, None

    with pytest.raises(TracedValueError, match="the carry of scan"):
        fg.scan(looks, fg.asarray(1.0), length=2)
    fg.scan(leaks, fg.asarray(1.0), length=2)
    with pytest.raises(LeakedTracerError):
        float(kept[0])


def test_writes_that_gradients_lead_through_are_refused() -> None:
    total = fg.zeros(2)

    def step(c: T, x: T) -> Any:
        nonlocal total
        total += x
        return c, None

    with pytest.raises(StateError, match="scan writes to a tensor"):
        fg.scan(step, 0.0, fg.ones((3, 2)))
    assert total.numpy().tolist() == [0, 0]
    assert not total.requires_grad
    w = fg.ones(2, requires_grad=True)

    def assigns(c: T, _: Any) -> Any:
        w.grad = c
        return c, None

    with pytest.raises(StateError, match=r"scan assigns \.grad"):
        fg.scan(assigns, fg.ones(2), length=2)


# --- while ----------------------------------------------------------------------------------------


def collatz(n: T) -> T:
    def body(state: tuple[T, T]) -> tuple[T, T]:
        n, steps = state
        return fg.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1

    return fg.while_loop(lambda state: state[0] != 1, body, (n, 0))[1]


@pytest.mark.parametrize(("start", "steps"), [(1, 0), (2, 1), (27, 111)])
def test_while_runs_as_long_as_the_condition_holds(start: int, steps: int) -> None:
    assert both(collatz, np.int64(start))[0][0] == steps


def test_while_with_large_values_and_constants() -> None:
    def f(a: T, limit: T) -> Any:
        return fg.while_loop(lambda x: fg.max(x) < limit, lambda x: x * 1.5 + a, a)

    for limit in (-10.0, 5.0, 1000.0):
        a = np.abs(numbers(4, 5))
        expected = a
        while expected.max() < limit:
            expected = expected * 1.5 + a
        np.testing.assert_allclose(both(f, a, np.float64(limit))[0][0], expected)


def newton(a: T, **more: Any) -> T:
    def body(state: tuple[T, T]) -> tuple[T, T]:
        x, _ = state
        new = 0.5 * (x + a / x)
        return new, fg.abs(new - x)

    start = (a, fg.ones_like(a))
    return fg.while_loop(lambda s: s[1] > 1e-12, body, start, **more)[0]


def test_while_with_a_bound_has_gradients() -> None:
    bounded = lambda a: newton(a, max_iterations=30)  # noqa: E731
    for run in (bounded, fg.compile(bounded)):
        assert float(run(fg.asarray(9.0, dtype="float64"))) == pytest.approx(3)
    gradient = fg.grad(bounded)
    for run in (gradient, fg.compile(gradient)):
        assert float(run(np.float64(9))) == pytest.approx(1 / 6)
    check_grads(lambda a: newton(a, max_iterations=3), (2.0,))


def test_while_without_a_bound_has_none() -> None:
    with pytest.raises(NotDifferentiableError, match="max_iterations"):
        fg.grad(newton)(np.float64(9))


def test_a_condition_is_one_bool() -> None:
    with pytest.raises(ShapeError, match=r"the condition returned bool\[2\], not one bool"):
        fg.while_loop(lambda x: x < 1, lambda x: x + 1, fg.zeros(2))
    with pytest.raises(ShapeError, match=r"the condition returned f32\[\]"):
        fg.while_loop(lambda x: x, lambda x: x + 1, fg.zeros(()))
    with pytest.raises(DTypeError, match="while_loop: carry is"):
        fg.while_loop(lambda x: x < 3, lambda x: x * 0.5, fg.asarray(1))


def test_fori_loop() -> None:
    def static(x: T) -> Any:
        return fg.fori_loop(2, 6, lambda i, v: v * x + i, x)

    def traced(x: T, n: T) -> Any:
        return fg.fori_loop(2, n, lambda i, v: v * x + i, x)

    expected = 1.5
    for i in range(2, 6):
        expected = expected * 1.5 + i
    assert both(static, np.float64(1.5))[0][0] == pytest.approx(expected)
    assert both(traced, np.float64(1.5), np.int32(6))[0][0] == pytest.approx(expected)
    assert both(traced, np.float64(1.5), np.int32(-6))[0][0] == 1.5
    check_grads(static, (1.5,))
    assert fg.fori_loop(3, 3, lambda i, v: v + 1, 7).item() == 7
    with pytest.raises(DTypeError, match="fori_loop: a bound is"):
        fg.fori_loop(0, fg.asarray(2.5), lambda i, v: v, 1.0)


# --- branches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1.5, 2.5])
def test_cond_runs_one_branch(value: float) -> None:
    w = fg.asarray(numbers(3))

    def f(x: T) -> Any:
        return fg.cond(x.sum() > 0, lambda a: (fg.exp(a) * w, a * 0), lambda a: (a, fg.log(-a)), x)

    x = np.full(3, value)
    found = both(f, x)[0]
    expected = (np.exp(x) * w.numpy(), x * 0) if value > 0 else (x, np.log(-x))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b)
    check_grads(lambda x: f(x)[0].sum() + (f(x)[1] ** 2).sum(), (x,))


def test_gradients_of_branches_reach_what_they_take_from_outside() -> None:
    def f(w: T, x: T) -> T:
        return fg.cond(x > 0, lambda: w * x, lambda: x * 1.0)

    for run in (fg.grad(f, (0, 1)), fg.compile(fg.grad(f, (0, 1)))):
        assert [float(g) for g in run(3.0, 2.0)] == [2, 3]
        assert [float(g) for g in run(3.0, -2.0)] == [0, 1]


def test_switch_takes_the_nearest_branch() -> None:
    def f(i: T, x: T) -> T:
        return fg.switch(i, [lambda v: v, lambda v: v * 10.0, lambda v: v * 100], x)

    for i, factor in ((-3, 1), (0, 1), (1, 10), (2, 100), (9, 100)):
        x = numbers(2, 2)
        np.testing.assert_allclose(both(f, np.int32(i), x)[0][0], x * factor)
    assert fg.switch(1, [lambda: 5, lambda: 6]) == 6
    assert fg.cond(False, lambda: 5, lambda: 6) == 6


def test_branches_agree() -> None:
    x = fg.asarray(1.0)
    assert fg.cond(x > 0, lambda: 1, lambda: x).dtype == fg.float32
    with pytest.raises(ShapeError, match=r"cond: result is f32\[2\] in false_fun, f32\[\] in true"):
        fg.cond(x > 0, lambda: x, lambda: fg.zeros(2))
    with pytest.raises(
        ArgumentStructureError,
        match="false_fun and true_fun return different structures: result was",
    ):
        fg.cond(x > 0, lambda: (x, x), lambda: x)
    with pytest.raises(ShapeError, match=r"the condition is bool\[2\]"):
        fg.cond(fg.zeros(2) > 0, lambda: x, lambda: x)
    assert fg.cond(x * 0, lambda: x, lambda: x + 1).item() == 2
    with pytest.raises(ArgumentStructureError, match="no branches"):
        fg.switch(fg.asarray(0), [])
    with pytest.raises(DTypeError, match="the index is f32"):
        fg.switch(x, [lambda: x])


def test_random_numbers_of_branches() -> None:
    def f(flag: T) -> Any:
        first = fg.cond(flag, lambda: fg.random.uniform(2), lambda: fg.zeros(2))
        return first, fg.random.uniform(2)

    for function in (f, fg.compile(f)):
        fg.random.seed(0)
        a, b = function(np.bool_(True)), function(np.bool_(False))
        c = function(np.bool_(True))
        drawn = [*a[0].numpy(), *a[1].numpy(), *b[1].numpy(), *c[0].numpy(), *c[1].numpy()]
        assert len(set(drawn)) == 10
        fg.random.seed(0)
        np.testing.assert_array_equal(fg.random.uniform(10).numpy(), drawn)


# --- map, batches and forward mode ----------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_map_in_batches(count: int) -> None:
    given = {"a": numbers(count, 3), "b": numbers(count)}
    found = fg.map(lambda x: (x["a"] * x["b"], x["b"]), given, batch_size=2)
    np.testing.assert_array_equal(found[0].numpy(), given["a"] * given["b"][:, None])
    np.testing.assert_array_equal(found[1].numpy(), given["b"])
    with pytest.raises(ShapeError, match="batch_size is 0"):
        fg.map(lambda x: x, fg.zeros(3), batch_size=0)


def test_map() -> None:
    def f(xs: T) -> Any:
        return fg.map(lambda x: {"a": fg.exp(x["v"]).sum(), "b": x["v"] @ x["v"]}, {"v": xs})

    xs = numbers(4, 3)
    found = both(f, xs)[0]
    np.testing.assert_allclose(found[0], np.exp(xs).sum(1))
    np.testing.assert_allclose(found[1], (xs * xs).sum(1))


@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, None), (None, None, 1), (0, 0, 0)])
def test_vmap_of_scan(axes: tuple[int | None, ...]) -> None:
    shapes = [(3, 3), (2, 3), (5, 2, 3)]
    arguments = []
    for seed, (shape, axis) in enumerate(zip(shapes, axes, strict=True)):
        full = shape if axis is None else (*shape[:axis], 4, *shape[axis:])
        arguments.append(numbers(*full, seed=seed))
    batched = fg.vmap(scanned, in_axes=axes)
    found = both(batched, *arguments)[0]
    for i in range(4):
        one = [
            a if axis is None else np.take(a, i, axis)
            for a, axis in zip(arguments, axes, strict=True)
        ]
        last, ys = scanned(*map(fg.asarray, one))
        np.testing.assert_allclose(found[0][i], last.numpy(), rtol=1e-10)
        np.testing.assert_allclose(found[1][i], ys.numpy(), rtol=1e-10)


def test_vmap_of_loops_and_branches_that_differ_by_element() -> None:
    starts = np.array([1, 2, 27, 7])
    assert both(fg.vmap(collatz), starts)[0][0].tolist() == [0, 1, 111, 16]

    def chosen(i: T, x: T) -> T:
        return fg.switch(i, [lambda v: v.sum(), lambda v: v[0] * 2, lambda v: v[1] * 0 + 7.0], x)

    xs = numbers(4, 2)
    found = both(fg.vmap(chosen), np.array([0, 1, 2, 5]), xs)[0][0]
    np.testing.assert_allclose(found, [xs[0].sum(), xs[1, 0] * 2, 7, 7])
    found = both(fg.vmap(chosen, in_axes=(None, 0)), np.int64(1), xs)[0][0]
    np.testing.assert_allclose(found, xs[:, 0] * 2)
    gradients = both(fg.vmap(fg.grad(lambda x, i: chosen(i, x))), xs, np.array([0, 1, 2, 5]))[0][0]
    np.testing.assert_allclose(gradients, [[1, 1], [2, 0], [0, 0], [0, 0]])


def test_forward_mode() -> None:
    arguments = numbers(3, 3), numbers(2, 3, seed=1), numbers(4, 2, 3, seed=2)
    tangents = [numbers(*a.shape, seed=9) for a in arguments]
    function = lambda *a: scanned(*a)[1]  # noqa: E731
    reference = lambda *a: unrolled(*a)[1]  # noqa: E731
    found = fg.jvp(function, arguments, tangents)[1]
    expected = fg.jvp(reference, arguments, tangents)[1]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-10)
    value, tangent = fg.jvp(newton, (np.float64(9),), (np.float64(1),))
    assert float(value) == pytest.approx(3)
    assert float(tangent) == pytest.approx(1 / 6)
    branch = lambda x: fg.cond(x > 0, lambda: x * x, lambda: -x)  # noqa: E731
    assert float(fg.jvp(branch, (3.0,), (2.0,))[1]) == 12
    assert float(fg.jvp(branch, (-3.0,), (2.0,))[1]) == -2
