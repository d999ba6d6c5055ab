"""What a compiled function reads from outside may change: no call gives a result of before."""

from __future__ import annotations

import collections
import dataclasses
import functools
import types
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn
from fusegrad.compilation.watches import LONGEST

Case = Generator[Any, None, None]
CASES: list[Callable[[], Case]] = []


def case(function: Callable[[], Case]) -> Callable[[], Case]:
    """First the function, then after each change what it gives for ones."""
    CASES.append(function)
    return function


class Plain:
    """Something with attributes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


factor = 3.0


@case
def attribute() -> Case:
    o = Plain(a=2)
    yield fg.compile(lambda x: x * o.a)
    o.a = 3
    yield 3
    o.a = 3.5
    yield 3.5


@case
def attribute_that_is_a_list() -> Case:
    o = Plain(a=[2.0, 3.0])
    yield fg.compile(lambda x: x * o.a[0])
    o.a[0] = 5.0
    yield 5
    o.a = [7.0]
    yield 7


@case
def attribute_that_is_a_module() -> Case:
    first, second = nn.Linear(4, 1, bias=False), nn.Linear(4, 1, bias=False)
    first.weight.data, second.weight.data = fg.ones(1, 4), fg.ones(1, 4) * 2
    o = Plain(model=first)
    yield fg.compile(lambda x: o.model(x))
    o.model = second
    yield 8


@case
def attribute_that_is_a_tensor() -> Case:
    o = Plain(w=fg.ones(4))
    yield fg.compile(lambda x: o.w * x)
    o.w = fg.ones(4) * 3
    yield 3


@case
def attribute_that_is_a_function() -> Case:
    o = Plain(g=lambda x: x * 2)
    yield fg.compile(lambda x: o.g(x))
    o.g = lambda x: x * 9
    yield 9


@case
def attribute_of_an_attribute() -> Case:
    o = Plain(inner=Plain(a=2.0))
    yield fg.compile(lambda x: o.inner.a * x)
    o.inner.a = 4.0
    yield 4
    o.inner = Plain(a=6.0)
    yield 6


@case
def fields_replaced() -> Case:
    o = Plain(a=2.0)
    yield fg.compile(lambda x: o.a * x)
    o.__dict__ = {"a": 4.0}
    yield 4


@case
def attribute_that_a_function_asks_for() -> Case:
    o = Plain(a=2.0)
    yield fg.compile(lambda x: x * getattr(o, "a", 1.0) * getattr(o, "b", 1.0))
    o.b = 4.0
    yield 8
    del o.a
    yield 4


@case
def attribute_by_a_made_name() -> Case:
    o = Plain(a0=2.0, a1=3.0)

    def f(x):
        for i in range(2):
            x = x * getattr(o, f"a{i}")
        return x

    yield fg.compile(f)
    o.a1 = 4.0
    yield 8


@case
def attribute_that_hides_a_classs() -> Case:
    class Owner:
        a = 2.0

    o = Owner()
    yield fg.compile(lambda x: x * o.a)
    o.a = 4.0
    yield 4
    del o.a
    yield 2
    Owner.a = 5.0
    yield 5


@case
def class_attribute() -> Case:
    class Owner:
        a = 2.0

    yield fg.compile(lambda x: x * Owner.a)
    Owner.a = 4.0
    yield 4


@case
def slot() -> Case:
    class Owner:
        __slots__ = ("a",)

    o = Owner()
    o.a = 2.0
    yield fg.compile(lambda x: x * o.a)
    o.a = 4.0
    yield 4


@case
def property_() -> Case:
    class Owner:
        hidden = 2.0

        @property
        def a(self):
            return self.hidden

    o = Owner()
    yield fg.compile(lambda x: x * o.a)
    o.hidden = 4.0
    yield 4


@case
def method_that_reads_itself() -> Case:
    class Owner:
        def __init__(self):
            self.k = [2.0]
            self.w = fg.ones(4)

        def inner(self, x):
            return x * self.k[0]

        def outer(self, x):
            return self.inner(x) * self.w

    o = Owner()
    yield fg.compile(o.outer)
    o.k[0] = 3.0
    yield 3
    o.w = fg.ones(4) * 2
    yield 6


@case
def method_that_is_replaced() -> Case:
    class Owner:
        def scale(self, x):
            return x * 2

    o = Owner()
    yield fg.compile(lambda x: o.scale(x))
    Owner.scale = lambda self, x: x * 5
    yield 5


@case
def inherited_method() -> Case:
    class Base:
        def scale(self, x):
            return x * self.k

    class Owner(Base):
        def __init__(self):
            self.k = 2.0

        def __call__(self, x):
            return super().scale(x)

    o = Owner()
    yield fg.compile(o)
    o.k = 3.0
    yield 3


@case
def method_that_reads_a_global() -> Case:
    class Owner:
        def scale(self, x):
            return x * factor

    o = Owner()
    yield fg.compile(lambda x: o.scale(x))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "factor", 7.0)
        yield 7
    yield 3


@case
def forward_that_reads_a_global() -> Case:
    class Net(nn.Module):
        def forward(self, x):
            return x * factor

    yield fg.compile(nn.Sequential(Net()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "factor", 7.0)
        yield 7
    yield 3


@case
def what_a_module_holds() -> Case:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scales = [2.0]
            self.config = Plain(a=1.0)

        def forward(self, x):
            return x * self.scales[0] * self.config.a

    net = Net()
    yield fg.compile(net)
    net.scales[0] = 3.0
    yield 3
    net.config.a = 2.0
    yield 6


@case
def object_made_inside() -> Case:
    settings = {"k": 2.0}

    class Layer:
        def __init__(self):
            self.k = settings["k"]

        def __call__(self, x):
            return x * self.k

    yield fg.compile(lambda x: Layer()(x))
    settings["k"] = 3.0
    yield 3


@case
def transformed_function() -> Case:
    o = Plain(k=2.0)
    gradient = fg.grad(lambda x: (x * x * o.k).sum())
    yield fg.compile(lambda x: gradient(x))
    o.k = 3.0
    yield 6


@case
def compiled_function_inside() -> Case:
    o = Plain(k=2.0)
    inner = fg.compile(lambda x: x * o.k)
    yield fg.compile(lambda x: inner(x) + 1)
    o.k = 3.0
    yield 4


@case
def partial() -> Case:
    k = [2.0]
    scale = functools.partial(lambda k, x: x * k[0], k)
    yield fg.compile(lambda x: scale(x))
    k[0] = 4.0
    yield 4


@case
def cached_function() -> Case:
    o = Plain(k=2.0)

    @functools.wraps(len)
    def wrapper(x):
        return x * o.k

    yield fg.compile(wrapper)
    o.k = 3.0
    yield 3


@case
def functions_in_functions() -> Case:
    k, n = [2.0], 3

    def inner(x):
        return x * k[0] * n

    def outer(x):
        return inner(x)

    yield fg.compile(lambda x: outer(x))
    k[0] = 4.0
    yield 12
    n = 5
    yield 20


@case
def defaults() -> Case:
    first, second = [2.0], {"k": 3.0}

    def f(x, a=first, *, b=second):
        return x * a[0] * b["k"]

    yield fg.compile(lambda x: f(x))
    first[0] = 4.0
    yield 12
    second["k"] = 5.0
    yield 20


@case
def module_of_the_user() -> Case:
    module = types.ModuleType("settings_of_the_user")
    exec("a = 2.0\ndef scale(x): return x * a", module.__dict__)
    yield fg.compile(lambda x: module.scale(x) * module.a)
    module.a = 4.0
    yield 16


@case
def list_of_objects() -> Case:
    @dataclasses.dataclass
    class Item:
        a: float = 2.0

    items = [Item(), Item(3.0)]
    yield fg.compile(lambda x: x * items[0].a)
    items[0].a = 4.0
    yield 4
    items[0] = Item(6.0)
    yield 6


@case
def list_of_a_subclass() -> Case:
    class Values(list):
        pass

    values = Values([2.0])
    yield fg.compile(lambda x: x * values[0])
    values[0] = 4.0
    yield 4


@case
def long_list() -> Case:
    values = [2.0] * LONGEST
    yield fg.compile(lambda x: x * values[0] * len(values))
    values[0] = 4.0
    yield 4 * LONGEST
    values.pop()
    yield 4 * (LONGEST - 1)


@case
def order_of_a_dict() -> Case:
    values = {"a": 2.0, "b": 3.0}
    yield fg.compile(lambda x: functools.reduce(lambda r, v: r * 10 + v, values.values(), x * 0))
    values["a"] = values.pop("a")
    yield 32
    values["c"] = 4.0
    yield 324


@case
def order_of_an_ordered_dict() -> Case:
    values = collections.OrderedDict(a=2.0, b=3.0)
    yield fg.compile(lambda x: functools.reduce(lambda r, v: r * 10 + v, values.values(), x * 0))
    values.move_to_end("a")
    yield 32
    values["a"] = 4.0
    yield 34


@case
def named_tuple_with_a_list() -> Case:
    class Pair(NamedTuple):
        a: list[float]

    pair = Pair([2.0])
    yield fg.compile(lambda x: x * pair.a[0])
    pair.a[0] = 4.0
    yield 4


@case
def set_() -> Case:
    values = {1, 2}
    yield fg.compile(lambda x: x * (5.0 if 3 in values else 2.0))
    values.add(3)
    yield 5


@case
def elements_read_by_numpy() -> Case:
    o = Plain(a=np.float32(2), b=np.array([1.0, 2.0]))
    yield fg.compile(lambda x: x * float(o.a) * float(o.b[1]))
    o.a = np.float32(3)
    yield 6
    o.b[1] = 4
    yield 12
    o.b = np.array([[1.0], [5.0]])[:, 0]
    yield 15
    o.b[1] = 6
    yield 18


@case
def negative_zero_and_nan() -> Case:
    o = Plain(a=0.0)
    yield fg.compile(lambda x: fg.copysign(x, o.a))
    o.a = -0.0
    yield -1
    o.a = 1.0
    yield 1


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_change_outside_is_seen(make: Callable[[], Case]) -> None:
    changes = make()
    function, x = next(changes), fg.ones(4)
    for _ in range(3):
        function(x)
    assert function.stats().compiles == 1
    assert function.stats().hits == 2
    for wanted in changes:
        for _ in range(2):
            assert float(np.ravel(function(x).numpy())[0]) == wanted
