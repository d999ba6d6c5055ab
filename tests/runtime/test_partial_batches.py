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
    assert origins((64, (n, "x"), n)) == (1, 0, PROBES[0], 64, 2, PROBES[0], 64)
    assert origins((n, 64)) != origins((64, n))
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


def perceptron() -> tuple[Step, Inputs]:
    """As many hidden features as rows of a batch: they are not the same size."""
    layers = nn.Linear(48, 64), nn.ReLU(), nn.Dropout(0.1), nn.LayerNorm(64), nn.Linear(64, 10)
    model = nn.Sequential(*layers)
    step = trained(model, lambda x, y: F.cross_entropy(model(x), y), adam=False)
    return step, lambda n: (numbers(n, 48), labels(10, n))


def lenet() -> tuple[Step, Inputs]:
    images = nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 5)
    rest = nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 30), nn.ReLU(), nn.Linear(30, 10)
    model = nn.Sequential(*images, *rest)
    step = trained(model, lambda x, y: F.cross_entropy(model(x), y))
    return step, lambda n: (numbers(n, 1, 20, 20), labels(10, n))


class Residual(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, 2, 1, bias=False)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(after), nn.BatchNorm2d(after)])
        self.short = nn.Conv2d(before, after, 1, 2, bias=False)

    def forward(self, x: Any) -> Any:
        inside = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(inside)) + self.short(x))


def resnet() -> tuple[Step, Inputs]:
    rest = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), Residual(4, 8), *rest)
    step = trained(model, lambda x, y: F.cross_entropy(model(x), y))
    return step, lambda n: (numbers(n, 3, 12, 12), labels(10, n))


class Words(nn.Module):
    """A transformer of one layer."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.table = nn.Embedding(50, width)
        self.places = nn.Parameter(fg.zeros(8, width))
        self.norm = nn.LayerNorm(width)
        self.heads, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.last = nn.Linear(width, 50, bias=False)

    def forward(self, words: Any) -> Any:
        count, length = words.shape
        x = self.table(words) + self.places
        parts = self.heads(self.norm(x)).chunk(3, -1)
        q, k, v = (part.reshape(count, length, 4, -1).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.last(F.gelu(x + self.out(mixed.transpose(1, 2).reshape(count, length, -1))))


def transformer() -> tuple[Step, Inputs]:
    model = Words()
    step = trained(model, lambda x, y: F.cross_entropy(model(x).flatten(0, 1), y.flatten()))
    return step, lambda n: (labels(50, n, 8), labels(50, n, 8))


def lstm() -> tuple[Step, Inputs]:
    loop, head = nn.LSTM(12, 32, batch_first=True), nn.Linear(32, 10)
    model = nn.ModuleList([loop, head])
    step = trained(model, lambda x, y: F.cross_entropy(head(loop(x)[0][:, -1]), y))
    return step, lambda n: (numbers(n, 6, 12), labels(10, n))


WORKLOADS = [rows, moments, perceptron, lenet, resnet, transformer, lstm]


def run(step: Step, inputs: Inputs, sizes: tuple[int, ...]) -> list[Any]:
    results = []
    for n in sizes:
        found = step(*inputs(n))
        results += [y.numpy() for y in (found if isinstance(found, tuple) else (found,))]
    return results


@pytest.mark.parametrize("workload", WORKLOADS)
def test_another_batch_compiles_no_kernel(
    workload: Callable[[], tuple[Step, Inputs]],
) -> None:
    fg.manual_seed(0)
    step, inputs = workload()
    compiled = fg.compile(step)
    found = run(compiled, inputs, (32,))
    for n in (19, 31):
        found += run(compiled, inputs, (n,))
        assert compiled.stats().compiled_kernels == 0
    fg.manual_seed(0)
    plain, _ = workload()
    wanted = run(lambda *batch: plain(*map(fg.asarray, batch)), inputs, (32, 19, 31))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_bits_do_not_depend_on_what_was_compiled_before(
    workload: Callable[[], tuple[Step, Inputs]],
) -> None:
    found = []
    for before in ((32,), ()):
        fg.manual_seed(0)
        step, inputs = workload()
        compiled = fg.compile(step)
        if before:
            # The state is as it was: only what is compiled differs.
            compiled.explain(*inputs(before[0]))
        found.append(run(compiled, inputs, (19, 19)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


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
        seen.append(type(x.shape[0]))
        total[...] = x * 2
        return x + 1, fg.zeros(x.shape[0])

    results = f(numbers(6, 3))
    assert seen[0] is Varying
    assert all(type(e) is int for y in (*results, total) for e in y.shape)
    # What a step gives is an argument like any other.
    assert f(results[0])[0].shape == (6, 3)
