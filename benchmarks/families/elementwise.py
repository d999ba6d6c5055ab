"""Chains of one to six elementwise operations on operands that broadcast, of several dtypes.

Knows no process and no clock.
"""

from __future__ import annotations

import random
from typing import Any

from benchmarks.workload import Inputs, Tolerance, Workload

from .case import Formula, case, integers, normal, shape, spelled

UNARY = (
    "m.tanh({x})",
    "m.sin({x})",
    "m.exp(-m.abs({x}))",
    "m.sqrt(m.abs({x}))",
    "m.log1p(m.abs({x}))",
    "{x} * {x}",
    "1 / (1 + m.exp(-{x}))",
    "m.clip({x}, -0.5, 0.75)",
    "m.floor({x})",
)
BINARY = (
    "{x} + {y}",
    "{x} - {y}",
    "{x} * {y}",
    "{x} / (2 + m.abs({y}))",
    "m.maximum({x}, {y})",
    "m.minimum({x}, {y})",
    "m.where({x} > {y}, {x}, -{y})",
)
# A value that is rounded may fall on the other side of a comparison, or of a whole number.
FLOAT = Tolerance(relative=1e-4, scaled=2e-5, outliers=1e-3)
BFLOAT16 = Tolerance(relative=0.03, scaled=0.03, outliers=0.05)


def make(generator: random.Random) -> Workload:
    """A random chain."""
    extents = shape(generator, generator.randint(0, 4))
    dtype = generator.choice(["float32"] * 4 + ["float64", "bfloat16"])
    inputs: Inputs = {}
    for name in "abcd"[: generator.randint(1, 4)]:
        part = extents
        if inputs:
            part = tuple(1 if generator.random() < 0.3 else e for e in extents)
            part = part[generator.choice([0, 0, 0, len(part) // 2]) :]
        kind = generator.choice(["float32"] * 4 + ["float64", "int32", "bool"])
        if kind in ("int32", "bool"):
            inputs[name] = integers(generator, part, 2 if kind == "bool" else 5, kind)
        else:
            inputs[name] = normal(generator, part, kind)
    steps: list[str] = []
    for _ in range(generator.randint(1, 6)):
        template = generator.choice(UNARY if generator.random() < 0.5 else BINARY)
        steps.append(template.format(x="v", y=generator.choice(list(inputs))))
    kinds = ", ".join(f"{n}: {v.dtype}[{spelled(v.shape)}]" for n, v in inputs.items())
    return case(
        f"{'; '.join(steps)} in {dtype} of {kinds}",
        inputs,
        {name: _formula(name, steps, list(inputs), dtype) for name in CASTS},
        tolerance=BFLOAT16 if dtype == "bfloat16" else FLOAT,
    )


CASTS = {
    "numpy": "{x}.astype('{dtype}', copy=False)",
    "fusegrad": "{x}.astype(m.{dtype})",
    "torch": "{x}.to(m.{dtype})",
    "jax": "{x}.astype(m.{dtype})",
}


def _formula(family: str, steps: list[str], names: list[str], dtype: str) -> Formula:
    """The chain as a function that somebody could have written.

    NumPy has no bfloat16: as the reference it says what the values are before they are rounded.
    """
    cast = CASTS[family]
    half = dtype == "bfloat16"
    inside = "float64" if half and family == "numpy" else dtype
    lines = ["def chain(m, " + ", ".join(names) + "):"]
    if family == "jax":
        lines.append("    m = m.numpy")
    lines += [f"    {name} = {cast.format(x=name, dtype=inside)}" for name in names]
    lines += ["    v = a", *(f"    v = {step}" for step in steps)]
    lines.append("    return " + (cast.format(x="v", dtype="float32") if half else "v"))
    scope: dict[str, Any] = {}
    exec("\n".join(lines), scope)
    made: Formula = scope["chain"]
    return made
