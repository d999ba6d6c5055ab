"""Tensors on a GPU, without one: transfers, steps, memory and errors on a simulated device."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import CaptureError, CopyError, DeviceError, MemoryLimitError, OptionError
from fusegrad.runtime.simulated import SimulatedDriver
from fusegrad.tensors import evaluation
from fusegrad.testing import simulated_gpus


@pytest.fixture
def gpu() -> Iterator[SimulatedDriver]:
    with simulated_gpus(2) as driver:
        yield driver
        gc.collect()


def values(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def test_there_and_back(gpu: SimulatedDriver) -> None:
    for shape in ((), (0,), (1,), (3, 5), (2, 0, 4)):
        for dtype in ("float32", "float64", "int8", "bool", "uint64"):
            array = (values(*shape) * 10).astype(dtype)
            x = fg.asarray(array)
            y = x.to("cuda")
            assert (y.device, y.dtype, y.shape) == ("cuda:0", x.dtype, x.shape)
            assert y.is_cuda
            assert not y.is_cpu
            assert y.to("cuda") is y
            np.testing.assert_array_equal(y.cpu().numpy(), array)
            np.testing.assert_array_equal(y.to("cuda:1").cpu().numpy(), array)


def test_what_makes_tensors_takes_a_device(gpu: SimulatedDriver) -> None:
    like = fg.zeros(2, 3, device="cuda:1")
    for made in (
        fg.zeros(2, device="cuda:1"),
        fg.full((2,), 7, device="cuda:1"),
        fg.arange(3, device="cuda:1"),
        fg.linspace(0, 1, 3, device="cuda:1"),
        fg.eye(3, device="cuda:1"),
        fg.asarray([1, 2], device=fg.device("cuda", 1)),
        fg.tensor([1.0, 2.0], device="cuda:1", requires_grad=True),
        fg.random.normal((3,), device="cuda:1"),
        fg.random.randperm(4, device="cuda:1"),
        fg.tri(3, device="cuda:1"),
        *(fg.zeros_like(like), fg.ones_like(like), fg.full_like(like, 2), fg.rand_like(like)),
        *(like.new_zeros(2), like.new_tensor([1.0]), like + 1, like.sum(), like[0]),
        like.cpu().to(like),
    ):
        assert made.device == "cuda:1"
        host = made.cpu()
        assert host.device == "cpu"
        assert bool(fg.isfinite(host.astype("float32")).all())
    assert like.get_device() == 1
    assert fg.__array_namespace_info__().devices() == ["cpu", "cuda:0", "cuda:1"]


def test_looking(gpu: SimulatedDriver) -> None:
    x = fg.asarray([1.5, 2.5]).cuda()
    assert repr(x) == "Tensor([1.5, 2.5], device='cuda:0')"
    assert float(x.sum()) == 4
    assert x.tolist() == [1.5, 2.5]
    assert bool((x > 0).all())
    with pytest.raises(RuntimeError, match="device"):
        np.from_dlpack(x)
    for look in (lambda: x.numpy(), lambda: np.asarray(x)):
        with pytest.raises(DeviceError, match="on cuda:0") as error:
            look()
        assert "x.cpu()" in str(error.value)


def test_mixed_devices(gpu: SimulatedDriver) -> None:
    x, y = fg.asarray(values(3)), fg.asarray(values(3)).cuda()
    with pytest.raises(DeviceError, match="different devices: cpu and cuda:0") as error:
        x + y
    assert "test_simulated_gpu.py" in str(error.value)
    with pytest.raises(DeviceError, match="different devices"):
        fg.concat([y, y.to("cuda:1")])
    with pytest.raises(DeviceError, match="different devices"):
        x += y
    with pytest.raises(DeviceError, match="different devices"):
        y[0] = fg.asarray(values(2000)).sum(0, keepdims=True)[0:1].to("cuda:1")
    with pytest.raises(DeviceError, match="different devices"):
        fg.compile(lambda a, b: a * b)(x, y)
    with pytest.raises(DeviceError, match="different devices"):
        fg.compile(lambda a: (a, x * 2))(y)
    x.copy_(y)
    assert x.device == "cpu"
    np.testing.assert_array_equal(x.numpy(), y.cpu().numpy())
    # Numbers go along, and so do constants.
    both = y * fg.asarray(2.0) + fg.ones(3) + 1
    assert both.device == "cuda:0"
    np.testing.assert_allclose(both.cpu().numpy(), x.numpy() * 2 + 2, rtol=1e-6)


def test_gradients_cross_devices(gpu: SimulatedDriver) -> None:
    x = fg.asarray([1.0, 2.0], requires_grad=True)
    w = fg.asarray([3.0, 4.0], device="cuda", requires_grad=True)
    loss = (x.to("cuda") * w).sum() ** 2
    loss.cpu().backward()
    assert x.grad is not None
    assert w.grad is not None
    assert (x.grad.device, w.grad.device) == ("cpu", "cuda:0")
    np.testing.assert_allclose(x.grad.numpy(), [66, 88])
    np.testing.assert_allclose(w.grad.cpu().numpy(), [22, 44])
    gradient = fg.grad(lambda a: (a**3).sum())(w.detach())
    assert gradient.device == "cuda:0"
    np.testing.assert_allclose(gradient.cpu().numpy(), [27, 48])


def model() -> nn.Module:
    fg.random.seed(3)
    return nn.Sequential(
        nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 4)
    )


def trained(device: str, compiled: bool, make: Any) -> tuple[list[float], list[Any]]:
    net = model().to(device)
    opt = make(net.parameters())

    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    run = fg.compile(step) if compiled else step
    x, y = fg.asarray(values(8, 6)).to(device), fg.asarray(np.arange(8) % 4).to(device)
    losses = []
    for number in range(4):
        if number == 2:
            opt.param_groups[0]["lr"] = 0.02
        losses.append(float(run(x, y)))
    if compiled:
        assert run.stats().compiles == 1
    assert all(p.device.type == fg.device(device).type for p in net.parameters())
    return losses, [p.detach().cpu().numpy() for p in net.parameters()]


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.Adam(p, lr=0.01),
        lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    ],
    ids=["adam", "momentum"],
)
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])
def test_training_is_the_same_everywhere(gpu: SimulatedDriver, make: Any, compiled: bool) -> None:
    there, here = trained("cuda", compiled, make), trained("cpu", compiled, make)
    np.testing.assert_allclose(there[0], here[0], rtol=2e-5)
    for a, b in zip(there[1], here[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


def test_a_step_is_one_piece_of_work(gpu: SimulatedDriver) -> None:
    net = nn.Linear(6, 4).cuda()
    opt = optim.Adam(net.parameters(), lr=0.01)

    @fg.compile
    def step(x: Any, y: Any) -> Any:
        loss = F.mse_loss(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    x, y = values(5, 6), values(5, 4)
    addresses = []
    for _ in range(12):
        loss = step(x, y)
        addresses.append(net.weight._materialize().address)
    assert loss.device == "cuda:0"
    # In place; what is not moves between a few places.
    assert len(set(addresses[4:])) == 1
    reserved = fg.cuda.memory_reserved()
    gpu.log.clear()
    step(x, y)
    assert gpu.log == ["upload", "replay"]
    assert fg.cuda.memory_reserved() == reserved
    float(loss)
    assert gpu.log[-1] == "download"


def test_what_others_see_is_not_overwritten(gpu: SimulatedDriver) -> None:
    state = fg.asarray(values(4)).cuda()

    @fg.compile
    def step(x: Any) -> None:
        state[...] = state * 2 + x

    one = np.ones(4, "float32")
    expected = values(4)
    for _ in range(4):
        step(one)
        expected = expected * 2 + one
    kept, pending = state.detach(), state + 1
    before = expected
    step(one)
    np.testing.assert_allclose(kept.cpu().numpy(), before * 2 + one, rtol=1e-6)
    np.testing.assert_allclose(pending.cpu().numpy(), before + 1, rtol=1e-6)
    np.testing.assert_allclose(state.cpu().numpy(), before * 2 + one, rtol=1e-6)


def test_moving_what_a_step_uses_traces_again(gpu: SimulatedDriver) -> None:
    net = nn.Linear(3, 2)
    f = fg.compile(lambda x: net(x))
    x = values(4, 3)
    expected = f(x).numpy()
    net.cuda()
    result = f(x)
    assert result.device == "cuda:0"
    np.testing.assert_allclose(result.cpu().numpy(), expected, rtol=1e-6)
    net.cpu()
    np.testing.assert_array_equal(f(x).numpy(), expected)
    assert f.stats().compiles == 2
    with pytest.raises(CaptureError, match="one device"):
        fg.compile(lambda a: a.cpu() + 1)(fg.asarray(x).cuda())


def test_random_numbers_are_the_same_everywhere(gpu: SimulatedDriver) -> None:
    def drawn(device: str, f: Any) -> list[Any]:
        fg.random.seed(5)
        return [f(fg.zeros(7, device=device)).cpu().numpy() for _ in range(3)]

    def draw(x: Any) -> Any:
        return x + fg.random.uniform((7,))

    for f in (draw, fg.compile(draw)):
        for a, b in zip(drawn("cpu", f), drawn("cuda", f), strict=True):
            np.testing.assert_array_equal(a, b)
    # One stream, whatever the devices.
    fg.random.seed(5)
    one = [fg.random.uniform(3, device=d).cpu().tolist() for d in ("cpu", "cuda", "cpu")]
    fg.random.seed(5)
    assert one == [fg.random.uniform(3).tolist() for _ in range(3)]


def test_control_flow_and_functions_of_the_host(gpu: SimulatedDriver) -> None:
    matrix = values(4, 4) @ values(4, 4).T + 5 * np.eye(4, dtype="float32")

    def solved(a: Any) -> Any:
        return fg.linalg.solve(a, a.sum(0)) * 2

    def scanned(a: Any) -> Any:
        carry, ys = fg.scan(lambda c, x: (c * 0.5 + x, c.sum()), fg.zeros(4), a)
        return carry + ys.sum()

    def looped(a: Any) -> Any:
        return fg.while_loop(lambda x: x.sum() < 1000.0, lambda x: x * 2, a)

    def branched(a: Any) -> Any:
        return fg.cond(a.sum() > 0, lambda x: x + 1, lambda x: x - 1, a)

    for function in (solved, scanned, looped, branched, fg.cumsum, fg.sort, fg.linalg.det):
        step = fg.compile(function)
        expected = step(matrix).numpy()
        for _ in range(3):
            there = step(fg.asarray(matrix).cuda())
            np.testing.assert_allclose(there.cpu().numpy(), expected, rtol=2e-5, atol=1e-5)


def test_copies(gpu: SimulatedDriver, tmp_path: Path) -> None:
    net = nn.Linear(3, 2).cuda()
    other = copy.deepcopy(net)
    assert other.weight.device == "cuda:0"
    with fg.no_grad():
        other.weight.zero_()
    assert float(net.weight.detach().abs().sum()) > 0
    assert other.weight.device == "cuda:0"
    assert pickle.loads(pickle.dumps(net.weight)).device == "cpu"
    fg.save(net.state_dict(), tmp_path / "net.safetensors")
    loaded = fg.load(tmp_path / "net.safetensors")
    other.load_state_dict(loaded)
    assert other.weight.device == "cuda:0"
    np.testing.assert_array_equal(
        other.weight.detach().cpu().numpy(), net.weight.detach().cpu().numpy()
    )


def test_memory(gpu: SimulatedDriver) -> None:
    before = fg.cuda.memory_allocated()
    x = fg.asarray(values(1000)).cuda()
    assert fg.cuda.memory_allocated() == before + 4000
    y = x * 2
    float(y.sum())
    del x, y
    gc.collect()
    assert fg.cuda.memory_allocated() <= before + 4096
    assert fg.cuda.max_memory_allocated() >= before + 8000
    free, total = fg.cuda.mem_get_info()
    assert 0 < free <= total
    fg.cuda.empty_cache()
    with (
        simulated_gpus(memory=1 << 16),
        pytest.raises(fg.cuda.OutOfMemoryError, match="out of memory: 400000 bytes were asked"),
    ):
        fg.asarray(values(100_000)).cuda()


def test_large_values_are_made_where_they_go(
    gpu: SimulatedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_LIMIT_BYTES", 100)
    on_host = evaluation._on_host

    def small(nodes: Any) -> Any:
        assert all(node.shape == () for node in nodes), "only counters are computed here"
        return on_host(nodes)

    monkeypatch.setattr(evaluation, "_on_host", small)
    x = fg.random.normal((1000,), device="cuda")
    y = fg.full((500,), 3.0, device="cuda") * 2
    z = x + 1
    assert [t.device.type for t in (x, y, z)] == ["cuda"] * 3
    np.testing.assert_array_equal((z - x).cpu().numpy().round(3), np.ones(1000))


class Foreign:
    """An array that another library has on a GPU."""

    def __init__(self, tensor: fg.Tensor, **changes: Any) -> None:
        self.tensor = tensor
        self.__cuda_array_interface__ = {**tensor.__cuda_array_interface__, **changes}

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()


def test_layers_are_made_on_a_device(gpu: SimulatedDriver) -> None:
    made: list[Any] = [
        nn.Linear(2, 3, device="cuda"),
        nn.Conv2d(1, 2, 3, device="cuda:0"),
        nn.BatchNorm1d(4, device=fg.device("cuda")),
        nn.LayerNorm(4, device="cuda"),
        nn.PReLU(device="cuda"),
        nn.Embedding(5, 2, device="cuda"),
        nn.LSTM(2, 3, device="cuda"),
        nn.TransformerEncoderLayer(4, 2, 8, device="cuda"),
    ]
    for layer in made:
        tensors = [*layer.parameters(), *layer.buffers()]
        assert tensors
        assert {str(t.device) for t in tensors} == {"cuda:0"}
    assert nn.Linear(2, 3, device="cpu").weight.device == "cpu"
    assert "device" in inspect.signature(nn.Linear).parameters
    with pytest.raises(DeviceError, match="there is no device 'tpu'"):
        nn.Linear(2, 3, device="tpu")


def test_positions_and_norms(gpu: SimulatedDriver) -> None:
    array = values(5, 4)
    x = fg.asarray(array).cuda()
    for key in (np.array([0, 3]), fg.asarray([1, 2]), array > 0, fg.asarray(array[:, 0] > 0)):
        plain = key.numpy() if isinstance(key, fg.Tensor) else key
        np.testing.assert_array_equal(x[key].cpu().numpy(), array[plain])
    net = nn.Linear(4, 2).cuda()
    net(x).sum().backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    assert float(norm) > 1
    assert float(nn.utils.get_total_norm([p.grad for p in net.parameters()])) == pytest.approx(1)


def test_profile(gpu: SimulatedDriver) -> None:
    w = fg.asarray(values(20, 30)).cuda()

    @fg.compile
    def step(x: Any) -> Any:
        y = fg.tanh(x @ w)
        w.sub_(0.1)
        return fg.scan(lambda c, r: (c + r, c * r), fg.zeros(30, device="cuda"), y)[1]

    before = w.tolist()
    report = step.profile(fg.asarray(values(10, 20)).cuda(), rounds=2)
    assert w.tolist() == before
    assert {row.calls for row in report.rows} >= {1, 10}
    assert all(row.milliseconds > 0 for row in report.rows)
    assert report.bandwidth > 0
    assert "test_simulated_gpu.py" in str(report)
    assert "GFLOP/s, " not in str(report).splitlines()[0]


def test_options(gpu: SimulatedDriver) -> None:
    x = fg.asarray(values(64, 64)).cuda()
    for options in ({"background": True}, {"threads": 2}, {"tune_ms": 5}):
        (name,) = options
        with pytest.raises(OptionError, match=f"`{name}` is for the CPU, and the function runs"):
            fg.compile(lambda a: a * 2, **options)(x)

    def deep(x: Any) -> Any:
        def run(x: Any) -> Any:
            for _ in range(12):
                x = fg.exp(fg.sin(x)) @ x * 0.01
            return x.sum()

        return fg.grad(run)(x)

    free = fg.compile(deep)
    expected = free(x).cpu().numpy()
    arena = free.stats().arena_bytes
    limit = arena * 3 // 4
    tight = fg.compile(deep, memory_limit=limit)
    np.testing.assert_array_equal(tight(x).cpu().numpy(), expected)
    assert tight.stats().arena_bytes <= limit < arena
    with pytest.raises(MemoryLimitError, match="and the limit is 100"):
        fg.compile(deep, memory_limit=100)(x)


def test_arrays_of_other_libraries(gpu: SimulatedDriver) -> None:
    x = fg.asarray(values(3, 4)).to("cuda:1")
    interface = x.__cuda_array_interface__
    assert (interface["shape"], interface["typestr"], interface["version"]) == ((3, 4), "<f4", 3)
    assert x.__dlpack_device__() == (2, 1)
    for read in (fg.asarray, fg.from_dlpack):
        y = read(Foreign(x))
        assert y.device == "cuda:1"
        np.testing.assert_array_equal(y.cpu().numpy(), x.cpu().numpy())
        assert read(Foreign(x), device="cpu").device == "cpu"
    # What another library reads is not written by a step.
    state = fg.asarray(values(4)).cuda()

    @fg.compile
    def step(a: Any) -> None:
        state[...] = state + a

    one = np.ones(4, "float32")
    step(one)
    step(one)
    seen = Foreign(state)
    before = state.cpu().numpy()
    step(one)
    np.testing.assert_array_equal(fg.asarray(seen).cpu().numpy(), before)
    with pytest.raises(CopyError, match="strides"):
        fg.asarray(Foreign(x, strides=(4, 12)))
    with pytest.raises(CopyError, match="on a GPU"):
        fg.from_dlpack(Foreign(x), copy=False)
    assert not hasattr(fg.ones(3), "__cuda_array_interface__")
    assert not hasattr(fg.ones(3) + 1, "__cuda_array_interface__")


def test_which_gpu(gpu: SimulatedDriver) -> None:
    assert fg.cuda.is_available()
    assert fg.cuda.why_not() is None
    assert fg.cuda.device_count() == 2
    with fg.cuda.device("cuda:1"):
        assert fg.zeros(1).cuda().device == "cuda:1"
        assert fg.cuda.current_device() == 1
    assert fg.zeros(1).cuda().device == "cuda:0"
    assert fg.zeros(1).cuda(1).device == "cuda:1"
    with pytest.raises(DeviceError, match="there is no device 'cuda:2'"):
        fg.zeros(1).cuda(2)
    with pytest.raises(DeviceError, match="'cpu' is no GPU"):
        fg.cuda.synchronize("cpu")


def lenet() -> tuple[nn.Module, Any]:
    net = nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.Flatten()),
        nn.Linear(27, 4),
    )
    return net, values(4, 1, 8, 8)


def attention() -> tuple[nn.Module, Any]:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm = nn.Embedding(11, 8), nn.LayerNorm(8)
            self.mix, self.out = nn.Linear(8, 24), nn.Linear(8, 4)

        def forward(self, tokens: Any) -> Any:
            q, k, v = fg.split(self.mix(self.norm(self.table(tokens))), 3, axis=-1)
            return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).mean(1))

    return Block(), np.arange(20).reshape(4, 5) % 11


def recurrent() -> tuple[nn.Module, Any]:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells, self.out = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 4)

        def forward(self, x: Any) -> Any:
            return self.out(self.cells(x)[0][:, -1])

    return Last(), values(4, 6, 3)


@pytest.mark.parametrize("make", [lenet, attention, recurrent])
def test_the_code_of_whole_steps(make: Any) -> None:
    def trained(device: str) -> list[float]:
        fg.random.seed(0)
        net, x = make()
        net.to(device)
        opt = optim.Adam(net.parameters(), lr=0.01)

        @fg.compile
        def step(x: Any, y: Any) -> Any:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            return loss

        return [float(step(x, np.arange(4))) for _ in range(3)]

    with simulated_gpus(ptx=True):
        there = trained("cuda")
    np.testing.assert_allclose(there, trained("cpu"), rtol=2e-5)


@pytest.mark.parametrize("width", [1, 3, 4, 7])
def test_slices_that_are_not_aligned(gpu: SimulatedDriver, width: int) -> None:
    def run(xs: Any, start: Any) -> Any:
        def body(carry: Any, x: Any) -> Any:
            following = fg.tanh(carry * 0.5 + x) @ matrix
            return following, following * x

        matrix = fg.asarray(values(width, width), device=xs.device)
        return fg.scan(body, start, xs)

    xs, start = fg.asarray(values(5, width)), fg.asarray(values(width, seed=1))
    expected = fg.pytree.flatten(run(xs, start))[0]
    compiled = fg.compile(run)
    for _ in range(3):
        found = fg.pytree.flatten(compiled(xs.cuda(), start.cuda()))[0]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.cpu().numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
