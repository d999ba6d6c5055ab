"""What this installation offers, as the array API asks for it: dtypes, devices, capabilities.

Knows the list of dtypes, and the devices.
"""

from __future__ import annotations

from typing import Any, final

from ..codegen.dtypes import ALL, DType, float32, int64
from ..errors import OptionError
from ..runtime.devices import products
from ..tensors.context import active
from ..tensors.device import CPU, check_device, device, known_devices, named_device
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from .data_types import isdtype

__all__ = [
    "Info",
    "__array_namespace_info__",
    "get_default_device",
    "get_default_dtype",
    "get_float32_matmul_precision",
    "is_floating_point",
    "is_tensor",
    "numel",
    "set_default_device",
    "set_float32_matmul_precision",
]

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

    def default_device(self) -> device:
        """Where tensors are made if nothing is said."""
        return get_default_device()

    def devices(self) -> list[device]:
        """The names that ``device=`` takes."""
        return list(known_devices())

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
    [device('cpu')]
    """
    return Info()


def get_default_device() -> device:
    """Where tensors are made if nothing is said.

    Returns
    -------
    device

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.get_default_device()
    device('cpu')
    """
    return device(active.devices[-1]) if active.devices else CPU


def set_default_device(device: Any) -> None:
    """Put new tensors of this thread on a device if nothing is said.

    Parameters
    ----------
    device : str, device or None
        None is the CPU.

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.set_default_device("cuda")
    ...     fg.ones(3).device
    ...     fg.set_default_device(None)
    device('cuda:0')
    """
    found = named_device(device)
    active.devices[:] = [] if found is None else [str(found)]


def get_float32_matmul_precision() -> str:
    """How exactly a GPU multiplies matrices of float32, as `set_float32_matmul_precision` said.

    Returns
    -------
    str

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.get_float32_matmul_precision()
    'highest'
    """
    return "high" if products.tf32 else "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Say how exactly a GPU multiplies matrices of float32; the CPU always does it in float32.

    Parameters
    ----------
    precision : str
        ``"highest"``: in float32, which is the default. ``"high"`` (``"medium"`` too): the factors
        are rounded to the 10 bits of tf32 and their sums kept in float32, on tensor cores.

    Raises
    ------
    OptionError
        For any other word.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.set_float32_matmul_precision("high")
    >>> fg.get_float32_matmul_precision()
    'high'
    >>> fg.set_float32_matmul_precision("highest")
    """
    if precision not in ("highest", "high", "medium"):
        raise OptionError(
            f"there is no precision {precision!r} of products",
            remedy="choose 'highest' (float32), or 'high' (tf32)",
        )
    products.tf32 = precision != "highest"


def is_tensor(obj: Any) -> bool:
    """Whether something is a Tensor.

    Parameters
    ----------
    obj : object

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.is_tensor(fg.zeros(2)), fg.is_tensor([0.0, 0.0])
    (True, False)
    """
    return isinstance(obj, Tensor)


def is_floating_point(x: ArrayLike) -> bool:
    """Whether the elements are floating numbers.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.is_floating_point(fg.arange(3))
    False
    """
    return as_tensor(x).dtype.is_float


def numel(x: ArrayLike) -> int:
    """The number of elements.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    int

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.numel(fg.zeros(2, 3))
    6
    """
    return int(as_tensor(x).size)


def get_default_dtype() -> DType:
    """The dtype of floats if nothing is said: float32.

    Returns
    -------
    DType

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.get_default_dtype()
    fusegrad.float32
    """
    return float32
