"""The errors and warnings of fusegrad, each with a code, and a page as its docstring.

Knows nothing of graphs, kernels or tensors: it turns a text, a line and a remedy into a message.

Every message has the same form: what went wrong and the code of the error class, then the line
of the user's program that asked for it, then what to do about it::

    cannot add shapes (3, 4) and (4, 3) [FG101]
      at train.py:17 in step: loss = a + b
      remedy: transpose or reshape one of the operands

The docstring of each class is its page: the situation by example, and the way out.
"""

from __future__ import annotations

from types import EllipsisType
from typing import Any, ClassVar

import numpy as np

from .source_lines import SourceLine, user_frame

__all__ = [
    "ArgumentStructureError",
    "ArgumentTypeError",
    "AxisError",
    "BatchingError",
    "CaptureError",
    "CompileError",
    "ConfigError",
    "CopyError",
    "DTypeError",
    "DataDependentShapeError",
    "DeviceError",
    "EmptyReductionError",
    "FileFormatError",
    "FusegradError",
    "FusegradWarning",
    "GradientError",
    "IndexBoundsError",
    "InternalError",
    "LeakedTracerError",
    "LinAlgError",
    "MatrixShapeError",
    "MemoryLimitError",
    "NotDifferentiableError",
    "OptionError",
    "OutOfMemoryError",
    "ShapeError",
    "SourceLine",
    "StateError",
    "TracedValueError",
    "user_frame",
]


# --- errors ---------------------------------------------------------------------------------------


class FusegradError(Exception):
    """The base of all errors that fusegrad raises on purpose.

    Parameters
    ----------
    message : str
        What went wrong.
    where : SourceLine, None or ..., optional
        The line to name. By default the user's line that is running now; None names no line.
    remedy : str, optional
        What to do about it. By default the remedy of the class.

    Attributes
    ----------
    code : str
        The stable code of the class, such as ``"FG101"``.

    Examples
    --------
    >>> line = SourceLine("train.py", 17, "step")
    >>> print(ShapeError("no", where=line, remedy="reshape one of them"))
    no [FG101]
      at train.py:17 in step
      remedy: reshape one of them
    """

    code: ClassVar[str] = "FG000"
    default_remedy: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        where: SourceLine | EllipsisType | None = ...,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = user_frame() if isinstance(where, EllipsisType) else where
        self.remedy = remedy if remedy is not None else self.default_remedy

    def __str__(self) -> str:
        first, newline, rest = self.message.partition("\n")
        text = f"{first} [{self.code}]{newline}{rest}"
        if self.where is not None:
            source = self.where.text
            text += f"\n  at {self.where}" + (f": {source}" if source else "")
        if self.remedy is not None:
            text += f"\n  remedy: {self.remedy}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.where, self.remedy)


def _rebuild(
    cls: type[FusegradError], message: str, where: SourceLine | None, remedy: str | None
) -> FusegradError:
    return cls(message, where=where, remedy=remedy)


class ShapeError(FusegradError, ValueError):
    """Shapes do not fit together.

    The situation::

        a = fg.ones((3, 4))
        b = fg.ones((4, 3))
        a + b

    Shapes broadcast as in NumPy: they are aligned at the right, and in each place the extents are
    equal or one of them is 1. The same error tells of a reshape that changes the number of
    elements, and inner extents of a product that differ.

    The way out: print the shapes in front of the line that the message names, and transpose,
    reshape or index with ``None`` (a new axis) one of the operands.
    """

    code = "FG101"


class AxisError(ShapeError, np.exceptions.AxisError):
    """An array does not have the axis that is named.

    The situation::

        fg.sum(fg.ones((3, 4)), axis=2)

    The way out: axes count from 0, negative ones from the end; compare with ``x.ndim``.
    """

    code = "FG106"


class CopyError(FusegradError, ValueError, BufferError):
    """Memory cannot be shared, and a copy was forbidden.

    The situation::

        fg.from_dlpack(np.ones((3, 4)).T, copy=False)

    Shared memory is C-contiguous, its elements are aligned to their size and have the dtype that is
    asked for. Who exports a tensor can take its memory only for reading.

    The way out: leave ``copy=None``, which copies where it must.
    """

    code = "FG107"


class DTypeError(FusegradError, TypeError):
    """An operation does not exist for these dtypes.

    The situation::

        x = fg.ones(3)
        x & x                                # floats have no bits to combine
        fg.ones(3, dtype="int64") + fg.ones(3, dtype="uint64")
        fg.asarray(["a"])

    Dtypes promote as the array API standard says; an integer with a float gives the float. No
    integer dtype holds the values of both int64 and uint64.

    The way out: convert first, ``x.astype("float32")``.
    """

    code = "FG102"


class OptionError(FusegradError, ValueError):
    """An argument is none of the values that a function takes.

    The situation::

        fg.pad(x, 1, mode="mirrored")     # there is no such mode
        F.dropout(x, p=1.5)               # no probability

    The way out: take one of the values that the message names.
    """

    code = "FG108"


class ArgumentTypeError(FusegradError, TypeError):
    """An argument is an object of another kind than a function takes.

    The situation::

        optim.SGD(parameter, lr=0.1)      # one parameter, and not a list of them
        fg.sum(x, axis=0, dim=1)          # two names of one argument

    The way out: pass what the message says.
    """

    code = "FG109"


class IndexBoundsError(FusegradError, IndexError):
    """An index lies outside an axis, or there are more indices than axes.

    The situation::

        x = fg.ones((3, 4))
        x[3]
        x[0, 0, 0]

    The way out: compare the index with ``x.shape``. The values of an index array are not known
    while a compiled function is recorded: there, those that lie outside are clamped to the axis.
    """

    code = "FG103"


class EmptyReductionError(FusegradError, ValueError):
    """A reduction that has no value for no elements meets an empty axis.

    The situation::

        fg.max(fg.ones((0, 3)), axis=0)

    A sum of nothing is 0, a product 1, ``all`` True and ``any`` False; max, min, argmax and argmin
    of nothing have no value, as in NumPy.

    The way out: skip the empty batch, or concatenate a fallback value first.
    """

    code = "FG104"
    default_remedy = "skip empty input, or concatenate a fallback value before the reduction"


class DeviceError(FusegradError, ValueError):
    """A device that does not exist, or that this installation cannot use.

    The situation::

        fg.ones(3, device="gpu0")

    The way out: use one of the devices that the message lists.
    """

    code = "FG105"


class OutOfMemoryError(DeviceError, MemoryError):
    """A GPU has not as much memory left as somebody asked for.

    The situation::

        fg.zeros(1 << 40, device="cuda")

    Where it is the memory of a compiled step, the message says how much that is, and what its
    largest values are, with the lines they come from.

    The way out: take smaller batches, drop tensors that are not needed, or compile the step with
    ``fg.compile(memory_limit=...)``, which computes values again rather than keep them.
    """

    code = "FG112"


class LinAlgError(FusegradError, np.linalg.LinAlgError):
    """A matrix does not have what a function of linear algebra needs.

    The situation::

        fg.linalg.inv(fg.zeros((2, 2)))                    # singular
        fg.linalg.cholesky([[1.0, 2.0], [2.0, 1.0]])       # not positive definite
        fg.linalg.eig([[0.0, -1.0], [1.0, 0.0]])           # complex eigenvalues

    It is raised when somebody looks at the value. A compiled function gives NaN for the matrices
    that fail, and what it should for the others.

    The way out: add a small multiple of the identity, use ``pinv`` or ``lstsq``, or ``eigh`` for
    symmetric matrices.
    """

    code = "FG110"


class MatrixShapeError(ShapeError, LinAlgError):
    """An array is no matrix, or not a square one.

    The situation::

        fg.linalg.inv(fg.ones(3))
        fg.linalg.det(fg.ones((3, 4)))

    The way out: the last two axes are the matrix, all axes before them a batch.
    """

    code = "FG111"


class TracedValueError(FusegradError, TypeError):
    """Python code looks at a value that does not exist yet.

    The situation: inside a compiled function an array is a recipe; its numbers exist only when the
    compiled program runs. So nothing may look at them while the function is traced::

        @fg.compile
        def step(x):
            if x.sum() > 0:          # bool() of a traced value
                x = x / int(x.max()) # int() of a traced value
            return np.exp(x)         # NumPy wants the numbers

    The way out: choose between values with ``fg.where``, use the functions of ``fg`` in place of
    NumPy's, and look at the numbers outside, in what the function returns. What Python really must
    know beforehand is passed as an argument named in ``static_argnames``.
    """

    code = "FG201"
    default_remedy = (
        "choose between values with fg.where, use fg functions in place of NumPy's, "
        "or return the value and look at it outside"
    )


class DataDependentShapeError(TracedValueError):
    """The shape of a result depends on values that do not exist yet.

    The situation: the shapes of a compiled program are fixed when the function is traced::

        @fg.compile
        def step(x):
            rows = fg.nonzero(x)     # how many are there?
            names = fg.unique(x)     # how many differ?
            return x[x > 0]          # how many are positive?

    The way out: keep the shape, with ``fg.where`` or by multiplying with a mask; give the extent
    where a function takes one (``fg.bincount(x, length=10)``); or do this outside.
    """

    code = "FG206"
    default_remedy = (
        "keep the shape with fg.where or a mask, or do this outside of the compiled function"
    )


class LeakedTracerError(FusegradError, RuntimeError):
    """A traced value outlives the trace that made it.

    The situation::

        history = []

        @fg.compile
        def step(x):
            y = x * 2
            history.append(y)        # y has no value after the trace
            return y

        step(x)
        history[0] + 1

    The way out: return the value, and store what the call returns. A Tensor that shall change from
    call to call is made outside and written inside (``total += y``): writes are outputs.
    """

    code = "FG202"
    default_remedy = (
        "return the value from the compiled function, or write it into a Tensor made outside"
    )


class CaptureError(FusegradError, RuntimeError):
    """A trace changes the structure of what the function captured.

    The situation: a compiled function reads and writes the *values* of parameters, buffers and
    optimizer state. Which of them exist is fixed when it is traced::

        @fg.compile
        def step(x):
            model.append(nn.Linear(10, 10))    # a new parameter at every call?
            return model(x)

    The way out: change modules, parameter groups and containers between calls. The next call
    notices and traces again.
    """

    code = "FG203"
    default_remedy = "make the change outside the compiled function; the next call traces again"


class ArgumentStructureError(FusegradError, TypeError):
    """Arguments, results or containers of them do not have the structure that is needed.

    The situation::

        @fg.compile
        def step(x, y): ...

        step(x)                            # too few arguments
        step({"image": x}, open("f"))      # a file is neither an array nor a number
        batch = []; batch.append(batch)
        step(batch, y)                     # a container that contains itself

    The way out: arguments and results are arrays, Tensors, numbers, strings, None, and dicts,
    lists, tuples, named tuples and dataclasses of them.
    """

    code = "FG204"


class StateError(FusegradError, ValueError):
    """A state dict does not fit the module or optimizer that shall load it.

    The situation::

        model.load_state_dict({"weight": w})       # the model has "0.weight" and "0.bias"

    The way out: compare the names and shapes that the message lists with ``model.state_dict()``;
    ``strict=False`` loads what fits.
    """

    code = "FG205"


class GradientError(FusegradError, RuntimeError):
    """A gradient was asked for that is not defined.

    The situation::

        y = x * 2
        y.backward()               # y has 3 elements: a gradient of what?
        x.detach().backward()      # nothing that requires a gradient was recorded
        fg.grad(f)(3)              # an integer has no gradient

    The way out: reduce to a scalar first (``y.sum().backward()``), or pass the weights of the
    elements, ``y.backward(seed)``; set ``requires_grad`` before recording; use floating arguments.
    """

    code = "FG301"


class NotDifferentiableError(GradientError):
    """The way back leads through an operation that has no derivative.

    The situation::

        fg.grad(lambda x: fg.random.bits_like(x).sum())(x)

    Rounding, comparisons and conversions to integers have a derivative of zero and do not raise;
    this is for operations for which none is known.

    The way out: give the rule with ``fg.custom_vjp``, or cut the path with ``x.detach()``.
    """

    code = "FG302"
    default_remedy = "give a rule with fg.custom_vjp, or cut the path with .detach()"


class BatchingError(FusegradError, RuntimeError):
    """A function cannot be mapped over a batch.

    The situation::

        fg.vmap(lambda x, y: x + y)(fg.ones((2, 3)), fg.ones((4, 3)))   # 2 elements, or 4?
        fg.vmap(lambda x: fg.random.normal(3) * x)(x)  # the same numbers for each element?

    The way out: the message says which argument or which operation is meant. Axes are chosen with
    ``in_axes``, what random numbers do with ``randomness``.
    """

    code = "FG303"


class ConfigError(FusegradError, ValueError):
    """An environment variable has a value that fusegrad does not understand.

    The situation::

        FUSEGRAD_NUM_THREADS=many python train.py

    The way out: the message lists what the variable accepts; unset it for the default.
    """

    code = "FG401"


class FileFormatError(FusegradError, ValueError):
    """A file is not what it should be.

    The situation::

        fg.load("weights.pt")      # not a safetensors file, or cut short

    The way out: write files with ``fg.save``, and copy them whole.
    """

    code = "FG402"


class CompileError(FusegradError, RuntimeError):
    """The machine code of a kernel could not be made.

    The situation: a target that this LLVM does not know, or memory that cannot be mapped as
    executable (a hardened system).

    The way out: the message holds what LLVM said. Unset ``FUSEGRAD_TARGET``, or compute with
    ``fg.eager()`` meanwhile.
    """

    code = "FG501"


class MemoryLimitError(CompileError):
    """A step needs more memory than ``fg.compile(memory_limit=...)`` allows.

    The situation: what the step keeps between its kernels is more than the limit, even where
    values are computed again rather than kept.

    The way out: the message names the least limit that was reached. Or take smaller batches, or
    compute parts of the model again with ``fg.checkpoint``.
    """

    code = "FG503"
    default_remedy = "raise the limit, or take smaller batches"


class InternalError(CompileError):
    """Fusegrad broke one of its own rules: a verifier between two stages refused a program.

    The way out: it is a bug. Report it with the message and the files that ``FUSEGRAD_DUMP=dir``
    writes. ``fg.eager()`` computes the same without the compiler.
    """

    code = "FG502"
    default_remedy = (
        "this is a bug in fusegrad: report it with the files that FUSEGRAD_DUMP=dir writes; "
        "fg.eager() computes the same without the compiler"
    )


class FusegradWarning(UserWarning):
    """Something is not as it should be, and fusegrad goes on without it.

    The situation: a cache entry that is broken or belongs to someone else is ignored, a switch in
    the environment has a name that does not exist.
    """
