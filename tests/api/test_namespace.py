"""The essentials of the array API, as its users meet them: the namespace and how it inspects."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import DeviceError

INFO = fg.__array_namespace_info__()


# --- inspection -----------------------------------------------------------------------------------


def test_namespace_of_an_array() -> None:
    assert fg.ones(2).__array_namespace__() is fg
    assert fg.ones(2).__array_namespace__(api_version="2024.12") is fg
    assert fg.__array_api_version__ == "2024.12"


def test_capabilities() -> None:
    capabilities = INFO.capabilities()
    assert capabilities["boolean indexing"] is True
    assert capabilities["data-dependent shapes"] is True
    assert capabilities["max dimensions"] == 64


def test_devices() -> None:
    assert INFO.default_device() in INFO.devices()
    assert fg.ones(2).device == INFO.default_device()
    assert fg.ones(2).to_device("cpu").device == "cpu"
    for ask in (INFO.dtypes, INFO.default_dtypes):
        with pytest.raises(DeviceError, match="there is no device 'cuda:7'"):
            ask(device="cuda:7")
    with pytest.raises(DeviceError, match="there is no device 'tpu'"):
        fg.ones(2).to_device("tpu")
    with pytest.raises(DeviceError, match="the CPU has no streams"):
        fg.ones(2).to_device("cpu", stream=1)


def test_default_dtypes() -> None:
    defaults = INFO.default_dtypes()
    assert defaults["real floating"] is fg.asarray(1.0).dtype
    assert defaults["integral"] is fg.asarray(1).dtype
    assert defaults["indexing"] is fg.argmax(fg.ones(3)).dtype


def test_dtypes_by_kind() -> None:
    assert set(INFO.dtypes(kind="signed integer")) == {"int8", "int16", "int32", "int64"}
    assert INFO.dtypes(kind=("bool", "real floating")) == {
        "bool": fg.bool,
        "float32": fg.float32,
        "float64": fg.float64,
    }
    assert INFO.dtypes(kind="complex floating") == {}
    assert all(getattr(fg, name) is dtype for name, dtype in INFO.dtypes().items())


# --- making tensors -------------------------------------------------------------------------------


def test_tensor_and_array_copy() -> None:
    x = fg.asarray([1.0, 2.0])
    assert fg.asarray(x) is x
    assert fg.array(x) is not x
    assert fg.array(x, copy=None) is x
    assert fg.array([1, 2], "float64").dtype is fg.float64
    y = fg.tensor(np.arange(3), dtype=fg.float32, requires_grad=True)
    (y * y).sum().backward()
    assert y.grad is not None
    np.testing.assert_array_equal(y.grad.numpy(), [0, 2, 4])
    assert not fg.tensor(y).requires_grad


@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
def test_shapes_in_both_styles(name: str) -> None:
    make = getattr(fg, name)
    assert make((2, 3)).shape == make(2, 3).shape == make(shape=(2, 3)).shape == (2, 3)
    assert make(4).shape == make([4]).shape == (4,)
    assert make(()).shape == ()
    first = next(iter(inspect.signature(make).parameters.values()))
    assert (first.name, first.kind) == ("shape", inspect.Parameter.POSITIONAL_OR_KEYWORD)
