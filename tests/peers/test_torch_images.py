"""Padding, interpolation, columns, shuffles and normalisation against torch's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

RNG = np.random.default_rng(0)
SCALE, SHIFT = RNG.uniform(0.5, 2, 4), RNG.standard_normal(4)

Case = tuple[str, tuple[int, ...], dict[str, Any]]

CASES: list[Case] = [
    ("pad", (2, 3, 4), {"pad": (1, 2)}),
    ("pad", (2, 3, 4), {"pad": (1, -2, 0, 1), "value": 2.5}),
    ("pad", (2, 3, 4), {"pad": (3, 2), "mode": "reflect"}),
    ("pad", (2, 3, 4), {"pad": (5, 2), "mode": "replicate"}),
    ("pad", (2, 3, 4), {"pad": (4, 2), "mode": "circular"}),
    ("pad", (2, 3, 4, 5), {"pad": (1, 0, 2, 3), "mode": "reflect"}),
    ("pad", (2, 3, 4, 5), {"pad": (1, 0, 2, 3), "mode": "replicate"}),
    ("pad", (2, 3, 4, 5), {"pad": (1, 0, 2, 3), "mode": "circular"}),
    ("pad", (1, 2, 3, 4, 5), {"pad": (1, 0, 2, 1, 1, 2), "mode": "reflect"}),
    ("interpolate", (2, 3, 5), {"scale_factor": 2}),
    ("interpolate", (2, 3, 5), {"size": 7}),
    ("interpolate", (2, 3, 5), {"size": 3}),
    ("interpolate", (2, 3, 6), {"size": 3}),
    ("interpolate", (2, 3, 5), {"size": 7, "mode": "nearest-exact"}),
    ("interpolate", (2, 3, 5), {"scale_factor": 1.7, "mode": "linear"}),
    (
        "interpolate",
        (2, 3, 5),
        {"scale_factor": 1.7, "mode": "linear", "recompute_scale_factor": True},
    ),
    ("interpolate", (2, 3, 5), {"size": 8, "mode": "linear", "align_corners": True}),
    ("interpolate", (2, 3, 5), {"size": 1, "mode": "linear", "align_corners": True}),
    ("interpolate", (2, 3, 4, 5), {"scale_factor": (2, 3)}),
    ("interpolate", (2, 3, 4, 5), {"scale_factor": 2, "mode": "bilinear"}),
    ("interpolate", (2, 3, 4, 5), {"size": (3, 9), "mode": "bilinear", "align_corners": True}),
    ("interpolate", (2, 3, 4, 5), {"size": (4, 2), "mode": "bilinear"}),
    ("interpolate", (2, 3, 4, 5), {"scale_factor": 1.5, "mode": "bicubic"}),
    ("interpolate", (2, 3, 4, 5), {"size": (2, 9), "mode": "bicubic", "align_corners": True}),
    ("interpolate", (2, 3, 4, 5), {"size": (2, 3), "mode": "area"}),
    ("interpolate", (1, 2, 7, 9), {"size": (3, 4), "mode": "bilinear", "antialias": True}),
    ("interpolate", (1, 2, 7, 9), {"scale_factor": 0.4, "mode": "bicubic", "antialias": True}),
    (
        "interpolate",
        (1, 2, 5, 9),
        {"size": (8, 3), "mode": "bicubic", "antialias": True, "align_corners": True},
    ),
    ("interpolate", (1, 2, 3, 4, 5), {"scale_factor": 2, "mode": "nearest"}),
    ("interpolate", (1, 2, 3, 4, 5), {"size": (2, 5, 7), "mode": "trilinear"}),
    ("unfold", (2, 3, 4, 5), {"kernel_size": 2}),
    (
        "unfold",
        (2, 3, 6, 7),
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": 2},
    ),
    ("fold", (2, 12, 12), {"output_size": (4, 5), "kernel_size": 2}),
    ("fold", (12, 6), {"output_size": (4, 5), "kernel_size": 2, "stride": 2, "padding": (0, 1)}),
    ("pixel_shuffle", (2, 8, 2, 3), {"upscale_factor": 2}),
    ("pixel_unshuffle", (2, 2, 4, 6), {"downscale_factor": 2}),
    ("batch_norm", (3, 4, 5), {"training": True}),
    ("batch_norm", (3, 4), {"training": True, "momentum": 0.4}),
    ("batch_norm", (3, 4, 5, 2), {"training": False, "eps": 0.1}),
    ("group_norm", (3, 4, 5), {"num_groups": 2}),
    ("group_norm", (3, 4), {"num_groups": 1}),
    ("instance_norm", (3, 4, 5), {}),
    ("instance_norm", (3, 4, 5, 2), {"use_input_stats": False}),
    ("local_response_norm", (3, 4, 5), {"size": 3, "alpha": 0.5}),
    ("local_response_norm", (3, 4, 5, 2), {"size": 2, "k": 2.0}),
    ("rms_norm", (3, 4), {"normalized_shape": (4,), "weight": SCALE}),
    ("rms_norm", (3, 5, 4), {"normalized_shape": (5, 4), "eps": 0.1}),
    ("normalize", (3, 4), {}),
    ("normalize", (3, 4), {"p": 3, "dim": 0}),
    ("cosine_similarity", (3, 4), {"x2": SHIFT}),
    ("cosine_similarity", (4, 3), {"x2": SCALE[:, None], "dim": 0}),
]


def _call(F: Any, name: str, x: Any, tensor: Any, options: dict[str, Any]) -> Any:
    options = {
        key: tensor(value) if isinstance(value, np.ndarray) else value
        for key, value in options.items()
    }
    function = getattr(F, name)
    if name in ("batch_norm", "instance_norm"):
        running = tensor(SHIFT.copy()), tensor(SCALE.copy())
        result = function(x, *running, tensor(SCALE), tensor(SHIFT), **options)
        return result, *running
    if name == "group_norm":
        options = {**options, "weight": tensor(SCALE), "bias": tensor(SHIFT)}
    return (function(x, **options),)


@pytest.mark.parametrize(("name", "given", "options"), CASES, ids=str)
def test_values_and_derivatives(name: str, given: tuple[int, ...], options: dict[str, Any]) -> None:
    value = RNG.standard_normal(given)
    x = torch.tensor(value, requires_grad=True)
    peer, *others = _call(torch.nn.functional, name, x, torch.tensor, options)
    seed = RNG.standard_normal(tuple(peer.shape))
    (first,) = torch.autograd.grad((peer.sin() * torch.tensor(seed)).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), x)

    def loss(x: Any) -> Any:
        return (fg.sin(_call(F, name, x, fg.asarray, options)[0]) * fg.asarray(seed)).sum()

    def everything(x: Any) -> Any:
        own, *others = _call(F, name, x, fg.asarray, options)
        twice = fg.grad(lambda x: (fg.grad(loss)(x) ** 2).sum())(x)
        return own, *others, fg.grad(loss)(x), twice

    for function in (everything, fg.compile(everything)):
        found = function(fg.asarray(value))
        for own, other in zip(found, (peer, *others, first, second), strict=True):
            np.testing.assert_allclose(own.numpy(), other.detach().numpy(), 1e-8, 1e-9)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("scale", [0.3, 0.77, 1.1, 2.6, 3.0])
def test_places_in_single_precision(mode: Any, scale: float) -> None:
    value = RNG.standard_normal((1, 1, 13, 29)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.tensor(value), scale_factor=scale, mode=mode)
    found = F.interpolate(value, scale_factor=scale, mode=mode)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), 1e-5, 2e-5)
