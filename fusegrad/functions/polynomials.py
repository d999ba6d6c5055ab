"""Polynomials as vectors of coefficients, the highest power first, under NumPy's names.

Knows tensors: all of them are ordinary tensor code, with gradients by coefficients and places.
"""

from __future__ import annotations

from ..errors import OptionError, ShapeError
from ..linalg import lstsq
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from .creation import ones, zeros
from .joining import concat
from .ranges import arange
from .windows import convolve

__all__ = ["poly", "polyadd", "polyder", "polyfit", "polyint", "polymul", "polysub", "polyval"]


def _coefficients(name: str, p: ArrayLike) -> Tensor:
    tensor = as_tensor(p)
    tensor = tensor if tensor.ndim else tensor.reshape(1)
    if tensor.ndim != 1:
        raise ShapeError(
            f"{name}: coefficients are a vector, not an array of shape {tuple(tensor.shape)}",
            remedy=None,
        )
    return tensor


def polyval(p: ArrayLike, x: ArrayLike) -> Tensor:
    """The values of a polynomial.

    Parameters
    ----------
    p : array_like
        Coefficients, the highest power first.
    x : array_like
        Where.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.polyval([1.0, 0.0, 2.0], [0.0, 3.0])
    Tensor([ 2., 11.])
    """
    coefficients, at = _coefficients("polyval", p), as_tensor(x)
    value = at * 0
    for position in range(coefficients.shape[0]):
        value = value * at + coefficients[position]
    return value


def _padded(name: str, p1: ArrayLike, p2: ArrayLike) -> tuple[Tensor, Tensor]:
    first, second = _coefficients(name, p1), _coefficients(name, p2)
    length = max(first.shape[0], second.shape[0])
    return _behind_zeros(first, length), _behind_zeros(second, length)


def _behind_zeros(p: Tensor, length: int) -> Tensor:
    return concat([zeros(length - p.shape[0], dtype=p.dtype), p])


def polyadd(p1: ArrayLike, p2: ArrayLike) -> Tensor:
    """The sum of two polynomials.

    Parameters
    ----------
    p1, p2 : array_like
        Coefficients, the highest power first.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.polyadd([1, 2], [3, 4, 5])
    Tensor([3, 5, 7])
    """
    first, second = _padded("polyadd", p1, p2)
    return first + second


def polysub(p1: ArrayLike, p2: ArrayLike) -> Tensor:
    """The difference of two polynomials.

    Parameters
    ----------
    p1, p2 : array_like
        Coefficients, the highest power first.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.polysub([1, 2], [3, 4, 5])
    Tensor([-3, -3, -3])
    """
    first, second = _padded("polysub", p1, p2)
    return first - second


def polymul(p1: ArrayLike, p2: ArrayLike) -> Tensor:
    """The product of two polynomials.

    Parameters
    ----------
    p1, p2 : array_like
        Coefficients, the highest power first.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.polymul([1.0, 2.0], [1.0, 3.0])
    Tensor([1., 5., 6.])
    """
    return convolve(_coefficients("polymul", p1), _coefficients("polymul", p2))


def polyder(p: ArrayLike, m: int = 1) -> Tensor:
    """The derivative of a polynomial.

    Parameters
    ----------
    p : array_like
        Coefficients, the highest power first.
    m : int, optional
        How often it is differentiated.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.polyder([1.0, 2.0, 3.0])
    Tensor([2., 2.])
    """
    if m < 0:
        raise OptionError(f"polyder: {m} derivatives; take polyint")
    coefficients = _coefficients("polyder", p)
    for _ in range(m):
        count = coefficients.shape[0]
        powers = arange(count - 1, -1, -1, dtype=coefficients.dtype)
        coefficients = (coefficients * powers)[: max(count - 1, 0)]
    return coefficients


def polyint(p: ArrayLike, m: int = 1, k: ArrayLike = None) -> Tensor:
    """The antiderivative of a polynomial.

    Parameters
    ----------
    p : array_like
        Coefficients, the highest power first.
    m : int, optional
        How often it is integrated.
    k : array_like, optional
        The constants of integration, by default zeros.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.polyint([2.0, 2.0])
    Tensor([1., 2., 0.])
    """
    if m < 0:
        raise OptionError(f"polyint: {m} integrations; take polyder")
    coefficients = _coefficients("polyint", p)
    constants = zeros(m) if k is None else _coefficients("polyint", k)
    if constants.shape[0] not in (1, m):
        raise ShapeError(
            f"polyint: {constants.shape[0]} constants for {m} integrations", remedy=None
        )
    for step in range(m):
        count = coefficients.shape[0]
        powers = arange(count, 0, -1)
        constant = constants[step if constants.shape[0] == m else 0]
        coefficients = coefficients / powers
        coefficients = concat([coefficients, constant.reshape(1).astype(coefficients.dtype)])
    return coefficients


def poly(roots: ArrayLike) -> Tensor:
    """The polynomial with given roots, and 1 as its first coefficient.

    Parameters
    ----------
    roots : array_like
        A vector.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.poly([1.0, 2.0])
    Tensor([ 1., -3.,  2.])
    """
    zeros_of = _coefficients("poly", roots)
    if not zeros_of.dtype.is_float:
        zeros_of = zeros_of.astype("float32")
    coefficients = ones(1, dtype=zeros_of.dtype)
    for position in range(zeros_of.shape[0]):
        root = zeros_of[position].reshape(1)
        nothing = zeros(1, dtype=zeros_of.dtype)
        coefficients = concat([coefficients, nothing]) - concat([nothing, coefficients * root])
    return coefficients


def polyfit(x: ArrayLike, y: ArrayLike, deg: int, *, w: ArrayLike = None) -> Tensor:
    """The polynomial that is nearest to samples in the sense of least squares.

    Parameters
    ----------
    x, y : array_like
        Places and samples, of shape ``(n,)``; several sets of samples as ``(n, k)``.
    deg : int
        The degree.
    w : array_like, optional
        Multiplies the residues.

    Returns
    -------
    Tensor
        ``deg + 1`` coefficients, the highest power first.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.polyfit([0.0, 1.0, 2.0], [1.0, 3.0, 5.0], 1).numpy().round(3)
    array([2., 1.], dtype=float32)
    """
    at, samples = as_tensor(x), as_tensor(y)
    if at.ndim != 1 or samples.ndim not in (1, 2) or samples.shape[0] != at.shape[0]:
        raise ShapeError(
            f"polyfit: samples of shape {tuple(samples.shape)} at places of shape "
            f"{tuple(at.shape)}",
            remedy="places are a vector, and samples have as many rows",
        )
    if deg < 0:
        raise OptionError(f"polyfit: a degree of {deg}")
    at = at if at.dtype.is_float else at.astype("float32")
    columns = [at**power for power in range(deg, -1, -1)]
    matrix = concat([column.reshape(-1, 1) for column in columns], axis=1)
    # Columns of one length: powers differ by many digits.
    lengths = (matrix * matrix).sum(axis=0) ** 0.5
    target = samples.reshape(at.shape[0], -1)
    if w is not None:
        weights = as_tensor(w).reshape(-1, 1)
        matrix, target = matrix * weights, target * weights
        lengths = (matrix * matrix).sum(axis=0) ** 0.5
    found = lstsq(matrix / lengths, target)[0] / lengths.reshape(-1, 1)
    return found.reshape(deg + 1, *samples.shape[1:])
