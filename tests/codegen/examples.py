"""Hand-written logical kernels, each with its inputs and its meaning in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusegrad.codegen.dtypes import DType, float32, int64
from fusegrad.codegen.expr import Buffer, Expr, Extent, Load, Var, const, index
from fusegrad.codegen.kernel import (
    Alloc,
    For,
    If,
    Kernel,
    Let,
    Monoid,
    Param,
    Role,
    Serial,
    Stmt,
    Store,
    Tree,
)
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.scalar import apply

Array = np.ndarray[Any, Any]
SUM, MAX = Monoid.SUM, Monoid.MAX


@dataclass(frozen=True)
class Example:
    """A kernel, its arrays by parameter (those it writes hold the expected result), its sizes."""

    kernel: Kernel
    inputs: dict[str, Array]
    expected: dict[str, Array]
    sizes: tuple[int, ...]

    def arrays(self) -> list[Array]:
        """Fresh arrays to run on; what is written starts out as garbage."""
        result = []
        for p in self.kernel.params:
            name = p.buffer.name
            if name in self.inputs:
                result.append(self.inputs[name].copy())
            else:
                fill = np.nan if p.buffer.dtype.is_float else 77
                result.append(np.full_like(self.expected[name], fill))
        return result

    def check(self, arrays: Sequence[Array], tolerance: float = 2e-5) -> None:
        """Whether the arrays that the kernel wrote are the expected ones."""
        for p, array in zip(self.kernel.params, arrays, strict=True):
            name = p.buffer.name
            if name in self.expected:
                expected = self.expected[name].reshape(-1)
                np.testing.assert_allclose(
                    array.reshape(-1), expected, tolerance, tolerance, err_msg=name
                )
            else:
                np.testing.assert_array_equal(array.reshape(-1), self.inputs[name].reshape(-1))


# --- shorthand -----------------------------------------------------------------------------------


def op(name: str, *args: Expr | float) -> Expr:
    """A scalar op; numbers take the dtype of the first operand that is an expression."""
    like = next(a.dtype for a in args if isinstance(a, Expr) and a.dtype.bits > 1)
    return apply(name, *(a if isinstance(a, Expr) else const(a, like) for a in args))


def f32(value: float) -> Expr:
    return const(value, float32)


def each(var: Var, extent: Extent | Expr, *body: Stmt) -> For:
    """An `any` loop."""
    return For(var, extent, AnyOrder(), body)


def tree(
    var: Var, extent: Extent | Expr, carry: Sequence[tuple[Var, Expr, Monoid]], *body: Stmt | Expr
) -> For:
    """A `tree` loop; the expressions at the end are its contributions."""
    statements = tuple(s for s in body if isinstance(s, Stmt))
    given = tuple(e for e in body if isinstance(e, Expr))
    pairs = tuple((v, start) for v, start, _ in carry)
    return For(var, extent, Tree(tuple(m for *_, m in carry)), statements, pairs, given)


def params(**roles: tuple[Buffer, ...]) -> tuple[Param, ...]:
    """Parameters by role: ``reads``, ``writes``, ``updates``, and the partial sums ``sums``."""
    kinds = {"reads": Role.IN, "writes": Role.OUT, "updates": Role.INOUT, "sums": Role.PARTIAL}
    return tuple(
        Param(b, kinds[kind], SUM if kind == "sums" else None)
        for kind, buffers in roles.items()
        for b in buffers
    )


def _data(seed: int, *shape: int, dtype: DType = float32) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype.numpy)


# --- rows ----------------------------------------------------------------------------------------


def softmax(rows: int = 5, columns: int = 37) -> Example:
    size, r = Var("R"), Var("r")
    x, y = (Buffer(n, float32, (size, columns)) for n in "xy")
    e = Buffer("e", float32, (columns,), space="row")
    c0, c1, c2 = (Var("c", extent=columns) for _ in range(3))
    m, s, t, i = (Var(n, float32) for n in "msti")
    body = each(
        r,
        size,
        Alloc(e),
        tree(c0, columns, [(m, f32(-np.inf), MAX)], Load(x, (r, c0))),
        tree(
            c1,
            columns,
            [(s, f32(0), SUM)],
            Let(t, op("exp", op("sub", Load(x, (r, c1)), m))),
            Store(e, (c1,), t),
            t,
        ),
        Let(i, op("div", 1, s)),
        each(c2, columns, Store(y, (r, c2), op("mul", Load(e, (c2,)), i))),
    )
    kernel = Kernel("softmax", params(reads=(x,), writes=(y,)), (size,), (body,))
    a = _data(0, rows, columns)
    z = np.exp(a - a.max(1, keepdims=True))
    return Example(kernel, {"x": a}, {"y": z / z.sum(1, keepdims=True)}, (rows,))


def cross_entropy(rows: int = 6, columns: int = 11) -> Example:
    size, r = Var("R"), Var("r")
    x, dx = (Buffer(n, float32, (size, columns)) for n in ("x", "dx"))
    label = Buffer("label", int64, (size,))
    loss, total = Buffer("loss", float32, ()), Buffer("total", float32, ())
    e = Buffer("e", float32, (columns,), space="row")
    c0, c1, c2 = (Var("c", extent=columns) for _ in range(3))
    m, s, t, i = (Var(n, float32) for n in "msti")
    k = Var("k")
    n = apply("cast", size, dtype=float32)
    picked = op("sub", op("add", op("log", s), m), Load(x, (r, k)))
    hit = apply("select", apply("eq", c2, k), op("div", 1, n), f32(0))
    body = each(
        r,
        size,
        Alloc(e),
        Let(k, Load(label, (r,))),
        tree(c0, columns, [(m, f32(-np.inf), MAX)], Load(x, (r, c0))),
        tree(
            c1,
            columns,
            [(s, f32(0), SUM)],
            Let(t, op("exp", op("sub", Load(x, (r, c1)), m))),
            Store(e, (c1,), t),
            t,
        ),
        Store(loss, (), op("mul", op("div", 1, n), picked), SUM),
        Let(i, op("div", op("div", 1, s), n)),
        each(c2, columns, Store(dx, (r, c2), op("sub", op("mul", Load(e, (c2,)), i), hit))),
    )
    kernel = Kernel(
        "xent_grad",
        params(reads=(x, label), sums=(loss,), writes=(dx, total)),
        (size,),
        (body,),
        (Store(total, (), Load(loss, ())),),
    )
    a = _data(1, rows, columns)
    labels = np.random.default_rng(2).integers(0, columns, rows)
    z = np.exp(a - a.max(1, keepdims=True))
    p = z / z.sum(1, keepdims=True)
    mean = np.float32(-np.log(p[np.arange(rows), labels]).mean())
    gradient = (p - np.eye(columns, dtype=np.float32)[labels]) / np.float32(rows)
    expected = {"loss": np.array(mean), "total": np.array(mean), "dx": gradient}
    return Example(kernel, {"x": a, "label": labels}, expected, (rows,))


def layer_norm_grad(rows: int = 7, columns: int = 13) -> Example:
    size, r = Var("R"), Var("r")
    x, g, dx = (Buffer(n, float32, (size, columns)) for n in ("x", "g", "dx"))
    gamma = Buffer("gamma", float32, (columns,))
    dgamma, dbeta = (Buffer(n, float32, (columns,)) for n in ("dgamma", "dbeta"))
    c0, c1, c2, c3, c4 = (Var("c", extent=columns) for _ in range(5))
    total, mean, v, s, a, b = (Var(n, float32) for n in ("total", "mean", "v", "s", "a", "b"))
    d, h, w, h2, w2 = (Var(n, float32) for n in ("d", "h", "w", "h", "w"))

    def scaled(c: Var) -> Expr:
        return op("mul", op("sub", Load(x, (r, c)), mean), s)

    def weighted(c: Var) -> Expr:
        return op("mul", Load(g, (r, c)), Load(gamma, (c,)))

    correction = op("add", op("div", a, columns), op("mul", h2, op("div", b, columns)))
    body = each(
        r,
        size,
        tree(c0, columns, [(total, f32(0), SUM)], Load(x, (r, c0))),
        Let(mean, op("div", total, columns)),
        tree(
            c1,
            columns,
            [(v, f32(0), SUM)],
            Let(d, op("sub", Load(x, (r, c1)), mean)),
            op("mul", d, d),
        ),
        Let(s, op("rsqrt", op("add", op("div", v, columns), 1e-5))),
        tree(
            c2,
            columns,
            [(a, f32(0), SUM), (b, f32(0), SUM)],
            Let(h, scaled(c2)),
            Let(w, weighted(c2)),
            Store(dgamma, (c2,), op("mul", Load(g, (r, c2)), h), SUM),
            Store(dbeta, (c2,), Load(g, (r, c2)), SUM),
            w,
            op("mul", w, h),
        ),
        each(
            c3,
            columns,
            Let(h2, scaled(c3)),
            Let(w2, weighted(c3)),
            Store(dx, (r, c3), op("mul", s, op("sub", w2, correction))),
        ),
    )
    out = Buffer("out", float32, (columns,))
    kernel = Kernel(
        "layer_norm_grad",
        params(reads=(x, gamma, g), writes=(dx, out), sums=(dgamma, dbeta)),
        (size,),
        (body,),
        (each(c4, columns, Store(out, (c4,), Load(dgamma, (c4,)))),),
    )
    xs, gs, weights = _data(3, rows, columns), _data(4, rows, columns), _data(5, columns)
    x64 = xs.astype(np.float64)
    mu = x64.mean(1, keepdims=True)
    scale = 1 / np.sqrt(x64.var(1, keepdims=True) + 1e-5)
    hat = (x64 - mu) * scale
    u = gs * weights
    result = scale * (u - u.mean(1, keepdims=True) - hat * (u * hat).mean(1, keepdims=True))
    expected = {
        "dx": result.astype(np.float32),
        "dgamma": (gs * hat).sum(0).astype(np.float32),
        "out": (gs * hat).sum(0).astype(np.float32),
        "dbeta": gs.sum(0),
    }
    return Example(kernel, {"x": xs, "g": gs, "gamma": weights}, expected, (rows,))


def argmax(rows: int = 4, columns: int = 9) -> Example:
    size, r = Var("R"), Var("r")
    x, y = Buffer("x", float32, (size, columns)), Buffer("y", int64, (size,))
    c = Var("c", extent=columns)
    m, at = Var("m", float32), Var("at")
    loop = For(
        c,
        columns,
        Tree((Monoid.ARGMAX,)),
        (),
        ((m, f32(-np.inf)), (at, index(0))),
        (Load(x, (r, c)), c),
    )
    body = each(r, size, loop, Store(y, (r,), at))
    kernel = Kernel("argmax", params(reads=(x,), writes=(y,)), (size,), (body,))
    a = np.round(_data(6, rows, columns))
    a[1 % rows, 3] = a[1 % rows, 5] = np.nan
    return Example(kernel, {"x": a}, {"y": a.argmax(1)}, (rows,))


# --- flat, and reductions that are not along rows -------------------------------------------------


def elementwise(size: int = 10007) -> Example:
    n, i = Var("N"), Var("i")
    x, z, y = (Buffer(name, float32, (n,)) for name in "xzy")
    t = Var("t", float32)
    body = each(
        i,
        n,
        Let(t, op("mul", Load(x, (i,)), 0.5)),
        Store(y, (i,), op("add", op("mul", t, t), Load(z, (i,)))),
    )
    kernel = Kernel("elementwise", params(reads=(x, z), writes=(y,)), (n,), (body,))
    a, b = _data(7, size), _data(8, size)
    half = a * np.float32(0.5)
    return Example(kernel, {"x": a, "z": b}, {"y": half * half + b}, (size,))


def broadcast_bias(rows: int = 19, columns: int = 33) -> Example:
    """Independent loops over rows and columns, nothing reduced."""
    size, r, c = Var("R"), Var("r"), Var("c", extent=columns)
    x, y = (Buffer(n, float32, (size, columns)) for n in "xy")
    b = Buffer("b", float32, (columns,))
    value = op("maximum", op("add", Load(x, (r, c)), Load(b, (c,))), 0)
    body = each(r, size, each(c, columns, Store(y, (r, c), value)))
    kernel = Kernel("bias_relu", params(reads=(x, b), writes=(y,)), (size,), (body,))
    a, bias = _data(9, rows, columns), _data(10, columns)
    return Example(kernel, {"x": a, "b": bias}, {"y": np.maximum(a + bias, 0)}, (rows,))


def total(size: int = 10007) -> Example:
    """The mean of squares, accumulated into a partial scalar and finished."""
    n, i = Var("N"), Var("i")
    x, acc, y = Buffer("x", float32, (n,)), Buffer("acc", float32, ()), Buffer("y", float32, ())
    t = Var("t", float32)
    body = each(i, n, Let(t, Load(x, (i,))), Store(acc, (), op("mul", t, t), SUM))
    mean = op("div", Load(acc, ()), apply("cast", n, dtype=float32))
    kernel = Kernel(
        "mean_square",
        params(reads=(x,), sums=(acc,), writes=(y,)),
        (n,),
        (body,),
        (Store(y, (), mean),),
    )
    a = _data(11, size)
    sum_ = np.float32((a.astype(np.float64) ** 2).sum())
    expected = {"acc": np.array(sum_), "y": np.array(sum_ / np.float32(size))}
    return Example(kernel, {"x": a}, expected, (size,))


def column_sum(rows: int = 21, columns: int = 35) -> Example:
    """Sums along the axis with the large stride: one output for each column."""
    r, c = Var("r", extent=rows), Var("c", extent=columns)
    x, y = Buffer("x", float32, (rows, columns)), Buffer("y", float32, (columns,))
    s = Var("s", float32)
    loop = tree(r, rows, [(s, f32(0), SUM)], Load(x, (r, c)))
    body = each(c, columns, loop, Store(y, (c,), s))
    kernel = Kernel("column_sum", params(reads=(x,), writes=(y,)), (), (body,))
    a = _data(12, rows, columns)
    return Example(kernel, {"x": a}, {"y": a.sum(0)}, ())


def row_and_column(rows: int = 23, columns: int = 18) -> Example:
    """Row maxima, and column sums of the same pass into a partial parameter."""
    size, r, c = Var("R"), Var("r"), Var("c", extent=columns)
    x, y = Buffer("x", float32, (size, columns)), Buffer("y", float32, (size,))
    sums = Buffer("sums", float32, (columns,))
    m = Var("m", float32)
    loop = tree(
        c,
        columns,
        [(m, f32(-np.inf), MAX)],
        Store(sums, (c,), Load(x, (r, c)), SUM),
        Load(x, (r, c)),
    )
    body = each(r, size, loop, Store(y, (r,), m))
    kernel = Kernel(
        "row_max_column_sum", params(reads=(x,), writes=(y,), sums=(sums,)), (size,), (body,)
    )
    a = _data(13, rows, columns)
    return Example(kernel, {"x": a}, {"y": a.max(1), "sums": a.sum(0)}, (rows,))


def cumulative_sum(rows: int = 5, columns: int = 12) -> Example:
    """A serial loop with a carried state."""
    size, r, c = Var("R"), Var("r"), Var("c", extent=columns)
    x, y = (Buffer(n, float32, (size, columns)) for n in "xy")
    s, t = Var("s", float32), Var("t", float32)
    loop = For(
        c,
        columns,
        Serial(),
        (Let(t, op("add", s, Load(x, (r, c)))), Store(y, (r, c), t)),
        ((s, f32(0)),),
        (t,),
    )
    kernel = Kernel("cumsum", params(reads=(x,), writes=(y,)), (size,), (each(r, size, loop),))
    a = _data(14, rows, columns)
    return Example(kernel, {"x": a}, {"y": a.cumsum(1)}, (rows,))


def column_softmax(rows: int = 9, columns: int = 37) -> Example:
    """Softmax along the axis with the large stride; the row memory is private to a column."""
    c = Var("c", extent=columns)
    x, y = (Buffer(n, float32, (rows, columns)) for n in "xy")
    e = Buffer("e", float32, (rows,), space="row")
    r0, r1, r2 = (Var("r", extent=rows) for _ in range(3))
    m, s, t = (Var(n, float32) for n in "mst")
    body = each(
        c,
        columns,
        Alloc(e),
        tree(r0, rows, [(m, f32(-np.inf), MAX)], Load(x, (r0, c))),
        tree(
            r1,
            rows,
            [(s, f32(0), SUM)],
            Let(t, op("exp", op("sub", Load(x, (r1, c)), m))),
            Store(e, (r1,), t),
            t,
        ),
        each(r2, rows, Store(y, (r2, c), op("div", Load(e, (r2,)), s))),
    )
    kernel = Kernel("column_softmax", params(reads=(x,), writes=(y,)), (), (body,))
    a = _data(18, rows, columns)
    z = np.exp(a - a.max(0))
    return Example(kernel, {"x": a}, {"y": z / z.sum(0)}, ())


def middle_sum(batch: int = 3, rows: int = 7, columns: int = 21) -> Example:
    """A sum over the middle of three axes."""
    size, b = Var("B"), Var("b")
    r, c = Var("r", extent=rows), Var("c", extent=columns)
    x, y = Buffer("x", float32, (size, rows, columns)), Buffer("y", float32, (size, columns))
    s = Var("s", float32)
    loop = tree(r, rows, [(s, f32(0), SUM)], Load(x, (b, r, c)))
    body = each(b, size, each(c, columns, loop, Store(y, (b, c), s)))
    kernel = Kernel("middle_sum", params(reads=(x,), writes=(y,)), (size,), (body,))
    a = _data(19, batch, rows, columns)
    return Example(kernel, {"x": a}, {"y": a.sum(1)}, (batch,))


def flat_cumulative_sum(size: int = 50) -> Example:
    """A serial loop and nothing around it."""
    n, i = Var("N"), Var("i")
    x, y = (Buffer(name, float32, (n,)) for name in "xy")
    s, t = Var("s", float32), Var("t", float32)
    body = (Let(t, op("add", s, Load(x, (i,)))), Store(y, (i,), t))
    loop = For(i, n, Serial(), body, ((s, f32(0)),), (t,))
    kernel = Kernel("flat_cumsum", params(reads=(x,), writes=(y,)), (n,), (loop,))
    a = _data(20, size)
    return Example(kernel, {"x": a}, {"y": a.cumsum()}, (size,))


def scatter_add(rows: int = 12, columns: int = 10, extent: int = 5) -> Example:
    """Rows added up at given places; a loop of zeros comes first."""
    size, r, at = Var("R"), Var("r"), Var("at")
    z0, z1 = Var("z", extent=extent), Var("z", extent=columns)
    c = Var("c", extent=columns)
    x, y = Buffer("x", float32, (size, columns)), Buffer("y", float32, (extent, columns))
    where = Buffer("where", int64, (size,))
    add = each(c, columns, Store(y, (at, c), Load(x, (r, c)), SUM))
    body = (
        each(z0, extent, each(z1, columns, Store(y, (z0, z1), f32(0)))),
        For(r, size, Serial(), (Let(at, Load(where, (r,))), add)),
    )
    kernel = Kernel("scatter_add", params(reads=(x, where), writes=(y,)), (size,), body)
    a, places = _data(21, rows, columns), np.random.default_rng(22).integers(0, extent, rows)
    expected = np.zeros((extent, columns), np.float32)
    np.add.at(expected, places, a)
    return Example(kernel, {"x": a, "where": places}, {"y": expected}, (rows,))


def histogram(size: int = 4500, extent: int = 7) -> Example:
    """Independent iterations that meet in the elements of a partial parameter."""
    n, i, at = Var("N"), Var("i"), Var("at")
    x, counts = Buffer("x", int64, (n,)), Buffer("counts", float32, (extent,))
    body = each(i, n, Let(at, Load(x, (i,))), Store(counts, (at,), f32(1), SUM))
    kernel = Kernel("histogram", params(reads=(x,), sums=(counts,)), (n,), (body,))
    a = np.random.default_rng(23).integers(0, extent, size)
    counted = np.bincount(a, minlength=extent).astype(np.float32)
    return Example(kernel, {"x": a}, {"counts": counted}, (size,))


def plane_total(rows: int = 11, columns: int = 29) -> Example:
    """A scalar accumulated from two loops, the rows shifted inside of a larger output."""
    size, r, c = Var("R"), Var("r"), Var("c", extent=columns)
    x, y = Buffer("x", float32, (size, columns)), Buffer("y", float32, (size, columns + 3))
    acc = Buffer("acc", float32, ())
    value = Load(x, (r, c))
    inner = each(
        c,
        columns,
        Store(acc, (), value, SUM),
        Store(y, (r, op("add", c, 3)), op("neg", value)),
    )
    pad = Var("p", extent=3)
    body = each(r, size, inner, each(pad, 3, Store(y, (r, pad), f32(0))))
    kernel = Kernel("plane_total", params(reads=(x,), writes=(y,), sums=(acc,)), (size,), (body,))
    a = _data(24, rows, columns)
    expected = {"acc": np.array(a.sum()), "y": np.pad(-a, ((0, 0), (3, 0)))}
    return Example(kernel, {"x": a}, expected, (rows,))


def transposed(batch: int = 2, rows: int = 70, columns: int = 33) -> Example:
    """An operand that lies across: its elements are next to each other along the outer loop."""
    size, b = Var("B"), Var("b")
    r, c = Var("r", extent=rows), Var("c", extent=columns)
    x, y = Buffer("x", float32, (size, columns, rows)), Buffer("y", float32, (size, rows, columns))
    z = Buffer("z", float32, (rows, columns))
    t = Var("t", float32)
    inner = each(
        c,
        columns,
        Let(t, op("exp", Load(x, (b, c, r)))),
        Store(y, (b, r, c), op("add", t, Load(z, (r, c)))),
    )
    body = each(b, size, each(r, rows, inner))
    kernel = Kernel("transposed", params(reads=(x, z), writes=(y,)), (size,), (body,))
    a, added = _data(26, batch, columns, rows), _data(27, rows, columns)
    expected = np.exp(a.swapaxes(1, 2)) + added
    return Example(kernel, {"x": a, "z": added}, {"y": expected}, (batch,))


def guarded(size: int = 100) -> Example:
    """A condition inside of the innermost loop, and a load that is only right under it."""
    n, i = Var("N"), Var("i")
    x, y = (Buffer(name, float32, (n,)) for name in "xy")
    previous = op("add", Load(x, (i,)), Load(x, (op("sub", i, 1),)))
    body = each(
        i,
        n,
        Store(y, (i,), Load(x, (i,))),
        If(apply("gt", i, index(0)), (Store(y, (i,), previous),)),
    )
    kernel = Kernel("guarded", params(reads=(x,), writes=(y,)), (n,), (body,))
    a = _data(25, size)
    return Example(kernel, {"x": a}, {"y": a + np.pad(a[:-1], (1, 0))}, (size,))


# --- contractions --------------------------------------------------------------------------------


def matmul(
    form: str = "NN",
    m: int = 9,
    n: int = 35,
    depth: int = 17,
    batch: Sequence[int] = (),
    dtype: DType = float32,
    epilogue: Callable[[Expr, Expr], Expr] | None = None,
    half: DType | None = None,
) -> Example:
    """``y = a @ b``, operands transposed or converted; `m` or the first batch is a size."""
    size = Var("S")
    outer: list[Extent] = [size, *batch[1:]] if batch else []
    rows: Extent = m if batch else size
    known = [e if isinstance(e, int) else None for e in outer]
    batch_vars = [Var(f"b{n}", extent=e) for n, e in enumerate(known)]
    i, j, k = Var("i", extent=m if batch else None), Var("j", extent=n), Var("k", extent=depth)
    a_shape = (*outer, rows, depth) if form[0] == "N" else (*outer, depth, rows)
    b_shape = (*outer, depth, n) if form[1] == "N" else (*outer, n, depth)
    given = half or dtype
    a, b = Buffer("a", given, a_shape), Buffer("b", given, b_shape)
    y = Buffer("y", dtype, (*outer, rows, n))
    bias = Buffer("bias", dtype, (n,))
    left: Expr = Load(a, (*batch_vars, *((i, k) if form[0] == "N" else (k, i))))
    right: Expr = Load(b, (*batch_vars, *((k, j) if form[1] == "N" else (j, k))))
    if half is not None:
        left, right = (apply("cast", e, dtype=dtype) for e in (left, right))
    s = Var("s", dtype)
    value: Expr = s
    if epilogue is not None:
        value = epilogue(s, Load(bias, (j,)))
    loop = tree(k, depth, [(s, const(0, dtype), SUM)], op("mul", left, right))
    body: Stmt = each(j, n, loop, Store(y, (*batch_vars, i, j), value))
    body = each(i, rows, body)
    for var, extent in zip(reversed(batch_vars), reversed(outer), strict=True):
        body = each(var, extent, body)
    reads = (a, b) if epilogue is None else (a, b, bias)
    kernel = Kernel(f"matmul_{form}", params(reads=reads, writes=(y,)), (size,), (body,))
    x = _data(15, *batch, *((m, depth) if form[0] == "N" else (depth, m)), dtype=given)
    w = _data(16, *batch, *((depth, n) if form[1] == "N" else (n, depth)), dtype=given)
    inputs = {"a": x, "b": w}
    x, w = x.astype(dtype.numpy), w.astype(dtype.numpy)
    product = (x if form[0] == "N" else np.swapaxes(x, -1, -2)) @ (
        w if form[1] == "N" else np.swapaxes(w, -1, -2)
    )
    if epilogue is not None:
        inputs["bias"] = _data(17, n, dtype=dtype)
        product = np.maximum(product + inputs["bias"], 0)
    return Example(kernel, inputs, {"y": product}, (batch[0] if batch else m,))


def relu_bias(s: Expr, bias: Expr) -> Expr:
    return op("maximum", op("add", s, bias), 0)


EXAMPLES: dict[str, Callable[[], Example]] = {
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "layer_norm_grad": layer_norm_grad,
    "argmax": argmax,
    "elementwise": elementwise,
    "broadcast_bias": broadcast_bias,
    "total": total,
    "column_sum": column_sum,
    "row_and_column": row_and_column,
    "cumulative_sum": cumulative_sum,
    "column_softmax": column_softmax,
    "middle_sum": middle_sum,
    "flat_cumulative_sum": flat_cumulative_sum,
    "scatter_add": scatter_add,
    "histogram": histogram,
    "plane_total": plane_total,
    "transposed": transposed,
    "guarded": guarded,
    "matmul": matmul,
}
