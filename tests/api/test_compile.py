"""Compiled functions: signatures, captured state, guards, ownership, threads."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import ArgumentStructureError, TracedValueError
from fusegrad.runtime import threads

Pair = namedtuple("Pair", "first second")


@dataclasses.dataclass
class Batch:
    x: Any
    scale: float
    name: str = "train"


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


# --- arguments and results ------------------------------------------------------------------------


def test_nested_arguments_and_results() -> None:
    @fg.compile
    def f(tree: Any, batch: Batch) -> Any:
        pair = Pair(tree["a"][0] + 1, tree["b"])
        return {
            "sum": pair.first.sum(),
            "pair": pair,
            "batch": [batch.x * batch.scale, "text", None],
        }

    a, b = array(3), array(2, 2)
    result = f({"a": [a], "b": b}, Batch(a, 3.0))
    np.testing.assert_allclose(result["sum"].numpy(), (a + 1).sum(), rtol=1e-6)
    assert type(result["pair"]) is Pair
    np.testing.assert_array_equal(result["pair"].second.numpy(), b)
    np.testing.assert_allclose(result["batch"][0].numpy(), a * 3)
    assert result["batch"][1:] == ["text", None]
    f({"a": [a], "b": b}, Batch(a, 4.0))
    assert f.stats().compiles == 1
    f({"a": [a], "b": b}, Batch(a, 4.0, "test"))
    assert f.stats().compiles == 2


def test_numbers_are_inputs_and_bools_are_not() -> None:
    @fg.compile
    def f(x: Any, scale: float, count: int, double: bool) -> Any:
        y = x * scale + count
        return y * 2 if double else y

    x = array(4)
    for scale, count in ((0.5, 1), (2.0, -3), (1e-3, 7)):
        got = f(x, scale, count, False)
        assert got.dtype is fg.float32
        np.testing.assert_allclose(got.numpy(), x * np.float32(scale) + count, rtol=1e-6)
    assert f.stats().compiles == 1
    f(x, 1.0, 1, True)
    assert f.stats().compiles == 2
    assert "double" in f.stats().reasons[-1]


def test_static_argnames() -> None:
    @fg.compile(static_argnames="axis")
    def f(x: Any, axis: int) -> Any:
        return x.sum(axis=axis)

    x = array(2, 3)
    np.testing.assert_allclose(f(x, 0).numpy(), x.sum(0), rtol=1e-6)
    np.testing.assert_allclose(f(x, axis=1).numpy(), x.sum(1), rtol=1e-6)
    np.testing.assert_allclose(f(x, 1).numpy(), x.sum(1), rtol=1e-6)


def test_layouts_of_arguments() -> None:
    @fg.compile
    def f(x: Any) -> Any:
        return x * 2 + 1

    base = array(6, 8)
    for view in (base, base.T, base[::2], base[:, ::-1], base[1:, 3:], np.asfortranarray(base)):
        np.testing.assert_array_equal(f(view).numpy(), view * 2 + 1)
    unaligned = np.frombuffer(b"\0" + array(5).tobytes(), np.uint8)[1:].view(np.float32)
    np.testing.assert_array_equal(f(unaligned).numpy(), unaligned * 2 + 1)


def test_the_same_array_twice_and_a_gradient_by_one() -> None:
    @fg.compile
    def f(x: Any, y: Any) -> Any:
        return x * fg.grad(lambda a: (a * y).sum())(x)

    x = array(3)
    np.testing.assert_allclose(f(x, x).numpy(), x * x, rtol=1e-6)
    t = fg.asarray(x)
    np.testing.assert_allclose(f(t, t).numpy(), x * x, rtol=1e-6)
    product = t * fg.grad(lambda a: (a * t).sum())(t)
    np.testing.assert_allclose(product.numpy(), x * x, rtol=1e-6)


def test_wrong_calls() -> None:
    @fg.compile
    def f(x: Any, y: Any) -> Any:
        return x + y

    with pytest.raises(ArgumentStructureError, match="missing a required argument"):
        f(array(2))
    with pytest.raises(ArgumentStructureError, match="unexpected keyword"):
        f(array(2), array(2), z=1)


def test_an_error_while_tracing_leaves_everything_as_it_was() -> None:
    p = nn.Parameter(fg.asarray(array(3)))
    before = p.numpy().copy()

    @fg.compile
    def f(x: Any) -> Any:
        with fg.no_grad():
            p.add_(x)
        return bool(x.sum() > 0)

    with pytest.raises(TracedValueError):
        f(array(3))
    np.testing.assert_array_equal(p.numpy(), before)


def test_methods_are_compiled_for_each_object() -> None:
    class Scaler:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @fg.compile
        def apply(self, x: Any) -> Any:
            return x * self.factor

    x = array(3)
    one, two = Scaler(2.0), Scaler(3.0)
    np.testing.assert_allclose(one.apply(x).numpy(), x * 2)
    np.testing.assert_allclose(two.apply(x).numpy(), x * 3)
    one.factor = 5.0
    np.testing.assert_allclose(one.apply(x).numpy(), x * 5)


def test_compiled_inside_compiled() -> None:
    @fg.compile
    def inner(x: Any) -> Any:
        return fg.exp(x)

    @fg.compile
    def outer(x: Any) -> Any:
        return inner(x).sum()

    x = array(5)
    np.testing.assert_allclose(outer(x).numpy(), np.exp(x).sum(), rtol=1e-6)
    assert outer.stats().kernels == 1
    assert inner.stats().compiles == 0


# --- state ----------------------------------------------------------------------------------------


def make_step(seed: int = 0, lr: float = 1e-2) -> tuple[Any, Any, Any]:
    fg.random.seed(seed)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    optimizer = optim.Adam(model.parameters(), lr=lr)

    @fg.compile
    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((12, 8)).astype("float32"), rng.integers(0, 3, 12)


def test_a_changed_learning_rate_does_not_recompile() -> None:
    _, optimizer, step = make_step()
    x, y = data()
    for i in range(5):
        optimizer.param_groups[0]["lr"] = 10.0 ** -(i + 1)
        step(x, y)
    assert step.stats().compiles == 1
    assert step.stats().hits == 4


def test_eval_retraces_and_train_comes_back() -> None:
    model, _, step = make_step()
    x, y = data()
    step(x, y)
    model.eval()
    step(x, y)
    assert step.stats().compiles == 2
    assert "training" in step.stats().reasons[-1] or "model" in step.stats().reasons[-1]
    model.train()
    step(x, y)
    assert step.stats().compiles == 2


def test_a_rebound_closure_scalar_retraces() -> None:
    scale = 2.0

    @fg.compile
    def f(x: Any) -> Any:
        return x * scale

    x = array(3)
    np.testing.assert_allclose(f(x).numpy(), x * 2)
    scale = 3.0
    np.testing.assert_allclose(f(x).numpy(), x * 3)
    assert "`scale` was 2.0 and is 3.0" in f.stats().reasons[-1]


CONSTANT = 1.0


def helper(x: Any) -> Any:
    return x + CONSTANT


def test_a_rebound_global_of_a_called_function_retraces(monkeypatch: pytest.MonkeyPatch) -> None:
    @fg.compile
    def f(x: Any) -> Any:
        return helper(x)

    x = array(3)
    np.testing.assert_allclose(f(x).numpy(), x + 1)
    monkeypatch.setattr(sys.modules[__name__], "CONSTANT", 5.0)
    np.testing.assert_allclose(f(x).numpy(), x + 5)


def test_values_changed_from_outside_are_seen() -> None:
    p = nn.Parameter(fg.asarray(array(3)))

    @fg.compile
    def f(x: Any) -> Any:
        return x * p

    x = array(3, seed=1)
    f(x)
    p.data = fg.asarray(np.full(3, 7, "float32"))
    np.testing.assert_allclose(f(x).numpy(), x * 7)
    assert f.stats().compiles == 1


def test_state_is_updated_in_place_but_views_survive() -> None:
    total = fg.zeros(1000)

    @fg.compile
    def add(x: Any) -> None:
        total.add_(x)

    x = np.ones(1000, "float32")
    add(x)
    address = total._storage.address
    add(x)
    assert total._storage.address == address
    view = total.numpy()
    pending = total * 10
    add(x)
    add(x)
    assert view[0] == 2
    assert float(pending[0]) == 20
    assert float(total[0]) == 4


def test_state_dict_survives_later_steps() -> None:
    model, _, step = make_step()
    x, y = data()
    step(x, y)
    saved = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    kept = model.state_dict()
    step(x, y)
    for name, value in kept.items():
        np.testing.assert_array_equal(value.numpy(), saved[name])
    assert any((model.state_dict()[k].numpy() != saved[k]).any() for k in saved)


def test_gradients_are_outputs() -> None:
    p = nn.Parameter(fg.asarray(array(4)))

    @fg.compile
    def f(x: Any) -> Any:
        loss = (p * x).sum()
        loss.backward()
        return loss

    x = array(4, seed=2)
    f(x)
    np.testing.assert_allclose(p.grad.numpy(), x, rtol=1e-6)
    f(x)
    np.testing.assert_allclose(p.grad.numpy(), 2 * x, rtol=1e-6)
    f(x)
    np.testing.assert_allclose(p.grad.numpy(), 3 * x, rtol=1e-6)
    p.grad = None
    f(x)
    np.testing.assert_allclose(p.grad.numpy(), x, rtol=1e-6)


def test_random_state_is_captured() -> None:
    @fg.compile
    def draw() -> Any:
        return fg.random.uniform((5,))

    fg.random.seed(3)
    compiled = [draw().numpy().copy() for _ in range(3)]
    fg.random.seed(3)
    recorded = [fg.random.uniform((5,)).numpy().copy() for _ in range(3)]
    np.testing.assert_array_equal(compiled, recorded)
    assert not np.array_equal(compiled[0], compiled[1])


def test_results_are_the_same_for_any_number_of_threads() -> None:
    x, y = data()
    finals = []
    before = threads.num_threads()
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            model, _, step = make_step()
            for _ in range(200):
                step(x, y)
            finals.append([p.numpy().tobytes() for p in model.parameters()])
    finally:
        threads.set_num_threads(before)
    assert finals[0] == finals[1] == finals[2]


def test_no_python_runs_inside_later_steps() -> None:
    _model, _, step = make_step()
    x, y = data()
    step(x, y)
    step(x, y)
    called: set[str] = set()

    def audit(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            called.add(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")

    sys.setprofile(audit)
    try:
        for _ in range(200):
            step(x, y)
    finally:
        sys.setprofile(None)
    names = {name.rsplit(":", 1)[1] for name in called}
    assert not names & {"forward", "step", "backward", "zero_grad", "cross_entropy", "evaluate"}
    assert step.stats().compiles == 1


# --- threads and processes ------------------------------------------------------------------------


def test_two_threads_tracing_at_once() -> None:
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            scale = fg.asarray(array(6, seed=seed))

            @fg.compile
            def f(x: Any) -> Any:
                y = x
                for _ in range(20):
                    y = fg.tanh(y * scale) + x
                return y

            x = array(6, seed=seed + 100)
            expected = x
            for _ in range(20):
                expected = np.tanh(expected * scale.numpy()) + x
            for _ in range(5):
                np.testing.assert_allclose(f(x).numpy(), expected, rtol=1e-4, atol=1e-5)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors


def test_many_threads_call_one_function() -> None:
    @fg.compile
    def f(x: Any) -> Any:
        return fg.exp(x).sum(axis=1)

    inputs = [array(64, 300, seed=i) for i in range(8)]
    expected = [f(x).numpy().copy() for x in inputs]
    errors: list[BaseException] = []

    def work(i: int) -> None:
        try:
            for _ in range(20):
                np.testing.assert_array_equal(f(inputs[i]).numpy(), expected[i])
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors


SCRIPT = """
import sys
import numpy as np, hashlib
import fusegrad as fg, fusegrad.nn.functional as F
from fusegrad import nn, optim
fg.random.seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
opt = optim.AdamW(model.parameters(), lr=1e-2)
@fg.compile
def step(x, y):
    loss = F.cross_entropy(model(x), y)
    opt.zero_grad(); loss.backward(); opt.step()
    return loss
rng = np.random.default_rng(1)
x = rng.standard_normal((12, 8)).astype("float32"); y = rng.integers(0, 3, 12)
for _ in range(200):
    step(x, y)
digest = hashlib.sha256(b"".join(p.numpy().tobytes() for p in model.parameters())).hexdigest()
print(digest, next(iter(step.stats().origins)))
"""


def test_a_second_process_finds_the_step_on_disk_with_equal_bits(tmp_path: Any) -> None:
    import os

    outputs = []
    for count in ("1", "2", "4"):
        environment = {
            **os.environ,
            "FUSEGRAD_CACHE_DIR": str(tmp_path / "cache"),
            "FUSEGRAD_NUM_THREADS": count,
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.split())
    assert [origin for _, origin in outputs] == ["compiled", "disk", "disk"]
    assert len({digest for digest, _ in outputs}) == 1


def test_large_views_are_read_in_place() -> None:
    @fg.compile
    def f(x: Any) -> Any:
        return x * 2 + 1

    base = array(3, 160, 200)
    wide = np.broadcast_to(array(1, 300), (200, 300))
    views = (
        base.transpose(2, 0, 1),
        base[:, ::2],
        base[:, :, ::-1],
        base[1:, 3:, 5:],
        base[:, ::-2, 1::2],
        base.swapaxes(1, 2),
        base[:, None, :, ::4],
        wide,
        wide.T,
        base[::2, :, ::3],
    )
    for view in views:
        np.testing.assert_array_equal(f(view).numpy(), view * 2 + 1)
    before = f.stats().compiles
    f(array(3, 160, 200, seed=9).transpose(2, 0, 1))
    assert f.stats().compiles == before


def test_a_captured_tensor_that_is_an_argument_too() -> None:
    state = fg.asarray(array(64, 64))

    @fg.compile
    def f(x: Any) -> Any:
        state.add_(x.T)
        return x.sum()

    expected = state.numpy().copy()
    for _ in range(4):
        total = float(f(state))
        expected = expected + expected.T
        assert total == pytest.approx(float(expected.sum()), rel=1e-4)
        np.testing.assert_allclose(state.numpy(), expected, rtol=1e-5)


def test_a_captured_number_that_always_changes_does_not_pile_up() -> None:
    scale = 0

    @fg.compile
    def f(x: Any) -> Any:
        return x * scale

    x = np.ones(4, "float32")
    for i in range(40):
        scale = i
        assert float(f(x)[0]) == i
    (kept,) = f._entries.values()
    assert len(kept) <= 32
    scale = 38
    compiles = f.stats().compiles
    assert float(f(x)[0]) == 38
    assert f.stats().compiles == compiles
