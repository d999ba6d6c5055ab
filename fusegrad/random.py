"""Random numbers: generators, and the distributions that draw from them.

Holds the public names only. One stream serves recorded and compiled code, any number of threads and
any fusion: number i of it depends on the seed and i alone. Bits, integers and uniform numbers are
the same to the last bit; numbers that go through a logarithm, a cosine or a power, as normal ones,
may differ by a rounding between recorded and compiled code, because a graph that is met for the
first time takes NumPy's functions.
"""

from __future__ import annotations

from .functions.discrete import (
    binomial,
    categorical,
    choice,
    geometric,
    multinomial,
    permutation,
    poisson,
    randperm,
    shuffle,
)
from .functions.distributions import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    lognormal,
    pareto,
    rademacher,
    truncated_normal,
    weibull,
)
from .functions.draws import (
    Generator,
    bernoulli,
    bits,
    default_generator,
    normal,
    rand,
    randn,
    seed,
    uniform,
)
from .functions.gamma_distributions import beta, chisquare, dirichlet, gamma, student_t
from .functions.integers import randint

__all__ = [
    "Generator",
    "bernoulli",
    "beta",
    "binomial",
    "bits",
    "categorical",
    "cauchy",
    "chisquare",
    "choice",
    "default_generator",
    "dirichlet",
    "exponential",
    "gamma",
    "geometric",
    "gumbel",
    "laplace",
    "logistic",
    "lognormal",
    "multinomial",
    "normal",
    "pareto",
    "permutation",
    "poisson",
    "rademacher",
    "rand",
    "randint",
    "randn",
    "randperm",
    "seed",
    "shuffle",
    "student_t",
    "truncated_normal",
    "uniform",
    "weibull",
]
