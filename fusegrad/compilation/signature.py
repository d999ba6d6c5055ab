"""The signature of a call: which of its arguments are inputs of the program, and of what type.

Knows arrays, tensors and Python numbers; knows no graphs.

Arrays, tensors, ``float`` and ``int`` are inputs: their values may change from call to call.
``bool``, ``str``, ``None`` and everything else are part of the signature, compared by value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, final

import numpy as np

from .. import pytree
from ..codegen.dtypes import DType, as_dtype, float64, int64
from ..errors import ArgumentStructureError, DTypeError
from ..runtime.devices import use
from ..state import fingerprint
from ..tensors.placement import device_of_cell
from ..tensors.tensor_class import Tensor
from .layout import Layout, layout_of

__all__ = [
    "Leaf",
    "Parameters",
    "Scalar",
    "describe_leaf",
    "difference",
    "frozen_key",
    "is_foreign",
    "leaf_key",
    "signature_of",
]


@final
class Scalar:
    """A Python number that is an input: its dtype in the program."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype


FLOAT, INT = Scalar(float64), Scalar(int64)
Leaf = Hashable


def leaf_key(value: Any) -> Leaf:
    """The part of the signature that one argument is.

    Examples
    --------
    >>> leaf_key(1.5) == leaf_key(2.5), leaf_key(True) == leaf_key(False)
    (True, False)
    """
    kind = type(value)
    if kind is np.ndarray:
        layout = layout_of(value)
        return (value.dtype, value.shape) if layout is None else (value.dtype, layout)
    if kind is float:
        return FLOAT
    if kind is int:
        return INT
    if isinstance(value, Tensor):
        has_grad = value.requires_grad and value._grad is not None
        leaf = value._leaf or not value.requires_grad
        device = device_of_cell(value) if use.on else ""
        place = "" if device == "cpu" else device
        return value._type, value.requires_grad, value._weak, has_grad, leaf, place
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype, value.shape
    return "static", fingerprint(value)


def frozen_key(value: Any) -> Leaf:
    """The part of the signature that an argument is whose value counts."""
    key = leaf_key(value)
    return (type(value), value) if key in (FLOAT, INT) else key


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """The parameters of a function, None where Python cannot say."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


@final
class Parameters:
    """The parameters of a function, and which of them are part of the signature.

    Parameters
    ----------
    function : callable
    static : collection of str
        The names of those whose values are.
    """

    def __init__(self, function: Callable[..., Any], static: Collection[str]) -> None:
        self.function = function
        self.static = static
        self.signature = signature_of(function)
        found = () if self.signature is None else self.signature.parameters.items()
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self.positional = [n for n, p in found if p.kind in kinds]

    def names(self, structure: pytree.Structure, keywords: bool) -> list[str]:
        """The path of every leaf, by the names of the parameters."""
        if keywords:
            return list(pytree.paths(structure))
        # Parameters with defaults may have no argument, and *args more than one.
        count = len(structure.children)
        rest = (f"args[{i}]" for i in range(count - len(self.positional)))
        return list(pytree.paths(structure, [*self.positional, *rest][:count]))

    def mask(self, structure: pytree.Structure, keywords: bool) -> list[bool]:
        """For every leaf whether its value is part of the signature."""
        if not self.static:
            return [False] * len(pytree.paths(structure))
        names = self.names(structure, keywords)
        result = []
        for path in names:
            root = path
            if keywords and path.startswith("[0]["):
                number = int(path[4 : path.index("]", 4)])
                root = self.positional[number] if number < len(self.positional) else path
            elif keywords and path.startswith("[1]["):
                root = path[4:].split("]")[0].strip("'\"")
            result.append(root.split("[")[0].split(".")[0] in self.static)
        return result

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise the error that calling the function with these arguments would raise."""
        if self.signature is None:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(self.function, "__name__", "function")
            shown = signature_of(getattr(self.function, "__wrapped__", self.function))
            raise ArgumentStructureError(
                f"{name}{shown}: {error}",
                remedy="pass the arguments that the function takes",
            ) from None


def is_foreign(value: Any) -> bool:
    """Whether `value` is an array of another library than NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> is_foreign(np.ones(2)), is_foreign(2.0)
    (False, False)
    """
    return hasattr(type(value), "__dlpack__") and not isinstance(
        value, (Tensor, np.ndarray, np.generic)
    )


def check_array(name: str, value: Any) -> None:
    """Raise DTypeError when there is no such dtype."""
    try:
        as_dtype(value.dtype)
    except TypeError as error:
        raise DTypeError(
            f"argument `{name}` has dtype {value.dtype}, which fusegrad does not have",
            remedy='convert it first, for example x.astype("float32")',
        ) from error


def describe_leaf(key: Leaf) -> str:
    """A part of a signature in words."""
    if key is FLOAT:
        return "a float"
    if key is INT:
        return "an int"
    if isinstance(key, tuple) and key and isinstance(key[0], np.dtype):
        if isinstance(key[1], Layout):
            return f"{key[0]}{list(key[1].shape)}, a view"
        return f"{key[0]}{list(key[1])}"
    if isinstance(key, tuple) and key and key[0] == "static":
        value = key[1]
        return repr(value[1]) if isinstance(value, tuple) and len(value) > 1 else repr(value)
    if isinstance(key, tuple):
        grad = ", requires_grad" if key[1] else ""
        result = "" if key[4] else ", a result"
        place = f" on {key[5]}" if key[5] else ""
        return f"tensor {key[0]}{place}{grad}{', with a gradient' if key[3] else ''}{result}"
    return repr(key)


def difference(names: Sequence[str], old: Sequence[Leaf], new: Sequence[Leaf]) -> str | None:
    """The first argument whose part of the signature differs, in words."""
    for name, a, b in zip(names, old, new, strict=False):
        if a != b:
            return f"argument `{name}` was {describe_leaf(a)} and is {describe_leaf(b)}"
    return None
