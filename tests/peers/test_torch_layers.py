"""Layers for images against torch's own: parameters, texts, training and evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

RNG = np.random.default_rng(0)

MODULES: list[tuple[str, tuple[int, ...]]] = [
    ("nn.Conv1d(4, 6, 3, padding=1, bias=False)", (2, 4, 7)),
    ("nn.Conv2d(4, 6, (3, 2), stride=2, groups=2, padding=(1, 0))", (2, 4, 7, 6)),
    ("nn.Conv2d(4, 6, 3, padding='same', dilation=2, padding_mode='circular')", (2, 4, 7, 6)),
    ("nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode='reflect')", (2, 4, 7, 6)),
    ("nn.Conv3d(2, 3, 2, stride=2)", (1, 2, 4, 5, 6)),
    ("nn.ConvTranspose1d(4, 6, 3, 2)", (2, 4, 5)),
    ("nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2)", (2, 4, 5, 4)),
    ("nn.ConvTranspose3d(2, 3, 2, dilation=2)", (1, 2, 3, 2, 3)),
    ("nn.BatchNorm1d(4)", (5, 4)),
    ("nn.BatchNorm1d(4, momentum=None)", (5, 4, 3)),
    ("nn.BatchNorm2d(4, affine=False)", (2, 4, 3, 5)),
    ("nn.BatchNorm2d(4, track_running_stats=False)", (2, 4, 3, 5)),
    ("nn.BatchNorm3d(4, eps=0.1, momentum=0.4)", (2, 4, 3, 2, 2)),
    ("nn.GroupNorm(2, 4)", (3, 4, 5)),
    ("nn.InstanceNorm1d(4)", (3, 4, 5)),
    ("nn.InstanceNorm2d(4, affine=True, track_running_stats=True)", (3, 4, 5, 2)),
    ("nn.LayerNorm((4, 5))", (3, 4, 5)),
    ("nn.RMSNorm(5)", (3, 4, 5)),
    ("nn.LocalResponseNorm(3)", (3, 4, 5)),
    ("nn.MaxPool2d(3, 2, 1, ceil_mode=True)", (2, 4, 7, 6)),
    ("nn.AvgPool1d(3)", (2, 4, 7)),
    ("nn.AvgPool2d(2, padding=1)", (2, 4, 7, 6)),
    ("nn.LPPool2d(2, 3)", (2, 4, 7, 6)),
    ("nn.AdaptiveAvgPool2d((None, 3))", (2, 4, 7, 6)),
    ("nn.AdaptiveMaxPool2d(3)", (2, 4, 7, 6)),
    ("nn.Fold((4, 5), 2)", (2, 12, 12)),
    ("nn.Unfold(2, padding=1)", (2, 4, 7, 6)),
    ("nn.Upsample(scale_factor=2)", (2, 4, 7)),
    ("nn.Upsample(size=(3, 4), mode='bilinear', align_corners=True)", (2, 4, 7, 6)),
    ("nn.PixelShuffle(2)", (2, 4, 3, 3)),
    ("nn.ReflectionPad2d(1)", (2, 4, 7, 6)),
    ("nn.ConstantPad2d((1, 2, 0, 1), 3.5)", (2, 4, 7, 6)),
    ("nn.ZeroPad2d(1)", (2, 4, 7, 6)),
    ("nn.MaxUnpool2d(2)", ()),
    ("nn.CELU(2.0)", (40,)),
    ("nn.ELU(0.5)", (40,)),
    ("nn.GLU()", (40,)),
    ("nn.Hardshrink()", (40,)),
    ("nn.Hardsigmoid()", (40,)),
    ("nn.Hardswish()", (40,)),
    ("nn.Hardtanh()", (40,)),
    ("nn.Mish()", (40,)),
    ("nn.PReLU(4)", (3, 4, 5)),
    ("nn.ReLU6()", (40,)),
    ("nn.SELU()", (40,)),
    ("nn.Softshrink()", (40,)),
    ("nn.Softsign()", (40,)),
    ("nn.Tanhshrink()", (40,)),
    ("nn.Threshold(0.1, 2.5)", (40,)),
]


@pytest.mark.parametrize(("text", "shape"), MODULES, ids=lambda given: str(given))
def test_modules(text: str, shape: tuple[int, ...]) -> None:
    own, peer = eval(text, {"nn": nn}), eval(text, {"nn": torch.nn})
    assert repr(own) == repr(peer)
    state = {name: value.numpy().copy() for name, value in peer.state_dict().items()}
    assert {name: value.shape for name, value in own.state_dict().items()} == {
        name: value.shape for name, value in state.items()
    }
    own.load_state_dict(state)
    if not shape:
        return
    for training in (True, True, False):
        own.train(training)
        peer.train(training)
        value = RNG.standard_normal(shape).astype(np.float32)
        x, y = fg.asarray(value, requires_grad=True), torch.tensor(value, requires_grad=True)
        result, expected = own(x), peer(y)
        seed = RNG.standard_normal(tuple(expected.shape)).astype(np.float32)
        result.backward(fg.asarray(seed))
        expected.backward(torch.tensor(seed))
        pairs = [(result, expected), (x.grad, y.grad)]
        pairs += [
            (a.grad, b.grad) for a, b in zip(own.parameters(), peer.parameters(), strict=True)
        ]
        pairs += list(zip(own.buffers(), peer.buffers(), strict=True))
        for one, other in pairs:
            values = other.detach().numpy()
            np.testing.assert_allclose(one.detach().numpy(), values, 2e-4, 2e-5)
        own.zero_grad()
        peer.zero_grad()


@pytest.mark.parametrize("make", [lambda nn: nn.Conv2d(3, 70, 5), lambda nn: nn.Conv1d(6, 90, 3)])
def test_first_values_have_torchs_distribution(make: Any) -> None:
    fg.random.seed(0)
    torch.manual_seed(0)
    own, peer = make(nn), make(torch.nn)
    for a, b in zip(own.parameters(), peer.parameters(), strict=True):
        limits = abs(a.detach().numpy()).max(), float(b.detach().abs().max())
        np.testing.assert_allclose(*limits, 0.1)
        np.testing.assert_allclose(a.detach().numpy().std(), float(b.detach().std()), 0.15)
