"""Random numbers from a counter: each draw takes the next numbers of one stream.

Knows tensors: the state of a generator is captured and written like any other, so compiled
functions draw from the same stream, and draw new numbers at every call.

The bits are those of Philox 4x32 with ten rounds: number i of the stream is a function of the seed
and i alone, on every device, however the work is split.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from ..codegen.dtypes import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int64,
    uint32,
    uint64,
)
from ..errors import BatchingError, DTypeError, ShapeError, StateError
from ..ir.halves import wide
from ..ir.node import Node
from ..ops import build
from ..semantics.promotion import as_dtype
from ..semantics.shapes import as_shape
from ..tensors.context import active
from ..tensors.device import check_device
from ..tensors.placement import wander
from ..tensors.storage import Storage
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, finished, made, tensor_of
from .joining import stack

__all__ = [
    "Generator",
    "bernoulli",
    "bits",
    "default_generator",
    "extents_of",
    "float_dtype",
    "normal",
    "parameters",
    "rand",
    "randint",
    "randn",
    "seed",
    "uniform",
    "words",
]

_WORD = (1 << 64) - 1


@final
class Generator:
    """A stream of random numbers.

    Parameters
    ----------
    seed : int, optional
        Which stream.

    Attributes
    ----------
    key, offset : Tensor
        The stream, and how many of its numbers are used up.

    Examples
    --------
    >>> import fusegrad as fg
    >>> one, two = fg.random.Generator(7), fg.random.Generator(7)
    >>> a = fg.random.uniform(3, generator=one)
    >>> b = fg.random.uniform(3, generator=two)
    >>> bool((a == b).all()), int(one.offset)
    (True, 3)
    """

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self.key = _word(seed)
        self.offset = _word(0)
        self._named()

    def _named(self) -> None:
        self.key.name, self.offset.name = "random key", "random offset"
        # One stream for all devices: the same numbers wherever they are drawn.
        wander(self.key)
        wander(self.offset)

    def seed(self, seed: int) -> None:
        """Start the stream of `seed` from its beginning."""
        with self._lock:
            self.key.data = _word(seed)
            self.offset.data = _word(0)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` from its beginning; the generator itself."""
        self.seed(seed)
        return self

    def initial_seed(self) -> int:
        """Which stream it is."""
        return int(self.key)

    def get_state(self) -> Tensor:
        """The stream, and how many of its numbers are used up, as two numbers of uint64."""
        with self._lock:
            return stack([self.key, self.offset])

    def set_state(self, new_state: ArrayLike) -> None:
        """Go on where a generator with the state was."""
        state = as_tensor(new_state)
        if state.shape != (2,) or state.dtype is not uint64:
            raise StateError(
                f"the state of a generator is two numbers of uint64, not an array of {state.dtype} "
                f"of shape {tuple(state.shape)}",
                remedy="pass what get_state returned",
            )
        with self._lock:
            self.key.data = state[0]
            self.offset.data = state[1]

    @property
    def device(self) -> str:
        """Where its numbers are made: ``"cpu"``."""
        return "cpu"

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has too: all but the lock."""
        with self._lock:
            return {"key": copy.copy(self.key), "offset": copy.copy(self.offset)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._lock = threading.Lock()
        self.key, self.offset = state["key"], state["offset"]
        self._named()

    def reserve(self, count: int) -> tuple[Node, Node]:
        """The key and the number of the first of `count` numbers, which nobody else gets."""
        with self._lock:
            first = self.offset._read()
            self.offset._write(_plus(first, count))
            return self.key._read(), first


def _word(value: int) -> Tensor:
    if not isinstance(value, (int, np.integer)):
        raise DTypeError(f"seed: a seed is an integer, not {value!r}", remedy="pass one")
    storage = Storage.empty((), uint64.numpy)
    storage.array[...] = int(value) & _WORD
    return tensor_of(storage)


def _plus(offset: Node, count: int) -> Node:
    """``offset + count``, the counts of a trace as one sum."""
    if offset.op.name == "add":
        before = build.constant_value(offset.inputs[1])
        if before is not None:
            number = before if isinstance(before, int) else int(before)
            offset, count = offset.inputs[0], count + number
    return build.add(offset, build.constant(count, uint64))


default_generator = Generator()
"""What draws that name no generator draw from."""


def seed(seed: int) -> None:
    """Start the default stream anew.

    Parameters
    ----------
    seed : int
        The same seed gives the same numbers, on every machine.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.seed(0)
    >>> first = fg.random.uniform(2)
    >>> fg.random.seed(0)
    >>> bool((fg.random.uniform(2) == first).all())
    True
    """
    default_generator.seed(seed)


# --- bits -----------------------------------------------------------------------------------------


def _draw(shape: Any, generator: Generator | None, name: str) -> Node:
    """Random bits, one number of the stream for each element."""
    extents = extents_of(shape)
    count = math.prod(extent for extent in extents if isinstance(extent, int))
    key, first = _reserved(generator or default_generator, count)
    counter = build.add(build.iota(count, uint64), build.broadcast(first, (count,), ()))
    words = build.elementwise(name, build.broadcast(key, (count,), ()), counter)
    return build.reshape(words, extents)


def _reserved(generator: Generator, count: int) -> tuple[Node, Node]:
    """As `Generator.reserve`; the elements of a batch that is mapped over may take numbers each."""
    own: list[tuple[Node, int]] = []
    total = count
    for level in reversed(active.levels):
        level.counters.add(generator.offset)
        if level.randomness == "error":
            raise BatchingError(
                "random numbers are drawn in a function that vmap maps",
                remedy='say what is meant: fg.vmap(f, randomness="different") draws for each '
                'element, "same" once for all',
            )
        if level.randomness == "different":
            own.append((level.position, total))
            total *= level.size
    key, first = generator.reserve(total)
    for position, stride in own:
        first = build.add(first, build.mul(position, build.constant(stride, uint64)))
    return key, first


def _unit(shape: Any, dtype: DType, generator: Generator | None) -> Node:
    """Uniform numbers in [0, 1): as many high bits as the dtype holds exactly."""
    digits = {float16: 11, bfloat16: 8, float32: 24}.get(dtype)
    if digits is not None:
        words = _draw(shape, generator, "philox")
        high = build.shift_right(words, build.full_like(words, 32 - digits))
        return build.mul(build.cast(high, dtype), build.full(high.shape, 2.0**-digits, dtype))
    words = _draw(shape, generator, "philox64")
    high = build.shift_right(words, build.full_like(words, 11))
    return build.mul(build.cast(high, float64), build.full(high.shape, 2.0**-53, float64))


def _gaussian(shape: Any, dtype: DType, generator: Generator | None) -> Node:
    """The method of Box and Muller: a radius and an angle from the two halves of a word."""
    words = _draw(shape, generator, "philox64")
    low = build.cast(words, uint32)
    high = build.cast(build.shift_right(words, build.full_like(words, 32)), uint32)
    # In (0, 1]: the logarithm is finite.
    one = build.full(words.shape, 1.0, dtype)
    scale = build.full(words.shape, 2.0**-32, dtype)
    radius = build.mul(build.add(build.cast(low, dtype), one), scale)
    radius = build.sqrt(build.mul(build.log(radius), build.full_like(radius, -2.0)))
    angle = build.mul(build.cast(high, dtype), build.full_like(scale, 2.0**-31 * math.pi))
    return build.mul(radius, build.cos(angle))


def float_dtype(dtype: Any, name: str) -> DType:
    kind = float32 if dtype is None else as_dtype(dtype)
    if not kind.is_float:
        raise DTypeError(
            f"{name} has no numbers of {kind}", remedy="take a floating dtype, or use randint"
        )
    return kind


def _scaled(unit: Node, scale: float, shift: float) -> Node:
    if scale != 1:
        unit = build.mul(unit, build.full_like(unit, scale))
    return build.add(unit, build.full_like(unit, shift)) if shift else unit


def _asked(shape: Any) -> Any:
    """The shape argument, or None where the parameters have the shape."""
    return None if isinstance(shape, tuple) and not shape else shape


def _finish(node: Node, device: Any, requires_grad: bool) -> Tensor:
    check_device(device)
    return finished(made(node), device, requires_grad)


def parameters(
    name: str, values: Sequence[ArrayLike], shape: Any, dtype: Any
) -> tuple[list[Tensor], tuple[int, ...], DType]:
    """The parameters of a distribution as tensors of one float dtype, and the shape of the draw.

    Raises
    ------
    DTypeError
        If `dtype` is no float.
    ShapeError
        If the parameters cannot be broadcast to `shape`.
    """
    tensors = [as_tensor(v) for v in values]
    if dtype is None:
        wide = any(t.dtype is float64 for t, v in zip(tensors, values, strict=True) if _array(v))
        kind = float64 if wide else float32
    else:
        kind = float_dtype(dtype, name)
    common = np.broadcast_shapes(*(t.shape for t in tensors))
    extents = common if shape is None else extents_of(shape)
    try:
        fits = np.broadcast_shapes(common, extents) == extents
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{name}: parameters of shape {common} do not fit a draw of shape {extents}",
            remedy="draw a shape that they can be broadcast to",
        )
    return [t.astype(kind) for t in tensors], extents, kind


def extents_of(shape: Any) -> tuple[int, ...]:
    """A shape argument as numbers."""
    extents = tuple(e if isinstance(e, int) else int(e) for e in as_shape((shape,)))  # type: ignore[call-overload]
    if any(extent < 0 for extent in extents):
        raise ShapeError(
            f"a draw of shape {extents}: an extent is negative", remedy="extents are 0 or more"
        )
    return extents


def _array(value: Any) -> bool:
    return not isinstance(value, (bool, int, float))


# --- distributions --------------------------------------------------------------------------------


def bits(shape: Any = (), *, generator: Generator | None = None) -> Tensor:
    """Random bits.

    Parameters
    ----------
    shape : int or sequence of int, optional
    generator : Generator, optional

    Returns
    -------
    Tensor
        Of uint32.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.bits(3).dtype
    fusegrad.uint32
    """
    return _finish(_draw(shape, generator, "philox"), None, False)


def words(shape: Any, generator: Generator | None) -> Tensor:
    """64 random bits for each element, as uint64."""
    return _finish(_draw(shape, generator, "philox64"), None, False)


def uniform(
    shape: Any = (),
    low: Any = 0.0,
    high: Any = 1.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers spread evenly over an interval.

    Parameters
    ----------
    shape : int or sequence of int, optional
    low, high : float or array_like, optional
        The interval; the end does not belong to it. Gradients reach arrays.
    dtype : dtype, optional
        A floating dtype, float32 by default.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.random.uniform((2, 3), -1.0, 1.0)
    >>> x.shape, bool((abs(x) <= 1).all())
    ((2, 3), True)
    """
    if _array(low) or _array(high):
        (a, b), extents, kind = parameters("uniform", (low, high), _asked(shape), dtype)
        drawn = a + (b - a) * _finish(_unit(extents, kind, generator), device, False)
        return drawn.requires_grad_() if requires_grad else drawn
    unit = _unit(shape, float_dtype(dtype, "uniform"), generator)
    return _finish(_scaled(unit, high - low, low), device, requires_grad)


def normal(
    shape: Any = (),
    mean: Any = 0.0,
    std: Any = 1.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a normal distribution.

    Parameters
    ----------
    shape : int or sequence of int, optional
    mean, std : float or array_like, optional
        Gradients reach arrays.
    dtype : dtype, optional
        A floating dtype, float32 by default.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.normal((2, 3)).shape
    (2, 3)
    """
    if _array(mean) or _array(std):
        (m, s), extents, kind = parameters("normal", (mean, std), _asked(shape), dtype)
        values = build.cast(_gaussian(extents, wide(kind), generator), kind)
        drawn = m + s * _finish(values, device, False)
        return drawn.requires_grad_() if requires_grad else drawn
    kind = float_dtype(dtype, "normal")
    values = _scaled(_gaussian(shape, wide(kind), generator), std, mean)
    return _finish(build.cast(values, kind), device, requires_grad)


def rand(
    *shape: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers spread evenly over [0, 1), as in torch.

    Parameters
    ----------
    *shape : int or sequence of int
    size : sequence of int, optional
        The shape, by name.
    dtype : dtype, optional
        A floating dtype, float32 by default.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.rand(2, 3).shape
    (2, 3)
    """
    return uniform(
        as_shape(shape if size is None else size),
        dtype=dtype,
        device=device,
        requires_grad=requires_grad,
        generator=generator,
    )


def randn(
    *shape: Any,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of the standard normal distribution, as in torch.

    Parameters
    ----------
    *shape : int or sequence of int
    size : sequence of int, optional
        The shape, by name.
    dtype : dtype, optional
        A floating dtype, float32 by default.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.randn(2, 3).shape
    (2, 3)
    """
    return normal(
        as_shape(shape if size is None else size),
        dtype=dtype,
        device=device,
        requires_grad=requires_grad,
        generator=generator,
    )


def randint(
    low: int,
    high: int | None = None,
    shape: Any = (),
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Integers from `low` up to `high`, each with the same probability; see `integers.randint`."""
    if high is None:
        low, high = 0, low
    span = high - low
    if not 0 < span <= 1 << 32:
        raise DTypeError(
            f"randint from {low} up to {high} names {span} integers",
            remedy="name at least one integer, and at most 2**32",
        )
    words = _draw(shape, generator, "philox64")
    upper = build.shift_right(words, build.full_like(words, 32))
    scaled = build.mul(upper, build.full_like(upper, span))
    result = build.cast(build.shift_right(scaled, build.full_like(scaled, 32)), int64)
    if low:
        result = build.add(result, build.full_like(result, low))
    return _finish(build.cast(result, int64 if dtype is None else as_dtype(dtype)), device, False)


def bernoulli(
    p: ArrayLike,
    shape: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """True with a probability, else False.

    Parameters
    ----------
    p : float or array_like
        The probability.
    shape : int or sequence of int, optional
        By default that of `p`.
    dtype : dtype, optional
        By default bool.
    device : str, optional
        ``"cpu"``.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.bernoulli(1.0, 3)
    Tensor([ True,  True,  True])
    """
    check_device(device)
    bound = p if isinstance(p, (int, float)) else as_tensor(p).detach()
    if shape is None:
        shape = bound.shape if isinstance(bound, Tensor) else ()
    kind = float64 if isinstance(bound, Tensor) and bound.dtype is float64 else float32
    result = _finish(_unit(shape, kind, generator), device, False) < bound
    return result if dtype is None or as_dtype(dtype) is bool_ else result.astype(dtype)
