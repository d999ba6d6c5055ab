"""The messages of errors, word for word: what went wrong, the user's line, the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import FusegradError
from fusegrad.ir.node import Node, Op, Pattern
from fusegrad.runtime import devices
from fusegrad.tensors.tensor_class import record
from fusegrad.tensors.trace import Trace

X = fg.ones((3, 4))
CASES: dict[str, Callable[[], Any]] = {}


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    CASES[function.__name__] = function
    return function


# --- shapes ---------------------------------------------------------------------------------------


@case
def add_of_shapes_that_are_reversed() -> Any:
    return X + fg.ones((4, 3))


@case
def compare_of_shapes() -> Any:
    return fg.less(X, fg.ones(5))


@case
def multiply_by_a_column_as_a_row() -> Any:
    return X * fg.ones(3)


@case
def elementwise_function_of_shapes() -> Any:
    return fg.hypot(X, fg.ones((2, 4)))


@case
def where_of_shapes() -> Any:
    return fg.where(fg.asarray([True, False]), X, 0.0)


@case
def matmul_of_shapes() -> Any:
    return X @ X


@case
def matmul_of_numbers() -> Any:
    return fg.matmul(X, 3.0)


@case
def reshape_to_another_size() -> Any:
    return X.reshape(5, -1)


@case
def broadcast_to_a_shape() -> Any:
    return X.broadcast_to(3, 5)


@case
def concat_of_shapes() -> Any:
    return fg.concat([X, fg.ones((2, 5))])


@case
def stack_of_shapes() -> Any:
    return fg.stack([X, fg.ones(4)])


@case
def axis_that_is_missing() -> Any:
    return X.sum(axis=2)


@case
def axis_named_twice() -> Any:
    return X.sum(axis=(0, -2))


@case
def einsum_of_shapes() -> Any:
    return fg.einsum("ij,jk->ik", X, X)


@case
def in_place_with_another_shape() -> Any:
    x = fg.ones(4)
    x += X
    return x


@case
def grad_of_another_shape() -> Any:
    X.grad = fg.ones(2)


# --- dtypes ---------------------------------------------------------------------------------------


@case
def bitwise_of_floats() -> Any:
    return X & X


@case
def subtract_of_bools() -> Any:
    return fg.asarray([True]) - fg.asarray([False])


@case
def integers_without_a_common_dtype() -> Any:
    return fg.ones(2, dtype="int64") + fg.ones(2, dtype="uint64")


@case
def index_with_floats() -> Any:
    return X[fg.asarray([0.0, 1.0])]


@case
def in_place_with_floats_on_integers() -> Any:
    x = fg.asarray([1, 2])
    x += 0.5
    return x


@case
def condition_that_is_no_bool() -> Any:
    return fg.where(X, 1.0, 0.0)


@case
def number_that_does_not_fit() -> Any:
    return fg.ones(2, dtype="uint8") + 300


@case
def tensor_of_text() -> Any:
    return fg.asarray(["a"])


@case
def tensor_of_ragged_lists() -> Any:
    return fg.asarray([[1, 2], [3]])


# --- indices --------------------------------------------------------------------------------------


@case
def index_outside() -> Any:
    return X[0, 4]


@case
def too_many_indices() -> Any:
    return X[0, 0, 0]


@case
def assignment_outside_of_an_axis() -> Any:
    X.clone()[[0, 9]] = 1


# --- devices --------------------------------------------------------------------------------------


@case
def unknown_device() -> Any:
    return X.to("tpu")


@case
def unknown_device_of_a_constructor() -> Any:
    return fg.zeros(3, device="cuda:0")


# --- reductions of nothing ------------------------------------------------------------------------


@case
def max_of_nothing() -> Any:
    return fg.max(fg.zeros((0, 3)), axis=0)


@case
def argmin_of_nothing() -> Any:
    return fg.argmin(fg.zeros((0, 3)))


# --- looking at traced values ---------------------------------------------------------------------


def traced(function: Callable[[fg.Tensor], Any]) -> Any:
    trace = Trace()
    try:
        with trace:
            x, _ = trace.input((3,), "float32", "x")
            return function(x)
    finally:
        trace.restore()


@case
def if_on_a_traced_value() -> Any:
    def step(x: Any) -> Any:
        total = (x * 2).sum()
        if total > 0:
            return x
        return -x

    return traced(step)


@case
def int_of_a_traced_value() -> Any:
    return traced(lambda x: int(x.max()))


@case
def float_of_a_traced_value() -> Any:
    return traced(lambda x: float(x[0]))


@case
def numpy_function_of_a_traced_value() -> Any:
    return traced(lambda x: np.exp(x))


@case
def numpy_reduction_of_a_traced_value() -> Any:
    return traced(lambda x: np.mean(x))


@case
def array_of_a_traced_value() -> Any:
    return traced(lambda x: np.asarray(x + 1))


@case
def item_of_a_captured_tensor() -> Any:
    weight = fg.ones(())
    weight.name = "weight"
    return traced(lambda x: weight.item())


@case
def range_over_a_traced_value() -> Any:
    return traced(lambda x: range(x.sum().long()))


@case
def mask_of_a_traced_value() -> Any:
    return traced(lambda x: x[x > 0])


@case
def if_in_a_mapped_function() -> Any:
    return fg.vmap(lambda x: x if x > 0 else -x)(fg.ones(3))


@case
def traced_value_that_leaked() -> Any:
    kept: list[fg.Tensor] = []

    def step(x: fg.Tensor) -> fg.Tensor:
        kept.append(x * 2)
        return x

    traced(step)
    return kept[0] + 1


# --- gradients ------------------------------------------------------------------------------------


@case
def backward_of_many_elements() -> Any:
    x = fg.ones(3, requires_grad=True)
    y = x * 2
    y.backward()


@case
def backward_of_a_constant() -> Any:
    y = X.sum()
    y.backward()


@case
def backward_with_a_wrong_seed() -> Any:
    x = fg.ones(3, requires_grad=True)
    (x * 2).backward(fg.ones(2))


@case
def backward_through_an_op_without_derivative() -> Any:
    x = fg.ones(3, requires_grad=True)
    y = no_derivative(x * 2).sum()
    y.backward()


@case
def grad_by_an_integer() -> Any:
    return fg.grad(lambda x: x * 1.0)(fg.asarray(3))


@case
def grad_of_a_vector() -> Any:
    return fg.grad(lambda x: x * 1.0)(fg.ones(3))


@case
def gradient_of_integers() -> Any:
    return fg.asarray([1, 2], requires_grad=True)


@case
def variable_changed_in_place() -> Any:
    x = fg.ones(3, requires_grad=True)
    x += 1


def no_derivative(x: fg.Tensor) -> fg.Tensor:
    return record(lambda node: Node(Opaque(), (node,)), (x,))


@final
@dataclass(frozen=True, eq=False, repr=False)
class Opaque(Op):
    """An op without a rule."""

    name: ClassVar[str] = "opaque"  # type: ignore[misc]
    pattern: ClassVar[Pattern] = Pattern.CALL

    def infer(self, *types: Any) -> Any:
        return types[0]

    def ref(self, *arrays: Any) -> Any:
        return arrays[0]


# --- the test -------------------------------------------------------------------------------------


def normalised(text: str) -> str:
    return re.sub(r"at \S*test_errors\.py:\d+", "at user.py:N", text)


@pytest.mark.parametrize("name", list(CASES))
def test_message(name: str, golden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "why_not", lambda: "there is no NVIDIA GPU in this machine")
    with pytest.raises(FusegradError) as caught:
        CASES[name]()
    text = str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.file == __file__
    assert "remedy: " in text
    assert normalised(text) == golden
