"""Train a network on 1,797 handwritten digits, eager and compiled, and look at what it gets wrong.

The main job of fusegrad: ``@fg.compile`` makes one native program of a whole training step, with
the forward pass, the gradients and the Adam update. Run it with

    python examples/digits.py [--epochs 60] [--seed 0] [--out digits.png]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim

ROOT = Path(__file__).resolve().parent.parent
BATCH = 64
EAGER_STEPS = 30

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Digits:
    """Images of 8 x 8 pixels between 0 and 1 and their labels; a quarter is held out."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


def load_digits(seed: int) -> Digits:
    """The data that scikit-learn ships, split at random."""
    from sklearn.datasets import load_digits as load

    data = load()
    order = np.random.default_rng(seed).permutation(len(data.target))
    x = (data.data[order] / 16).astype(np.float32)
    y = data.target[order].astype(np.int64)
    held_out = len(y) // 4
    return Digits(x[held_out:], y[held_out:], x[:held_out], y[:held_out])


@dataclass(frozen=True)
class Learner:
    """A model, its optimizer, and the step that trains it."""

    model: nn.Module
    optimizer: optim.Optimizer
    step: Callable[[Any, Any], fg.Tensor]


def make_learner(seed: int) -> Learner:
    """A multilayer perceptron; the same seed gives the same parameters."""
    fg.random.seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(128, 10),
    )
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)

    def step(x: Any, y: Any) -> fg.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Learner(model, optimizer, step)


def batches(data: Digits, generator: np.random.Generator) -> list[tuple[Array, Array]]:
    """The training digits in random order; the few of the last, partial batch wait their turn."""
    order = generator.permutation(len(data.train_y))
    whole = len(order) - len(order) % BATCH
    return [
        (data.train_x[rows], data.train_y[rows]) for rows in np.split(order[:whole], whole // BATCH)
    ]


@dataclass(frozen=True)
class History:
    """What happened in training."""

    losses: list[float]
    """Of each step."""
    milliseconds: list[float]
    """Of each step; the first one traces and compiles."""
    accuracies: list[float]
    """On the held-out digits, after each epoch."""
    guesses: Array
    """The labels of the held-out digits as the trained model sees them."""


def train(learner: Learner, step: Any, data: Digits, epochs: int, seed: int) -> History:
    """Train with a progress bar; the learning rate falls along a cosine."""
    from tqdm import tqdm

    model = learner.model

    @fg.compile
    def guess(x: Any) -> Any:
        return model(x).argmax(axis=1)

    scheduler = optim.CosineAnnealingLR(learner.optimizer, epochs)
    generator = np.random.default_rng(seed)
    losses: list[float] = []
    times: list[float] = []
    accuracies: list[float] = []
    guesses = np.zeros_like(data.test_y)
    with tqdm(range(epochs), desc="training", unit="epoch", ncols=90) as progress:
        for _ in progress:
            model.train()
            for x, y in batches(data, generator):
                start = time.perf_counter()
                losses.append(float(step(x, y)))
                times.append(1e3 * (time.perf_counter() - start))
            scheduler.step()
            model.eval()
            guesses = guess(data.test_x).numpy()
            accuracies.append(float((guesses == data.test_y).mean()))
            progress.set_postfix(loss=f"{losses[-1]:.4f}", held_out=f"{accuracies[-1]:.1%}")
    model.train()
    return History(losses, times, accuracies, guesses)


def time_eager(data: Digits, seed: int) -> list[float]:
    """Milliseconds of training steps that run op by op."""
    learner = make_learner(seed)
    times = []
    generator = np.random.default_rng(seed)
    for x, y in (batches(data, generator) + batches(data, generator))[:EAGER_STEPS]:
        start = time.perf_counter()
        with fg.eager():
            float(learner.step(x, y))
        times.append(1e3 * (time.perf_counter() - start))
    return times


def compare(eager: list[float], compiled: list[float], stats: Any) -> str:
    """A table of the same step, op by op and compiled."""
    slow, fast = statistics.median(eager[1:]), statistics.median(compiled[1:])
    rows = [
        ("", "eager", "compiled"),
        ("time per step", f"{slow:.3f} ms", f"{fast:.3f} ms"),
        ("first call", f"{eager[0]:.1f} ms", f"{compiled[0]:.1f} ms"),
        ("kernels per step", "one an operation", str(stats.kernels)),
        ("arena", "none", f"{stats.arena_bytes / 1024:.0f} KiB"),
    ]
    lines = [f"  {name:<18}{left:>18}{right:>14}" for name, left, right in rows]
    lines.insert(1, "  " + "-" * 50)
    return "\n".join([*lines, f"\n  compiled, a step is {slow / fast:.0f} times as fast"])


def plot(history: History, data: Digits, out: Path) -> None:
    """Draw the loss, the accuracy, and the misclassified digits into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    wrong = np.flatnonzero(history.guesses != data.test_y)
    shown, columns = wrong[:16], 8
    figure = pyplot.figure(figsize=(11, 6.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.5, 1])
    left, right = upper.subplots(1, 2)
    left.plot(history.losses, color="#9db8d2", linewidth=0.6, label="each step")
    steps = len(history.losses) // len(history.accuracies)
    means = np.reshape(history.losses, (-1, steps)).mean(axis=1)
    left.plot(np.arange(1, len(means) + 1) * steps, means, color="#1f4e79", label="epoch mean")
    left.set(yscale="log", xlabel="step", ylabel="cross entropy", title="Training loss")
    left.legend(frameon=False)
    right.plot(np.arange(1, len(means) + 1), 100 * np.array(history.accuracies), color="#b5482a")
    right.axhline(97, color="0.6", linestyle=":", linewidth=1)
    right.set(
        xlabel="epoch",
        ylabel="held-out accuracy, %",
        title=f"{history.accuracies[-1]:.1%} of {len(data.test_y)} held-out digits",
        ylim=(80, 100.5),
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    lower.suptitle(f"The {len(wrong)} misclassified digits" if len(wrong) else "None is wrong")
    for axes, digit in zip(lower.subplots(2, columns).flat, [*shown, *[None] * 16], strict=False):
        axes.axis("off")
        if digit is not None:
            axes.imshow(data.test_x[digit].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axes.set_title(f"{data.test_y[digit]} read as {history.guesses[digit]}", fontsize=8)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> History:
    """Train, compare, plot."""
    parser = argparse.ArgumentParser(description="Train a network on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "digits.png")
    options = parser.parse_args(arguments)

    data = load_digits(options.seed)
    learner = make_learner(options.seed)
    step = fg.compile(learner.step)
    start = time.perf_counter()
    history = train(learner, step, data, options.epochs, options.seed)
    seconds = time.perf_counter() - start
    stats = step.stats()
    often = "once" if stats.compiles == 1 else f"{stats.compiles} times"
    print(
        f"\n{history.accuracies[-1]:.1%} of {len(data.test_y)} held-out digits are right after "
        f"{len(history.losses)} steps in {seconds:.1f} s, compiled {often}.\n"
    )
    print(compare(time_eager(data, options.seed), history.milliseconds, stats))
    plot(history, data, options.out)
    print(f"\nThe loss curve and the misclassified digits: {options.out}")
    return history


if __name__ == "__main__":
    main()
