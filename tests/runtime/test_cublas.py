"""Products of matrices by cuBLASLt: what it is asked for, and that this is what the kernels mean.

The library is a stand-in that computes what the descriptors say. Where the real one is installed
its descriptors are made with it too; its products need a GPU (`python -m benchmarks.gpu`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.codegen.schedule import gpu_library, gpu_library_calls
from fusegrad.errors import DeviceError
from fusegrad.runtime import cache, cuda_driver
from fusegrad.runtime.cublas import CublasLt
from fusegrad.runtime.cuda_driver import CudaDriver
from fusegrad.runtime.devices import substituted
from fusegrad.tensors.placement import bring_home
from tests.runtime.cublas_stand_in import Library
from tests.runtime.nvidia_machine import Machine, normal, running, same


@pytest.fixture(autouse=True)
def small_products_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_library, "LEAST_WORK", 1)
    monkeypatch.setattr(gpu_library, "LEAST_DEPTH", 16)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with running(Machine("cublasLt", Library), monkeypatch) as made:
        yield made


@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
def test_operands_as_they_lie(machine: Machine, turned: tuple[bool, bool]) -> None:
    def product(a: Any, b: Any) -> Any:
        return (a.T if turned[0] else a) @ (b.T if turned[1] else b)

    a = normal(*((24, 40) if turned[0] else (40, 24)))
    b = normal(*((56, 24) if turned[1] else (24, 56)))
    same(product, a, b)
    (problem,) = {str(p["layouts"]): p for p in machine.library.problems}.values()
    # By columns it is the transposed product: 56 rows, the right operand first.
    assert (problem["layouts"][3]["rows"], problem["layouts"][3]["columns"]) == (56, 40)
    assert (problem[3], problem[4]) == (int(turned[1]), int(turned[0]))
    assert "launch" not in machine.cuda.calls
    assert "graph.launch" in machine.cuda.calls


@pytest.mark.parametrize(
    ("function", "epilogue"),
    [
        (lambda x, w, b: x @ w.T + b, 4),
        (lambda x, w, b: F.relu(x @ w.T), 2),
        (lambda x, w, b: F.relu(F.linear(x, w, b)), 6),
        (lambda x, w, b: fg.maximum(x @ w.T * 0.25 + b, 0.0), 6),
        (lambda x, w, b: F.gelu(F.linear(x, w, b), approximate="tanh"), 36),
        (lambda x, w, b: F.gelu(x @ w.T, approximate="tanh"), 32),
        # Nearly GELU, or GELU of two things.
        (lambda x, w, b: F.gelu(F.linear(x, w, b)), 1),
        (lambda x, w, b: 0.5 * (x @ w.T) * (1 + fg.tanh(0.8 * (x @ w.T + b))), 1),
        (lambda x, w, b: F.gelu(F.linear(x, w, b), approximate="tanh") * 2, 1),
        (lambda x, w, b: x[:, :32] @ w.T[:32] + b, 4),
        (lambda x, w, b: b[:, None] + w @ x.T, 1),
        (lambda x, w, b: F.relu(w @ x.T + b[:, None]).T, 1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_epilogues(machine: Machine, function: Any, epilogue: int, dtype: str) -> None:
    tol = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 4e-3}[dtype]
    same(function, normal(40, 48), normal(64, 48), normal(64), dtype=dtype, tol=tol)
    assert machine.library.problems[-1][7] == epilogue
    assert machine.library.problems[-1]["compute"] == 68


def test_a_residual_is_the_addend(machine: Machine) -> None:
    same(lambda x, w, b: x + F.linear(x, w, b), normal(40, 64), normal(64, 64), normal(64))
    assert "launch" not in machine.cuda.calls


def test_what_a_library_does_not_do_is_a_kernel_after_it(machine: Machine) -> None:
    def function(x: Any, w: Any, b: Any) -> Any:
        z = x @ w.T + b
        return z, fg.tanh(z) * fg.exp(-z)

    same(function, normal(40, 48), normal(64, 48), normal(64), tol=2e-5)
    assert machine.library.problems
    assert "launch" in machine.cuda.calls


@pytest.mark.parametrize(
    "shapes",
    [((3, 40, 24), (3, 24, 32)), ((2, 5, 17, 24), (2, 5, 24, 19)), ((6, 20, 24), (24, 32))],
)
def test_batches(machine: Machine, shapes: Any) -> None:
    same(lambda a, b: a @ b, *(normal(*s) for s in shapes))
    assert machine.library.problems


def test_heads_that_do_not_lie_at_one_distance(machine: Machine) -> None:
    def scores(q: Any, k: Any) -> Any:
        split = [t.reshape(2, 20, 4, 16).transpose(1, 2) for t in (q, k)]
        return split[0] @ split[1].transpose(-1, -2) * 0.25

    same(scores, normal(2, 20, 64), normal(2, 20, 64, seed=1))
    assert machine.library.problems


def test_gradients(machine: Machine) -> None:
    def step(x: Any, w: Any, b: Any) -> Any:
        def loss(w: Any, b: Any) -> Any:
            return (F.gelu(F.linear(x, w, b), approximate="tanh") ** 2).mean()

        return fg.grad(loss, argnums=(0, 1))(w, b)

    same(step, normal(40, 48), normal(64, 48), normal(64))
    assert machine.library.problems


@pytest.mark.parametrize(
    ("activation", "epilogues"),
    [
        (lambda z: F.gelu(z, approximate="tanh"), {164, 192}),
        (F.relu, {6}),
        (F.gelu, {4}),
        (fg.tanh, {1}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_epilogues_of_training(
    machine: Machine, activation: Any, epilogues: set[int], dtype: str
) -> None:
    def step(x: Any, *weights: Any) -> Any:
        def loss(w1: Any, b1: Any, w2: Any, b2: Any, w3: Any) -> Any:
            y = activation(F.linear(activation(F.linear(x, w1, b1)), w2, b2))
            return ((y @ w3).astype("float32") ** 2).mean()

        return fg.grad(loss, argnums=(0, 1, 2, 3, 4))(*weights)

    shapes = (40, 48), (64, 48), (64,), (72, 64), (72,), (72, 32)
    given = [normal(*s) / 8 for s in shapes]
    same(step, *given, dtype=dtype, tol=1e-4 if dtype == "float32" else 6e-2)
    seen = {problem[7] for problem in machine.library.problems}
    assert epilogues <= seen
    assert seen <= epilogues | {1, 4}
    if len(epilogues) > 1:
        # Nothing of the layers is left to a kernel but the last gradient and sums over rows.
        rows = {"z": 64, "y": 72}
        wide = [p for p in machine.library.problems if p[7] in epilogues]
        assert {p["layouts"][3]["rows"] for p in wide} == set(rows.values())


def test_an_epilogue_that_the_library_has_not(machine: Machine) -> None:
    machine.library.epilogues = {1, 4}

    def step(x: Any, w: Any, b: Any, v: Any) -> Any:
        def loss(w: Any, b: Any) -> Any:
            return ((F.gelu(F.linear(x, w, b), approximate="tanh") @ v) ** 2).mean()

        return fg.grad(loss, argnums=(0, 1))(w, b)

    same(step, normal(40, 48), normal(64, 48) / 8, normal(64), normal(64, 32), tol=1e-4)
    assert {problem[7] for problem in machine.library.problems} == {1, 4}


def test_a_result_that_others_read_is_written_by_the_library(machine: Machine) -> None:
    def function(x: Any, w: Any, b: Any) -> Any:
        z = F.linear(x, w, b)
        return z, F.softmax(z.float(), -1), fg.exp(-z)

    same(function, normal(40, 48), normal(64, 48), normal(64), tol=2e-5)
    assert {problem[7] for problem in machine.library.problems} == {4}


def test_float64(machine: Machine) -> None:
    same(lambda a, b: a @ b, normal(33, 17), normal(17, 21), dtype="float64", tol=1e-12)
    assert machine.library.problems[-1]["compute"] == 70


def test_tf32_is_asked_for(machine: Machine) -> None:
    a, b = (fg.asarray(normal(32, 32)).cuda() for _ in range(2))
    product = fg.compile(lambda a, b: a @ b)
    product(a, b)
    assert machine.library.problems[-1]["compute"] == 68
    fg.set_float32_matmul_precision("high")
    try:
        product(a, b)
        assert machine.library.problems[-1]["compute"] == 77
        assert product.stats().compiles == 2
    finally:
        fg.set_float32_matmul_precision("highest")
    assert fg.get_float32_matmul_precision() == "highest"


def test_a_library_without_an_algorithm(machine: Machine) -> None:
    machine.library.refuse = True
    same(lambda a, b: F.relu(a @ b), normal(40, 24), normal(24, 56))
    assert not machine.library.problems
    assert "launch" in machine.cuda.calls


def test_a_library_that_fails(machine: Machine) -> None:
    machine.library.fail["matmul"] = 13
    a = fg.asarray(normal(32, 32)).cuda()
    with pytest.raises(DeviceError, match="cuBLASLt failed in cublasLtMatmul: it could not run"):
        fg.compile(lambda a: a @ a)(a)


def test_descriptors_of_the_real_library() -> None:
    try:
        library = cuda_driver._library("cublasLt")
    except Exception as problem:
        pytest.skip(f"cuBLASLt (a download of 400 MB) is not installed: {type(problem).__name__}")
    real = CublasLt(library)
    matrix = gpu_library_calls.Matrix(0, "bfloat16", 0, 64 * 32, 32, 1)
    for turned in (matrix, replace(matrix, row=1, column=64)):
        product = gpu_library_calls.LibraryProduct(
            *(3, 64, 64, 32, turned, replace(matrix, row=1, column=32)),
            replace(matrix, parameter=2, row=64, batch=64 * 64),
            addend=replace(matrix, parameter=3, row=64, batch=64 * 64),
            bias=gpu_library_calls.Vector(4, "bfloat16", 0, True),
            activation=gpu_library_calls.Activation.RELU,
        )
        assert len(set(map(str, real._plan(product, True)))) == 5
        beside = replace(matrix, parameter=5, row=64, batch=64 * 64)
        kinds = gpu_library_calls.Activation
        for kind, bias in ((kinds.GELU, product.bias), (kinds.GELU_SLOPE, None)):
            other = replace(product, addend=None, bias=bias, activation=kind, beside=beside)
            assert real._plan(other, False)


def test_what_was_chosen_is_kept(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = cache.DiskCache(tmp_path / "kept")
    monkeypatch.setattr(cache, "default", lambda: disk)
    a = normal(32, 32)
    found = []
    for _ in range(2):
        with substituted(CudaDriver(machine.cuda.packages(), machine.open)):
            found.append(
                fg.compile(lambda a: F.relu(a @ a + 1.0))(fg.asarray(a).cuda()).cpu().numpy()
            )
        machine.library.refuse = True
    np.testing.assert_array_equal(*found)
    assert len(machine.library.problems) == 2


def test_without_the_library(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise OSError(f"lib{name}.so: cannot open shared object file")

    with substituted(CudaDriver(machine.cuda.packages(), absent)):
        same(lambda a, b: a @ b, normal(32, 32), normal(32, 32))
        driver = fg.runtime.devices.driver()
        assert "cannot open" in driver.libraries.missing["cuBLASLt"]
        bring_home()
