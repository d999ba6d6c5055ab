"""Mixed precision: products in 16 bits, everything delicate in float32, and scaled losses.

Knows the mode of the thread; the functions that heed it ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .codegen.dtypes import bfloat16
from .errors import DTypeError
from .semantics.promotion import as_dtype
from .tensors.context import active
from .tensors.device import check_device

__all__ = ["autocast"]


@contextmanager
def autocast(device_type: Any = None, dtype: Any = None, enabled: bool = True) -> Iterator[None]:
    """Compute matrix products and convolutions of float32 values in 16 bits.

    Their operands are rounded to `dtype`, sums are taken in float32, and results have `dtype`.
    Softmax, normalisation and losses compute in float32 and give float32. Everything else follows
    its operands. Parameters stay float32, and so do their gradients. Also a decorator. A compiled
    function that is called inside is traced for it once.

    Parameters
    ----------
    device_type : str, optional
        ``"cpu"``: torch's first argument. A dtype may stand in its place.
    dtype : dtype, optional
        bfloat16, the default, or float16.
    enabled : bool, optional
        False: no such mode, also inside of another.

    Raises
    ------
    DTypeError
        If the dtype is no floating dtype of 16 bits.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.ones((2, 3))
    >>> with fg.autocast():
    ...     y = x @ x.T
    >>> y.dtype, (y + 1.0).dtype, fg.mean(x).dtype
    (fusegrad.bfloat16, fusegrad.bfloat16, fusegrad.float32)
    """
    if device_type is not None:
        if dtype is not None or str(device_type).startswith(("cpu", "cuda")):
            check_device(device_type)
        else:
            dtype = device_type
    chosen = bfloat16 if dtype is None else as_dtype(dtype)
    if not chosen.is_half:
        raise DTypeError(
            f"autocast to {chosen}", remedy="take bfloat16 or float16, or leave autocast out"
        )
    before = active.autocast
    active.autocast = chosen if enabled else None
    try:
        yield
    finally:
        active.autocast = before
