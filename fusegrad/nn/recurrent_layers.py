"""Recurrent layers over sequences, and their cells for one step, under torch's names.

User-level code: each makes its parameters and calls its steps.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from ..errors import (
    ArgumentTypeError,
    OptionError,
    ShapeError,
)
from ..functions.creation import asarray, empty, zeros
from ..functions.joining import concat, stack
from ..functions.manipulation import expand_dims, squeeze, swapaxes
from ..tensors.tensor_class import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter
from .recurrent import STEPS, State, over_time

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]

Nonlinearity = Literal["tanh", "relu"]


def _draw_all(module: Module, size: int) -> None:
    """Draw all parameters evenly between plus and minus ``1 / sqrt(size)``."""
    bound = 1 / math.sqrt(size) if size else 0.0
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound)


def _check_nonlinearity(name: str, nonlinearity: str) -> None:
    if nonlinearity not in ("tanh", "relu"):
        raise OptionError(f"{name}: nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")


# --- sequences ------------------------------------------------------------------------------------


class _Recurrent(Module):
    """Layers of recurrences over sequences, in one direction or both."""

    _gates: ClassVar[int]
    mode: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not 0 <= dropout <= 1:
            raise OptionError(f"{name}: a probability lies between 0 and 1, {dropout} does not")
        if hidden_size < 1 or num_layers < 1:
            raise ShapeError(
                f"{name}: hidden_size {hidden_size}, num_layers {num_layers}",
                remedy="both are positive",
            )
        if not 0 <= proj_size < hidden_size:
            raise ShapeError(
                f"{name}: proj_size {proj_size} with hidden_size {hidden_size}",
                remedy="proj_size is less than hidden_size, or 0 for no projection",
            )
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional, self.proj_size = float(dropout), bidirectional, proj_size
        rows, output = self._gates * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            width = output * (1 + bidirectional) if layer else input_size
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, width),
                "weight_hh": (rows, output),
            }
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in self._suffixes(layer):
                for kind, shape in shapes.items():
                    setattr(
                        self, kind + suffix, Parameter(empty(shape, dtype=dtype, device=device))
                    )
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        """The ends of the names of a layer's parameters, one for each direction."""
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        _draw_all(self, self.hidden_size)

    @property
    def _flat_weights_names(self) -> list[str]:
        """The names of the parameters, as programs written for torch look for them."""
        return list(self._parameters)

    def flatten_parameters(self) -> None:
        """Do nothing: parameters need no common memory here."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [
            [p for p in self._parameters_of(suffix).values() if p is not None]
            for layer in range(self.num_layers)
            for suffix in self._suffixes(layer)
        ]

    def _parameters_of(self, suffix: str) -> dict[str, Parameter | None]:
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return {kind: self._parameters.get(kind + suffix) for kind in kinds}

    def _widths(self) -> tuple[int, ...]:
        """The widths of the parts of a state."""
        return (self.hidden_size,)

    def _run(self, input: Any, given: tuple[Any, ...] | None) -> tuple[Tensor, State]:
        """The outputs, and the parts of the last states of all layers and directions."""
        x = asarray(input)
        name = type(self).__name__
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: an input of shape {tuple(x.shape)} for input_size {self.input_size}",
                remedy="the input has shape (time, batch, input_size), (batch, time, input_size) "
                "with batch_first, or (time, input_size) without a batch",
            )
        batched = x.ndim == 3
        if not batched:
            x = expand_dims(x, axis=1)
        elif self.batch_first:
            x = swapaxes(x, 0, 1)
        states = self._states(x, given, batched)
        lasts: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for backward, suffix in enumerate(self._suffixes(layer)):
                first = tuple(part[len(lasts)] for part in states)
                parameters = self._parameters_of(suffix)
                output, last = over_time(self.mode, x, first, dict(parameters), bool(backward))
                outputs.append(output)
                lasts.append(last)
            x = outputs[0] if len(outputs) == 1 else concat(outputs, axis=-1)
            if layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        ends = tuple(stack(parts) for parts in zip(*lasts, strict=True))
        if not batched:
            return squeeze(x, axis=1), tuple(squeeze(end, axis=1) for end in ends)
        return swapaxes(x, 0, 1) if self.batch_first else x, ends

    def _states(self, x: Tensor, given: tuple[Any, ...] | None, batched: bool) -> State:
        """The first states of all layers and directions, each ``(layers, batch, width)``."""
        count = self.num_layers * (1 + self.bidirectional)
        shapes = [(count, x.shape[1], width) for width in self._widths()]
        if given is None:
            return tuple(zeros(shape, dtype=x.dtype) for shape in shapes)
        parts = [asarray(part) for part in given]
        expected = shapes if batched else [(count, width) for _, _, width in shapes]
        for part, shape in zip(parts, expected, strict=True):
            if tuple(part.shape) != shape:
                raise ShapeError(
                    f"{type(self).__name__}: a state of shape {tuple(part.shape)}, not {shape}",
                    remedy="states have shape (layers * directions, batch, size), without the "
                    "batch if the input has none, whatever batch_first is",
                )
        return tuple(part if batched else expand_dims(part, axis=1) for part in parts)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        for key, usual in defaults.items():
            value = getattr(self, key)
            if value != usual:
                text += f", {key}={value}"
        return text


class RNN(_Recurrent):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`` over the times of sequences.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int, optional
        Each layer reads the outputs of the one before.
    nonlinearity : {"tanh", "relu"}, optional
    bias : bool, optional
    batch_first : bool, optional
        Whether input and output have shape ``(batch, time, size)``, not ``(time, batch, size)``.
    dropout : float, optional
        The probability of zero, in training, for the outputs of all layers but the last.
    bidirectional : bool, optional
        Whether a second recurrence goes from the last time to the first; the outputs of both stand
        side by side.
    device, dtype : optional
        Of the parameters.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        Of the first layer; ``_l1`` and so on of the others, and ``_l0_reverse`` of the other
        direction.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> output, hidden = nn.RNN(4, 3, num_layers=2)(fg.ones((5, 2, 4)))
    >>> output.shape, hidden.shape
    ((5, 2, 3), (2, 2, 3))
    """

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _check_nonlinearity("RNN", nonlinearity)
        self.nonlinearity = nonlinearity
        self.mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(
            *(input_size, hidden_size, num_layers, bias, batch_first, dropout),
            *(bidirectional, 0, device, dtype),
        )

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Return the outputs of all times, and the last hidden states."""
        output, (hidden,) = self._run(input, None if hx is None else (hx,))
        return output, hidden


class GRU(_Recurrent):
    """Gated recurrent units over the times of sequences.

    With the sigmoid s, ``r = s(W_ir x + b_ir + W_hr h + b_hr)``, ``z`` likewise,
    ``n = tanh(W_in x + b_in + r * (W_hn h + b_hn))``, and ``h' = (1 - z) * n + z * h``.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int, optional
        Each layer reads the outputs of the one before.
    bias : bool, optional
    batch_first : bool, optional
        Whether input and output have shape ``(batch, time, size)``, not ``(time, batch, size)``.
    dropout : float, optional
        The probability of zero, in training, for the outputs of all layers but the last.
    bidirectional : bool, optional
        Whether a second recurrence goes from the last time to the first; the outputs of both stand
        side by side.
    device, dtype : optional
        Of the parameters.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        Of the first layer, with the rows of r, z and n in this order.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> output, hidden = nn.GRU(4, 3, bidirectional=True)(fg.ones((5, 2, 4)))
    >>> output.shape, hidden.shape
    ((5, 2, 6), (2, 2, 3))
    """

    _gates = 3
    mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(input_size, hidden_size, num_layers, bias, batch_first, dropout),
            *(bidirectional, 0, device, dtype),
        )

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Return the outputs of all times, and the last hidden states."""
        output, (hidden,) = self._run(input, None if hx is None else (hx,))
        return output, hidden


class LSTM(_Recurrent):
    """Long short-term memory over the times of sequences.

    With the sigmoid s, ``i = s(W_ii x + b_ii + W_hi h + b_hi)``, ``f`` and ``o`` likewise,
    ``g = tanh(W_ig x + b_ig + W_hg h + b_hg)``, ``c' = f * c + i * g`` and ``h' = o * tanh(c')``.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int, optional
        Each layer reads the outputs of the one before.
    bias : bool, optional
    batch_first : bool, optional
        Whether input and output have shape ``(batch, time, size)``, not ``(time, batch, size)``.
    dropout : float, optional
        The probability of zero, in training, for the outputs of all layers but the last.
    bidirectional : bool, optional
        Whether a second recurrence goes from the last time to the first; the outputs of both stand
        side by side.
    proj_size : int, optional
        The width to which the hidden state is projected, if it is.
    device, dtype : optional
        Of the parameters.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        Of the first layer, with the rows of i, f, g and o in this order; and ``weight_hr_l0`` if
        there is a projection.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> output, (hidden, cell) = nn.LSTM(4, 3, batch_first=True)(fg.ones((2, 5, 4)))
    >>> output.shape, hidden.shape, cell.shape
    ((2, 5, 3), (1, 2, 3), (1, 2, 3))
    """

    _gates = 4
    mode = "LSTM"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(input_size, hidden_size, num_layers, bias, batch_first, dropout),
            *(bidirectional, proj_size, device, dtype),
        )

    def _widths(self) -> tuple[int, ...]:
        return self.proj_size or self.hidden_size, self.hidden_size

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs of all times, and the last hidden and cell states."""
        output, (hidden, cell) = self._run(input, None if hx is None else _pair("LSTM", hx))
        return output, (hidden, cell)


def _pair(name: str, state: Any) -> tuple[Any, Any]:
    if not isinstance(state, tuple | list) or len(state) != 2:
        raise ArgumentTypeError(
            f"{name}: the state is a pair (hidden, cell), not {type(state).__name__}"
        )
    return state[0], state[1]


# --- one step -------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """What the cells have in common: parameters, their first values, and a text."""

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((rows, input_size), dtype=dtype, device=device))
        self.weight_hh = Parameter(empty((rows, hidden_size), dtype=dtype, device=device))
        for name in ("bias_ih", "bias_hh"):
            given = Parameter(empty((rows,), dtype=dtype, device=device)) if bias else None
            self.register_parameter(name, given)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        _draw_all(self, self.hidden_size)

    def _step(self, mode: str, input: Any, given: tuple[Any, ...] | None, parts: int) -> State:
        x, name = asarray(input), type(self).__name__
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: an input of shape {tuple(x.shape)} for input_size {self.input_size}",
                remedy="the input has shape (batch, input_size), or (input_size,)",
            )
        shape = (*x.shape[:-1], self.hidden_size)
        if given is None:
            state: State = tuple(zeros(shape, dtype=x.dtype) for _ in range(parts))
        else:
            state = tuple(asarray(part) for part in given)
        for part in state:
            if tuple(part.shape) != shape:
                raise ShapeError(
                    f"{name}: a state of shape {tuple(part.shape)}, not {shape}",
                    remedy="states have the shape of the input, but hidden_size at its end",
                )
        inputs = F.linear(x, self.weight_ih, self.bias_ih)
        return STEPS[mode](inputs, state, self.weight_hh, self.bias_hh, None)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            text += ", bias=False"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text


class RNNCell(RNNCellBase):
    """One step of an `RNN`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool, optional
    nonlinearity : {"tanh", "relu"}, optional
    device, dtype : optional
        Of the parameters.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.RNNCell(4, 3)(fg.ones((2, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _check_nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Return the next hidden state."""
        mode = f"RNN_{self.nonlinearity.upper()}"
        return self._step(mode, input, None if hx is None else (hx,), 1)[0]


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool, optional
    device, dtype : optional
        Of the parameters.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> hidden, cell = nn.LSTMCell(4, 3)(fg.ones((2, 4)))
    >>> hidden.shape, cell.shape
    ((2, 3), (2, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Return the next hidden state and the next cell state."""
        given = None if hx is None else _pair("LSTMCell", hx)
        hidden, cell = self._step("LSTM", input, given, 2)
        return hidden, cell


class GRUCell(RNNCellBase):
    """One step of a `GRU`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool, optional
    device, dtype : optional
        Of the parameters.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.GRUCell(4, 3)(fg.ones((2, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Return the next hidden state."""
        return self._step("GRU", input, None if hx is None else (hx,), 1)[0]
