"""backward, grad, vjp, custom rules: the API of derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import ArgumentStructureError, GradientError
from fusegrad.testing import check_grads

RNG = np.random.default_rng(1)


def leaf(*values: float) -> fg.Tensor:
    return fg.asarray(values, dtype="float64", requires_grad=True)


# --- backward -------------------------------------------------------------------------------------


def test_backward_collects_on_leaves() -> None:
    x, y = leaf(1, 2), leaf(3, 4)
    z = x * y
    z.sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.tolist() == [3, 4]
    assert y.grad.tolist() == [1, 2]
    assert z.grad is None
    assert not x.grad.requires_grad


def test_gradients_accumulate_in_the_same_tensor() -> None:
    x = leaf(1, 2)
    (x * x).sum().backward()
    first = x.grad
    (3 * x).sum().backward()
    assert x.grad is first
    assert x.grad is not None
    assert x.grad.tolist() == [5, 7]
    x.grad.zero_()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_backward_twice_through_one_graph() -> None:
    x = leaf(2)
    y = x * x * x
    y.backward()
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [24]


def test_backward_with_a_seed() -> None:
    x = leaf(1, 2)
    (x * x).backward(fg.asarray([1.0, 10.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [2, 40]


def test_backward_after_looking() -> None:
    x = leaf(1, 2)
    y = (x * x).sum()
    assert float(y) == 5
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 4]


def test_the_same_tensor_twice() -> None:
    x = leaf(3)
    (x * x + x).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [7]


def test_detach_and_no_grad_cut() -> None:
    x = leaf(3)
    u = (x * x).detach()
    (u * x).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [9]
    with fg.no_grad():
        y = x * 2
        with fg.enable_grad():
            z = x * 2
    assert not y.requires_grad
    assert z.requires_grad
    (y * x).backward()
    assert x.grad.tolist() == [9 + 6]


def test_no_grad_is_a_decorator() -> None:
    @fg.no_grad()
    def f(x: fg.Tensor) -> fg.Tensor:
        return x * 2

    assert not f(leaf(1)).requires_grad


def test_a_value_used_both_detached_and_not() -> None:
    x = leaf(2)
    y = x * x
    (y * y.detach()).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [16]


def test_only_floats_have_gradients() -> None:
    with pytest.raises(GradientError):
        fg.asarray([1, 2]).requires_grad_()
    assert not (leaf(1) > 0).requires_grad


def test_updates_of_leaves() -> None:
    x = leaf(1, 2)
    with pytest.raises(GradientError, match="in place"):
        x += 1
    for _ in range(3):
        (x * x).sum().backward()
        assert x.grad is not None
        with fg.no_grad():
            x -= 0.25 * x.grad
        x.grad = None
    np.testing.assert_allclose(x.numpy(), [0.125, 0.25])
    assert x.requires_grad
    assert x.is_leaf


def test_gradients_are_taken_at_the_new_value() -> None:
    x = leaf(1)
    y = x * x
    with fg.no_grad():
        x += 9
    z = x * x
    z.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [20]
    x.grad = None
    y.backward()  # recorded at the old value
    assert x.grad is not None
    assert x.grad.tolist() == [2]


def test_in_place_on_results_is_recorded() -> None:
    x = leaf(2)
    y = x * 3
    y *= y
    y += 1
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [36]


def test_assignment_passes_gradients() -> None:
    x, v = leaf(1, 2, 3), leaf(10)
    y = x * 1
    y[1:2] = v * 2
    (y * y).sum().backward()
    assert x.grad is not None
    assert v.grad is not None
    assert x.grad.tolist() == [2, 0, 6]
    assert v.grad.tolist() == [80]
    buffer = fg.zeros(3, dtype="float64")
    buffer[0] = leaf(1).sum()
    assert buffer.requires_grad
    assert not buffer.is_leaf


def test_create_graph() -> None:
    x = leaf(2)
    (x**3).backward(create_graph=True)
    g = x.grad
    assert g is not None
    x.grad = None
    g.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [12]


def test_gradients_do_not_leak_a_graph() -> None:
    x = leaf(1)
    (x * x).backward()
    assert x.grad is not None
    (x.grad * x).backward()  # the gradient counts as a constant
    assert x.grad.tolist() == [4]


def test_requires_grad_of_a_pending_tensor() -> None:
    x = (fg.ones(2) * 3).requires_grad_()
    (x * x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6, 6]
    assert x.is_leaf


def test_requires_grad_by_assignment() -> None:
    x = fg.ones(2) * 3
    x.requires_grad = True
    (x * x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6, 6]
    y = x.detach()
    y.requires_grad = True
    (y * x).sum().backward()
    assert y.grad is not None
    assert y.grad.tolist() == [3, 3]


def test_deep_graphs_need_no_recursion() -> None:
    x = leaf(1)
    y = x
    for _ in range(5000):
        y = y * 1.0001
    y.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 1.0001**5000)


def test_fan_out_and_broadcasting() -> None:
    x = fg.asarray(RNG.standard_normal((3, 1)), requires_grad=True)
    y = fg.asarray(RNG.standard_normal(4), requires_grad=True)
    ((x + y) * (x * y)).sum().backward()
    a, b = x.numpy(), y.numpy()
    assert x.grad is not None
    assert y.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), (2 * a * b + b**2).sum(1, keepdims=True))
    np.testing.assert_allclose(y.grad.numpy(), (a**2 + 2 * a * b).sum(0))


# --- grad and vjp ---------------------------------------------------------------------------------


def test_grad_of_several_arguments() -> None:
    f = lambda x, y: (x * y * y).sum()  # noqa: E731
    x, y = fg.asarray([2.0]), fg.asarray([3.0])
    assert fg.grad(f)(x, y).tolist() == [9]
    assert fg.grad(f, argnums=1)(x, y).tolist() == [12]
    a, b = fg.grad(f, argnums=(0, -1))(x, y)
    assert (a.tolist(), b.tolist()) == ([9], [12])


def test_grad_of_trees() -> None:
    def f(params: dict[str, Any], x: Any) -> fg.Tensor:
        return ((params["w"] * x + params["b"][0]) ** 2).sum()

    g = fg.grad(f)({"w": fg.ones(2), "b": [fg.zeros(2)]}, fg.asarray([1.0, 2.0]))
    assert g["w"].tolist() == [2, 8]
    assert g["b"][0].tolist() == [2, 4]


def test_value_and_grad_with_aux() -> None:
    (value, aux), g = fg.value_and_grad(lambda x: ((x * x).sum(), x + 1), has_aux=True)([3.0])
    assert (float(value), aux.tolist(), g.tolist()) == (9, [4], [6])
    g, aux = fg.grad(lambda x: (x * x, "text"), has_aux=True)(3.0)
    assert (g.item(), aux) == (6, "text")


def test_the_same_array_in_two_arguments() -> None:
    x = fg.asarray(3.0)
    f = lambda a, b: a * a * b  # noqa: E731
    assert fg.grad(f, argnums=0)(x, x).item() == 18
    assert fg.grad(f, argnums=1)(x, x).item() == 9
    assert (x * fg.grad(f)(x, x)).item() == 54
    assert fg.grad(lambda y: x * y)(x).item() == 3


def test_derivatives_nest() -> None:
    assert fg.grad(fg.grad(fg.grad(lambda x: x**4)))(2.0).item() == 48
    # d/dx (x * d/dy (x * y)) at y = 1: no confusion of the two variables
    assert fg.grad(lambda x: x * fg.grad(lambda y: x * y)(1.0))(3.0).item() == 6
    assert fg.grad(lambda x: fg.grad(lambda y: x + y)(1.0) * x)(5.0).item() == 1


def test_grad_inside_backward() -> None:
    x = fg.asarray(2.0, requires_grad=True)
    y = fg.grad(lambda v: v * v * v)(x)
    assert y.requires_grad
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 12


def test_grad_sees_values_outside_of_compile() -> None:
    def f(x: fg.Tensor) -> fg.Tensor:
        return x * 2 if x > 0 else x * 3

    assert fg.grad(f)(1.0).item() == 2
    assert fg.grad(f)(-1.0).item() == 3


def test_grad_under_no_grad() -> None:
    with fg.no_grad():
        g = fg.grad(lambda x: fg.enable_grad()(lambda: x * x)())(3.0)
    assert not g.requires_grad


def test_unused_arguments_have_zero_gradients() -> None:
    assert fg.grad(lambda x, y: y * 1.0)(fg.ones(()), fg.asarray(2.0)).item() == 0


def test_vjp() -> None:
    value, pullback = fg.vjp(lambda x, y: {"p": x * y, "s": (x + y).sum()}, [1.0, 2.0], [3.0, 4.0])
    assert value["p"].tolist() == [3, 8]
    a, b = pullback({"p": fg.asarray([1.0, 1.0]), "s": fg.asarray(10.0)})
    assert a.tolist() == [13, 14]
    assert b.tolist() == [11, 12]


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (lambda x, y: fg.tanh(x @ y), ((3, 4), (4, 2))),
        (lambda x: fg.logsumexp(x, axis=1), ((3, 4),)),
        (lambda x: fg.var(x, axis=0), ((3, 4),)),
        (lambda x: fg.std(x), ((3, 4),)),
        (lambda x: fg.prod(x, axis=1), ((3, 4),)),
        (lambda x: x[1:, ::2] * x[:2, [0, 3]], ((3, 4),)),
        (lambda x: x[[0, 1, 2], [1, 1, 0]] ** 2, ((3, 4),)),
        (lambda x: x[[0, 2, 0], [1, 1, 1]] ** 2, ((3, 4),)),
        (lambda x: fg.take(x, [0, 2, 2], axis=0) ** 2, ((3, 4),)),
        (lambda x: fg.sigmoid(x) * fg.exp(-x * x), ((5,),)),
        (lambda x: fg.einsum("ij,kj->ik", x, x), ((3, 4),)),
        (lambda x: fg.einsum("ii->", x @ x), ((3, 3),)),
        (lambda x: fg.concat([x, x * x], axis=1)[:, ::-1], ((2, 3),)),
        (lambda x: fg.pad(x, [(1, 0), (0, 2)], constant_values=3.0) ** 2, ((2, 3),)),
        (lambda x: fg.roll(fg.flip(x, 0), 1) * x, ((2, 3),)),
        (lambda x: fg.repeat(fg.tile(x, (1, 2)), 2, 0) ** 2, ((2, 3),)),
        (lambda x: (x * x).T.mean(axis=0), ((2, 3),)),
        (lambda x, y: fg.where(x > 0, x * y, y**3), ((4,), (4,))),
        (lambda x: x**3 + x**2 + 1 / (x * x + 1), ((4,),)),
        (lambda x: fg.matmul(x, x.mT), ((2, 3, 4),)),
        (lambda x: fg.triu(x, k=1) @ fg.tril(x), ((3, 3),)),
    ],
)
def test_compositions(function: Any, args: tuple[tuple[int, ...], ...]) -> None:
    rng = np.random.default_rng(3)
    check_grads(function, [rng.uniform(0.2, 1.5, shape) for shape in args], order=2)


def test_check_grads_finds_a_wrong_gradient() -> None:
    @fg.custom_vjp
    def wrong(x: fg.Tensor) -> fg.Tensor:
        return x * x

    wrong.defvjp(lambda x: (x * x, x), lambda x, g: (3 * x * g,))
    with pytest.raises(AssertionError):
        check_grads(wrong, ([1.0, 2.0],), order=1)


# --- custom rules ---------------------------------------------------------------------------------


def _double_grad() -> Any:
    @fg.custom_vjp
    def square(x: fg.Tensor) -> fg.Tensor:
        return x * x

    square.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))
    return square


def test_custom_vjp() -> None:
    square = _double_grad()
    x = leaf(1, 3)
    square(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 6]
    assert square(fg.asarray([3.0])).tolist() == [9]
    check_grads(square, ([0.5, 1.5],), order=1)


def test_custom_vjp_of_trees_and_static_arguments() -> None:
    @fg.custom_vjp
    def f(parts: dict[str, Any], power: int) -> tuple[fg.Tensor, fg.Tensor]:
        return parts["a"] ** power, parts["b"]

    def forward(parts: dict[str, Any], power: int) -> Any:
        return (parts["a"] ** power, parts["b"] * 1.0), {"a": parts["a"], "n": fg.asarray(power)}

    def backward(residuals: Any, cotangent: Any) -> Any:
        one, two = cotangent
        return {"a": residuals["a"] * 100 * one, "b": two}, None

    f.defvjp(forward, backward)
    a, b = leaf(2), leaf(5)
    one, two = f({"a": a, "b": b}, 3)
    (one + two).sum().backward()
    assert one.tolist() == [8]
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.tolist() == [200]
    assert b.grad.tolist() == [1]


def test_custom_vjp_closes_over_tensors() -> None:
    scale = leaf(10)

    @fg.custom_vjp
    def f(x: fg.Tensor) -> fg.Tensor:
        return x * scale

    f.defvjp(lambda x: (x * scale, None), lambda _, g: (g * 7,))
    x = leaf(2)
    y = f(x)
    y.backward()
    assert y.tolist() == [20]
    assert x.grad is not None
    assert x.grad.tolist() == [7]
    assert scale.grad is None


def test_custom_vjp_without_a_rule() -> None:
    with pytest.raises(GradientError, match="no rule yet"):
        fg.custom_vjp(lambda x: x)(fg.ones(1))


def test_custom_vjp_with_a_wrong_shape() -> None:
    f = fg.custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x * 1, None), lambda _, g: (g.sum(),))
    with pytest.raises(GradientError, match="shape"):
        fg.grad(lambda x: f(x).sum())(fg.ones(3))


def test_custom_vjp_under_no_grad() -> None:
    square = _double_grad()
    with fg.no_grad():
        y = square(leaf(2))
    assert not y.requires_grad
    x = leaf(2)
    with fg.no_grad():
        y = square(x)
    (y * x).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4]


# --- compiled functions among recorded operations -------------------------------------------------


def test_gradients_by_arguments_of_a_compiled_function() -> None:
    w = leaf(2, 5)
    other = leaf(3, 4)

    @fg.compile
    def f(x: Any, k: float) -> Any:
        return {"y": fg.sin(x) * w * k, "n": x > 0}

    for _ in range(2):
        result = f(other * 2, 3.0)
        assert result["y"].requires_grad
        assert not result["n"].requires_grad
        (result["y"] * other).sum().backward()
        x = other.detach().numpy()
        np.testing.assert_allclose(
            np.asarray(other.grad),
            (np.sin(2 * x) + 2 * x * np.cos(2 * x)) * [2, 5] * 3,
            rtol=1e-12,
        )
        np.testing.assert_allclose(np.asarray(w.grad), np.sin(2 * x) * 3 * x, rtol=1e-12)
        other.grad = w.grad = None
    with fg.no_grad():
        assert not f(other, 3.0)["y"].requires_grad
    assert not f(other.detach(), 3.0)["y"].requires_grad


def test_gradients_at_the_values_of_the_call() -> None:
    total = fg.asarray([1.0, 1.0], dtype="float64")
    x = leaf(2, 3)

    @fg.compile
    def f(v: Any) -> Any:
        total.mul_(2)
        return v * total

    y = f(x)
    f(fg.ones(2, dtype="float64"))
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2]
    view = fg.compile(lambda v, a: (v * a).sum())(x, np.arange(200_000.0).reshape(2, -1).T[:1])
    view.backward()
    assert x.grad.tolist() == [2, 100_002]


def test_vjp_with_more_results_and_integers() -> None:
    x, places = fg.asarray([1.0, 2.0, 3.0]), fg.asarray([0, 2])
    value, pullback, aux = fg.vjp(lambda x, i: (x[i] ** 2, {"n": 2 * x}), x, places, has_aux=True)
    assert value.tolist() == [1, 9]
    assert aux["n"].tolist() == [2, 4, 6]
    gradient, none = pullback(fg.ones(2))
    assert gradient.tolist() == [2, 0, 6]
    assert none is None
    with pytest.raises(ArgumentStructureError, match="vjp with has_aux of"):
        fg.vjp(fg.sin, x, has_aux=True)
