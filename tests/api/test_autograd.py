"""Function, autograd.grad and its kin, torch's names for modes and transformations."""

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
    StateError,
)
from fusegrad.testing import assert_close, check_grads

RNG = np.random.default_rng(41)


def values(*shape: int, requires_grad: bool = False) -> fg.Tensor:
    return fg.asarray(RNG.normal(size=shape), requires_grad=requires_grad)


def fails(kind: type[FusegradError], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as raised:
        call()
    return raised.value.message


# --- Function -------------------------------------------------------------------------------------


class Cube(fg.Function):
    """x**3, with the gradient 3 x**2, written down."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * g * x * x


class Mixed(fg.Function):
    """Two results of two tensors and a number; keeps a result and an attribute."""

    @staticmethod
    def forward(ctx: Any, x: Any, factor: float, w: Any) -> Any:
        y = fg.sin(x) * w
        ctx.factor, ctx.cosine = factor, fg.cos(x)
        ctx.save_for_backward(y, w)
        assert ctx.needs_input_grad[1] is False
        return y, w * factor

    @staticmethod
    def backward(ctx: Any, g: Any, h: Any) -> Any:
        y, w = ctx.saved_tensors
        return g * ctx.cosine * w, None, (g * y / w) + h * ctx.factor


def test_function_in_every_mode() -> None:
    x, t = values(3), values(3)
    check_grads(Cube.apply, (x,))
    assert_close(fg.jvp(Cube.apply, (x,), (t,))[1], 3 * x * x * t, rtol=1e-12)
    assert_close(fg.hessian(lambda v: Cube.apply(v).sum())(x), np.diag(6 * x.numpy()))
    assert_close(fg.compile(fg.vmap(fg.grad(Cube.apply)))(x), 3 * x * x, rtol=1e-12)
    leaf = values(3, requires_grad=True)
    Cube.apply(leaf).sum().backward()
    assert_close(leaf.grad, 3 * leaf.detach() ** 2, rtol=1e-12)


def test_function_with_several_results() -> None:
    x, w = values(3), values(3)
    check_grads(lambda a, b: Mixed.apply(a, 2.0, b), (x, w))
    first, second = Mixed.apply(x, 2.0, w)
    assert_close(first, fg.sin(x) * w)
    assert_close(second, 2 * w)
    rows = fg.vmap(lambda a: Mixed.apply(a, 2.0, w)[0])(fg.stack([x, 2 * x]))
    assert_close(rows[1], fg.sin(2 * x) * w)


def test_function_with_a_context_set_up_apart_and_a_tangent_rule() -> None:
    class Square(fg.Function):
        @staticmethod
        def forward(x: Any) -> Any:
            return x * x

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * g * ctx.saved_tensors[0]

        @staticmethod
        def jvp(ctx: Any, t: Any) -> Any:
            return 20 * t * ctx.saved_tensors[0]

    x = values(2)
    assert_close(fg.grad(lambda v: Square.apply(v).sum())(x), 2 * x)
    assert_close(fg.jvp(Square.apply, (x,), (x,))[1], 20 * x * x)
    # Forward over reverse: what is kept has its own tangent.
    assert_close(fg.hessian(lambda v: Square.apply(v).sum())(x), 2 * np.eye(2))


def test_function_with_values_and_marks() -> None:
    class Sorted(fg.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            order = np.argsort(x.numpy())
            ctx.order = order
            indices = fg.asarray(order)
            ctx.mark_non_differentiable(indices)
            ctx.set_materialize_grads(False)
            return x[indices], indices, fg.sin(x)

        @staticmethod
        def backward(ctx: Any, g: Any, _: Any, unused: Any) -> Any:
            assert unused is None
            return g[fg.asarray(np.argsort(ctx.order))]

    x = values(4)
    weights = fg.asarray([1.0, 2.0, 3.0, 4.0])
    found = fg.grad(lambda v: (Sorted.apply(v)[0] * weights).sum())(x)
    assert found.tolist() == (np.argsort(np.argsort(x.numpy())) + 1).tolist()
    assert not Sorted.apply(values(2, requires_grad=True))[1].requires_grad


def test_errors_of_functions() -> None:
    class Wrong(fg.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x * y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    x = values(2)
    assert fails(GradientError, lambda: fg.grad(lambda v: Wrong.apply(v, v).sum())(x)) == (
        "backward of Wrong gave 1 gradients for 2 arguments"
    )

    class Text(fg.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return "text"

    assert fails(ArgumentStructureError, lambda: Text.apply(x)) == (
        "forward of Text returned a str"
    )

    class OneWay(fg.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

    assert_close(OneWay.apply(x), x)
    assert fails(NotDifferentiableError, lambda: fg.grad(lambda v: OneWay.apply(v).sum())(x)) == (
        "a Function without backward is differentiated"
    )


# --- autograd.grad --------------------------------------------------------------------------------


def test_grad_of_recorded_tensors() -> None:
    x, w = values(3, requires_grad=True), values(3, requires_grad=True)
    y = x * w
    z = (y * y).sum()
    by_x, by_y = fg.autograd.grad(z, (x, y), create_graph=True)
    assert by_x is not None
    assert_close(by_y, 2 * y.detach())
    assert_close(by_x.detach(), 2 * (x * w * w).detach())
    (second,) = fg.autograd.grad(by_x.sum(), w)
    assert_close(second, 4 * (x * w).detach(), rtol=1e-12)
    assert x.grad is None
    (plain,) = fg.autograd.grad(z, x)
    assert plain is not None
    assert not plain.requires_grad
    (weighted,) = fg.autograd.grad([y, y], [x], [fg.ones(3), 2 * fg.ones(3)])
    assert_close(weighted, 3 * w.detach())


def test_grad_of_a_batch_of_weights() -> None:
    x = values(3, requires_grad=True)
    (rows,) = fg.autograd.grad(x * x, x, fg.eye(3), is_grads_batched=True)
    assert_close(rows, np.diag(2 * x.detach().numpy()))


def test_unused_inputs() -> None:
    x, w = values(3, requires_grad=True), values(3, requires_grad=True)
    loss = (x * x).sum()
    assert fails(GradientError, lambda: fg.autograd.grad(loss, (x, w))) == (
        "autograd.grad: the outputs do not depend on input 1"
    )
    assert fg.autograd.grad(loss, (x, w), allow_unused=True)[1] is None
    zeros = fg.autograd.grad(loss, (x, w), materialize_grads=True)[1]
    assert zeros is not None
    assert zeros.tolist() == [0, 0, 0]


def test_errors_of_grad() -> None:
    x = values(3, requires_grad=True)
    assert fails(GradientError, lambda: fg.autograd.grad(x * x, x)) == (
        "autograd.grad of a tensor of shape (3,) without a seed: a gradient is that of a scalar"
    )
    assert fails(GradientError, lambda: fg.autograd.grad(x * x, x, fg.ones(2))) == (
        "autograd.grad of a tensor of shape (3,) with a seed of shape (2,)"
    )
    assert fails(GradientError, lambda: fg.autograd.grad(x.sum(), fg.ones(2))) == (
        "autograd.grad by input 0, which does not require a gradient"
    )
    assert fails(GradientError, lambda: fg.autograd.grad(fg.ones(()), x)) == (
        "autograd.grad of output 0, which does not depend on anything that requires a gradient"
    )
    assert fails(ArgumentStructureError, lambda: fg.autograd.grad([x.sum()], x, [1.0, 2.0])) == (
        "autograd.grad: 2 grad_outputs for 1 outputs"
    )


def test_backward_of_several() -> None:
    x = values(2, requires_grad=True)
    fg.autograd.backward([x.sum(), x * x], [None, fg.ones(2)])
    assert_close(x.grad, (1 + 2 * x).detach())


def test_functional() -> None:
    x, y = values(2), values(2)
    both = fg.autograd.functional.jacobian(lambda a, b: a * b, (x, y))
    assert_close(both[0], np.diag(y.numpy()))
    forward = fg.autograd.functional.jacobian(lambda a: a * y, x, strategy="forward-mode")
    assert_close(forward, np.diag(y.numpy()))
    second = fg.autograd.functional.hessian(lambda a, b: (a * b * b).sum(), (x, y))
    assert_close(second[0][1], np.diag(2 * y.numpy()))
    assert_close(fg.autograd.functional.vjp(lambda a: a * y, x, y)[1], y * y)
    assert_close(fg.autograd.functional.jvp(lambda a, b: a * b, (x, y), (y, x))[1], y * y + x * x)
    for product in (fg.autograd.functional.hvp, fg.autograd.functional.vhp):
        assert_close(product(lambda a: (a**3).sum(), x, y)[1], 6 * x * y, rtol=1e-12)


# --- modes and names ------------------------------------------------------------------------------


def test_modes() -> None:
    x = fg.ones(2, requires_grad=True)
    assert fg.is_grad_enabled()
    with fg.set_grad_enabled(False):
        assert not (x * 2).requires_grad
        with fg.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not fg.is_grad_enabled()
    assert fg.is_grad_enabled()
    fg.set_grad_enabled(False)
    assert not fg.is_grad_enabled()
    fg.set_grad_enabled(True)
    assert fg.is_grad_enabled()
    with fg.inference_mode():
        assert not (x * 2).requires_grad
    with fg.inference_mode(False):
        assert (x * 2).requires_grad

    @fg.set_grad_enabled(False)
    def constant(v: Any) -> Any:
        return v * 2

    assert fg.is_grad_enabled()
    assert not constant(x).requires_grad
    assert not constant(x).requires_grad
    assert fg.is_grad_enabled()


def test_functional_call() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    x = fg.asarray(RNG.normal(size=(5, 2)).astype("float32"))
    params = {name: 2 * p.detach() for name, p in model.named_parameters()}
    before = model(x)

    def loss(p: Any, row: Any) -> Any:
        return (fg.func.functional_call(model, p, (row,)) ** 2).sum()

    rows = fg.func.vmap(fg.func.grad(loss), in_axes=(None, 0))(params, x)
    whole, value = fg.func.grad_and_value(loss)(params, x)
    assert rows["0.weight"].shape == (5, 3, 2)
    assert_close(rows["2.bias"].sum(axis=0), whole["2.bias"], rtol=1e-5, atol=1e-5)
    assert float(value) != float((before**2).sum())
    assert_close(model(x), before)
    assert fails(StateError, lambda: fg.func.functional_call(model, {"0.scale": x}, x)) == (
        "functional_call: the module has no parameter or buffer '0.scale'"
    )


def test_stop_gradient() -> None:
    x = values(2)
    assert_close(fg.grad(lambda v: (v * fg.stop_gradient([v, v])[0]).sum())(x), x)


# --- hooks ----------------------------------------------------------------------------------------


def test_hooks_of_variables_and_results() -> None:
    x = fg.asarray([1.0, 2.0], requires_grad=True)
    seen: list[list[float]] = []
    first = x.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: 10 * g)
    y = x * x
    handle = y.register_hook(lambda g: g + 1)
    y.retain_grad()
    y.sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert seen == [[4, 8]]
    assert x.grad.tolist() == [40, 80]
    assert y.grad.tolist() == [2, 2]
    handle.remove()
    first.remove()
    x.grad = None
    y.sum().backward()
    assert seen == [[4, 8]]
    assert x.grad.tolist() == [20, 40]
    assert y.grad.tolist() == [3, 3]


def test_hooks_in_compiled_functions_and_after_updates() -> None:
    x = fg.asarray([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: fg.clip(g, -1, 1))

    @fg.compile
    def step() -> Any:
        x.grad = None
        h = x * 1
        h.register_hook(lambda g: -g)
        loss = (h * h).sum()
        loss.backward()
        with fg.no_grad():
            x.sub_(x.grad)
        return loss

    step()
    assert x.tolist() == [2, 3]
    step()
    assert x.tolist() == [3, 4]
    assert fails(GradientError, lambda: fg.ones(2).register_hook(print)) == (
        "a hook on a tensor that requires no gradient"
    )
