"""A training step of a small GPT: blocks of causal attention and two linear maps, with Adam.

Knows no clock.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Torch
from benchmarks.workload import Inputs, Tolerance, Work, Workload

from .training import Arrays, adam_steps, jax_cross_entropy, numpy_cross_entropy

EPSILON = 1e-5
HEAD_WIDTH = 32
"""Of an attention head, in both sizes a divisor of the width."""


def _inputs(
    generator: np.random.Generator, layers: int, width: int, times: int, batch: int, vocabulary: int
) -> Inputs:
    def normal(*shape: int, scale: float) -> np.ndarray:
        return np.asarray(generator.standard_normal(shape) * scale, np.float32)

    arrays: Inputs = {
        "ids": generator.integers(0, vocabulary, (batch, times)),
        "labels": generator.integers(0, vocabulary, (batch, times)),
        "tokens.weight": normal(vocabulary, width, scale=0.5),
        "places.weight": normal(times, width, scale=0.5),
    }

    def linear(name: str, out: int, given: int) -> None:
        arrays[f"{name}.weight"] = normal(out, given, scale=given**-0.5)
        arrays[f"{name}.bias"] = normal(out, scale=0.1)

    def norm(name: str) -> None:
        arrays[f"{name}.weight"] = 1 + normal(width, scale=0.1)
        arrays[f"{name}.bias"] = normal(width, scale=0.1)

    for layer in range(layers):
        norm(f"blocks.{layer}.norm1")
        linear(f"blocks.{layer}.attention", 3 * width, width)
        # The gradient of the keys' bias is zero up to rounding, which Adam would blow up.
        del arrays[f"blocks.{layer}.attention.bias"]
        linear(f"blocks.{layer}.output", width, width)
        norm(f"blocks.{layer}.norm2")
        linear(f"blocks.{layer}.wide", 4 * width, width)
        linear(f"blocks.{layer}.narrow", width, 4 * width)
    norm("norm")
    linear("head", vocabulary, width)
    return arrays


def _work(layers: int, width: int, times: int, batch: int, vocabulary: int) -> Work:
    """Count three products of each weight, and three of each of the two of attention."""
    weights = layers * 12 * width**2 + vocabulary * width
    attention = layers * 2 * batch * times**2 * width
    parameters = weights + (vocabulary + times) * width + layers * 10 * width
    return Work(
        moved=4 * 2 * 3 * parameters + 16 * batch * times,
        flops=3 * 2 * (batch * times * weights + attention),
    )


def _heads(width: int) -> int:
    return max(width // HEAD_WIDTH, 1)


# --- fusegrad and torch ---------------------------------------------------------------------------


def _model(library: Fused | Torch, parameters: Arrays) -> Any:
    nn, functional, module = library.nn, library.functional, library.module
    vocabulary, width = parameters["tokens.weight"].shape
    times, heads = len(parameters["places.weight"]), _heads(width)
    layers = sum(name.endswith("norm1.bias") for name in parameters)

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = nn.Linear(width, 3 * width, bias=False)
            self.output = nn.Linear(width, width)
            self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def attend(self, x: Any) -> Any:
            q, k, v = self.attention(x).chunk(3, -1)
            q, k, v = (
                y.reshape(*x.shape[:2], heads, width // heads).transpose(1, 2) for y in (q, k, v)
            )
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.output(y.transpose(1, 2).reshape(x.shape))

        def forward(self, x: Any) -> Any:
            x = x + self.attend(self.norm1(x))
            return x + self.narrow(functional.gelu(self.wide(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(times, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary)

        def forward(self, ids: Any, labels: Any) -> Any:
            x = self.tokens(ids) + self.places(module.arange(times))
            logits = self.head(self.norm(self.blocks(x)))
            return functional.cross_entropy(logits.reshape(-1, vocabulary), labels.reshape(-1))

    return Model()


# --- jax ------------------------------------------------------------------------------------------


def _jax_loss(jax: Any, parameters: Arrays, data: Arrays) -> Any:
    jnp = jax.numpy
    width = parameters["tokens.weight"].shape[1]
    times, heads = len(parameters["places.weight"]), _heads(width)
    layers = sum(name.endswith("norm1.bias") for name in parameters)
    seen = jnp.tril(jnp.ones((times, times), bool))

    def linear(name: str, x: Any) -> Any:
        return x @ parameters[f"{name}.weight"].T + parameters.get(f"{name}.bias", 0)

    def norm(name: str, x: Any) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        scaled = centred * jax.lax.rsqrt(variance + EPSILON)
        return scaled * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]

    x = parameters["tokens.weight"][data["ids"]] + parameters["places.weight"]
    for layer in range(layers):
        block = f"blocks.{layer}"
        parts = jnp.split(linear(f"{block}.attention", norm(f"{block}.norm1", x)), 3, axis=-1)
        q, k, v = (y.reshape(*x.shape[:2], heads, -1) for y in parts)
        scores = jnp.einsum("blhd,bshd->bhls", q, k) / math.sqrt(width // heads)
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
        y = jnp.einsum("bhls,bshd->blhd", weights, v).reshape(x.shape)
        x = x + linear(f"{block}.output", y)
        wide = linear(f"{block}.wide", norm(f"{block}.norm2", x))
        x = x + linear(f"{block}.narrow", jax.nn.gelu(wide, approximate=True))
    return jax_cross_entropy(jax, linear("head", norm("norm", x)), data["labels"])


# --- NumPy ----------------------------------------------------------------------------------------


class _Tape:
    """Forward computations in NumPy, each of which says how to go back."""

    def __init__(self, parameters: Arrays) -> None:
        self.parameters = parameters
        self.gradients: Arrays = {}

    def linear(self, name: str, x: np.ndarray) -> tuple[np.ndarray, Any]:
        weight = self.parameters[f"{name}.weight"]

        def back(g: np.ndarray) -> np.ndarray:
            flat = g.reshape(-1, g.shape[-1])
            self.gradients[f"{name}.weight"] = flat.T @ x.reshape(-1, x.shape[-1])
            self.gradients[f"{name}.bias"] = flat.sum(axis=0)
            return np.asarray(g @ weight)

        return x @ weight.T + self.parameters.get(f"{name}.bias", 0), back

    def norm(self, name: str, x: np.ndarray) -> tuple[np.ndarray, Any]:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON)
        scaled = centred / deviation
        weight = self.parameters[f"{name}.weight"]

        def back(g: np.ndarray) -> np.ndarray:
            self.gradients[f"{name}.weight"] = (g * scaled).sum(axis=(0, 1))
            self.gradients[f"{name}.bias"] = g.sum(axis=(0, 1))
            inner = g * weight
            inner = inner - inner.mean(axis=-1, keepdims=True)
            inner -= scaled * (g * weight * scaled).mean(axis=-1, keepdims=True)
            return np.asarray(inner / deviation)

        return scaled * weight + self.parameters[f"{name}.bias"], back


def _gelu(x: np.ndarray) -> tuple[np.ndarray, Any]:
    factor = math.sqrt(2 / math.pi)
    inner = np.tanh(factor * (x + 0.044715 * x**3))

    def back(g: np.ndarray) -> np.ndarray:
        slope = factor * (1 + 3 * 0.044715 * x * x) * (1 - inner * inner)
        return np.asarray(g * 0.5 * (1 + inner + x * slope))

    return 0.5 * x * (1 + inner), back


def _attend(x: np.ndarray) -> tuple[np.ndarray, Any]:
    """Causal attention of queries, keys and values that lie side by side."""
    batch, times, triple = x.shape
    heads = _heads(triple // 3)
    q, k, v = x.reshape(batch, times, 3, heads, -1).transpose(2, 0, 3, 1, 4)
    scale = 1 / math.sqrt(q.shape[-1])
    scores = np.where(np.tri(times, dtype=bool), q @ k.swapaxes(-1, -2) * scale, -np.inf)
    power = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = power / power.sum(axis=-1, keepdims=True)

    def joined(y: np.ndarray) -> np.ndarray:
        return y.swapaxes(1, 2).reshape(batch, times, -1)

    def back(g: np.ndarray) -> np.ndarray:
        g = g.reshape(batch, times, heads, -1).swapaxes(1, 2)
        d_weights = g @ v.swapaxes(-1, -2)
        inner = (d_weights * weights).sum(axis=-1, keepdims=True)
        d_scores = weights * (d_weights - inner) * scale
        parts = (d_scores @ k, d_scores.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ g)
        together: np.ndarray = np.concatenate([joined(part) for part in parts], axis=-1)
        return together

    return joined(weights @ v), back


def _numpy_gradients(parameters: Arrays, data: Arrays) -> tuple[Any, Arrays]:
    tape = _Tape(parameters)
    layers = sum(name.endswith("norm1.bias") for name in parameters)
    x = parameters["tokens.weight"][data["ids"]] + parameters["places.weight"]
    residual: list[list[Any]] = []
    branches: Any = (("norm1", "attention", _attend, "output"), ("norm2", "wide", _gelu, "narrow"))
    for layer in range(layers):
        block = f"blocks.{layer}"
        for names in branches:
            y, backs = x, []
            for name in names:
                if callable(name):
                    y, back = name(y)
                elif name.startswith("norm"):
                    y, back = tape.norm(f"{block}.{name}", y)
                else:
                    y, back = tape.linear(f"{block}.{name}", y)
                backs.append(back)
            x = x + y
            residual.append(backs)
    x, norm_back = tape.norm("norm", x)
    logits, head_back = tape.linear("head", x)
    loss, delta = numpy_cross_entropy(
        logits.reshape(-1, logits.shape[-1]), data["labels"].reshape(-1)
    )
    g = norm_back(head_back(delta.reshape(logits.shape)))
    for backs in reversed(residual):
        inner = g
        for back in reversed(backs):
            inner = back(inner)
        g = g + inner
    d_tokens = np.zeros_like(parameters["tokens.weight"])
    np.add.at(d_tokens, data["ids"].reshape(-1), g.reshape(-1, g.shape[-1]))
    return loss, {**tape.gradients, "tokens.weight": d_tokens, "places.weight": g.sum(axis=0)}


WORKLOAD = Workload(
    name="gpt",
    title="GPT, 4 layers, width 256, 8 heads, 128 times, batch 8, vocabulary 256, Adam step",
    sizes={
        "full": {"layers": 4, "width": 256, "times": 128, "batch": 8, "vocabulary": 256},
        "small": {"layers": 2, "width": 64, "times": 5, "batch": 3, "vocabulary": 11},
    },
    inputs=_inputs,
    work=_work,
    builders=adam_steps(_numpy_gradients, _model, _jax_loss),
    steps=3,
    tolerance=Tolerance(relative=1e-3, scaled=1e-3, outliers=1e-3),
)
