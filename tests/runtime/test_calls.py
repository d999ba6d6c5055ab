"""Calls of the host in the middle of native steps."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import float32, float64
from fusegrad.codegen.program import Call, Program, Slot, SlotKind, verify_program
from fusegrad.errors import InternalError
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Item, Node
from fusegrad.ir.types import TensorType, TupleType, Type
from fusegrad.ops import build
from fusegrad.ops.base import CLASSES, CallOp
from fusegrad.runtime.calls import callee_of, find_calls
from fusegrad.tensors.tensor_class import Tensor, record
from tests.lower.support import compiled, variable

Array = npt.NDArray[Any]

# The ops that compiled programs compute in the host. Everything else is native code.
CALLS = {
    *("triangular_solve", "solve", "inv", "pinv", "expm", "expm_derivative"),
    *("det", "cofactor", "cofactor_derivative", "slogdet"),
    *("cholesky", "qr", "lu", "row_order", "svd", "svdvals"),
    *("eigh", "eigvalsh", "eig", "eigvals"),
    "native",
}


@final
@dataclass(frozen=True, eq=False, repr=False)
class Halves(CallOp):
    """The values above a limit and the others, and their number; an error below `least`."""

    least: float
    name: ClassVar[str] = "halves"

    def infer(self, *types: Any) -> Type:
        (x,) = types
        return TupleType([x, x, TensorType((), float64)])

    def ref(self, *arrays: Array) -> Any:
        (x,) = arrays
        if x.size and x.min() < self.least:
            raise ValueError(f"{x.min()} is too small")
        return np.maximum(x, 0), np.minimum(x, 0), np.float64((x > 0).sum())

    def vjp_of_results(
        self, node: Node, cotangents: tuple[Node | None, ...]
    ) -> tuple[Node | None, ...]:
        return (cotangents[0],)


@final
@dataclass(frozen=True, eq=False, repr=False)
class Reversed(CallOp):
    """Everything backwards; one result."""

    name: ClassVar[str] = "reversed"

    def infer(self, *types: Any) -> Type:
        return types[0]  # type: ignore[no-any-return]

    def ref(self, *arrays: Array) -> Any:
        return np.flip(arrays[0]).copy()


def halves(x: Node, least: float = -1e9) -> list[Node]:
    call = Node(Halves(least), (x,))
    return [Node(Item(i), (call,)) for i in range(3)]


def numbers(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def run(outputs: list[Node], environment: dict[Node, Array]) -> None:
    """Compiled as interpreted."""
    made = compiled(outputs, list(environment))
    expected = evaluate(outputs, environment)
    for found, wanted in zip(made(list(environment.values())), expected, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (0, 3), (3, 5, 2, 1, 2)])
def test_several_results_between_kernels(shape: tuple[int, ...]) -> None:
    x = variable(shape)
    positive, negative, count = halves(build.mul(x, build.sin(x)))
    total = build.add(build.exp(negative), build.mul(positive, x))
    run([total, positive, count], {x: numbers(*shape)})
    run([count], {x: numbers(*shape)})
    run([build.exp(positive), negative, negative], {x: numbers(*shape)})


def test_one_result_and_calls_that_follow_each_other() -> None:
    x = variable((4, 6))
    once = Node(Reversed(), (x,))
    twice = Node(Reversed(), (once,))
    made = compiled([build.add(twice, once), twice], [x])
    given = numbers(4, 6)
    total, same = made([given])
    np.testing.assert_array_equal(same, given)
    np.testing.assert_array_equal(total, given + np.flip(given))
    # Equal calls are one function.
    assert len(made.record.program.calls) == 1
    assert sum(isinstance(c, Call) for c in made.record.program.commands) == 2


def test_compiled_functions_and_gradients() -> None:
    def f(x: Tensor) -> Tensor:
        return record(lambda n: halves(n)[0], (x * 2,)).sum() * 3

    given = numbers(5, 4)
    for function in (f, fg.compile(f)):
        assert float(function(fg.asarray(given))) == pytest.approx(
            float(np.maximum(given * 2, 0).sum() * 3), rel=1e-5
        )
    gradient = fg.compile(fg.grad(f))
    for _ in range(3):
        np.testing.assert_allclose(gradient(given).numpy(), np.full((5, 4), 6), rtol=1e-6)
    text = str(fg.compile(f).explain(given))
    assert "call halves_" in text
    assert "calls of the host, one at a time: halves_" in text


def test_an_error_is_raised_after_the_step_and_the_state_stays() -> None:
    total = fg.zeros(3)

    @fg.compile
    def f(x: Tensor) -> Tensor:
        total.data = total + x
        return record(lambda n: halves(n, -5.0)[0], (x,)) + 1

    for _ in range(3):
        f(np.ones(3, np.float32))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"-7\.0 is too small"):
            f(np.array([1, -7, 2], np.float32))
    assert total.numpy().tolist() == [3, 3, 3]
    assert f(np.ones(3, np.float32)).numpy().tolist() == [2, 2, 2]
    assert total.numpy().tolist() == [4, 4, 4]


def test_an_error_ends_the_loops_around_it() -> None:
    def body(state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        number, x = state
        return number + 1, record(lambda n: halves(n, -5.0)[1], (x - 1,))

    @fg.compile
    def forever(x: Tensor) -> Tensor:
        return fg.while_loop(lambda s: s[0] >= 0, body, (0, x))[1] * 2  # type: ignore[no-any-return]

    @fg.compile
    def counted(x: Tensor) -> Tensor:
        loop = lambda: fg.fori_loop(0, 10**9, lambda i, v: body((i, v))[1], x)  # noqa: E731
        return fg.cond(x.sum() < 9, loop, lambda: x)  # type: ignore[no-any-return]

    for function in (forever, counted, forever, counted):
        with pytest.raises(ValueError, match=r"-6\.0 is too small"):
            function(np.zeros(2, np.float32))
    assert counted(np.full(2, 9, np.float32)).numpy().tolist() == [9, 9]


def test_threads_call_together() -> None:
    @fg.compile
    def f(x: Tensor) -> Tensor:
        return record(lambda n: halves(n, -5.0)[0], (x,)).sum()

    f(np.ones(50, np.float32))
    wrong = []

    def work(number: int) -> None:
        for i in range(20):
            value = number * 20 + i
            if number == 3:
                try:
                    f(np.full(50, -6, np.float32))
                    wrong.append(value)
                except ValueError:
                    pass
            elif float(f(np.full(50, value, np.float32))) != 50 * value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_wrong_result_is_refused() -> None:
    @final
    @dataclass(frozen=True, eq=False, repr=False)
    class Wrong(CallOp):
        name: ClassVar[str] = "wrong"

        def infer(self, *types: Any) -> Type:
            return TensorType((2,), float32)

        def ref(self, *arrays: Array) -> Any:
            return np.zeros(3, np.float32)

    x = variable((2,))
    with pytest.raises(InternalError, match=r"wrong computed float32\[3\]"):
        compiled([Node(Wrong(), (x,))], [x])([numbers(2)])


SCRIPT = """
import numpy as np, fusegrad as fg
from tests.runtime.test_calls import halves
from fusegrad.tensors.tensor_class import record
f = fg.compile(lambda x: record(lambda n: halves(n)[0], (x,)) + 1)
print(f(np.array([-1.0, 2.0], "float32")).numpy().tolist(), next(iter(f.stats().origins)))
"""


def test_another_process_finds_the_call_again(tmp_path: object) -> None:
    environment = {**os.environ, "FUSEGRAD_CACHE_DIR": str(tmp_path)}
    for origin in ("compiled", "disk"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["[1.0,", "3.0]", origin]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_called_in_float32(dtype: str) -> None:
    f = fg.compile(lambda x: record(lambda n: halves(n)[0], (x,)) * 2)
    found = f(fg.asarray([1.0, -2.0], dtype=dtype))
    assert str(found.dtype) == dtype
    assert found.astype("float32").numpy().tolist() == [2, 0]


def test_calls_are_found_by_symbol() -> None:
    x = variable((3,))
    first, other = halves(x)[0], halves(x, 2.0)[0]
    found = find_calls([first, other])
    assert len(found) == 2
    assert callee_of(halves(variable((3,)))[1].inputs[0]).symbol in found


def test_programs_with_calls_are_verified_and_read_again() -> None:
    slots = (Slot(SlotKind.INPUT, 0), Slot(SlotKind.OUTPUT, 0))
    program = Program("p", 1, 1, 0, 0, 0, (Call(0, slots),), ("f",))
    verify_program(program, 0)
    assert Program.from_json(program.to_json()) == program
    with pytest.raises(ValueError, match="call of function 1; there are 1"):
        verify_program(Program("p", 1, 1, 0, 0, 0, (Call(1, slots),), ("f",)), 0)


def test_the_calls_of_the_host_are_these() -> None:
    calls = {n for n, c in CLASSES.items() if isinstance(c, type) and issubclass(c, CallOp)}
    assert calls == CALLS
