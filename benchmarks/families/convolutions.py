"""Convolutions of one and two axes, and their derivatives by input and by weight.

Knows no process and no clock.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.workload import Workload

from .case import LARGEST, Formula, case, extent, normal, spelled

MOST_FLOPS = 1 << 30
AXES = ("W", "HW")


@dataclass(frozen=True)
class Geometry:
    """A convolution of `(batch, groups * channels, *extents)` by as many groups of weights."""

    batch: int
    groups: int
    channels: int
    outputs: int
    extents: tuple[int, ...]
    sizes: tuple[int, ...]
    stride: int
    padding: int
    dilation: int

    @property
    def counts(self) -> tuple[int, ...]:
        """The extents of the result."""
        reach = (self.dilation * (k - 1) + 1 for k in self.sizes)
        room = (e + 2 * self.padding - r for e, r in zip(self.extents, reach, strict=True))
        return tuple(r // self.stride + 1 for r in room)

    @property
    def flops(self) -> int:
        """Of each of the three products."""
        sums = self.groups * self.channels * self.outputs * int(np.prod(self.sizes))
        return 2 * self.batch * sums * int(np.prod(self.counts))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of input `x`, weight `w` and result `g`."""
        return {
            "x": (self.batch, self.groups * self.channels, *self.extents),
            "w": (self.groups * self.outputs, self.channels, *self.sizes),
            "g": (self.batch, self.groups * self.outputs, *self.counts),
        }

    @property
    def options(self) -> dict[str, int]:
        """The parameters as torch and fusegrad name them."""
        names = ("stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        x, w = spelled(self.shapes["x"]), spelled(self.shapes["w"])
        plain = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        rest = [f"{n} {v}" for n, v in self.options.items() if v != plain[n]]
        return ", ".join([f"{x} by {w}", *rest])


# --- what each library computes -------------------------------------------------------------------


def _numpy(shape: Geometry, kind: str) -> Formula:
    """One product of matrices for each element of the window."""

    def run(_: Any, *arrays: np.ndarray) -> np.ndarray:
        given = dict(zip(INPUTS[kind], arrays, strict=True))
        dtype = arrays[0].dtype
        pads = [(0, 0), (0, 0), *[(shape.padding, shape.padding)] * len(shape.sizes)]
        shapes = shape.shapes
        x = np.pad(given["x"] if "x" in given else np.zeros(shapes["x"], dtype), pads)
        w, g = (given[n] if n in given else np.zeros(shapes[n], dtype) for n in "wg")
        apart = (shape.batch, shape.groups, -1, *shape.counts)
        rows = w.reshape(shape.groups, shape.outputs, shape.channels, *shape.sizes)
        g = g.reshape(apart)
        step = shape.stride
        for tap in np.ndindex(*shape.sizes):
            places = tuple(
                slice(k * shape.dilation, k * shape.dilation + (n - 1) * step + 1, step)
                for k, n in zip(tap, shape.counts, strict=True)
            )
            at, row = (slice(None), slice(None), *places), (..., *tap)
            if kind == "by input":
                term = np.einsum("bgo...,goc->bgc...", g, rows[row], optimize=True)
                x[at] += term.reshape(x[at].shape)
                continue
            part = x[at].reshape(apart)
            if kind == "forward":
                g += np.einsum("bgc...,goc->bgo...", part, rows[row], optimize=True)
            else:
                flat = (shape.batch, shape.groups, -1, int(np.prod(shape.counts)))
                rows[row] = np.einsum(
                    "bgcp,bgop->goc", part.reshape(flat), g.reshape(flat), optimize=True
                )
        if kind == "forward":
            return g.reshape(shapes["g"])
        if kind == "by weight":
            return rows.reshape(shapes["w"])
        inside = (slice(shape.padding, shape.padding + e) for e in shape.extents)
        return x[(slice(None), slice(None), *inside)]

    return run


def _fusegrad(shape: Geometry, kind: str) -> Formula:
    def run(m: Any, a: Any, b: Any) -> Any:
        convolve = getattr(m.nn.functional, f"conv{len(shape.sizes)}d")
        if kind == "forward":
            return convolve(a, b, **shape.options)
        other = m.zeros(shape.shapes["x" if kind == "by input" else "w"])
        if kind == "by input":
            loss = lambda x: (convolve(x, a, **shape.options) * b).sum()  # noqa: E731
        else:
            loss = lambda w: (convolve(a, w, **shape.options) * b).sum()  # noqa: E731
        return m.grad(loss)(other)

    return run


def _torch(shape: Geometry, kind: str) -> Formula:
    def run(m: Any, a: Any, b: Any) -> Any:
        rank = len(shape.sizes)
        if kind == "forward":
            return getattr(m.nn.functional, f"conv{rank}d")(a, b, **shape.options)
        if kind == "by input":
            return getattr(m.nn.grad, f"conv{rank}d_input")(
                shape.shapes["x"], a, b, **shape.options
            )
        return getattr(m.nn.grad, f"conv{rank}d_weight")(a, shape.shapes["w"], b, **shape.options)

    return run


def _jax(shape: Geometry, kind: str) -> Formula:
    def run(jax: Any, a: Any, b: Any) -> Any:
        rank = len(shape.sizes)
        axes = AXES[rank - 1]

        def convolve(x: Any, w: Any) -> Any:
            return jax.lax.conv_general_dilated(
                x,
                w,
                (shape.stride,) * rank,
                [(shape.padding,) * 2] * rank,
                rhs_dilation=(shape.dilation,) * rank,
                dimension_numbers=(f"NC{axes}", f"OI{axes}", f"NC{axes}"),
                feature_group_count=shape.groups,
            )

        if kind == "forward":
            return convolve(a, b)
        if kind == "by input":
            zeros = jax.numpy.zeros(shape.shapes["x"], a.dtype)
            return jax.linear_transpose(lambda x: convolve(x, a), zeros)(b)[0]
        zeros = jax.numpy.zeros(shape.shapes["w"], a.dtype)
        return jax.linear_transpose(lambda w: convolve(a, w), zeros)(b)[0]

    return run


INPUTS = {"forward": "xw", "by input": "wg", "by weight": "xg"}
"""The operands of each of the three products."""


# --- random ones ----------------------------------------------------------------------------------


def geometry(generator: random.Random) -> Geometry:
    """A random convolution: dense, in groups, or of each channel by itself."""
    rank = generator.choice((1, 2, 2, 2))
    groups, channels, outputs = 1, extent(generator, 512), extent(generator, 512)
    style = generator.random()
    if style < 0.15:
        groups, channels, outputs = channels, 1, generator.choice((1, 1, 2))
    elif style < 0.3:
        groups = generator.choice((2, 4, 8))
        channels, outputs = (-(-c // groups) for c in (channels, outputs))
    size = generator.choice((1, 2, 3, 3, 3, 4, 5, 7))
    sizes = (size,) * rank
    if rank == 2 and generator.random() < 0.2:
        sizes = (size, generator.randint(1, 7))
    stride = generator.choice((1, 1, 1, 2, 2, 3))
    dilation = generator.choice((1, 1, 1, 1, 2))
    padding = generator.choice((0, size // 2, size // 2 * dilation))
    least = max(dilation * (k - 1) + 1 for k in sizes)
    most = 224 if rank == 2 else 20_000
    first = extent(generator, most, least)
    extents: tuple[int, ...] = (first,)
    if rank == 2:
        extents = (first, max(least, round(first * generator.choice((1, 1, 0.5, 1.7)))))
    batch = extent(generator, 64)
    while True:
        found = Geometry(
            batch, groups, channels, outputs, extents, sizes, stride, padding, dilation
        )
        elements = max(int(np.prod(s)) for s in found.shapes.values())
        if found.flops <= MOST_FLOPS and elements <= LARGEST:
            return found
        if batch > 1 and (max(extents) < 16 or generator.random() < 0.5):
            batch = -(-batch // 2)
        elif max(extents) > least:
            extents = tuple(max(least, e // 2) for e in extents)
        elif groups > 1 and channels == 1:
            groups = -(-groups // 2)
        else:
            channels, outputs = -(-channels // 2), -(-outputs // 2)


def make(generator: random.Random) -> Workload:
    """A random convolution, or one of its derivatives."""
    shape = geometry(generator)
    kind = generator.choice(list(INPUTS))
    formulas = {"numpy": _numpy, "fusegrad": _fusegrad, "torch": _torch, "jax": _jax}
    return case(
        f"{kind} {shape}",
        {name: normal(generator, shape.shapes[name]) for name in INPUTS[kind]},
        {family: formula(shape, kind) for family, formula in formulas.items()},
    )
