# Made of the elementwise table: write it anew with: pytest tests/api/test_stubs.py --update-golden

from ..tensors.tensor_class import ArrayLike, Tensor

__all__ = [
    "digamma",
    "erfcinv",
    "erfinv",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "lgamma",
    "log_expit",
    "psi",
    "zeta",
]

def log_expit(x: ArrayLike) -> Tensor:
    """log(1 / (1 + exp(-x))), without overflow."""

def erfinv(x: ArrayLike) -> Tensor:
    """The inverse of the error function."""

def erfcinv(x: ArrayLike) -> Tensor:
    """The inverse of `erfc`, also near 0."""

def gammaln(x: ArrayLike) -> Tensor:
    """The logarithm of the gamma function's size."""

def digamma(x: ArrayLike) -> Tensor:
    """The derivative of `gammaln`."""

def zeta(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Hurwitz' zeta: the sum of ``(k + x2) ** -x1`` over k = 0, 1, ...; no derivative by `x1`."""

def i0(x: ArrayLike) -> Tensor:
    """The modified Bessel function of order 0."""

def i0e(x: ArrayLike) -> Tensor:
    """``exp(-abs(x)) * i0(x)``, without overflow."""

def i1(x: ArrayLike) -> Tensor:
    """The modified Bessel function of order 1."""

def i1e(x: ArrayLike) -> Tensor:
    """``exp(-abs(x)) * i1(x)``, without overflow."""

lgamma = gammaln
psi = digamma
