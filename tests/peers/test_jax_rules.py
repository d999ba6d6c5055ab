"""Rules of one's own, checkpoints, loops and branches, transformed, against jax.

Each check is written once, for a library with the names of jax.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from tests.peers.jax_names import compare, ours, theirs

jax = pytest.importorskip("jax", reason="jax is not installed")
pytestmark = pytest.mark.peers

Check = Callable[[Any], Any]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


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
def ck_pol(j: Any) -> Any:
    return j.grad(
        lambda a: j.scan(j.checkpoint(lambda s, x: (j.np.sin(s) * x, s)), j.array(1.0), a)[0]
    )(j.vector)


@check
def ck_static(j: Any) -> Any:
    return j.grad(lambda a: j.checkpoint(lambda v: v * 3 if True else v)(a).sum())(j.vector)


@pytest.mark.parametrize("name", CHECKS)
def test_as_jax(name: str) -> None:
    with jax.enable_x64(True):
        expected = CHECKS[name](theirs())
    compare(CHECKS[name](ours()), expected)
