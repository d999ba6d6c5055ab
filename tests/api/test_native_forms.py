"""Calls by keyword, with nested arguments, of methods: what of them is answered natively."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import pytree
from fusegrad.compilation import containers


def calls(function: Any) -> int:
    """How many calls the fast paths answered."""
    hits: int = function._fast.hits
    return hits


def test_keyword_arguments_of_any_order_and_number() -> None:
    @fg.compile
    def f(x: Any, y: Any = 2.0, *, z: Any = None, flag: bool = False) -> Any:
        result = x - y if z is None else (x - y) * z["a"] if isinstance(z, dict) else (x - y) * z
        return result + 1 if flag else result

    x, y, z = (fg.asarray(np.arange(3, dtype=np.float32) + k) for k in (1, 5, 9))
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((x,), {"y": y}),
        ((), {"x": x, "y": y}),
        ((), {"y": y, "x": x}),
        ((x, y), {"z": z}),
        ((x,), {"z": z, "y": y}),
        ((x,), {"y": y, "z": z}),
        ((x,), {"y": y, "z": {"a": z}}),
        ((x,), {"flag": True}),
        ((x,), {"flag": False}),
        ((x,), {"y": 3.0}),
        ((x,), {"y": 4.0}),
        ((x,), {}),
    ]
    for _ in range(4):
        for args, kwargs in calls:
            expected = np.asarray(f.function(*args, **kwargs))
            np.testing.assert_array_equal(np.asarray(f(*args, **kwargs)), expected)
    compiles = f.stats().compiles
    names = set(f._fast.named)
    assert {(1, "y"), (0, "x", "y"), (0, "y", "x"), (2, "z"), (1, "z", "y")} <= names
    longer = fg.asarray(np.arange(5, dtype=np.float32))
    np.testing.assert_array_equal(np.asarray(f(longer, y=longer)), np.zeros(5))
    np.testing.assert_array_equal(np.asarray(f(x, y=y)), np.asarray(x) - np.asarray(y))
    assert f.stats().compiles == compiles + 1
    with pytest.raises(fg.errors.FusegradError, match="unexpected keyword argument 'w'"):
        f(x, w=y)


def test_names_are_answered_natively_whatever_they_are() -> None:
    @fg.compile
    def f(x, *, scale=None, **others):
        total = x if scale is None else x * scale
        for name in sorted(others):
            total = total + others[name]
        return total

    x = np.arange(4, dtype="float32")
    forms: list[dict[str, Any]] = [
        {"scale": 2.0},
        {"scale": x},
        {"a": x, "b": x},
        {"b": x, "a": x},
        {"a": x, "b": 2.0, "scale": x},
    ]
    for form in forms * 3:
        expected = np.asarray(f.function(x, **form))
        np.testing.assert_array_equal(np.asarray(f(x, **form)), expected)
    before = calls(f)
    for form in forms:
        f(x, **form)
        # Names that were made are other objects.
        f(x, **{"".join(list(name)): value for name, value in form.items()})
    assert calls(f) == before + 2 * len(forms)
    with pytest.raises(TypeError):
        f(x, y=x, x=x)
    with pytest.raises(TypeError):
        f(scale=x)


def test_nested_arguments_are_taken_apart_only_if_they_are_as_before() -> None:
    @fg.compile
    def f(tree, n):
        total = tree["x"][0] * n
        for key in tree:
            total = total + len(key)
        return {"total": total, "parts": [total, (total, None)], "n": (n,)}

    x = fg.ones(3)

    def check(tree: dict[str, Any], n: Any) -> None:
        got = f(tree, n)
        expected = 1.0 * n + sum(map(len, tree))
        assert list(got) == ["total", "parts", "n"]
        assert got["parts"][1][1] is None
        assert type(got["parts"]) is list
        np.testing.assert_array_equal(got["total"].numpy(), np.full(3, expected))
        np.testing.assert_array_equal(got["parts"][1][0].numpy(), np.full(3, expected))
        assert float(got["n"][0]) == n

    for _ in range(4):
        check({"x": [x]}, 2.0)
        check({"x": [x]}, 3)
        check({"x": (x,)}, 2.0)
        check({"x": [x], "longer": None}, 2.0)
        check({"longer": None, "x": [x]}, 2.0)
        check({"x": [x, x]}, 2.0)
        check({"x": [x, [x]]}, 2.0)
        check({"x": [x], "y": x}, 2.0)
        check({"x": [x], "yy": x}, 2.0)
    before = calls(f)
    check({"x": [x]}, 2.0)
    assert calls(f) == before + 1


def test_containers_are_taken_apart_as_pytree_does() -> None:
    trees: list[Any] = [
        ((), 1),
        ({"a": [], "b": ()}, None),
        ([1, [2, [3, (4,)]]], {"k": {"l": 5}}),
        ({"a'\n": 1, "": 2}, 3),
    ]
    for tree in trees:
        leaves, structure = pytree.flatten(tree)
        take, build = containers.taker(structure), containers.builder(structure)
        assert take is not None
        assert build is not None
        assert take(tree) == leaves
        assert build(leaves) == tree
        assert repr(build(leaves)) == repr(tree)
        for other in trees:
            if other is not tree:
                assert take(other) is None
    for tree in ({1: 2}, collections.OrderedDict(a=1), [1] * 65, (np.dtype, {True: 1})):
        structure = pytree.flatten(tree)[1]
        assert containers.taker(structure) is None
        assert containers.builder(structure) is None
    subclass = type("D", (dict,), {})
    take = containers.taker(pytree.flatten(({"a": 1},))[1])
    assert take is not None
    assert take((subclass(a=1),)) is None


def test_a_method_of_an_instance_without_a_dict() -> None:
    class Slotted:
        __slots__ = ("value",)

        def __init__(self, value: float) -> None:
            self.value = value

        @fg.compile
        def times(self, x: Any) -> Any:
            return x * self.value

    one, two = Slotted(2.0), Slotted(3.0)
    for _ in range(2):
        assert float(one.times(fg.ones(()))) == 2
        assert float(two.times(fg.ones(()))) == 3
    assert Slotted.times.stats().compiles == 0
