"""Random numbers under torch's names at the top level, and with its arguments.

Knows the draws themselves: what stands here hands its arguments on in another order.
"""

from __future__ import annotations

import secrets
from typing import Any

from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from . import discrete, draws
from .discrete import multinomial
from .draws import Generator, rand, randn

__all__ = [
    "bernoulli",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]


def manual_seed(seed: int) -> Generator:
    """Start the default stream anew, and return its generator.

    Examples
    --------
    >>> import fusegrad as fg
    >>> generator = fg.manual_seed(3)
    >>> generator.initial_seed()
    3
    """
    return draws.default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default stream at a place that nobody knows before, and return its seed.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.seed() == fg.initial_seed()
    True
    """
    chosen = secrets.randbits(63)
    manual_seed(chosen)
    return chosen


def initial_seed() -> int:
    """The seed of the default stream.

    Examples
    --------
    >>> import fusegrad as fg
    >>> _ = fg.manual_seed(3)
    >>> fg.initial_seed()
    3
    """
    return draws.default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default stream, for `set_rng_state`.

    Returns
    -------
    Tensor
        Two numbers of uint64: the seed, and how many numbers are used up.

    Examples
    --------
    >>> import fusegrad as fg
    >>> state = fg.get_rng_state()
    >>> first = fg.rand(2)
    >>> fg.set_rng_state(state)
    >>> bool((fg.rand(2) == first).all())
    True
    """
    return draws.default_generator.get_state()


def set_rng_state(new_state: ArrayLike) -> None:
    """Set the state of the default stream to what `get_rng_state` returned."""
    draws.default_generator.set_state(new_state)


def rand_like(
    x: ArrayLike, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Numbers spread evenly over [0, 1), of the shape and dtype of another array.

    Parameters
    ----------
    x : array_like
    dtype : dtype, optional
    device : str, optional
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.rand_like(fg.ones((2, 3))).shape
    (2, 3)
    """
    like = as_tensor(x)
    kind = like.dtype if dtype is None else dtype
    device = like.device if device is None else device
    return draws.uniform(tuple(like.shape), dtype=kind, device=device, requires_grad=requires_grad)


def randn_like(
    x: ArrayLike, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Normal numbers of the shape and dtype of another array.

    Parameters
    ----------
    x : array_like
    dtype : dtype, optional
    device : str, optional
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.randn_like(fg.ones((2, 3))).shape
    (2, 3)
    """
    like = as_tensor(x)
    kind = like.dtype if dtype is None else dtype
    device = like.device if device is None else device
    return draws.normal(tuple(like.shape), dtype=kind, device=device, requires_grad=requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Integers, each with the same probability.

    Parameters
    ----------
    low, high : int
        The smallest, and the first that does not occur; with one number, from 0 up to it.
    size : sequence of int
    dtype : dtype, optional
        By default int64.
    device : str, optional
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient, of floating numbers.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.randint(3, 5, (2, 3)).shape, fg.randint(7, (4,)).shape
    ((2, 3), (4,))
    """
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    drawn = draws.randint(
        low, high, () if size is None else size, device=device, generator=generator
    )
    drawn = drawn if dtype is None else drawn.astype(dtype)
    return drawn.requires_grad_() if requires_grad else drawn


def randint_like(
    x: ArrayLike, low: int, high: int | None = None, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Integers of the shape and dtype of another array.

    Parameters
    ----------
    x : array_like
    low, high : int
        The smallest, and the first that does not occur; with one number, from 0 up to it.
    dtype : dtype, optional
    device : str, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.randint_like(fg.ones((2, 3)), 5).dtype
    fusegrad.float32
    """
    like = as_tensor(x)
    kind = like.dtype if dtype is None else dtype
    device = like.device if device is None else device
    return randint(low, high, tuple(like.shape), dtype=kind, device=device)


def randperm(
    n: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """The numbers from 0 to ``n - 1`` in a random order.

    Parameters
    ----------
    n : int
    dtype : dtype, optional
        By default int64.
    device : str, optional
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient, of floating numbers.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> sorted(fg.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    drawn = discrete.randperm(n, device=device, generator=generator)
    drawn = drawn if dtype is None else drawn.astype(dtype)
    return drawn.requires_grad_() if requires_grad else drawn


def bernoulli(
    input: ArrayLike, p: ArrayLike = None, *, generator: Generator | None = None
) -> Tensor:
    """Ones with given probabilities, zeros otherwise.

    Parameters
    ----------
    input : array_like
        The probabilities; or, with `p`, an array whose shape and dtype the result has.
    p : float, optional
        One probability for all elements.
    generator : Generator, optional

    Returns
    -------
    Tensor
        Of the dtype of `input`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.bernoulli([0.0, 1.0])
    Tensor([0., 1.])
    """
    like = as_tensor(input)
    chances = like if p is None else p
    return draws.bernoulli(chances, tuple(like.shape), generator=generator).astype(like.dtype)


def poisson(input: ArrayLike, generator: Generator | None = None) -> Tensor:
    """Counts of events with given means.

    Parameters
    ----------
    input : array_like
        The means.
    generator : Generator, optional

    Returns
    -------
    Tensor
        Of the dtype of `input`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.poisson([0.0, 0.0])
    Tensor([0., 0.])
    """
    rates = as_tensor(input)
    return discrete.poisson(rates, generator=generator).astype(rates.dtype)


def normal(
    mean: ArrayLike = 0.0,
    std: ArrayLike = 1.0,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a normal distribution, with torch's arguments.

    Parameters
    ----------
    mean, std : float or array_like, optional
        They broadcast; gradients reach arrays.
    size : sequence of int, optional
        By default the shape that the two have together.
    dtype : dtype, optional
    device : str, optional
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.normal(fg.zeros(3), 1.0).shape, fg.normal(0.0, 1.0, (2, 3)).shape
    ((3,), (2, 3))
    """
    return draws.normal(
        () if size is None else tuple(size),
        mean,
        std,
        dtype=dtype,
        device=device,
        requires_grad=requires_grad,
        generator=generator,
    )
