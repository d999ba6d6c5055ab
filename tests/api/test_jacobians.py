"""jvp, linearize, Jacobians and Hessians: values, structures, compositions, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.errors import (
    ArgumentStructureError,
    FusegradError,
    GradientError,
    NotDifferentiableError,
)
from fusegrad.testing import assert_close

RNG = np.random.default_rng(21)


def values(*shape: int) -> fg.Tensor:
    return fg.asarray(RNG.normal(size=shape))


def numeric(function: Callable[[fg.Tensor], fg.Tensor], x: fg.Tensor) -> np.ndarray[Any, Any]:
    """The Jacobian by central differences."""
    eps, point = 1e-6, x.numpy()
    columns = []
    for place in np.ndindex(point.shape):
        step = np.zeros_like(point)
        step[place] = eps
        high, low = (function(fg.asarray(point + s * step)).numpy() for s in (1, -1))
        columns.append((high - low) / (2 * eps))
    shape = np.shape(function(x).numpy())
    return np.stack(columns, -1).reshape(shape + point.shape)


FUNCTIONS: list[tuple[Callable[[Any], Any], tuple[int, ...]]] = [
    (lambda x: fg.exp(x) * x, (3,)),
    (lambda x: x @ x.T, (2, 3)),
    (lambda x: F.softmax(x, -1), (2, 3)),
    (lambda x: F.log_softmax(x, 0), (4,)),
    (lambda x: fg.prod(x, axis=0), (3, 2)),
    (lambda x: fg.max(x, axis=1), (2, 3)),
    (lambda x: fg.stack([x, x**2, fg.sin(x)]), ()),
    (lambda x: x[fg.asarray([2, 0, 2])] ** 3, (3,)),
    (lambda x: fg.flip(x[::2], axis=0).reshape(2, 1, 1), (3,)),
    (lambda x: fg.where(x > 0, x * x, -x), (4,)),
    (lambda x: (fg.var(x, axis=0), fg.std(x))[0], (4, 2)),
    (lambda x: F.layer_norm(x, (3,)), (2, 3)),
    (lambda x: fg.ones(2, dtype="float64"), (3,)),
    (lambda x: fg.concat([x, x * x]).sum(), (2,)),
]
IDS = range(len(FUNCTIONS))


@pytest.mark.parametrize(("function", "shape"), FUNCTIONS, ids=IDS)
def test_jacobians_are_differences(function: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    x = values(*shape)
    expected = numeric(function, x)
    for transform in (fg.jacrev, fg.jacfwd):
        assert_close(transform(function)(x), expected, rtol=1e-6, atol=1e-7)
        assert_close(fg.compile(transform(function))(x), expected, rtol=1e-6, atol=1e-7)
        assert_close(transform(fg.compile(function))(x), expected, rtol=1e-6, atol=1e-7)
        assert_close(transform(function, chunk_size=2)(x), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("function", "shape"), FUNCTIONS, ids=IDS)
def test_jvp_and_vjp_agree(function: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    x, t = values(*shape), values(*shape)
    jacobian = numeric(function, x)
    expected = np.tensordot(jacobian, t.numpy(), len(shape))
    value, tangent = fg.jvp(function, (x,), (t,))
    assert_close(value, function(x))
    assert_close(tangent, expected, rtol=1e-6, atol=1e-7)
    again, pushforward = fg.linearize(function, x)
    assert_close(again, value)
    assert_close(pushforward(t), tangent, rtol=1e-12, atol=1e-14)
    assert_close(pushforward(2 * t), 2 * tangent, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("function", "shape"), FUNCTIONS, ids=IDS)
def test_hessians(function: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    def loss(x: Any) -> Any:
        return (function(x) * fg.cos(function(x))).sum()

    x, t = values(*shape), values(*shape)
    expected = numeric(fg.grad(loss), x)
    assert_close(fg.hessian(loss)(x), expected, rtol=1e-5, atol=1e-6)
    for order in (fg.jacrev(fg.jacfwd(loss)), fg.jacrev(fg.jacrev(loss))):
        assert_close(order(x), expected, rtol=1e-5, atol=1e-6)
    product = np.tensordot(expected, t.numpy(), len(shape))
    for transform in (fg.hvp, fg.vhp):
        value, (found,) = transform(loss, (x,), (t,))
        assert_close(value, loss(x))
        assert_close(found, product, rtol=1e-5, atol=1e-6)


# --- structures -----------------------------------------------------------------------------------


def test_containers() -> None:
    def function(tree: Any, k: Any) -> Any:
        return {"y": tree["a"] @ tree["b"] * k, "z": (k * k,)}

    tree, k = {"a": values(2, 3), "b": values(3)}, values()
    for transform in (fg.jacrev, fg.jacfwd, fg.jacobian):
        found = transform(function)(tree, k)
        assert found["y"]["a"].shape == (2, 2, 3)
        assert found["y"]["b"].shape == (2, 3)
        assert_close(found["y"]["b"], tree["a"].numpy() * float(k))
        assert not found["z"][0]["a"].any()
        both = transform(function, argnums=(1, 0))(tree, k)
        assert_close(both["z"][0][0], 2 * k)
        assert_close(both["y"][1]["b"], found["y"]["b"])
    second = fg.hessian(lambda t: (t["a"] @ t["b"]).sum())(tree)
    assert second["a"]["b"].shape == (2, 3, 3)
    assert_close(second["a"]["b"], np.broadcast_to(np.eye(3), (2, 3, 3)).copy())
    assert not second["b"]["b"].any()


def test_tangents_in_containers() -> None:
    def function(tree: Any, n: Any) -> Any:
        return [tree["a"] * n, n]

    tree, n = {"a": values(2), "b": values(3)}, fg.asarray([3, 4])
    value, tangent = fg.jvp(function, (tree, n), ({"a": fg.ones(2), "b": None}, None))
    assert_close(value[0], tree["a"].numpy() * [3, 4])
    assert_close(tangent[0], np.array([3.0, 4.0]))
    assert tangent[1].dtype == fg.int64
    assert not tangent[1].any()


def test_aux() -> None:
    def function(x: Any) -> Any:
        return x * x, {"twice": 2 * x, "name": "f"}

    x = values(3)
    for transform in (fg.jacrev, fg.jacfwd):
        found, aux = transform(function, has_aux=True)(x)
        assert_close(found, np.diag(2 * x.numpy()))
        assert aux["name"] == "f"
        assert_close(aux["twice"], 2 * x)
        assert not aux["twice"].requires_grad
    value, tangent, aux = fg.jvp(function, (x,), (fg.ones(3),), has_aux=True)
    assert_close(tangent, 2 * x)
    assert_close(aux["twice"], 2 * value / x, rtol=1e-12)
    _, pushforward, aux = fg.linearize(function, x, has_aux=True)
    assert_close(pushforward(fg.ones(3)), 2 * x)
    gradient, aux = fg.grad(lambda v: ((v * v).sum(), v), has_aux=True)(x)
    assert_close(gradient, 2 * x)
    assert not aux.requires_grad


def test_no_elements() -> None:
    empty = fg.zeros((0, 2))
    for transform in (fg.jacrev, fg.jacfwd):
        assert transform(lambda x: x.sum())(empty).shape == (0, 2)
        assert transform(lambda x: x * 2)(empty).shape == (0, 2, 0, 2)
        assert transform(lambda x: fg.zeros(0) * x)(3.0).shape == (0,)


def test_float32_stays() -> None:
    x = fg.ones(3)
    assert fg.jacfwd(lambda v: v * 2)(x).dtype == fg.float32
    assert fg.jvp(lambda v: v.astype("float64"), (x,), (x,))[1].dtype == fg.float64


# --- compositions ---------------------------------------------------------------------------------


def test_the_same_tensor_counts_apart() -> None:
    x = values(2)
    _, tangent = fg.jvp(lambda a, b: a * b * x, (x, x), (fg.ones(2), fg.zeros(2)))
    assert_close(tangent, x * x)


def test_perturbations_are_not_confused() -> None:
    def outer(x: Any) -> Any:
        return x * fg.jvp(lambda y: x + y, (1.0,), (1.0,))[1]

    assert float(fg.jvp(outer, (2.0,), (1.0,))[1]) == 1
    assert float(fg.grad(outer)(2.0)) == 1


def test_higher_orders_forward() -> None:
    def derivative(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda x: fg.jvp(f, (x,), (fg.ones_like(x),))[1]

    x = fg.asarray([0.3, 1.1], dtype="float64")
    third = derivative(derivative(derivative(lambda v: v**5)))
    assert_close(third(x), 60 * x**2, rtol=1e-12)
    assert_close(fg.grad(lambda v: third(v).sum())(x), 120 * x, rtol=1e-12)
    assert_close(fg.compile(third)(x), 60 * x**2, rtol=1e-12)


def test_with_vmap() -> None:
    x, t = values(4, 3), values(4, 3)

    def f(v: Any) -> Any:
        return (fg.exp(v) * v).sum()

    pushed = fg.vmap(lambda v, d: fg.jvp(f, (v,), (d,))[1])(x, t)
    assert_close(pushed, ((x + 1) * fg.exp(x) * t).sum(axis=1), rtol=1e-12)
    second = fg.vmap(fg.hessian(f))(x)
    assert_close(second[2], fg.hessian(f)(x[2]), rtol=1e-12, atol=1e-14)
    _, through = fg.jvp(lambda v: fg.vmap(f)(v), (x,), (t,))
    assert_close(through, pushed, rtol=1e-12)
    assert_close(fg.jacfwd(fg.vmap(f))(x).sum(axis=1), fg.vmap(fg.grad(f))(x), rtol=1e-12)


def test_gradients_flow_to_captured_tensors() -> None:
    w = fg.asarray([2.0, 3.0], requires_grad=True)
    _, tangent = fg.jvp(lambda x: x * w, (fg.ones(2),), (fg.ones(2),))
    tangent.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1, 1]
    jacobian = fg.jacrev(lambda x: x * w * w)(fg.ones(2))
    w.grad = None
    jacobian.sum().backward()
    assert w.grad.tolist() == [4, 6]


def test_no_grad_around_is_for_the_result() -> None:
    with fg.no_grad():
        found = fg.grad(lambda x: x * x)(3.0)
        assert float(found) == 6
        assert not found.requires_grad
        assert float(fg.jvp(lambda x: x * x, (3.0,), (1.0,))[1]) == 6
        assert fg.jacrev(lambda x: x * x)(3.0).tolist() == 6

    def cut(x: Any) -> Any:
        with fg.no_grad():
            y = x * x
        return x * y

    assert float(fg.grad(cut)(3.0)) == 9
    assert float(fg.jvp(cut, (3.0,), (1.0,))[1]) == 9


def test_custom_vjp_forward() -> None:
    @fg.custom_vjp
    def linear(x: Any) -> Any:
        return fg.sin(x)

    linear.defvjp(lambda x: (fg.sin(x), fg.cos(x)), lambda c, g: (2 * g * c,))
    x = values(3)
    assert_close(fg.jvp(linear, (x,), (fg.ones(3),))[1], 2 * fg.cos(x), rtol=1e-12)
    assert_close(fg.jacfwd(linear)(x), fg.jacrev(linear)(x), rtol=1e-12)

    @fg.custom_vjp
    def clipped(x: Any) -> Any:
        return x * 1

    clipped.defvjp(lambda x: (x * 1, None), lambda _, g: (fg.clip(g, -1, 1),))
    with pytest.raises(NotDifferentiableError) as raised:
        fg.jvp(clipped, (x,), (fg.ones(3),))
    assert raised.value.message == (
        "the gradient rule of custom_vjp is not linear in the cotangent, so that there is no "
        "forward mode"
    )


# --- errors ---------------------------------------------------------------------------------------


def fails(kind: type[FusegradError], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as raised:
        call()
    return raised.value.message


def test_errors() -> None:
    x = fg.ones(3)
    assert fails(ArgumentStructureError, lambda: fg.jvp(fg.sin, x, x)) == (
        "jvp: the arguments are a Tensor"
    )
    assert fails(GradientError, lambda: fg.jvp(fg.sin, (x,), (fg.ones(2),))) == (
        "jvp: the tangent of argument 0 has shape (2,), the argument (3,)"
    )
    assert fails(GradientError, lambda: fg.jvp(fg.abs, (fg.arange(2),), (fg.ones(2),))) == (
        "jvp along argument 0, which has dtype int64: only floats change"
    )
    assert "the tangents have the structure" in fails(
        ArgumentStructureError, lambda: fg.jvp(fg.sin, (x,), (x, x))
    )
    assert fails(GradientError, lambda: fg.jacrev(fg.sin)(fg.arange(2))) == (
        "jacrev by argument 0, which has dtype int64: only floats have gradients"
    )
    assert fails(GradientError, lambda: fg.jacfwd(lambda v: v > 0)(x)) == (
        "jacfwd of a function that returned a tensor of bool"
    )
    assert fails(ArgumentStructureError, lambda: fg.jacrev(fg.sin, argnums=1)(x)) == (
        "jacrev by argument 1 of a call with 1 positional arguments"
    )
    assert fails(ArgumentStructureError, lambda: fg.jacrev(fg.sin, has_aux=True)(x)) == (
        "jacrev with has_aux of a function that returned a Tensor"
    )
    assert fails(GradientError, lambda: fg.jacrev(fg.sin, chunk_size=0)(x)) == (
        "a Jacobian in chunks of 0"
    )
