"""Tensors in files, in the safetensors format.

Knows the format and nothing of modules: what is saved is a container of tensors, such as a state
dict. Reading never runs code: a file is numbers and a JSON header, and both are checked.

    file   ::= length header data
    length ::= the bytes of the header, 8 bytes, little-endian
    header ::= {"__metadata__": {name: text, ...},
                name: {"dtype": "F32", "shape": [3, 4], "data_offsets": [begin, end]}, ...}

The offsets count from the end of the header; together the tensors fill the rest of the file without
gaps. Containers that are not a flat dict of tensors have their structure in the metadata.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedReader
from typing import Any, NamedTuple

import numpy as np

from .codegen.dtypes import DType, as_dtype, bfloat16
from .errors import (
    ArgumentStructureError,
    ArgumentTypeError,
    FileFormatError,
    OptionError,
)
from .functions.creation import asarray
from .tensors.tensor_class import Tensor

__all__ = ["load", "load_metadata", "save"]

_NAMES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
_DTYPES = {short: as_dtype(name) for name, short in _NAMES.items()}
_METADATA = "__metadata__"
_STRUCTURE = "fusegrad.structure"
_MAX_HEADER = 100_000_000
_MAX_DEPTH = 100

PathLike = str | os.PathLike[str]


# --- writing --------------------------------------------------------------------------------------


def save(tensors: Any, path: PathLike, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors into a file; the file appears whole or not at all.

    Parameters
    ----------
    tensors : dict of str to Tensor or array, or nested containers
        A dict of tensors can be read by every program that knows the format. Nested dicts, lists
        and tuples of tensors, numbers, texts and None can be saved too, such as the state of an
        optimizer.
    path : path-like
        The file; one that is there is replaced.
    metadata : mapping of str to str, optional
        Texts to keep with the tensors.

    Examples
    --------
    >>> import os, tempfile
    >>> import fusegrad as fg
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> fg.save({"weight": fg.ones((2, 3))}, path)
    >>> fg.load(path)["weight"].shape
    (2, 3)
    """
    texts = dict(metadata or {})
    for name, text in texts.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise ArgumentTypeError("metadata are texts by name; convert numbers with str()")
        if name == _STRUCTURE:
            raise OptionError(f"the metadata name {_STRUCTURE!r} is taken")
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    if _is_flat(tensors):
        for name, value in tensors.items():
            arrays[name] = _array(value, name)
    else:
        structure = _encode(tensors, "", arrays, 0)
        texts[_STRUCTURE] = json.dumps(structure, separators=(",", ":"))
    _write(os.fspath(path), _header(arrays, texts), arrays)


def _is_flat(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and name != _METADATA and isinstance(item, Tensor | np.ndarray)
        for name, item in value.items()
    )


def _array(value: Any, name: str) -> np.ndarray[Any, Any]:
    array = value.detach()._look("save()") if isinstance(value, Tensor) else value
    try:
        dtype = as_dtype(array.dtype.newbyteorder("="))
    except TypeError:
        raise ArgumentTypeError(
            f"{name} has dtype {array.dtype}, which files cannot hold"
        ) from None
    return np.ascontiguousarray(array, _little(dtype)).reshape(array.shape)


def _little(dtype: DType) -> np.dtype[Any]:
    """The NumPy dtype of the values in files, the lowest byte first."""
    return dtype.numpy if dtype is bfloat16 else dtype.numpy.newbyteorder("<")


def _encode(value: Any, path: str, arrays: dict[str, np.ndarray[Any, Any]], depth: int) -> Any:
    """The structure of a container as JSON; its tensors go into `arrays`."""
    if depth > _MAX_DEPTH:
        raise ArgumentStructureError(f"{path[:60]}... is nested too deeply to be saved")
    if isinstance(value, Tensor | np.ndarray):
        name = path or "value"
        while name in arrays or name == _METADATA:
            name += "'"
        arrays[name] = _array(value, name)
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = []
        for key, item in value.items():
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise ArgumentStructureError(
                    f"{path or 'the container'} has a key {key!r}, which cannot be saved",
                    remedy="keys are texts and integers",
                )
            items.append(
                [key, _encode(item, f"{path}.{key}" if path else str(key), arrays, depth + 1)]
            )
        return {"dict": items}
    if isinstance(value, list | tuple):
        items = [
            _encode(item, f"{path}.{i}" if path else str(i), arrays, depth + 1)
            for i, item in enumerate(value)
        ]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise ArgumentStructureError(
        f"{path or 'the container'} is a {type(value).__name__}, which cannot be saved",
        remedy="save tensors, numbers, texts, and dicts, lists and tuples of them",
    )


def _header(arrays: Mapping[str, np.ndarray[Any, Any]], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    begin = 0
    for name, array in _in_order(arrays):
        end = begin + array.nbytes
        header[name] = {
            "dtype": _NAMES[as_dtype(array.dtype.newbyteorder("=")).name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise OptionError(f"the header would have {len(text)} bytes; {_MAX_HEADER} are allowed")
    return len(text).to_bytes(8, "little") + text


def _in_order(
    arrays: Mapping[str, np.ndarray[Any, Any]],
) -> list[tuple[str, np.ndarray[Any, Any]]]:
    # Wide elements first, so that everything is aligned.
    return sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))


def _write(path: str, header: bytes, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    beside = f"{path}.{secrets.token_hex(8)}.part"
    try:
        with open(beside, "xb") as file:
            file.write(header)
            for _, array in _in_order(arrays):
                file.write(array.reshape(-1).view(np.uint8).data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


# --- reading --------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    name: str
    dtype: DType
    shape: tuple[int, ...]
    begin: int
    end: int


def load(path: PathLike, map_location: Any = None) -> Any:
    """Read the tensors of a file.

    Parameters
    ----------
    path : path-like
    map_location : str or device, optional
        Where the tensors are put; on the CPU by default, wherever they were when they were saved.

    Returns
    -------
    dict of str to Tensor, or the container that was saved

    Raises
    ------
    FileFormatError
        If the file is not a safetensors file, is cut short, or contradicts itself.
    """
    with open(path, "rb") as file:
        entries, metadata, start = _read_header(file, os.fspath(path))
        tensors: dict[str, Tensor] = {}
        for entry in entries:
            array = np.empty(entry.shape, _little(entry.dtype))
            file.seek(start + entry.begin)
            if file.readinto(array.reshape(-1).view(np.uint8).data) != entry.end - entry.begin:
                raise _broken(os.fspath(path), f"the data of {entry.name!r} is cut short")
            if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
                raise _broken(os.fspath(path), f"{entry.name!r} has truth values other than 0, 1")
            value = asarray(array.astype(entry.dtype.numpy, copy=False), device="cpu")
            tensors[entry.name] = value if map_location is None else value.to(map_location)
    structure = metadata.get(_STRUCTURE)
    if structure is None:
        return tensors
    try:
        return _decode(json.loads(structure), tensors, 0)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _broken(os.fspath(path), f"its structure cannot be read: {error}") from None


def load_metadata(path: PathLike) -> dict[str, str]:
    """Read the texts that were saved with the tensors.

    Examples
    --------
    >>> import os, tempfile
    >>> import fusegrad as fg
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> fg.save({"weight": fg.ones(3)}, path, metadata={"epoch": "7"})
    >>> load_metadata(path)
    {'epoch': '7'}
    """
    with open(path, "rb") as file:
        _, metadata, _ = _read_header(file, os.fspath(path))
    return {name: text for name, text in metadata.items() if name != _STRUCTURE}


def _broken(path: str, why: str) -> FileFormatError:
    return FileFormatError(
        f"{path} is not a whole safetensors file: {why}",
        remedy="write files with fg.save, and copy them whole",
    )


def _read_header(file: BufferedReader, path: str) -> tuple[list[_Entry], dict[str, str], int]:
    size = os.fstat(file.fileno()).st_size
    first = file.read(8)
    if len(first) < 8:
        raise _broken(path, f"it has {len(first)} bytes only")
    length = int.from_bytes(first, "little")
    if length > min(_MAX_HEADER, size - 8):
        raise _broken(path, f"a header of {length} bytes does not fit into it")
    text = file.read(length)
    if not text.startswith(b"{"):
        raise _broken(path, "its header is not JSON")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not JSON: {error}") from None
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _broken(path, "its metadata are not texts")
    try:
        entries = [_entry(name, fields) for name, fields in header.items()]
    except (ValueError, TypeError, KeyError) as error:
        raise _broken(path, str(error)) from None
    # The tensors fill the data from begin to end, each byte once.
    position = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != position:
            kind = "overlaps another tensor" if entry.begin < position else "follows a gap"
            raise _broken(path, f"the data of {entry.name!r} {kind}")
        position = entry.end
    if position != size - 8 - length:
        raise _broken(path, f"it has {size - 8 - length} bytes of data and names {position}")
    return entries, metadata, 8 + length


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OptionError("a name appears twice")
    return found


def _entry(name: str, fields: Any) -> _Entry:
    """Check one line of the header."""
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise OptionError(f"{name!r} has not exactly dtype, shape and data_offsets")
    dtype = _DTYPES.get(fields["dtype"]) if isinstance(fields["dtype"], str) else None
    if dtype is None:
        known = ", ".join(_DTYPES)
        raise OptionError(f"{name!r} has dtype {fields['dtype']!r}; known are {known}")
    shape, offsets = fields["shape"], fields["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(
            type(number) is int and 0 <= number < 2**63 for number in numbers
        ):
            raise OptionError(f"{name!r} has a shape or offsets that are no sizes")
    if len(offsets) != 2:
        raise OptionError(f"{name!r} needs 2 offsets, not {len(offsets)}")
    begin, end = offsets
    # NumPy counts elements as if no extent were 0, and has 64 axes at most.
    possible = math.prod(filter(None, shape)) * dtype.itemsize < 2**63 and len(shape) <= 64
    if end - begin != math.prod(shape) * dtype.itemsize or not possible:
        raise OptionError(
            f"{name!r} of shape {tuple(shape)} and dtype {fields['dtype']} does not have "
            f"{end - begin} bytes"
        )
    return _Entry(name, dtype, tuple(shape), begin, end)


def _decode(node: Any, tensors: Mapping[str, Tensor], depth: int) -> Any:
    """The container that `_encode` described."""
    if depth > _MAX_DEPTH:
        raise OptionError("it is nested too deeply")
    if not isinstance(node, dict):
        raise OptionError(f"{node!r:.40} is no part of a structure")
    ((kind, value),) = node.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "value" and (value is None or isinstance(value, bool | int | float | str)):
        return value
    if kind == "dict":
        return {key: _decode(item, tensors, depth + 1) for key, item in value}
    if kind in ("list", "tuple"):
        items = [_decode(item, tensors, depth + 1) for item in value]
        return tuple(items) if kind == "tuple" else items
    raise OptionError(f"{kind!r} is no part of a structure")
