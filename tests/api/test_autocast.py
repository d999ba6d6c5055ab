"""Mixed precision: products in 16 bits, master weights in float32, scaled losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import DeviceError, DTypeError, StateError


def draw(*shape: int, seed: int = 0) -> fg.Tensor:
    return fg.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_are_narrow_and_losses_wide(dtype: str) -> None:
    x, w, b = draw(4, 6), draw(5, 6, seed=1), draw(5, seed=2)
    image, kernel = draw(1, 2, 7, 7), draw(3, 2, 3, 3, seed=1)
    with fg.autocast(dtype):
        for product in (x @ w.T, F.linear(x, w, b), fg.einsum("ij,kj->ik", x, w)):
            assert product.dtype.name == dtype
        assert F.conv2d(image, kernel, b[:3]).dtype.name == dtype
        assert fg.tensordot(x, w, axes=((1,), (1,))).dtype.name == dtype
        assert F.gelu(x @ w.T).dtype.name == dtype
        assert F.softmax(x @ w.T).dtype is fg.float32
        assert F.cross_entropy(x @ w.T, fg.asarray([0, 1, 2, 3])).dtype is fg.float32
        assert F.layer_norm(x @ w.T, 5).dtype is fg.float32
        assert (x + x).dtype is fg.float32
        assert (x.double() @ w.T.double()).dtype is fg.float64
        with fg.autocast(enabled=False):
            assert (x @ w.T).dtype is fg.float32
    assert (x @ w.T).dtype is fg.float32
    expected = getattr(x, "half" if dtype == "float16" else dtype)() @ w.T.astype(dtype)
    with fg.autocast(dtype):
        assert (x @ w.T).tolist() == expected.tolist()


def test_a_compiled_function_is_traced_for_each_mode() -> None:
    @fg.compile
    def product(x: fg.Tensor) -> fg.Tensor:
        return x @ x.T

    x = draw(3, 4)
    for _ in range(3):
        assert product(x).dtype is fg.float32
        with fg.autocast():
            assert product(x).dtype is fg.bfloat16
    assert product.stats().compiles == 2
    assert product.stats().reasons == ["autocast was None and is bfloat16"]

    @fg.compile
    @fg.autocast("float16")
    def inside(x: fg.Tensor) -> fg.Tensor:
        return x @ x.T

    assert inside(x).dtype is fg.float16


def model_and_data() -> tuple[nn.Module, fg.Tensor, fg.Tensor]:
    fg.random.seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    x = draw(64, 6)
    return model, x, (x * x).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_training_with_master_weights(dtype: str) -> None:
    model, x, y = model_and_data()
    optimizer, scaler = optim.Adam(model.parameters(), lr=0.02), optim.GradScaler(2.0**8)

    @fg.compile
    def step(x: fg.Tensor, y: fg.Tensor) -> fg.Tensor:
        with fg.autocast(dtype):
            loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    losses = [float(step(x, y)) for _ in range(60)]
    assert losses[-1] < 0.3 * losses[0]
    assert {p.dtype for p in model.parameters()} == {fg.float32}
    assert step.stats().compiles == 1


def plain(function: Callable[[], None]) -> Callable[[], None]:
    return function


@pytest.mark.parametrize("way", [plain, fg.compile], ids=["recorded", "compiled"])
def test_bad_steps_change_nothing_and_the_scale_adapts(
    way: Callable[[Callable[[], None]], Callable[[], None]],
) -> None:
    p = nn.Parameter(fg.asarray([1.0, -2.0]))
    factor = fg.asarray(1.0)
    optimizer = optim.Adam([p], lr=0.1)
    scaler = optim.GradScaler(4.0, growth_interval=2)

    @way
    def step() -> None:
        optimizer.zero_grad()
        scaler.scale((p * p).sum() * factor).backward()
        scaler.step(optimizer)
        scaler.update()

    def state() -> list[object]:
        group = optimizer.param_groups[0]
        return [p.tolist(), group.step.item(), *(t.tolist() for t in optimizer.state[p].values())]

    step()
    before = state()
    factor.copy_(float("inf"))
    step()
    assert state() == before
    assert scaler.get_scale() == 2
    factor.copy_(1.0)
    step()
    assert state() != before
    assert scaler.get_scale() == 2
    step()
    assert scaler.get_scale() == 4
    assert scaler.state_dict()["_growth_tracker"] == 0


def test_scaled_gradients_are_unscaled_once() -> None:
    p = nn.Parameter(fg.asarray([3.0]))
    optimizer, scaler = optim.SGD([p], lr=0.5), optim.GradScaler(8.0)
    scaler.scale((p * p).sum()).backward()
    assert p.grad is not None
    assert p.grad.tolist() == [48]
    scaler.unscale_(optimizer)
    assert p.grad.tolist() == [6]
    with pytest.raises(StateError, match="unscaled a second time"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [0]
    other = optim.GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == 8
    scaler.update(2.0)
    assert scaler.get_scale() == 2
    assert [t.tolist() for t in scaler.scale([p, p])] == [[0], [0]]


def test_a_disabled_scaler_passes_everything_through() -> None:
    p = nn.Parameter(fg.asarray([3.0]))
    optimizer, scaler = optim.SGD([p], lr=0.5), optim.GradScaler(enabled=False)
    loss = (p * p).sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [0]
    assert scaler.get_scale() == 1
    assert not scaler.is_enabled()


def test_errors() -> None:
    with pytest.raises(DTypeError, match="autocast to float32"), fg.autocast("float32"):
        pass
    with pytest.raises(ValueError, match="grows by a factor above 1"):
        optim.GradScaler(growth_factor=0.5)


def test_torchs_arguments() -> None:
    x = fg.ones((2, 2))
    for mode in (
        fg.autocast("cpu", fg.float16),
        fg.autocast(device_type="cpu", dtype=fg.float16),
        fg.autocast(dtype="float16"),
        fg.autocast(fg.float16),
    ):
        with mode:
            assert (x @ x).dtype is fg.float16
    with pytest.raises(DeviceError, match="cuda"), fg.autocast("cuda"):
        pass
    with pytest.raises(DeviceError, match="there is no device"), fg.autocast("tpu", fg.float16):
        pass
