"""Training steps as users write them, once for fusegrad and torch: their names are the same.

Each function takes a library and gives its model and a function from inputs to a loss; `MODELS` has
the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RNG = np.random.default_rng(7)


@dataclass(frozen=True)
class Library:
    """The parts of fusegrad or torch under torch's names."""

    top: Any
    nn: Any
    functional: Any
    optim: Any
    array: Callable[[np.ndarray], Any]


Loss = Callable[..., Any]


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


def vision_transformer(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 24, 4, 4)
            self.first = nn.Parameter(top.zeros(1, 1, 24))
            self.places = nn.Parameter(top.zeros(1, 17, 24))
            layer = nn.TransformerEncoderLayer(
                24, 3, 48, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 5))

        def forward(self, x: Any) -> Any:
            x = self.patches(x).flatten(2).transpose(1, 2)
            x = top.cat([self.first.expand(x.shape[0], -1, -1), x], dim=1) + self.places
            return self.head(self.encoder(x)[:, 0])

    model = Model()
    return model, lambda x, y: lib.functional.cross_entropy(model(x), y)


def unet(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn

    def block(before: int, after: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(2, after), nn.SiLU()
        )

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.down, self.middle, self.up = block(3, 8), block(8, 12), block(16, 8)
            self.grow = nn.ConvTranspose2d(12, 8, 2, 2)
            self.time = nn.Linear(4, 12)
            self.out = nn.Conv2d(8, 3, 1)

        def forward(self, x: Any, t: Any) -> Any:
            high = self.down(x)
            low = self.middle(lib.functional.max_pool2d(high, 2))
            low = low + self.time(t)[:, :, None, None]
            return self.out(self.up(top.cat([self.grow(low), high], 1)))

    model = Model()
    return model, lambda x, t, noise: lib.functional.mse_loss(model(x, t), noise)


def variational_autoencoder(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn
    model = nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Linear(30, 20), nn.ReLU()),
            "mean": nn.Linear(20, 4),
            "log_variance": nn.Linear(20, 4),
            "decoder": nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 30)),
        }
    )

    def loss(x: Any, noise: Any) -> Any:
        hidden = model["encoder"](x)
        mean, log_variance = model["mean"](hidden), model["log_variance"](hidden)
        again = model["decoder"](mean + noise * top.exp(0.5 * log_variance))
        likelihood = lib.functional.binary_cross_entropy_with_logits(again, x, reduction="sum")
        return likelihood - 0.5 * top.sum(1 + log_variance - mean.pow(2) - log_variance.exp())

    return model, loss


def translation(lib: Library) -> tuple[Any, Loss]:
    nn = lib.nn

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target = nn.Embedding(20, 16), nn.Embedding(20, 16)
            self.transformer = nn.Transformer(16, 2, 1, 1, 24, dropout=0.0, batch_first=True)
            self.out = nn.Linear(16, 20)

        def forward(self, a: Any, b: Any) -> Any:
            mask = nn.Transformer.generate_square_subsequent_mask(b.shape[1])
            hidden = self.transformer(
                self.source(a),
                self.target(b),
                tgt_mask=mask,
                src_key_padding_mask=a == 0,
                memory_key_padding_mask=a == 0,
            )
            return self.out(hidden)

    model = Model()

    def loss(a: Any, b: Any) -> Any:
        scores = model(a, b[:, :-1]).reshape(-1, 20)
        return lib.functional.cross_entropy(scores, b[:, 1:].reshape(-1), ignore_index=0)

    return model, loss


def both_directions(lib: Library) -> tuple[Any, Loss]:
    nn = lib.nn
    model = nn.ModuleList([nn.GRU(3, 8, 2, batch_first=True, bidirectional=True), nn.Linear(16, 1)])
    return model, lambda x, y: lib.functional.smooth_l1_loss(
        model[1](model[0](x)[0][:, -1])[:, 0], y
    )


def graph_network(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn
    model = nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 3)])

    def neighbours(x: Any, edges: Any, weights: Any) -> Any:
        return top.zeros_like(x).index_add(0, edges[1], x[edges[0]] * weights[:, None])

    def loss(x: Any, edges: Any, weights: Any, y: Any) -> Any:
        hidden = lib.functional.relu(model[0](neighbours(x, edges, weights)))
        scores = model[1](neighbours(hidden, edges, weights))
        return lib.functional.cross_entropy(scores, y)

    return model, loss


def recommendation(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn
    model = nn.ModuleDict(
        {
            "tables": nn.ModuleList([nn.Embedding(11, 4) for _ in range(3)]),
            "bottom": nn.Sequential(nn.Linear(5, 4), nn.ReLU()),
            "top": nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 1)),
        }
    )
    rows, columns = np.tril_indices(4, -1)

    def loss(x: Any, places: Any, y: Any) -> Any:
        dense = model["bottom"](x)
        found = [table(places[:, i]) for i, table in enumerate(model["tables"])]
        features = top.stack([dense, *found], 1)
        pairs = top.bmm(features, features.transpose(1, 2))
        chosen = pairs[:, lib.array(rows), lib.array(columns)]
        scores = model["top"](top.cat([dense, chosen], 1))[:, 0]
        return lib.functional.binary_cross_entropy_with_logits(scores, y)

    return model, loss


def differential_equation(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn
    model = nn.Sequential(nn.Linear(2, 10), nn.Tanh(), nn.Linear(10, 2))

    def loss(y: Any, wanted: Any) -> Any:
        states, h = [], 0.1
        for _ in range(5):
            k1 = model(y**3)
            k2 = model((y + h / 2 * k1) ** 3)
            k3 = model((y + h / 2 * k2) ** 3)
            k4 = model((y + h * k3) ** 3)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            states.append(y)
        return (top.stack(states) - wanted).abs().mean()

    return model, loss


def inverted_residuals(lib: Library) -> tuple[Any, Loss]:
    nn = lib.nn

    def block(before: int, after: int, stride: int) -> Any:
        wide = 3 * before
        return nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 1, 1)
            self.first, self.second = block(8, 8, 1), block(8, 12, 2)
            self.head = nn.Linear(12, 4)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            x = self.second(x + self.first(x))
            return self.head(lib.functional.adaptive_avg_pool2d(x, 1).flatten(1))

    model = Model()
    return model, lambda x, y: lib.functional.cross_entropy(model(x), y, label_smoothing=0.1)


def dilated_sequence(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn
    model = nn.ModuleDict(
        {
            "first": nn.Conv1d(1, 6, 1),
            "filters": nn.ModuleList([nn.Conv1d(6, 6, 2, dilation=2**k) for k in range(3)]),
            "gates": nn.ModuleList([nn.Conv1d(6, 6, 2, dilation=2**k) for k in range(3)]),
            "mixes": nn.ModuleList([nn.Conv1d(6, 6, 1) for _ in range(3)]),
            "last": nn.Conv1d(6, 7, 1),
        }
    )

    def loss(x: Any, y: Any) -> Any:
        x, skipped = model["first"](x), 0
        for k in range(3):
            padded = lib.functional.pad(x, (2**k, 0))
            gate = top.sigmoid(model["gates"][k](padded))
            mixed = model["mixes"][k](top.tanh(model["filters"][k](padded)) * gate)
            skipped, x = skipped + mixed, x + mixed
        return lib.functional.cross_entropy(model["last"](lib.functional.relu(skipped)), y)

    return model, loss


def mixture_of_experts(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn
    model = nn.ModuleDict(
        {
            "gate": nn.Linear(6, 4),
            "experts": nn.ModuleList(
                [nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6)) for _ in range(4)]
            ),
        }
    )

    def loss(x: Any, y: Any) -> Any:
        values, places = top.topk(model["gate"](x), 2, dim=-1)
        weights = top.zeros(x.shape[0], 4).scatter(1, places, lib.functional.softmax(values, -1))
        out = sum(weights[:, k : k + 1] * expert(x) for k, expert in enumerate(model["experts"]))
        return lib.functional.mse_loss(out, y)

    return model, loss


def language_model(lib: Library) -> tuple[Any, Loss]:
    top, nn, functional = lib.top, lib.nn, lib.functional
    width, heads, groups = 16, 4, 2
    angles = np.outer(np.arange(9), 100.0 ** (-np.arange(2) / 2)).astype(np.float32)

    class Scale(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(top.ones(width))

        def forward(self, x: Any) -> Any:
            return x * top.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight

    def turned(x: Any) -> Any:
        cos, sin = lib.array(np.cos(angles)), lib.array(np.sin(angles))
        a, b = x.chunk(2, -1)
        return top.cat([a * cos - b * sin, b * cos + a * sin], -1)

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = Scale(), Scale()
            narrow = width * groups // heads
            self.query = nn.Linear(width, width, bias=False)
            self.key, self.value = (nn.Linear(width, narrow, bias=False) for _ in range(2))
            self.out = nn.Linear(width, width, bias=False)
            self.gate, self.up = (nn.Linear(width, 40, bias=False) for _ in range(2))
            self.down = nn.Linear(40, width, bias=False)

        def split(self, x: Any, count: int) -> Any:
            return x.view(x.shape[0], x.shape[1], count, width // heads).transpose(1, 2)

        def forward(self, x: Any) -> Any:
            y = self.before(x)
            query = turned(self.split(self.query(y), heads))
            key, value = turned(self.split(self.key(y), groups)), self.split(self.value(y), groups)
            key, value = (t.repeat_interleave(heads // groups, 1) for t in (key, value))
            y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(x.shape))
            y = self.between(x)
            return x + self.down(functional.silu(self.gate(y)) * self.up(y))

    model = nn.Sequential(
        nn.Embedding(13, width), Block(), Block(), Scale(), nn.Linear(width, 13, bias=False)
    )

    def loss(words: Any) -> Any:
        scores = model(words[:, :-1]).reshape(-1, 13)
        return functional.cross_entropy(scores, words[:, 1:].reshape(-1))

    return model, loss


def policy_gradient(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 10), nn.Tanh())
            self.mean, self.value = nn.Linear(10, 2), nn.Linear(10, 1)
            self.log_deviation = nn.Parameter(top.zeros(2))

    model = Model()

    def loss(seen: Any, taken: Any, before: Any, advantage: Any, wanted: Any) -> Any:
        hidden = model.body(seen)
        mean, value = model.mean(hidden), model.value(hidden)[:, 0]
        scaled = (taken - mean) / model.log_deviation.exp()
        likelihood = (-0.5 * scaled**2 - model.log_deviation).sum(-1)
        advantage = (advantage - advantage.mean()) / (advantage.std(correction=1) + 1e-8)
        ratio = (likelihood - before).exp()
        limited = top.clamp(ratio, 0.8, 1.2) * advantage
        gain = top.min(ratio * advantage, limited).mean()
        return 0.5 * (wanted - value).pow(2).mean() - gain - 0.01 * model.log_deviation.sum()

    return model, loss


def contrast(lib: Library) -> tuple[Any, Loss]:
    top, nn, functional = lib.top, lib.nn, lib.functional

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(12, 6), nn.Linear(9, 6)
            self.heat = nn.Parameter(top.tensor(2.65))

    model = Model()

    def loss(x: Any, y: Any) -> Any:
        one = functional.normalize(model.one(x), dim=-1)
        other = functional.normalize(model.other(y), dim=-1)
        scores, wanted = model.heat.exp() * one @ other.T, top.arange(x.shape[0])
        ways = (functional.cross_entropy(s, wanted) for s in (scores, scores.T))
        return sum(ways) / 2

    return model, loss


def shifted_windows(lib: Library) -> tuple[Any, Loss]:
    top, nn = lib.top, lib.nn
    side, heads, width = 2, 2, 8
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij")).reshape(2, -1)
    apart = grid[:, :, None] - grid[:, None, :] + side - 1
    places = apart[0] * (2 * side - 1) + apart[1]

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, shift: int) -> None:
            super().__init__()
            self.shift = shift
            self.norm, self.all = nn.LayerNorm(width), nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)
            self.bias = nn.Parameter(top.zeros((2 * side - 1) ** 2, heads))

        def forward(self, x: Any) -> Any:
            batch, rows, columns, _ = x.shape
            y = top.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
            y = y.view(batch, rows // side, side, columns // side, side, width)
            y = y.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, width)
            y = self.all(y).view(-1, side * side, 3, heads, width // heads)
            query, key, value = y.permute(2, 0, 3, 1, 4).unbind(0)
            scores = query @ key.transpose(-2, -1) * (width // heads) ** -0.5
            scores = scores + self.bias[lib.array(places)].permute(2, 0, 1)
            y = (lib.functional.softmax(scores, -1) @ value).transpose(1, 2)
            y = self.out(y.reshape(-1, side * side, width))
            y = y.view(batch, rows // side, columns // side, side, side, width)
            y = y.permute(0, 1, 3, 2, 4, 5).reshape(x.shape)
            return x + top.roll(y, (self.shift, self.shift), (1, 2))

    model = nn.ModuleDict(
        {
            "patches": nn.Conv2d(3, width, 2, 2),
            "blocks": nn.ModuleList([Block(0), Block(1)]),
            "head": nn.Linear(width, 3),
        }
    )

    def loss(x: Any, y: Any) -> Any:
        x = model["patches"](x).permute(0, 2, 3, 1)
        for block in model["blocks"]:
            x = block(x)
        return lib.functional.cross_entropy(model["head"](x.mean((1, 2))), y)

    return model, loss


def prices(lib: Library) -> tuple[Any, Loss]:
    top = lib.top
    model = lib.nn.ParameterDict(
        {"rate": lib.nn.Parameter(top.tensor(0.03)), "spread": lib.nn.Parameter(top.tensor(0.2))}
    )

    def below(x: Any) -> Any:
        return 0.5 * (1 + top.erf(x / math.sqrt(2)))

    def loss(price: Any, strike: Any, years: Any) -> Any:
        rate, spread = model["rate"], model["spread"]
        first = (top.log(price / strike) + (rate + spread**2 / 2) * years) / (
            spread * top.sqrt(years)
        )
        second = first - spread * top.sqrt(years)
        return (price * below(first) - strike * top.exp(-rate * years) * below(second)).mean()

    return model, loss


Inputs = tuple[np.ndarray, ...]
MODELS: dict[Callable[[Library], tuple[Any, Loss]], Inputs] = {
    vision_transformer: (normal(3, 3, 16, 16), RNG.integers(0, 5, 3)),
    unet: (normal(2, 3, 8, 8), normal(2, 4), normal(2, 3, 8, 8)),
    variational_autoencoder: (RNG.random((5, 30), dtype=np.float32), normal(5, 4)),
    translation: (
        np.r_["1", RNG.integers(1, 20, (3, 6)), np.zeros((3, 2), int)],
        RNG.integers(1, 20, (3, 7)),
    ),
    both_directions: (normal(4, 7, 3), normal(4)),
    graph_network: (
        normal(10, 6),
        RNG.integers(0, 10, (2, 25)),
        RNG.random(25, dtype=np.float32),
        RNG.integers(0, 3, 10),
    ),
    recommendation: (
        normal(7, 5),
        RNG.integers(0, 11, (7, 3)),
        RNG.integers(0, 2, 7).astype(np.float32),
    ),
    differential_equation: (normal(6, 2), normal(5, 6, 2)),
    inverted_residuals: (normal(3, 3, 8, 8), RNG.integers(0, 4, 3)),
    dilated_sequence: (normal(2, 1, 33), RNG.integers(0, 7, (2, 33))),
    mixture_of_experts: (normal(9, 6), normal(9, 6)),
    language_model: (RNG.integers(0, 13, (2, 10)),),
    policy_gradient: (normal(12, 6), normal(12, 2), normal(12) - 2, normal(12), normal(12)),
    contrast: (normal(8, 12), normal(8, 9)),
    shifted_windows: (normal(2, 3, 8, 8), RNG.integers(0, 3, 2)),
    prices: tuple(
        low + (high - low) * RNG.random(50, dtype=np.float32)
        for low, high in ((50, 150), (50, 150), (0.1, 2))
    ),
}
