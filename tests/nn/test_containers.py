"""Sequential, ModuleList and ModuleDict."""

from __future__ import annotations

import pytest

import fusegrad as fg
from fusegrad import nn


def layers(count: int = 4) -> list[nn.Linear]:
    return [nn.Linear(2, 2) for _ in range(count)]


def test_sequential_calls_in_order() -> None:
    first, second = layers(2)
    x = fg.ones((1, 2))
    expected = second(first(x)).detach().numpy()
    assert (nn.Sequential(first, second)(x).detach().numpy() == expected).all()


def test_sequential_takes_names() -> None:
    first, second = layers(2)
    net = nn.Sequential({"encode": first, "decode": second})
    assert net.encode is first
    assert next(iter(net.state_dict())) == "encode.weight"


def test_indexing() -> None:
    each = layers()
    net = nn.Sequential(*each)
    assert net[0] is each[0]
    assert net[-1] is each[-1]
    assert len(net) == 4
    assert list(net) == each
    assert each[2] in net
    with pytest.raises(IndexError, match="index 4 is out of range for 4 modules"):
        net[4]


def test_slices_keep_the_names_of_a_sequential() -> None:
    each = layers()
    part = nn.Sequential(*each)[1:3]
    assert isinstance(part, nn.Sequential)
    assert list(part) == each[1:3]
    assert list(dict(part.named_children())) == ["1", "2"]
    assert list(dict(nn.ModuleList(each)[1:3].named_children())) == ["0", "1"]


def test_changes() -> None:
    each = layers()
    net = nn.ModuleList(each[:2])
    net.append(each[2])
    net.insert(0, each[3])
    assert list(net) == [each[3], each[0], each[1], each[2]]
    net[1] = each[3]
    del net[0]
    assert list(net) == [each[3], each[1], each[2]]
    assert list(dict(net.named_children())) == ["0", "1", "2"]
    del net[1:]
    assert list(net) == [each[3]]
    net.extend(each[:1])
    assert len(list(net.parameters())) == 4


def test_module_dict() -> None:
    first, second = layers(2)
    net = nn.ModuleDict({"a": first})
    net["b"] = second
    assert list(net.keys()) == ["a", "b"]
    assert list(net.items()) == [("a", first), ("b", second)]
    assert "b" in net
    assert len(net) == 2
    del net["a"]
    assert list(net.values()) == [second]
    with pytest.raises(KeyError):
        del net["a"]
