"""A training step of a small residual network with batch normalisation, and Adam.

Knows no clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Torch
from benchmarks.workload import Inputs, Tolerance, Work, Workload

from .numpy_images import Array, batch_norm, convolution, linear, relu
from .training import Arrays, adam_steps, jax_cross_entropy, numpy_cross_entropy

CLASSES = 10


def _layers(widths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The weights of convolutions by name; each has a batch normalisation behind it."""
    result: dict[str, tuple[int, ...]] = {"stem": (widths[0], 3, 3, 3)}
    for number, width in enumerate(widths):
        below = widths[max(0, number - 1)]
        result[f"blocks.{number}.c1"] = (width, below, 3, 3)
        result[f"blocks.{number}.c2"] = (width, width, 3, 3)
        if number:
            result[f"blocks.{number}.short"] = (width, below, 1, 1)
    return result


def _norm(layer: str) -> str:
    return f"{layer}_norm"


def _inputs(
    generator: np.random.Generator, batch: int, size: int, widths: tuple[int, ...]
) -> Inputs:
    arrays: Inputs = {
        "x": generator.standard_normal((batch, 3, size, size), dtype=np.float32),
        "labels": generator.integers(0, CLASSES, batch),
    }
    for name, shape in _layers(widths).items():
        values = generator.standard_normal(shape, dtype=np.float32)
        arrays[f"{name}.weight"] = values / np.float32(np.prod(shape[1:])) ** np.float32(0.5)
        arrays[f"{_norm(name)}.weight"] = np.ones(shape[0], np.float32)
        arrays[f"{_norm(name)}.bias"] = np.zeros(shape[0], np.float32)
    head = generator.standard_normal((CLASSES, widths[-1]), dtype=np.float32)
    arrays["head.weight"] = head / np.float32(widths[-1] ** 0.5)
    arrays["head.bias"] = np.zeros(CLASSES, np.float32)
    return arrays


def _work(batch: int, size: int, widths: tuple[int, ...]) -> Work:
    """Count three products of each weight; the first layer needs no input gradient."""
    products = parameters = 0
    for name, shape in _layers(widths).items():
        number = int(name.split(".")[1]) if "." in name else 0
        weights = int(np.prod(shape))
        parameters += weights + 2 * shape[0]
        products += (2 if name == "stem" else 3) * weights * (size // 2**number) ** 2
    head = CLASSES * widths[-1]
    parameters += head + CLASSES
    moved = 4 * (6 * parameters + batch * 3 * size**2) + 8 * batch
    return Work(moved=moved, flops=2 * batch * (products + 3 * head))


def _widths(parameters: Arrays) -> tuple[int, ...]:
    count = sum(name.endswith(".c1.weight") for name in parameters)
    return tuple(len(parameters[f"blocks.{number}.c1.weight"]) for number in range(count))


# --- fusegrad and torch ---------------------------------------------------------------------------


def _model(library: Fused | Torch, parameters: Arrays) -> Any:
    nn, functional = library.nn, library.functional
    widths = _widths(parameters)

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, below: int, width: int, stride: int) -> None:
            super().__init__()
            self.c1 = nn.Conv2d(below, width, 3, stride=stride, padding=1, bias=False)
            self.c1_norm = nn.BatchNorm2d(width)
            self.c2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.c2_norm = nn.BatchNorm2d(width)
            self.shortens = stride != 1
            if self.shortens:
                self.short = nn.Conv2d(below, width, 1, stride=stride, bias=False)
                self.short_norm = nn.BatchNorm2d(width)

        def forward(self, x: Any) -> Any:
            y = functional.relu(self.c1_norm(self.c1(x)))
            y = self.c2_norm(self.c2(y))
            return functional.relu(y + (self.short_norm(self.short(x)) if self.shortens else x))

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
            self.stem_norm = nn.BatchNorm2d(widths[0])
            pairs = zip((widths[0], *widths), widths, strict=False)
            self.blocks = nn.Sequential(
                *(Block(below, width, 2 if n else 1) for n, (below, width) in enumerate(pairs))
            )
            self.head = nn.Linear(widths[-1], CLASSES)

        def load_state_dict(self, state: Any) -> Any:
            return super().load_state_dict(state, strict=False)

        def forward(self, x: Any, labels: Any) -> Any:
            x = self.blocks(functional.relu(self.stem_norm(self.stem(x))))
            x = functional.adaptive_avg_pool2d(x, 1).flatten(1)
            return functional.cross_entropy(self.head(x), labels)

    return Model()


# --- jax ------------------------------------------------------------------------------------------


def _jax_loss(jax: Any, parameters: Arrays, data: Arrays) -> Any:
    p = parameters

    def layer(name: str, x: Any, stride: int, padding: int) -> Any:
        y = jax.lax.conv_general_dilated(
            x, p[f"{name}.weight"], (stride, stride), [(padding, padding)] * 2
        )
        mean, variance = y.mean((0, 2, 3), keepdims=True), y.var((0, 2, 3), keepdims=True)
        normal = (y - mean) * jax.lax.rsqrt(variance + 1e-5)
        scale, shift = (p[f"{_norm(name)}.{part}"][:, None, None] for part in ("weight", "bias"))
        return normal * scale + shift

    x = jax.nn.relu(layer("stem", data["x"], 1, 1))
    for number in range(len(_widths(p))):
        name, stride = f"blocks.{number}", 2 if number else 1
        y = jax.nn.relu(layer(f"{name}.c1", x, stride, 1))
        y = layer(f"{name}.c2", y, 1, 1)
        x = jax.nn.relu(y + (layer(f"{name}.short", x, stride, 0) if number else x))
    logits = x.mean((2, 3)) @ p["head.weight"].T + p["head.bias"]
    return jax_cross_entropy(jax, logits, data["labels"])


# --- NumPy ----------------------------------------------------------------------------------------


class _Tape:
    """Layers of a convolution and a batch normalisation, and their gradients."""

    def __init__(self, parameters: Arrays) -> None:
        self.parameters = parameters
        self.gradients: Arrays = {}
        self.backs: dict[str, Any] = {}

    def layer(self, name: str, x: Array, stride: int, padding: int) -> Array:
        p, norm = self.parameters, _norm(name)
        y, by_product = convolution(x, p[f"{name}.weight"], stride, padding)
        y, by_norm = batch_norm(y, p[f"{norm}.weight"], p[f"{norm}.bias"])
        self.backs[name] = by_product, by_norm
        return y

    def back(self, name: str, delta: Array) -> Array:
        by_product, by_norm = self.backs[name]
        delta, scale, shift = by_norm(delta)
        self.gradients[f"{_norm(name)}.weight"] = scale
        self.gradients[f"{_norm(name)}.bias"] = shift
        by_input: Array
        by_input, self.gradients[f"{name}.weight"] = by_product(delta)
        return by_input


def _numpy_gradients(parameters: Arrays, data: Arrays) -> tuple[Any, Arrays]:
    tape = _Tape(parameters)
    x, by_stem = relu(tape.layer("stem", data["x"], 1, 1))
    blocks = []
    for number in range(len(_widths(parameters))):
        name, stride = f"blocks.{number}", 2 if number else 1
        y, by_first = relu(tape.layer(f"{name}.c1", x, stride, 1))
        y = tape.layer(f"{name}.c2", y, 1, 1)
        y = y + (tape.layer(f"{name}.short", x, stride, 0) if number else x)
        x, by_second = relu(y)
        blocks.append((name, by_first, by_second))
    shape = x.shape
    logits, by_head = linear(x.mean((2, 3)), parameters["head.weight"], parameters["head.bias"])
    loss, delta = numpy_cross_entropy(logits, data["labels"])
    delta, tape.gradients["head.weight"], tape.gradients["head.bias"] = by_head(delta)
    delta = np.broadcast_to(delta[:, :, None, None] / (shape[2] * shape[3]), shape)
    for number, (name, by_first, by_second) in reversed(list(enumerate(blocks))):
        delta = by_second(delta)
        direct = tape.back(f"{name}.short", delta) if number else delta
        inner = tape.back(f"{name}.c1", by_first(tape.back(f"{name}.c2", delta)))
        delta = direct + inner
    tape.back("stem", by_stem(delta))
    return loss, tape.gradients


WORKLOAD = Workload(
    name="resnet",
    title="ResNet of 3 blocks, batch 32 of 3x32x32, Adam step",
    sizes={
        "full": {"batch": 32, "size": 32, "widths": (16, 32, 64)},
        "small": {"batch": 4, "size": 8, "widths": (4, 6, 8)},
    },
    inputs=_inputs,
    work=_work,
    builders=adam_steps(_numpy_gradients, _model, _jax_loss),
    steps=1,
    tolerance=Tolerance(relative=1e-3, scaled=1e-3, outliers=2e-2),
)
