"""LARS and LAMB: one step by their papers' formulas, and what they must not touch."""

import copy
import sys

import pytest
import torch
from torch import nn

from hilum.errors import MissingDependencyError
from hilum.optim import OptimizerSpec, set_lr

WEIGHT, BIAS = 0, 1


def network_with_gradients(seed=0):
    """One linear layer that has gradients."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Linear(6, 4)
    give_gradients(model, generator)
    return model


def give_gradients(model, generator):
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def step(spec, model, lr=0.5, steps=1):
    optimizer = spec.build(model.named_parameters())
    set_lr(optimizer, lr)
    for _ in range(steps):
        optimizer.step()
    return optimizer


def test_lars_moves_a_layer_by_the_papers_share_of_its_weights():
    """You et al. 2017, algorithm 1: local rate = eta * |w| / (|g| + decay * |w|)."""
    model = network_with_gradients()
    weight, gradient = model.weight.detach().clone(), model.weight.grad.clone()
    decay, trust, momentum, lr = 0.05, 0.02, 0.9, 0.5
    spec = OptimizerSpec(
        name="lars", weight_decay=decay, trust_coefficient=trust, momentum=momentum
    )
    step(spec, model, lr, steps=2)
    velocity = torch.zeros_like(weight)
    for _ in range(2):
        local = trust * weight.norm() / (gradient.norm() + decay * weight.norm())
        velocity = momentum * velocity + lr * local * (gradient + decay * weight)
        weight = weight - velocity
    torch.testing.assert_close(model.weight, weight, rtol=1e-5, atol=1e-6)


def test_lamb_steps_by_the_norm_of_the_weights():
    """You et al. 2020, algorithm 2, with bias correction and trust ratio |w| / |update|."""
    model = network_with_gradients()
    weight, gradient = model.weight.detach().clone(), model.weight.grad.clone()
    decay, lr, (beta1, beta2) = 0.05, 0.1, (0.8, 0.95)
    step(OptimizerSpec(name="lamb", weight_decay=decay, betas=(beta1, beta2)), model, lr, steps=3)
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for time in (1, 2, 3):
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        update = first / (1 - beta1**time) / ((second / (1 - beta2**time)).sqrt() + 1e-6)
        update = update + decay * weight
        weight = weight - lr * weight.norm() / update.norm() * update
    torch.testing.assert_close(model.weight, weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lars", "lamb"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_weights_are_adapted_with_and_without_decay_biases_never(name, decay):
    """Scaling a layer's gradient leaves its step alone where the layer is adapted."""
    spec = OptimizerSpec(name=name, weight_decay=decay)
    plain, scaled = network_with_gradients(), network_with_gradients()
    before = copy.deepcopy(plain)
    for parameter in scaled.parameters():
        parameter.grad *= 1e6
    for parameter in plain.parameters():
        parameter.grad *= 1e3
    for model in (plain, scaled):
        step(spec, model)
    moved = [
        [
            (p - start).norm().detach()
            for p, start in zip(m.parameters(), before.parameters(), strict=True)
        ]
        for m in (plain, scaled)
    ]
    torch.testing.assert_close(moved[0][WEIGHT], moved[1][WEIGHT], rtol=1e-3, atol=0)
    ratio = float(moved[1][BIAS] / moved[0][BIAS])
    assert ratio == pytest.approx(1000 if name == "lars" else 1, rel=1e-3)
    if name == "lamb":  # unadapted, so Adam's: one learning rate long for every element
        assert float(moved[0][BIAS]) == pytest.approx(0.5 * 4**0.5, rel=1e-3)


@pytest.mark.parametrize("name", ["adam", "sgd", "lars", "lamb"])
def test_training_goes_on_from_a_saved_state(name):
    momentum = {"momentum": 0.9} if name in ("sgd", "lars") else {}
    spec = OptimizerSpec(name=name, weight_decay=0.01, **momentum)
    straight, resumed = network_with_gradients(), network_with_gradients()
    step(spec, straight, steps=6)
    first = step(spec, resumed, steps=3)
    second = spec.build(resumed.named_parameters())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    set_lr(second, 0.5)
    for _ in range(3):
        second.step()
    for own, other in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars", "lamb"])
def test_layers_may_join_while_others_have_moments(name):
    """Unfreezing: what trained before keeps its moments, what joins starts with none."""
    momentum = {"momentum": 0.9} if name in ("sgd", "lars") else {}
    spec = OptimizerSpec(name=name, **momentum)
    parameters = [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3, 2))]
    optimizer = spec.build([("a", parameters[0]), ("b", parameters[1])])
    set_lr(optimizer, 0.1)
    parameters[0].grad = torch.ones(3, 2)
    optimizer.step()
    for parameter in parameters:
        parameter.grad = torch.ones(3, 2)
    optimizer.step()
    assert parameters[1].isfinite().all()
    assert (parameters[1] < 1).all()
    assert (parameters[0] < parameters[1]).all()


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_without_timm_the_way_to_it_is_told(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "timm.optim", None)
    with pytest.raises(MissingDependencyError, match=rf"{name}.*pip install hilum\[timm\]"):
        OptimizerSpec(name=name).build(nn.Linear(2, 2).named_parameters())
