"""Values of recorded graphs outside of compiled functions: when they are computed, and for whom.

Knows nodes and storages; of tensors only that they wait for a value.

When somebody looks at a value, everything that is recorded and still wanted in the thread is
computed with it, so that a forward pass, its gradients and an update share their work as they would
if every operation ran at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import LeakedTracerError, TracedValueError, user_frame
from ..ir.halves import meaning
from ..ir.interpret import evaluate
from ..ir.node import Node, set_recording, substitute, toposort, where
from ..ir.types import TensorType
from ..ops import build
from ..ops.identities import Transfer
from ..ops.source import Input
from ..runtime.device_step import load_device_step
from ..runtime.devices import use
from .context import Cell, Token, active
from .placement import device_of, gpu_of, placed
from .storage import DeviceStorage, Storage

__all__ = [
    "LIMIT",
    "check_leak",
    "compute",
    "hold",
    "known_value",
    "remember",
    "settle",
    "traced_input",
    "wait",
]

LIMIT = 10_000
"""How many recorded results may wait before they are computed unasked."""
_LIMIT_BYTES = 1 << 26
"""How large they may be together: what waits holds the memory of its operands."""

# Values of nodes that recorded graphs may ask for again. An entry lives as long as its node.
_known: weakref.WeakKeyDictionary[Node, Storage] = weakref.WeakKeyDictionary()


def token_of(node: Node) -> Token | None:
    """What a variable stands for; None for other nodes."""
    token = node.op.token if isinstance(node.op, Input) else None
    return token if isinstance(token, Token) else None


def remember(node: Node, storage: Storage) -> None:
    """Note the value of a node that was computed elsewhere."""
    _known[node] = storage


def _needed(outputs: Iterable[Node]) -> list[Node]:
    """The leaves of a graph: inputs, and nodes whose values are known."""
    leaves: list[Node] = []
    seen: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node.op, Input) or node in _known:
            leaves.append(node)
        else:
            stack.extend(node.inputs)
    return leaves


def traced_input(node: Node) -> Token | None:
    """A variable of a trace that the value of `node` depends on, None if it depends on none."""
    for leaf in _needed([node]):
        token = token_of(leaf)
        if token is not None and token.storage is None and leaf not in _known:
            return token
    return None


def check_leak(node: Node) -> None:
    """Raise LeakedTracerError if the value of `node` existed in a trace only."""
    token = traced_input(node)
    if token is not None:
        if token.trace is None:
            raise traced_error(node, "this line", None, token)
        origin = where(node)
        made = f", recorded at {origin}," if origin is not None else ""
        raise LeakedTracerError(
            f"a value{made} is used outside of the compiled function that it belongs to"
        )


def check_value(node: Node, what: str, remedy: str | None) -> None:
    """Raise TracedValueError if the value of `node` will exist only when a program runs."""
    token = traced_input(node)
    if token is not None:
        raise traced_error(node, what, remedy, token)


def traced_error(
    node: Node, what: str, remedy: str | None, token: Token | None
) -> TracedValueError:
    """The error for looking at a traced value: what was asked for, and where the value is from."""
    origin = where(node)
    message = f"{what} needs a value that does not exist while the function is traced"
    if token is not None and token.label:
        message += f"\n  the value depends on {token.label}"
    if origin is not None and origin != user_frame() and not isinstance(node.op, Input):
        text = origin.text
        message += f"\n  it is recorded at {origin}" + (f": {text}" if text else "")
    return TracedValueError(message, remedy=remedy)


# --- computing ------------------------------------------------------------------------------------


def wait(tensor: Cell) -> None:
    """Enter a tensor among those that wait for a value; compute the others if they are many.

    The last one waits in any case: it may be moved to another device, and is computed there then.
    It waits for nothing when running op by op, or if it reads shared memory, which may change.
    Among variables without values nothing waits.
    """
    if active.abstract:
        return
    if active.eager or active.at_once:
        read, active.at_once = active.at_once, []
        compute((tensor,))
        if tensor.requires_grad:
            for token in read:
                _keep(token)
        return
    node, own = tensor._node, tensor._type.nbytes
    many = len(active.pending) >= LIMIT or active.pending_bytes + own > _LIMIT_BYTES
    # What is moved was entered just before.
    if many and not (node is not None and isinstance(node.op, Transfer)):
        settle(None)
    active.pending.append(weakref.ref(tensor))
    active.pending_bytes += own


def _keep(token: Token) -> None:
    """Copy memory that others may change, for a gradient that needs its present values."""
    assert token.storage is not None
    token.storage = token.storage.owned()


def settle(tensor: Cell | None) -> None:
    """Compute the value of `tensor`, and of all others that wait in this thread."""
    waiting = [found for ref in active.pending if (found := ref()) is not None]
    active.pending, active.pending_bytes = [], 0
    if tensor is not None:
        waiting.append(tensor)
    try:
        compute(waiting)
    except BaseException as error:
        active.pending = [weakref.ref(found) for found in waiting if found is not tensor]
        if tensor is None or not isinstance(error, Exception):
            raise
        # What failed may be another one: nobody asked for that.
        compute((tensor,))


def compute(tensors: Iterable[Cell]) -> None:
    """Give a value to every tensor of `tensors` that has none."""
    wanted: dict[Node, list[Cell]] = {}
    for tensor in tensors:
        node = tensor._node
        if tensor._storage is None and node is not None and tensor._trace is None:
            wanted.setdefault(node, []).append(tensor)
    if not wanted:
        return
    for node, storage in zip(wanted, values(list(wanted)), strict=True):
        for tensor in wanted[node]:
            if not storage.remote:
                tensor._settle(node, storage)
            elif tensor._node is node and (tensor._leaf or not tensor.requires_grad):
                hold(tensor, storage)


def hold(tensor: Cell, storage: Storage) -> None:
    """Let `storage` be the value of a tensor.

    One on a GPU is a variable of a graph: what looks for memory of the host finds none.
    """
    if not storage.remote:
        tensor._storage, tensor._node = storage, None
        return
    node = tensor._node
    if node is not None and token_of(node) is not None and known_value(node) is storage:
        return
    before = set_recording(False)
    try:
        tensor._storage, tensor._node = None, build.input_(storage.type, Token(storage, tensor))
    finally:
        set_recording(before)


def known_value(node: Node) -> Storage | None:
    """The value of a variable, or of a node that was computed; None if it is not there yet."""
    token = token_of(node)
    found = None if token is None else token.storage
    return _known.get(node) if found is None else found


def values(nodes: list[Node]) -> list[Storage]:
    """The values of nodes, none of which depends on a trace."""
    if use.on:
        return _values_where_they_are(nodes)
    if len(nodes) == 1 and (storage := _at_once(nodes[0])) is not None:
        return [storage]
    return _on_host(nodes)


def _found(nodes: Sequence[Node]) -> dict[Node, Storage]:
    """The leaves of a graph with their values."""
    found: dict[Node, Storage] = {}
    for leaf in _needed(nodes):
        storage = known_value(leaf)
        if storage is None:
            check_leak(leaf)
            raise AssertionError(leaf)
        found[leaf] = storage
    return found


def _on_host(nodes: Sequence[Node]) -> list[Storage]:
    found = _found(nodes)
    environment = {leaf: storage.array for leaf, storage in found.items()}
    rest = [node for node in nodes if node not in found]
    for node, array in zip(rest, evaluate(rest, environment), strict=True):
        # The result may be a view of an operand, and its memory is not aligned.
        storage = Storage.copy_of(array)
        found[node] = _known[node] = storage
    return [placed(found[node], "cpu").owned() for node in nodes]


# --- on several devices ---------------------------------------------------------------------------


def _values_where_they_are(nodes: Sequence[Node]) -> list[Storage]:
    """The values of nodes, each computed on its device, and what is transferred in between."""
    for node in toposort(nodes, _known):
        if isinstance(node.op, Transfer) and node not in _known:
            (operand,) = node.inputs
            target = node.op.target
            (value,) = _on(device_of([operand]) or target, [operand])
            _known[node] = placed(value, target)
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(device_of([node]) or "cpu", []).append(node)
    found: dict[Node, Storage] = {}
    for device, group in groups.items():
        found.update(zip(group, _on(device, group), strict=True))
    return [found[node] for node in nodes]


def _on(device: str, nodes: Sequence[Node]) -> list[Storage]:
    """The values of nodes on a device."""
    if device == "cpu":
        return _on_host(nodes)
    found = _found(nodes)
    rest = list(dict.fromkeys(node for node in nodes if node not in found))
    if rest:
        leaves = _found(rest)
        before = set_recording(False)
        variables = {leaf: build.input_(leaf.tensor_type, Token()) for leaf in leaves}
        outputs = substitute(rest, variables)
        set_recording(before)
        gpu = gpu_of(device)
        step, _ = load_device_step(gpu, outputs, list(variables.values()), (), {})
        there = [placed(storage, device) for storage in leaves.values()]
        unique = {p: n for n, p in zip(outputs, step.record.outputs, strict=True)}
        made = [DeviceStorage(unique[p].tensor_type, gpu) for p in range(len(unique))]
        step([storage.address for storage in (*there, *made)])
        for node, position in zip(rest, step.record.outputs, strict=True):
            found[node] = made[position]
            # What may be anywhere is not looked for here by others.
            if device_of([node]) == device:
                _known[node] = made[position]
    return [placed(found[node], device) for node in nodes]


def _at_once(node: Node) -> Storage | None:
    """The value of an operation on known operands, which is all that runs when running op by op."""
    arrays = []
    for operand in node.inputs:
        storage = _known.get(operand)
        if storage is None:
            token = token_of(operand)
            storage = None if token is None else token.storage
            if storage is None:
                return None
        arrays.append(storage.array)
    if not arrays or not isinstance(node.type, TensorType):
        return None
    with np.errstate(all="ignore"):
        value = meaning(node, arrays)
    storage = _known[node] = Storage.copy_of(np.asarray(value))
    return storage
