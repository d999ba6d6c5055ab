"""Parameter groups: what they refuse, what compiled steps see of them, state dicts."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim, state
from fusegrad.errors import CaptureError, DTypeError, StateError
from fusegrad.tensors.trace import Trace


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(np.ones((2, 3), np.float32)), nn.Parameter([1.0, 2.0])]


def step(optimizer: optim.Optimizer, times: int = 1) -> None:
    for _ in range(times):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = parameter.detach() * 0.5
        optimizer.step()


def values(optimizer: optim.Optimizer) -> list[list[float]]:
    return [p.detach().numpy().ravel().tolist() for p in optimizer.param_groups[0]["params"]]


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "there are no parameters"),
        (nn.Parameter([1.0]), TypeError, "is one Tensor"),
        ([1.0], TypeError, "a parameter is a Tensor, not a float"),
        ([fg.asarray([1])], DTypeError, "a parameter is floating, and this one is int64"),
    ],
)
def test_what_is_refused(params: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        optim.SGD(params)


def test_parameters_come_once() -> None:
    p = nn.Parameter([1.0])
    with pytest.raises(ValueError, match="given twice"):
        optim.SGD([p, p])
    optimizer = optim.SGD([p])
    with pytest.raises(ValueError, match="given twice, or in two groups"):
        optimizer.add_param_group({"params": [p]})


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (optim.SGD, {"lr": -1.0}, r"lr is -1\.0, and cannot be negative"),
        (optim.SGD, {"nesterov": True}, "nesterov needs a momentum"),
        (optim.Adam, {"betas": (0.9, 1.0)}, r"betas lie between 0 and 1, 1\.0 does not"),
        (optim.AdamW, {"eps": -1e-8}, "eps is"),
    ],
)
def test_options_are_checked(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(parameters(), **options)


def test_state_is_made_in_the_constructor() -> None:
    optimizer = optim.Adam(parameters(), amsgrad=True)
    for parameter in optimizer.param_groups[0]["params"]:
        kept = optimizer.state[parameter]
        assert list(kept) == ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
        assert all(tensor.shape == parameter.shape for tensor in kept.values())
        assert not any(tensor.requires_grad for tensor in kept.values())
    assert optim.SGD(parameters()).state_dict()["state"] == {}


@pytest.mark.parametrize("option", ["lr", "eps", "betas"])
def test_numbers_are_not_structure(option: str) -> None:
    optimizer = optim.Adam(parameters(), weight_decay=0.1)
    version = state.version()
    fingerprint = state.fingerprint(optimizer)
    optimizer.param_groups[0][option] = (0.5, 0.5) if option == "betas" else 0.5
    optimizer.param_groups[0]["weight_decay"] = 0.2
    step(optimizer)
    assert state.version() == version
    assert state.fingerprint(optimizer) == fingerprint


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("momentum", 0.9, "was 0 and is not 0"),
        ("weight_decay", 0.1, "was 0 and is not 0"),
        ("maximize", True, "was False and is True"),
    ],
)
def test_switches_are_structure(option: str, value: Any, told: str) -> None:
    optimizer = optim.SGD(parameters())
    version = state.version()
    fingerprint = optimizer.__fusegrad_fingerprint__()
    optimizer.param_groups[0][option] = value
    assert state.version() != version
    now = optimizer.__fusegrad_fingerprint__()
    assert state.difference(fingerprint, now) == f"param_groups[0][{option!r}] {told}"
    step(optimizer)


def test_groups_are_structure() -> None:
    optimizer = optim.SGD(parameters())
    version = state.version()
    fingerprint = state.fingerprint(optimizer)
    optimizer.add_param_group({"params": parameters()})
    assert state.version() != version
    assert state.fingerprint(optimizer) != fingerprint


def test_groups_cannot_change_in_a_trace() -> None:
    optimizer = optim.SGD(parameters())
    with Trace(), pytest.raises(CaptureError, match="option 'lr' of a parameter group"):
        optimizer.param_groups[0]["lr"] = 1.0
    with Trace(), pytest.raises(CaptureError, match="a parameter group is added"):
        optimizer.add_param_group({"params": parameters()})


def test_groups_behave_as_dicts() -> None:
    group = optim.SGD(parameters()).param_groups[0]
    version = state.version()
    assert group.setdefault("note", 1) == group.setdefault("note", 2) == 1
    group |= {"note": 3}
    assert group.pop("note") == 3
    assert group.pop("note", None) is None
    group["note"] = 4
    del group["note"]
    assert "note" not in group
    assert state.version() != version
    group["params"] = list(group["params"])
    assert isinstance(group["params"], tuple)
    with pytest.raises(TypeError, match="belongs to its optimizer"):
        copy.deepcopy(group)


KINDS: list[tuple[Any, dict[str, Any]]] = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    (optim.Adam, {"lr": 0.1}),
    (optim.AdamW, {"lr": 0.1, "amsgrad": True}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_restored_optimizer_goes_on_as_the_first(kind: Any, options: dict[str, Any]) -> None:
    first = kind(parameters(), **options)
    step(first, 2)
    saved = first.state_dict()
    kept = [p.detach().clone() for p in first.param_groups[0]["params"]]
    step(first, 2)
    second = kind([nn.Parameter(value) for value in kept])
    second.load_state_dict(saved)
    step(second, 2)
    assert values(first) == values(second)
    assert second.param_groups[0]["lr"] == 0.1


def test_state_dicts_have_torchs_layout() -> None:
    optimizer = optim.Adam(parameters(), lr=0.1)
    step(optimizer, 3)
    saved = optimizer.state_dict()
    assert list(saved["state"][1]) == ["step", "exp_avg", "exp_avg_sq"]
    assert float(saved["state"][0]["step"]) == 3
    assert saved["param_groups"] == [
        {
            "lr": 0.1,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "amsgrad": False,
            "maximize": False,
            "params": [0, 1],
        }
    ]
    before = saved["state"][0]["exp_avg"].numpy().copy()
    step(optimizer)
    assert (saved["state"][0]["exp_avg"].numpy() == before).all()


def test_what_a_state_dict_must_fit() -> None:
    optimizer = optim.Adam(parameters())
    saved = optimizer.state_dict()
    with pytest.raises(StateError, match=r"groups of \[1\] parameters, the optimizer of \[2\]"):
        optimizer.load_state_dict(optim.Adam([nn.Parameter([1.0])]).state_dict())
    with pytest.raises(StateError, match="has no 'momentum_buffer' in Adam"):
        optimizer.load_state_dict(optim.SGD(parameters(), momentum=0.5).state_dict())
    with pytest.raises(StateError, match=r"'exp_avg' of parameter 0 has shape \(2,\)"):
        optimizer.load_state_dict(optim.Adam(parameters()[::-1]).state_dict())
    assert optimizer.state_dict()["param_groups"] == saved["param_groups"]


def test_repr() -> None:
    assert repr(optim.SGD([nn.Parameter([1.0])], lr=0.5)) == (
        "SGD (\n"
        "Parameter Group 0\n"
        "    dampening: 0.0\n"
        "    lr: 0.5\n"
        "    maximize: False\n"
        "    momentum: 0.0\n"
        "    nesterov: False\n"
        "    weight_decay: 0.0\n"
        ")"
    )
