"""Dataclasses written late are those of the standard library: compared with it, class by class."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from typing import Any, ClassVar

import pytest

from fusegrad.codegen.records import dataclass


def both(**options: Any) -> list[Any]:
    """One class of each kind, with fields of all kinds."""

    def define(decorate: Any) -> Any:
        @decorate(**options)
        class Base:
            first: int
            second: tuple[int, ...] = ()

        @decorate(**options)
        class Record(Base):
            made: list[int] = dataclasses.field(default_factory=list)
            hidden: int = dataclasses.field(default=7, repr=False, compare=False)
            count: int = dataclasses.field(default=3, init=False)
            constant: ClassVar[int] = 5
            first: int

            def twice(self) -> Any:
                return 2 * self.first

        return Record

    return [define(dataclasses.dataclass), define(dataclass)]


OPTIONS = [
    {},
    {"frozen": True},
    {"eq": False},
    {"frozen": True, "eq": False, "repr": False},
    {"repr": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_is_as_the_standard_one(options: dict[str, bool]) -> None:
    theirs, ours = both(**options)
    assert ours.__match_args__ == theirs.__match_args__
    assert [f.name for f in dataclasses.fields(ours)] == [
        f.name for f in dataclasses.fields(theirs)
    ]
    answers = []
    for kind in (theirs, ours):
        one, two = kind(1), kind(1, (), [], hidden=9)
        other = dataclasses.replace(one, first=4)
        text = repr(one) if options.get("repr", True) else ""
        found: list[Any] = [one == two, one == other, one == 1, text, other.twice()]
        found += [one.made is two.made, one.hidden, two.hidden, kind.count, kind.second]
        found += [dataclasses.asdict(other), kind.__hash__ is None, hasattr(kind, "made")]
        for call in (
            lambda kind=kind: kind(),
            lambda kind=kind: kind(1, 2, 3, 4, 5),
            lambda kind=kind: kind(1, count=3),
            lambda one=one: setattr(one, "first", 3),
            lambda one=one: delattr(one, "hidden"),
            lambda one=one: setattr(one, "new", 3),
        ):
            try:
                call()
                found.append(None)
            except Exception as error:
                found.append((type(error), str(error).replace(kind.__qualname__, "")))
        answers.append(found)
    assert answers[1] == answers[0]


def test_equal_ones_have_equal_hashes() -> None:
    @dataclass(frozen=True)
    class Point:
        x: int
        y: int = 0

    @dataclass(frozen=True)
    class Empty:
        pass

    @dataclass
    class Named:
        x: int

        def __hash__(self) -> int:
            return 11

        def __repr__(self) -> str:
            return "named"

    assert len({Point(1), Point(1, 0), Point(2)}) == 2
    assert Point(1) != (1, 0)
    assert hash(Empty()) == hash(Empty())
    assert Empty() == Empty()
    assert (hash(Named(1)), repr(Named(1)), Named(1)) == (11, "named", Named(1))
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)


@dataclass(frozen=True)
class Kept:
    x: int
    y: Any = None


def test_copies_and_pickles() -> None:
    kept = Kept(1, [2])
    assert copy.deepcopy(kept) == kept
    assert pickle.loads(pickle.dumps(kept)) == kept


def test_prints_itself_inside_itself() -> None:
    kept = Kept(1, [])
    kept.y.append(kept)
    assert repr(kept) == "Kept(x=1, y=[...])"


def test_what_follows_the_fields() -> None:
    @dataclass
    class Sum:
        x: int
        total: int = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            self.total = self.x + 1

    class Further(Sum):
        def __init__(self, x: int) -> None:
            super().__init__(x)
            self.more = x

    assert Sum(1).total == 2
    assert (Further(2).total, Further(2).more) == (3, 2)


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="default_factory"):

        @dataclass
        class Shared:
            x: list[int] = []  # noqa: RUF012

    @dataclass
    class Order:
        x: int = 1
        y: int  # type: ignore[misc]

    with pytest.raises(TypeError, match="y of Order"):
        Order(1, 2)


def test_threads_write_it_at_once() -> None:
    for _ in range(20):

        @dataclass(frozen=True)
        class Point:
            x: int

        made: list[Any] = []
        barrier = threading.Barrier(4)

        def make(kind: Any = Point, made: list[Any] = made, barrier: Any = barrier) -> None:
            barrier.wait()
            made.append(kind(5))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [Point(5)] * 4
