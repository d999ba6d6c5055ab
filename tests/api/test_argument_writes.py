"""What a compiled function writes into its arguments: as without `compile`, or an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim
from fusegrad.errors import StateError

Function = Callable[..., Any]


def state_of(value: Any) -> Any:
    if isinstance(value, fg.Tensor):
        grad = None if value.grad is None else value.grad.tolist()
        return value.tolist(), grad, value.requires_grad
    if isinstance(value, dict):
        return {name: state_of(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [state_of(item) for item in value]
    return value


def check(function: Function, make: Callable[[], tuple[Any, ...]], calls: int = 3) -> Any:
    """The same states and results with and without `compile`, call after call."""
    compiled = fg.compile(function)
    plain, other = make(), make()
    for _ in range(calls):
        want, got = function(*plain), compiled(*other)
        assert state_of(got) == state_of(want)
        assert state_of(other) == state_of(plain)
    return compiled


def tensor(*values: float, grad: bool = False) -> fg.Tensor:
    return fg.asarray(values, dtype="float32", requires_grad=grad)


def test_an_element() -> None:
    def f(x: Any) -> Any:
        before = x.sum()
        x[1] = 7
        return before, x * 2

    assert check(f, lambda: (tensor(1, 2, 3),)).stats().compiles == 1


def test_every_way_to_write() -> None:
    def f(x: Any, y: Any, z: Any, u: Any) -> Any:
        x += 1
        y.mul_(2)
        z.copy_(x)
        u.data = z * 3
        return x + y

    check(f, lambda: (tensor(1, 2), tensor(3, 4), tensor(0, 0), tensor(5, 6)))


def test_views_inside() -> None:
    def f(x: Any) -> None:
        x[0][1] += 1
        x.T[0] *= 2
        x.view(-1)[3:].fill_(9)

    check(f, lambda: (fg.ones((2, 3)),))


def test_containers() -> None:
    def f(state: Any, rate: float) -> Any:
        state["w"][0] -= rate
        for item in state["more"]:
            item *= 2
        return state["w"].sum()

    check(f, lambda: ({"w": tensor(1, 2), "more": [tensor(1), (tensor(2),)[0]]}, 0.5))


@dataclass
class Pair:
    a: Any
    b: Any


def test_dataclasses_and_keywords() -> None:
    @fg.compile
    def f(pair: Pair, *, x: Any) -> None:
        pair.a += x
        x *= 2

    pair, x = Pair(tensor(1), tensor(2)), tensor(3)
    for _ in range(2):
        f(pair, x=x)
    assert (pair.a.tolist(), pair.b.tolist(), x.tolist()) == ([10], [2], [12])


def test_only_what_is_written_changes() -> None:
    def f(x: Any, y: Any) -> Any:
        z = x * 1
        z += y
        return z

    x, y = tensor(1), tensor(2)
    storages = x._storage, y._storage
    compiled = fg.compile(f)
    for _ in range(3):
        assert compiled(x, y).tolist() == [3]
    assert (x._storage, y._storage) == storages


def test_the_same_tensor_twice() -> None:
    def f(a: Any, b: Any) -> Any:
        a += 1
        return b * 1

    compiled = fg.compile(f)
    for _ in range(3):
        x, y = tensor(1, 2), tensor(3, 4)
        assert compiled(x, y).tolist() == [3, 4]
        assert compiled(x, x).tolist() == [3, 4]
        assert compiled(x, y).tolist() == [3, 4]
        assert x.tolist() == [4, 5]
    assert compiled.stats().compiles == 2


def test_an_argument_that_is_captured_too() -> None:
    shared = tensor(1, 2)

    def f(x: Any) -> Any:
        x += 1
        return shared * 10 + x

    def g(x: Any) -> Any:
        shared.add_(1)
        return x * 1

    for function in (f, g):
        compiled = fg.compile(function)
        for _ in range(2):
            other = tensor(5, 5)
            before = shared.numpy().copy()
            compiled(other)
            own = function is g
            np.testing.assert_array_equal(shared.numpy(), before + own)
            result = compiled(shared)
            after = before + 1 + own
            np.testing.assert_array_equal(shared.numpy(), after)
            np.testing.assert_array_equal(result.numpy(), after if own else 11 * after)


def test_an_argument_that_is_a_view() -> None:
    def f(x: Any) -> Any:
        x += 1
        return x * 1

    compiled = fg.compile(f)
    t = fg.zeros((2, 3))
    assert compiled(t[0]).tolist() == [1, 1, 1]
    assert compiled(t.T[1]).tolist() == [2, 1]
    row = t[1]
    compiled(t)
    assert t.tolist() == [[2, 3, 2], [1, 2, 1]]
    assert row.tolist() == [1, 2, 1]


def test_arguments_that_share_elements() -> None:
    @fg.compile
    def f(x: Any, y: Any) -> Any:
        x += 1
        return y * 1

    @fg.compile
    def reads(x: Any, y: Any) -> Any:
        return x + y

    t = fg.zeros((2, 2))
    assert reads(t[0], t[1]).tolist() == [0, 0]
    assert f(fg.zeros(2), fg.zeros(2)).tolist() == [0, 0]
    for pair in ((t[0], t[1]), (t, t[0])):
        with pytest.raises(StateError) as raised:
            f(*pair)
        assert raised.value.message == (
            "a compiled function changes an argument in place that shares elements with another "
            "tensor which it uses: one is a view of the other"
        )
        assert "take the view of it inside" in str(raised.value)
    assert t.tolist() == [[0, 0], [0, 0]]


def test_numpy_arrays_are_not_written() -> None:
    @fg.compile
    def f(x: Any) -> Any:
        x[1] = 7
        return x

    array = np.zeros(3, np.float32)
    with pytest.raises(StateError) as raised:
        f(array)
    assert raised.value.message == (
        "the argument 'x' is a NumPy array, and a compiled function changes it in place: what it "
        "writes would be lost"
    )
    assert "x[1] = 7" in str(raised.value)
    assert "fg.asarray(x)" in str(raised.value)
    assert array.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.add_(1),
        lambda x: x[0].fill_(1),
        lambda x: x.reshape(-1)[1:].copy_(x[0, 0]),
        lambda x: x.detach().zero_(),
        lambda x: x.T.__iadd__(1),
    ],
)
@pytest.mark.parametrize("shape", [(2, 2), (300, 300)])
def test_neither_are_views_of_them(write: Function, shape: tuple[int, int]) -> None:
    compiled = fg.compile(write)
    base = np.zeros(shape, np.float32)
    for array in (base, base.T, base[:, ::2]):
        with pytest.raises(StateError, match="is a NumPy array"):
            compiled(array)
    with pytest.raises(StateError, match="an argument is a numpy"), fg.eager():
        compiled(base)


def test_copies_of_them_are() -> None:
    @fg.compile
    def f(x: Any) -> Any:
        y = x.clone()
        y += 1
        z = x * 1
        z[0] = 5
        return y, z

    assert state_of(f(np.zeros(2, np.float32))) == [([1, 1], None, False), ([5, 0], None, False)]


def test_numbers_are_rebound_as_in_python() -> None:
    def f(x: Any, n: Any, m: Any) -> Any:
        kept = n
        n += 1
        n *= 2
        m -= 1
        total = n * kept
        total += 1
        return x * n + kept + m, total

    arguments = fg.ones(2), 3.0, 4
    compiled = fg.compile(f)
    for _ in range(2):
        result, total = compiled(*arguments)
        want, number = f(*arguments)
        assert (result.tolist(), float(total)) == (want.tolist(), number)
    scalar = np.float32(3)
    assert compiled(fg.ones(2), scalar, 4)[0].tolist() == f(fg.ones(2), scalar, 4)[0].tolist()


def test_gradients_of_arguments() -> None:
    def f(w: Any, x: Any) -> Any:
        loss = (w * w * x).sum()
        loss.backward()
        return loss.detach()

    check(f, lambda: (tensor(1, 2, grad=True), tensor(3, 4)))


def test_a_step_on_arguments() -> None:
    def f(w: Any, x: Any) -> Any:
        loss = (w * w * x).sum()
        loss.backward()
        with fg.no_grad():
            w -= 0.125 * w.grad
        return loss.detach()

    check(f, lambda: (tensor(1, 2, grad=True), tensor(3, 4)))

    def resetting(w: Any, x: Any) -> Any:
        w.grad = None
        return f(w, x)

    check(resetting, lambda: (tensor(1, 2, grad=True), tensor(3, 4)))

    def zeroing(w: Any, x: Any) -> Any:
        if w.grad is not None:
            w.grad.zero_()
        return f(w, x)

    check(zeroing, lambda: (tensor(1, 2, grad=True), tensor(3, 4)))


def test_gradients_that_are_taken_away_or_given() -> None:
    def away(w: Any) -> None:
        w.grad = None

    def given(w: Any) -> None:
        w.grad = w.detach() * 2

    def make() -> tuple[fg.Tensor]:
        w = tensor(1, 2, grad=True)
        w.grad = fg.ones(2)
        return (w,)

    check(away, make)
    check(given, make)


def test_writes_with_a_history() -> None:
    def f(x: Any, w: Any) -> None:
        x *= w

    for function in (f, fg.compile(f)):
        x, w = tensor(1, 2), tensor(3, 4, grad=True)
        for _ in range(2):
            function(x, w)
        assert x.tolist() == [9, 32]
        assert x.requires_grad
        x.sum().backward()
        assert w.grad is not None
        assert w.grad.tolist() == [6, 16]


def test_a_parameter_as_an_argument() -> None:
    p = nn.Parameter(fg.ones(2))
    optimizer = optim.SGD([p], lr=0.5)

    @fg.compile
    def f(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (x * p).sum()
        loss.backward()
        optimizer.step()
        return x * 1

    assert f(p).tolist() == [0, 0]
    assert p.tolist() == [0, 0]


def test_what_is_lent_keeps_its_values() -> None:
    @fg.compile
    def f(x: Any) -> None:
        x += 1

    x = tensor(1, 2)
    view, recorded = x.numpy(), x * 10
    f(x)
    assert (view.tolist(), recorded.tolist(), x.tolist()) == ([1, 2], [10, 20], [2, 3])


def test_failed_traces_change_nothing() -> None:
    @fg.compile
    def f(x: Any) -> Any:
        x += 1
        return float(x.sum())

    x = tensor(1, 2)
    with pytest.raises(fg.errors.TracedValueError):
        f(x)
    assert x.tolist() == [1, 2]


def test_transformed_functions_have_arguments_of_their_own() -> None:
    def f(x: Any) -> Any:
        x = x * 1
        x[0] *= 3
        return (x * x).sum()

    x = tensor(1, 2)
    assert fg.grad(f)(x).tolist() == [18, 4]
    assert fg.compile(fg.grad(f))(x).tolist() == [18, 4]
    assert x.tolist() == [1, 2]
