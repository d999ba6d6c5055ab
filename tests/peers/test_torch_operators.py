"""Every function that torch has too, on the samples of torch's own table of operators.

The table (`torch.testing._internal.common_methods_invocations.op_db`) holds arguments for 600
operators: shapes, axes, options, edge cases. Values, dtypes and gradients must agree, recorded and
compiled. What is left out is listed with its reason.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import AxisError, DataDependentShapeError, TracedValueError

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("expecttest", reason="expecttest is not installed")
pytestmark = pytest.mark.peers

# name -> why its samples do not apply
LEFT_OUT = {
    # The function of this name follows NumPy or SciPy.
    **dict.fromkeys(
        ("atleast_1d", "atleast_2d", "atleast_3d", "median", "nanmedian", "repeat", "select"),
        "NumPy's function",
    ),
    **dict.fromkeys(("sort", "split", "std", "var", "linalg.solve"), "NumPy's function"),
    **dict.fromkeys(("where", "einsum", "nn.functional.embedding"), "arguments in another order"),
    "polygamma": "arguments in another order",
    "special.polygamma": "arguments in another order",
    **dict.fromkeys(("max reduction_with_dim", "min reduction_with_dim"), "NumPy's results"),
    **dict.fromkeys(("add", "sub"), "no factor for the second operand"),
    "round": "no number of decimals",
    **dict.fromkeys(("ldexp", "heaviside", "histogram", "histogramdd"), "NumPy's dtypes"),
    "linalg.lu_solve": "pivots count from 0, as in SciPy",
    "linalg.lu": "no option to leave the exchange of rows out",
    "linalg.lu_factor": "no option to leave the exchange of rows out",
    "linalg.lstsq": "no choice of a driver",
    "squeeze": "an axis of another extent than 1 is an error, as in NumPy",
    "bincount": "counts are integers unless weights are floats",
    "cov": "the samples have weights of another precision",
    # Gradients that are defined otherwise.
    "cholesky_inverse": "only the triangle that is read has a gradient",
    "cholesky_solve": "only the triangle that is read has a gradient",
    "linalg.pinv": "only the triangle that is read has a gradient; one sample is another function",
    "nextafter": "a step function has the derivative 0",
    "nn.functional.max_unpool1d": "what is overwritten has no gradient",
    "nn.functional.max_unpool2d": "what is overwritten has no gradient",
    "nn.functional.max_unpool3d": "what is overwritten has no gradient",
    "linalg.svd": "signs are arbitrary, and full matrices have no derivative",
    "linalg.eigh": "signs are arbitrary",
    # What torch's samples ask for and nobody else has.
    "gather": "indices without elements that have more axes than the array",
    "masked_scatter": "the input broadcasts to the mask",
    "nn.functional.pad": "an axis padded by -4 and then from what is left",
    "nn.functional.batch_norm": "an input without channels",
    "nonzero": "a number as a row of no indices",
    "as_strided": "strides of memory, not of the flat array",
    "tensor_split": "a tensor as a Python number",
    "tensordot": "summed axes that broadcast",
    "cat": "an empty vector fits any shape",
    "zero_": "a tensor that requires a gradient changes in place",
    "bfloat16": "NumPy has no bfloat16 to compare",
    "to": "memory formats",
    "fill": "what is filled has no gradient",
    "sgn": "torch's gradient is no array",
    "nn.functional.ctc_loss": "torch's gradient contains that of a log_softmax before it",
    "nn.functional.triplet_margin_with_distance_loss": "modules of torch as distances",
    "logspace": "a tensor for the number of samples",
}
OTHER_WORLDS = ("fft.", "sparse", "torch.", "jiterator", "masked.", "_", "signal.")
RANDOM = (
    *("bernoulli", "cauchy", "exponential", "geometric", "log_normal", "multinomial", "normal"),
    *("rand_like", "randint", "randn", "uniform", "empty", "new_empty"),
    *("nn.functional.dropout", "nn.functional.alpha_dropout", "nn.functional.rrelu"),
    *("nn.functional.feature_alpha_dropout", "nn.functional.fractional_max_pool"),
)
MOST_SAMPLES = 60
COMPILED_SAMPLES = 2


def ours(name: str) -> Callable[..., Any] | None:
    """The function or method of that name."""
    found: Any = fg
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        found = getattr(fg.Tensor, name, None)
    return found if callable(found) else None


def operators() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    for operator in op_db:
        name = operator.name
        left_out = {name, f"{name} {operator.variant_test_name}"} & set(LEFT_OUT)
        if left_out or name.startswith((*RANDOM, *OTHER_WORLDS)):
            continue
        if torch.float64 in operator.supported_dtypes("cpu") and ours(name) is not None:
            yield operator


OPERATORS = {f"{op.name} {op.variant_test_name}".strip(): op for op in operators()}


def differentiable(tree: Any) -> bool:
    return isinstance(tree, torch.Tensor) and tree.requires_grad and tree.is_floating_point()


def leaves_of(tree: Any) -> list[Any]:
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in leaves_of(part)]
    if isinstance(tree, dict):
        return leaves_of(list(tree.values()))
    return [tree]


def translated(tree: Any, parameters: list[Any]) -> Any:
    """Arguments of torch as ours; the tensors that require gradients are collected."""
    if isinstance(tree, torch.Tensor):
        tensor = fg.tensor(tree.detach().numpy().copy(), requires_grad=differentiable(tree))
        if differentiable(tree):
            parameters.append(tensor)
        return tensor
    if isinstance(tree, (torch.dtype, torch.device)):
        return str(tree).removeprefix("torch.")
    if isinstance(tree, dict):
        skipped = ("memory_format", "layout", "generator", "device")
        return {k: translated(v, parameters) for k, v in tree.items() if k not in skipped}
    if isinstance(tree, (list, tuple)):
        parts = [translated(part, parameters) for part in tree]
        return parts if isinstance(tree, list) else tuple(parts)
    return tree


def compare(found: Any, expected: Any) -> None:
    if not isinstance(expected, torch.Tensor):
        assert isinstance(found, fg.Tensor) or found == expected
        return
    array, wanted = np.asarray(fg.asarray(found).detach()), expected.detach().numpy()
    assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype)
    tolerance = 1e-6 if wanted.dtype == np.float64 else 2e-3
    np.testing.assert_allclose(array, wanted, rtol=tolerance, atol=tolerance)


def drops(name: str, sample: Any) -> bool:
    """Whether elements are dropped at random."""
    if name == "nn.functional.multi_head_attention_forward":
        return bool(sample.args[9] > 0 and sample.kwargs.get("training", True))
    return "attention" in name and bool(sample.kwargs.get("dropout_p", 0.0))


def check(operator: Any, sample: Any, compiled: bool) -> None:
    theirs = [sample.input, sample.args, sample.kwargs]
    try:
        expected = leaves_of(operator(sample.input, *sample.args, **sample.kwargs))
    except RuntimeError:
        return  # a sample for another device
    if any(isinstance(leaf, torch.Tensor) and leaf.is_complex() for leaf in expected):
        return
    if drops(operator.name, sample):
        return
    parameters: list[Any] = []
    first, args, kwargs = translated(theirs, parameters)
    function = ours(operator.name)
    assert function is not None
    followed = [place for place, leaf in enumerate(expected) if differentiable(leaf)]
    seeds = [np.random.default_rng(1).normal(size=tuple(expected[p].shape)) for p in followed]

    def run() -> list[Any]:
        results = leaves_of(function(first, *args, **kwargs))
        if followed and parameters and operator.supports_autograd:
            scalars = [(results[p] * s).sum() for p, s in zip(followed, seeds, strict=True)]
            sum(scalars[1:], scalars[0]).backward()
        return results

    results = fg.compile(run)() if compiled else run()
    assert len(results) == len(expected)
    for found, wanted in zip(results, expected, strict=True):
        compare(found, wanted)
    if not (followed and parameters and operator.supports_autograd):
        return
    inputs = [leaf for leaf in leaves_of(theirs) if differentiable(leaf)]
    wanted_seeds = [torch.as_tensor(s, dtype=torch.float64) for s in seeds]
    wanted_gradients = torch.autograd.grad(
        [expected[p] for p in followed], inputs, wanted_seeds, allow_unused=True
    )
    for parameter, gradient in zip(parameters, wanted_gradients, strict=True):
        array = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        wanted = np.zeros(parameter.shape) if gradient is None else gradient.numpy()
        np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6)


def has_no_axes(sample: Any) -> bool:
    return any(isinstance(leaf, torch.Tensor) and not leaf.ndim for leaf in leaves_of(sample.input))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OPERATORS)
def test_equals_torch_on_its_samples(name: str) -> None:
    operator = OPERATORS[name]
    torch.manual_seed(0)
    samples = list(
        operator.sample_inputs("cpu", torch.float64, requires_grad=operator.supports_autograd)
    )
    step = len(samples) // MOST_SAMPLES + 1
    for sample in itertools.islice(samples, 0, None, step):
        try:
            check(operator, sample, compiled=False)
        except AxisError:
            # An array without axes has an axis 0 in torch, and none in NumPy.
            assert has_no_axes(sample), sample
    for sample in samples[:: max(1, len(samples) // COMPILED_SAMPLES)]:
        try:
            check(operator, sample, compiled=True)
        except AxisError:
            assert has_no_axes(sample), sample
        except (DataDependentShapeError, TracedValueError):
            assert name in NEED_VALUES, sample


# The shapes of their results depend on values, which do not exist in a compiled function.
NEED_VALUES = (
    *("argwhere", "item", "masked_select", "narrow", "repeat_interleave", "unique"),
    "unique_consecutive",
)


def test_most_of_the_table_is_covered() -> None:
    assert len(OPERATORS) > 320
    assert [name for name in LEFT_OUT if ours(name.split()[0]) is None] == []
