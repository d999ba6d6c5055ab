"""Every rule of the kernel language, broken once."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fusegrad.codegen.dtypes import float32, float64, int32, int64
from fusegrad.codegen.expr import Apply, Buffer, Expr, Load, Var, const, index
from fusegrad.codegen.kernel import (
    Alloc,
    Contract,
    Copy,
    For,
    If,
    Kernel,
    Let,
    Monoid,
    Parallel,
    Param,
    Prefetch,
    Role,
    Serial,
    Stmt,
    Store,
    Tree,
    Unroll,
    Vector,
)
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.verify import VerifyError, verify_kernel
from tests.codegen.examples import EXAMPLES, op

X = Buffer("x", float32, (8,))
Y = Buffer("y", float32, (8,))
P = Buffer("p", float32, (8,))
N = Var("N")
PARAMS = (Param(X, Role.IN), Param(Y, Role.OUT), Param(P, Role.PARTIAL, Monoid.SUM))
ZERO, ONE = index(0), const(1, float32)


def kernel(*body: Stmt, finish: tuple[Stmt, ...] = ()) -> Kernel:
    return Kernel("k", PARAMS, (N,), body, finish)


def loop(*body: Stmt, **rest: object) -> For:
    return For(Var("i", extent=8), 8, AnyOrder(), body, **rest)  # type: ignore[arg-type]


def store(value: Expr = ONE, buffer: Buffer = Y, at: Expr = ZERO, **rest: object) -> Store:
    return Store(buffer, (at,), value, **rest)  # type: ignore[arg-type]


def tree(*carry: tuple[Var, Expr], following: tuple[Expr, ...], monoids: tuple[Monoid, ...]) -> For:
    return For(Var("k", extent=8), 8, Tree(monoids), (), carry, following)


def vector(*body: Stmt) -> For:
    return loop(*body, mapping=Vector(8))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_well_formed(name: str) -> None:
    verify_kernel(EXAMPLES[name]().kernel)


def _scopes() -> dict[str, tuple[Kernel, str]]:
    i, t, s = Var("i", extent=8), Var("t", float32), Var("s", float32)
    local = Buffer("e", float32, (8,), space="row")
    inside = For(i, 8, AnyOrder(), (Let(t, ONE), Alloc(local)))
    return {
        "free variable": (kernel(store(t)), "t is not bound here"),
        "loop variable after its loop": (kernel(inside, store(at=i)), "i is not bound here"),
        "let after its block": (kernel(inside, store(t)), "t is not bound here"),
        "alloc after its block": (kernel(inside, store(buffer=local)), "e is not allocated here"),
        "prefetch of nothing": (kernel(Prefetch(local, (ZERO,))), "e is not allocated here"),
        "load from nowhere": (kernel(store(Load(local, (ZERO,)))), "e is not allocated here"),
        "two lets of one variable": (kernel(Let(t, ONE), Let(t, ONE)), "bound a second time"),
        "alloc twice": (kernel(Alloc(local), Alloc(local)), "allocated a second time"),
        "result of a tree inside of it": (
            kernel(tree((s, ONE), following=(s,), monoids=(Monoid.SUM,))),
            "s is not bound here",
        ),
        "variable of the body in finish": (
            kernel(Let(t, ONE), finish=(store(t),)),
            "t is not bound here",
        ),
    }


def _types() -> dict[str, tuple[Kernel, str]]:
    double, flag = const(1, float64), Var("b", float32)
    s, at = Var("s", float32), Var("at", float32)
    bad = Apply("add", (ONE, double), float32)
    return {
        "store": (kernel(store(double)), "a store of f64 into f32 y"),
        "let": (kernel(Let(flag, double)), "b is f32, its value f64"),
        "condition": (kernel(If(ONE, ())), "the condition is f32, not bool"),
        "index": (kernel(store(at=const(0, int32))), "an index of y is i32, not i64"),
        "operands": (kernel(store(bad)), "add takes operands of one dtype"),
        "result": (kernel(store(Apply("eq", (ONE, ONE), float32))), "eq gives bool, not f32"),
        "arity": (kernel(store(Apply("add", (ONE,), float32))), "add takes 2 operands, not 1"),
        "unknown op": (kernel(store(Apply("frob", (ONE,), float32))), "no scalar op frob"),
        "axes": (kernel(Store(Y, (ZERO, ZERO), ONE)), "y has 1 axes, not 2"),
        "axes of a prefetch": (kernel(Prefetch(Y, (ZERO, ZERO))), "y has 1 axes, not 2"),
        "start": (
            kernel(tree((s, double), following=(ONE,), monoids=(Monoid.SUM,))),
            "s is f32, its start f64",
        ),
        "next": (
            kernel(tree((s, ONE), following=(double,), monoids=(Monoid.SUM,))),
            "s is f32, its next f64",
        ),
        "position": (
            kernel(
                tree(
                    (s, ONE),
                    (at, const(0, float32)),
                    following=(ONE, const(0, float32)),
                    monoids=(Monoid.ARGMAX,),
                )
            ),
            "argmax carries a value and a position, i32 or i64",
        ),
        "extent": (
            kernel(For(Var("i"), const(3, int32), AnyOrder(), ())),
            "an extent or loop variable of i32, not i64",
        ),
    }


def _loops() -> dict[str, tuple[Kernel, str]]:
    s, i, j = Var("s", float32), Var("i", extent=8), Var("j")
    ragged = vector(For(j, op("add", i, 1), Serial(), ()))
    ragged = For(i, 8, AnyOrder(), ragged.body, mapping=Vector(8))
    through = Var("n")
    lets = (Let(through, op("add", i, 1)), For(j, through, Serial(), ()))
    return {
        "width": (
            kernel(tree((s, ONE), following=(ONE,), monoids=(Monoid.ARGMAX,))),
            "1 carried variables, 1 next, 2 expected",
        ),
        "missing next": (
            kernel(tree((s, ONE), following=(), monoids=(Monoid.SUM,))),
            "1 carried variables, 0 next, 1 expected",
        ),
        "any with carry": (
            kernel(loop(carry=((s, ONE),), next=(ONE,))),
            "independent iterations carry nothing",
        ),
        "longer than said": (
            kernel(For(i, 9, AnyOrder(), ())),
            "i is said to stay below 8",
        ),
        "unroll": (
            kernel(loop(For(j, N, AnyOrder(), (), mapping=Unroll()), mapping=Parallel())),
            "an unrolled loop has a known extent",
        ),
        "serial vector": (
            kernel(loop(For(j, 8, Serial(), (), mapping=Vector(8)), mapping=Parallel())),
            "serial iterations cannot run in vectors",
        ),
        "vector in vector": (
            kernel(vector(For(j, 8, AnyOrder(), (), mapping=Vector(8)))),
            "a vector loop inside of a vector loop",
        ),
        "extent by lane": (kernel(ragged), "the extent differs from lane to lane"),
        "extent by a value of the lane": (
            kernel(For(i, 8, AnyOrder(), lets, mapping=Vector(8))),
            "the extent differs from lane to lane",
        ),
        "loop not last": (
            kernel(loop(mapping=Parallel()), store()),
            "the last statement of a mapped kernel is not its parallel loop",
        ),
        "store before the loop": (
            kernel(store(), loop(mapping=Parallel())),
            "every chunk would run this",
        ),
        "two parallel loops": (
            kernel(loop(loop(mapping=Parallel()), mapping=Parallel())),
            "a second parallel loop",
        ),
        "only an inner loop is mapped": (
            kernel(loop(loop(mapping=Vector(8)))),
            "the last statement of a mapped kernel is not its parallel loop",
        ),
        "parallel reduction": (
            kernel(
                For(i, 8, Tree((Monoid.SUM,)), (), ((s, ONE),), (ONE,), mapping=Parallel()),
            ),
            "the iterations of the parallel loop are not independent",
        ),
    }


def _roles() -> dict[str, tuple[Kernel, str]]:
    load = Load(P, (ZERO,))
    twice = Kernel("k", (Param(X, Role.IN), Param(X, Role.OUT)), (), ())
    nameless = Kernel("k", (Param(P, Role.PARTIAL),), (), ())
    return {
        "input written": (kernel(store(buffer=X)), "x is an input, and written"),
        "partial read": (kernel(store(load)), "p is partial, and read before finish"),
        "partial stored": (kernel(store(buffer=P)), "p is only accumulated into, by sum"),
        "other monoid": (
            kernel(store(buffer=P, monoid=Monoid.MAX)),
            "p is only accumulated into, by sum",
        ),
        "partial written in finish": (
            kernel(finish=(store(buffer=P, monoid=Monoid.SUM),)),
            "p is partial, and written in finish",
        ),
        "parameter twice": (twice, "x is a parameter twice"),
        "partial without monoid": (nameless, "partial parameters have a monoid"),
        "store by argmax": (
            kernel(store(monoid=Monoid.ARGMAX)),
            "a store cannot accumulate by argmax",
        ),
        "nontemporal sum": (
            kernel(store(monoid=Monoid.SUM, nontemporal=True)),
            "cannot go around the cache",
        ),
    }


def _boxes() -> dict[str, tuple[Kernel, str]]:
    tile = Buffer("acc", float32, (2, 4), space="tile")
    matrix = Buffer("m", float32, (4, 4))
    wide = Buffer("w", float64, (4, 4))
    zeros = (ZERO, ZERO)

    def copy(source: Buffer = matrix, axes: tuple[int, int] = (0, 1)) -> Copy:
        return Copy(tile, source, zeros, *axes, index(2), index(4))

    def contract(b: Buffer = matrix) -> Contract:
        return Contract(tile, matrix, zeros, 0, 1, b, zeros, 0, 1, 4, index(2), index(4))

    def make(*body: Stmt) -> Kernel:
        reads = (Param(matrix, Role.IN), Param(wide, Role.IN))
        return Kernel("k", reads, (), body)

    verify_kernel(make(Alloc(tile), copy(), contract()))
    return {
        "not allocated": (make(copy()), "acc is not allocated here"),
        "axes": (make(Alloc(tile), copy(axes=(1, 1))), r"m has no axes (1, 1)"),
        "dtype": (make(Alloc(tile), contract(wide)), "w is f64, not f32"),
        "lanes": (
            make(Alloc(tile), vector(copy())),
            "a box inside of a vector loop",
        ),
    }


GROUPS: dict[str, Callable[[], dict[str, tuple[Kernel, str]]]] = {
    "scopes": _scopes,
    "types": _types,
    "loops": _loops,
    "roles": _roles,
    "boxes": _boxes,
}
CASES = [
    pytest.param(*case, id=f"{group}: {name}")
    for group, make in GROUPS.items()
    for name, case in make().items()
]


@pytest.mark.parametrize(("broken", "message"), CASES)
def test_rules(broken: Kernel, message: str) -> None:
    with pytest.raises(VerifyError) as error:
        verify_kernel(broken)
    assert message in str(error.value).splitlines()[0]


def test_the_message_shows_the_statement() -> None:
    i = Var("i", extent=8)
    body = For(i, 8, AnyOrder(), (store(at=i), store(Var("t", float32), at=i), store(at=i)))
    with pytest.raises(VerifyError) as error:
        verify_kernel(kernel(body))
    assert str(error.value).splitlines() == [
        "k: t is not bound here",
        "  kernel k(x: f32[8] in, y: f32[8] out, p: f32[8] partial sum, N) {",
        "    for i in 8 any {",
        "      y[i] = 1.0",
        ">     y[i] = t",
        "      y[i] = 1.0",
        "    }",
        "  }",
    ]


def test_extents_that_all_lanes_share() -> None:
    i, j, n = Var("i", extent=8), Var("j"), Var("n", int64)
    body = (Let(n, op("add", N, 1)), For(j, n, Serial(), (store(at=i),)))
    verify_kernel(kernel(For(i, 8, AnyOrder(), body, mapping=Vector(8))))


def test_linear_time() -> None:
    body: list[Stmt] = []
    e: Expr = ONE
    for _ in range(10_000):
        var = Var("t", float32)
        body.append(Let(var, op("add", e, ONE)))
        e = var
    start = time.perf_counter()
    verify_kernel(kernel(*body, store(e)))
    assert time.perf_counter() - start < 2
