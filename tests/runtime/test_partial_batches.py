"""A step for another batch: which kernels are compiled for it, and that its results are right."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.codegen.varying import PROBES, Varying, joined, origins

Step = Callable[..., Any]
Inputs = Callable[[int], tuple[np.ndarray, ...]]


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def labels(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, count, shape)


# --- numbers --------------------------------------------------------------------------------------


def test_arithmetic_keeps_the_origin() -> None:
    n = Varying(64, PROBES[0])
    assert (abs(-n).probe, abs(n).probe) == (n.probe, n.probe)  # type: ignore[attr-defined]
    for value, probe in (
        (n * 28 * 28, PROBES[0] * 784),
        (784 * n, PROBES[0] * 784),
        (-(-n // 10), -(-PROBES[0] // 10)),
        ((n + 3) % 11, (PROBES[0] + 3) % 11),
        (100 - n, 100 - PROBES[0]),
        (divmod(n, 5)[0], PROBES[0] // 5),
    ):
        assert isinstance(value, Varying)
        assert value.probe == probe
    assert (n * 784, -(-n // 10), (n + 3) % 11, 100 - n) == (64 * 784, 7, 1, 36)
    assert type(n * 6 // n) is int
    assert n * 6 // n == 6
    assert type(n - n) is int


def test_it_is_an_int_for_everybody() -> None:
    n = Varying(64, PROBES[0])
    assert n == 64
    assert hash(n) == hash(64)
    assert f"{n} {n!r}" == "64 64"
    assert {64: 1}[n] == 1
    assert type(pickle.loads(pickle.dumps(n))) is int
    assert np.zeros(n).shape == (64,)
    assert max(n, 3) is n
    assert list(range(n))[-1] == 63
    with pytest.raises(ZeroDivisionError):
        n // 0
    # Where the probe alone is zero, the value is right, and its origin is forgotten.
    assert n // (Varying(5, 0)) == 12
    assert origins((64, (n, "x"), n)) == (PROBES[0], PROBES[0])
    assert type(joined([(64, 2), (n, 2)])[0]) is Varying


# --- steps ----------------------------------------------------------------------------------------


def trained(model: nn.Module, loss: Step, adam: bool = True) -> Step:
    parameters = list(model.parameters())
    opt = optim.Adam(parameters, lr=1e-2) if adam else optim.SGD(parameters, lr=1e-2)

    def step(*batch: Any) -> Any:
        value = loss(*batch)
        opt.zero_grad()
        value.backward()
        opt.step()
        return value

    return step


def rows() -> tuple[Step, Inputs]:
    return lambda x: F.softmax(x, 1), lambda n: (numbers(n, 37),)


def moments() -> tuple[Step, Inputs]:
    def f(x: Any) -> Any:
        return (x - x.mean(0)) / x.std(0), x.var(), x.sum() / x.shape[0], x.sum() / x.size

    return f, lambda n: (numbers(n, 21),)


WORKLOADS = [rows, moments]


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("sizes", [(64, 37), (37, 64, 63)])
def test_another_batch_compiles_no_kernel(
    workload: Callable[[], tuple[Step, Inputs]], sizes: tuple[int, ...]
) -> None:
    fg.manual_seed(0)
    step, inputs = workload()
    fg.manual_seed(0)
    plain, _ = workload()
    compiled = fg.compile(step)
    for position, n in enumerate(sizes):
        found, wanted = compiled(*inputs(n)), plain(*map(fg.asarray, inputs(n)))
        for a, b in zip(
            *(v if isinstance(v, tuple) else (v,) for v in (found, wanted)), strict=True
        ):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-4, atol=2e-5)
        if position:
            assert compiled.stats().compiled_kernels == 0


def test_equal_sizes_that_are_not_the_batch() -> None:
    """A width that is equal to the batch stays what it is."""
    w = fg.asarray(numbers(32, 32))
    f = fg.compile(lambda x: (fg.tanh(x @ w).T * fg.arange(x.shape[0])).sum(1) / x.shape[1])
    for n in (32, 17, 32, 5):
        x = numbers(n, 32)
        wanted = (np.tanh(x @ w.numpy()).T * np.arange(n)).sum(1) / 32
        np.testing.assert_allclose(f(x).numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_results_have_plain_shapes() -> None:
    total = fg.zeros(6, 3)
    seen: list[Any] = []

    @fg.compile
    def f(x: Any) -> Any:
        seen.append(x.shape[0])
        total[...] = x * 2
        return x + 1, fg.zeros(x.shape[0])

    results = f(numbers(6, 3))
    assert isinstance(seen[0], Varying)
    assert all(type(e) is int for y in (*results, total) for e in y.shape)
    # What a step gives is an argument like any other.
    assert f(results[0])[0].shape == (6, 3)
