"""Wrong use of many functions: each gets one error of ours that names the user's line.

What messages say word for word is in `test_errors.py`; here is that none is an error of Python or
NumPy from inside, and that they name the function that was called, or what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import FusegradError

X, V, B = fg.ones((3, 4)), fg.ones(3), fg.ones((2, 3, 4))
LABELS, NOTHING = fg.asarray([1, 2, 3]), fg.ones((0, 3))
IMAGE, KERNEL = fg.ones((1, 1, 5, 5)), fg.ones((1, 1, 2, 2))
Call = Callable[[], Any]

ALONG_AN_AXIS = [
    "sum",
    "prod",
    "mean",
    "max",
    "min",
    "std",
    "var",
    "any",
    "all",
    "argmax",
    "argmin",
    "median",
    "logsumexp",
    "count_nonzero",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "sort",
    "argsort",
    "flip",
    "nansum",
    "nanmean",
    "nanmax",
    "nanargmin",
    "ptp",
    "quantile",
    "expand_dims",
    "squeeze",
    "unstack",
    "diff",
    "cumulative_sum",
    "logcumsumexp",
    "roll",
    "average",
    "nanvar",
    "nanstd",
    "nanprod",
]
OF_TWO = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "hypot",
    "atan2",
    "pow",
    "logaddexp",
    "fmod",
    "copysign",
    "floor_divide",
    "remainder",
    "nextafter",
    "logical_and",
    "less",
    "equal",
    "isclose",
]
MORE = {"quantile": (0.5,), "roll": (1,)}


def along_axes() -> Iterator[tuple[str, Call, str]]:
    for name in ALONG_AN_AXIS:
        function, more = getattr(fg, name), MORE.get(name, ())
        yield (
            f"{name} axis",
            lambda f=function, m=more: f(X, *m, axis=7),
            f"{name}: there is no axis 7",
        )
        for axis in ("a", 1.5):
            message = f"{name}: an axis is an integer, not {axis!r}"
            yield f"{name} {axis!r}", lambda f=function, m=more, a=axis: f(X, *m, axis=a), message
        for value in ("abc", None, object()):
            kind = type(value).__name__
            message = f"cannot make a tensor of a {kind}"
            yield f"{name} of {kind}", lambda f=function, m=more, v=value: f(v, *m), message


def of_two() -> Iterator[tuple[str, Call, str]]:
    for name in OF_TWO:
        function = getattr(fg, name)
        yield f"{name} shapes", lambda f=function: f(X, fg.ones(5)), "shapes (3, 4) and (5,)"
        yield f"{name} text", lambda f=function: f(X, "a"), "cannot make a tensor of a str"


def of_nothing() -> Iterator[tuple[str, Call, str]]:
    for name in ("max", "min", "argmax", "argmin", "amax", "nanmax"):
        function = getattr(fg, name)
        yield f"{name} empty", lambda f=function: f(fg.ones(0)), "of no elements has no value"
        yield (
            f"{name} of columns",
            lambda f=function: f(NOTHING, axis=0),
            "of no elements has no value",
        )


CASES: dict[str, tuple[Call, str]] = {
    # shapes and movement
    "reshape": (lambda: fg.reshape(X, (5, 2)), "shape (3, 4)"),
    "reshape text": (lambda: X.reshape("a"), "is no shape"),
    "reshape two": (lambda: fg.reshape(X, (-1, -1)), "-1"),
    "broadcast_to": (lambda: fg.broadcast_to(X, (2, 4)), "shape (3, 4) to (2, 4)"),
    "permute_dims": (lambda: fg.permute_dims(X, (0, 0)), "permute"),
    "swapaxes": (lambda: fg.swapaxes(X, 0, 9), "swapaxes: there is no axis 9"),
    "moveaxis": (lambda: fg.moveaxis(X, 0, 9), "moveaxis: there is no axis 9"),
    "transpose": (lambda: fg.transpose(X, (0, 5)), "transpose"),
    "concat": (lambda: fg.concat([X, fg.ones((2, 5))]), "concat"),
    "concat none": (lambda: fg.concat([]), "there are no arrays"),
    "concat number": (lambda: fg.concat(3), "concat takes a sequence of arrays, not 3"),  # type: ignore[arg-type]
    "stack": (lambda: fg.stack([X, V]), "stack"),
    "split": (lambda: fg.split(X, 5), "split"),
    "chunk": (lambda: fg.chunk(X, 0), "chunk: 0 parts"),
    "tile": (lambda: fg.tile(X, -1), "is repeated -1 times"),
    "repeat": (lambda: fg.repeat(X, -1), "repeat"),
    "repeat counts": (lambda: fg.repeat(V, [1, 2]), "repeat"),
    "pad mode": (lambda: fg.pad(V, 1, mode="bogus"), "pad: there is no mode 'bogus'"),
    "pad widths": (lambda: fg.pad(V, (1, 2, 3)), "pad"),
    "tril": (lambda: fg.tril(V), "tril"),
    "diag": (lambda: fg.diag(B), "diag"),
    "squeeze": (lambda: fg.squeeze(X, axis=0), "squeeze"),
    "unfold": (lambda: V.unfold(0, 9, 1), "unfold: axis 0 of extent 3 has no windows of 9"),
    "as_strided": (lambda: fg.as_strided(V, (9,), (1,)), "as_strided"),
    # creation
    "eye": (lambda: fg.eye(-1), "eye of -1 numbers"),
    "eye float": (lambda: fg.eye(2.5), "eye of 2.5 numbers"),  # type: ignore[arg-type]
    "zeros": (lambda: fg.zeros(-1), "an extent of the shape (-1,) is negative"),
    "zeros text": (lambda: fg.zeros("a"), "is no shape"),
    "zeros dtype": (lambda: fg.zeros(2, dtype="nope"), "there is no dtype nope"),
    "ones device": (lambda: fg.ones(2, device="tpu"), "there is no device 'tpu'"),
    "full": (lambda: fg.full((2,), "a"), "full: 'a' is no number"),
    "arange": (lambda: fg.arange(0, 1, 0), "arange with a step of 0"),
    "arange text": (lambda: fg.arange("a"), "arange: 'a' is no number"),
    "linspace": (lambda: fg.linspace(0, 1, 2.5), "linspace of 2.5 numbers"),  # type: ignore[arg-type]
    "asarray": (lambda: fg.asarray([[1], [1, 2]]), "its rows have different lengths"),
    "asarray complex": (lambda: fg.asarray(1j), "complex"),
    "from_dlpack": (lambda: fg.from_dlpack(3), "a int cannot be read"),
    # picking
    "index": (lambda: X[5], "index 5"),
    "indices": (lambda: X[0, 0, 0], "3 indices for an array of 2 dimensions"),
    "mask": (lambda: X[fg.asarray([True, False])], "a mask of shape (2,)"),
    "take": (lambda: fg.take(X, LABELS, axis=5), "take: there is no axis 5"),
    "take float": (lambda: fg.take(X, V), "an index array has dtype float32"),
    "gather": (lambda: fg.gather(X, 1, fg.asarray([[9]])), "index 9"),
    "assign": (lambda: X.clone().__setitem__(0, fg.ones(5)), "shape (5,) to (4,)"),
    "topk": (lambda: fg.topk(V, 9), "topk"),
    "kthvalue": (lambda: fg.kthvalue(V, 9), "kthvalue"),
    "quantile": (lambda: fg.quantile(V, 2.0), "quantile"),
    "searchsorted": (lambda: fg.searchsorted(V, 1.0, side="up"), "searchsorted"),
    "bincount": (lambda: fg.bincount(V), "bincount"),
    "one_hot": (lambda: F.one_hot(V), "one_hot needs integers, not float32"),
    # products and matrices
    "matmul": (lambda: X @ X, "shapes (3, 4) and (3, 4)"),
    "einsum": (
        lambda: fg.einsum("ij,jk->ik", X, X),
        "einsum 'ij,jk->ik' of shapes (3, 4) and (3, 4): 'j' has extents 4 and 3",
    ),
    "einsum number": (lambda: fg.einsum("ij,jk->ik", X), "einsum"),
    "tensordot": (lambda: fg.tensordot(X, X, axes=1), "tensordot"),
    "cross": (lambda: fg.cross(X, X), "cross"),
    "inv": (lambda: fg.linalg.inv(X), "inv needs a square matrix, the array has shape (3, 4)"),
    "solve": (lambda: fg.linalg.solve(fg.eye(3), fg.ones(4)), "solve"),
    "singular": (lambda: fg.linalg.inv(fg.zeros((2, 2))).numpy(), "inv: singular matrix"),
    "norm": (lambda: fg.linalg.norm(X, ord="zz"), "norm"),
    "matrix_power": (lambda: fg.linalg.matrix_power(fg.eye(2), 1.5), "matrix_power"),  # type: ignore[arg-type]
    # layers
    "linear": (lambda: F.linear(X, fg.ones((5, 9))), "(3, 4) and (9, 5)"),
    "conv1d": (lambda: F.conv1d(fg.ones((1, 2, 5)), fg.ones((3, 4, 2))), "conv1d"),
    "conv2d": (lambda: F.conv2d(X, KERNEL), "conv2d"),
    "conv2d padding": (lambda: F.conv2d(IMAGE, KERNEL, padding="zz"), "conv2d"),
    "conv2d stride": (lambda: F.conv2d(IMAGE, KERNEL, stride=0), "conv2d"),
    "max_pool2d": (lambda: F.max_pool2d(KERNEL, 5), "max_pool2d"),
    "layer_norm": (lambda: F.layer_norm(X, (5,)), "layer_norm"),
    "group_norm": (lambda: F.group_norm(fg.ones((1, 5, 2)), 2), "group_norm"),
    "embedding": (lambda: F.embedding(V, X), "embedding needs integers"),
    "softmax": (lambda: F.softmax(X, dim=4), "softmax: there is no axis 4"),
    "log_softmax": (lambda: F.log_softmax(X, dim=4), "log_softmax: there is no axis 4"),
    "normalize": (lambda: F.normalize(X, dim=7), "normalize: there is no axis 7"),
    "cosine": (lambda: F.cosine_similarity(X, X, dim=7), "cosine_similarity: there is no axis 7"),
    "cross_entropy": (lambda: F.cross_entropy(X, fg.asarray([1, 2])), "cross_entropy of scores"),
    "cross_entropy reduction": (
        lambda: F.cross_entropy(X, LABELS, reduction="zz"),  # type: ignore[arg-type]
        "reduction is 'none', 'mean' or 'sum', not 'zz'",
    ),
    "mse_loss": (lambda: F.mse_loss(X, V), "mse_loss compares shapes (3, 4) and (3,)"),
    "dropout": (lambda: F.dropout(X, 2.0), "a probability lies between 0 and 1, 2.0 does not"),
    "gelu": (lambda: F.gelu(X, approximate="zz"), "approximate is 'none' or 'tanh'"),  # type: ignore[arg-type]
    "interpolate": (lambda: F.interpolate(IMAGE, scale_factor=2, mode="zz"), "interpolate"),
    "Linear": (lambda: nn.Linear(4, 3)(fg.ones((2, 5))), "(2, 5) and (4, 3)"),
    "Conv2d": (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups"),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3)(fg.ones((2, 4, 5, 5))), "batch_norm"),
    # optimizers
    "SGD": (lambda: optim.SGD([nn.Parameter([1.0])], lr=-1), "lr is -1, and cannot be negative"),
    "SGD tensor": (lambda: optim.SGD(nn.Parameter([1.0])), "params is one Tensor"),
    "SGD nothing": (lambda: optim.SGD([]), "there are no parameters to optimize"),
    "SGD integers": (lambda: optim.SGD([LABELS]), "a parameter is floating, and this one is int64"),
    # derivatives and control
    "backward": (lambda: X.backward(), "backward()"),
    "grad": (lambda: fg.grad(lambda x: x.sum())(LABELS), "int64"),
    "grad vector": (lambda: fg.grad(lambda x: x * 2)(V), "scalar"),
    "requires_grad": (lambda: fg.ones(2, dtype="int32", requires_grad=True), "has no gradient"),
    "vmap": (lambda: fg.vmap(lambda x, y: x + y)(V, fg.ones(4)), "vmap"),
    "scan": (lambda: fg.scan(lambda c, x: c, 0.0, V), "scan: the function did not return a pair"),
    "fori_loop": (lambda: fg.fori_loop(0, 3, lambda i, s: s[:1], V), "fori_loop: carry"),
    "while_loop": (
        lambda: fg.while_loop(lambda x: x.sum() < 9, lambda x: x[:1], V),
        "while_loop: ",
    ),
    "cond": (lambda: fg.cond(V, lambda: 1, lambda: 2), "cond"),
    "compile": (lambda: fg.compile(3), "compile takes a function, not 3"),  # type: ignore[arg-type]
    "checkpoint": (lambda: fg.checkpoint(3), "checkpoint takes a function, not 3"),  # type: ignore[arg-type]
    # random numbers
    "uniform": (lambda: fg.random.uniform(3, dtype="int32"), "uniform has no numbers of int32"),
    "randint": (lambda: fg.random.randint(3, 3), "randint from 3 up to 3"),
    "normal": (lambda: fg.random.normal((-1,)), "an extent is negative"),
    "choice": (lambda: fg.random.choice(3, 5, replace=False), "choice: 5 of 3"),
    "choice p": (
        lambda: fg.random.choice(3, 5, p=[0.5, 0.5]),
        "choice: probabilities of shape (2,)",
    ),
    "seed": (lambda: fg.random.seed("a"), "seed: a seed is an integer, not 'a'"),  # type: ignore[arg-type]
    "categorical": (lambda: fg.random.categorical(X, axis=7), "categorical: there is no axis 7"),
}
ALL = {
    **{name: (call, message) for name, call, message in (*along_axes(), *of_two(), *of_nothing())},
    **CASES,
}


@pytest.mark.parametrize("name", ALL)
def test_one_clear_error(name: str) -> None:
    call, message = ALL[name]
    with pytest.raises(FusegradError) as caught:
        call()
    assert message in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.file == __file__


def test_numbers_that_are_arguments_are_no_axes_and_shapes() -> None:
    for use in (
        lambda x, n: x.sum(n),
        lambda x, n: fg.softmax(x, n),
        lambda x, n: x.reshape(n, -1),
        lambda x, n: x[:n],
        lambda x, n: fg.zeros((n, 2)),
    ):
        with pytest.raises(FusegradError, match="a Python integer") as caught:
            fg.compile(use)(X, 1)
        assert "depends on the argument 'n'" in str(caught.value)
        assert "static_argnames" in str(caught.value)
