"""Compiled functions as objects: what looks at functions finds what it finds in plain ones."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn


@fg.compile
def named(x: Any, *, scale: float = 2.0) -> Any:
    """Scale."""
    return x * scale


X = np.arange(3, dtype=np.float32)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(fg.ones(3))

    @fg.compile
    def forward(self, x: Any) -> Any:
        return self.weight * x


def test_inspection_sees_the_function() -> None:
    assert str(inspect.signature(named)) == str(inspect.signature(named.function))
    assert inspect.unwrap(named) is named.function
    assert named.__name__ == "named"
    assert named.__doc__ == "Scale."
    assert named.func is named.function
    assert not inspect.iscoroutinefunction(named)
    assert not inspect.isgeneratorfunction(named)
    assert callable(named)
    assert repr(named) == "<compiled named>"


def test_a_name_is_pickled_and_copied_as_functions_are() -> None:
    assert pickle.loads(pickle.dumps(named)) is named
    assert copy.copy(named) is named
    assert copy.deepcopy({"f": named})["f"] is named


def test_without_a_name_copies_are_of_their_own() -> None:
    f = fg.compile(lambda x: x + 1)
    f(X), f(X)
    for other in (copy.copy(f), copy.deepcopy(f)):
        assert other is not f
        assert other.stats().compiles == 0
        np.testing.assert_array_equal(other(X).numpy(), X + 1)


@pytest.mark.parametrize("called", [False, True])
def test_a_copy_of_a_module_computes_with_its_own_parameters(called: bool) -> None:
    model = Scaled()
    if called:
        model(X), model(X), model(X)
    other = copy.deepcopy(model)
    with fg.no_grad():
        other.weight.data = fg.full(3, 5.0)
    for _ in range(3):
        np.testing.assert_array_equal(other(X).detach().numpy(), 5 * X)
        np.testing.assert_array_equal(model(X).detach().numpy(), X)


def test_a_shallow_copy_of_an_instance_is_another_instance() -> None:
    class Holder:
        def __init__(self, value: float) -> None:
            self.value = value

        @fg.compile
        def times(self, x: Any) -> Any:
            return x * self.value

    one = Holder(2.0)
    one.times(X), one.times(X)
    two = copy.copy(one)
    two.value = 3.0
    for _ in range(3):
        np.testing.assert_array_equal(two.times(X).numpy(), 3 * X)
        np.testing.assert_array_equal(one.times(X).numpy(), 2 * X)


def test_partial_functions_are_compiled_and_compiled_functions_are_partial() -> None:
    inner = functools.partial(lambda a, b, c: a + 2 * b + 3 * c, 1.0, c=2.0)
    f = fg.compile(inner)
    outer = functools.partial(f, X)
    for _ in range(4):
        np.testing.assert_array_equal(f(X).numpy(), 7 + 2 * X)
        np.testing.assert_array_equal(outer().numpy(), 7 + 2 * X)
    g = functools.partial(named, scale=3.0)
    for _ in range(4):
        np.testing.assert_array_equal(g(X).numpy(), 3 * X)


def test_a_compiled_function_of_a_compiled_one_reads_its_surroundings() -> None:
    factor = 2.0

    @fg.compile
    def inner(x: Any) -> Any:
        return x * factor

    @fg.compile
    def outer(x: Any) -> Any:
        return inner(x) + 1

    for _ in range(3):
        np.testing.assert_array_equal(outer(X).numpy(), 2 * X + 1)
    factor = 5.0
    for _ in range(3):
        np.testing.assert_array_equal(outer(X).numpy(), 5 * X + 1)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(fg.errors.ArgumentTypeError, match="compile takes a function"):
        fg.compile(3)


def test_nothing_but_its_user_keeps_a_compiled_function() -> None:
    f = fg.compile(lambda x: x + 1)
    f(X), f(X), f(X)
    gc.collect()
    gc.disable()
    try:
        seen = weakref.ref(f)
        del f
        assert seen() is None
    finally:
        gc.enable()
