"""Tensor code that records a graph, and a compiler that fuses it into native code.

Holds the public names only: the work is in the sub-packages. Functions on tensors have the names of
the Python array API standard.
"""

from __future__ import annotations

import math as _math

from . import arithmetic as _arithmetic
from . import arranging as _arranging
from . import autograd, errors, func, linalg, nn, optim, random, special, testing
from . import averages as _averages
from . import choosing as _choosing
from . import diagonals as _diagonals
from . import differences as _differences
from . import function_methods as _function_methods
from . import inserting as _inserting
from . import joining as _joining
from . import matrix_names as _matrix_names
from . import nan_reductions as _nan_reductions
from . import numpy_names as _numpy_names
from . import picking as _picking
from . import products as _products
from .amp import autocast
from .arithmetic import *  # noqa: F403
from .arranging import *  # noqa: F403
from .averages import *  # noqa: F403
from .choosing import *  # noqa: F403
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
from .codegen.dtypes import (
    bool_ as bool,
)
from .codegen.dtypes import (
    float16 as half,
)
from .codegen.dtypes import (
    float64 as double,
)
from .compile import compile
from .context import (
    eager,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from .control import (
    cond,
    fori_loop,
    map,
    scan,
    switch,
    while_loop,
)
from .creation import (
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
from .cumulative import (
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
from .custom_function import Function
from .custom_rules import checkpoint, custom_jvp, custom_vjp
from .data_types import (
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
from .diagonals import *  # noqa: F403
from .differences import *  # noqa: F403
from .errors import (
    FusegradError,
    FusegradWarning,
)
from .forward_mode import jvp, linearize
from .functional import (
    abs,
    acos,
    acosh,
    add,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    ceil,
    clip,
    conj,
    copysign,
    cos,
    cosh,
    divide,
    equal,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    imag,
    isclose,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    nan_to_num,
    negative,
    nextafter,
    not_equal,
    positive,
    pow,
    real,
    reciprocal,
    relu,
    remainder,
    round,
    rsqrt,
    sigmoid,
    sign,
    signbit,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    trunc,
    where,
)
from .gradients import (
    detach,
    grad,
    stop_gradient,
    value_and_grad,
    vjp,
)
from .histograms import (
    bincount,
    histc,
    histogram,
    histogram2d,
    histogram_bin_edges,
    histogramdd,
)
from .inserting import *  # noqa: F403
from .inspection import __array_namespace_info__
from .interop import from_dlpack, from_numpy
from .jacobians import hessian, hvp, jacfwd, jacobian, jacrev, vhp
from .joining import *  # noqa: F403
from .manipulation import (
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
from .manipulation import (
    broadcast_shapes_of as broadcast_shapes,
)
from .matrix_names import *  # noqa: F403
from .nan_reductions import *  # noqa: F403
from .native import custom_op
from .numpy_names import *  # noqa: F403
from .objectives import scipy_objective
from .order_statistics import (
    median,
    nanmedian,
    nanpercentile,
    nanquantile,
    percentile,
    quantile,
)
from .padding import pad
from .picking import *  # noqa: F403
from .products import *  # noqa: F403
from .ranges import arange, eye, geomspace, identity, indices, linspace, logspace
from .reductions import (
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
from .searching import (
    argwhere,
    bucketize,
    digitize,
    flatnonzero,
    isin,
    nonzero,
    searchsorted,
)
from .serialization import (
    load,
    save,
)
from .sets import (
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
from .sorting import (
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
from .tensor_class import (
    Tensor,
)
from .trace import (
    runtime_scalar,
)
from .vectorized import vmap
from .windows import (
    conv_general_dilated,
    convolve,
    correlate,
    reduce_window,
    sliding_window_view,
)

_function_methods.install()

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

e = _math.e
inf = _math.inf
nan = _math.nan
pi = _math.pi
newaxis = None

__all__ = [
    "DType",
    "Function",
    "FusegradError",
    "FusegradWarning",
    "Tensor",
    "__array_namespace_info__",
    "abs",
    "acos",
    "acosh",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "argwhere",
    "array",
    "asarray",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "autocast",
    "autograd",
    "bfloat16",
    "bincount",
    "bitcast",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "bucketize",
    "can_cast",
    "ceil",
    "checkpoint",
    "clip",
    "compile",
    "cond",
    "conj",
    "conv_general_dilated",
    "convolve",
    "copysign",
    "correlate",
    "cos",
    "cosh",
    "count_nonzero",
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
    "digitize",
    "divide",
    "double",
    "e",
    "eager",
    "empty",
    "empty_like",
    "enable_grad",
    "equal",
    "erf",
    "erfc",
    "errors",
    "exp",
    "exp2",
    "expand_dims",
    "expm1",
    "eye",
    "finfo",
    "flatnonzero",
    "flatten",
    "flip",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "fori_loop",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "func",
    "geomspace",
    "grad",
    "greater",
    "greater_equal",
    "half",
    "hessian",
    "histc",
    "histogram",
    "histogram2d",
    "histogram_bin_edges",
    "histogramdd",
    "hvp",
    "hypot",
    "identity",
    "iinfo",
    "imag",
    "indices",
    "inf",
    "inference_mode",
    "int8",
    "int16",
    "int32",
    "int64",
    "intersect1d",
    "is_grad_enabled",
    "isclose",
    "iscomplexobj",
    "isdtype",
    "isfinite",
    "isin",
    "isinf",
    "isnan",
    "isrealobj",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "kthvalue",
    "less",
    "less_equal",
    "lexsort",
    "linalg",
    "linearize",
    "linspace",
    "load",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logcumsumexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logspace",
    "logsumexp",
    "map",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "median",
    "min",
    "minimum",
    "mode",
    "moveaxis",
    "msort",
    "multiply",
    "nan",
    "nan_to_num",
    "nancumprod",
    "nancumsum",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "negative",
    "newaxis",
    "nextafter",
    "nn",
    "no_grad",
    "nonzero",
    "not_equal",
    "ones",
    "ones_like",
    "optim",
    "pad",
    "partition",
    "percentile",
    "permute_dims",
    "pi",
    "positive",
    "pow",
    "prod",
    "quantile",
    "random",
    "real",
    "reciprocal",
    "reduce_window",
    "relu",
    "remainder",
    "repeat",
    "reshape",
    "result_type",
    "roll",
    "round",
    "rsqrt",
    "runtime_scalar",
    "save",
    "scan",
    "scipy_objective",
    "searchsorted",
    "set_grad_enabled",
    "setdiff1d",
    "setxor1d",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sliding_window_view",
    "sort",
    "special",
    "sqrt",
    "square",
    "squeeze",
    "std",
    "stop_gradient",
    "subtract",
    "sum",
    "swapaxes",
    "switch",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensor",
    "testing",
    "tile",
    "topk",
    "tril",
    "triu",
    "trunc",
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
    "where",
    "while_loop",
    "zeros",
    "zeros_like",
]
__all__ += _arithmetic.__all__
__all__ += _arranging.__all__
__all__ += _choosing.__all__
__all__ += _diagonals.__all__
__all__ += _inserting.__all__
__all__ += _joining.__all__
__all__ += _matrix_names.__all__
__all__ += _numpy_names.__all__
__all__ += _picking.__all__
__all__ += _averages.__all__
__all__ += _differences.__all__
__all__ += _nan_reductions.__all__
__all__ += _products.__all__
