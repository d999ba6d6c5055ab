"""What a compiled function stores outside of itself is there after each call."""

from __future__ import annotations

import collections
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


def numbers_beside_tensors() -> Any:
    o, table = Plain(calls=0, total=0.0, shape=None, flip=False), {"n": 0, "last": None}

    def f(x: Any) -> Any:
        o.calls += len(x)
        o.total += x.sum()
        o.shape = x.shape
        o.flip = not o.flip
        table["n"] += 1
        table["last"] = x * 2
        return x + 1

    return f, lambda: (o.calls, o.total, o.shape, int(o.flip), table)


def average_meter() -> Any:
    class Meter:
        def __init__(self) -> None:
            self.sum, self.count = 0.0, 0

        def update(self, value: Any, n: int) -> None:
            self.sum += value * n
            self.count += n

    o = Plain(meter=Meter())
    other = Meter()

    def f(x: Any) -> Any:
        o.meter.update(x.mean(), x.shape[0])
        other.update(x.max(), 1)
        return x * 2

    return f, lambda: (o.meter.sum, o.meter.count, other.sum, other.count)


def adam_by_hand() -> Any:
    """As textbooks write it: the number of the step is in a dict, and the update reads it."""
    w, v, s = fg.ones(3), fg.zeros(3), fg.zeros(3)
    hyper = {"t": 1, "lr": 0.1}

    def f(x: Any) -> Any:
        g = fg.grad(lambda w: ((w * x) ** 2).sum())(w)
        v[:] = 0.9 * v + 0.1 * g
        s[:] = 0.999 * s + 0.001 * g**2
        up = v / (1 - 0.9 ** hyper["t"])
        w[:] -= hyper["lr"] * up / (fg.sqrt(s / (1 - 0.999 ** hyper["t"])) + 1e-6)
        hyper["t"] += 1
        return (w * x).sum()

    return f, lambda: (w, hyper["t"])


def hooks() -> Any:
    """Functions that are called with activations and gradients, and keep them."""
    fg.manual_seed(0)
    model, seen, grads = nn.Sequential(nn.Linear(3, 2), nn.Tanh()), {}, []
    model[0].register_forward_hook(lambda module, args, y: seen.__setitem__("linear", y.detach()))
    model[0].weight.register_hook(grads.append)
    w = fg.ones(3, requires_grad=True)
    w.register_hook(lambda g: grads.append(g * 2))

    def f(x: Any) -> Any:
        y = model(x * w)
        y.register_hook(lambda g: seen.__setitem__("gradient", g))
        (y**2).sum().backward()
        return y

    return f, lambda: (seen, list(grads))


def window() -> Any:
    latest: collections.deque[Any] = collections.deque(maxlen=3)

    def f(x: Any) -> Any:
        latest.append(x.sum())
        return x * 2

    return f, lambda: list(latest)


def returned_log() -> Any:
    found: list[Any] = []

    def f(x: Any) -> Any:
        found.clear()
        found.extend([x, x * 2])
        return found

    return f, lambda: list(found)


def queue() -> Any:
    waiting = [fg.zeros(3), fg.ones(3), fg.ones(3)]

    def f(x: Any) -> Any:
        first = waiting.pop(0)
        waiting.insert(1, x + first)
        waiting.reverse()
        return first * waiting[0]

    return f, lambda: list(waiting)


CASES: list[Make] = [
    *(attribute, slot, number_at_first, variable, module_variable, new_module_variable),
    *(pair, entry, item, item_inside, log, logs, log_of_an_object),
    *(class_attributes, module, looked_at, training),
    hooks,
    *(numbers_beside_tensors, average_meter, adam_by_hand, window, returned_log, queue),
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
    ("make", "compiles"),
    [
        *((attribute, 2), (item, 1), (log, 1), (looked_at, 2), (training, 2)),
        *((average_meter, 2), (adam_by_hand, 1), (window, 1), (numbers_beside_tensors, 3)),
    ],
)
def test_it_is_traced_for_what_it_reads_only(make: Make, compiles: int) -> None:
    f, _ = make()
    step = fg.compile(f)
    for _ in range(6):
        step(numbers(3))
    assert step.stats().compiles == compiles
    assert step.stats().hits == 6 - compiles
