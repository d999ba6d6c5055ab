"""Layers: linear, embedding, dropout and reshaping, under torch's names.

User-level code: each makes its parameters and calls its function.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import (
    OptionError,
    ShapeError,
)
from ..functions.creation import asarray, empty
from ..functions.manipulation import reshape
from ..tensors.tensor_class import Tensor
from . import functional as F
from . import init
from .in_place import InPlaceModule
from .module import Module
from .parameter import Parameter

__all__ = [
    "Bilinear",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Embedding",
    "Flatten",
    "Identity",
    "Linear",
]


class Identity(Module):
    """Returns its input; arguments are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return the input."""
        return input


class Linear(Module):
    """``x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, optional
    dtype : optional
        Of the parameters, float32 by default.

    Attributes
    ----------
    weight : Parameter
        Of shape ``(out_features, in_features)``; uniform between plus and minus
        ``1 / sqrt(in_features)`` at first, and so is the bias.
    bias : Parameter or None
        Of shape ``(out_features,)``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Linear(4, 3)(fg.ones((2, 4))).shape
    (2, 3)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in_features), dtype=dtype))
        if bias:
            self.bias = Parameter(empty((out_features,), dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Tensor:
        """Multiply and add."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    """``x1 @ weight[k] @ x2 + bias[k]`` for every k.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
    bias : bool, optional
    dtype : optional
        Of the parameters, float32 by default.

    Attributes
    ----------
    weight : Parameter
        Of shape ``(out_features, in1_features, in2_features)``; uniform between plus and minus
        ``1 / sqrt(in1_features)`` at first, and so is the bias.
    bias : Parameter or None
        Of shape ``(out_features,)``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Bilinear(4, 3, 2)(fg.ones((5, 4)), fg.ones((5, 3))).shape
    (5, 2)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in1_features, in2_features), dtype=dtype))
        given = Parameter(empty((out_features,), dtype=dtype)) if bias else None
        self.register_parameter("bias", given)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1 / math.sqrt(self.in1_features) if self.in1_features else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        """Multiply and add."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Embedding(Module):
    """A table of rows that integers select.

    Parameters
    ----------
    num_embeddings : int
        The number of rows.
    embedding_dim : int
        Their length.
    padding_idx : int, optional
        A row of zeros that gets no gradient.
    max_norm : float, optional
        Rows that are selected and whose norm is larger are scaled to it, in the table itself.
    norm_type : float, optional
        Which norm.
    scale_grad_by_freq : bool, optional
        Whether the gradient of a row is divided by how often it is selected.
    sparse : bool, optional
        Of no effect: gradients are dense.
    device, dtype : optional
        Of the table, float32 by default.

    Examples
    --------
    >>> from fusegrad import nn
    >>> nn.Embedding(10, 3)([[1, 2], [0, 9]]).shape
    (2, 2, 3)
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise OptionError(f"padding_idx {padding_idx} is none of {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        shape = (num_embeddings, embedding_dim)
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer with the given table, which does not learn if it is frozen.

        Parameters
        ----------
        embeddings : Tensor or array
            Of shape ``(num_embeddings, embedding_dim)``.
        freeze : bool, optional
        padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse : optional
            As for the class; a row of padding stays as it is given.

        Examples
        --------
        >>> from fusegrad import nn
        >>> nn.Embedding.from_pretrained([[1.0, 2.0], [3.0, 4.0]])(1).numpy()
        array([3., 4.], dtype=float32)
        """
        table = asarray(embeddings)
        if table.ndim != 2:
            raise ShapeError(
                f"Embedding: a table of shape {tuple(table.shape)}",
                remedy="its shape is (num_embeddings, embedding_dim)",
            )
        options = (max_norm, norm_type, scale_grad_by_freq, sparse)
        count, width = table.shape
        layer = cls(count, width, padding_idx, *options, dtype=table.dtype)
        layer.weight = Parameter(table, requires_grad=not freeze)
        return layer

    def reset_parameters(self) -> None:
        """Draw the table anew, from the normal distribution."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.fill_row_(self.weight, self.padding_idx, 0.0)

    def forward(self, input: Any) -> Tensor:
        """Select rows."""
        options = (self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse)
        return F.embedding(input, self.weight, self.padding_idx, *options)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        defaults = {
            "padding_idx": None,
            "max_norm": None,
            "norm_type": 2,
            "scale_grad_by_freq": False,
            "sparse": False,
        }
        for key, usual in defaults.items():
            value = getattr(self, key)
            if value != usual:
                text += f", {key}={value}"
        return text


class _Dropout(InPlaceModule):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__(inplace)
        if not 0 <= p <= 1:
            raise OptionError(f"a probability lies between 0 and 1, {p} does not")
        self.p = p

    def extra_repr(self) -> str:
        return self._described(f"p={self.p}")


class Dropout(_Dropout):
    """In training sets elements to zero at random and scales the others; then returns its input.

    Parameters
    ----------
    p : float, optional
        The probability of zero.
    inplace : bool, optional
        Whether the input takes the result.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Dropout(0.5).eval()(fg.ones(3)).numpy()
    array([1., 1., 1.], dtype=float32)
    """

    def forward(self, input: Any) -> Tensor:
        """Drop in training."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """`Dropout` of whole channels, of an input of shape ``(N, C, L)``.

    Parameters
    ----------
    p : float, optional
        The probability of zero.
    inplace : bool, optional
        Whether the input takes the result.
    """

    def forward(self, input: Any) -> Tensor:
        """Drop in training."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """`Dropout` of whole channels, of an input of shape ``(N, C, H, W)``.

    Parameters
    ----------
    p : float, optional
        The probability of zero.
    inplace : bool, optional
        Whether the input takes the result.
    """

    def forward(self, input: Any) -> Tensor:
        """Drop in training."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """`Dropout` of whole channels, of an input of shape ``(N, C, D, H, W)``.

    Parameters
    ----------
    p : float, optional
        The probability of zero.
    inplace : bool, optional
        Whether the input takes the result.
    """

    def forward(self, input: Any) -> Tensor:
        """Drop in training."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class Flatten(Module):
    """Joins neighbouring axes to one.

    Parameters
    ----------
    start_dim, end_dim : int, optional
        The first and the last of them; by default all but the first of the input.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Flatten()(fg.ones((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Tensor:
        """Join the axes."""
        input = asarray(input)
        first = self.start_dim % max(input.ndim, 1)
        last = self.end_dim % max(input.ndim, 1)
        if first > last:
            raise OptionError(f"start_dim {self.start_dim} comes after end_dim {self.end_dim}")
        shape = tuple(input.shape)
        joined = math.prod(shape[first : last + 1])
        return reshape(input, (*shape[:first], joined, *shape[last + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
