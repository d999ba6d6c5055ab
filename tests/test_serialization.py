"""Files of tensors: what is written, what is read, and all that is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim
from fusegrad.errors import ArgumentStructureError, FileFormatError
from fusegrad.serialization import load, load_metadata, save

DTYPES = ["bool", "float32", "float64"] + [
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tensors.safetensors"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (2, 3)])
def test_every_dtype(path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    save({"x": array, "y": fg.asarray(array)}, path)
    loaded = load(path)
    assert list(loaded) == ["x", "y"]
    for tensor in loaded.values():
        assert tensor.dtype.name == dtype
        assert tensor.shape == shape
        assert (tensor.numpy() == array).all()


def test_special_numbers(path: Path) -> None:
    array = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    save({"x": array}, path)
    assert load(path)["x"].numpy().tobytes() == array.tobytes()


def test_strided_and_big_endian_input(path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    save({"a": array.T, "b": array[::2, ::-1], "c": array.astype(">f8")}, path)
    loaded = load(path)
    assert (loaded["a"].numpy() == array.T).all()
    assert (loaded["b"].numpy() == array[::2, ::-1]).all()
    assert (loaded["c"].numpy() == array).all()


def test_the_bytes(path: Path) -> None:
    """The format as its specification says, so that other programs can read the files."""
    save(
        {"b": np.array([1.5], np.float32), "a": np.array([7], np.uint8)}, path, metadata={"k": "v"}
    )
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    assert json.loads(data[8 : 8 + length]) == {
        "__metadata__": {"k": "v"},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [4, 5]},
    }
    assert data[8 + length :] == np.float32(1.5).tobytes() + b"\x07"
    assert load_metadata(path) == {"k": "v"}


def test_a_training_run_can_be_saved(path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    model(fg.ones((4, 3))).sum().backward()
    optimizer.step()
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    save(saved, path)
    loaded = load(path)
    assert loaded["epoch"] == 3
    assert loaded["optimizer"]["param_groups"] == saved["optimizer"]["param_groups"]
    assert list(loaded["optimizer"]["state"]) == [0, 1, 2, 3]
    twin = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    twin.load_state_dict(loaded["model"])
    optim.Adam(twin.parameters()).load_state_dict(loaded["optimizer"])
    assert (twin[0].weight.detach().numpy() == model[0].weight.detach().numpy()).all()
    assert load_metadata(path) == {}


def test_nested_containers(path: Path) -> None:
    tree = {"a": [np.ones(2), (1, 2.5, "x", None, True)], 3: {}, "a.0": np.zeros(1)}
    save(tree, path)
    loaded = load(path)
    assert list(loaded) == ["a", 3, "a.0"]
    assert loaded["a"][1] == (1, 2.5, "x", None, True)
    assert loaded["a"][0].numpy().tolist() == [1, 1]
    assert loaded["a.0"].numpy().tolist() == [0]
    save(np.ones(3), path)
    assert load(path).numpy().tolist() == [1, 1, 1]
    save({}, path)
    assert load(path) == {}


def test_what_cannot_be_saved(path: Path) -> None:
    with pytest.raises(ArgumentStructureError, match=r"a\.0 is a set"):
        save({"a": [{1}]}, path)
    with pytest.raises(ArgumentStructureError, match=r"has a key 1\.5"):
        save({1.5: 1}, path)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ArgumentStructureError, match="nested too deeply"):
        save(endless, path)
    with pytest.raises(TypeError, match="x has dtype complex128"):
        save({"x": np.ones(1, complex)}, path)
    with pytest.raises(TypeError, match="metadata are texts"):
        save({}, path, metadata={"a": 1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="is taken"):
        save({}, path, metadata={"fusegrad.structure": "x"})
    assert not path.exists()


def test_writing_is_atomic(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save({"x": np.ones(3)}, path)

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        save({"x": np.zeros(3)}, path)
    assert load(path)["x"].numpy().tolist() == [1, 1, 1]
    assert os.listdir(path.parent) == [path.name]


def file_of(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}


EIGHT = bytes(8)
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it has 0 bytes only"),
    "length": ((2**60).to_bytes(8, "little") + b"{}", "a header of 1152921504606846976 bytes"),
    "not json": (file_of(b"{'a'}"), "its header is not JSON: Expecting"),
    "a pickle": (b"\x80\x04\x95" + bytes(30), "a header of"),
    "a list": (file_of([]), "its header is not JSON"),
    "deep": (file_of(b'{"a":' + b"[" * 200_000), "its header is not JSON"),
    "not text": (file_of(b'{"\xff": 1}'), "its header is not JSON"),
    "twice": (file_of(b'{"a": 1, "a": 2}'), "a name appears twice"),
    "metadata": (file_of({"__metadata__": {"a": 1}}), "its metadata are not texts"),
    "fields": (file_of({"x": {"dtype": "F32"}}), "'x' has not exactly dtype, shape and"),
    "extra": (file_of({"x": entry(code="rm")}, EIGHT), "'x' has not exactly"),
    "dtype": (file_of({"x": entry(dtype="F8_E4M3")}, EIGHT), "'x' has dtype 'F8_E4M3'; known"),
    "dtype list": (file_of({"x": entry(dtype=["F32"])}, EIGHT), "'x' has dtype ['F32']; known"),
    "negative": (file_of({"x": entry(shape=[-2])}, EIGHT), "'x' has a shape or offsets that"),
    "float": (file_of({"x": entry(shape=[2.0])}, EIGHT), "'x' has a shape or offsets that"),
    "bool": (file_of({"x": entry(shape=[True])}, EIGHT), "'x' has a shape or offsets that"),
    "huge": (file_of({"x": entry(shape=[2**62, 2**62])}, EIGHT), "'x' of shape"),
    "huge and empty": (
        file_of({"x": entry(shape=[2**62, 2**62, 0], data_offsets=[0, 0])}),
        "'x' of shape",
    ),
    "offsets": (file_of({"x": entry(data_offsets=[0])}, EIGHT), "'x' needs 2 offsets, not 1"),
    "backwards": (file_of({"x": entry(data_offsets=[8, 0])}, EIGHT), "does not have -8 bytes"),
    "size": (file_of({"x": entry(shape=[3])}, EIGHT), "does not have 8 bytes"),
    "short": (file_of({"x": entry()}, EIGHT[1:]), "it has 7 bytes of data and names 8"),
    "long": (file_of({"x": entry()}, EIGHT + b"x"), "it has 9 bytes of data and names 8"),
    "gap": (
        file_of({"x": entry(data_offsets=[4, 12])}, bytes(12)),
        "the data of 'x' follows a gap",
    ),
    "overlap": (
        file_of({"x": entry(), "y": entry(data_offsets=[4, 12])}, bytes(12)),
        "the data of 'y' overlaps another tensor",
    ),
    "truth": (
        file_of({"x": entry(dtype="BOOL", data_offsets=[0, 2])}, b"\x01\x02"),
        "'x' has truth values other than 0, 1",
    ),
    "structure": (
        file_of({"__metadata__": {"fusegrad.structure": "[]"}}),
        "its structure cannot be read",
    ),
    "structure names": (
        file_of({"__metadata__": {"fusegrad.structure": '{"tensor": "x"}'}}),
        "its structure cannot be read",
    ),
    "structure kinds": (
        file_of({"__metadata__": {"fusegrad.structure": '{"call": "x"}'}}),
        "its structure cannot be read: 'call' is no part",
    ),
    "structure depth": (
        file_of({"__metadata__": {"fusegrad.structure": '{"list": [' * 500}}),
        "its structure cannot be read",
    ),
    "structure keys": (
        file_of({"__metadata__": {"fusegrad.structure": '{"dict": [[[1], {"value": 1}]]}'}}),
        "its structure cannot be read",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(path: Path, name: str) -> None:
    data, message = BROKEN[name]
    path.write_bytes(data)
    with pytest.raises(FileFormatError) as error:
        load(path)
    assert f"{path} is not a whole safetensors file: " in error.value.message
    assert message in error.value.message


def test_every_truncation_is_noticed(path: Path) -> None:
    save({"x": np.ones(3, np.float32), "y": np.ones(2)}, path, metadata={"a": "b"})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(FileFormatError):
            load(path)


def test_loaded_tensors_are_their_own(path: Path) -> None:
    save({"x": np.ones(3)}, path)
    tensor = load(path)["x"]
    os.truncate(path, 0)
    assert tensor.numpy().tolist() == [1, 1, 1]
