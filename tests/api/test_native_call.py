"""Calls that no Python runs in: what they check, what they deliver, and what they leave alone."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.compilation import fast, native_layout, native_text
from fusegrad.runtime import memory


def calls(function: Any) -> int:
    """How many calls the fast paths answered."""
    hits: int = function._fast.hits
    return hits


def test_there_is_a_native_call_on_this_machine() -> None:
    assert native_layout.native() is not None


def test_what_is_assumed_of_python_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native_layout._offsets() is not None
    monkeypatch.setitem(native_layout._ARRAY, "rank", 28)
    assert native_layout._offsets() is None
    monkeypatch.undo()
    monkeypatch.setattr(sys.implementation, "name", "other")
    assert native_layout._offsets() is None


def test_without_it_calls_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "native", lambda: None)

    @fg.compile
    def f(x, n):
        return x * n, {"sum": x.sum()}

    x = np.arange(6.0, dtype="float32")
    for n in (2.0, 3.0, 4.0, 5.0):
        product, rest = f(x, n)
        np.testing.assert_array_equal(product.numpy(), x * np.float32(n))
        assert float(rest["sum"]) == 15
    assert calls(f) == 2
    assert not f._fast.nested


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool", "uint8", "float16"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 5), (2, 1, 4)])
def test_arrays_of_every_dtype_and_rank(dtype: str, shape: tuple[int, ...]) -> None:
    @fg.compile
    def f(x):
        return x.astype("float64") + 1

    for value in (0, 1, 1, 0):
        x = np.full(shape, value, dtype)
        y = f(x)
        assert y.shape == shape
        np.testing.assert_array_equal(y.numpy(), x.astype("float64") + 1)
    assert calls(f) == 2


def test_another_array_is_not_for_the_plan() -> None:
    @fg.compile
    def f(x):
        return x * 2

    x = np.arange(12.0, dtype="float32").reshape(3, 4)
    f(x)
    others = [
        x.T,
        x[:, ::2],
        x[::-1],
        x.astype("float64"),
        x.reshape(12),
        x.reshape(1, 3, 4),
        np.asfortranarray(x),
        np.frombuffer(b"\0" + x.tobytes(), "float32", 12, 1).reshape(3, 4),
        np.ma.masked_array(x).data,
    ]
    for other in others:
        np.testing.assert_array_equal(f(other).numpy(), np.asarray(other * 2))
    with pytest.raises(fg.errors.DTypeError, match=">f4"):
        f(x.astype(">f4"))
    subclass = x.view(np.recarray)
    np.testing.assert_array_equal(f(subclass).numpy(), x * 2)
    np.testing.assert_array_equal(f(fg.asarray(x)).numpy(), x * 2)


def test_signatures_in_turn_are_all_answered() -> None:
    @fg.compile
    def f(x):
        return x.sum()

    inputs = [np.ones(n, "float32") for n in range(1, 6)] + [fg.ones(7), np.ones(3)]
    for x in [*inputs, *inputs]:
        f(x)
    before = calls(f)
    for _ in range(3):
        for x in inputs:
            assert float(f(x)) == x.size
    assert calls(f) == before + 3 * len(inputs)
    assert f.stats().hits == calls(f) + len(inputs)


def test_numbers_are_inputs() -> None:
    @fg.compile
    def f(x, a, n):
        return x * a + n

    x = np.ones(3)
    for a, n in [(1.0, 2), (0.5, -1), (float("nan"), 0), (float("-inf"), 2**62)]:
        np.testing.assert_array_equal(f(x, a, n).numpy(), x * a + n)
    assert calls(f) == 2
    with pytest.raises(Exception):  # noqa: B017, PT011
        f(x, 1.0, 2**70)
    np.testing.assert_array_equal(f(x, 2, 3).numpy(), x * 2 + 3)  # an int where a float was
    np.testing.assert_array_equal(f(x, True, 3).numpy(), x + 3)
    assert f.stats().compiles == 3


def test_flags_strings_and_none_are_part_of_the_signature() -> None:
    @fg.compile
    def f(x, how, negative=False, missing=None):
        y = x + 1 if how == "add" else x * 3
        assert missing is None
        return -y if negative else y

    x = np.ones(2, "float32")
    for _ in range(4):
        assert float(f(x, "add")[0]) == 2
        assert float(f(x, "mul")[0]) == 3
        assert float(f(x, "mul", True)[0]) == -3
        assert float(f(x, "mul", negative=True)[0]) == -3
        assert float(f(x, how="".join(["a", "dd"]), negative=False, missing=None)[0]) == 2
    assert f.stats().compiles == 5
    assert calls(f) >= 8


def test_nested_arguments_and_results() -> None:
    @fg.compile
    def f(batch, *rest, scale):
        x, (y, z) = batch["x"], batch["yz"]
        return {"a": x + y, "b": [z * scale, *rest]}, 7, "text"

    def batch(value: float) -> dict[str, Any]:
        return {"x": np.full(2, value), "yz": (np.ones(2), fg.asarray(np.ones(3)))}

    for value in (1.0, 2.0, 3.0, 4.0):
        out, number, text = f(batch(value), np.zeros(1), scale=value)
        np.testing.assert_array_equal(out["a"].numpy(), [value + 1] * 2)
        np.testing.assert_array_equal(out["b"][0].numpy(), [value] * 3)
        assert (number, text, len(out["b"])) == (7, "text", 2)
    assert calls(f) == 2


def test_state_is_changed_in_place_only_when_nobody_else_has_it() -> None:
    w = fg.zeros(4)

    @fg.compile
    def f(x):
        w[...] = w + x
        return w.sum()

    x = np.ones(4, "float32")
    f(x), f(x)
    address = w._storage.address
    assert float(f(x)) == 12
    assert w._storage.address == address
    view = w.numpy()
    assert float(f(x)) == 16
    np.testing.assert_array_equal(view, [3] * 4)
    np.testing.assert_array_equal(w.numpy(), [4] * 4)
    # The state as an argument: it is read, and written.
    for total in (32, 64, 128, 256):
        assert float(f(w)) == total
    other = w.clone()
    f(x)
    np.testing.assert_array_equal(other.numpy(), [64] * 4)
    assert calls(f) == 3


def test_arguments_are_changed_natively() -> None:
    @fg.compile
    def f(x, y):
        x += y
        return x.sum()

    x, y = fg.asarray(np.zeros(3)), fg.asarray(np.ones(3))
    for number in range(1, 6):
        assert float(f(x, y)) == 3 * number
    assert calls(f) == 3
    view = x.numpy()
    f(x, y)
    np.testing.assert_array_equal(view, [5] * 3)
    np.testing.assert_array_equal(x.numpy(), [6] * 3)
    assert float(f(y, y)) == 6
    assert float(f(y, y)) == 12
    # Views of one base are seen to change.
    base = fg.asarray(np.zeros((2, 3)))
    for number in range(1, 4):
        assert float(f(base[0], y)) == 12 * number
    np.testing.assert_array_equal(base.numpy(), [[12] * 3, [0] * 3])


def test_a_training_step_equals_the_general_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def losses() -> list[bytes]:
        fg.random.seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Dropout(0.2), nn.Linear(7, 3))
        opt = optim.Adam(model.parameters(), lr=1e-2)

        @fg.compile
        def step(x, y):
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            return loss

        rng = np.random.default_rng(0)
        found = []
        for number in range(12):
            x, y = rng.normal(size=(4, 5)).astype("float32"), rng.integers(0, 3, 4)
            if number == 6:
                opt.param_groups[0]["lr"] = 0.5
            if number == 9:
                model.eval()
            found.append(step(x, y).numpy().tobytes())
        found += [p.numpy().tobytes() for p in model.parameters()]
        found += [p.grad.numpy().tobytes() for p in model.parameters()]
        return found

    first = losses()
    monkeypatch.setattr(fast, "native", lambda: None)
    assert losses() == first


def test_an_error_in_an_option_leaves_the_function_usable() -> None:
    w = fg.zeros(2, requires_grad=True)
    opt = optim.SGD([w], lr=0.5)

    @fg.compile
    def step(x):
        opt.zero_grad()
        (w * x).sum().backward()
        opt.step()

    x = np.ones(2, "float32")
    step(x), step(x), step(x)
    assert calls(step) == 1
    for wrong in (1e300, "fast"):
        opt.param_groups[0]["lr"] = wrong
        with pytest.raises(Exception):  # noqa: B017, PT011
            step(x)
    opt.param_groups[0]["lr"] = 1.0
    thread = threading.Thread(target=step, args=(x,))
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    np.testing.assert_array_equal(w.numpy(), [-2.5] * 2)


def test_modes_take_the_general_path() -> None:
    @fg.compile
    def f(x):
        return x * x

    x = fg.asarray(np.arange(3.0))
    f(x), f(x), f(x)
    before = calls(f)
    assert before == 1
    with fg.eager():
        np.testing.assert_array_equal(f(x).numpy(), [0, 1, 4])
    np.testing.assert_array_equal(fg.vmap(f)(x).numpy(), [0, 1, 4])
    np.testing.assert_array_equal(fg.grad(lambda v: f(v).sum())(x).numpy(), [0, 2, 4])
    outer = fg.compile(lambda v: f(v) + 1)
    np.testing.assert_array_equal(outer(x).numpy(), [1, 2, 5])
    assert calls(f) == before
    leaf = fg.asarray(np.arange(3.0)).requires_grad_()
    f(leaf).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), [0, 2, 4])


_factor = 2.0


def test_guards_hold_natively(monkeypatch: pytest.MonkeyPatch) -> None:
    offset = 1.0
    settings = {"scale": 1.0}

    @fg.compile
    def f(x):
        return x * _factor * settings["scale"] + offset

    x = np.ones(1)
    f(x), f(x), f(x)
    assert calls(f) == 1
    monkeypatch.setitem(globals(), "_factor", 3.0)
    assert float(f(x)) == 4
    offset = 5.0
    assert float(f(x)) == 8
    settings["scale"] = 2.0
    assert float(f(x)) == 11
    monkeypatch.undo()
    assert float(f(x)) == 9
    assert float(f(x)) == 9
    layer = nn.Dropout(0.5)
    g = fg.compile(lambda v: layer(v))
    g(x), g(x), g(x), g(x)
    assert calls(g) == 2
    layer.eval()
    assert float(g(x)) == 1
    assert g.stats().compiles == 2
    # A change elsewhere is looked at once.
    assert float(g(x)) == 1
    nn.Linear(2, 2).eval()
    before = calls(g)
    assert [float(g(x)) for _ in range(3)] == [1] * 3
    assert calls(g) == before + 3


def test_nothing_leaks() -> None:
    w = fg.zeros(100)

    @fg.compile
    def f(x, t, a):
        w[...] = w * 0.5 + x
        return w + t * a, (x.sum(),)

    x, t = np.ones(100, "float32"), fg.ones(100)
    kept: list[Any] = [x, t, w, None, True, f, x.dtype, t._type]

    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(value) for value in kept[:3]]

    def several(times: int) -> None:
        for _ in range(times):
            f(x, t, 2.5)
            f(x, t, 2)
            with pytest.raises(fg.errors.FusegradError):
                f(x, x[:3], 2)

    several(3)
    before, used = counts(), memory.statistics().used_bytes
    several(400)
    assert counts() == before
    assert memory.statistics().used_bytes <= used + 4096
    assert calls(f) >= 800


def test_threads_call_together() -> None:
    @fg.compile
    def f(x, n):
        return (x * n).sum()

    total = fg.zeros(())

    @fg.compile
    def add(x):
        total[...] = total + x.sum()
        return total

    wrong: list[float] = []
    start = threading.Barrier(8)

    def run(number: int) -> None:
        x = np.full(1000, number, "float64")
        ones = np.ones(3, "float32")
        start.wait()
        for _ in range(50):
            if float(f(x, 2.0)) != 2000 * number:
                wrong.append(number)
            add(ones)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert float(total) == 8 * 50 * 3


def test_a_call_outlives_what_it_belongs_to() -> None:
    def make() -> Any:
        w = fg.ones(3)
        return fg.compile(lambda x: w * x)

    function = make()
    x = np.ones(3, "float32")
    function(x), function(x)
    assert calls(function) == 0
    inner = function._fast.call.function
    del function
    gc.collect()
    np.testing.assert_array_equal(inner(x).numpy(), [1, 1, 1])
    assert ctypes.c_uint32.from_address(id(inner)).value >= 1


def test_no_result_is_written_again_while_somebody_has_it() -> None:
    @fg.compile
    def f(x):
        return x + 1, x[:2] * 2

    results, views, parts, last = [], [], [], None
    for number in range(40):
        x = np.full(5, number, "float32")
        y, z = f(x)
        results.append((y, z) if number % 3 else (z, y))
        if number % 4 == 0:
            views.append((number, y.numpy()))
        if number % 4 == 1:
            parts.append((number, memoryview(np.asarray(z))[1:]))
        if number % 4 == 2:
            last = float(y[0]), float(z[1])
            assert last == (number + 1, 2 * number)
            results.pop()
        if number % 5 == 0:
            results.clear()
        if number % 8 == 7:
            # A result that becomes state stays what it is.
            y[...] = y * 0 + number
            views.append((number - 1, y.numpy()))
    for number, view in views:
        np.testing.assert_array_equal(view, np.full(5, number + 1))
    for number, part in parts:
        assert part.tolist() == [2 * number]
    assert calls(f) >= 38


def test_results_are_given_as_an_argument_of_the_next_call() -> None:
    f = fg.compile(lambda x: x * 2 + 1)
    for n in (1, 3, 1024, 5000):
        x = fg.ones(n)
        expected = np.ones(n, "float32")
        for _ in range(12):
            x, expected = f(x), expected * 2 + 1
        np.testing.assert_array_equal(x.numpy(), expected)


def test_a_small_result_that_nobody_has_gives_its_memory_to_the_next() -> None:
    f = fg.compile(lambda x: x + 1)
    x = fg.ones(3)
    for _ in range(4):
        f(x)
    places = {f(x)._storage.address for _ in range(50)}
    assert len(places) == 1
    large = fg.ones(5000)
    for _ in range(4):
        f(large)
    block = weakref.ref(f(large)._storage._block)
    assert block() is None


def test_threads_never_share_a_result() -> None:
    f = fg.compile(lambda x: x + 1)
    wrong: list[float] = []
    start = threading.Barrier(6)

    def run(number: int) -> None:
        x = np.full(20, number, "float32")
        start.wait()
        for _ in range(300):
            y, z = f(x), f(x)
            if y.numpy().sum() != 20 * (number + 1) or z.numpy().sum() != 20 * (number + 1):
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_plans_change_while_they_are_used() -> None:
    f = fg.compile(lambda x: x * 2)
    wrong: list[int] = []

    def run(first: int) -> None:
        for size in range(first, first + 60):
            x = np.ones(size % 12 + 1, "float32" if size % 2 else "float64")
            if f(x).numpy().sum() != 2 * x.size:
                wrong.append(size)

    threads = [threading.Thread(target=run, args=(17 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_calls_of_several_numbers_of_arguments_are_all_answered() -> None:
    @fg.compile
    def f(x, *others):
        return sum(others, x)

    x = np.ones(3, "float32")
    for _ in range(3):
        for count in range(1, 5):
            f(*[x] * count)
    before = calls(f)
    for count in range(1, 5):
        np.testing.assert_array_equal(f(*[x] * count).numpy(), np.full(3, count))
    assert calls(f) == before + 4


def test_a_long_step_lets_other_threads_run() -> None:
    f = fg.compile(lambda x: (x @ x).sum())
    for size in (8, 64, 700):
        x = fg.ones((size, size))
        f(x), f(x)
        assert f(x).item() == size**3
    plans = [plan for own in f._fast._plans.values() for plan in own]
    brief = native_text.PLAN.index("brief")
    assert sorted(plan._table[brief] for plan in plans) == [0, 0, 1]
