"""custom_vjp, custom_jvp, checkpoint: rules of one's own, in every composition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn
from fusegrad.errors import (
    ArgumentStructureError,
    FusegradError,
    GradientError,
    NotDifferentiableError,
)
from fusegrad.testing import assert_close, check_grads

RNG = np.random.default_rng(31)


def values(*shape: int) -> fg.Tensor:
    return fg.asarray(RNG.normal(size=shape))


def fails(kind: type[FusegradError], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as raised:
        call()
    return raised.value.message


# --- custom_vjp -----------------------------------------------------------------------------------


def test_the_forward_function_may_look_at_values() -> None:
    @fg.custom_vjp
    def f(x: Any) -> Any:
        return x

    f.defvjp(lambda x: (fg.asarray(np.sin(x.numpy())), x), lambda x, g: (g * fg.cos(x),))
    x = values(3)
    assert_close(fg.grad(lambda v: f(v).sum())(x), fg.cos(x))
    assert_close(fg.grad(lambda v: fg.grad(lambda w: f(w).sum())(v).sum())(x), -fg.sin(x))


def test_arguments_without_gradient() -> None:
    @fg.custom_vjp
    def power(x: Any, n: int, name: str) -> Any:
        return x**n

    power.defvjp(lambda x, n, name: (x**n, (x, n)), lambda saved, g: (10 * g * saved[0], None, 0))
    x = values(3)
    assert_close(fg.grad(lambda v: power(v, 3, "cube").sum())(x), 10 * x)

    @fg.custom_vjp(nondiff_argnums=(0,))
    def apply(f: Callable[[Any], Any], x: Any) -> Any:
        return f(x)

    apply.defvjp(lambda f, x: (f(x), x), lambda f, x, g: (g * f(x),))
    assert_close(fg.grad(lambda v: apply(fg.exp, v).sum())(x), fg.exp(x))


def test_nested_rules() -> None:
    @fg.custom_vjp
    def inner(x: Any) -> Any:
        return x * x

    inner.defvjp(lambda x: (x * x, x), lambda x, g: (3 * g * x,))

    @fg.custom_vjp
    def outer(x: Any) -> Any:
        return inner(x) * 2

    outer.defvjp(lambda x: (inner(x) * 2, x), lambda x, g: (g * inner(x),))
    x = values(2)
    first = fg.grad(lambda v: outer(v).sum())
    assert_close(first(x), x * x)
    assert_close(fg.grad(lambda v: first(v).sum())(x), 3 * x)
    assert_close(
        fg.compile(fg.vmap(fg.grad(lambda v: first(v).sum())))(x.reshape(2, 1))[:, 0], 3 * x
    )


# --- custom_jvp -----------------------------------------------------------------------------------


def product() -> Any:
    @fg.custom_jvp
    def f(x: Any, y: Any) -> Any:
        return x * y

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x, y), (t, u) = primals, tangents
        return f(x, y), 2 * t * y + 3 * u * x

    return f


def test_tangent_rule_in_both_modes() -> None:
    f = product()
    x, y, t, u = (values(3) for _ in range(4))
    value, tangent = fg.jvp(f, (x, y), (t, u))
    assert_close(value, x * y)
    assert_close(tangent, 2 * t * y + 3 * u * x)
    by_x, by_y = fg.grad(lambda a, b: f(a, b).sum(), argnums=(0, 1))(x, y)
    assert_close(by_x, 2 * y)
    assert_close(by_y, 3 * x)
    mixed = fg.grad(lambda b: fg.grad(lambda a: f(a, b).sum())(x).sum())(y)
    assert_close(mixed, 2 * fg.ones_like(x))
    assert_close(fg.jacfwd(f)(x, y), fg.jacrev(f)(x, y))
    assert_close(fg.compile(fg.vmap(fg.grad(f)))(x, y), 2 * y)
    assert_close(fg.grad(lambda a: fg.vmap(f, (0, None))(a, y[0]).sum())(x), 2 * y[0] * fg.ones(3))
    assert_close(fg.vmap(lambda a: fg.jvp(f, (a, y), (a, None))[1])(x)[1], 2 * x[1] * y)


def test_tangent_rule_in_parts() -> None:
    @fg.custom_jvp
    def f(x: Any, y: Any, n: Any) -> Any:
        return fg.sin(x) * y

    f.defjvps(lambda t, value, x, y, n: t * fg.cos(x) * y, None, None)
    x, y = values(3), values(3)
    by_x, by_y = fg.grad(lambda a, b: f(a, b, 3).sum(), argnums=(0, 1))(x, y)
    assert_close(by_x, fg.cos(x) * y)
    assert not by_y.any()
    check_grads(lambda a: f(a, y, 3), (x,))


def test_containers_and_integers() -> None:
    @fg.custom_jvp
    def f(tree: Any, n: Any) -> Any:
        return {"y": tree["x"] * n, "n": n}

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        assert tangents[1] is None
        out = f(*primals)
        return out, {"y": 5 * tangents[0]["x"], "n": None}

    x, n = values(2), fg.asarray([1, 2])
    assert fails(
        ArgumentStructureError, lambda: fg.grad(lambda v: f({"x": v}, n)["y"].sum())(x)
    ).startswith("the rule of a custom_jvp gave a tangent with the structure")

    @f.defjvp
    def right(primals: Any, tangents: Any) -> Any:
        out = f(*primals)
        return out, {"y": 5 * tangents[0]["x"], "n": fg.zeros(2)}

    assert fg.grad(lambda v: f({"x": v}, n)["y"].sum())(x).tolist() == [5, 5]
    value, tangent = fg.jvp(lambda v: f({"x": v}, n), (x,), (fg.ones(2),))
    assert value["n"].tolist() == [1, 2]
    assert tangent["y"].tolist() == [5, 5]


def test_errors_of_tangent_rules() -> None:
    f = fg.custom_jvp(fg.sin)
    x = values(3)
    assert fails(GradientError, lambda: f(x)) == "a custom_jvp function has no rule yet"
    f.defjvp(lambda primals, tangents: fg.sin(*primals))
    assert fails(ArgumentStructureError, lambda: fg.jvp(f, (x,), (x,))) == (
        "the rule of a custom_jvp returned a Tensor"
    )
    f.defjvp(lambda primals, tangents: (fg.sin(*primals), tangents[0].sum()))
    assert fails(GradientError, lambda: fg.jvp(f, (x,), (x,))) == (
        "the rule of a custom_jvp gave a tangent of shape () for a value of shape (3,)"
    )
    f.defjvp(lambda primals, tangents: (fg.sin(*primals), tangents[0] ** 2))
    assert_close(fg.jvp(f, (x,), (x,))[1], x * x)
    assert fails(NotDifferentiableError, lambda: fg.grad(lambda v: f(v).sum())(x)) == (
        "the tangent rule is not linear in the tangents, so that there is no reverse mode"
    )


# --- checkpoint -----------------------------------------------------------------------------------


def mixed(h: Any) -> Any:
    for _ in range(3):
        h = fg.tanh(h / (1 + (h * h).sum(axis=1, keepdims=True)))
    return h


def chain(wrap: Callable[[Any], Any], count: int) -> Callable[[Any], Any]:
    def loss(x: Any) -> Any:
        for _ in range(count):
            x = wrap(mixed)(x)
        return (x * x).sum()

    return loss


def test_rule_that_calls_the_function() -> None:
    @fg.custom_vjp
    def f(x: Any) -> Any:
        return fg.sin(x)

    f.defvjp(lambda x: (f(x), x), lambda x, g: (g * 7 * fg.cos(x),))
    x = values(3)
    slope = fg.grad(lambda x: f(x).sum())
    assert_close(slope(x), 7 * fg.cos(x))
    assert_close(fg.compile(slope)(x), 7 * fg.cos(x))
    assert_close(fg.vmap(fg.grad(f))(x), 7 * fg.cos(x))
    assert_close(fg.grad(lambda x: slope(x).sum())(x), -7 * fg.sin(x))
    assert_close(fg.grad(lambda x: f(f(x)).sum())(x), 49 * fg.cos(fg.sin(x)) * fg.cos(x))


def test_checkpoint_computes_the_same() -> None:
    x = values(5, 3)
    plain, again = chain(lambda f: f, 3), chain(fg.checkpoint, 3)
    assert_close(again(x), plain(x), rtol=0, atol=0)
    assert_close(fg.grad(again)(x), fg.grad(plain)(x), rtol=1e-12, atol=1e-15)
    assert_close(fg.hessian(again)(x), fg.hessian(plain)(x), rtol=1e-10, atol=1e-13)
    assert_close(fg.jvp(again, (x,), (x,))[1], fg.jvp(plain, (x,), (x,))[1], rtol=1e-12)
    rows = fg.vmap(fg.grad(lambda v: fg.checkpoint(lambda a: fg.sin(a) ** 2)(v).sum()))
    assert_close(rows(x), 2 * fg.sin(x) * fg.cos(x), rtol=1e-12)


def test_checkpoint_needs_less_memory() -> None:
    x = np.ones((64, 1024), "float32")
    plain = fg.compile(fg.grad(chain(lambda f: f, 6)))
    again = fg.compile(fg.grad(chain(fg.checkpoint, 6)))
    assert_close(again(x), plain(x), rtol=1e-6, atol=1e-12)
    assert again.stats().arena_bytes < 0.6 * plain.stats().arena_bytes


def test_checkpoint_of_layers() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = fg.asarray(RNG.normal(size=(5, 3)).astype("float32"))

    @fg.compile
    def step(x: Any, again: bool) -> Any:
        block = fg.checkpoint(model) if again else model
        loss = (block(x) ** 2).sum()
        model.zero_grad()
        loss.backward()
        return loss, [p.grad for p in model.parameters()]

    assert_close(step(x, True), step(x, False), rtol=1e-6, atol=1e-7)
    grads = fg.grad(lambda w: fg.checkpoint(lambda v: (v * w).sum())(x[0] * 1))(x[1])
    assert_close(grads, x[0])


def test_checkpoint_draws_the_same_numbers() -> None:
    @fg.checkpoint
    def noisy(x: Any) -> Any:
        return fg.exp(x * fg.random.uniform(3))

    x = fg.ones(3)
    fg.random.seed(4)
    y, pullback = fg.vjp(noisy, x)
    (g,) = pullback(fg.ones(3))
    assert_close(g, y * fg.log(y), rtol=1e-5)


def test_checkpoint_passes_other_things_on() -> None:
    found = fg.checkpoint(lambda x, how, *, k: {"y": x * k if how == "times" else x, "n": x > 0})(
        fg.ones(2, requires_grad=True), "times", k=3
    )
    assert found["y"].tolist() == [3, 3]
    assert found["y"].requires_grad
    assert not found["n"].requires_grad
    with fg.no_grad():
        assert not fg.checkpoint(fg.sin)(fg.ones(2, requires_grad=True)).requires_grad


# --- results that a rule keeps --------------------------------------------------------------------


class Tripled(fg.Function):
    """exp, whose derivative is said to be three times as large."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = fg.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return 3 * g * ctx.saved_tensors[0]


def _tripled_by_rule(x: Any) -> Any:
    function = fg.custom_vjp(fg.exp)
    function.defvjp(lambda x: (function(x),) * 2, lambda y, g: (3 * g * y,))
    return function(x)


@pytest.mark.parametrize("function", [Tripled.apply, _tripled_by_rule])
def test_a_kept_result_has_the_derivative_of_the_rule(function: Any) -> None:
    x = values(3)
    first = fg.grad(lambda x: function(x).sum())
    second = fg.grad(lambda x: first(x).sum())
    third = fg.grad(lambda x: second(x).sum())
    assert_close(first(x), 3 * fg.exp(x))
    assert_close(second(x), 9 * fg.exp(x))
    assert_close(third(x), 27 * fg.exp(x))
    assert_close(fg.compile(second)(x), 9 * fg.exp(x))
    assert_close(fg.jvp(first, (x,), (fg.ones_like(x),))[1], 9 * fg.exp(x))
    assert_close(fg.vmap(fg.grad(fg.grad(function)))(x), 9 * fg.exp(x))
