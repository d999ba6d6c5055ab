"""The assertions that fusegrad ships for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.testing import assert_close, assert_kernels, assert_no_recompile, check_grads


def test_assert_close() -> None:
    assert_close({"a": fg.ones(2)}, {"a": np.ones(2, np.float32)})
    assert_close(fg.ones(2), fg.ones(2) + 1e-6)
    with pytest.raises(AssertionError, match="was a list and is a tuple"):
        assert_close((fg.ones(2),), [fg.ones(2)])
    with pytest.raises(AssertionError, match="shape"):
        assert_close(fg.ones(2), fg.ones(3))
    with pytest.raises(AssertionError, match="dtype"):
        assert_close(fg.ones(2), fg.ones(2, dtype="float64"))
    with pytest.raises(AssertionError, match="Not equal"):
        assert_close(fg.ones(2), fg.ones(2) * 1.01)


def test_assert_no_recompile() -> None:
    f = fg.compile(lambda x: x * 2)
    f(fg.ones(3))
    with assert_no_recompile(f):
        f(fg.zeros(3))
    with pytest.raises(AssertionError, match="traced 1 times again"), assert_no_recompile(f):
        f(fg.zeros((2, 2)))


def test_assert_kernels() -> None:
    f = fg.compile(lambda x: fg.exp(x) * 2 + 1)
    assert assert_kernels(1, f, fg.zeros(3)).tolist() == [3, 3, 3]
    with pytest.raises(AssertionError, match="expected 5"):
        assert_kernels(5, f, fg.zeros(3))


def test_check_grads_of_trees_to_third_order() -> None:
    def f(tree: dict[str, Any], y: Any) -> Any:
        return [fg.sin(tree["a"]) * y, (tree["b"][0] ** 3).sum()]

    check_grads(f, ({"a": np.ones(3), "b": [np.full(2, 0.5)]}, 0.7), order=3)
