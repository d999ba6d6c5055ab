"""Scalar math as expansions: every row that is made of primitive ones, with its error bound.

Knows the primitive rows; knows no loops and no targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import meanings
from . import scalar_bessel as bessel
from . import scalar_bits as bits
from . import scalar_error as error
from . import scalar_exponential as exponential
from . import scalar_gamma as gamma
from . import scalar_logarithm as logarithm
from . import scalar_power as power
from . import scalar_quantile as quantile
from . import scalar_trigonometric as trigonometric
from .definition import by_expansion
from .dtypes import DType, float32, float64, uint32, uint64
from .expr import Expr
from .scalar_primitives import ANY, NUMBER, ScalarOp, TypeRule, same, test

__all__ = ["EXPANSIONS", "SINGLE"]


def _random(result: DType) -> TypeRule:
    def rule(dtypes: tuple[DType, ...]) -> DType:
        if any(d is not uint64 for d in dtypes):
            raise TypeError("takes a key and a counter, both uint64")
        return result

    return rule


def _bounds(ulp: float) -> dict[DType, float]:
    return {float32: ulp, float64: ulp}


def _real(
    name: str,
    meaning: Callable[..., Any],
    python: str,
    expand: Callable[..., Expr],
    ulp: float,
    cost: float,
    arity: int = 1,
) -> ScalarOp:
    """A row on floats whose error is bounded."""
    quiet = meanings.quiet(meaning)
    return ScalarOp(name, arity, same("float"), quiet, python, expand, cost, _bounds(ulp))


def _two(
    name: str,
    meaning: Callable[..., Any],
    python: str,
    expand: Callable[..., Expr],
    ulp: float,
    cost: float,
) -> ScalarOp:
    """A row on two floats whose error is bounded."""
    return _real(name, meaning, python, expand, ulp, cost, arity=2)


def _functions() -> list[ScalarOp]:
    """Functions of real numbers."""
    erf, erfc = (meanings.elementwise(f) for f in (math.erf, math.erfc))
    return [
        _real("exp", np.exp, "math.exp({0})", exponential.exp, 1, 20),
        _real("exp2", np.exp2, "np.exp2({0})", exponential.exp2, 1, 18),
        _real("expm1", np.expm1, "math.expm1({0})", exponential.expm1, 2, 21),
        _real("log", np.log, "math.log({0})", logarithm.log, 1, 22),
        _real("log2", np.log2, "np.log2({0})", logarithm.log2, 2, 24),
        _real("log10", np.log10, "math.log10({0})", logarithm.log10, 2, 24),
        _real("log1p", np.log1p, "math.log1p({0})", logarithm.log1p, 2, 27),
        _real("tanh", np.tanh, "math.tanh({0})", exponential.tanh, 2.5, 25),
        _real("sin", np.sin, "math.sin({0})", trigonometric.sin, 2, 27),
        _real("cos", np.cos, "math.cos({0})", trigonometric.cos, 2, 26),
        _real("tan", np.tan, "math.tan({0})", trigonometric.tan, 4, 36),
        _real("sinh", np.sinh, "math.sinh({0})", exponential.sinh, 2, 36),
        _real("cosh", np.cosh, "math.cosh({0})", exponential.cosh, 2, 28),
        _real("asin", np.arcsin, "math.asin({0})", trigonometric.asin, 3, 28),
        _real("acos", np.arccos, "math.acos({0})", trigonometric.acos, 2, 30),
        _real("atan", np.arctan, "math.atan({0})", trigonometric.atan, 2, 27),
        _two("atan2", np.arctan2, "math.atan2({0}, {1})", trigonometric.atan2, 2, 36),
        _real("asinh", np.arcsinh, "math.asinh({0})", logarithm.asinh, 3, 48),
        _real("acosh", np.arccosh, "np.arccosh({0})", logarithm.acosh, 3, 42),
        _real("atanh", np.arctanh, "np.arctanh({0})", logarithm.atanh, 3, 42),
        _real("erf", erf, "math.erf({0})", error.erf, 1.5, 34),
        _real("erfc", erfc, "math.erfc({0})", error.erfc, 4, 64),
        _two("hypot", np.hypot, "math.hypot({0}, {1})", power.hypot, 1.5, 20),
        _two("logaddexp", np.logaddexp, "np.logaddexp({0}, {1})", logarithm.logaddexp, 4, 54),
        _real("cbrt", np.cbrt, "np.cbrt({0})", power.cbrt, 1, 36),
        _real("rsqrt", lambda x: 1 / np.sqrt(x), "1 / math.sqrt({0})", power.rsqrt, 1.5, 14),
        _real("reciprocal", np.reciprocal, "1 / {0}", power.reciprocal, 0.5, 6),
        _real("round", np.rint, "np.rint({0})", bits.round_, 0.5, 1),
        _two("copysign", np.copysign, "math.copysign({0}, {1})", bits.copysign, 0.5, 3),
        _two("nextafter", np.nextafter, "np.nextafter({0}, {1})", bits.nextafter, 0.5, 10),
        _two("fmod", np.fmod, "math.fmod({0}, {1})", power.fmod, 0.5, 20),
    ]


def _defined(
    name: str, expand: Callable[..., Expr], ulp: float, cost: float, arity: int = 1
) -> ScalarOp:
    """A function that NumPy does not have: its expansion says what it means."""
    return _real(name, by_expansion(expand, arity), "", expand, ulp, cost, arity)


def _special() -> list[ScalarOp]:
    """Special functions."""
    return [
        _defined("lgamma", gamma.lgamma, 6, 150),
        _defined("digamma", gamma.digamma, 6, 190),
        _defined("trigamma", gamma.trigamma, 6, 160),
        _defined("zeta", gamma.zeta, 16, 1000, arity=2),
        _defined("erfinv", quantile.erfinv, 4, 90),
        _defined("erfcinv", quantile.erfcinv, 4, 90),
        _defined("i0", bessel.i0, 6, 90),
        _defined("i0e", bessel.i0e, 4, 60),
        _defined("i1", bessel.i1, 8, 90),
        _defined("i1e", bessel.i1e, 6, 60),
    ]


def _others() -> list[ScalarOp]:
    """Functions of all numbers, classes, logic and random bits."""
    number, real, boolean = same(NUMBER), test("float"), test(ANY)
    quiet = meanings.quiet
    both, either = "({0} != 0 and {1} != 0)", "({0} != 0 or {1} != 0)"
    one, negative = "(({0} != 0) != ({1} != 0))", "math.copysign(1.0, {0}) < 0"
    random32, random64 = _random(uint32), _random(uint64)
    return [
        ScalarOp("floordiv", 2, number, meanings.floor_divide, "{0} // {1}", power.floordiv, 30),
        ScalarOp("mod", 2, number, meanings.remainder, "{0} % {1}", power.mod, 30),
        ScalarOp("remainder", 2, number, meanings.remainder, "{0} % {1}", power.mod, 30),
        ScalarOp("pow", 2, number, meanings.power, "{0} ** {1}", power.pow_, 76, _bounds(1.5)),
        ScalarOp("square", 1, number, quiet(np.square), "{0} * {0}", power.square, 1),
        ScalarOp("sign", 1, number, quiet(np.sign), "np.sign({0})", bits.sign, 4),
        ScalarOp("isnan", 1, real, np.isnan, "{0} != {0}", bits.isnan, 1),
        ScalarOp("isinf", 1, real, np.isinf, "math.isinf({0})", bits.isinf, 2),
        ScalarOp("isfinite", 1, real, np.isfinite, "math.isfinite({0})", bits.isfinite, 2),
        ScalarOp("signbit", 1, real, np.signbit, negative, bits.signbit, 1),
        ScalarOp("logical_and", 2, boolean, np.logical_and, both, bits.logical_and, 3),
        ScalarOp("logical_or", 2, boolean, np.logical_or, either, bits.logical_or, 3),
        ScalarOp("logical_xor", 2, boolean, np.logical_xor, one, bits.logical_xor, 3),
        ScalarOp("logical_not", 1, boolean, np.logical_not, "{0} == 0", bits.logical_not, 1),
        ScalarOp("philox", 2, random32, meanings.philox, "", bits.philox, 90),
        ScalarOp("philox64", 2, random64, meanings.philox64, "", bits.philox64, 90),
    ]


_ROWS = (*_functions(), *_special(), *_others())
EXPANSIONS: dict[str, ScalarOp] = {row.name: row for row in _ROWS}
"""The rows made of primitive ones, by name."""
SINGLE: dict[str, Callable[..., Expr]] = {
    "hypot": power.hypot_single,
    "pow": power.pow_single,
    "zeta": partial(gamma.zeta, pow_=power.pow_single),
}
"""Rows of float32 in float32 alone, for machines on which float64 is slow."""
