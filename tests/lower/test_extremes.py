"""Where the largest and the smallest element of a row are: all dtypes, lengths, kinds of rows."""

from __future__ import annotations

import numpy as np
import pytest

from fusegrad.codegen.dtypes import (
    DType,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
)
from fusegrad.ops import build
from tests.lower.support import Array, check, variable

LENGTHS = (1, 2, 15, 16, 17, 127, 129, 300, 1025)


def rows(dtype: DType, length: int) -> Array:
    """Rows with ties, with every element equal, and for floats with infinities and NaN."""
    rng = np.random.default_rng(length)
    x = rng.integers(0, 2 if dtype is bool_ else 7, (12, length)).astype("f8")
    x[0], x[1] = 0, 1
    if dtype.is_float:
        x[2], x[3] = -np.inf, np.inf
        x[4, rng.integers(length)] = np.nan
        x[5, rng.integers(0, length, 3)] = np.nan, -np.inf, np.nan
        x[6] = np.nan
        x[7, rng.integers(length)] = -np.inf
        x[8] = np.where(rng.random(length) < 0.5, -0.0, 0.0)
    elif dtype is not bool_:
        x[2], x[3] = dtype.lowest, dtype.highest if dtype.bits < 64 else 1 << 60
    return x.astype(dtype.numpy)


@pytest.mark.parametrize(
    "dtype", [float32, float64, float16, int8, int32, int64, uint8, bool_], ids=str
)
def test_the_first_of_equals_and_nan_first(dtype: DType) -> None:
    inputs, outputs = {}, []
    for length in LENGTHS:
        x = variable((12, length), dtype)
        inputs[x] = rows(dtype, length)
        outputs += [build.argmax(x, 1), build.argmin(x, 1)]
        if length in (17, 300):
            y = build.transpose(x, (1, 0))
            outputs += [build.argmax(y, 0), build.argmax(x, 0), build.argmin(x, 0)]
    check(outputs, inputs)


def test_one_row_and_axes_between_others() -> None:
    one, middle = variable((5000,), float32), variable((3, 45, 2), float32)
    rng = np.random.default_rng(0)
    values = rng.integers(0, 1000, 5000).astype("f4")
    shifted = build.sub(one, build.full((5000,), 3, float32))
    check(
        [build.argmax(one, 0), build.argmin(shifted, 0), build.argmax(middle, 1)],
        {one: values, middle: rng.integers(0, 9, (3, 45, 2)).astype("f4")},
    )
