"""What `size` of a tensor is: the number of elements for NumPy, and a method for torch."""

from __future__ import annotations

from typing import Any

from ..codegen.varying import Varying
from ..semantics.shapes import one_axis

__all__ = ["Size"]


class Size(Varying):
    """The number of elements, as the array API has it, that can be called, as torch has it.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.zeros(2, 3)
    >>> x.size, x.size(), x.size(-1)
    (6, (2, 3), 3)
    """

    _shape: tuple[int, ...]

    def __new__(cls, count: Any, shape: tuple[int, ...]) -> Size:
        """The number of elements of an array of that shape."""
        self = int.__new__(cls, count)
        known = isinstance(count, Varying)
        self.probe, self.likely = (count.probe, count.likely) if known else (count, count)
        self._shape = shape
        return self

    def __call__(self, dim: int | None = None) -> Any:
        """The shape, or its extent along an axis."""
        return self._shape if dim is None else self._shape[one_axis("size", dim, len(self._shape))]

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)
