"""`grad` and `backward` of tensors that were recorded, as in torch.

Knows tensors by their nodes; the adjoint pass does the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..batching import batch
from ..errors import ArgumentStructureError, GradientError
from ..ir.node import Node, set_recording
from ..ops import build
from ..ops.batch import with_batch
from ..semantics.shapes import show
from ..tensors.leaves import gradients
from ..tensors.tensor_class import Tensor, as_tensor, made
from ..transforms.variables import result_of

__all__ = ["backward", "grad"]

Tensors = Tensor | Sequence[Tensor]


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of recorded tensors by others they were computed from.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        They require gradients.
    inputs : Tensor or sequence of Tensor
        Variables, or results in between.
    grad_outputs : array_like, None or sequence of them, optional
        The weights of the elements of each output; needed unless it has one element.
    retain_graph : bool, optional
        Without effect: the graph lives as long as a tensor that was computed with it.
    create_graph : bool, optional
        Whether the gradients can be differentiated again.
    allow_unused : bool, optional
        Whether an input may have no effect: its gradient is None. By default what
        `materialize_grads` is.
    is_grads_batched : bool, optional
        Whether the weights, and so the gradients, have a batch as axis 0.
    materialize_grads : bool, optional
        Zeros in place of None.

    Returns
    -------
    tuple of (Tensor or None)
        One for each input. They are not added to ``.grad``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.asarray([1.0, 2.0], requires_grad=True)
    >>> fg.autograd.grad((x**3).sum(), x)
    (Tensor([ 3., 12.]),)
    """
    results, wanted = _tuple(outputs), _tuple(inputs)
    seeds = _tuple(grad_outputs) if grad_outputs is not None else (None,) * len(results)
    if len(seeds) != len(results):
        raise ArgumentStructureError(
            f"autograd.grad: {len(seeds)} grad_outputs for {len(results)} outputs",
            remedy="pass one for each output",
        )
    for number, tensor in enumerate(wanted):
        if not tensor.requires_grad:
            raise GradientError(
                f"autograd.grad by input {number}, which does not require a gradient",
                remedy="call requires_grad_() on it before computing with it",
            )
    before = set_recording(True)
    try:
        nodes = [_output(tensor, number) for number, tensor in enumerate(results)]
        given = [
            _seed(node, seed, is_grads_batched) for node, seed in zip(nodes, seeds, strict=True)
        ]
        found = _derived(nodes, given, wanted, is_grads_batched)
        unused = materialize_grads if allow_unused is None else allow_unused
        answer: list[Tensor | None] = []
        for number, (node, tensor) in enumerate(zip(found, wanted, strict=True)):
            if node is None and not unused:
                raise GradientError(
                    f"autograd.grad: the outputs do not depend on input {number}",
                    remedy="pass allow_unused=True for None, or materialize_grads=True for zeros",
                )
            if node is None:
                zeros = build.zeros_like(tensor._read())
                answer.append(made(zeros) if materialize_grads else None)
                continue
            answer.append(result_of(node) if create_graph else made(build.stop_gradient(node)))
        return tuple(answer)
    finally:
        set_recording(before)


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradients of tensors to ``.grad`` of every variable they depend on.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
    grad_tensors : array_like, None or sequence of them, optional
        The weights of the elements of each; needed unless it has one element.
    retain_graph : bool, optional
        Without effect.
    create_graph : bool, optional
        Whether the gradients can be differentiated again.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.asarray([1.0, 2.0], requires_grad=True)
    >>> fg.autograd.backward([x.sum(), x * x], [None, fg.ones(2)])
    >>> x.grad
    Tensor([3., 5.])
    """
    results = _tuple(tensors)
    seeds = _tuple(grad_tensors) if grad_tensors is not None else (None,) * len(results)
    for tensor, seed in zip(results, seeds, strict=True):
        tensor.backward(seed, retain_graph, create_graph)


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _output(tensor: Tensor, number: int) -> Node:
    if not tensor.requires_grad:
        raise GradientError(
            f"autograd.grad of output {number}, which does not depend on anything that requires a "
            "gradient",
            remedy="call requires_grad_() on the variables before computing with them, outside of "
            "fg.no_grad()",
        )
    return tensor._read()


def _seed(node: Node, seed: Any, batched: bool) -> Node:
    if seed is None:
        if node.tensor_type.size != 1 or batched:
            raise GradientError(
                f"autograd.grad of a tensor of shape {show(node.shape)} without a seed: "
                "a gradient is that of a scalar",
                remedy="reduce it first, or pass the weights of its elements as grad_outputs",
            )
        return build.ones_like(node)
    given = as_tensor(seed)
    shape = given.shape[1:] if batched else given.shape
    if shape != node.shape or (batched and not given.shape):
        raise GradientError(
            f"autograd.grad of a tensor of shape {show(node.shape)} with a seed of shape "
            f"{show(given.shape)}",
            remedy="the seed has the shape of the tensor",
        )
    return build.cast(given._read(), node.dtype)


def _derived(
    nodes: Sequence[Node], seeds: Sequence[Node], inputs: Sequence[Tensor], batched: bool
) -> list[Node | None]:
    wrt = [tensor._read() for tensor in inputs]
    if not batched:
        return gradients(nodes, seeds, wrt)
    stand_ins = [build.input_(node.tensor_type) for node in nodes]
    found = gradients(nodes, stand_ins, wrt)
    known = [node for node in found if node is not None]
    rows = batch(known, dict(zip(stand_ins, seeds, strict=True)))
    extent = seeds[0].shape[0]
    whole = iter([node if own else with_batch(node, extent) for node, own in rows])
    return [None if node is None else next(whole) for node in found]
