"""Linear algebra in the middle of compiled programs: state, threads, other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

import fusegrad as fg
from fusegrad import linalg, nn, optim
from fusegrad.testing import assert_no_recompile
from tests.linalg.support import definite, matrices, regular


def test_kernels_around_calls_are_fused() -> None:
    """What is elementwise before and behind a call stays one kernel each."""
    step = fg.compile(lambda a, b: (fg.exp(linalg.solve(a * 2 + 1, b)) * 3).sum())
    a, b = regular(60, 60), matrices(60, 2)
    found = float(step(a, b))
    np.testing.assert_allclose(found, (np.exp(np.linalg.solve(a * 2 + 1, b)) * 3).sum())
    assert step.stats().kernels == 2
    assert "calls of the host" in str(step.explain(a, b))


def test_training_through_a_decomposition_in_place() -> None:
    """Parameters are updated in their memory, in one step with calls of the host."""
    x, y = matrices(12, 3), matrices(12, seed=1)

    def train(compiled: bool) -> tuple[list[float], np.ndarray]:
        weight = nn.Parameter(np.ones(3))
        optimizer = optim.Adam([weight], lr=0.1)

        def step() -> fg.Tensor:
            kernel = fg.exp(-(((fg.asarray(x) * weight)[:, None] - x * weight) ** 2)).sum(-1)
            factor = linalg.cholesky(kernel + 3 * fg.eye(12, dtype=fg.float64))
            half = linalg.solve_triangular(factor, y, lower=True)
            loss = (half**2).sum() + fg.log(linalg.diagonal(factor)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = fg.compile(step) if compiled else step
        losses = [float(run())]
        with assert_no_recompile(*([run] if compiled else [])):
            losses += [float(run()) for _ in range(4)]
        return losses, weight.detach().numpy().copy()

    losses, weight = train(compiled=True)
    expected, reference = train(compiled=False)
    np.testing.assert_allclose(losses, expected)
    np.testing.assert_allclose(weight, reference)
    assert losses[-1] < losses[0]


def test_threads_run_one_step_together() -> None:
    step = fg.compile(lambda a: linalg.inv(a) @ linalg.svd(a).U)
    arrays = [regular(6, 6, seed=seed) for seed in range(8)]
    expected = [np.linalg.inv(a) @ np.linalg.svd(a)[0] for a in arrays]
    step(arrays[0])
    found: list[np.ndarray | None] = [None] * len(arrays)

    def work(place: int) -> None:
        for _ in range(20):
            found[place] = step(arrays[place]).numpy()

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(arrays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


PROGRAM = """
import numpy as np
import fusegrad as fg

def loss(a):
    return fg.linalg.slogdet(a).logabsdet + fg.linalg.svd(a).S.sum()

value, gradient = fg.compile(fg.value_and_grad(loss))(np.eye(3) + 0.1)
print(float(value), gradient.tolist())
"""


def test_another_process_gets_the_same_from_the_disk(tmp_path: Path) -> None:
    environment = os.environ | {"FUSEGRAD_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", PROGRAM]
    runs = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert any((tmp_path / "cache").rglob("*"))


def test_loops_with_calls() -> None:
    """A call in the body of a scan runs in every iteration."""
    start, steps = definite(3, 3), np.stack([regular(3, 3, seed=s) for s in range(4)])

    def body(carry: fg.Tensor, a: fg.Tensor) -> tuple[fg.Tensor, fg.Tensor]:
        carry = linalg.solve(a, carry)
        return carry, linalg.slogdet(carry).logabsdet

    expected, dets = start, []
    for a in steps:
        expected = np.linalg.solve(a, expected)
        dets.append(np.linalg.slogdet(expected)[1])
    for run in (lambda s, a: fg.scan(body, s, a), fg.compile(lambda s, a: fg.scan(body, s, a))):
        carry, found = run(fg.asarray(start), fg.asarray(steps))
        np.testing.assert_allclose(carry.numpy(), expected)
        np.testing.assert_allclose(found.numpy(), dets)
