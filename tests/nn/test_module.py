"""Modules: attributes, iteration, state dicts, modes, printing."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, state
from fusegrad.errors import CaptureError, StateError
from fusegrad.tensors.trace import Trace


class Affine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter([1.0, 2.0, 3.0])
        self.register_buffer("shift", fg.zeros(3))
        self.register_buffer("cache", fg.zeros(3), persistent=False)
        self.exponent = 2

    def forward(self, x: Any) -> Any:
        return x * self.scale + self.shift


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Sequential(Affine(), nn.ReLU()))


def test_attributes_are_registered() -> None:
    affine = Affine()
    assert isinstance(affine.scale, nn.Parameter)
    assert affine.scale.requires_grad
    assert list(dict(affine.named_parameters())) == ["scale"]
    assert list(dict(affine.named_buffers())) == ["shift", "cache"]
    assert list(affine.state_dict()) == ["scale", "shift"]
    assert {"scale", "shift", "exponent"} <= set(dir(affine))
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = affine.missing


def test_attributes_before_the_constructor_of_the_base() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)
            super().__init__()

    assert len(list(Early().parameters())) == 2


def test_replacing_and_deleting() -> None:
    affine = Affine()
    affine.scale = nn.Parameter([0.0])
    assert affine.scale.shape == (1,)
    with pytest.raises(TypeError, match="is a parameter and cannot become a float"):
        affine.scale = 1.0
    affine.scale = None
    assert list(affine.parameters()) == []
    del affine.shift
    assert not hasattr(affine, "shift")
    affine.shift = nn.Identity()
    assert list(affine.children()) == [affine.shift]
    with pytest.raises(TypeError, match="is a module and cannot become a int"):
        affine.shift = 1
    affine.exponent = nn.Parameter([1.0])
    assert "exponent" not in vars(affine)
    assert "exponent" in dict(affine.named_parameters())


def test_a_buffer_can_be_replaced_by_a_tensor() -> None:
    affine = Affine()
    affine.shift = fg.ones(3)
    assert list(dict(affine.named_buffers())) == ["shift", "cache"]
    assert affine.state_dict()["shift"].numpy().tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["", "a.b"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(KeyError, match="cannot be a name"):
        nn.Module().register_buffer(name, None)


def test_names_that_are_taken() -> None:
    affine = Affine()
    with pytest.raises(KeyError, match="already has an attribute"):
        affine.register_buffer("exponent", fg.ones(1))
    with pytest.raises(TypeError, match=r"not an nn\.Parameter"):
        affine.register_parameter("other", fg.ones(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not a Tensor"):
        affine.register_buffer("other", 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not an nn\.Module"):
        affine.add_module("other", 1)  # type: ignore[arg-type]


def test_iteration() -> None:
    net = model()
    assert [name for name, _ in net.named_modules()] == ["", "0", "1", "2", "2.0", "2.1"]
    assert [name for name, _ in net.named_children()] == ["0", "1", "2"]
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.0.scale"]
    assert list(net.parameters(recurse=False)) == []
    assert net.get_submodule("2.0") is net[2][0]
    assert net.get_parameter("2.0.scale") is net[2][0].scale
    with pytest.raises(AttributeError, match="has no module 'x'"):
        net.get_submodule("2.x")


def test_shared_modules_come_once() -> None:
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, layer)
    assert len(list(net.parameters())) == 2
    assert len(list(net.modules())) == 2
    assert len(net.state_dict()) == 4
    net.load_state_dict(net.state_dict())


def test_apply_goes_from_the_leaves_up() -> None:
    seen: list[str] = []
    model().apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "Dropout", "Affine", "ReLU", "Sequential", "Sequential"]


def test_train_and_eval() -> None:
    net = model()
    assert all(module.training for module in net.modules())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train()[1].training


def test_requires_grad_and_zero_grad() -> None:
    net = nn.Linear(2, 1)
    net(fg.ones((1, 2))).sum().backward()
    assert net.weight.grad is not None
    net.zero_grad(set_to_none=False)
    assert net.weight.grad.numpy().tolist() == [[0, 0]]
    net.zero_grad()
    assert net.weight.grad is None
    net.requires_grad_(False)
    assert not net(fg.ones((1, 2))).requires_grad


def test_state_dicts_are_snapshots() -> None:
    net = nn.Linear(2, 1)
    saved = net.state_dict()
    before = saved["weight"].numpy().copy()
    nn.init.zeros_(net.weight)
    assert (saved["weight"].numpy() == before).all()
    assert not saved["weight"].requires_grad
    net.load_state_dict(saved)
    assert (net.weight.detach().numpy() == before).all()


def test_load_takes_arrays_and_keeps_identities() -> None:
    net = nn.Linear(2, 1)
    weight = net.weight
    result = net.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": np.array([3.0])})
    assert repr(result) == "<All keys matched successfully>"
    assert net.weight is weight
    assert weight.dtype is fg.float32
    assert weight.requires_grad
    assert weight.is_leaf
    assert float(net(fg.asarray([1.0, 1.0])).sum()) == 6


def test_load_says_all_that_does_not_fit_and_changes_nothing() -> None:
    net = nn.Linear(2, 1)
    before = net.bias.detach().numpy().copy()
    wrong = {"weight": np.zeros((3, 1)), "scale": np.zeros(1), "bias": np.ones(1)}
    with pytest.raises(StateError) as error:
        net.load_state_dict(wrong)
    assert error.value.message == (
        "the state dict does not fit Linear\n"
        "    not expected: scale\n"
        "    weight has shape (3, 1) and (1, 2) is needed"
    )
    assert (net.bias.detach().numpy() == before).all()
    with pytest.raises(StateError, match="missing: weight, bias"):
        net.load_state_dict({})
    result = net.load_state_dict({"bias": np.ones(1), "x": np.ones(1)}, strict=False)
    assert result.missing_keys == ["weight"]
    assert result.unexpected_keys == ["x"]
    assert net.bias.detach().numpy().tolist() == [1]


def test_conversion_keeps_the_parameters() -> None:
    net = Affine()
    scale = net.scale
    assert net.double() is net
    assert net.scale is scale
    assert scale.dtype is fg.float64
    assert net.shift.dtype is fg.float64
    assert scale.requires_grad
    scale.sum().backward()
    assert scale.grad is not None
    assert scale.grad.dtype is fg.float64
    net.float()
    assert scale.dtype is fg.float32
    with pytest.raises(TypeError, match="floating-point types"):
        net.to("int64")


def test_deep_copies_are_independent() -> None:
    net = model()
    twin = copy.deepcopy(net)
    nn.init.zeros_(twin[0].weight)
    assert (net[0].weight.detach().numpy() != 0).all()
    assert isinstance(twin[0].weight, nn.Parameter)
    assert len(list(twin.parameters())) == 3


def test_repr() -> None:
    assert repr(model()) == (
        "Sequential(\n"
        "  (0): Linear(in_features=4, out_features=3, bias=True)\n"
        "  (1): Dropout(p=0.5)\n"
        "  (2): Sequential(\n"
        "    (0): Affine()\n"
        "    (1): ReLU()\n"
        "  )\n"
        ")"
    )


def test_forward_must_be_defined() -> None:
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(1)


class Switch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.rate = 0.5
        self.sizes = [1, 2]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m.eval(), "training was True and is False"),
        (lambda m: setattr(m, "rate", 0.25), "rate was 0.5 and is 0.25"),
        (lambda m: setattr(m, "layer", nn.Linear(2, 2)), "layer changed"),
        (lambda m: setattr(m, "layer", nn.Tanh()), "layer was a Linear and is a Tanh"),
        (
            lambda m: setattr(m.layer, "bias", None),
            "layer.bias was a Parameter with requires_grad=True and is None",
        ),
        (lambda m: m.register_buffer("extra", fg.ones(1)), "extra is new"),
        (
            lambda m: m.requires_grad_(False),
            "layer.weight was a Parameter with requires_grad=True and is a Parameter with "
            "requires_grad=False",
        ),
        (lambda m: delattr(m, "rate"), "rate is gone"),
    ],
)
def test_changes_of_structure_are_seen(change: Any, told: str) -> None:
    module = Switch()
    version, fingerprint = nn.structure_version(), nn.module_fingerprint(module)
    assert fingerprint == nn.module_fingerprint(module)
    change(module)
    assert nn.structure_version() != version
    assert nn.module_fingerprint(module) != fingerprint
    assert state.difference(fingerprint, nn.module_fingerprint(module)) == told


def test_changes_of_values_are_not_changes_of_structure() -> None:
    module = Switch()
    version = nn.structure_version()
    module.train()
    nn.init.zeros_(module.layer.weight)
    module.layer.weight.grad = fg.ones((2, 2))
    module.load_state_dict(module.state_dict())
    assert nn.structure_version() == version
    assert state.version() == version


def test_structure_cannot_change_in_a_trace() -> None:
    module = Switch()
    trace = Trace()
    with trace, pytest.raises(CaptureError, match="layer of Switch is set while"):
        module.layer = None
    with trace:
        module.train()
    assert isinstance(module.layer, nn.Linear)
