"""Places in which a compiled function stores: who else has them, and the ways to call it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn


class Plain:
    """Something with attributes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


# --- who else has the values ----------------------------------------------------------------------


def test_values_that_somebody_holds_stay() -> None:
    o = Plain(h=fg.zeros(3))

    @fg.compile
    def step(x: Any) -> Any:
        o.h = o.h + x
        return o.h

    held, results = [], []
    for _ in range(5):
        results.append(step(fg.ones(3)))
        held.append(o.h)
    for turn in range(5):
        np.testing.assert_array_equal(held[turn].numpy(), np.full(3, turn + 1))
        np.testing.assert_array_equal(results[turn].numpy(), np.full(3, turn + 1))
    assert step.stats().compiles == 1
    results[-1][...] = 0
    np.testing.assert_array_equal(o.h.numpy(), np.full(3, 5))


def test_others_see_what_is_stored() -> None:
    o = Plain(h=fg.zeros(3))

    @fg.compile
    def step(x: Any) -> None:
        o.h = o.h + x

    look = fg.compile(lambda x: x * o.h)
    for turn in range(1, 6):
        step(fg.ones(3))
        assert float(look(fg.ones(3))[0]) == turn
    stats = look.stats()
    assert (stats.compiles, stats.hits) == (2, 3)
    assert stats.reasons == ["`o.h` is another object"]


def test_what_the_user_puts_there_is_read() -> None:
    o = Plain(h=None)

    @fg.compile
    def step(x: Any) -> Any:
        o.h = x if o.h is None else o.h + x
        return o.h.sum()

    found = []
    for turn in range(9):
        if turn % 3 == 0:
            o.h = None
        elif turn % 3 == 1:
            o.h = fg.full((3,), 10.0)
        found.append(float(step(fg.ones(3))))
    assert found == [3.0, 33.0, 36.0] * 3
    assert step.stats().compiles == 2


def test_a_log_that_is_read() -> None:
    kept: list[Any] = []

    @fg.compile
    def step(x: Any) -> Any:
        kept.append(x * 2)
        return sum(each.sum() for each in kept) + len(kept)

    assert [float(step(fg.ones(2))) for _ in range(4)] == [5.0, 10.0, 15.0, 20.0]
    assert len(kept) == 4


def test_a_cache_is_filled_once() -> None:
    o, made = Plain(table=None, k=1), []

    @fg.compile
    def step(x: Any) -> Any:
        if o.table is None:
            made.append("made")
            o.table = fg.cos(fg.arange(3.0)) * o.k
        return x * o.table

    for _ in range(4):
        np.testing.assert_allclose(step(fg.ones(3)).numpy(), np.cos(np.arange(3)), rtol=1e-6)
    first = o.table
    step(fg.ones(3))
    assert o.table is first
    o.k = 2
    step(fg.ones(3))
    np.testing.assert_allclose(o.table.numpy(), np.cos(np.arange(3)), rtol=1e-6)
    o.table = None
    np.testing.assert_allclose(step(fg.ones(3)).numpy(), 2 * np.cos(np.arange(3)), rtol=1e-6)


def test_numbers_are_inputs_where_that_is_possible() -> None:
    o, printed = Plain(t=0, k=0), []

    @fg.compile
    def step(x: Any) -> Any:
        o.t += 1
        o.k += 1
        if o.k % 2 == 0:
            printed.append(1)
        return x * o.t * o.k

    assert [float(step(fg.ones(1))[0]) for _ in range(6)] == [1.0, 4.0, 9.0, 16.0, 25.0, 36.0]
    assert (o.t, o.k, len(printed)) == (6, 6, 3)
    assert type(o.t) is int
    o.k = 3
    compiles = step.stats().compiles
    assert float(step(fg.ones(1))[0]) == 28
    assert step.stats().compiles == compiles


def test_keys_are_no_inputs() -> None:
    o, history = Plain(t=0), {}

    @fg.compile
    def step(x: Any) -> Any:
        history[o.t] = x.sum()
        o.t += 1
        return x * o.t

    for turn in range(4):
        assert float(step(fg.ones(2))[0]) == turn + 1
    assert {key: float(value) for key, value in history.items()} == dict.fromkeys(range(4), 2.0)
    with pytest.raises(fg.errors.TracedValueError, match="the key of"):
        fg.compile(lambda x: history.__setitem__(x, x))(fg.ones(2))


def test_numbers_that_the_user_changes() -> None:
    o = Plain(rate=1.0, keep=1.0)

    @fg.compile
    def step(x: Any) -> Any:
        return x * o.rate if o.keep > 0.5 else x

    for turn in range(1, 7):
        o.rate = 1 / turn
        assert float(step(fg.ones(1, dtype="float64"))[0]) == 1 / turn
    assert step.stats().compiles == 2
    o.keep = 0.25
    assert float(step(fg.ones(1))[0]) == 1
    o.keep, o.rate = 0.75, 5.0
    assert float(step(fg.ones(1))[0]) == 5


def test_errors_do_not_make_numbers_constants() -> None:
    o = Plain(t=0)

    @fg.compile
    def step(x: Any) -> Any:
        o.t += 1
        return x @ fg.ones(3) * o.t

    for turn in range(1, 4):
        assert float(step(fg.ones(3))) == 3 * turn
        with pytest.raises(fg.errors.ShapeError):
            step(fg.ones(4))
        assert o.t == turn
    assert step.stats().compiles <= 4


def test_places_that_are_found_later() -> None:
    o = Plain(a=fg.zeros(2), b=fg.zeros(2), second=False)

    @fg.compile
    def step(x: Any) -> Any:
        o.a = o.a + x
        if o.second:
            o.b = o.b + o.a
        return o.a.sum()

    for turn in range(6):
        o.second = turn % 2 == 1
        step(fg.ones(2))
    assert (o.a.numpy().tolist(), o.b.numpy().tolist()) == ([6.0, 6.0], [12.0, 12.0])


def test_two_modules_with_attributes_of_one_name() -> None:
    """What is stored in one does not hide what changes in the other."""

    class Layer(nn.Module):
        def __init__(self, keeps: bool) -> None:
            super().__init__()
            self.keeps, self.scale = keeps, fg.ones(2) if keeps else 2.0

        def forward(self, x: Any) -> Any:
            y = x * self.scale
            if self.keeps:
                self.scale = self.scale * 2
            return y

    model = nn.Sequential(Layer(True), Layer(False))
    step = fg.compile(model)
    assert [float(step(fg.ones(2))[0]) for _ in range(3)] == [2.0, 4.0, 8.0]
    model[1].scale = 10.0
    assert [float(step(fg.ones(2))[0]) for _ in range(2)] == [80.0, 160.0]


@pytest.mark.parametrize("buffer", [False, True])
def test_tensors_that_the_user_replaces(buffer: bool) -> None:
    model = nn.Module()
    if buffer:
        model.register_buffer("scale", fg.ones(2))
    else:
        model.scale = fg.ones(2)
    step = fg.compile(lambda x: x * model.scale)
    for turn in range(6):
        model.scale = fg.full((2,), float(turn))
        assert float(step(fg.ones(2))[0]) == turn
    assert step.stats().compiles == 2
    # Other kinds and in-place changes, too.
    model.scale[...] = 7
    assert float(step(fg.ones(2))[0]) == 7
    model.scale = fg.ones(2, dtype="float64")
    assert step(fg.ones(2)).dtype == "float64"


def test_parameters_that_the_user_replaces() -> None:
    """They keep what they are: variables."""
    model = nn.Linear(2, 2)

    @fg.compile
    def step(x: Any) -> Any:
        loss = model(x).sum()
        loss.backward()
        return loss

    for _ in range(3):
        model.bias = nn.Parameter(fg.zeros(2))
        step(fg.ones(2))
        np.testing.assert_array_equal(model.bias.grad.numpy(), 1)


# --- ways to call ---------------------------------------------------------------------------------


def test_methods_keywords_and_static_arguments() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.h = fg.zeros(2)

        @fg.compile(static_argnames=("power",))
        def step(self, x: Any, *, factor: float = 1.0, power: int = 1) -> Any:
            self.h = self.h + factor * x**power
            return self.h.sum()

    one, two = Trainer(), Trainer()
    assert float(one.step(np.full(2, 3.0, "float32"), factor=2.0)) == 12
    assert float(one.step(np.full(2, 3.0, "float32"), factor=1.0, power=2)) == 30
    assert float(one.step(np.full(2, 3.0, "float32"), power=2)) == 48
    assert float(two.step(np.full(2, 3.0, "float32"))) == 6
    with pytest.raises(TypeError, match=r"step\(x: .*unexpected keyword"):
        one.step(fg.ones(2), other=1)


def test_many_batches() -> None:
    o = Plain(h=fg.zeros(2))

    @fg.compile
    def step(x: Any) -> Any:
        o.h = o.h + x
        return o.h.sum()

    np.testing.assert_array_equal(step.run(np.ones((5, 2), "float32")).numpy(), [2, 4, 6, 8, 10])


def test_looking_changes_nothing() -> None:
    for called in (False, True):
        o = Plain(h=None, log=[])

        @fg.compile
        def step(x: Any, o: Any = o) -> Any:
            o.h = x if o.h is None else o.h + x
            o.log.append(o.h.sum())
            return x * 2

        if called:
            step(fg.ones(3))
        before = o.h, list(o.log)
        assert "mul" in str(step.explain(fg.ones(3)))
        assert step.memory(fg.ones(3)).arena_bytes >= 0
        assert step.profile(fg.ones(3), rounds=1).rows
        assert o.h is before[0]
        assert len(o.log) == len(before[1])


def test_an_error_leaves_everything_as_it_was() -> None:
    o = Plain(h=fg.zeros(3), log=[])
    before = o.h

    @fg.compile
    def step(x: Any) -> Any:
        o.h = o.h + x
        o.log.append(o.h)
        return o.h @ fg.ones(4)

    with pytest.raises(fg.errors.ShapeError):
        step(fg.ones(3))
    assert o.h is before
    assert o.log == []
    np.testing.assert_array_equal(o.h.numpy(), 0)


def test_inside_of_another_compiled_function() -> None:
    o = Plain(h=fg.zeros(3))

    @fg.compile
    def inner(x: Any) -> Any:
        o.h = o.h + x
        return o.h * 2

    @fg.compile
    def outer(x: Any) -> Any:
        return inner(x).sum()

    assert [float(outer(fg.ones(3))) for _ in range(3)] == [6.0, 12.0, 18.0]
    assert float(inner(fg.ones(3))[0]) == 8
    assert float(outer(fg.ones(3))) == 30


def test_in_the_background() -> None:
    o = Plain(h=fg.zeros(3))

    @fg.compile(background=True)
    def step(x: Any) -> Any:
        o.h = o.h + x
        return o.h.sum()

    assert [float(step(fg.ones(3))) for _ in range(20)] == [3.0 * (i + 1) for i in range(20)]


def test_threads() -> None:
    o = Plain(h=fg.zeros(3))

    @fg.compile
    def step(x: Any) -> Any:
        o.h = o.h + x
        return o.h.sum()

    def many() -> None:
        for _ in range(50):
            step(fg.ones(3))

    workers = [threading.Thread(target=many) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(o.h.numpy(), 400)
