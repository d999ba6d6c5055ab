"""Parameters: the tensors that a module learns.

User-level code: a parameter is a Tensor, and a module sees that it is one; nothing else.
"""

from __future__ import annotations

from typing import final

from ..tensors.tensor_class import ArrayLike, Tensor

__all__ = ["Parameter"]


@final
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
