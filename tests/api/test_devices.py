"""Devices by name, and torch's small questions about tensors."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import DeviceError


def test_names_of_devices() -> None:
    gpu = fg.device("cuda:1")
    assert (gpu.type, gpu.index, str(gpu), repr(gpu)) == ("cuda", 1, "cuda:1", "device('cuda:1')")
    assert gpu == fg.device("cuda", 1) == fg.device(gpu) == "cuda:1"
    assert gpu != fg.device("cuda")
    assert len({gpu, "cuda:1", fg.device("cuda", 1)}) == 1
    assert pickle.loads(pickle.dumps(gpu)) == copy.copy(gpu) == gpu
    assert gpu != 1


@pytest.mark.parametrize("name", ["gpu", "cpu:", "cpu:x", "cuda:1:2", "", "cuda:-1"])
def test_no_such_name(name: str) -> None:
    with pytest.raises(DeviceError, match="name a device 'cpu' or 'cuda'"):
        fg.device(name)


def test_two_indices() -> None:
    with pytest.raises(DeviceError, match="there is no device 'cuda:1'"):
        fg.device("cuda:1", 2)


def test_tensors_are_on_the_processor() -> None:
    x = fg.zeros(2, device=fg.device("cpu"))
    assert x.device == fg.device("cpu") == "cpu"
    assert x.to(fg.device("cpu")) is x
    assert x.to("cpu:0") is x
    assert not x.is_cuda


def test_without_a_gpu() -> None:
    assert not fg.cuda.is_available()
    assert fg.cuda.why_not()
    assert fg.cuda.device_count() == 0
    for put in (
        lambda: fg.zeros(2, device="cuda"),
        lambda: fg.zeros(2).cuda(),
        lambda: fg.zeros(2).to(fg.device("cuda")),
        lambda: fg.asarray([1.0], device="cuda:0"),
    ):
        with pytest.raises(DeviceError, match="there is no device"):
            put()


def test_questions() -> None:
    x = fg.zeros(2, 3)
    assert fg.is_tensor(x)
    assert not fg.is_tensor(np.zeros(2))
    assert fg.is_floating_point(x)
    assert not fg.is_floating_point([1, 2])
    assert fg.numel(x) == x.numel() == 6
    assert fg.get_default_dtype() is fg.float32
    assert (fg.float, fg.int, fg.long, fg.short) == (fg.float32, fg.int32, fg.int64, fg.int16)


def test_size_is_a_number_and_a_method() -> None:
    x = fg.zeros(2, 3)
    assert x.size == 6
    assert isinstance(x.size, int)
    assert x.size() == (2, 3)
    assert (x.size(0), x.size(-1)) == (2, 3)
    assert type(pickle.loads(pickle.dumps(x.size))) is int
    with pytest.raises(IndexError, match="size: there is no axis 2"):
        x.size(2)
    assert fg.compile(lambda y: y.reshape(y.size(0), -1))(np.ones((2, 3, 4))).shape == (2, 12)
