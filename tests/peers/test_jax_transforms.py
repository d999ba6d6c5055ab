"""What transformations of functions give, against jax: containers, axes, second derivatives.

Each check is written once, for a library with the names of jax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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
def stopg(j: Any) -> Any:
    return (
        j.grad(lambda a: (a * j.stop_gradient(a)).sum())(j.vector),
        j.grad(lambda d: (d["a"] * j.stop_gradient(d)["a"]).sum())({"a": j.vector}),
        j.jvp(lambda a: j.stop_gradient(a) * a, (j.vector,), (j.vector,)),
    )


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


@pytest.mark.parametrize("name", CHECKS)
def test_as_jax(name: str) -> None:
    with jax.enable_x64(True):
        expected = CHECKS[name](theirs())
    compare(CHECKS[name](ours()), expected)
