"""What transformations of functions give, against jax: containers, axes, rules, loops.

Each check is written once, for a library with the names of jax.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fusegrad as fg

jax = pytest.importorskip("jax", reason="jax is not installed")
pytestmark = pytest.mark.peers

Check = Callable[[Any], Any]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


TRANSFORMS = ("grad", "value_and_grad", "jvp", "vjp", "vmap", "jacfwd", "jacrev", "hessian")
RULES = ("linearize", "custom_jvp", "custom_vjp", "checkpoint")
CONTROL = ("scan", "while_loop", "fori_loop", "cond", "switch", "map", "stop_gradient")
VECTOR = [1.0, 2.0, 3.0]
MATRIX = [[1.0, 2.0], [3.0, 5.0]]


def library(source: Any, control: Any, **more: Any) -> SimpleNamespace:
    """The names that the checks use."""
    found = {name: getattr(source, name) for name in (*TRANSFORMS, *RULES)}
    found |= {name: getattr(control, name) for name in CONTROL}
    return SimpleNamespace(**found, **more)


def ours() -> SimpleNamespace:
    array = lambda *a: fg.asarray(np.array(*a))  # noqa: E731
    return library(
        fg, fg, np=fg, array=array, jit=fg.compile, vector=array(VECTOR), matrix=array(MATRIX)
    )


def theirs() -> SimpleNamespace:
    array = jax.numpy.array
    more = {"vector": array(VECTOR), "matrix": array(MATRIX)}
    return library(jax, jax.lax, np=jax.numpy, array=array, jit=jax.jit, **more)


@check
def grad_argnums_tuple(j: Any) -> Any:
    return j.grad(lambda a, b, c: (a * b + c * c).sum(), argnums=(0, 2))(
        j.vector, j.vector * 2, j.vector * 3
    )


@check
def grad_argnums_neg(j: Any) -> Any:
    return j.grad(lambda a, b: (a * b * b).sum(), argnums=-1)(j.vector, j.vector * 2)


@check
def grad_dict(j: Any) -> Any:
    return j.grad(lambda d: (d["a"] * d["b"][0]).sum() + d["b"][1])(
        {"a": j.vector, "b": [j.vector, j.array(2.0)]}
    )


@check
def grad_aux(j: Any) -> Any:
    return j.grad(lambda a: ((a * a).sum(), {"y": a * 2, "n": 3}), has_aux=True)(j.vector)


@check
def vag_aux(j: Any) -> Any:
    return j.value_and_grad(lambda a: ((a * a).sum(), (a * 2,)), has_aux=True)(j.vector)


@check
def vag_argnums(j: Any) -> Any:
    return j.value_and_grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(j.vector, j.vector + 1)


@check
def grad_tuple_in(j: Any) -> Any:
    return j.grad(lambda t: t[0] * t[1][0])((2.0, (3.0,)))


@check
def grad_none_in_tree(j: Any) -> Any:
    return j.grad(lambda t: (t[0] ** 2).sum())((j.vector, None))


@check
def grad_kwargs(j: Any) -> Any:
    return j.grad(lambda a, *, k: (a * k).sum())(j.vector, k=j.vector)


@check
def grad_int_arg(j: Any) -> Any:
    return j.grad(lambda a, n: (a**n).sum())(j.vector, 3)


@check
def grad_python_float(j: Any) -> Any:
    return j.grad(lambda a: a * a)(3.0)


@check
def vjp_multi(j: Any) -> Any:
    y, f = j.vjp(lambda a, b: (a * b, a.sum()), j.vector, j.vector * 2)
    return (y, f((j.vector, j.array(1.0))))


@check
def vjp_dict(j: Any) -> Any:
    y, f = j.vjp(lambda d: {"o": d["a"] * 2}, {"a": j.vector})
    return (y, f({"o": j.vector}))


@check
def vjp_aux(j: Any) -> Any:
    y, f, aux = j.vjp(lambda a: (a * a, a + 1), j.vector, has_aux=True)
    return (y, f(j.vector), aux)


@check
def vjp_int_in(j: Any) -> Any:
    y, f = j.vjp(lambda a, i: a[i], j.vector, j.array([0, 2]))
    return (y, f(j.array([1.0, 1.0]))[0])


@check
def jvp_multi(j: Any) -> Any:
    return j.jvp(lambda a, b: (a * b, a - b), (j.vector, j.vector * 2), (j.vector, j.vector))


@check
def jvp_aux(j: Any) -> Any:
    return j.jvp(lambda a: (a * a, a + 1), (j.vector,), (j.vector,), has_aux=True)


@check
def jvp_pytree(j: Any) -> Any:
    return j.jvp(
        lambda d: {"s": d["a"] + d["b"]},
        ({"a": j.vector, "b": j.vector},),
        ({"a": j.vector, "b": j.vector * 2},),
    )


@check
def jacrev_multi(j: Any) -> Any:
    return j.jacrev(lambda a, b: a * b.sum(), argnums=(0, 1))(j.vector, j.array([1.0, 2.0]))


@check
def jacfwd_multi(j: Any) -> Any:
    return j.jacfwd(lambda a, b: a * b.sum(), argnums=(0, 1))(j.vector, j.array([1.0, 2.0]))


@check
def jacrev_out_tree(j: Any) -> Any:
    return j.jacrev(lambda a: {"u": a * a, "v": a.sum()})(j.vector)


@check
def jacfwd_out_tree(j: Any) -> Any:
    return j.jacfwd(lambda a: {"u": a * a, "v": a.sum()})(j.vector)


@check
def jacrev_in_tree(j: Any) -> Any:
    return j.jacrev(lambda d: d["a"] * d["b"])({"a": j.vector, "b": j.vector + 1})


@check
def jacfwd_in_tree(j: Any) -> Any:
    return j.jacfwd(lambda d: d["a"] * d["b"])({"a": j.vector, "b": j.vector + 1})


@check
def jac_aux(j: Any) -> Any:
    return j.jacrev(lambda a: (a * a, a), has_aux=True)(j.vector)


@check
def jacf_aux(j: Any) -> Any:
    return j.jacfwd(lambda a: (a * a, a), has_aux=True)(j.vector)


@check
def jac_scalar(j: Any) -> Any:
    return (j.jacrev(lambda a: a * 3)(2.0), j.jacfwd(lambda a: a * 3)(2.0))


@check
def hess_matrix(j: Any) -> Any:
    return j.hessian(lambda a: (a @ a).sum() * a.sum())(j.matrix)


@check
def hess_argnums(j: Any) -> Any:
    return j.hessian(lambda a, b: (a * a * b).sum(), argnums=(0, 1))(j.vector, j.vector)


@check
def hess_tree(j: Any) -> Any:
    return j.hessian(lambda d: (d["a"] ** 2 * d["b"]).sum())({"a": j.vector, "b": j.array(2.0)})


@check
def jac_of_jac(j: Any) -> Any:
    return j.jacfwd(j.jacrev(j.jacfwd(lambda a: a**4)))(j.array([1.0, 2.0]))


@check
def lin(j: Any) -> Any:
    y, f = j.linearize(lambda a, b: j.np.sin(a) * b, j.vector, j.vector)
    return (y, f(j.vector, j.vector * 0), f(j.vector * 0, j.vector))


@check
def lin_tree(j: Any) -> Any:
    y, f = j.linearize(lambda d: (d["a"] * d["b"],), {"a": j.vector, "b": j.vector})
    return (y, f({"a": j.vector, "b": j.vector}))


@check
def vmap_axes(j: Any) -> Any:
    return (
        j.vmap(lambda a, b: a @ b, in_axes=(0, None))(j.matrix, j.array([1.0, 2.0])),
        j.vmap(lambda a, b: a @ b, in_axes=(1, None))(j.matrix, j.array([1.0, 2.0])),
    )


@check
def vmap_out_axes(j: Any) -> Any:
    return j.vmap(lambda a: a * 2, out_axes=1)(j.array(np.arange(6.0).reshape(2, 3)))


@check
def vmap_dict_axes(j: Any) -> Any:
    return j.vmap(lambda d: d["a"] * d["b"], in_axes=({"a": 0, "b": None},))(
        {"a": j.vector, "b": j.array([1.0, 2.0])}
    )


@check
def vmap_tuple_out(j: Any) -> Any:
    return j.vmap(lambda a: (a, a.sum()), out_axes=(1, 0))(j.array(np.arange(6.0).reshape(2, 3)))


@check
def vmap_none_out(j: Any) -> Any:
    return j.vmap(lambda a, b: (a * 2, b + 1), in_axes=(0, None), out_axes=(0, None))(
        j.vector, j.array(1.0)
    )


@check
def vmap_axis_size(j: Any) -> Any:
    return j.vmap(lambda: j.array(2.0), axis_size=3)()


@check
def vmap_const_out(j: Any) -> Any:
    return j.vmap(lambda a: j.array([1.0, 2.0]))(j.vector)


@check
def vmap_nested(j: Any) -> Any:
    return j.vmap(j.vmap(lambda a, b: a * b, in_axes=(None, 0)), in_axes=(0, None))(
        j.vector, j.array([1.0, 2.0])
    )


@check
def vmap_neg_axis(j: Any) -> Any:
    return j.vmap(lambda a: a.sum(), in_axes=-1, out_axes=-1)(j.array(np.arange(6.0).reshape(2, 3)))


@check
def vmap_grad(j: Any) -> Any:
    return j.vmap(j.grad(lambda a, w: (a * w * a).sum()), in_axes=(0, None))(
        j.matrix, j.array([1.0, 2.0])
    )


@check
def grad_vmap(j: Any) -> Any:
    return j.grad(lambda w: j.vmap(lambda a: (a * w).sum() ** 2)(j.matrix).sum())(
        j.array([1.0, 2.0])
    )


@check
def vmap_jacrev(j: Any) -> Any:
    return j.vmap(j.jacrev(lambda a: a**2))(j.matrix)


@check
def vmap_index(j: Any) -> Any:
    return j.vmap(lambda a, i: a[i])(j.matrix, j.array([1, 0]))


@check
def vmap_set(j: Any) -> Any:
    return j.vmap(lambda a, i: a.at[i].set(9.0))(j.matrix, j.array([1, 0]))


@check
def vmap_sort(j: Any) -> Any:
    return j.vmap(j.np.sort)(j.array([[3.0, 1.0, 2.0], [9.0, 7.0, 8.0]]))


@check
def vmap_cond(j: Any) -> Any:
    return j.vmap(lambda p, a: j.cond(p, lambda v: v * 2, lambda v: v - 1, a))(
        j.array([True, False, True]), j.vector
    )


@check
def vmap_switch(j: Any) -> Any:
    return j.vmap(lambda i, a: j.switch(i, [lambda v: v, lambda v: v * 10, lambda v: -v], a))(
        j.array([2, 0, 1]), j.vector
    )


@check
def vmap_while(j: Any) -> Any:
    return j.vmap(lambda a: j.while_loop(lambda v: v < 10.0, lambda v: v * 2, a))(j.vector)


@check
def vmap_scan(j: Any) -> Any:
    return j.vmap(lambda a: j.scan(lambda s, x: (s + x, s * x), 0.0 * a[0], a))(j.matrix)


@check
def vmap_while_two(j: Any) -> Any:
    return j.vmap(
        lambda a, n: j.while_loop(lambda s: s[1] < n, lambda s: (s[0] * 1.5, s[1] + 1), (a, 0))
    )(j.vector, j.array([1, 3, 2]))


@check
def stopg(j: Any) -> Any:
    return (
        j.grad(lambda a: (a * j.stop_gradient(a)).sum())(j.vector),
        j.grad(lambda d: (d["a"] * j.stop_gradient(d)["a"]).sum())({"a": j.vector}),
        j.jvp(lambda a: j.stop_gradient(a) * a, (j.vector,), (j.vector,)),
    )


@check
def cjvp_nondiff(j: Any) -> Any:

    @functools.partial(j.custom_jvp, nondiff_argnums=(0,))
    def app(f: Any, a: Any) -> Any:
        return f(a)

    @app.defjvp
    def rule(f: Any, p: Any, t: Any) -> Any:
        return (f(p[0]), 2 * t[0])

    return (
        app(j.np.sin, j.vector),
        j.grad(lambda a: app(j.np.sin, a).sum())(j.vector),
        j.jvp(lambda a: app(j.np.sin, a), (j.vector,), (j.vector,)),
        j.vmap(lambda a: app(j.np.sin, a))(j.vector),
    )


@check
def cjvp_two(j: Any) -> Any:

    @j.custom_jvp
    def f(a: Any, b: Any) -> Any:
        return a * b

    @f.defjvp
    def rule(p: Any, t: Any) -> Any:
        a, b = p
        ta, tb = t
        return (f(a, b), ta * b * 10 + tb * a)

    return (
        j.grad(f, argnums=(0, 1))(2.0, 3.0),
        j.jvp(f, (2.0, 3.0), (1.0, 1.0)),
        j.hessian(f)(2.0, 3.0),
    )


@check
def cjvp_defjvps(j: Any) -> Any:

    @j.custom_jvp
    def f(a: Any, b: Any) -> Any:
        return a * b

    f.defjvps(lambda t, y, a, b: 7 * t * b, None)
    return j.grad(f, argnums=(0, 1))(2.0, 3.0)


@check
def cvjp_nondiff(j: Any) -> Any:

    @functools.partial(j.custom_vjp, nondiff_argnums=(1,))
    def f(a: Any, n: Any) -> Any:
        return a * n

    f.defvjp(lambda a, n: (a * n, (a,)), lambda n, r, g: (g * 100 * n,))
    return j.grad(lambda a: f(a, 3).sum())(j.vector)


@check
def cvjp_tree(j: Any) -> Any:

    @j.custom_vjp
    def f(d: Any) -> Any:
        return d["a"] * d["b"]

    f.defvjp(lambda d: (f(d), d), lambda d, g: ({"a": g * d["b"], "b": g * 5},))
    return j.grad(lambda d: f(d).sum())({"a": j.vector, "b": j.vector})


@check
def cvjp_none(j: Any) -> Any:

    @j.custom_vjp
    def f(a: Any, b: Any) -> Any:
        return a * b

    f.defvjp(lambda a, b: (a * b, b), lambda b, g: (g * b, None))
    return j.grad(lambda a, b: f(a, b).sum(), argnums=(0, 1))(j.vector, j.vector)


@check
def ck(j: Any) -> Any:
    return (
        j.grad(j.checkpoint(lambda a: j.np.sin(j.np.sin(a)).sum()))(j.vector),
        j.jvp(j.checkpoint(j.np.sin), (j.vector,), (j.vector,)),
        j.vmap(j.checkpoint(j.np.sin))(j.vector),
        j.hessian(j.checkpoint(lambda a: j.np.sin(a).sum()))(j.vector),
    )


@check
def grad_of_scan(j: Any) -> Any:
    return j.grad(lambda a: j.scan(lambda s, x: (s * x, s), j.array(1.0), a)[0])(j.vector)


@check
def hess_of_scan(j: Any) -> Any:
    return j.hessian(lambda a: j.scan(lambda s, x: (s * x, s), j.array(1.0), a)[0])(j.vector)


@check
def jvp_of_scan(j: Any) -> Any:
    return j.jvp(
        lambda a: j.scan(lambda s, x: (s * x, s + x), j.array(1.0), a), (j.vector,), (j.vector,)
    )


@check
def jvp_of_while(j: Any) -> Any:
    return j.jvp(lambda a: j.while_loop(lambda v: v < 100.0, lambda v: v * v, a), (2.0,), (1.0,))


@check
def jvp_of_cond(j: Any) -> Any:
    return (
        j.jvp(lambda a: j.cond(a > 1.0, lambda v: v * v, lambda v: -v, a), (2.0,), (1.0,)),
        j.grad(lambda a: j.cond(a > 1.0, lambda v: v * v, lambda v: -v, a))(0.5),
    )


@check
def fori_grad(j: Any) -> Any:
    return j.grad(lambda a: j.fori_loop(0, 4, lambda i, v: v * a + i, a))(2.0)


@check
def fori_set(j: Any) -> Any:
    return (
        j.fori_loop(0, 3, lambda i, v: v.at[i].set(v[i] * 10), j.vector),
        j.grad(lambda a: j.fori_loop(0, 3, lambda i, v: v.at[i].mul(v[i - 1]), a).sum())(j.vector),
    )


@check
def scan_reverse(j: Any) -> Any:
    return j.scan(lambda s, x: (s + x, s * 2), j.array(0.0), j.vector, reverse=True)


@check
def scan_tree(j: Any) -> Any:
    return j.scan(
        lambda s, x: ({"a": s["a"] + x["u"]}, (x["u"], s["a"])),
        {"a": j.array(0.0)},
        {"u": j.vector},
    )


@check
def scan_len(j: Any) -> Any:
    return j.scan(lambda s, _: (s * 2, s), j.array(1.0), None, length=4)


@check
def map_f(j: Any) -> Any:
    return j.map(lambda r: r.sum(), j.matrix)


@check
def jit_grad(j: Any) -> Any:
    return (
        j.jit(j.grad(lambda a: (a**3).sum()))(j.vector),
        j.grad(j.jit(lambda a: (a**3).sum()))(j.vector),
        j.jit(j.vmap(j.grad(lambda a: a**3)))(j.vector),
        j.hessian(j.jit(lambda a: (a**3).sum()))(j.vector),
    )


@check
def jit_tree(j: Any) -> Any:
    return j.jit(lambda d, t: {"z": d["a"] + t[0], "n": None})({"a": j.vector}, (j.vector,))


@check
def dtype_grad(j: Any) -> Any:
    return (
        j.grad(lambda a: (a.astype("float64") ** 2).sum())(j.array(np.array([1, 2], "f4"))),
        j.jvp(lambda a: a * 2, (j.array(np.array([1], "f4")),), (j.array(np.array([1], "f4")),)),
    )


@check
def where_chain(j: Any) -> Any:
    def f(a: Any) -> Any:
        return j.np.where(a > 0, j.np.sqrt(j.np.where(a > 0, a, 1.0)) * a, 0.0).sum()

    return j.grad(f)(j.array([0.0, 1.0, -1.0]))


@check
def grad_max_ties(j: Any) -> Any:
    return j.grad(lambda a: j.np.max(a))(j.array([1.0, 2.0, 2.0]))


@check
def grad_prod0(j: Any) -> Any:
    return (
        j.grad(lambda a: j.np.prod(a))(j.array([0.0, 2.0, 3.0])),
        j.grad(lambda a: j.np.cumsum(a)[1])(j.vector),
    )


@check
def grad_unused(j: Any) -> Any:
    return j.grad(lambda a, b: a.sum(), argnums=(0, 1))(j.vector, j.matrix)


@check
def jac_unused(j: Any) -> Any:
    return (
        j.jacrev(lambda a, b: a * 2, argnums=1)(j.vector, j.array([1.0, 2.0])),
        j.jacfwd(lambda a, b: a * 2, argnums=1)(j.vector, j.array([1.0, 2.0])),
    )


@check
def hess_linear(j: Any) -> Any:
    return j.hessian(lambda a: a.sum())(j.vector)


@check
def vjp_none_dep(j: Any) -> Any:
    y, f = j.vjp(lambda a: j.array(3.0), j.vector)
    return (y, f(j.array(1.0)))


@check
def jvp_const(j: Any) -> Any:
    return j.jvp(lambda a: j.array(3.0), (j.vector,), (j.vector,))


@check
def vmap_vjp(j: Any) -> Any:
    return j.vmap(lambda a, g: j.vjp(lambda v: v**3, a)[1](g)[0])(j.matrix, j.matrix)


@check
def vmap_jvp(j: Any) -> Any:
    return j.vmap(lambda a: j.jvp(lambda v: (v**3, v.sum()), (a,), (a * 2,)))(j.matrix)


@check
def vmap_hess(j: Any) -> Any:
    return j.vmap(j.hessian(lambda a: (a**3).sum() * a[0]))(j.matrix)


@check
def vmap_lin(j: Any) -> Any:
    return j.vmap(lambda a: j.linearize(j.np.sin, a)[1](a))(j.matrix)


@check
def vmap_of_vmap_axes(j: Any) -> Any:
    return j.vmap(
        j.vmap(lambda a, b: a - b, in_axes=(0, None), out_axes=0), in_axes=(1, 0), out_axes=1
    )(j.array(np.arange(6.0).reshape(2, 3)), j.vector)


@check
def fwd_over_rev(j: Any) -> Any:
    return (
        j.jacfwd(j.grad(lambda a: (j.np.sin(a) * a[0]).sum()))(j.vector),
        j.jacrev(j.jacfwd(lambda a: j.np.sin(a) * a[0]))(j.vector),
    )


@check
def grad3(j: Any) -> Any:
    return j.grad(j.grad(j.grad(lambda a: j.np.sin(a) * a**3)))(2.0)


@check
def nested_closure(j: Any) -> Any:
    return j.grad(lambda a: j.grad(lambda b: a * b * b)(a) * a)(3.0)


@check
def perturb(j: Any) -> Any:
    return (
        j.grad(lambda a: a * j.grad(lambda b: a + b)(2.0))(3.0),
        j.jvp(lambda a: j.jvp(lambda b: a * b, (a,), (1.0,))[1] * a, (3.0,), (1.0,)),
    )


@check
def cjvp_of_vmap_grad(j: Any) -> Any:

    @j.custom_jvp
    def f(a: Any) -> Any:
        return j.np.log1p(j.np.exp(a))

    @f.defjvp
    def rule(p: Any, t: Any) -> Any:
        return (f(p[0]), t[0] * (1 - 1 / (1 + j.np.exp(p[0]))))

    return (
        j.vmap(j.grad(f))(j.array([0.0, 100.0])),
        j.vmap(j.grad(j.grad(f)))(j.array([0.0, 1.0])),
        j.jit(j.vmap(j.grad(f)))(j.array([0.0, 100.0])),
    )


@check
def cvjp_vmap(j: Any) -> Any:

    @j.custom_vjp
    def f(a: Any, b: Any) -> Any:
        return j.np.sin(a) * b

    f.defvjp(
        lambda a, b: (f(a, b), (a, b)), lambda r, g: (j.np.cos(r[0]) * g * r[1], j.np.sin(r[0]) * g)
    )
    return (
        j.vmap(j.grad(f, argnums=(0, 1)), in_axes=(0, None))(j.vector, 2.0),
        j.jacrev(lambda a: j.vmap(f, in_axes=(0, None))(a, 2.0))(j.vector),
        j.vmap(f, in_axes=(None, 0))(2.0, j.vector),
    )


@check
def cvjp_in_scan(j: Any) -> Any:

    @j.custom_vjp
    def f(a: Any) -> Any:
        return a

    f.defvjp(lambda a: (a, None), lambda r, g: (j.np.clip(g, -1.0, 1.0),))
    return j.grad(lambda a: j.scan(lambda s, x: (f(s) * x, None), a, j.vector)[0])(j.array(2.0))


@check
def scan_closure_grad(j: Any) -> Any:
    return (
        j.grad(
            lambda w: j.scan(lambda s, x: (j.np.tanh(s * w + x), s), j.array(0.0), j.vector)[
                1
            ].sum()
        )(0.5),
        j.jacfwd(
            lambda w: j.scan(lambda s, x: (j.np.tanh(s * w + x), s), j.array(0.0), j.vector)[1]
        )(0.5),
    )


@check
def scan_vmap_scan(j: Any) -> Any:
    return j.grad(
        lambda a: j.vmap(lambda r: j.scan(lambda s, x: (s * x + 1, None), r[0], r)[0])(a).sum()
    )(j.matrix)


@check
def scan_none_y(j: Any) -> Any:
    return j.scan(lambda s, x: (s + x, None), j.array(0.0), j.vector)


@check
def scan_int_carry(j: Any) -> Any:
    return j.scan(lambda s, x: ((s[0] + 1, s[1] + x), s[0]), (0, j.array(0.0)), j.vector)


@check
def scan_grad_int_carry(j: Any) -> Any:
    return j.grad(
        lambda a: j.scan(lambda s, x: ((s[0] + 1, s[1] * x), s[0]), (0, j.array(1.0)), a)[0][1]
    )(j.vector)


@check
def while_tuple(j: Any) -> Any:
    return j.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, s[1] * 2.0), (0, j.array(1.0)))


@check
def while_closure(j: Any) -> Any:
    return j.jit(
        lambda n, a: j.while_loop(
            lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * a), (0, j.array(1.0))
        )[1]
    )(j.array(4), j.array(3.0))


@check
def cond_closure(j: Any) -> Any:
    return j.grad(lambda a: j.cond(j.array(True), lambda: a * 2, lambda: a * 3))(1.0)


@check
def cond_grad_both(j: Any) -> Any:
    return j.jit(j.grad(lambda a, p: j.cond(p, lambda v: j.np.sin(v), lambda v: v * v, a)))(
        2.0, j.array(False)
    )


@check
def cond_vmap_grad(j: Any) -> Any:
    return j.vmap(j.grad(lambda a: j.cond(a > 0, lambda v: j.np.sqrt(v), lambda v: v * 0.0, a)))(
        j.array([4.0, -1.0, 0.0])
    )


@check
def switch_grad(j: Any) -> Any:
    return j.vmap(
        j.grad(lambda a, i: j.switch(i, [lambda v: v**2, lambda v: v**3], a)), in_axes=(0, 0)
    )(j.vector, j.array([0, 1, 0]))


@check
def fori_dyn(j: Any) -> Any:
    return j.jit(lambda n: j.fori_loop(0, n, lambda i, v: v + i, 0.0))(j.array(5))


@check
def fori_vmap(j: Any) -> Any:
    return j.vmap(lambda n: j.fori_loop(0, n, lambda i, v: v + i, 0.0))(j.array([2, 4]))


@check
def while_vmap_closure(j: Any) -> Any:
    return j.vmap(lambda a, b: j.while_loop(lambda v: v < b, lambda v: v + a, 0.0 * a))(
        j.vector, j.array([5.0, 5.0, 5.0])
    )


@check
def grad_take(j: Any) -> Any:
    return (
        j.grad(lambda a: a[j.array([0, 0, 2])].sum())(j.vector),
        j.grad(lambda a: j.np.take(a, j.array([0, 0, 2])).prod())(j.vector),
    )


@check
def grad_at(j: Any) -> Any:
    return (
        j.grad(lambda a: (a.at[0].set(5.0) * a).sum())(j.vector),
        j.grad(lambda a: a.at[j.array([0, 0])].add(a[1]).sum())(j.vector),
        j.grad(lambda v: (j.vector.at[1].set(v) ** 2).sum())(2.0),
    )


@check
def grad_where_nan(j: Any) -> Any:
    return j.grad(lambda a: j.np.where(a > 0, j.np.log(a), 0.0).sum())(j.array([1.0, 2.0]))


@check
def grad_norm(j: Any) -> Any:
    return (
        j.grad(lambda a: j.np.linalg.norm(a))(j.vector),
        j.hessian(lambda a: j.np.linalg.norm(a))(j.vector),
    )


@check
def grad_mats(j: Any) -> Any:
    return (
        j.grad(lambda a: j.np.linalg.det(a))(j.matrix),
        j.grad(lambda a: j.np.linalg.inv(a).sum())(j.matrix),
        j.grad(lambda a: j.np.linalg.slogdet(a)[1])(j.matrix),
        j.grad(lambda a: j.np.linalg.solve(a, j.array([1.0, 2.0])).sum())(j.matrix),
    )


@check
def hess_mats(j: Any) -> Any:
    return (
        j.hessian(lambda a: j.np.linalg.det(a))(j.matrix),
        j.hessian(lambda a: j.np.linalg.inv(a).sum())(j.matrix),
    )


@check
def grad_eigh(j: Any) -> Any:
    return (
        j.grad(lambda a: j.np.linalg.eigvalsh(a + a.T)[0])(j.matrix),
        j.grad(lambda a: (j.np.linalg.svd(a)[1] * j.array([1.0, 2.0])).sum())(j.matrix),
    )


@check
def grad_sort(j: Any) -> Any:
    return j.grad(lambda a: (j.np.sort(a) * j.array([1.0, 2.0, 3.0])).sum())(
        j.array([3.0, 1.0, 2.0])
    )


@check
def grad_cumprod(j: Any) -> Any:
    return j.grad(lambda a: j.np.cumprod(a).sum())(j.array([0.0, 2.0, 3.0]))


@check
def grad_clip(j: Any) -> Any:
    return j.grad(lambda a: j.np.clip(a, 0.0, 1.0).sum())(j.array([-1.0, 0.5, 2.0]))


@check
def grad_mean_var(j: Any) -> Any:
    return j.grad(lambda a: j.np.var(a) + j.np.std(a) + j.np.mean(a))(j.vector)


@check
def einsum_grad(j: Any) -> Any:
    return j.grad(lambda a: j.np.einsum("ij,jk,ki->", a, a, a))(j.matrix)


@check
def matmul_batch(j: Any) -> Any:
    return j.grad(lambda a: (j.np.matmul(a[None], j.np.stack([a, a])) ** 2).sum())(j.matrix)


@check
def concat_grad(j: Any) -> Any:
    return j.grad(lambda a: (j.np.concatenate([a, a * 2]) ** 2).sum())(j.vector)


@check
def pow_grads(j: Any) -> Any:
    return j.grad(lambda a, b: (a**b).sum(), argnums=(0, 1))(j.vector, j.array([2.0, 0.0, -1.0]))


@check
def jac_bool_out(j: Any) -> Any:
    return j.jvp(lambda a: (a, a > 1), (j.vector,), (j.vector,))[0]


@check
def vjp_bool_out(j: Any) -> Any:
    return j.vjp(lambda a: (a * 2, a > 1), j.vector)[0]


@check
def ck_pol(j: Any) -> Any:
    return j.grad(
        lambda a: j.scan(j.checkpoint(lambda s, x: (j.np.sin(s) * x, s)), j.array(1.0), a)[0]
    )(j.vector)


@check
def ck_static(j: Any) -> Any:
    return j.grad(lambda a: j.checkpoint(lambda v: v * 3 if True else v)(a).sum())(j.vector)


@check
def logsumexp_g(j: Any) -> Any:
    return j.grad(lambda a: j.np.log(j.np.sum(j.np.exp(a))))(j.vector)


@check
def grad_of_max_axis(j: Any) -> Any:
    return j.grad(lambda a: j.np.max(a, axis=0).sum())(j.array([[1.0, 5.0], [1.0, 2.0]]))


@check
def tri(j: Any) -> Any:
    return (
        j.grad(lambda a: j.np.tril(a).sum())(j.matrix),
        j.grad(lambda a: j.np.trace(a) * j.np.diag(a).prod())(j.matrix),
    )


@check
def interp(j: Any) -> Any:
    return j.grad(
        lambda a: j.np.interp(a, j.array([0.0, 1.0, 2.0]), j.array([0.0, 10.0, 40.0])).sum()
    )(j.array([0.5, 1.5]))


def compare(mine: Any, other: Any) -> None:
    """The same containers, shapes and values."""
    if isinstance(other, dict):
        assert mine.keys() == other.keys()
        for name, value in other.items():
            compare(mine[name], value)
    elif isinstance(other, (tuple, list)):
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            compare(a, b)
    elif other is None:
        assert mine is None
    else:
        expected = np.asarray(other, np.float64)
        assert np.shape(mine) == expected.shape
        np.testing.assert_allclose(np.asarray(mine, np.float64), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", CHECKS)
def test_as_jax(name: str) -> None:
    with jax.enable_x64(True):
        expected = CHECKS[name](theirs())
    compare(CHECKS[name](ours()), expected)
