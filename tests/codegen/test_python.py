"""The Python target: the interpreter, plain CPython and numba agree."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import (
    DType,
    bool_,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint32,
    uint64,
)
from fusegrad.codegen.expr import Buffer, Expr, Load, Var, const
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Kernel, Let, Stmt, Store
from fusegrad.codegen.scalar import TABLE, apply
from fusegrad.codegen.schedule.cpu import schedule
from fusegrad.codegen.targets.base import named
from fusegrad.codegen.targets.python import python_source
from tests.codegen.examples import EXAMPLES, each, elementwise, matmul, op, params

Array = np.ndarray[Any, Any]
needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed"
)


def plain(kernel: Kernel) -> Callable[..., None]:
    """The function that the source defines."""
    names: dict[str, Any] = {}
    exec(python_source(kernel), names)
    function = names[kernel.name]

    def call(*args: Any) -> None:
        with np.errstate(all="ignore"):
            function(*args)

    call.__wrapped__ = function  # type: ignore[attr-defined]
    return call


def compiled(kernel: Kernel) -> Callable[..., None]:
    """The same function, compiled."""
    numba = pytest.importorskip("numba")
    function = plain(kernel).__wrapped__  # type: ignore[attr-defined]
    result: Callable[..., None] = numba.njit(error_model="numpy")(function)
    return result


MAKERS = [pytest.param(plain, id="plain"), pytest.param(compiled, id="numba", marks=needs_numba)]
SMALL: dict[str, Callable[[], Any]] = {
    **EXAMPLES,
    "elementwise": lambda: elementwise(50),
    "batched": lambda: matmul("TN", 3, 4, 5, (2, 3)),
}


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", SMALL)
def test_examples(name: str, make: Callable[[Kernel], Callable[..., None]]) -> None:
    example = SMALL[name]()
    arrays = [a.reshape(-1) for a in example.arrays()]
    make(example.kernel)(*arrays, *example.sizes)
    example.check(arrays)


@pytest.mark.parametrize("name", ["softmax", "total", "column_softmax", "layer_norm_grad"])
def test_mapped_kernels_run_as_well(name: str) -> None:
    example = EXAMPLES[name]()
    size = example.sizes[0] if example.sizes else 0
    kernel = schedule(example.kernel, size, named("avx2")).kernel
    arrays = [a.reshape(-1) for a in example.arrays()]
    plain(kernel)(*arrays, *example.sizes)
    example.check(arrays)


def test_register_tiles_have_no_python() -> None:
    kernel = schedule(matmul().kernel, 9, named("avx2")).kernel
    with pytest.raises(ValueError, match="no Python for a contract; give the logical kernel"):
        python_source(kernel)


@pytest.mark.parametrize("name", ["softmax", "cross_entropy", "argmax", "cumulative_sum"])
def test_source(name: str, golden: str) -> None:
    assert python_source(EXAMPLES[name]().kernel) == golden


# --- scalar ops ---------------------------------------------------------------------------------


def _rows(dtype: DType, operands: Sequence[Expr]) -> dict[str, Expr]:
    """Every row that takes operands of `dtype`."""
    found: dict[str, Expr] = {}
    for name, row in TABLE.items():
        if name in ("cast", "bitcast", "select", "rare", "philox", "philox64"):
            continue
        try:
            found[name] = apply(name, *operands[: row.arity])
        except TypeError:
            continue
    return found


def _kernel(values: dict[str, Expr], inputs: Sequence[Buffer], i: Var, n: int) -> Kernel:
    outputs = tuple(Buffer(f"{name}_", v.dtype, (n,)) for name, v in values.items())
    stores: list[Stmt] = [Store(b, (i,), v) for b, v in zip(outputs, values.values(), strict=True)]
    loop = each(i, n, *stores)
    return Kernel("rows", params(reads=tuple(inputs), writes=outputs), (), (loop,))


def _check(
    make: Callable[[Kernel], Callable[..., None]], values: dict[str, Expr], data: list[Array]
) -> None:
    n = len(data[0])
    buffers = [e.buffer for e in OPERANDS[data[0].dtype.name] if isinstance(e, Load)]
    kernel = _kernel(values, buffers[: len(data)], INDEX, n)
    expected = [np.zeros(n, v.dtype.numpy) for v in values.values()]
    interpret_kernel(kernel, [*data, *expected], ())
    results = [np.zeros(n, v.dtype.numpy) for v in values.values()]
    make(kernel)(*data, *results)
    for name, want, got in zip(values, expected, results, strict=True):
        if want.dtype.kind == "f":
            tolerance = 1e-5 if want.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(got, want, tolerance, tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)


LONG = {"lgamma", "trigamma", "zeta", "erfcinv", "i0", "i0e", "i1"}
INDEX = Var("i", extent=8)
OPERANDS: dict[str, list[Expr]] = {
    d.name: [Load(Buffer(name, d, (8,)), (INDEX,)) for name in "abc"]
    for d in (bool_, float32, float64, int8, int32, int64, uint32, uint64)
}
FLOATS = [0.5, -0.25, 0.75, 0.9, -0.6, 0.125, 0.3, -0.99]
INTEGERS = [0, 3, 7, 12, 5, 1, 100, 2]


def _data(dtype: DType, count: int) -> list[Array]:
    base = np.array(FLOATS if dtype.is_float else INTEGERS)
    if dtype.kind == "int":
        base = base * [1, -1, 1, -1, 1, 1, -1, 1]
    rolled = [np.roll(base, k) for k in range(count)]
    if dtype.is_integer:
        # Shift counts below every width, divisors that include zero.
        rolled[1] = np.abs(rolled[1]) % 7
    return [a.astype(dtype.numpy) for a in rolled]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("dtype", [float32, float64, int32, int64, uint32], ids=str)
def test_every_row(dtype: DType, make: Callable[[Kernel], Callable[..., None]]) -> None:
    values = _rows(dtype, OPERANDS[dtype.name])
    if dtype.is_integer:
        # These are index arithmetic: never negative, never by zero.
        del values["divtrunc"], values["remtrunc"]
    assert len(values) > 10
    if make is compiled:
        # Long expansions of the same primitive rows: numba would take half a minute for them.
        values = {name: value for name, value in values.items() if name not in LONG}
    _check(make, values, _data(dtype, 3))


@pytest.mark.parametrize("make", MAKERS)
def test_special_values(make: Callable[[Kernel], Callable[..., None]]) -> None:
    a, b, _ = OPERANDS["float32"]
    names = ("exp", "log", "sqrt", "rsqrt", "reciprocal", "isnan", "isinf", "sin", "log1p")
    values = {name: apply(name, a) for name in names}
    values |= {name: apply(name, a, b) for name in ("div", "minimum", "maximum", "hypot")}
    data = [
        np.float32([0, -0.0, np.inf, -np.inf, np.nan, -1, 1, 200]),
        np.float32([0, 1, np.nan, 1, 1, 0, -0.0, np.inf]),
    ]
    _check(make, values, data)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("source", [float32, int8, int32, int64, uint32], ids=str)
def test_casts(source: DType, make: Callable[[Kernel], Callable[..., None]]) -> None:
    a = OPERANDS[source.name][0]
    targets = (bool_, float32, float64, int8, int32, int64, uint32)
    values = {f"to_{d.name}": apply("cast", a, dtype=d) for d in targets if d is not source}
    if source is float32:
        values["bits"] = apply("bitcast", a, dtype=int32)
    data = np.array(INTEGERS) - (3 if source.is_signed and not source.is_float else 0)
    _check(make, values, [data.astype(source.numpy)])


@pytest.mark.parametrize("make", MAKERS)
def test_random_bits(make: Callable[[Kernel], Callable[..., None]]) -> None:
    operands = OPERANDS["uint64"]
    values = {name: apply(name, *operands[:2]) for name in ("philox", "philox64")}
    data = np.random.default_rng(3).integers(0, 2**64, (2, 8), np.uint64)
    _check(make, values, list(data))


@pytest.mark.parametrize("make", MAKERS)
def test_loop_variables_as_values(make: Callable[[Kernel], Callable[..., None]]) -> None:
    """They are Python's integers in plain Python, and still wrap when they are converted."""
    n, i = Var("N"), Var("i")
    y, z = Buffer("y", int8, (n,)), Buffer("z", float32, (n,))
    t = Var("t", bool_)
    body = each(
        i,
        n,
        Let(t, apply("not", apply("lt", i, op("sub", n, 2)))),
        Store(y, (i,), apply("cast", op("mul", i, 100), dtype=int8)),
        Store(z, (i,), apply("select", t, const(1, float32), apply("cast", i, dtype=float32))),
    )
    kernel = Kernel("k", params(writes=(y, z)), (n,), (body,))
    first, second = np.zeros(5, np.int8), np.zeros(5, np.float32)
    make(kernel)(first, second, 5)
    assert first.tolist() == [0, 100, -56, 44, -112]
    assert second.tolist() == [0, 1, 2, 1, 1]


@needs_numba
def test_float32_stays_float32() -> None:
    """A sum that float64 would get right: every addition is rounded to float32."""
    x, y = Buffer("x", float32, (3,)), Buffer("y", float32, ())
    t = Var("t", float32)
    total = op("add", op("add", Load(x, (const(0, int64),)), Load(x, (const(1, int64),))), 0.1)
    body = (Let(t, total), Store(y, (), op("sub", t, Load(x, (const(2, int64),)))))
    kernel = Kernel("k", params(reads=(x,), writes=(y,)), (), body)
    data = np.float32([2**24, 1, 2**24])
    for make in (plain, compiled):
        result = np.full(1, 7, np.float32)
        make(kernel)(data, result)
        assert result[0] == 0


# --- size ---------------------------------------------------------------------------------------


def test_deep_expressions_are_broken_up() -> None:
    """CPython's parser takes some hundred nested parentheses; what is shared is computed once."""
    x, y = Buffer("x", float64, (1,)), Buffer("y", float64, (1,))
    zero = const(0, int64)
    e: Expr = Load(x, (zero,))
    for _ in range(500):
        e = op("mul", op("add", e, e), 0.5)
    kernel = Kernel("k", params(reads=(x,), writes=(y,)), (), (Store(y, (zero,), e),))
    assert len(python_source(kernel)) < 50_000
    result = np.zeros(1)
    plain(kernel)(np.array([1.5]), result)
    assert result[0] == 1.5


def test_names_of_python_are_not_taken() -> None:
    x = Buffer("np", float32, (2,))
    i = Var("lambda", extent=2)
    body = each(i, 2, Store(x, (i,), const(3, float32)))
    kernel = Kernel("k", params(writes=(x,)), (), (body,))
    result = np.zeros(2, np.float32)
    plain(kernel)(result)
    assert result.tolist() == [3, 3]
