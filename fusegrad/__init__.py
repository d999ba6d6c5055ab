"""Tensor code that records a graph, and a compiler that fuses it into native code.

Holds the public names only: the work is in the sub-packages. Functions on tensors have the names of
the Python array API standard.
"""

from __future__ import annotations

import math as _math

from . import autograd, cuda, errors, func, linalg, nn, optim, random, special, testing
from . import function_methods as _function_methods
from .amp import autocast
from .codegen.dtypes import (
    DType,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .codegen.dtypes import bool_ as bool
from .codegen.dtypes import float16 as half
from .codegen.dtypes import float64 as double
from .codegen.dtypes import int16 as short
from .codegen.dtypes import int64 as long
from .compilation.compile import compile
from .errors import FusegradError, FusegradWarning
from .functions import arithmetic as _arithmetic
from .functions import arranging as _arranging
from .functions import averages as _averages
from .functions import choosing as _choosing
from .functions import diagonals as _diagonals
from .functions import differences as _differences
from .functions import functional as _functional
from .functions import inserting as _inserting
from .functions import joining as _joining
from .functions import matrix_names as _matrix_names
from .functions import matrix_sums as _matrix_sums
from .functions import nan_reductions as _nan_reductions
from .functions import numpy_names as _numpy_names
from .functions import operator_names as _operator_names
from .functions import picking as _picking
from .functions import polynomials as _polynomials
from .functions import products as _products
from .functions import questions as _questions
from .functions import random_names as _random_names
from .functions import ranges as _ranges
from .functions import slices as _slices
from .functions import special_names as _special_names
from .functions import tapers as _tapers
from .functions import torch_names as _torch_names
from .functions.arithmetic import *  # noqa: F403
from .functions.arranging import *  # noqa: F403
from .functions.averages import *  # noqa: F403
from .functions.choosing import *  # noqa: F403
from .functions.creation import (
    array,
    asarray,
    empty,
    empty_like,
    full,
    full_like,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from .functions.cumulative import (
    cummax,
    cummin,
    cumprod,
    cumsum,
    cumulative_prod,
    cumulative_sum,
    logcumsumexp,
    nancumprod,
    nancumsum,
)
from .functions.data_types import (
    astype,
    bitcast,
    can_cast,
    finfo,
    iinfo,
    iscomplexobj,
    isdtype,
    isrealobj,
    result_type,
)
from .functions.diagonals import *  # noqa: F403
from .functions.differences import *  # noqa: F403
from .functions.elementwise import *  # noqa: F403
from .functions.functional import *  # noqa: F403
from .functions.histograms import (
    bincount,
    histc,
    histogram,
    histogram2d,
    histogram_bin_edges,
    histogramdd,
)
from .functions.inserting import *  # noqa: F403
from .functions.inspection import (
    __array_namespace_info__,
    get_default_device,
    get_default_dtype,
    get_float32_matmul_precision,
    is_floating_point,
    is_tensor,
    numel,
    set_default_device,
    set_float32_matmul_precision,
)
from .functions.interop import from_dlpack, from_numpy
from .functions.joining import *  # noqa: F403
from .functions.manipulation import (
    broadcast_arrays,
    broadcast_to,
    expand_dims,
    flatten,
    flip,
    matrix_transpose,
    moveaxis,
    permute_dims,
    repeat,
    reshape,
    roll,
    squeeze,
    swapaxes,
    take,
    take_along_axis,
    tile,
    tril,
    triu,
)
from .functions.manipulation import broadcast_shapes_of as broadcast_shapes
from .functions.matrix_names import *  # noqa: F403
from .functions.matrix_sums import *  # noqa: F403
from .functions.nan_reductions import *  # noqa: F403
from .functions.numpy_names import *  # noqa: F403
from .functions.operator_names import *  # noqa: F403
from .functions.order_statistics import (
    median,
    nanmedian,
    nanpercentile,
    nanquantile,
    percentile,
    quantile,
)
from .functions.padding import pad
from .functions.picking import *  # noqa: F403
from .functions.polynomials import *  # noqa: F403
from .functions.products import *  # noqa: F403
from .functions.questions import *  # noqa: F403
from .functions.random_names import *  # noqa: F403
from .functions.ranges import *  # noqa: F403
from .functions.reductions import (
    all,
    any,
    argmax,
    argmin,
    count_nonzero,
    logsumexp,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from .functions.searching import (
    argwhere,
    bucketize,
    digitize,
    flatnonzero,
    isin,
    nonzero,
    searchsorted,
)
from .functions.sets import (
    intersect1d,
    setdiff1d,
    setxor1d,
    union1d,
    unique,
    unique_all,
    unique_consecutive,
    unique_counts,
    unique_inverse,
    unique_values,
)
from .functions.slices import *  # noqa: F403
from .functions.sorting import (
    argpartition,
    argsort,
    kthvalue,
    lexsort,
    mode,
    msort,
    partition,
    sort,
    topk,
)
from .functions.special_names import *  # noqa: F403
from .functions.tapers import *  # noqa: F403
from .functions.torch_names import *  # noqa: F403
from .functions.windows import (
    conv_general_dilated,
    convolve,
    correlate,
    reduce_window,
    sliding_window_view,
)
from .nn.functional import (
    adaptive_avg_pool1d,
    adaptive_max_pool1d,
    alpha_dropout,
    avg_pool1d,
    batch_norm,
    bilinear,
    binary_cross_entropy_with_logits,
    celu,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    dropout,
    embedding,
    feature_alpha_dropout,
    group_norm,
    hardshrink,
    instance_norm,
    layer_norm,
    log_softmax,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    pairwise_distance,
    pdist,
    pixel_shuffle,
    pixel_unshuffle,
    prelu,
    rms_norm,
    rrelu,
    selu,
    softmax,
    threshold,
)
from .objectives import scipy_objective
from .runtime.threads import num_threads as get_num_threads
from .runtime.threads import set_num_threads
from .serialization import load, save
from .tensors.context import (
    eager,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from .tensors.device import device
from .tensors.tensor_class import Tensor
from .tensors.trace import runtime_scalar
from .transforms.control import cond, fori_loop, map, scan, switch, while_loop
from .transforms.custom_function import Function
from .transforms.custom_rules import checkpoint, custom_jvp, custom_vjp
from .transforms.forward_mode import jvp, linearize
from .transforms.gradients import detach, grad, stop_gradient, value_and_grad, vjp
from .transforms.jacobians import hessian, hvp, jacfwd, jacobian, jacrev, vhp
from .transforms.native import custom_op
from .transforms.vectorized import vmap

_function_methods.install()

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

e = _math.e
inf = _math.inf
nan = _math.nan
pi = _math.pi
newaxis = None
# Not in __all__: a star import must not replace Python's types.
float, int = float32, int32

__all__ = [
    "DType",
    "Function",
    "FusegradError",
    "FusegradWarning",
    "Tensor",
    "__array_namespace_info__",
    "adaptive_avg_pool1d",
    "adaptive_max_pool1d",
    "all",
    "alpha_dropout",
    "any",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "argwhere",
    "array",
    "asarray",
    "astype",
    "autocast",
    "autograd",
    "avg_pool1d",
    "batch_norm",
    "bfloat16",
    "bilinear",
    "binary_cross_entropy_with_logits",
    "bincount",
    "bitcast",
    "bool",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "bucketize",
    "can_cast",
    "celu",
    "channel_shuffle",
    "checkpoint",
    "compile",
    "cond",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_general_dilated",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "convolve",
    "correlate",
    "cosine_similarity",
    "count_nonzero",
    "cuda",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "custom_jvp",
    "custom_op",
    "custom_vjp",
    "detach",
    "device",
    "digitize",
    "double",
    "dropout",
    "e",
    "eager",
    "embedding",
    "empty",
    "empty_like",
    "enable_grad",
    "errors",
    "expand_dims",
    "feature_alpha_dropout",
    "finfo",
    "flatnonzero",
    "flatten",
    "flip",
    "float16",
    "float32",
    "float64",
    "fori_loop",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "func",
    "get_default_device",
    "get_default_dtype",
    "get_float32_matmul_precision",
    "get_num_threads",
    "grad",
    "group_norm",
    "half",
    "hardshrink",
    "hessian",
    "histc",
    "histogram",
    "histogram2d",
    "histogram_bin_edges",
    "histogramdd",
    "hvp",
    "iinfo",
    "inf",
    "inference_mode",
    "instance_norm",
    "int8",
    "int16",
    "int32",
    "int64",
    "intersect1d",
    "is_floating_point",
    "is_grad_enabled",
    "is_tensor",
    "iscomplexobj",
    "isdtype",
    "isin",
    "isrealobj",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "kthvalue",
    "layer_norm",
    "lexsort",
    "linalg",
    "linearize",
    "load",
    "log_softmax",
    "logcumsumexp",
    "logsumexp",
    "long",
    "map",
    "matrix_transpose",
    "max",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mean",
    "median",
    "min",
    "mode",
    "moveaxis",
    "msort",
    "nan",
    "nancumprod",
    "nancumsum",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "newaxis",
    "nn",
    "no_grad",
    "nonzero",
    "numel",
    "ones",
    "ones_like",
    "optim",
    "pad",
    "pairwise_distance",
    "partition",
    "pdist",
    "percentile",
    "permute_dims",
    "pi",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "prod",
    "quantile",
    "random",
    "reduce_window",
    "repeat",
    "reshape",
    "result_type",
    "rms_norm",
    "roll",
    "rrelu",
    "runtime_scalar",
    "save",
    "scan",
    "scipy_objective",
    "searchsorted",
    "selu",
    "set_default_device",
    "set_float32_matmul_precision",
    "set_grad_enabled",
    "set_num_threads",
    "setdiff1d",
    "setxor1d",
    "short",
    "sliding_window_view",
    "softmax",
    "sort",
    "special",
    "squeeze",
    "std",
    "stop_gradient",
    "sum",
    "swapaxes",
    "switch",
    "take",
    "take_along_axis",
    "tensor",
    "testing",
    "threshold",
    "tile",
    "topk",
    "tril",
    "triu",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "union1d",
    "unique",
    "unique_all",
    "unique_consecutive",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "value_and_grad",
    "var",
    "vhp",
    "vjp",
    "vmap",
    "while_loop",
    "zeros",
    "zeros_like",
]
__all__ += _arithmetic.__all__
__all__ += _arranging.__all__
__all__ += _choosing.__all__
__all__ += _diagonals.__all__
__all__ += _functional.__all__
__all__ += _ranges.__all__
__all__ += _inserting.__all__
__all__ += _joining.__all__
__all__ += _matrix_names.__all__
__all__ += _numpy_names.__all__
__all__ += _operator_names.__all__
__all__ += _picking.__all__
__all__ += _averages.__all__
__all__ += _differences.__all__
__all__ += _nan_reductions.__all__
__all__ += _products.__all__
__all__ += _matrix_sums.__all__
__all__ += _questions.__all__
__all__ += _random_names.__all__
__all__ += _special_names.__all__
__all__ += _tapers.__all__
__all__ += _torch_names.__all__
__all__ += _polynomials.__all__
__all__ += _slices.__all__
