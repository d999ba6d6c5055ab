"""Convolutions against torch's own: values, first and second derivatives, every option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:Using padding='same'")]

Case = tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]

CASES: list[Case] = [
    ("conv1d", (2, 3, 11), (4, 3, 3), {}),
    ("conv1d", (3, 11), (4, 3, 3), {"stride": 2, "padding": 1}),
    ("conv1d", (2, 4, 12), (6, 2, 3), {"groups": 2, "dilation": 2, "padding": "same"}),
    ("conv1d", (2, 4, 12), (6, 2, 4), {"groups": 2, "padding": "same"}),
    ("conv1d", (1, 2, 5), (20, 2, 2), {"padding": "valid"}),
    ("conv1d", (2, 3, 7), (5, 3, 7), {}),
    ("conv1d", (2, 3, 7), (5, 3, 1), {"stride": 3}),
    ("conv2d", (2, 3, 7, 6), (4, 3, 3, 2), {}),
    ("conv2d", (2, 3, 9, 8), (4, 3, 3, 3), {"stride": (2, 3), "padding": (1, 2)}),
    ("conv2d", (2, 3, 9, 8), (4, 3, 2, 2), {"stride": 3}),
    ("conv2d", (2, 3, 9, 8), (4, 3, 3, 3), {"stride": 2, "dilation": 2, "padding": 2}),
    ("conv2d", (2, 3, 9, 8), (4, 3, 3, 3), {"stride": (1, 2), "dilation": (2, 1), "padding": 1}),
    ("conv2d", (2, 4, 6, 6), (4, 1, 3, 3), {"groups": 4, "padding": 1}),
    ("conv2d", (2, 4, 6, 6), (8, 1, 3, 3), {"groups": 4, "stride": 2}),
    ("conv2d", (2, 6, 6, 6), (4, 3, 3, 3), {"groups": 2}),
    ("conv2d", (2, 3, 5, 5), (17, 3, 1, 1), {}),
    ("conv2d", (2, 3, 5, 5), (4, 3, 1, 1), {"stride": 2, "padding": 1}),
    ("conv2d", (2, 3, 5, 5), (4, 3, 5, 5), {}),
    ("conv2d", (2, 3, 1, 5), (4, 3, 1, 3), {"padding": 1}),
    ("conv2d", (3, 7, 6), (4, 3, 3, 2), {}),
    ("conv2d", (3, 20, 12, 11), (3, 20, 3, 3), {"stride": 2, "padding": 1}),
    ("conv2d", (2, 21, 13, 37), (5, 21, 5, 3), {"stride": 2, "padding": (2, 1), "dilation": 2}),
    ("conv2d", (5, 12, 5, 4), (34, 6, 3, 3), {"padding": 1, "groups": 2}),
    ("conv2d", (2, 9, 20, 20), (17, 9, 3, 2), {"stride": (3, 2), "padding": 1}),
    ("conv2d", (1, 70, 6, 5), (33, 70, 2, 2), {"padding": 1}),
    ("conv1d", (3, 10, 61), (9, 10, 5), {"stride": 3, "padding": 4}),
    ("conv2d", (5, 6, 26, 25), (17, 6, 5, 5), {}),
    ("conv2d", (2, 30, 9, 8), (7, 30, 3, 3), {"stride": 2, "padding": 1}),
    ("conv1d", (2, 5, 700), (18, 5, 3), {"padding": 1}),
    ("conv1d", (1, 6, 1501), (5, 6, 3), {"stride": 2, "padding": 1}),
    ("conv1d", (2, 5, 41), (5, 1, 4), {"groups": 5, "padding": 3}),
    ("conv1d", (1, 150, 700), (2, 150, 3), {"padding": 1}),
    ("conv2d", (2, 3, 19, 20), (4, 3, 3, 4), {"stride": (4, 2), "dilation": (6, 3), "padding": 2}),
    ("conv2d", (2, 5, 19, 21), (10, 1, 3, 3), {"groups": 5, "stride": 2, "padding": 1}),
    ("conv2d", (2, 3, 21, 18), (3, 1, 7, 7), {"groups": 3, "padding": 6, "dilation": 2}),
    ("conv2d", (2, 6, 9, 20), (4, 3, 5, 2), {"groups": 2, "stride": (1, 3), "padding": 2}),
    ("conv3d", (1, 2, 5, 4, 6), (3, 2, 2, 3, 3), {}),
    ("conv3d", (1, 4, 5, 4, 6), (4, 2, 2, 2, 3), {"groups": 2, "stride": 2, "padding": (0, 1, 2)}),
    ("conv_transpose1d", (2, 3, 5), (3, 4, 3), {}),
    ("conv_transpose1d", (3, 5), (3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("conv_transpose1d", (2, 4, 5), (4, 3, 3), {"groups": 2, "dilation": 2, "stride": 3}),
    ("conv_transpose2d", (2, 3, 4, 5), (3, 4, 3, 2), {}),
    ("conv_transpose2d", (2, 3, 4, 5), (3, 4, 3, 3), {"stride": (2, 1), "padding": (1, 0)}),
    ("conv_transpose2d", (2, 3, 4, 5), (3, 4, 2, 2), {"stride": 3, "output_padding": 2}),
    ("conv_transpose2d", (2, 4, 4, 5), (4, 1, 3, 3), {"stride": 2, "groups": 4, "padding": 1}),
    ("conv_transpose2d", (2, 3, 4, 5), (3, 4, 1, 1), {"stride": 2}),
    ("conv_transpose3d", (1, 2, 3, 2, 3), (2, 2, 2, 3, 2), {"stride": 2, "padding": 1}),
]


def _channels(name: str, weight: tuple[int, ...], options: dict[str, Any]) -> int:
    return weight[1] * options.get("groups", 1) if "transpose" in name else weight[0]


@pytest.mark.parametrize(("name", "given", "weight", "options"), CASES, ids=str)
@pytest.mark.parametrize("compiled", [False, True], ids=["recorded", "compiled"])
def test_values_and_derivatives(
    name: str,
    given: tuple[int, ...],
    weight: tuple[int, ...],
    options: dict[str, Any],
    compiled: bool,
) -> None:
    rng = np.random.default_rng(0)
    shapes = given, weight, (_channels(name, weight, options),)
    values = [rng.standard_normal(shape) for shape in shapes]
    peers = [torch.tensor(value, requires_grad=True) for value in values]
    peer = getattr(torch.nn.functional, name)(*peers, **options)
    seed = rng.standard_normal(tuple(peer.shape))
    firsts = torch.autograd.grad((peer.sin() * torch.tensor(seed)).sum(), peers, create_graph=True)
    seconds = torch.autograd.grad(sum((first**2).sum() for first in firsts), peers)

    def result(*args: Any) -> Any:
        return getattr(F, name)(*args, **options)

    def loss(*args: Any) -> Any:
        return (fg.sin(result(*args)) * fg.asarray(seed)).sum()

    def squares(*args: Any) -> Any:
        return sum((first**2).sum() for first in fg.grad(loss, (0, 1, 2))(*args))

    def everything(*args: Any) -> Any:
        first = fg.grad(loss, (0, 1, 2))(*args)
        return result(*args), *first, *fg.grad(squares, (0, 1, 2))(*args)

    function = fg.compile(everything) if compiled else everything
    found = function(*(fg.asarray(value) for value in values))
    for own, other in zip(found, (peer, *firsts, *seconds), strict=True):
        np.testing.assert_allclose(own.numpy(), other.detach().numpy(), 1e-9, 1e-9)
