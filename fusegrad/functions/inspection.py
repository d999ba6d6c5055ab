"""What this installation offers, as the array API asks for it: dtypes, devices, capabilities.

Knows the list of dtypes, and the devices of `tensor_conversions`.
"""

from __future__ import annotations

from typing import Any, final

from ..codegen.dtypes import ALL, DType, float32, int64
from ..tensors.tensor_conversions import DEVICES, check_device
from .data_types import isdtype

__all__ = ["Info", "__array_namespace_info__"]

_STANDARD = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_NAMES = (*_STANDARD, "float32", "float64")


@final
class Info:
    """Answers about the namespace; one is returned by ``fg.__array_namespace_info__()``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> info = fg.__array_namespace_info__()
    >>> info.default_dtypes()["integral"], sorted(info.dtypes(kind="real floating"))
    (fusegrad.int64, ['float32', 'float64'])
    """

    def capabilities(self) -> dict[str, Any]:
        """What depends on the library: boolean indices, shapes that depend on data, axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Where tensors are made if nothing is said."""
        return DEVICES[0]

    def devices(self) -> list[str]:
        """The names that ``device=`` takes."""
        return list(DEVICES)

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes that are chosen if nothing is said, by kind."""
        check_device(device)
        return {"real floating": float32, "integral": int64, "indexing": int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The dtypes of the standard by name, all or those of a kind or of a tuple of kinds."""
        check_device(device)
        named = {dtype.name: dtype for dtype in ALL if dtype.name in _NAMES}
        if kind is None:
            return named
        return {name: dtype for name, dtype in named.items() if isdtype(dtype, kind)}


def __array_namespace_info__() -> Info:
    """Inspection of the namespace: its dtypes, devices and capabilities.

    Returns
    -------
    Info

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.__array_namespace_info__().devices()
    ['cpu']
    """
    return Info()
