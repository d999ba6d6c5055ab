"""Memory shared with torch and JAX, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import CopyError, DTypeError

torch = pytest.importorskip("torch", reason="torch is not installed")
jax = pytest.importorskip("jax", reason="jax is not installed")
pytestmark = pytest.mark.peers

VALUES = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.float32(3.0),
    np.zeros((0, 3), np.float32),
    np.array([True, False]),
    np.arange(4, dtype=np.int8),
]


def address(x: Any) -> int:
    if isinstance(x, torch.Tensor):
        return int(x.data_ptr())
    if isinstance(x, jax.Array):
        return int(x.unsafe_buffer_pointer())
    return int(x.numpy().ctypes.data)


@pytest.mark.parametrize("values", VALUES, ids=lambda v: f"{v.dtype}{v.shape}")
@pytest.mark.parametrize("make", [torch.asarray, jax.numpy.asarray], ids=["torch", "jax"])
def test_from_peers(make: Any, values: Any) -> None:
    source = make(values)
    x = fg.from_dlpack(source)
    assert x.shape == values.shape
    assert x.dtype.name == str(values.dtype)
    np.testing.assert_array_equal(x.numpy(), values)
    np.testing.assert_array_equal(fg.asarray(source).numpy(), values)
    if values.size:
        assert address(x) == address(source)


@pytest.mark.parametrize("values", VALUES, ids=lambda v: f"{v.dtype}{v.shape}")
@pytest.mark.parametrize("take", [torch.from_dlpack, jax.dlpack.from_dlpack], ids=["torch", "jax"])
def test_to_peers(take: Any, values: Any) -> None:
    x = fg.asarray(values)
    theirs = take(x)
    np.testing.assert_array_equal(np.asarray(theirs), values)
    if values.size:
        assert address(theirs) == address(x)
    # The memory is theirs now: a later value of the tensor lies elsewhere.
    if x.dtype is fg.float32:
        fg.compile(lambda: x.add_(1))()
        np.testing.assert_array_equal(np.asarray(theirs), values)


def test_what_torch_has_and_this_has_not() -> None:
    with pytest.raises(CopyError, match="strides"):
        fg.from_dlpack(torch.ones(2, 3).T, copy=False)
    assert fg.from_dlpack(torch.ones(2, 3).T).shape == (3, 2)
    with pytest.raises(DTypeError, match="detach"):
        fg.from_dlpack(torch.ones(2, requires_grad=True))


def test_bfloat16() -> None:
    theirs = torch.tensor([[1.0, 2.5], [0.1, -3.0]], dtype=torch.bfloat16)
    x = fg.from_dlpack(theirs)
    assert x.dtype is fg.bfloat16
    assert address(x) == address(theirs)
    assert x.tolist() == theirs.tolist() == fg.asarray(theirs).tolist()
    assert fg.asarray(theirs.T).tolist() == theirs.T.tolist()
    for take in (torch.from_dlpack, jax.dlpack.from_dlpack):
        back = take(x)
        assert str(back.dtype).endswith("bfloat16")
        assert back.tolist() == x.tolist()
