"""custom_op: C functions inside of programs, from numba, ctypes and addresses."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import ArgumentStructureError, DTypeError, FusegradError, GradientError
from fusegrad.testing import assert_close

DOUBLE = ctypes.c_double


def hypotenuse() -> Any:
    """hypot of the C library."""
    function = ctypes.CDLL(None).hypot
    function.argtypes, function.restype = [DOUBLE, DOUBLE], DOUBLE
    return function


def fails(kind: type[FusegradError], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as raised:
        call()
    return raised.value.message


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (7,), (2, 3, 1, 2, 5)], ids=str)
def test_a_c_function(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=shape), rng.normal(size=shape)
    length = fg.custom_op(hypotenuse(), name="length")

    def f(a: Any, b: Any) -> Any:
        return length(a * 2, b) + 1

    expected = np.hypot(2 * x, y) + 1
    assert_close(f(fg.asarray(x), fg.asarray(y)), expected)
    assert_close(fg.compile(f)(x, y), expected)


def test_broadcast_and_conversion() -> None:
    length = fg.custom_op(hypotenuse())
    found = fg.compile(lambda a, b: length(a, b))(np.float32([[3], [6]]), np.array([4, 8]))
    assert found.dtype == fg.float64
    assert_close(found, np.hypot([[3.0], [6.0]], [4.0, 8.0]))
    view = np.arange(12.0).reshape(3, 4).T
    assert_close(fg.compile(length)(view, 1.0), np.hypot(view, 1.0))


def test_a_function_of_numba() -> None:
    numba = pytest.importorskip("numba", reason="numba is not installed")

    @numba.cfunc("float32(float32, int64)")
    def scaled(x: float, n: int) -> float:
        return x * n

    op = fg.custom_op(scaled)
    found = fg.compile(lambda x: op(x, 3) + 1)(fg.ones(5))
    assert found.dtype == fg.float32
    assert found.tolist() == [4] * 5


def test_an_address() -> None:
    address = ctypes.cast(hypotenuse(), ctypes.c_void_p).value
    op = fg.custom_op(address, argument_types=["float64"] * 2, result_type="float64", name="length")
    assert_close(fg.compile(op)(np.float64(3), np.float64(4)), np.float64(5))
    assert fails(ArgumentStructureError, lambda: fg.custom_op(address)) == (
        "custom_op of an address without types"
    )


def test_functions_of_one_name_differ() -> None:
    prototype = ctypes.CFUNCTYPE(DOUBLE, DOUBLE)
    plus, minus = (fg.custom_op(prototype(lambda x, d=d: x + d), name="f") for d in (1, -1))
    compiled = [fg.compile(lambda x, op=op: op(x)) for op in (plus, minus)]
    assert [float(f(np.float64(5))) for f in compiled] == [6, 4]


def test_derivatives_are_given_around_it() -> None:
    length = fg.custom_op(hypotenuse(), name="length")
    x, y = fg.asarray([3.0], dtype="float64"), fg.asarray([4.0], dtype="float64")
    assert fails(GradientError, lambda: fg.grad(lambda a: length(a, y).sum())(x)) == (
        "native has no derivative"
    )
    smooth = fg.custom_jvp(length)

    @smooth.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (a, b), (t, u) = primals, tangents
        value = smooth(a, b)
        return value, (a * t + b * u) / value

    assert_close(fg.grad(lambda a: smooth(a, y).sum())(x), np.array([0.6]))
    assert_close(fg.compile(fg.grad(lambda a: smooth(a, y).sum()))(x), np.array([0.6]))
    rows = fg.vmap(length, in_axes=(0, None))(fg.stack([x, 2 * x]), y)
    assert_close(rows, np.hypot([[3.0], [6.0]], 4.0))


def test_errors() -> None:
    length = fg.custom_op(hypotenuse(), name="length")
    assert fails(ArgumentStructureError, lambda: length(1.0)) == (
        "length of 1 arrays: the C function takes 2"
    )
    assert fails(ArgumentStructureError, lambda: fg.custom_op(abs)) == (
        "custom_op of a builtin_function_or_method, which tells no C signature"
    )
    text = ctypes.CFUNCTYPE(DOUBLE, ctypes.c_char_p)(len)
    assert fails(DTypeError, lambda: fg.custom_op(text)) == (
        "custom_op: the C type c_char_p is no number"
    )


PROGRAM = """
import ctypes
import numpy as np
import fusegrad as fg

function = ctypes.CDLL(None).{name}
function.argtypes, function.restype = [ctypes.c_double], ctypes.c_double
op = fg.custom_op(function, name="f")
print(float(fg.compile(lambda x: op(x) * 2)(np.float64(0.5))))
"""


def test_no_address_is_kept_on_disk(tmp_path: Any) -> None:
    for name, expected in (("sin", np.sin(0.5)), ("cos", np.cos(0.5)), ("sin", np.sin(0.5))):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(name=name)],
            env={"FUSEGRAD_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert float(done.stdout) == 2 * expected
