"""Questions about dtypes, and conversions: the data type functions of the array API.

Knows the rules of promotion.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

from ..codegen.dtypes import DType, bfloat16
from ..codegen.records import dataclass
from ..errors import DTypeError
from ..semantics.promotion import as_dtype, kind_of, promote, with_weak
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor

__all__ = [
    "FloatInfo",
    "IntegerInfo",
    "astype",
    "bitcast",
    "can_cast",
    "finfo",
    "iinfo",
    "iscomplexobj",
    "isdtype",
    "isrealobj",
    "result_type",
]

_KINDS = {
    "bool": ("bool",),
    "signed integer": ("int",),
    "unsigned integer": ("uint",),
    "integral": ("int", "uint"),
    "real floating": ("float",),
    "complex floating": (),
    "numeric": ("int", "uint", "float"),
}


@final
@dataclass(frozen=True)
class FloatInfo:
    """The limits of a floating dtype: the smallest and largest finite numbers, and so on."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@final
@dataclass(frozen=True)
class IntegerInfo:
    """The limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def _dtype_of(value: Any) -> DType:
    return as_dtype(value.dtype) if isinstance(value, (Tensor, np.ndarray)) else as_dtype(value)


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating dtype.

    Parameters
    ----------
    type : dtype or Tensor

    Returns
    -------
    FloatInfo

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.finfo("float32").eps
    1.1920928955078125e-07
    """
    dtype = _dtype_of(type)
    if not dtype.is_float:
        raise DTypeError(f"finfo of {dtype}", remedy="take a floating dtype, or use fg.iinfo")
    if dtype is bfloat16:
        # The exponents of float32, eight bits of the significand.
        largest = 2.0**127 * (2 - 2.0**-7)
        return FloatInfo(16, 2.0**-7, largest, -largest, 2.0**-126, dtype)
    info = np.finfo(dtype.numpy)
    return FloatInfo(
        dtype.bits,
        eps=float(info.eps),
        max=float(info.max),
        min=float(info.min),
        smallest_normal=float(info.smallest_normal),
        dtype=dtype,
    )


def iinfo(type: Any, /) -> IntegerInfo:
    """The limits of an integer dtype.

    Parameters
    ----------
    type : dtype or Tensor

    Returns
    -------
    IntegerInfo

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.iinfo("int8").max
    127
    """
    dtype = _dtype_of(type)
    if not dtype.is_integer:
        raise DTypeError(f"iinfo of {dtype}", remedy="take an integer dtype, or use fg.finfo")
    return IntegerInfo(dtype.bits, dtype.highest, dtype.lowest, dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind.

    Parameters
    ----------
    dtype : dtype
    kind : str, dtype, or tuple of them
        ``"bool"``, ``"signed integer"``, ``"unsigned integer"``, ``"integral"``,
        ``"real floating"``, ``"complex floating"`` or ``"numeric"``.

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.isdtype(fg.float32, "numeric")
    True
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return as_dtype(dtype).kind in _KINDS[kind]
    return as_dtype(dtype) is as_dtype(kind)


def iscomplexobj(x: Any) -> bool:
    """Whether values are of a complex type; those of a tensor never are.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.iscomplexobj(fg.ones(3)), fg.iscomplexobj([1j, 2])
    (False, True)
    """
    return not isinstance(x, Tensor) and bool(np.iscomplexobj(x))


def isrealobj(x: Any) -> bool:
    """Whether values are not of a complex type, as those of every tensor.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.isrealobj(fg.ones(3)), fg.isrealobj(2j)
    (True, False)
    """
    return not iscomplexobj(x)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion leads from one dtype to another.

    Parameters
    ----------
    from_ : dtype or Tensor
    to : dtype

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.can_cast(fg.int32, fg.int64), fg.can_cast(fg.float64, fg.float32)
    (True, False)
    """
    start, end = _dtype_of(from_), as_dtype(to)
    kinds = {start.kind, end.kind}
    if kinds == {"int", "uint"} and end.kind == "uint":
        return False
    if kinds == {"int", "uint"} and start.bits >= end.bits:
        return False
    return promote(start, end) is end


def astype(x: ArrayLike, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """The values converted to a dtype.

    Parameters
    ----------
    x : array_like
    dtype : dtype
    copy : bool, optional
        False: the tensor itself if it has the dtype.
    device : str, optional
        ``"cpu"``.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.astype([1.5, -1.5], "int32")
    Tensor([ 1, -1], dtype=int32)
    """
    return as_tensor(x).astype(dtype, copy=copy, device=device)


def bitcast(x: ArrayLike, dtype: Any) -> Tensor:
    """The bits of every element read as another dtype of the same width.

    Parameters
    ----------
    x : array_like
    dtype : dtype

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If the widths differ.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.bitcast([1.0, -0.0], "uint32")
    Tensor([1065353216, 2147483648], dtype=uint32)
    """
    return as_tensor(x).view(as_dtype(dtype))


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that values of all these dtypes are computed in together.

    Parameters
    ----------
    *arrays_and_dtypes : Tensor, dtype or Python number

    Returns
    -------
    DType

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.result_type(fg.int64, fg.float32, 1.0)
    fusegrad.float32
    """
    dtype: DType | None = None
    kinds: list[str] = []
    for item in arrays_and_dtypes:
        if isinstance(item, (bool, int, float)):
            kinds.append(kind_of(item))
            continue
        own = _dtype_of(item)
        dtype = own if dtype is None else promote(dtype, own)
    for kind in kinds:
        dtype = with_weak(dtype, kind)
    if dtype is None:
        raise DTypeError("result_type of nothing", remedy="pass at least one dtype or array")
    return dtype
