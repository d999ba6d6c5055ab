"""The loss of sequences whose alignment is not known, under torch's name.

User-level code: a loop over time in public operations; nothing here knows the compiler.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..functions import functional as fg
from ..functions.creation import asarray, full, zeros
from ..functions.joining import concat, stack
from ..functions.manipulation import broadcast_to, expand_dims, take_along_axis
from ..functions.precision import kept_in_float32
from ..functions.ranges import arange
from ..functions.reductions import logsumexp
from ..tensors.tensor_class import Tensor
from ..transforms.control import scan
from .losses import Reduction, reduced

__all__ = ["ctc_loss"]

# In place of minus infinity, whose differences are NaN.
_NEVER = -1e30


@kept_in_float32
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: Reduction = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log likelihood of labels over all their alignments with the input (CTC).

    Parameters
    ----------
    log_probs : Tensor or array
        Logarithms of probabilities, of shape ``(T, N, C)``, or ``(T, C)`` without a batch.
    targets : Tensor or array
        Labels, none of them `blank`: of shape ``(N, S)``, or all one after the other, or ``(S,)``
        without a batch.
    input_lengths, target_lengths : sequence of int, Tensor or int
        How many steps and labels of each element of the batch count.
    blank : int, optional
        The class that stands for no label.
    reduction : {"mean", "sum", "none"}, optional
        ``"mean"`` divides the losses by the numbers of their labels first.
    zero_infinity : bool, optional
        Whether infinite losses, of more labels than steps, count as 0.

    Returns
    -------
    Tensor

    Notes
    -----
    The gradient is that of the loss by `log_probs`. Torch's contains that of the softmax already;
    behind a `log_softmax` the two are the same.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> logs = F.log_softmax(fg.zeros((3, 1, 2)))
    >>> round(float(F.ctc_loss(logs, [[1]], [3], [1])), 4)
    0.2877
    """
    logs = asarray(log_probs)
    single = logs.ndim == 2
    logs = expand_dims(logs, axis=1) if single else logs
    if logs.ndim != 3:
        raise ShapeError(
            f"ctc_loss needs logarithms of shape (T, N, C), not {tuple(logs.shape)}", remedy=None
        )
    steps = asarray(input_lengths).reshape(-1)
    counts = asarray(target_lengths).reshape(-1)
    labels = _padded(asarray(targets), target_lengths, logs.shape[1])
    losses = _likelihoods(logs, labels, steps, counts, blank)
    lost = losses > -0.5 * _NEVER
    losses = fg.choose(lost, 0.0 if zero_infinity else math.inf, losses)
    if reduction == "mean":
        return (losses / fg.maximum(counts, 1).astype(losses.dtype)).mean()
    return reduced(losses.reshape(()) if single else losses, reduction)


def _padded(targets: Tensor, lengths: Any, batch: int) -> Tensor:
    """The labels as rows."""
    if targets.ndim == 2 and targets.shape[0] == batch:
        return targets
    if targets.ndim == 1 and batch == 1:
        return expand_dims(targets, axis=0)
    if targets.ndim != 1:
        raise ShapeError(
            f"ctc_loss: targets of shape {tuple(targets.shape)} do not fit a batch of {batch}",
            remedy="pass one row of labels for each element, or all labels one after the other",
        )
    # Where each row begins depends on the numbers.
    counts = np.asarray(asarray(lengths)._look_for_shape("ctc_loss with targets in one row"))
    ends = np.cumsum(counts).astype(np.int64)
    if len(counts) != batch or int(ends[-1]) != targets.shape[0]:
        raise ShapeError(
            f"ctc_loss: {targets.shape[0]} targets are no rows of {counts.tolist()} labels",
            remedy="target_lengths sum to the number of targets",
        )
    places = (ends - counts)[:, None] + np.arange(int(counts.max(initial=0)))
    return targets[np.minimum(places, max(int(ends[-1]) - 1, 0))]


def _likelihoods(logs: Tensor, labels: Tensor, steps: Tensor, counts: Tensor, blank: int) -> Tensor:
    """Minus the logarithms of the likelihoods, at least `_NEVER` in size where there is none."""
    time, batch, _ = logs.shape
    blanks = full(labels.shape, blank, dtype=labels.dtype)
    path = stack([blanks, labels], axis=2).reshape(batch, 2 * labels.shape[1])
    path = concat([path, full((batch, 1), blank, dtype=labels.dtype)], axis=1)
    width = path.shape[1]
    # A label may follow the one before it directly if it is another one.
    skips = fg.logical_and(path[:, 2:] != blank, path[:, 2:] != path[:, :-2])
    skips = concat([zeros((batch, min(2, width)), dtype="bool"), skips], axis=1)
    scores = take_along_axis(logs, broadcast_to(path, (time, batch, width)), axis=2)
    never = full((batch, 2), _NEVER, dtype=logs.dtype)

    def step(state: Tensor, xs: tuple[Tensor, Tensor]) -> tuple[Tensor, None]:
        score, position = xs
        wide = concat([never, state], axis=1)
        two_back = fg.choose(skips, wide[:, :-2], _NEVER)
        new = logsumexp(stack([state, wide[:, 1:-1], two_back]), axis=0) + score
        running = expand_dims(position < steps, axis=1)
        return fg.choose(running, fg.maximum(new, _NEVER), state), None

    places = arange(width)
    first = fg.choose(places == 0, 0.0, _NEVER).astype(logs.dtype)
    # Before the first step, as if a blank had been passed: the path begins with one or a label.
    start = broadcast_to(first, (batch, width))
    final, _ = scan(step, start, (scores, arange(time)))
    ends = expand_dims(2 * counts, axis=1)
    last = fg.logical_or(places == ends, fg.logical_and(places == ends - 1, ends > 0))
    return -logsumexp(fg.choose(last, final, _NEVER), axis=1)
