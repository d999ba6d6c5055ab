"""Methods that write their result into the tensor, under torch's names: with an underscore behind.

User-level code: each is a method, or a draw, whose result takes the place of the value. Those of
elementwise functions are made where these become methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import random
from .tensors.context import no_grad
from .tensors.tensor_class import ArrayLike, Tensor

__all__ = ["in_place_methods"]

_NAMES = (
    *("addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addr", "baddbmm", "cumprod"),
    *("clamp_max", "clamp_min", "clip"),
    *("cumsum", "digamma", "divide", "eq", "erfinv", "frac", "ge", "greater", "gt", "i0"),
    *("greater_equal", "igamma", "igammac", "ldexp", "le", "lerp", "less", "less_equal", "lgamma"),
    *("logical_and", "logical_not", "logical_or", "logical_xor", "logit", "lt", "mvlgamma"),
    *("nan_to_num", "ne", "not_equal", "polygamma", "pow", "renorm", "sgn", "subtract", "tril"),
    *("triu", "true_divide", "xlogy"),
)
# What comes out in another dtype is rounded, or is 0 and 1, as in torch.
_CONVERTED = frozenset(
    {
        *("eq", "ge", "greater", "greater_equal", "gt", "le", "less", "less_equal", "lt", "ne"),
        *("not_equal", "logical_and", "logical_not", "logical_or", "logical_xor"),
    }
)


def _in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(x: Tensor, *args: Any, **params: Any) -> Tensor:
        result = function(x, *args, **params)
        return x._update(result.astype(x.dtype) if name in _CONVERTED else result)

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"`Tensor.{name}` in place."
    return method


# --- draws ----------------------------------------------------------------------------------------


def _drawn(x: Tensor, drawn: Tensor) -> Tensor:
    with no_grad():
        return x.copy_(drawn.astype(x.dtype))


def _kind(x: Tensor) -> Any:
    return x.dtype if x.dtype.is_float else "float32"


def uniform_(x: Tensor, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Tensor:
    """Draw the elements evenly between two numbers."""
    shape = tuple(x.shape)
    return _drawn(x, random.uniform(shape, low, high, dtype=x.dtype, generator=generator))


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Draw the elements from the normal distribution."""
    shape = tuple(x.shape)
    return _drawn(x, random.normal(shape, mean, std, dtype=x.dtype, generator=generator))


def bernoulli_(x: Tensor, p: ArrayLike = 0.5, *, generator: Any = None) -> Tensor:
    """Ones with a probability, zeros otherwise."""
    return _drawn(x, random.bernoulli(p, tuple(x.shape), generator=generator))


def exponential_(x: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Draw the elements from the exponential distribution of a rate."""
    shape = tuple(x.shape)
    return _drawn(x, random.exponential(1 / lambd, shape, dtype=_kind(x), generator=generator))


def cauchy_(x: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> Tensor:
    """Draw the elements from the distribution of Cauchy."""
    shape = tuple(x.shape)
    return _drawn(x, random.cauchy(median, sigma, shape, dtype=_kind(x), generator=generator))


def log_normal_(x: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> Tensor:
    """Draw the elements from the distribution whose logarithms are normal."""
    shape = tuple(x.shape)
    return _drawn(x, random.lognormal(mean, std, shape, dtype=_kind(x), generator=generator))


def geometric_(x: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Draw how many trials there are up to the first success."""
    return _drawn(x, random.geometric(p, tuple(x.shape), generator=generator))


def random_(x: Tensor, *limits: int, generator: Any = None) -> Tensor:
    """Draw integers: from 0 up to a limit, between two limits, or all that the dtype holds."""
    digits = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8, "bool": 1}
    bits = digits.get(str(x.dtype), 8 * x.dtype.itemsize - (x.dtype.kind == "int"))
    low, high = limits if len(limits) == 2 else (0, *(limits or (1 << min(bits, 32),)))
    return _drawn(x, random.randint(low, high, tuple(x.shape), generator=generator))


def bernoulli(x: Tensor, p: ArrayLike = None, *, generator: Any = None) -> Tensor:
    """Ones with the elements, or with one number, as probabilities; zeros otherwise."""
    chances = x if p is None else p
    return random.bernoulli(chances, tuple(x.shape), generator=generator).astype(x.dtype)


_DRAWS = (
    *(bernoulli, bernoulli_, cauchy_, exponential_, geometric_, log_normal_, normal_, random_),
    uniform_,
)


def in_place_methods() -> dict[str, Callable[..., Tensor]]:
    """The methods by their names, of those that the class has now."""
    methods = {f"{name}_": _in_place(name, getattr(Tensor, name)) for name in _NAMES}
    return methods | {function.__name__: function for function in _DRAWS}
