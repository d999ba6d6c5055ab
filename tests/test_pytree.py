"""Containers taken apart and put together: nothing is lost, and what differs compares unequal."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fusegrad.errors import ArgumentStructureError
from fusegrad.pytree import (
    LEAF,
    first_difference,
    flatten,
    paths,
    register_node,
    unflatten,
)

Point = namedtuple("Point", ["x", "y"])


@dataclass(frozen=True)
class Batch:
    image: Any
    label: Any = 0
    weight: Any = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if self.image == "refused":
            raise ValueError("unflatten must not run __post_init__")


class Pair:
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and (self.a, self.b) == (other.a, other.b)

    __hash__ = None


register_node(Pair, lambda p: ((p.a, p.b), "pair"), lambda _, children: Pair(*children))

TREES: list[Any] = [
    3,
    "text",
    (),
    [],
    {},
    None,
    (1, 2, 3),
    (1, (2, 3), [4]),
    {"b": 1, "a": [2, {"c": 3}]},
    Point(1, Point(2, 3)),
    Batch(1, [2, 3]),
    [Batch(None), None, (None, 4)],
    OrderedDict([("z", 1), ("a", 2)]),
    defaultdict(list, {"k": [1, 2]}),
    Pair([1], {"k": 2}),
    {1: "a", "1": "b", (1, 2): "c", None: "d"},
]


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_round_trip(tree: Any) -> None:
    leaves, structure = flatten(tree)
    again = unflatten(structure, leaves)
    assert again == tree
    assert type(again) is type(tree)
    assert len(leaves) == structure.leaves == len(paths(structure))


def test_the_order_of_leaves() -> None:
    tree = {"b": (1, 2), "a": Batch(3, Point(4, 5)), "c": [6]}
    assert flatten(tree)[0] == (1, 2, 3, 4, 5, 1.0, 6)


def test_unflatten_keeps_the_order_of_keys_and_the_factory() -> None:
    leaves, structure = flatten(defaultdict(list, {"b": 1, "a": 2}))
    again = unflatten(structure, leaves)
    assert list(again) == ["b", "a"]
    assert again.default_factory is list


def test_unflatten_does_not_run_the_constructor() -> None:
    _, structure = flatten(Batch(1))
    assert unflatten(structure, ["refused", 0, 2.0]).weight == 2.0


def test_arrays_and_subclasses_are_leaves() -> None:
    class MyDict(dict[str, int]):
        pass

    x, d = np.ones(3), MyDict(a=1)
    leaves, structure = flatten([x, d])
    assert leaves[0] is x
    assert leaves[1] is d
    assert structure.children == (LEAF, LEAF)


def test_equal_structures() -> None:
    for tree in TREES:
        one, other = flatten(tree)[1], flatten(tree)[1]
        assert one == other
        assert hash(one) == hash(other)


def test_different_structures() -> None:
    trees: list[Any] = [
        *TREES,
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        [1, 2],
        (1, 2),
        Point(1, 2),
        OrderedDict(a=1, b=2),
        {1: 0},
        {True: 0},
        {1.0: 0},
        [None],
        [[]],
        [()],
        defaultdict(list),
        defaultdict(dict),
    ]
    structures = {flatten(tree)[1] for tree in trees}
    assert len(structures) == len(trees) - 1  # two of them are single leaves
    assert LEAF in structures


def test_equal_values_of_keys_keep_their_type() -> None:
    for key in (1, True, 1.0):
        leaves, structure = flatten({key: 5})
        (again,) = unflatten(structure, leaves)
        assert type(again) is type(key)


def test_paths() -> None:
    tree = ({"x": [1, Batch(2, Point(3, 4))]}, Pair(5, 6), 7)
    _, structure = flatten(tree)
    assert paths(structure, ("batch", "pair", "rate")) == (
        "batch['x'][0]",
        "batch['x'][1].image",
        "batch['x'][1].label.x",
        "batch['x'][1].label.y",
        "batch['x'][1].weight",
        "pair[0]",
        "pair[1]",
        "rate",
    )
    assert paths(LEAF) == ("",)
    assert paths(LEAF, None) == ("",)


@pytest.mark.parametrize(
    ("expected", "given", "text"),
    [
        ((1, {"x": 2}), (1, {"x": [2]}), "b['x'] was a leaf and is a list"),
        ((1, {"x": 2}), (1, {"y": 2}), "b no longer has ['x'] and now has ['y']"),
        ((1, {"x": 2, "y": 3}), (1, {"y": 2, "x": 3}), "b has its keys in another order"),
        ((1, [2, 3]), (1, [2]), "b no longer has [1]"),
        ((1, None), (1, 2), "b was None and is a leaf"),
        (([], 1), ((), 1), "a was a list and is a tuple"),
    ],
)
def test_first_difference(expected: Any, given: Any, text: str) -> None:
    one, other = flatten(expected)[1], flatten(given)[1]
    assert first_difference(one, other, ("a", "b")) == text
    assert first_difference(one, one, ("a", "b")) is None


def test_a_cycle() -> None:
    batch: list[Any] = [1]
    batch.append({"again": batch})
    with pytest.raises(ArgumentStructureError) as caught:
        flatten((batch, 2))
    assert str(caught.value).splitlines()[0] == "a list contains itself [FG204]"
    assert "test_pytree.py" in str(caught.value)
    assert str(caught.value).splitlines()[-1] == "  remedy: pass a container without cycles"


def test_a_container_that_occurs_twice_is_no_cycle() -> None:
    part = [1, 2]
    assert flatten((part, part))[0] == (1, 2, 1, 2)


def test_very_deep() -> None:
    tree: Any = 1
    for _ in range(100_000):
        tree = [tree]
    with pytest.raises(ArgumentStructureError, match="nested more than 200 deep"):
        flatten(tree)


def test_wrong_number_of_leaves() -> None:
    _, structure = flatten([1, 2])
    with pytest.raises(ArgumentStructureError) as caught:
        unflatten(structure, [1])
    assert caught.value.message == "1 leaves for the structure [*, *], which has 2"


def test_a_type_registered_after_it_was_met() -> None:
    class Late:
        def __init__(self, value: int) -> None:
            self.value = value

    late = Late(3)
    assert flatten((late,))[0] == (late,)
    register_node(Late, lambda node: ((node.value,), None), lambda _, values: Late(*values))
    assert flatten((late,))[0] == (3,)


leaves_strategy = st.one_of(st.integers(), st.floats(allow_nan=False), st.text())
trees_strategy = st.recursive(
    leaves_strategy | st.none(),
    lambda children: st.one_of(
        st.lists(children, max_size=4),
        st.lists(children, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=3) | st.integers() | st.booleans(), children, max_size=4),
        st.builds(Point, children, children),
        st.builds(Pair, children, children),
    ),
    max_leaves=20,
)


@hypothesis.given(trees_strategy, trees_strategy)
def test_random_trees(one: Any, other: Any) -> None:
    leaves, structure = flatten(one)
    assert unflatten(structure, leaves) == one
    assert flatten(unflatten(structure, range(len(leaves))))[0] == tuple(range(len(leaves)))
    _, second = flatten(other)
    assert (structure == second) == (str(structure) == str(second))
    assert (first_difference(structure, second) is None) == (structure == second)
