"""Transformers: layers of encoders and decoders, and stacks of them, under torch's names.

User-level code: modules made of other modules.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar

from ..errors import OptionError
from ..functions.creation import asarray, full
from ..functions.manipulation import triu
from ..tensors.tensor_class import Tensor
from . import functional as F
from . import init
from .attention_layers import MultiheadAttention
from .containers import ModuleList
from .layers import Dropout, Linear
from .module import Module
from .normalization_layers import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Activation = str | Callable[[Any], Any]


def _activation(given: Activation) -> Callable[[Any], Any]:
    if not isinstance(given, str):
        return given
    known: dict[str, Callable[[Any], Any]] = {"relu": F.relu, "gelu": F.gelu}
    if given not in known:
        raise OptionError(f"activation is 'relu', 'gelu' or a function, not {given!r}")
    return known[given]


class _Layer(Module):
    """What layers of encoders and decoders share: attention to itself, and two linear maps."""

    _blocks: ClassVar[int]
    """How many blocks with a norm and a dropout each."""
    norm_first: bool

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: Activation,
        layer_norm_eps: float,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()

        def attention() -> MultiheadAttention:
            return MultiheadAttention(
                *(d_model, nhead, dropout, bias),
                batch_first=batch_first,
                device=device,
                dtype=dtype,
            )

        self.self_attn = attention()
        if self._blocks == 3:
            self.multihead_attn = attention()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.linear1 = Linear(d_model, dim_feedforward, bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **made)
        self.norm_first = norm_first
        for number in range(1, self._blocks + 1):
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **made)
            self.add_module(f"norm{number}", norm)
        for number in range(1, self._blocks + 1):
            self.add_module(f"dropout{number}", Dropout(dropout))
        self.activation = _activation(activation)

    def _block(self, number: int, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """``x + dropout(function(x))``, normalised before or after."""
        norm, dropout = self._modules[f"norm{number}"], self._modules[f"dropout{number}"]
        assert norm is not None
        assert dropout is not None
        if self.norm_first:
            return x + dropout(function(norm(x)))  # type: ignore[no-any-return]
        return norm(x + dropout(function(x)))  # type: ignore[no-any-return]

    def _itself(self, x: Tensor, mask: Any, padding: Any, is_causal: bool) -> Tensor:
        return self.self_attn(  # type: ignore[no-any-return]
            *(x, x, x),
            attn_mask=mask,
            key_padding_mask=padding,
            need_weights=False,
            is_causal=is_causal,
        )[0]

    def _feedforward(self, x: Tensor) -> Tensor:
        inner = self.dropout(self.activation(self.linear1(x)))
        return self.linear2(inner)  # type: ignore[no-any-return]


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, then two linear maps; residual and normalised, both.

    Parameters
    ----------
    d_model, nhead : int
        The width, and how many heads share it.
    dim_feedforward : int, optional
        The width between the linear maps.
    dropout : float, optional
    activation : {"relu", "gelu"} or callable, optional
    layer_norm_eps : float, optional
    batch_first : bool, optional
        Whether tensors have shape ``(batch, length, width)``, not ``(length, batch, width)``.
    norm_first : bool, optional
        Whether each block normalises what it reads, not the sum with what it adds.
    bias : bool, optional
    device, dtype : optional
        Of the parameters.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)(fg.ones((3, 5, 8))).shape
    (3, 5, 8)
    """

    _blocks = 2

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps),
            *(batch_first, norm_first, bias, device, dtype),
        )

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return a sequence of the shape of `src`; masks are as for `MultiheadAttention`."""
        x = asarray(src)
        x = self._block(1, x, lambda y: self._itself(y, src_mask, src_key_padding_mask, is_causal))
        return self._block(2, x, self._feedforward)


class TransformerDecoderLayer(_Layer):
    """Attention of a sequence to itself and to a memory, then two linear maps.

    Parameters
    ----------
    d_model, nhead : int
        The width, and how many heads share it.
    dim_feedforward : int, optional
        The width between the linear maps.
    dropout : float, optional
    activation : {"relu", "gelu"} or callable, optional
    layer_norm_eps : float, optional
    batch_first : bool, optional
        Whether tensors have shape ``(batch, length, width)``, not ``(length, batch, width)``.
    norm_first : bool, optional
        Whether each block normalises what it reads, not the sum with what it adds.
    bias : bool, optional
    device, dtype : optional
        Of the parameters.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, 16)
    >>> layer(fg.ones((5, 3, 8)), fg.ones((7, 3, 8))).shape
    (5, 3, 8)
    """

    _blocks = 3

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps),
            *(batch_first, norm_first, bias, device, dtype),
        )

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Return a sequence of the shape of `tgt`; masks are as for `MultiheadAttention`."""
        x, known = asarray(tgt), asarray(memory)

        def to_memory(y: Tensor) -> Tensor:
            return self.multihead_attn(  # type: ignore[no-any-return]
                *(y, known, known),
                attn_mask=memory_mask,
                key_padding_mask=memory_key_padding_mask,
                need_weights=False,
                is_causal=memory_is_causal,
            )[0]

        x = self._block(
            1, x, lambda y: self._itself(y, tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        )
        return self._block(3, self._block(2, x, to_memory), self._feedforward)


class TransformerEncoder(Module):
    """Copies of an encoder layer, one after the other, and a norm at the end.

    Parameters
    ----------
    encoder_layer : TransformerEncoderLayer
    num_layers : int
    norm : Module, optional
    enable_nested_tensor, mask_check : bool, optional
        Of no effect: padding is computed like everything else.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)(fg.ones((5, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.add_module("norm", norm)

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Call the layers; masks are as for `MultiheadAttention`."""
        x = asarray(src)
        for layer in self.layers:
            x = layer(
                x,
                src_mask=mask,
                src_key_padding_mask=src_key_padding_mask,
                is_causal=bool(is_causal),
            )
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """Copies of a decoder layer, one after the other, and a norm at the end.

    Parameters
    ----------
    decoder_layer : TransformerDecoderLayer
    num_layers : int
    norm : Module, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2)
    >>> decoder(fg.ones((5, 3, 8)), fg.ones((7, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList(copy.deepcopy(decoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.add_module("norm", norm)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Call the layers; masks are as for `MultiheadAttention`."""
        x = asarray(tgt)
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of one sequence, and a decoder of another that attends to it.

    Parameters
    ----------
    d_model, nhead : int, optional
        The width, and how many heads share it.
    num_encoder_layers, num_decoder_layers : int, optional
    dim_feedforward : int, optional
        The width between the linear maps.
    dropout : float, optional
    activation : {"relu", "gelu"} or callable, optional
    custom_encoder, custom_decoder : Module, optional
        Instead of those made here.
    layer_norm_eps : float, optional
    batch_first : bool, optional
        Whether tensors have shape ``(batch, length, width)``, not ``(length, batch, width)``.
    norm_first : bool, optional
        Whether each block normalises what it reads, not the sum with what it adds.
    bias : bool, optional
    device, dtype : optional
        Of the parameters.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> model = nn.Transformer(8, 2, 1, 1, 16)
    >>> model(fg.ones((7, 3, 8)), fg.ones((5, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        given = (
            *(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps),
            *(batch_first, norm_first, bias, device, dtype),
        )

        def norm() -> LayerNorm:
            made: dict[str, Any] = {"device": device, "dtype": dtype}
            return LayerNorm(d_model, layer_norm_eps, bias=bias, **made)

        if custom_encoder is None:
            layer = TransformerEncoderLayer(*given)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        if custom_decoder is None:
            decoder_layer = TransformerDecoderLayer(*given)
            custom_decoder = TransformerDecoder(decoder_layer, num_decoder_layers, norm())
        self.encoder, self.decoder = custom_encoder, custom_decoder
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask: minus infinity above the diagonal, 0 elsewhere.

        Examples
        --------
        >>> from fusegrad import nn
        >>> nn.Transformer.generate_square_subsequent_mask(2).numpy()
        array([[  0., -inf],
               [  0.,   0.]], dtype=float32)
        """
        return triu(full((sz, sz), -math.inf, dtype=dtype, device=device), 1)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Encode `src`, and decode `tgt` with it; masks are as for `MultiheadAttention`."""
        memory = self.encoder(
            src,
            mask=src_mask,
            src_key_padding_mask=src_key_padding_mask,
            is_causal=src_is_causal,
        )
        return self.decoder(  # type: ignore[no-any-return]
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
