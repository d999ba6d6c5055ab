"""The frame of optimizers whose update of an element needs that element's values alone.

User-level code: it reads the options as inputs of a compiled step, widens halves, and applies
weight decay; subclasses say the rest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from ..codegen.dtypes import DType
from ..errors import OptionError
from ..functions.functional import maximum
from ..functions.precision import widened
from ..tensors.tensor_class import Tensor
from .optimizer import Optimizer, ParamGroup, Scalar, number

__all__ = ["ElementwiseOptimizer", "Params", "Read", "check_betas", "running_mean", "steps_of"]

NumbersT = TypeVar("NumbersT")
Read = Callable[[str, Callable[[], Scalar]], Scalar]
"""Makes an option an input of compiled steps, from its label and a function that reads it."""


class ElementwiseOptimizer(Optimizer, Generic[NumbersT]):
    """An optimizer that updates element by element; see `_numbers` and `_updated`."""

    @abstractmethod
    def _numbers(self, group: ParamGroup, dtype: DType, read: Read) -> NumbersT:
        """What the update of every element of this dtype needs beside its own values."""

    @abstractmethod
    def _updated(
        self, group: ParamGroup, n: NumbersT, p: Tensor, g: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        """The new value of a parameter; the state is written here."""

    def _decayed(
        self, group: ParamGroup, p: Tensor, g: Tensor, decay: Scalar, read: Read
    ) -> tuple[Tensor, Tensor]:
        """A parameter and its gradient after weight decay; `decay` is what its option says."""
        return p, g + p * decay

    def _update(self, group: ParamGroup, parameters: list[tuple[Tensor, Tensor]]) -> None:
        if self._counts_steps(group):
            group.step.copy_(group.step + 1)
        known: dict[DType, tuple[NumbersT, Read, Scalar]] = {}
        for parameter, gradient in parameters:
            current, gradient = widened(parameter), widened(gradient)
            dtype = current.dtype
            if dtype not in known:
                known[dtype] = self._read_options(group, dtype)
            numbers, read, decay = known[dtype]
            if group["maximize"]:
                gradient = -gradient
            if group.get("weight_decay"):
                current, gradient = self._decayed(group, current, gradient, decay, read)
            kept = self.state[parameter]
            parameter.copy_(self._updated(group, numbers, current, gradient, kept))

    def _read_options(self, group: ParamGroup, dtype: DType) -> tuple[NumbersT, Read, Scalar]:
        def read(label: str, getter: Callable[[], Scalar]) -> Scalar:
            return number(getter, label, dtype)

        decay: Scalar = 0.0
        if group.get("weight_decay"):
            decay = read("weight_decay", lambda: group["weight_decay"])
        return self._numbers(group, dtype, read), read, decay


def check_betas(group: Mapping[str, Any]) -> None:
    """Raise ValueError for betas outside of [0, 1)."""
    for beta in group["betas"]:
        if not 0 <= beta < 1:
            raise OptionError(f"betas lie between 0 and 1, {beta} does not")


def running_mean(mean: Tensor, value: Tensor, rest: Scalar) -> Tensor:
    """Move a mean by `rest` of the way to a value, in place."""
    return mean.copy_(mean + (value - mean) * rest)


def steps_of(group: ParamGroup, dtype: Any = "float64") -> Tensor:
    """How often the group was updated, this step included; never less than 1."""
    return maximum(group.step, 1).astype(dtype)


Params = Iterable[Tensor] | Iterable[Mapping[str, Any]]
"""Parameters, or groups of them."""
