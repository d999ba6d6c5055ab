"""Hooks around a call, conversions of modules, and modules that are compiled as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn
from fusegrad.errors import ArgumentTypeError, DeviceError


class Scaled(nn.Module):
    def forward(self, x: Any, *, scale: float = 1.0) -> Any:
        return x * scale


def test_hooks_see_and_replace() -> None:
    layer, seen = Scaled(), []

    def before(module: Any, args: Any) -> Any:
        seen.append(("before", module is layer, len(args)))
        return args[0] + 1

    def after(module: Any, args: Any, output: Any) -> Any:
        seen.append(("after", module is layer, float(args[0][0])))
        return output * 10

    x = fg.asarray([1.0])
    first = layer.register_forward_pre_hook(before)
    second = layer.register_forward_hook(after)
    assert layer(x).tolist() == [20]
    assert seen == [("before", True, 1), ("after", True, 2.0)]
    first.remove()
    assert layer(x).tolist() == [10]
    with second:
        assert layer(x).tolist() == [10]
    assert layer(x).tolist() == [1]


def test_hooks_with_named_arguments_and_their_order() -> None:
    layer, order = Scaled(), []
    x = fg.asarray([1.0])
    layer.register_forward_hook(lambda *_: order.append("second"))
    layer.register_forward_hook(lambda *_: order.append("first"), prepend=True)
    layer.register_forward_pre_hook(lambda m, a, k: (a, {"scale": 3.0}), with_kwargs=True)
    layer.register_forward_hook(lambda m, a, k, y: y + k["scale"], with_kwargs=True)
    assert layer(x, scale=2.0).tolist() == [6]
    assert order == ["first", "second"]


def test_compiled_calls_run_hooks_and_notice_new_ones() -> None:
    model = nn.Sequential(Scaled())
    run = fg.compile(model)
    x = fg.asarray([1.0, 2.0])
    assert run(x).tolist() == [1, 2]
    handle = model[0].register_forward_hook(lambda m, a, y: y * 2)
    assert run(x).tolist() == [2, 4]
    handle.remove()
    assert run(x).tolist() == [1, 2]


def test_a_compiled_module_has_the_attributes_of_the_module() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))
    run = fg.compile(model)
    assert [p.shape for p in run.parameters()] == [(3, 2), (3,)]
    assert sorted(run.state_dict()) == ["0.bias", "0.weight"]
    run.eval()
    assert (model.training, run.training) == (False, False)
    x = fg.ones((1, 2))
    np.testing.assert_allclose(run(x).numpy(), model(x).numpy(), rtol=1e-6)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        run.nothing  # noqa: B018


def test_attributes_of_a_compiled_function() -> None:
    def f(x: Any) -> Any:
        """Twice."""
        return 2 * x

    f.note = "kept"  # type: ignore[attr-defined]
    run = fg.compile(f)
    assert (run.note, run.__name__, run.__doc__) == ("kept", "f", "Twice.")
    with pytest.raises(AttributeError):
        run.__nothing__  # noqa: B018


def test_conversions_take_torchs_arguments() -> None:
    model = nn.Linear(2, 3)
    weight = model.weight
    assert model.to("cpu") is model
    assert model.to(fg.asarray(1.0, dtype="float64")).weight.dtype is fg.float64
    assert model.to("cpu", fg.float32).weight.dtype is fg.float32
    assert model.to(device="cpu", dtype="float16", non_blocking=True).weight.dtype is fg.float16
    assert model.type("float32").cpu().weight is weight
    for move in (lambda: model.to("cuda:0"), model.cuda, lambda: model.cuda(1)):
        with pytest.raises(DeviceError, match="cuda"):
            move()
    with pytest.raises(ArgumentTypeError, match="floating-point types, not to int32"):
        model.to("int32")


def test_parts_by_path() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert model.get_buffer("1.running_mean").shape == (3,)
    with pytest.raises(AttributeError, match="BatchNorm1d has no buffer 'nothing'"):
        model.get_buffer("1.nothing")
    model.set_submodule("0", nn.Identity())
    assert isinstance(model[0], nn.Identity)


def test_dropout_with_a_probability_that_is_an_argument() -> None:
    run = fg.compile(lambda x, p: nn.functional.dropout(x, p))
    x = fg.ones(1000)
    for p in (0.0, 0.25, 0.75):
        dropped = run(x, p)
        kept = dropped[dropped != 0]
        np.testing.assert_allclose(kept.numpy(), 1 / (1 - p), rtol=1e-6)
        assert 1 - kept.size / 1000 == pytest.approx(p, abs=0.06)
    assert run.stats().compiles == 1
