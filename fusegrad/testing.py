"""What tests of code that uses fusegrad need: checked gradients, counted traces and kernels.

Knows the public functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from . import pytree
from .codegen.deferred import deferred
from .codegen.dtypes import float64
from .runtime.devices import substituted
from .tensors.context import enable_grad
from .tensors.placement import bring_home
from .tensors.tensor_class import Tensor, as_tensor
from .transforms.gradients import vjp

if TYPE_CHECKING:
    from .runtime import simulated
else:
    simulated = deferred("fusegrad.runtime.simulated")

__all__ = [
    "assert_close",
    "assert_kernels",
    "assert_no_recompile",
    "check_grads",
    "simulated_gpus",
]

_TOLERANCE = {"float32": (1e-5, 1e-6), "float64": (1e-12, 1e-14)}


def assert_close(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None
) -> None:
    """Fail unless two containers of arrays agree in structure, shapes, dtypes and, nearly, values.

    Parameters
    ----------
    actual, expected : array_like, or containers of them
    rtol, atol : float, optional
        By default a few units of the dtype of `actual`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> assert_close(fg.ones(2) * 3, np.full(2, 3, "float32"))
    """
    one, first = pytree.flatten(actual)
    two, second = pytree.flatten(expected)
    assert first == second, pytree.first_difference(second, first)
    for path, a, b in zip(pytree.paths(first), one, two, strict=True):
        x, y = np.asarray(a), np.asarray(b)
        assert x.shape == y.shape, f"{path}: shape {x.shape}, expected {y.shape}"
        if isinstance(b, (Tensor, np.ndarray)):
            assert x.dtype == y.dtype, f"{path}: dtype {x.dtype}, expected {y.dtype}"
        relative, absolute = _TOLERANCE.get(x.dtype.name, (0.0, 0.0))
        np.testing.assert_allclose(
            x,
            y,
            rtol=relative if rtol is None else rtol,
            atol=absolute if atol is None else atol,
            err_msg=path,
        )


# --- gradients ------------------------------------------------------------------------------------


def check_grads(
    function: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    *,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    seed: int = 0,
) -> None:
    """Fail unless the derivatives of a function agree with central differences.

    The function is followed along one random direction, in float64; derivatives of higher order
    are those of the gradient function.

    Parameters
    ----------
    function : callable
        Of tensors to tensors, or containers of them. It is called several times.
    args : sequence of array_like, or containers of them
        A point where the function is smooth.
    order : int, optional
        Up to which order.
    eps : float, optional
        The length of a step.
    rtol, atol : float, optional
        How far the two may differ.
    seed : int, optional
        For the directions.

    Examples
    --------
    >>> import fusegrad as fg
    >>> check_grads(lambda x, y: fg.sin(x) * y, ([0.5, 1.0], [2.0, 3.0]))
    """
    rng = np.random.default_rng(seed)
    leaves, structure = pytree.flatten(tuple(map(_doubled, args)))
    flat = _Flat(function, structure)
    with enable_grad():
        _check(flat, [np.asarray(leaf) for leaf in leaves], order, rng, eps, rtol, atol)


def _doubled(argument: Any) -> Any:
    """The argument in double precision; a list of numbers is one array."""
    if isinstance(argument, list) and not any(hasattr(item, "shape") for item in argument):
        return np.asarray(argument, float64.numpy)
    leaves, structure = pytree.flatten(argument)
    return pytree.unflatten(structure, [np.asarray(leaf, float64.numpy) for leaf in leaves])


class _Flat:
    """A function from a list of tensors to a list of floating tensors."""

    def __init__(self, function: Callable[..., Any], structure: pytree.Structure) -> None:
        self.function = function
        self.structure = structure

    def __call__(self, *leaves: Tensor) -> list[Tensor]:
        result = self.function(*pytree.unflatten(self.structure, leaves))
        tensors = [as_tensor(value) for value in pytree.flatten(result)[0]]
        return [tensor for tensor in tensors if tensor.dtype.is_float]


def _check(
    function: Callable[..., list[Tensor]],
    leaves: list[np.ndarray[Any, Any]],
    order: int,
    rng: np.random.Generator,
    eps: float,
    rtol: float,
    atol: float,
) -> None:
    directions = [rng.standard_normal(leaf.shape) for leaf in leaves]
    length = np.sqrt(sum((d * d).sum() for d in directions)) or 1.0
    directions = [d / length for d in directions]

    def at(step: float) -> list[np.ndarray[Any, Any]]:
        moved = [x + step * d for x, d in zip(leaves, directions, strict=True)]
        return [np.array(y.numpy()) for y in function(*map(as_tensor, moved))]

    differences = [(high - low) / (2 * eps) for high, low in zip(at(eps), at(-eps), strict=True)]
    outputs, pullback = vjp(lambda *x: function(*x), *map(as_tensor, leaves))
    weights = [rng.standard_normal(y.shape) for y in outputs]
    given = pullback([as_tensor(w) for w in weights])
    expected = sum((d * w).sum() for d, w in zip(differences, weights, strict=True))
    found = sum((g.numpy() * d).sum() for g, d in zip(given, directions, strict=True))
    np.testing.assert_allclose(
        found, expected, rtol=rtol, atol=atol, err_msg=f"derivative of order {order} left to check"
    )
    if order > 1:

        def derivative(*x: Tensor) -> list[Tensor]:
            _, inner = vjp(lambda *y: function(*y), *x)
            return list(inner([as_tensor(w) for w in weights]))

        _check(derivative, leaves, order - 1, rng, eps, rtol, atol)


# --- compiled functions ---------------------------------------------------------------------------


@contextmanager
def assert_no_recompile(*functions: Any) -> Iterator[None]:
    """Fail if one of the compiled functions is traced again inside the block.

    Parameters
    ----------
    *functions : compiled functions

    Examples
    --------
    >>> import fusegrad as fg
    >>> f = fg.compile(lambda x: x + 1)
    >>> _ = f(fg.ones(3))
    >>> with assert_no_recompile(f):
    ...     _ = f(fg.zeros(3))
    """
    before = [function.stats().compiles for function in functions]
    yield
    for function, count in zip(functions, before, strict=True):
        now = function.stats()
        if now.compiles != count:
            reasons = "; ".join(map(str, now.reasons[-(now.compiles - count) :]))
            raise AssertionError(
                f"{function!r} was traced {now.compiles - count} times again: {reasons}"
            )


def assert_kernels(count: int, function: Any, *args: Any, **params: Any) -> Any:
    """Call a compiled function, and fail unless its step has so many kernels.

    Parameters
    ----------
    count : int
    function : compiled function
    *args, **params
        What it is called with.

    Returns
    -------
    object
        What it returned.

    Examples
    --------
    >>> import fusegrad as fg
    >>> f = fg.compile(lambda x: (fg.exp(x) + 1).sum())
    >>> assert_kernels(1, f, fg.zeros(3))
    Tensor(6.)
    """
    result = function(*args, **params)
    kernels = function.stats().kernels
    assert kernels == count, f"{function!r} runs {kernels} kernels, expected {count}"
    return result


# --- devices --------------------------------------------------------------------------------------


@contextmanager
def simulated_gpus(
    count: int = 1, memory: int = 1 << 30, ptx: bool = False
) -> Iterator[simulated.SimulatedDriver]:
    """GPUs without a GPU: ``"cuda:0"`` and so on compute in NumPy, in memory of their own.

    For tests of code that puts tensors on GPUs, on machines that have none. Kernels run in the
    interpreter, so it is slow. What was made inside cannot be used afterwards.

    Parameters
    ----------
    count : int, optional
    memory : int, optional
        Bytes of each.
    ptx : bool, optional
        Run the PTX of kernels thread by thread, which also finds races and reads of what nobody
        wrote; slower still.

    Yields
    ------
    SimulatedDriver
        Its ``log`` lists what the GPUs were asked for.

    Examples
    --------
    >>> import fusegrad as fg
    >>> with simulated_gpus():
    ...     x = fg.ones(3).to("cuda")
    ...     (x + 1).cpu()
    Tensor([2., 2., 2.])
    """
    driver = simulated.SimulatedDriver(count, memory, ptx)
    with substituted(driver):
        try:
            yield driver
        finally:
            bring_home()
