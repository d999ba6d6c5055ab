"""Recurrences: one step of each kind, and steps over all times of a sequence as one loop.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..functions import functional as fg
from ..functions.joining import chunk
from ..functions.precision import narrowed
from ..tensors.tensor_class import Tensor
from ..transforms.control import scan
from . import functional as F

__all__ = ["STEPS", "Step", "gru_step", "lstm_step", "over_time", "relu_step", "tanh_step"]

State = tuple[Tensor, ...]
# Of what the input adds to the gates, the state, the recurrent weight and bias, and the weight
# that projects the new hidden state; returns the new state, whose first part is the output.
Step = Callable[[Tensor, State, Tensor, Tensor | None, Tensor | None], State]


def _plain_step(activation: Callable[[Any], Tensor]) -> Step:
    def step(
        given: Tensor, state: State, weight: Tensor, bias: Tensor | None, _: Tensor | None
    ) -> State:
        (hidden,) = state
        return (_as(activation(given + F.linear(hidden, weight, bias)), hidden),)

    return step


tanh_step = _plain_step(fg.tanh)
relu_step = _plain_step(F.relu)


def lstm_step(
    given: Tensor, state: State, weight: Tensor, bias: Tensor | None, projection: Tensor | None
) -> State:
    """The gates in the order of the weights: input, forget, candidate, output."""
    hidden, cell = state
    gates = chunk(given + F.linear(hidden, weight, bias), 4, axis=-1)
    taken, kept, shown = (F.sigmoid(gates[i]) for i in (0, 1, 3))
    new = kept * cell + taken * fg.tanh(gates[2])
    output = shown * fg.tanh(new)
    if projection is not None:
        output = F.linear(output, projection)
    return _as(output, hidden), _as(new, cell)


def gru_step(
    given: Tensor, state: State, weight: Tensor, bias: Tensor | None, _: Tensor | None
) -> State:
    """The gates in the order of the weights: reset, update, candidate.

    The reset gate applies after the product, as it does in torch and cuDNN.
    """
    (hidden,) = state
    inputs = chunk(given, 3, axis=-1)
    recurrent = chunk(F.linear(hidden, weight, bias), 3, axis=-1)
    reset, update = (F.sigmoid(inputs[i] + recurrent[i]) for i in (0, 1))
    candidate = fg.tanh(inputs[2] + reset * recurrent[2])
    return (_as(candidate + update * (hidden - candidate), hidden),)


STEPS: dict[str, Step] = {
    "RNN_TANH": tanh_step,
    "RNN_RELU": relu_step,
    "LSTM": lstm_step,
    "GRU": gru_step,
}


def over_time(
    mode: str, input: Tensor, state: State, parameters: dict[str, Tensor | None], reverse: bool
) -> tuple[Tensor, State]:
    """All steps over a sequence.

    Parameters
    ----------
    mode : str
        A key of `STEPS`.
    input : Tensor
        Of shape ``(T, N, in)``.
    state : tuple of Tensor
        The first state, each part of shape ``(N, size)``.
    parameters : dict
        ``weight_ih``, ``weight_hh``, ``bias_ih``, ``bias_hh`` and ``weight_hr``; all but the
        weights may be None.
    reverse : bool
        Whether the last time comes first.

    Returns
    -------
    Tensor
        The outputs, of shape ``(T, N, out)``.
    tuple of Tensor
        The last state.
    """
    step = STEPS[mode]
    bias, recurrent_bias = parameters["bias_ih"], parameters["bias_hh"]
    if bias is not None and recurrent_bias is not None and mode != "GRU":
        # The gates of these see nothing but the sum.
        bias, recurrent_bias = bias + recurrent_bias, None
    weight_ih, weight_hh = parameters["weight_ih"], parameters["weight_hh"]
    assert weight_ih is not None
    assert weight_hh is not None
    # The inputs of all times in one product, before the loop.
    given = F.linear(input, weight_ih, bias)
    weight, projection = narrowed(weight_hh), parameters["weight_hr"]

    def body(carry: State, row: Tensor) -> tuple[State, Tensor]:
        new = step(row, carry, weight, recurrent_bias, projection)
        return new, new[0]

    last, outputs = scan(body, state, given, reverse=reverse)
    return outputs, last


def _as(tensor: Tensor, like: Tensor) -> Tensor:
    """In the dtype of the state before: products may be computed in another."""
    return tensor.astype(like.dtype)
