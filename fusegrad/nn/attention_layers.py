"""Attention with several heads as a layer, under torch's name.

User-level code: it makes its parameters and calls its function.
"""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..functions.creation import asarray, empty
from ..functions.manipulation import swapaxes
from ..tensors.tensor_class import Tensor
from . import functional as F
from . import init
from .layers import Linear
from .module import Module
from .parameter import Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Projections of query, key and value, attention in each head, and a projection of all heads.

    Parameters
    ----------
    embed_dim : int
        The width of the query and of the output.
    num_heads : int
        How many heads share it.
    dropout : float, optional
        The probability with which a weight is set to 0 in training.
    bias : bool, optional
        Whether the projections have one.
    add_bias_kv : bool, optional
        Whether one more key and value are learned.
    add_zero_attn : bool, optional
        Whether there is one more key and value of zeros.
    kdim, vdim : int, optional
        The widths of key and value, `embed_dim` by default.
    batch_first : bool, optional
        Whether inputs and output have shape ``(batch, length, width)``, not
        ``(length, batch, width)``.
    device, dtype : optional
        Of the parameters.

    Attributes
    ----------
    in_proj_weight : Parameter or None
        Of shape ``(3 * embed_dim, embed_dim)``; with other widths there are `q_proj_weight`,
        `k_proj_weight` and `v_proj_weight` instead.
    in_proj_bias : Parameter or None
    out_proj : Linear

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> x = fg.ones((2, 5, 8))
    >>> output, weights = nn.MultiheadAttention(8, 4, batch_first=True)(x, x, x)
    >>> output.shape, weights.shape
    ((2, 5, 8), (2, 5, 5))
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim < 1 or num_heads < 1 or embed_dim % num_heads:
            raise ShapeError(
                f"MultiheadAttention: embed_dim {embed_dim} for num_heads {num_heads}",
                remedy="both are positive, and num_heads divides embed_dim",
            )
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.head_dim = embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first, self.add_zero_attn = batch_first, add_zero_attn

        def made(wanted: bool, *shape: int) -> Parameter | None:
            return Parameter(empty(shape, dtype=dtype, device=device)) if wanted else None

        same = self.kdim == self.vdim == embed_dim
        widths = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
        for name, width in widths.items():
            self.register_parameter(f"{name}_proj_weight", made(not same, embed_dim, width))
        self.register_parameter("in_proj_weight", made(same, 3 * embed_dim, embed_dim))
        self.register_parameter("in_proj_bias", made(bias, 3 * embed_dim))
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.out_proj = Linear(embed_dim, embed_dim, bias, **options)
        self.register_parameter("bias_k", made(add_bias_kv, 1, 1, embed_dim))
        self.register_parameter("bias_v", made(add_bias_kv, 1, 1, embed_dim))
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name in ("in_proj", "q_proj", "k_proj", "v_proj"):
            weight = self._parameters[f"{name}_weight"]
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            assert self.out_proj.bias is not None
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output and the weights; see `nn.functional.multi_head_attention_forward`."""
        found: dict[int, Tensor] = {}
        # The same tensor given twice stays the same tensor: one product projects it.
        for x in (query, key, value):
            if id(x) not in found:
                tensor = asarray(x)
                turned = self.batch_first and tensor.ndim == 3
                found[id(x)] = swapaxes(tensor, 0, 1) if turned else tensor
        q, k, v = (found[id(x)] for x in (query, key, value))
        output, weights = F.multi_head_attention_forward(
            *(q, k, v, self.embed_dim, self.num_heads),
            *(self.in_proj_weight, self.in_proj_bias, self.bias_k, self.bias_v),
            *(self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias),
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=self.in_proj_weight is None,
            q_proj_weight=self._parameters["q_proj_weight"],
            k_proj_weight=self._parameters["k_proj_weight"],
            v_proj_weight=self._parameters["v_proj_weight"],
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        turned = self.batch_first and output.ndim == 3
        return swapaxes(output, 0, 1) if turned else output, weights
