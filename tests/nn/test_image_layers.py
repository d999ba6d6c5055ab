"""Layers for sequences, images and volumes: parameters, modes, running statistics, training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import ShapeError

RNG = np.random.default_rng(0)


def test_convolutions() -> None:
    layer = nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2)
    assert {name: value.shape for name, value in layer.state_dict().items()} == {
        "weight": (6, 2, 3, 2),
        "bias": (6,),
    }
    x = RNG.standard_normal((2, 4, 5, 6)).astype(np.float32)
    expected = F.conv2d(x, layer.weight, layer.bias, 2, 1, 1, 2)
    assert (layer(x).detach().numpy() == expected.detach().numpy()).all()
    bound = 1 / np.sqrt(2 * 6)
    assert (abs(layer.weight.detach().numpy()) <= bound).all()
    assert list(nn.Conv1d(2, 3, 2, bias=False).state_dict()) == ["weight"]
    assert nn.Conv3d(1, 2, 2, dtype="float64").weight.dtype is fg.float64


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(1, 2), "same"])
def test_convolutions_pad_as_asked(mode: Any, padding: Any) -> None:
    layer = nn.Conv2d(2, 3, (3, 4), padding=padding, padding_mode=mode)
    x = RNG.standard_normal((1, 2, 5, 6)).astype(np.float32)
    widths = (2, 2, 1, 1) if padding != "same" else (1, 2, 1, 1)
    expected = F.conv2d(F.pad(x, widths, mode), layer.weight, layer.bias)
    np.testing.assert_array_equal(layer(x).detach().numpy(), expected.detach().numpy())


def test_transposed_convolutions() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2)
    assert layer.weight.shape == (4, 3, 3, 3)
    x = RNG.standard_normal((1, 4, 5, 4)).astype(np.float32)
    assert layer(x).shape == (1, 6, 9, 7)
    assert layer(x, output_size=(10, 7)).shape == (1, 6, 10, 7)
    with pytest.raises(ShapeError, match=r"output_size \(11, 7\) from an input of shape"):
        layer(x, output_size=(11, 7))


POOLS: list[tuple[nn.Module, Callable[[Any], Any], tuple[int, ...]]] = [
    (nn.MaxPool1d(3, 2, 1), lambda x: F.max_pool1d(x, 3, 2, 1), (2, 3, 8)),
    (nn.MaxPool2d(2, ceil_mode=True), lambda x: F.max_pool2d(x, 2, ceil_mode=True), (2, 3, 5, 5)),
    (nn.MaxPool3d(2), lambda x: F.max_pool3d(x, 2), (1, 2, 4, 4, 4)),
    (nn.AvgPool1d(3), lambda x: F.avg_pool1d(x, 3), (2, 3, 8)),
    (
        nn.AvgPool2d(3, 1, 1, False, False),
        lambda x: F.avg_pool2d(x, 3, 1, 1, False, False),
        (2, 3, 5, 5),
    ),
    (nn.AvgPool3d(2), lambda x: F.avg_pool3d(x, 2), (1, 2, 4, 4, 4)),
    (nn.LPPool1d(2, 3), lambda x: F.lp_pool1d(x, 2, 3), (2, 3, 8)),
    (nn.LPPool2d(2, 3, 1), lambda x: F.lp_pool2d(x, 2, 3, 1), (2, 3, 5, 5)),
    (nn.AdaptiveAvgPool1d(3), lambda x: F.adaptive_avg_pool1d(x, 3), (2, 3, 8)),
    (
        nn.AdaptiveAvgPool2d((None, 2)),
        lambda x: F.adaptive_avg_pool2d(x, (None, 2)),
        (2, 3, 5, 5),
    ),
    (nn.AdaptiveMaxPool2d(2), lambda x: F.adaptive_max_pool2d(x, 2), (2, 3, 5, 5)),
    (nn.Unfold(2, padding=1), lambda x: F.unfold(x, 2, padding=1), (2, 3, 5, 5)),
    (nn.Fold(4, 2, stride=2), lambda x: F.fold(x, 4, 2, stride=2), (2, 8, 4)),
    (nn.Upsample(scale_factor=2), lambda x: F.interpolate(x, scale_factor=2), (2, 3, 5)),
    (
        nn.UpsamplingBilinear2d((7, 3)),
        lambda x: F.interpolate(x, (7, 3), mode="bilinear", align_corners=True),
        (2, 3, 5, 5),
    ),
    (nn.UpsamplingNearest2d(scale_factor=2), lambda x: F.interpolate(x, (6, 8)), (1, 1, 3, 4)),
    (nn.PixelShuffle(2), lambda x: F.pixel_shuffle(x, 2), (1, 8, 3, 3)),
    (nn.PixelUnshuffle(3), lambda x: F.pixel_unshuffle(x, 3), (1, 2, 3, 6)),
    (nn.ChannelShuffle(2), lambda x: F.channel_shuffle(x, 2), (1, 4, 3)),
    (nn.ReflectionPad1d((1, 2)), lambda x: F.pad(x, (1, 2), "reflect"), (1, 2, 4)),
    (nn.ReplicationPad2d(1), lambda x: F.pad(x, (1, 1, 1, 1), "replicate"), (1, 2, 4, 3)),
    (nn.CircularPad3d(1), lambda x: F.pad(x, (1,) * 6, "circular"), (1, 2, 2, 2, 2)),
    (nn.ConstantPad2d((1, 0, 2, 1), 3.5), lambda x: F.pad(x, (1, 0, 2, 1), value=3.5), (1, 2, 2)),
    (nn.ZeroPad1d(2), lambda x: F.pad(x, (2, 2)), (1, 2, 2)),
    (nn.RMSNorm(4), lambda x: F.rms_norm(x, 4), (2, 3, 4)),
    (nn.GroupNorm(2, 4), lambda x: F.group_norm(x, 2), (2, 4, 3)),
    (nn.LocalResponseNorm(3, 0.5), lambda x: F.local_response_norm(x, 3, 0.5), (2, 4, 3)),
    (nn.InstanceNorm2d(3), lambda x: F.instance_norm(x), (2, 3, 4, 4)),
]


@pytest.mark.parametrize(("module", "function", "shape"), POOLS, ids=lambda p: str(p)[:40])
def test_modules_call_their_functions(
    module: nn.Module, function: Callable[[Any], Any], shape: tuple[int, ...]
) -> None:
    x = RNG.standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(module(x).detach().numpy(), function(x).detach().numpy())


def test_places_of_the_largest() -> None:
    x = RNG.standard_normal((1, 2, 4, 4)).astype(np.float32)
    values, places = nn.MaxPool2d(2, return_indices=True)(x)
    flat = np.take_along_axis(x.reshape(1, 2, 16), places.numpy().reshape(1, 2, 4), 2)
    np.testing.assert_array_equal(values.numpy().reshape(1, 2, 4), flat)


# --- running statistics ---------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics(compiled: bool, momentum: float | None) -> None:
    layer = nn.BatchNorm2d(3, momentum=momentum)
    assert list(layer.state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]
    step = fg.compile(lambda x: layer(x)) if compiled else layer
    mean, variance = np.zeros(3), np.ones(3)
    for number in range(1, 4):
        x = RNG.standard_normal((4, 3, 2, 5)).astype(np.float32) * number
        y = step(x).detach().numpy()
        np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-6)
        share = momentum if momentum is not None else 1 / number
        mean += share * (x.mean((0, 2, 3)) - mean)
        variance += share * (x.var((0, 2, 3), ddof=1) - variance)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        np.testing.assert_allclose(layer.running_mean.numpy(), mean, 1e-5, 1e-6)
        np.testing.assert_allclose(layer.running_var.numpy(), variance, 1e-5)
    assert int(layer.num_batches_tracked) == 3  # type: ignore[arg-type]
    if compiled:
        assert step.stats().compiles == 1  # type: ignore[union-attr]
    layer.eval()
    for _ in range(2):
        y = step(x).detach().numpy()
        column = (3, 1, 1)
        scale = np.sqrt(variance.reshape(column) + layer.eps)
        np.testing.assert_allclose(y, (x - mean.reshape(column)) / scale, 1e-4, 1e-5)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, 1e-5, 1e-6)
    assert int(layer.num_batches_tracked) == 3  # type: ignore[arg-type]


def test_without_running_statistics() -> None:
    layer = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert not layer.state_dict()
    x = RNG.standard_normal((8, 3)).astype(np.float32)
    expected = layer(x).numpy()
    np.testing.assert_array_equal(layer.eval()(x).numpy(), expected)
    np.testing.assert_allclose(expected.std(0), 1, 1e-4)


def test_statistics_are_reset() -> None:
    layer = nn.BatchNorm1d(2)
    layer(RNG.standard_normal((8, 2)).astype(np.float32))
    layer.reset_parameters()
    assert int(layer.num_batches_tracked) == 0  # type: ignore[arg-type]
    assert layer.running_mean is not None
    assert layer.running_mean.numpy().tolist() == [0, 0]


def test_instances_with_running_statistics() -> None:
    layer = nn.InstanceNorm1d(2, affine=True, track_running_stats=True)
    x = RNG.standard_normal((3, 2, 5)).astype(np.float32)
    layer(x)
    assert layer.running_mean is not None
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.1 * x.mean((0, 2)), 1e-5, 1e-7)
    y = layer.eval()(x[0])
    assert y.shape == (2, 5)
    assert layer.running_var is not None
    scale = np.sqrt(layer.running_var.numpy()[:, None] + layer.eps)
    expected = (x[0] - layer.running_mean.numpy()[:, None]) / scale
    np.testing.assert_allclose(y.detach().numpy(), expected, 1e-5, 1e-6)


def test_a_network_learns() -> None:
    fg.random.seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    opt = optim.Adam(model.parameters(), lr=0.02)
    labels = RNG.integers(0, 2, 32)
    x = RNG.standard_normal((32, 1, 8, 8)).astype(np.float32)
    x[labels == 1, :, ::2] += 2

    @fg.compile
    def step(x: Any, y: Any) -> fg.Tensor:
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    losses = [float(step(x, labels)) for _ in range(30)]
    assert losses[-1] < 0.2 * losses[0]
    assert step.stats().compiles == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nn.Conv2d(3, 4, 3, groups=2),
            "Conv2d: 3 input and 4 output channels in 2 groups",
        ),
        (
            lambda: nn.Conv1d(3, 4, 3, stride=2, padding="same"),
            "Conv1d: padding 'same' with stride (2,)",
        ),
        (
            lambda: nn.Conv1d(3, 4, 3, padding_mode="mirror"),  # type: ignore[arg-type]
            "Conv1d: there is no padding_mode 'mirror'",
        ),
        (
            lambda: nn.ConvTranspose1d(3, 4, 3, padding_mode="reflect"),  # type: ignore[arg-type]
            "ConvTranspose1d has no padding_mode 'reflect'",
        ),
        (
            lambda: nn.BatchNorm2d(3)(np.ones((2, 3, 4))),
            "BatchNorm2d: an input of shape (2, 3, 4) has 3 axes, not 4",
        ),
        (lambda: nn.GroupNorm(2, 3), "GroupNorm: 3 channels in 2 groups"),
        (lambda: nn.ReflectionPad2d((1, 2)), "ReflectionPad2d: 2 widths for 2 axes"),
        (
            lambda: nn.ReflectionPad1d(1)(np.ones(3)),
            "ReflectionPad1d: an input of shape (3,) has 1 axes, not 3 (or 2 without a batch)",
        ),
    ],
)
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ShapeError) as raised:
        call()
    assert raised.value.message == message
