"""How exact the generated mathematics is: ``python -m benchmarks.accuracy``.

Every N-th float32 number goes through the compiled function and is compared with the same function
in float64, or a sample of them with mpmath where NumPy has no such function; float64 numbers are
compared with mpmath. Errors are in units in the last place of the exact result.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

import fusegrad as fg
from fusegrad.codegen.dtypes import float32, float64
from fusegrad.codegen.scalar import TABLE

Exact = Callable[[Any], Any]
POINTS = 2000
"""So many numbers are compared with mpmath."""
BLOCK = 1 << 22


@dataclass(frozen=True)
class Function:
    """A function of one number and where it is looked at.

    Attributes
    ----------
    exact : callable
        Of mpmath's numbers.
    single, double : (float, float)
        The range of the sweep.
    wide : callable or None
        The same in NumPy's float64; None where there is none, and mpmath takes a sample.
    """

    exact: Exact
    single: tuple[float, float]
    double: tuple[float, float]
    wide: Callable[[Any], Any] | None = None


_ALL = (-math.inf, math.inf)
_POSITIVE = (0.0, math.inf)
FUNCTIONS: dict[str, Function] = {
    "exp": Function(mpmath.exp, (-104, 88.8), (-745, 709.7), np.exp),
    "exp2": Function(lambda x: mpmath.power(2, x), (-150, 128), (-1074, 1024), np.exp2),
    "expm1": Function(mpmath.expm1, (-104, 88.8), (-745, 709.7), np.expm1),
    "log": Function(mpmath.log, _POSITIVE, _POSITIVE, np.log),
    "log2": Function(lambda x: mpmath.log(x, 2), _POSITIVE, _POSITIVE, np.log2),
    "log10": Function(mpmath.log10, _POSITIVE, _POSITIVE, np.log10),
    "log1p": Function(mpmath.log1p, (-1, math.inf), (-1, math.inf), np.log1p),
    "tanh": Function(mpmath.tanh, _ALL, _ALL, np.tanh),
    "sin": Function(mpmath.sin, _ALL, _ALL, np.sin),
    "cos": Function(mpmath.cos, _ALL, _ALL, np.cos),
    "tan": Function(mpmath.tan, _ALL, _ALL, np.tan),
    "sinh": Function(mpmath.sinh, (-89.4, 89.4), (-710, 710), np.sinh),
    "cosh": Function(mpmath.cosh, (-89.4, 89.4), (-710, 710), np.cosh),
    "asin": Function(mpmath.asin, (-1, 1), (-1, 1), np.arcsin),
    "acos": Function(mpmath.acos, (-1, 1), (-1, 1), np.arccos),
    "atan": Function(mpmath.atan, _ALL, _ALL, np.arctan),
    "asinh": Function(mpmath.asinh, _ALL, _ALL, np.arcsinh),
    "acosh": Function(mpmath.acosh, (1, math.inf), (1, math.inf), np.arccosh),
    "atanh": Function(mpmath.atanh, (-1, 1), (-1, 1), np.arctanh),
    "cbrt": Function(lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), _ALL, _ALL, np.cbrt),
    "rsqrt": Function(lambda x: 1 / mpmath.sqrt(x), _POSITIVE, _POSITIVE, lambda x: 1 / np.sqrt(x)),
    "erf": Function(mpmath.erf, _ALL, _ALL),
    "erfc": Function(mpmath.erfc, (-10, 9.1), (-27, 26)),
    "lgamma": Function(mpmath.loggamma, (1e-30, 1e30), (1e-300, 1e300)),
    "digamma": Function(mpmath.digamma, (1e-30, 1e30), (1e-300, 1e300)),
    "trigamma": Function(lambda x: mpmath.polygamma(1, x), (1e-15, 1e15), (1e-100, 1e15)),
    "erfinv": Function(mpmath.erfinv, (-0.999999, 0.999999), (-0.999999, 0.999999)),
    "i0": Function(lambda x: mpmath.besseli(0, x), (-88, 88), (-700, 700)),
    "i0e": Function(lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x)), (-1e4, 1e4), (-1e4, 1e4)),
    "i1": Function(lambda x: mpmath.besseli(1, x), (-88, 88), (-700, 700)),
    "i1e": Function(lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)), (-1e4, 1e4), (-1e4, 1e4)),
}


def public(name: str) -> Callable[[Any], Any]:
    """The function of `fg` that computes row `name`."""
    others = {"lgamma": fg.special.gammaln, "trigamma": lambda x: fg.special.polygamma(1, x)}
    found = others.get(name) or getattr(fg, name, None) or getattr(fg.special, name)
    result: Callable[[Any], Any] = fg.compile(found)
    return result


def units(got: Any, exact: Any, dtype: Any) -> Any:
    """Errors in units in the last place of the exact result; where that is no number, zero."""
    info = np.finfo(dtype)
    _, power = np.frexp(np.abs(exact.astype(np.float64)))
    unit = np.ldexp(np.longdouble(1), np.maximum(power - 1, info.minexp) - info.nmant)
    with np.errstate(all="ignore"):
        errors = np.abs(got.astype(np.longdouble) - exact) / unit
        rounded = exact.astype(dtype)
    return np.where(np.isfinite(rounded), errors, np.where(got == rounded, 0, np.inf))


def _inside(x: Any, bounds: tuple[float, float]) -> Any:
    return x[np.isfinite(x) & (x > bounds[0]) & (x < bounds[1])]


def _exactly(function: Exact, x: Any) -> Any:
    """Results of mpmath, rounded to long double."""
    result = []
    with mpmath.workdps(60):
        for value in x:
            size = abs(math.frexp(float(value))[1])
            with mpmath.workdps(40 + size // 3):
                exact = mpmath.re(function(mpmath.mpf(float(value))))
                high = float(exact)
                low = float(exact - mpmath.mpf(high)) if math.isfinite(high) else 0.0
            result.append(np.longdouble(high) + np.longdouble(low))
    return np.array(result, np.longdouble)


def _worst(errors: Any, x: Any) -> tuple[float, float]:
    if not errors.size:
        return 0.0, math.nan
    place = int(np.argmax(errors))
    return float(errors[place]), float(x[place])


def sweep32(name: str, step: int) -> tuple[float, float]:
    """The largest error of a function of float32, and where; every `step`-th number is taken."""
    function, call = FUNCTIONS[name], public(name)
    worst = (0.0, math.nan)
    if function.wide is None:
        bits = np.random.default_rng(1).integers(0, 2**32, POINTS * 4, dtype=np.uint32)
        x = _inside(bits.view(np.float32), function.single)[:POINTS]
        low, high = (max(min(b, 30.0), -30.0) for b in function.single)
        dense = np.random.default_rng(2).uniform(low, high, POINTS).astype(np.float32)
        x = np.concatenate([x, _inside(dense, function.single)])
        return _worst(units(call(x).numpy(), _exactly(function.exact, x), np.float32), x)
    for start in range(0, 1 << 32, BLOCK * step):
        bits = np.arange(start, min(start + BLOCK * step, 1 << 32), step, dtype=np.uint32)
        x = _inside(bits.view(np.float32), function.single)
        if x.size:
            with np.errstate(all="ignore"):
                exact = function.wide(x.astype(np.float64)).astype(np.longdouble)
            worst = max(worst, _worst(units(call(x).numpy(), exact, np.float32), x))
    return worst


def sweep64(name: str) -> tuple[float, float]:
    """The largest error of a function of float64 among random numbers, and where."""
    function, call = FUNCTIONS[name], public(name)
    random = np.random.default_rng(3)
    bits = random.integers(0, 2**64, POINTS * 4, dtype=np.uint64)
    low, high = (max(min(b, 30.0), -30.0) for b in function.double)
    everywhere = _inside(bits.view(np.float64), function.double)[:POINTS]
    x = np.concatenate([everywhere, _inside(random.uniform(low, high, POINTS), function.double)])
    return _worst(units(call(x).numpy(), _exactly(function.exact, x), np.float64), x)


HEAD = (
    "| function | float32: bound | measured | at | float64: bound | measured | at |",
    "|---|---|---|---|---|---|---|",
)


def row(name: str, step: int) -> str:
    """One line of the table."""
    bounds = TABLE[name].max_ulp
    (single, at32), (double, at64) = sweep32(name, step), sweep64(name)
    return (
        f"| {name} | {bounds[float32]:g} | {single:.2f} | {at32:.6g} "
        f"| {bounds[float64]:g} | {double:.2f} | {at64:.6g} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status is 1 where a bound does not hold."""
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--step", type=int, default=256, help="every N-th float32; default: 256")
    parser.add_argument("--only", nargs="+", choices=list(FUNCTIONS), default=list(FUNCTIONS))
    parser.add_argument("--write", type=Path, metavar="FILE", help="the page with the table")
    options = parser.parse_args(arguments)
    lines = list(HEAD)
    print("\n".join(HEAD))
    for name in options.only:
        lines.append(row(name, options.step))
        print(lines[-1], flush=True)
    if options.write:
        page = options.write.read_text()
        before, rest = page.split("<!-- begin table -->")
        _, after = rest.split("<!-- end table -->")
        table = "\n".join(["<!-- begin table -->", *lines, "<!-- end table -->"])
        options.write.write_text(before + table + after)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines[2:]]
    exceeded = [c[1] for c in cells if float(c[3]) > float(c[2]) or float(c[6]) > float(c[5])]
    if exceeded:
        print("beyond their bounds:", ", ".join(exceeded))
    return 1 if exceeded else 0


if __name__ == "__main__":
    raise SystemExit(main())
