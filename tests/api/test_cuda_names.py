"""What users of torch write for GPUs, on a simulated one: streams, events, scales, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import DeviceError, StateError
from fusegrad.runtime.simulated import SimulatedDriver
from fusegrad.testing import simulated_gpus


@pytest.fixture
def gpu() -> Iterator[SimulatedDriver]:
    with simulated_gpus(2) as made:
        yield made


def test_events_measure_what_was_recorded_between(gpu: SimulatedDriver) -> None:
    start, end = (fg.cuda.Event(enable_timing=True) for _ in range(2))
    with pytest.raises(StateError, match="an event was not recorded"):
        start.elapsed_time(end)
    start.record()
    y = fg.ones(100, device="cuda") * 2 + 1
    end.record()
    # The work was asked for before the second one.
    assert "launch" in gpu.log
    assert start.elapsed_time(end) > 0
    end.synchronize()
    np.testing.assert_array_equal(y.cpu().numpy(), np.full(100, 3.0))


def test_streams_are_names_for_the_one(gpu: SimulatedDriver) -> None:
    side, other = fg.cuda.Stream(), fg.cuda.Stream("cuda:1")
    assert side == fg.cuda.current_stream() == fg.cuda.default_stream("cuda:0") != other
    assert len({side, other, fg.cuda.Stream(0)}) == 2
    with fg.cuda.stream(other):
        x = fg.asarray([1.0, 2.0]).cuda()
    assert x.device == fg.device("cuda:1")
    other.record_event().synchronize()
    side.wait_stream(other)
    side.wait_event(fg.cuda.Event())
    with fg.cuda.stream(None):
        assert fg.cuda.current_device() == 0
    assert side.__cuda_stream__() == (0, side.cuda_stream)
    with pytest.raises(DeviceError):
        fg.cuda.Stream("cuda:7")


def trained(device: str, compiled: bool) -> tuple[list[float], float]:
    fg.random.seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(device)
    opt = optim.SGD(net.parameters(), lr=0.1)
    scaler = optim.GradScaler(init_scale=2.0**10, growth_interval=2)
    x = np.random.default_rng(0).standard_normal((12, 4)).astype("float32")
    given = [fg.asarray(a).to(device) for a in (x, np.arange(12) % 3)]

    def step(x: Any, y: Any) -> Any:
        with fg.autocast(device, dtype="float16"):
            loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
        return loss

    run = fg.compile(step) if compiled else step
    losses = [float(run(*given)) for _ in range(4)]
    # A step whose gradients are not finite changes nothing but the scale.
    before = [p.cpu().numpy() for p in net.parameters()]
    run(given[0] * float("inf"), given[1])
    for old, new in zip(before, net.parameters(), strict=True):
        np.testing.assert_array_equal(old, new.cpu().numpy())
    return losses, scaler.get_scale()


def test_scaled_losses(gpu: SimulatedDriver) -> None:
    expected, scale = trained("cpu", True)
    assert scale == 2.0**11
    for compiled in (False, True):
        losses, found = trained("cuda", compiled)
        assert found == scale
        np.testing.assert_allclose(losses, expected, rtol=2e-3)


def test_files_are_loaded_where_one_says(gpu: SimulatedDriver, tmp_path: Path) -> None:
    net = nn.Linear(3, 2).cuda()
    opt = optim.Adam(net.parameters())
    net(fg.ones(1, 3, device="cuda")).sum().backward()
    opt.step()
    fg.save({"net": net.state_dict(), "opt": opt.state_dict()}, tmp_path / "all")
    there = fg.load(tmp_path / "all", map_location="cuda:1")
    assert {t.device for t in there["net"].values()} == {fg.device("cuda:1")}
    with fg.device("cuda"):
        here = fg.load(tmp_path / "all")
    assert {t.device.type for t in here["net"].values()} == {"cpu"}
    for state in (there, here):
        net.load_state_dict(state["net"])
        opt.load_state_dict(state["opt"])
        assert net.weight.device == fg.device("cuda:0")
        opt.step()
    with pytest.raises(DeviceError):
        fg.load(tmp_path / "all", map_location="tpu")


def test_small_names(gpu: SimulatedDriver) -> None:
    x = fg.asarray([1.0, 2.0])
    assert not fg.cuda.is_initialized() or fg.cuda.is_available()
    assert x.pin_memory().cuda(1, non_blocking=True).device == fg.device("cuda:1")
    assert fg.cuda.is_initialized()
    assert fg.cuda.is_bf16_supported()
    fg.cuda.init()
    state = fg.cuda.get_rng_state()
    a = fg.randn(3, device="cuda")
    fg.cuda.set_rng_state(state)
    np.testing.assert_array_equal(a.cpu().numpy(), fg.randn(3).numpy())
