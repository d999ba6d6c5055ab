"""Attention as functions, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import (
    DTypeError,
    OptionError,
    ShapeError,
)
from ..functions import functional as fg
from ..functions.creation import asarray, zeros
from ..functions.joining import chunk, concat
from ..functions.manipulation import (
    broadcast_to,
    expand_dims,
    permute_dims,
    reshape,
    squeeze,
    swapaxes,
)
from ..functions.precision import in_float32
from ..functions.products import matmul
from ..functions.ranges import arange
from ..tensors.tensor_class import Tensor
from ..transforms.custom_rules import custom_jvp
from .dropout import dropout
from .linear import linear

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


@in_float32
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``softmax(query @ key.mT * scale + mask) @ value``.

    Parameters
    ----------
    query : Tensor or array
        Of shape ``(..., L, E)``.
    key, value : Tensor or array
        Of shapes ``(..., S, E)`` and ``(..., S, V)``.
    attn_mask : Tensor or array, optional
        Broadcasts to ``(..., L, S)``. Booleans say which keys a query sees; numbers are added to
        the scores. Where a query sees no key, the result is 0.
    dropout_p : float, optional
        The probability with which a weight is set to 0, whoever calls.
    is_causal : bool, optional
        Whether query i sees the keys up to i only.
    scale : float, optional
        ``1 / sqrt(E)`` by default.
    enable_gqa : bool, optional
        Whether several heads of `query`, on axis -3, share a head of `key` and `value`.

    Returns
    -------
    Tensor
        Of shape ``(..., L, V)``.

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    ValueError
        If there are both a mask and `is_causal`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> x = fg.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> F.scaled_dot_product_attention(x, x, x, is_causal=True).numpy().round(2)
    array([[1.  , 0.  ],
           [0.33, 0.67]], dtype=float32)
    """
    q, k, v = asarray(query), asarray(key), asarray(value)
    _check_shapes(q, k, v)
    if is_causal and attn_mask is not None:
        raise OptionError("attention with both attn_mask and is_causal: put both into the mask")
    mask = None if attn_mask is None else asarray(attn_mask)
    shared = enable_gqa and q.shape[-3] != k.shape[-3]
    if shared:
        q, k, v, mask = _grouped(q, k, v, mask)
    if is_causal:
        mask = expand_dims(arange(q.shape[-2]), axis=1) >= arange(k.shape[-2])
    # Without a mask, or with the causal one, every query sees the first key.
    output = matmul(dropout(_weights(q, k, mask, scale, attn_mask is not None), dropout_p), v)
    if shared:
        output = reshape(output, (*output.shape[:-4], -1, *output.shape[-2:]))
    return output


def _weights(
    q: Tensor, k: Tensor, mask: Tensor | None, scale: float | None, blind: bool = True
) -> Tensor:
    """How much each query takes of each key; zeros where it sees none.

    Without `blind` the mask leaves every query a key.
    """
    if scale is None:
        scale = 1 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0
    scores = matmul(q, swapaxes(k, -1, -2)) * scale
    if not scores.shape[-1]:
        return scores
    if mask is None:
        return _softmax(False, scores)
    if mask.dtype.is_float:
        scores = scores + mask.astype(scores.dtype)
    elif mask.dtype.name == "bool":
        scores = fg.choose(mask, scores, -math.inf)
    else:
        raise DTypeError(
            f"attention: a mask of {mask.dtype}",
            remedy="give booleans (True: seen), or numbers to add to the scores",
        )
    return _softmax(blind, scores)


def _of_rows(blind: bool, scores: Tensor) -> Tensor:
    """Softmax of rows; if some may be minus infinity all over (`blind`), zeros for these."""
    largest = scores.detach().max(axis=-1, keepdims=True)
    if blind:
        largest = fg.choose(largest == -math.inf, 0, largest)
    power = fg.exp(scores - largest)
    total = power.sum(axis=-1, keepdims=True)
    if blind:
        total = fg.choose(total == 0, 1, total)
    return power * (1 / total)


def _of_rows_rule(blind: bool, primals: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """The derivative needs nothing but the result, so that nothing else is stored for it."""
    weights = _softmax(blind, primals[0])
    products = weights * tangents[0]
    return weights, products - weights * products.sum(axis=-1, keepdims=True)


_rows = custom_jvp(_of_rows, nondiff_argnums=(0,))
_rows.defjvp(_of_rows_rule)


def _softmax(blind: bool, scores: Tensor) -> Tensor:
    weights: Tensor = _rows(blind, scores)
    return weights


def _check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    fits = min(q.ndim, k.ndim, v.ndim) >= 2
    if not (fits and q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2]):
        raise ShapeError(
            f"attention of a query, key and value of shapes {tuple(q.shape)}, {tuple(k.shape)} "
            f"and {tuple(v.shape)}",
            remedy="the shapes are (..., L, E), (..., S, E) and (..., S, V)",
        )


def _grouped(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The heads of the query as pairs of (head of the key, member of its group)."""
    heads, count = q.shape[-3], k.shape[-3]
    if count != v.shape[-3] or heads % count:
        raise ShapeError(
            f"attention: {heads} heads of query, {count} of key, {v.shape[-3]} of value",
            remedy="with enable_gqa key and value have equally many, which divide those of query",
        )
    groups = (count, heads // count)
    q = reshape(q, (*q.shape[:-3], *groups, *q.shape[-2:]))
    if mask is not None and mask.ndim >= 3:
        inner = groups if mask.shape[-3] != 1 else (1, 1)
        mask = reshape(mask, (*mask.shape[:-3], *inner, *mask.shape[-2:]))
    return q, expand_dims(k, axis=-3), expand_dims(v, axis=-3), mask


# --- several heads --------------------------------------------------------------------------------


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Projections of query, key and value, attention in each head, and a projection of all heads.

    Parameters
    ----------
    query : Tensor or array
        Of shape ``(L, N, E)``, or ``(L, E)`` without a batch.
    key, value : Tensor or array
        Of shape ``(S, N, ...)``, or ``(S, ...)``.
    embed_dim_to_check, num_heads : int
        E, and how many heads share it.
    in_proj_weight, in_proj_bias : Tensor or None
        Of shapes ``(3 * E, E)`` and ``(3 * E,)``: for query, key and value, in this order.
    bias_k, bias_v : Tensor or None
        One more key and value, of shape ``(1, 1, E)``.
    add_zero_attn : bool
        Whether there is one more key and value of zeros.
    dropout_p : float
        The probability with which a weight is set to 0, if `training`.
    out_proj_weight, out_proj_bias : Tensor
        Of the projection of all heads; the bias may be None.
    training : bool, optional
    key_padding_mask : Tensor or array, optional
        Of shape ``(N, S)``: True for keys that nobody sees, or numbers to add to the scores.
    need_weights : bool, optional
        Whether to return the weights.
    attn_mask : Tensor or array, optional
        Of shape ``(L, S)`` or ``(N * num_heads, L, S)``: True for keys that a query does **not**
        see, or numbers to add to the scores.
    use_separate_proj_weight : bool, optional
        Whether to take `q_proj_weight`, `k_proj_weight`, `v_proj_weight`, not `in_proj_weight`.
    static_k, static_v : Tensor, optional
        Projected keys and values, of shape ``(N * num_heads, S, E // num_heads)``.
    average_attn_weights : bool, optional
        Whether the weights that are returned are the means over the heads.
    is_causal : bool, optional
        Says that `attn_mask` is the causal mask.

    Returns
    -------
    Tensor
        Of the shape of the query.
    Tensor or None
        The weights, of shape ``(N, L, S)``, or ``(N, num_heads, L, S)`` if they are not averaged.
    """
    q, k, v = asarray(query), asarray(key), asarray(value)
    batched = q.ndim == 3
    _check_heads(q, k, v, embed_dim_to_check, num_heads)
    if is_causal and attn_mask is None:
        raise OptionError("is_causal says what attn_mask is: give both")
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        projected = _separately(q, k, v, weights, in_proj_bias)
    else:
        assert in_proj_weight is not None
        projected = _projected(q, k, v, in_proj_weight, in_proj_bias)
    if not batched:
        projected = [expand_dims(x, axis=1) for x in projected]
    q, k, v = projected
    length, batch, width = q.shape
    masks = _masks(attn_mask, key_padding_mask, (batch, num_heads, length, k.shape[0]))
    if bias_k is not None and bias_v is not None:
        k = concat([k, broadcast_to(bias_k, (1, batch, width))], axis=0)
        v = concat([v, broadcast_to(bias_v, (1, batch, width))], axis=0)
    q, k, v = (_heads(x, num_heads) for x in (q, k, v))
    k = k if static_k is None else _unjoined(static_k, num_heads)
    v = v if static_v is None else _unjoined(static_v, num_heads)
    if add_zero_attn:
        k, v = (
            concat([x, zeros((*x.shape[:2], 1, x.shape[3]), dtype=x.dtype)], axis=2) for x in (k, v)
        )
    mask = _widened_mask(masks, k.shape[2])
    p = dropout_p if training else 0.0
    if need_weights:
        attention = dropout(in_float32(_weights)(q, k, mask, None), p)
        output = matmul(attention, v)
    else:
        output = scaled_dot_product_attention(q, k, v, mask, p)
    joined = reshape(permute_dims(output, (2, 0, 1, 3)), (length, batch, width))
    joined = linear(joined if batched else squeeze(joined, axis=1), out_proj_weight, out_proj_bias)
    if not need_weights:
        return joined, None
    shown = attention.mean(axis=1) if average_attn_weights else attention
    return joined, shown if batched else squeeze(shown, axis=0)


def _check_heads(q: Tensor, k: Tensor, v: Tensor, width: int, heads: int) -> None:
    shapes = f"{tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
    if q.ndim not in (2, 3) or not q.ndim == k.ndim == v.ndim or k.shape[:-1] != v.shape[:-1]:
        raise ShapeError(
            f"attention of a query, key and value of shapes {shapes}",
            remedy="the shapes are (L, N, E), (S, N, ...) and (S, N, ...), or all without N",
        )
    if q.shape[1:-1] != k.shape[1:-1]:
        raise ShapeError(
            f"attention of a query, key and value of shapes {shapes}: the batches differ",
            remedy="with batch_first=True the batch is axis 0, else axis 1",
        )
    if q.shape[-1] != width or width % heads:
        raise ShapeError(
            f"attention with {heads} heads of width {width} together, of a query of shape "
            f"{tuple(q.shape)}",
            remedy="the last axis of the query is the width, which the number of heads divides",
        )


def _projected(
    q: Tensor, k: Tensor, v: Tensor, weight: Tensor, bias: Tensor | None
) -> list[Tensor]:
    """By one weight for all three; what is the same tensor is projected in one product."""
    width = q.shape[-1]
    if q is k is v:
        return chunk(linear(q, weight, bias), 3, axis=-1)
    weights = [weight[:width], weight[width:]] if k is v else chunk(weight, 3, axis=0)
    if bias is None:
        biases: list[Any] = [None] * 3
    else:
        biases = [bias[:width], bias[width:]] if k is v else chunk(bias, 3, axis=0)
    first = linear(q, weights[0], biases[0])
    if k is v:
        return [first, *chunk(linear(k, weights[1], biases[1]), 2, axis=-1)]
    return [first, linear(k, weights[1], biases[1]), linear(v, weights[2], biases[2])]


def _separately(
    q: Tensor, k: Tensor, v: Tensor, weights: tuple[Tensor | None, ...], bias: Tensor | None
) -> list[Tensor]:
    biases = [None] * 3 if bias is None else chunk(bias, 3, axis=0)
    given = zip((q, k, v), weights, biases, strict=True)
    return [linear(x, w, b) for x, w, b in given if w is not None]


def _heads(x: Tensor, heads: int) -> Tensor:
    """From ``(L, N, E)`` to ``(N, heads, L, E // heads)``."""
    length, batch, width = x.shape
    return permute_dims(reshape(x, (length, batch, heads, width // heads)), (1, 2, 0, 3))


def _unjoined(x: Any, heads: int) -> Tensor:
    """From ``(N * heads, S, E)`` to ``(N, heads, S, E)``."""
    tensor = asarray(x)
    return reshape(tensor, (-1, heads, *tensor.shape[1:]))


def _masks(attn_mask: Any, padding: Any, shape: tuple[int, ...]) -> Tensor | None:
    """Both masks as one that broadcasts to `shape`: booleans (True: seen), or numbers."""
    batch, heads, length, keys = shape
    found: Tensor | None = None
    if attn_mask is not None:
        found = asarray(attn_mask)
        if tuple(found.shape) == (batch * heads, length, keys):
            found = reshape(found, shape)
        elif tuple(found.shape) != (length, keys):
            raise ShapeError(
                f"attention: attn_mask of shape {tuple(found.shape)}",
                remedy=f"its shape is {(length, keys)} or {(batch * heads, length, keys)}",
            )
        found = _turned("attn_mask", found)
    if padding is None:
        return found
    hidden = asarray(padding)
    if tuple(hidden.shape) not in {(batch, keys), (keys,)}:
        raise ShapeError(
            f"attention: key_padding_mask of shape {tuple(hidden.shape)}",
            remedy=f"its shape is {(batch, keys)}",
        )
    other = _turned("key_padding_mask", reshape(hidden, (-1, 1, 1, keys)))
    if found is None:
        return other
    if found.dtype is other.dtype and not found.dtype.is_float:
        return found & other
    return _as_numbers(found) + _as_numbers(other)


def _turned(name: str, mask: Tensor) -> Tensor:
    """A mask that says what is hidden, as one that says what is seen; numbers stay."""
    if mask.dtype.is_float:
        return mask
    if mask.dtype.name != "bool":
        raise DTypeError(
            f"attention: {name} of {mask.dtype}",
            remedy="give booleans (True: not seen), or numbers to add to the scores",
        )
    return ~mask


def _as_numbers(mask: Tensor) -> Tensor:
    return mask if mask.dtype.is_float else fg.where(mask, 0.0, -math.inf)


def _widened_mask(mask: Tensor | None, keys: int) -> Tensor | None:
    """With keys at the end that all queries see."""
    if mask is None or mask.shape[-1] == keys:
        return mask
    shape = (*mask.shape[:-1], keys - mask.shape[-1])
    more = zeros(shape, dtype=mask.dtype)
    return concat([mask, more if mask.dtype.is_float else ~more], axis=-1)
