"""Parameters: the tensors that a module learns.

User-level code: a parameter is a Tensor, and a module sees that it is one; nothing else.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ..functions.creation import zeros
from ..tensors.tensor_class import ArrayLike, Tensor

__all__ = ["Parameter", "UninitializedParameter", "when_known"]


class Parameter(Tensor):
    """A tensor that belongs to the parameters of the module that it is an attribute of.

    Parameters
    ----------
    data : array_like
        The first value, copied.
    requires_grad : bool, optional
        Whether `backward` collects its gradient.

    Examples
    --------
    >>> from fusegrad import nn
    >>> model = nn.Module()
    >>> model.scale = nn.Parameter([1.0, 2.0])
    >>> [name for name, _ in model.named_parameters()]
    ['scale']
    """

    def __init__(self, data: ArrayLike, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad)


# By the identity of a parameter, since tensors compare element by element.
_waiting: dict[int, list[Callable[[], None]]] = {}


class UninitializedParameter(Parameter):
    """A parameter whose shape is known with the first input of its layer.

    Until then it has no elements; then it is an ordinary `Parameter`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> layer = nn.LazyLinear(3)
    >>> weight = layer.weight
    >>> type(weight).__name__, layer(fg.ones(2, 4)).shape, type(weight).__name__, weight.shape
    ('UninitializedParameter', (2, 3), 'Parameter', (3, 4))
    """

    def __init__(self) -> None:
        super().__init__(zeros(0))
        weakref.finalize(self, _waiting.pop, id(self), None)

    def _become(self, parameter: Parameter) -> None:
        self.__class__ = Parameter  # type: ignore[assignment]
        self.data = parameter
        for call in _waiting.pop(id(self), []):
            call()


def when_known(parameter: Any, call: Callable[[], None]) -> bool:
    """Whether the shape of a parameter is known; if not, `call` is called when it is.

    Examples
    --------
    >>> from fusegrad import nn
    >>> when_known(nn.Linear(2, 3).weight, print)
    True
    """
    if not isinstance(parameter, UninitializedParameter):
        return True
    _waiting.setdefault(id(parameter), []).append(call)
    return False
