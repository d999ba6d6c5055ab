"""Guards: what is compared, what is not, what they say, and that native code compares it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn
from fusegrad.compilation.guards import Guards
from fusegrad.compilation.watches import LONGEST, Items


class Plain:
    """Something with attributes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def test_nan_is_not_a_number_of_before() -> None:
    o = Plain(a=1.0)
    f, x = fg.compile(lambda x: x * o.a), fg.ones(2)
    for _ in range(3):
        f(x)
    o.a = float("nan")
    assert np.isnan(f(x).numpy()).all()
    f(x)
    assert f.stats().compiles == 2


def test_what_only_the_loop_around_changes_does_not_matter() -> None:
    class Trainer:
        def __init__(self):
            self.scale, self.steps, self.losses = 2.0, 0, []

        def step(self, x):
            return x * self.scale

        def fit(self, step, count):
            for _ in range(count):
                self.losses.append(float(step(fg.ones(2)).sum()))
                self.steps += 1

    trainer = Trainer()
    step = fg.compile(trainer.step)
    trainer.fit(step, 5)
    assert trainer.losses == [4.0] * 5
    assert step.stats().compiles == 1


def test_equal_values_do_not_trace_again() -> None:
    o = Plain(a=1000, b=(1, 2.5), c="name")
    f, x = fg.compile(lambda x: x * o.a * o.b[1] * len(o.c)), fg.ones(2)
    for _ in range(3):
        f(x)
    o.a, o.b, o.c = int("1000"), (1, float("2.5")), "".join(["na", "me"])
    for _ in range(3):
        assert float(f(x)[0]) == 10000
    assert f.stats().compiles == 1


@pytest.mark.parametrize("values", [(True, False), (1.5, 2.5)], ids=str)
def test_settings_that_come_back_are_not_traced_again(values: tuple[Any, Any]) -> None:
    o = Plain(flag=values[0])
    f, x = fg.compile(lambda x: x * o.flag), fg.ones(2)
    for turn in range(10):
        o.flag = values[turn % 2]
        assert float(f(x)[0]) == float(o.flag)
    assert f.stats().compiles == 2


def test_reasons_name_the_place() -> None:
    o, settings, items = Plain(a=1.0, inner=Plain(k=1)), {"a": 1.0}, [1.0, 2.0]
    f, x = fg.compile(lambda x: x * o.a * o.inner.k * settings["a"] * items[0]), fg.ones(2)
    f(x)
    o.a = 2.0
    f(x)
    o.inner.k = 5
    f(x)
    settings["a"] = 3.0
    f(x)
    items.append(0.0)
    f(x)
    assert f.stats().reasons == [
        "`o.a` was 1.0 and is 2.0",
        "`o.inner.k` was 1 and is 5",
        "`settings['a']` was 1.0 and is 3.0",
        "`items` had 2 items and has 3",
    ]


def test_constants_in_tuples_are_not_looked_into() -> None:
    axes, nested, changing = (0, 1), ((0, 1.5), "a"), ([0],)

    def f(x):
        return fg.sum(x, axis=axes) * nested[0][1] + changing[0][0]

    looked = [watch.label for watch in Guards(f).watches if isinstance(watch, Items)]
    assert looked == ["changing[0]"]
    compiled, x = fg.compile(f), np.ones((2, 3))
    assert float(compiled(x)) == 9
    changing[0][0] = 1
    assert float(compiled(x)) == 10
    axes = (0,)
    np.testing.assert_array_equal(compiled(x).numpy(), [4, 4, 4])


def test_long_containers_are_known_by_identity() -> None:
    values, other = [1.0] * (LONGEST + 1), dict.fromkeys(range(LONGEST + 1), 1.0)
    assert all(
        type(w).__name__ == "Cell" for w in Guards(lambda x: x * values[0] * other[0]).watches
    )


def test_objects_that_refer_to_each_other() -> None:
    first, second = Plain(k=2.0), Plain(k=3.0)
    first.other, second.other = second, first
    ring: list[Any] = [first]
    ring.append(ring)
    f, x = fg.compile(lambda x: x * first.other.k * ring[1][0].other.other.k), fg.ones(2)
    for _ in range(3):
        assert float(f(x)[0]) == 6
    second.k = 5.0
    assert float(f(x)[0]) == 10


def test_unchanged_surroundings_are_compared_without_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Owner:
        __slots__ = ("a",)
        k = 2.0

    o = Owner()
    o.a, layers, table, weights = 3.0, [nn.Identity()], {"b": [1.0]}, np.array([1.0, 2.0])
    p = Plain(a=1.0)

    def f(x):
        x = x * o.a * o.k * p.a * table["b"][0] * float(weights[1])
        return functools.reduce(lambda value, layer: layer(value), layers, x)

    compiled, x = fg.compile(f), fg.ones(2)
    for _ in range(3):
        compiled(x)

    def asked(self: Guards) -> bool:
        raise AssertionError("the guards were asked")

    monkeypatch.setattr(Guards, "hold", asked)
    assert float(compiled(x)[0]) == 12
    p.a = 2.0
    with pytest.raises(AssertionError, match="asked"):
        compiled(x)


def test_effects_that_no_result_depends_on_happen_when_traced() -> None:
    calls, log, table, o = 0, [], {"calls": 0}, Plain(calls=0, log=[])

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * 2

    net = Net()

    @fg.compile
    def f(x):
        nonlocal calls
        calls += 1
        log.append((x.shape, x.ndim * 2))
        table["calls"] += 1
        table["last"] = x.ndim
        o.calls += len(x.shape)
        o.log.append(x.ndim * 2)
        return net(x)

    for _ in range(4):
        assert float(f(fg.ones(3))[0]) == 2
    assert f.stats().compiles == 1
    assert (calls, log, table) == (1, [((3,), 2)], {"calls": 1, "last": 1})
    assert (o.calls, o.log, net.calls) == (1, [2], 1)
    f(fg.ones(4))
    assert (calls, len(log), net.calls) == (2, 2, 2)


def test_effects_that_results_depend_on_happen_at_every_call() -> None:
    count, log = 0, [1]

    @fg.compile
    def f(x):
        nonlocal count
        count += 1
        log.append(2)
        return x * count * len(log)

    assert [float(f(fg.ones(1))[0]) for _ in range(3)] == [2.0, 6.0, 12.0]


def test_classes_of_code_without_a_modules_name() -> None:
    scope: dict[str, Any] = {"fg": fg}
    exec("class Settings:\n    k = 2.0\nf = fg.compile(lambda x: x * Settings().k)", scope)
    assert scope["Settings"].__module__ == "builtins"
    assert float(scope["f"](fg.ones(1))[0]) == 2
    scope["Settings"].k = 3.0
    assert float(scope["f"](fg.ones(1))[0]) == 3


def test_every_one_of_many_places_counts() -> None:
    items = [Plain(a=1.0, b=1.0, c=1.0, d=1.0, e=1.0) for _ in range(LONGEST)]
    f = fg.compile(lambda x: x * sum(i.a * i.b * i.c * i.d * i.e for i in items))
    x = fg.ones(1)
    for _ in range(3):
        assert float(f(x)[0]) == LONGEST
    items[-1].e = 3.0
    assert float(f(x)[0]) == LONGEST + 2
    assert f.stats().compiles == 2
