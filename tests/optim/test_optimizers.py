import copy
import json

import pytest
import torch
from torch import nn

from hilum.errors import InvalidValueError
from hilum.optim import (
    LayerRule,
    OptimizerSpec,
    optimizer_from_json,
    optimizer_to_json,
    set_lr,
)

HEAD = ("2.weight", "2.bias")


def small_network(seed=0):
    """A layer with its normalisation, and a head named 2."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def train(model, optimizer, lrs, *, seed=1):
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed))
    for lr in lrs:
        set_lr(optimizer, lr)
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()


def assert_same_parameters(ours, reference):
    for (name, own), other in zip(ours.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("spec", "reference"),
    [
        (
            OptimizerSpec(name="adam", weight_decay=0.1, decay_norms_and_biases=True),
            lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
        ),
        (
            OptimizerSpec(name="adamw", weight_decay=0.1, decay_norms_and_biases=True),
            lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        ),
        (
            OptimizerSpec(name="adamw", betas=(0.8, 0.9)),
            lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.9), weight_decay=0.0),
        ),
        (
            OptimizerSpec(name="sgd", momentum=0.9, weight_decay=0.1, decay_norms_and_biases=True),
            lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
        ),
        (
            OptimizerSpec(name="sgd", momentum=0.9, nesterov=True),
            lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
        ),
        (
            OptimizerSpec(name="sgd", momentum=0.9, dampening=0.9),
            lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, dampening=0.9),
        ),
    ],
)
def test_it_trains_like_torchs_own(spec, reference):
    ours, theirs = small_network(), small_network()
    train(ours, spec.build(ours.named_parameters(), HEAD), [0.01] * 5)
    optimizer = reference(theirs.parameters())
    for group in optimizer.param_groups:
        group["lr_factor"] = 1.0
    train(theirs, optimizer, [0.01] * 5)
    assert_same_parameters(ours, theirs)


def test_groups_separate_head_from_backbone_and_weights_from_the_rest():
    model = small_network()
    spec = OptimizerSpec(weight_decay=0.01, head_weight_decay=0.1, head_lr_factor=10.0)
    optimizer = spec.build(model.named_parameters(), HEAD)
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert [(n, g["weight_decay"], g["lr_factor"]) for n, g in groups.items()] == [
        ("backbone", 0.01, 1.0),
        ("backbone_undecayed", 0.0, 1.0),
        ("head", 0.1, 10.0),
        ("head_undecayed", 0.0, 10.0),
    ]
    of = {name: [p.shape for p in group["params"]] for name, group in groups.items()}
    assert of == {
        "backbone": [(8, 4)],
        "backbone_undecayed": [(8,), (8,), (8,)],
        "head": [(3, 8)],
        "head_undecayed": [(3,)],
    }


def test_the_papers_l2_on_the_head_adds_a_tenth_of_its_weights_to_the_gradient():
    model = small_network()
    spec = OptimizerSpec(name="sgd", head_weight_decay=0.1, decay_norms_and_biases=True)
    optimizer = spec.build(model.named_parameters(), HEAD)
    before = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_lr(optimizer, 1.0)
    optimizer.step()
    for (name, after), start in zip(model.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(after, start * (0.9 if name in HEAD else 1.0))


def test_the_head_learns_faster_by_its_factor():
    model = small_network()
    optimizer = OptimizerSpec(head_lr_factor=10.0).build(model.named_parameters(), HEAD)
    set_lr(optimizer, 0.5)
    assert {g["name"]: g["lr"] for g in optimizer.param_groups} == {
        "backbone": 0.5,
        "backbone_undecayed": 0.5,
        "head": 5.0,
        "head_undecayed": 5.0,
    }


def test_nothing_moves_before_a_learning_rate_is_set():
    model = small_network()
    optimizer = OptimizerSpec(weight_decay=0.1).build(model.named_parameters(), HEAD)
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    assert_same_parameters(model, small_network())


def test_frozen_parameters_are_left_out():
    model = small_network()
    model[0].requires_grad_(False)
    optimizer = OptimizerSpec().build(model.named_parameters(), HEAD)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}


def test_training_resumes_from_a_saved_optimizer():
    spec = OptimizerSpec(name="adamw", weight_decay=0.1)
    straight, resumed = small_network(), small_network()
    train(straight, spec.build(straight.named_parameters(), HEAD), [0.1, 0.05, 0.02, 0.01])
    first = spec.build(resumed.named_parameters(), HEAD)
    train(resumed, first, [0.1, 0.05])
    second = spec.build(resumed.named_parameters(), HEAD)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(resumed, second, [0.02, 0.01])
    assert_same_parameters(resumed, straight)


@pytest.mark.parametrize("spec", [OptimizerSpec(), OptimizerSpec(name="sgd", momentum=0.9)])
def test_memory_order_of_gradients_and_saved_moments_does_not_matter(spec):
    """Fused CPU kernels walk memory; flat gradient buffers and files have their own order."""
    weight, gradient = torch.randn(2, 5, 4, 3, 3, generator=torch.Generator().manual_seed(0))

    def two_steps(weight_format, gradient_format, saved_format):
        parameter = nn.Parameter(weight.clone(memory_format=weight_format))
        saved = None
        for _ in range(2):
            optimizer = spec.build([("w", parameter)])
            if saved is not None:
                optimizer.load_state_dict(saved)
            set_lr(optimizer, 0.1)
            parameter.grad = gradient.clone(memory_format=gradient_format)
            optimizer.step()
            saved = copy.deepcopy(optimizer.state_dict())
            for state in saved["state"].values():
                for key, value in state.items():
                    if isinstance(value, torch.Tensor) and value.ndim == 4:
                        state[key] = value.contiguous(memory_format=saved_format)
        return parameter.detach()

    rows, channels = torch.contiguous_format, torch.channels_last
    expected = two_steps(rows, rows, rows)
    for formats in [(channels, channels, rows), (channels, rows, channels), (rows, channels, rows)]:
        torch.testing.assert_close(two_steps(*formats), expected)


@pytest.mark.parametrize(
    "spec",
    [
        OptimizerSpec(),
        OptimizerSpec(name="adamw", weight_decay=0.05, head_weight_decay=0.0, betas=(0.9, 0.99)),
        OptimizerSpec(name="sgd", momentum=0.9, head_lr_factor=10.0, decay_norms_and_biases=True),
        OptimizerSpec(name="sgd", momentum=0.9, nesterov=True, layer_decay=0.7),
        OptimizerSpec(name="lars", momentum=0.9, trust_coefficient=0.01),
        OptimizerSpec(name="lamb", layer_rules=(LayerRule(pattern="0.*", lr_factor=0.1),)),
    ],
)
def test_a_specification_survives_json(spec):
    assert optimizer_from_json(json.loads(json.dumps(optimizer_to_json(spec)))) == spec


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"name": "lion"}, "name"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"head_weight_decay": -1.0}, "head_weight_decay"),
        ({"head_lr_factor": 0.0}, "head_lr_factor"),
        ({"name": "adam", "momentum": 0.9}, "momentum"),
        ({"name": "sgd", "momentum": 1.0}, "momentum"),
        ({"name": "sgd", "betas": (0.5, 0.5)}, "betas"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"name": "lars", "betas": (0.5, 0.5)}, "betas"),
        ({"name": "sgd", "nesterov": True}, "nesterov"),
        ({"name": "sgd", "momentum": 0.9, "dampening": 0.1, "nesterov": True}, "nesterov"),
        ({"name": "sgd", "dampening": 0.1}, "dampening"),
        ({"name": "sgd", "momentum": 0.9, "dampening": 1.5}, "dampening"),
        ({"name": "lamb", "momentum": 0.9}, "momentum"),
        ({"trust_coefficient": 0.1}, "trust_coefficient"),
        ({"name": "lars", "trust_coefficient": 0.0}, "trust_coefficient"),
        ({"layer_decay": 0.0}, "layer_decay"),
        ({"layer_rules": ("0.*",)}, "layer_rules"),
    ],
)
def test_a_specification_that_makes_no_sense_is_refused(fields, parameter):
    with pytest.raises(InvalidValueError, match=f"^{parameter} must be"):
        OptimizerSpec(**fields)


def test_a_head_that_does_not_exist_is_refused():
    with pytest.raises(InvalidValueError, match=r"head_names must be .* \['fc.weight'\]"):
        OptimizerSpec().build(small_network().named_parameters(), ["fc.weight"])


def test_a_layer_rule_is_no_optimizer():
    with pytest.raises(InvalidValueError, match="type must be OptimizerSpec"):
        optimizer_from_json({"type": "LayerRule", "pattern": "0.*", "lr_factor": 0.1})


def test_a_wholly_frozen_network_is_refused():
    model = small_network().requires_grad_(False)
    with pytest.raises(InvalidValueError, match="parameters must be not all frozen"):
        OptimizerSpec().build(model.named_parameters())
