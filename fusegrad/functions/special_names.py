"""Special functions under torch's and NumPy's names at the top level.

Knows the functions themselves: a name here is one more for a function of ``fg.special``.
"""

from __future__ import annotations

from ..special import (
    digamma,
    erfcinv,
    erfinv,
    gammainc,
    gammaincc,
    i0,
    lgamma,
    logit,
    multigammaln,
    polygamma,
    xlog1py,
    xlogy,
)
from ..tensors.tensor_class import ArrayLike, Tensor

__all__ = [
    "digamma",
    "erfcinv",
    "erfinv",
    "i0",
    "igamma",
    "igammac",
    "lgamma",
    "logit",
    "mvlgamma",
    "polygamma",
    "xlog1py",
    "xlogy",
]

igamma = gammainc
igammac = gammaincc


def mvlgamma(x: ArrayLike, p: int) -> Tensor:
    """The logarithm of the gamma function of `p` dimensions.

    Parameters
    ----------
    x : array_like
        Larger than ``(p - 1) / 2``.
    p : int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.mvlgamma([2.0], 1)
    Tensor([0.])
    """
    return multigammaln(x, p)
