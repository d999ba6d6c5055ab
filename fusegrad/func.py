"""Transformations of functions, under the names of torch.func.

Knows modules only to call them with other parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import StateError
from .nn import Module
from .tensors.tensor_class import Tensor, as_tensor
from .transforms.forward_mode import jvp, linearize
from .transforms.gradients import grad, value_and_grad, vjp
from .transforms.jacobians import hessian, jacfwd, jacrev
from .transforms.vectorized import vmap

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "vjp",
    "vmap",
]


def grad_and_value(
    func: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """As `fusegrad.value_and_grad`, the gradient first.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.func.grad_and_value(lambda x: x * x)(3.0)
    (Tensor(6.), Tensor(9.))
    """
    both = value_and_grad(func, argnums, has_aux)

    def swapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return gradient, value

    return swapped


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Call a module with other parameters and buffers than its own.

    Parameters
    ----------
    module : Module
    parameter_and_buffer_dicts : dict of str to Tensor, or sequence of such dicts
        By the names of ``module.named_parameters()`` and ``named_buffers()``; what is not named
        stays the module's own.
    args : tuple, or one argument
    kwargs : dict, optional

    Returns
    -------
    object
        What the module returned. It is left as it was, but for buffers that it writes itself.

    Examples
    --------
    >>> import fusegrad as fg
    >>> layer = fg.nn.Linear(2, 1, bias=False)
    >>> fg.func.functional_call(layer, {"weight": fg.ones((1, 2))}, fg.ones(2))
    Tensor([2.])
    """
    given = parameter_and_buffer_dicts
    dicts = [given] if isinstance(given, Mapping) else list(given)
    places: list[tuple[dict[str, Any], str, Any]] = []
    values: list[Tensor] = []
    for name, value in (item for one in dicts for item in one.items()):
        path, _, last = name.rpartition(".")
        owner = module.get_submodule(path)
        tables = (vars(owner)["_parameters"], vars(owner)["_buffers"])
        table = next((table for table in tables if last in table), None)
        if table is None:
            raise StateError(
                f"functional_call: the module has no parameter or buffer {name!r}",
                remedy="use the names of module.named_parameters() and named_buffers()",
            )
        places.append((table, last, table[last]))
        values.append(as_tensor(value))
    try:
        for (table, name, _), tensor in zip(places, values, strict=True):
            table[name] = tensor
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for table, name, before in reversed(places):
            table[name] = before
