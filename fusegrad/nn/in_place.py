"""torch's argument `inplace`: the input takes the result.

User-level code over the public operations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..errors import DTypeError
from ..tensors.tensor_class import Tensor
from .module import Module

__all__ = ["InPlaceModule", "may_replace"]


def may_replace(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` with one more argument, the last: `inplace`, whether its input takes the result.

    Memory is planned by the compiler in any case; this only changes what the input's name means
    afterwards, as in torch.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> x = fg.asarray([-1.0, 2.0])
    >>> F.relu(x, inplace=True) is x, x
    (True, Tensor([0., 2.]))
    """
    signature = inspect.signature(function)
    count = len(signature.parameters)

    @functools.wraps(function)
    def call(input: Any, *args: Any, inplace: bool = False, **kwargs: Any) -> Tensor:
        if len(args) == count:
            *args, inplace = args  # type: ignore[assignment]
        if not inplace:
            return function(input, *args, **kwargs)
        if not isinstance(input, Tensor):
            raise DTypeError(
                f"{function.__name__} in place of a {type(input).__name__}",
                remedy="pass a Tensor, or leave inplace=False",
            )
        return input.copy_(function(input, *args, **kwargs))

    option = inspect.Parameter(
        "inplace", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False, annotation=bool
    )
    call.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), option]
    )
    return call


class InPlaceModule(Module):
    """A module whose function may replace its input.

    Parameters
    ----------
    inplace : bool, optional
        Whether the input takes the result.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""

    def _described(self, text: str) -> str:
        return f"{text}, inplace=True" if self.inplace else text
