"""Sums of products of broadcast operands: what becomes a contraction, and that the numbers stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import DType, float16, float32, float64, int8, int32, int64
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node, toposort
from fusegrad.ir.types import TensorType
from fusegrad.ops import build
from fusegrad.ops.contract import Dot
from fusegrad.passes.products import find_products
from fusegrad.testing import check_grads

RNG = np.random.default_rng(3)


def written(
    formula: str, extents: dict[str, int], dtype: DType = float64
) -> tuple[Node, list[Node]]:
    """The sum of the formula of einsum, as sum(broadcast(a) * broadcast(b))."""
    operands, result = formula.split("->")
    letters = "".join(dict.fromkeys(sorted(operands.replace(",", ""))))
    shape = [extents[letter] for letter in letters]
    inputs, spread = [], []
    for names in operands.split(","):
        x = build.input_(TensorType(tuple(extents[n] for n in names), dtype))
        inputs.append(x)
        order = sorted(names)
        turned = build.transpose(x, [names.index(n) for n in order])
        spread.append(build.broadcast(turned, shape, [letters.index(n) for n in order]))
    assert result == "".join(n for n in letters if n in result)
    total = build.sum_(
        build.mul(*spread), [i for i, name in enumerate(letters) if name not in result]
    )
    return total, inputs


def dots(node: Node) -> int:
    return sum(isinstance(n.op, Dot) for n in toposort([node]))


SIZES = {"a": 3, "b": 5, "i": 17, "j": 19, "k": 23, "m": 4}

CONTRACTIONS = [
    "ik,kj->ij",  # a matrix product
    "ki,kj->ij",  # a weight's gradient
    "ik,jk->ij",
    "jk,ki->ij",  # the second operand has the rows
    "aik,akj->aij",
    "aik,kj->aij",  # rows with two axes
    "ika,kj->aij",
    "abik,abkj->abij",
    "iak,jkm->aijm",
    "ikm,jkm->ij",  # two summed axes
]


@pytest.mark.parametrize("formula", CONTRACTIONS)
def test_contraction(formula: str) -> None:
    before, inputs = written(formula, SIZES)
    (after,) = find_products([before])
    assert dots(after) == 1
    environment = {x: RNG.standard_normal(x.shape) for x in inputs}  # type: ignore[arg-type]
    expected = np.einsum(formula, *environment.values())
    for node in (before, after):
        (found,) = evaluate([node], environment)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "formula",
    [
        "k,k->",  # nothing is left
        "ik,k->i",  # a fused sum reads the matrix once
        "ik,ik->i",
        "aik,aik->ai",
        "i,j->ij",  # nothing is summed
        "ik,j->ij",  # summed in one operand alone
        "ijk,kj->ij",
    ],
)
def test_no_contraction(formula: str) -> None:
    before, _ = written(formula, SIZES)
    assert find_products([before])[0] is before


@pytest.mark.parametrize(
    ("dtype", "extents"),
    [
        (float16, SIZES),  # products of halves are rounded
        (int8, SIZES),  # no tiles of so few bits
        (float32, {"i": 1, "k": 100, "j": 100}),
        (float32, {"i": 100, "k": 100, "j": 1}),
        (float32, {"i": 3, "k": 4, "j": 5}),  # too few terms to pay
        (float32, {"i": 30, "k": 0, "j": 50}),
    ],
)
def test_what_stays_a_sum(dtype: DType, extents: dict[str, int]) -> None:
    before, _ = written("ik,kj->ij", extents, dtype)
    assert find_products([before])[0] is before


@pytest.mark.parametrize("dtype", [int64, int32])
def test_whole_numbers(dtype: DType) -> None:
    before, _ = written("aik,akj->aij", SIZES, dtype)
    assert dots(find_products([before])[0]) == 1


def product(a: Any, b: Any) -> Any:
    """As MiniTorch writes it."""
    return (a.reshape(-1, a.shape[1], 1) * b.reshape(1, *b.shape)).sum(1)


def layer(x: Any, w: Any) -> Any:
    return fg.tanh((x[:, None, :] * w[None]).sum(-1) + 0.5)


WRITTEN: list[tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = [
    (product, (13, 21), (21, 17)),
    (layer, (13, 21), (17, 21)),
    (lambda x, y: (x[..., None] * y[:, None]).sum(0), (33, 11), (33, 9)),
    # Numbers follow the sum; what is computed with broadcast values is computed before them.
    (lambda x, y: (x[:, :, None] * y[None] * 0.5 / 7.0).mean(1), (13, 21), (21, 17)),
    (
        lambda x, y: (fg.where(x > 0, x, fg.exp(x))[:, :, None] * (y[None] + x[0, 0])).sum(1),
        (13, 21),
        (21, 17),
    ),
    (
        lambda x, y: ((x[:, None, :] - x[0, 1]) * (y[:, :2].sum(1)[None, :, None] * y[None])).sum(
            -1
        ),
        (19, 12),
        (17, 12),
    ),
    (lambda x, y: (fg.exp(x)[:, :, :, None] * y[:, None]).sum(2), (2, 11, 20), (2, 20, 13)),
]


@pytest.mark.parametrize("number", range(len(WRITTEN)))
def test_recorded_and_compiled_agree(number: int) -> None:
    function, *shapes = WRITTEN[number]
    values = [RNG.standard_normal(shape).astype(np.float32) for shape in shapes]
    gradient = fg.value_and_grad(lambda *v: (function(*v) ** 2).sum(), argnums=(0, 1))
    with fg.eager():
        value, grads = gradient(*map(fg.asarray, values))
        expected = [value.numpy(), *(g.numpy() for g in grads)]
    value, grads = fg.compile(gradient)(*values)
    for found, wanted in zip((value, *grads), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=2e-5, atol=2e-4)
    check_grads(fg.compile(function), [v.astype(np.float64) for v in values], order=2)


def test_the_adjoints_are_contractions_too() -> None:
    values = [RNG.standard_normal(shape).astype(np.float32) for shape in ((64, 48), (48, 80))]
    step = fg.compile(fg.grad(lambda a, b: (product(a, b) ** 2).sum(), argnums=(0, 1)))
    assert str(step.explain(*values)).count("dot(") >= 3


@pytest.mark.parametrize("number", range(len(WRITTEN)))
def test_they_are_contractions(number: int) -> None:
    function, *shapes = WRITTEN[number]
    values = [RNG.standard_normal(shape).astype(np.float32) for shape in shapes]
    assert "dot(" in str(fg.compile(function).explain(*values))


@pytest.mark.parametrize("scale", [0.0, math.inf, math.nan])
def test_numbers_that_would_change_what_is_not_finite_stay(scale: float) -> None:
    a, b = np.ones((20, 30), np.float32), np.ones((30, 20), np.float32)
    a[0, :2] = math.inf, -1.0

    def scaled(a: Any, b: Any) -> Any:
        return (a[:, :, None] * b[None] * scale).sum(1)

    with fg.eager():
        expected = scaled(fg.asarray(a), fg.asarray(b)).numpy()
    np.testing.assert_array_equal(fg.compile(scaled)(a, b).numpy(), expected)


def test_infinities_and_nan_come_through() -> None:
    a = np.ones((40, 30), np.float32)
    a[3, 4], a[5, 6] = np.inf, np.nan
    b = np.zeros((30, 20), np.float32)
    with np.errstate(invalid="ignore"):
        expected = (a[:, :, None] * b[None]).sum(1)
    np.testing.assert_array_equal(fg.compile(product)(a, b).numpy(), expected)


@pytest.mark.parametrize(
    ("left", "right"),
    [((5, 1), (1, 7)), ((2, 3, 1), (2, 1, 4)), ((1, 1), (1, 1)), ((0, 1), (1, 3)), ((40, 1), (1,))],
    ids=str,
)
def test_what_has_nothing_to_sum_is_a_product_of_elements(left: Any, right: Any) -> None:
    a = RNG.standard_normal(left).astype(np.float32)
    b = RNG.standard_normal(right).astype(np.float32)
    if a.size > 1:
        a.flat[:2] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        expected = a @ b
    compiled = fg.compile(lambda x, y: fg.exp(x @ y))
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_allclose(compiled(a, b).numpy(), np.exp(expected), rtol=1e-6)
    assert compiled.stats().kernels <= 1
    check_grads(lambda x, y: x @ y, (RNG.standard_normal(left), RNG.standard_normal(right)))
