"""Functions for SciPy's optimizers: values and gradients as they ask for them.

User-level code over the public functions; knows nothing of SciPy.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any, final

import numpy as np
import numpy.typing as npt

from . import pytree
from .compilation.compile import compile as compiled
from .errors import DTypeError, ShapeError
from .tensors.tensor_class import Tensor, as_tensor
from .transforms.gradients import grad, value_and_grad

__all__ = ["Objective", "scipy_objective"]

Vector = npt.NDArray[np.float64]


@final
class Objective:
    """A function of a vector of float64 that gives its value and its gradient.

    Made by `fusegrad.scipy_objective`.
    """

    def __init__(self, function: Callable[..., Any], like: Any) -> None:
        leaves, self._structure = pytree.flatten(like)
        self._leaves = [as_tensor(leaf) for leaf in leaves]
        for leaf in self._leaves:
            if not leaf.dtype.is_float:
                raise DTypeError(
                    f"the objective is differentiated by values of {leaf.dtype}",
                    remedy="only floats have gradients; pass the others by a closure or by args",
                )
        self._bounds = [0, *accumulate(leaf.size for leaf in self._leaves)]
        self._free = like is None

        def of_vector(vector: Any, *args: Any) -> Tensor:
            value = as_tensor(function(vector if self._free else self._parts(vector), *args))
            # SciPy compares values of steps that are far smaller than float32 resolves.
            return value.astype("float64", copy=False).reshape(()) if value.size == 1 else value

        def along(vector: Any, direction: Any, *args: Any) -> Any:
            return (grad(of_vector)(vector, *args) * direction).sum()

        self._value_and_grad = compiled(value_and_grad(of_vector))
        self._product = compiled(grad(along))

    def __call__(self, x: Any, *args: Any) -> tuple[float, Vector]:
        """The value as a float and the gradient as a new vector of float64."""
        value, gradient = self._value_and_grad(self._vector(x), *args)
        return float(value), np.array(gradient)

    def hessp(self, x: Any, p: Any, *args: Any) -> Vector:
        """The product of the Hessian at `x` with the vector `p`, for ``minimize(hessp=)``."""
        return np.array(self._product(self._vector(x), self._vector(p), *args))

    def flatten(self, tree: Any) -> Vector:
        """Values as one vector: arrays, or containers of them as in the example."""
        parts = [np.asarray(leaf, dtype=np.float64).ravel() for leaf in pytree.flatten(tree)[0]]
        return self._vector(np.concatenate(parts) if parts else np.zeros(0))

    def unflatten(self, x: Any) -> Any:
        """A vector as tensors in the containers, shapes and dtypes of the example."""
        vector = as_tensor(self._vector(x))
        return vector if self._free else self._parts(vector)

    def _vector(self, x: Any) -> Vector:
        vector = np.ascontiguousarray(x, dtype=np.float64)
        size = self._bounds[-1]
        if not self._free and vector.shape != (size,):
            raise ShapeError(
                f"the objective takes a vector of {size} numbers, not an array of shape "
                f"{vector.shape}",
                remedy="start from objective.flatten(values)",
            )
        return vector

    def _parts(self, vector: Any) -> Any:
        pieces = [
            vector[start:stop].reshape(leaf.shape).astype(leaf.dtype)
            for leaf, (start, stop) in zip(self._leaves, pairwise(self._bounds), strict=True)
        ]
        return pytree.unflatten(self._structure, pieces)


def scipy_objective(function: Callable[..., Any], like: Any = None) -> Objective:
    """A function for ``scipy.optimize.minimize(objective, start, jac=True)``.

    Value and gradient are computed by one program, which is compiled once.

    Parameters
    ----------
    function : callable
        From the values, and the arguments that ``minimize(args=)`` adds, to a number. It is traced
        as a compiled function is.
    like : array_like or container of them, optional
        An example of what `function` takes: arrays in lists, tuples and dicts, in their shapes and
        dtypes. By default `function` takes the vector of float64 as SciPy has it.

    Returns
    -------
    Objective
        ``objective(x)`` gives the value as a float and the gradient as a vector of float64;
        ``objective.flatten(values)`` the vector to start from, ``objective.unflatten(result.x)``
        the values again, ``objective.hessp`` products with the Hessian.

    Raises
    ------
    DTypeError
        If values of `like` are no floats.

    Examples
    --------
    >>> import fusegrad as fg
    >>> def loss(values):
    ...     return ((values["a"] - 2) ** 2).sum() + (values["b"] + 1) ** 2
    >>> start = {"a": fg.zeros(2), "b": fg.zeros(())}
    >>> objective = fg.scipy_objective(loss, like=start)
    >>> objective(objective.flatten(start))
    (9.0, array([-4., -4.,  2.]))
    """
    return Objective(function, like)
