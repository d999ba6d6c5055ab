"""On which device recorded values are: that of what their graph is made of.

A device belongs to a program, not to a type.

Knows nodes, tokens and storages; of tensors only their fields. Constants are on no device, and go
where what they meet is; so do numbers (tensors without axes) of the CPU, and what wanders.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence

from ..errors import CaptureError, DeviceError
from ..ir.node import Node, toposort, where
from ..ops import build
from ..ops.identities import Transfer
from ..ops.source import Input
from ..runtime.devices import GPU, find, use
from .context import Cell, Token
from .storage import DeviceStorage, Storage

__all__ = [
    "bring_home",
    "check_together",
    "device_of",
    "device_of_cell",
    "gpu_of",
    "moved_in_trace",
    "placed",
    "together",
    "wander",
    "wanders",
]

# By identity: tensors compare element by element.
_WANDERING: weakref.WeakValueDictionary[int, Cell] = weakref.WeakValueDictionary()

# What is known of nodes: the name of a device, or "" for none.
_known: weakref.WeakKeyDictionary[Node, str] = weakref.WeakKeyDictionary()


def wander(tensor: Cell) -> None:
    """Let a number that programs count with be where it was needed last."""
    _WANDERING[id(tensor)] = tensor


def wanders(tensor: Cell) -> bool:
    """Whether it is wherever it was needed last."""
    return _WANDERING.get(id(tensor)) is tensor


def bring_home() -> None:
    """Let everything that wanders be on the CPU."""
    for tensor in list(_WANDERING.values()):
        node = tensor._node
        token = node.op.token if node is not None and isinstance(node.op, Input) else None
        if isinstance(token, Token) and isinstance(token.storage, DeviceStorage):
            tensor._storage, tensor._node = token.storage.fetched(), None


def gpu_of(name: str) -> GPU:
    """The GPU with a name."""
    return find(int(name.partition(":")[2]))


def placed(storage: Storage, name: str) -> Storage:
    """The values on a device: `storage` itself if they are there."""
    if name == "cpu":
        return storage.fetched() if isinstance(storage, DeviceStorage) else storage
    gpu = gpu_of(name)
    if isinstance(storage, DeviceStorage) and storage.gpu is gpu:
        return storage
    return DeviceStorage.of(storage, gpu)


def device_of_cell(tensor: Cell) -> str:
    """The device of a tensor for what it meets; "" if it may go along."""
    if wanders(tensor):
        return ""
    storage = tensor._storage
    if storage is not None:
        return "cpu" if tensor._type.shape else ""
    return "" if tensor._node is None else device_of([tensor._node])


def _device_of_input(node: Node) -> str:
    token = node.op.token if isinstance(node.op, Input) else None
    if not isinstance(token, Token):
        return ""
    tensor = None if token.tensor is None else token.tensor()
    if tensor is not None and wanders(tensor):
        return ""
    if token.storage is None:
        return token.device
    if token.storage.remote:
        return token.storage.device
    return "cpu" if node.tensor_type.shape else ""


def device_of(nodes: Iterable[Node]) -> str:
    """The device that nodes are on, "" if they may be on any.

    Raises
    ------
    DeviceError
        If they are on several, or are computed of what is.
    """
    outputs = list(nodes)
    for node in toposort(outputs, _known):
        if node in _known:
            continue
        if isinstance(node.op, Transfer):
            found = node.op.target
        elif isinstance(node.op, Input):
            found = _device_of_input(node)
        else:
            found = _common(node.inputs, node)
        # What a token says may change.
        if not isinstance(node.op, Input):
            _known[node] = found
    return _common(outputs, None)


def _common(nodes: Sequence[Node], user: Node | None) -> str:
    found = ""
    for node in nodes:
        own = _device_of_input(node) if isinstance(node.op, Input) else _known[node]
        if own and found and own != found:
            raise _mixed(found, own, user)
        found = found or own
    return found


def _mixed(first: str, second: str, user: Node | None) -> DeviceError:
    gpu = first if second == "cpu" else second
    return DeviceError(
        f"operands are on different devices: {first} and {second}",
        where=(where(user) if user is not None else None) or ...,
        remedy=f'put them on one, x.to("{gpu}") or x.cpu()',
    )


def together(tensor: Cell, node: Node) -> Node:
    """A new value of a tensor, on the tensor's device.

    Raises
    ------
    DeviceError
        If it is on another one.
    """
    own, other = device_of_cell(tensor), device_of([node])
    if own and other and own != other:
        raise _mixed(own, other, None)
    return build.transfer(node, "", own) if own not in ("", "cpu") and not other else node


def moved_in_trace(node: Node, name: str) -> Node:
    """A value of a compiled function on a device: the one that the function runs on."""
    own = device_of([node])
    if own and own != name:
        raise CaptureError(
            f"a compiled function runs on one device, and a value on {own} goes to {name} in it",
            remedy="move the tensor outside of the function, or return it",
        )
    return node if own or name == "cpu" else build.transfer(node, "", name)


def check_together(node: Node) -> None:
    """Raise DeviceError if a result is computed of what is on different devices."""
    if use.on:
        device_of([node])
