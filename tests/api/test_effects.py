"""What a compiled function stores outside of itself is there after each call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim

Make = Callable[[], tuple[Callable[..., Any], Callable[[], Any]]]

_TOTAL: Any = None


class Plain:
    """Something with attributes."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Slots:
    """Something without a dict."""

    __slots__ = ("h",)

    def __init__(self, h: Any) -> None:
        self.h = h


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype("float32")


# --- the same as without compiling ----------------------------------------------------------------


def attribute() -> Any:
    o = Plain(h=None)

    def f(x: Any) -> Any:
        o.h = x if o.h is None else fg.tanh(o.h + x)
        return o.h.sum()

    return f, lambda: o.h


def slot() -> Any:
    o = Slots(fg.zeros(3))

    def f(x: Any) -> Any:
        o.h = o.h * 0.5 + x
        return o.h * 2

    return f, lambda: o.h


def number_at_first() -> Any:
    o = Plain(total=0.0)

    def f(x: Any) -> Any:
        o.total = o.total + x.sum()
        return x * 2

    return f, lambda: o.total


def variable() -> Any:
    h = fg.zeros(3)

    def f(x: Any) -> Any:
        nonlocal h
        h = h * 0.5 + x
        return h.sum()

    return f, lambda: h


def module_variable() -> Any:
    global _TOTAL
    _TOTAL = fg.zeros(3)

    def f(x: Any) -> Any:
        global _TOTAL
        _TOTAL += x
        return _TOTAL * 1

    return f, lambda: _TOTAL


def new_module_variable() -> Any:
    globals().pop("_LATEST", None)

    def f(x: Any) -> Any:
        global _LATEST
        _LATEST = x * 3
        return x

    return f, lambda: globals()["_LATEST"]


def pair() -> Any:
    o = Plain(state=(fg.zeros(3), fg.ones(3)))

    def f(x: Any) -> Any:
        h, c = o.state
        o.state = h + x, c * 2 + h
        return h.sum()

    return f, lambda: o.state


def entry() -> Any:
    table = {"h": fg.zeros(3), "k": 2.0}

    def f(x: Any) -> Any:
        table["h"] = table["h"] * table["k"] + x
        return table["h"].sum()

    return f, lambda: table["h"]


def item() -> Any:
    hidden = [fg.zeros(3), fg.zeros(3)]

    def f(x: Any) -> Any:
        for i in range(2):
            hidden[i] = x = fg.tanh(hidden[i] + x)
        return x.sum()

    return f, lambda: list(hidden)


def item_inside() -> Any:
    o = Plain(hidden={"layers": [fg.zeros(3), fg.zeros(3)]})

    def f(x: Any) -> Any:
        o.hidden["layers"][1] = o.hidden["layers"][0] + x
        o.hidden["layers"][0] = o.hidden["layers"][1] * 0.5
        return x.sum()

    return f, lambda: o.hidden


def log() -> Any:
    losses: list[Any] = []

    def f(x: Any) -> Any:
        loss = (x**2).sum()
        losses.append(loss)
        return loss

    return f, lambda: list(losses)


def logs() -> Any:
    history: dict[str, list[Any]] = {"loss": [], "size": []}

    def f(x: Any) -> Any:
        history["loss"].append((x**2).sum())
        history["size"].append(fg.abs(x).max())
        return x + 1

    return f, lambda: history


def log_of_an_object() -> Any:
    o = Plain(losses=[], seen={})

    def f(x: Any) -> Any:
        o.losses += [x.sum(), (x.mean(), x.max())]
        o.seen["last"] = x * 2
        return x + 1

    return f, lambda: (o.losses, o.seen)


def class_attributes() -> Any:
    class Settings:
        h, losses, k = fg.zeros(3), [], 1

    class Other(Settings):
        pass

    settings = Other()

    def f(x: Any) -> Any:
        Settings.h = settings.h + x
        settings.losses.append(x.sum())
        return Settings.h * settings.k

    return f, lambda: (settings.h, list(settings.losses))


def module() -> Any:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)
            self.h: Any = None
            self.register_buffer("mean", fg.zeros(3))

        def forward(self, x: Any) -> Any:
            self.h = self.inner(x) if self.h is None else fg.tanh(self.inner(x) + self.h)
            self.mean = 0.9 * self.mean + 0.1 * x
            return self.h.sum() + self.mean.sum()

    fg.manual_seed(0)
    m = nn.Sequential(Recurrent())
    return lambda x: m(x), lambda: (m[0].h.detach(), m[0].mean, m.state_dict())


def looked_at() -> Any:
    """As models keep the weights of their attention, to be drawn."""

    class Attention(nn.Module):
        def forward(self, q: Any) -> Any:
            self.weights = F.softmax(q[:, None] * q[None], -1)
            return self.weights @ q

    layers = nn.ModuleList([Attention(), Attention()])

    def f(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return f, lambda: [layer.weights for layer in layers]


def training() -> Any:
    fg.manual_seed(0)
    model = nn.Linear(3, 1)
    opt = optim.Adam(model.parameters(), lr=0.1)
    o = Plain(average=None, best=fg.asarray(1e9))

    def f(x: Any) -> Any:
        loss = (model(x) ** 2).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        found = loss.detach()
        o.average = found if o.average is None else 0.9 * o.average + 0.1 * found
        o.best = fg.minimum(o.best, found)
        return loss

    return f, lambda: (o.average, o.best)


CASES: list[Make] = [
    *(attribute, slot, number_at_first, variable, module_variable, new_module_variable),
    *(pair, entry, item, item_inside, log, logs, log_of_an_object),
    *(class_attributes, module, looked_at, training),
]


def arrays(value: Any) -> list[np.ndarray]:
    return [np.array(fg.asarray(leaf).numpy()) for leaf in fg.pytree.flatten(value)[0]]


@pytest.mark.parametrize("make", CASES)
def test_as_without_compiling(make: Make) -> None:
    seen = []
    for compiled in (False, True):
        f, look = make()
        run = fg.compile(f) if compiled else lambda x, f=f: f(fg.asarray(x))
        found: list[list[np.ndarray]] = []
        for turn in range(5):
            found += [arrays(run(numbers(3) + turn)), arrays(look())]
        seen.append(found)
    for plain, made in zip(*seen, strict=True):
        assert len(plain) == len(made)
        for a, b in zip(plain, made, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "compiles"), [(attribute, 2), (item, 1), (log, 1), (looked_at, 2), (training, 2)]
)
def test_it_is_traced_for_what_it_reads_only(make: Make, compiles: int) -> None:
    f, _ = make()
    step = fg.compile(f)
    for _ in range(6):
        step(numbers(3))
    assert step.stats().compiles == compiles
    assert step.stats().hits == 6 - compiles


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
