"""``device=`` of layers: their parameters and buffers are made there.

Knows the default device of a thread, and nothing of layers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ..tensors.device import device as Device

__all__ = ["takes_device"]

LayerT = TypeVar("LayerT")


def takes_device(layer: type[LayerT]) -> type[LayerT]:
    """Let the constructor of a layer take ``device``, a keyword."""
    make: Callable[..., None] = layer.__init__

    @functools.wraps(make)
    def construct(self: Any, *args: Any, device: Any = None, **options: Any) -> None:
        if device is None:
            make(self, *args, **options)
            return
        with Device(device):
            make(self, *args, **options)

    signature = inspect.signature(make)
    argument = inspect.Parameter("device", inspect.Parameter.KEYWORD_ONLY, default=None)
    kinds = list(signature.parameters.values())
    last = kinds.pop() if kinds[-1].kind is inspect.Parameter.VAR_KEYWORD else None
    names = [*kinds, argument, *([last] if last else [])]
    construct.__signature__ = signature.replace(parameters=names)  # type: ignore[attr-defined]
    layer.__init__ = construct  # type: ignore[method-assign]
    return layer
