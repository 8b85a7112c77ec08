"""Clipping: never longer than asked, never turned, and the length before is told."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hilum.errors import InvalidValueError
from hilum.optim import Clipping, clipping_from_json, clipping_to_json


def parameters_with_gradients(scale=1.0):
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(5))]
    for parameter in parameters:
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return [*parameters, nn.Parameter(torch.zeros(2))]  # the last one has no gradient


def gradient(parameters):
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


@given(limit=st.floats(1e-3, 10.0), scale=st.floats(1e-3, 1e3))
def test_a_gradient_is_shortened_to_the_norm_and_keeps_its_direction(limit, scale):
    parameters = parameters_with_gradients(scale)
    before = gradient(parameters).clone()
    told = Clipping(norm=limit).clip(parameters)
    after = gradient(parameters)
    assert told == pytest.approx(float(before.norm()), rel=1e-5)
    assert float(after.norm()) == pytest.approx(min(limit, told), rel=1e-3)
    assert float(torch.cosine_similarity(before, after, dim=0)) == pytest.approx(1, abs=1e-5)


def test_elements_are_clamped_to_the_value():
    parameters = parameters_with_gradients()
    before = gradient(parameters).clone()
    assert math.isnan(Clipping(value=0.5).clip(parameters))
    torch.testing.assert_close(gradient(parameters), before.clamp(-0.5, 0.5))


def test_with_both_elements_are_clamped_before_the_norm_is_taken():
    parameters = parameters_with_gradients()
    clamped = gradient(parameters).clamp(-0.5, 0.5)
    assert Clipping(value=0.5, norm=1.0).clip(parameters) == pytest.approx(float(clamped.norm()))
    torch.testing.assert_close(gradient(parameters), clamped / clamped.norm(), rtol=1e-4, atol=1e-6)


def test_without_limits_nothing_is_touched_or_measured():
    parameters = parameters_with_gradients()
    before = gradient(parameters).clone()
    assert math.isnan(Clipping().clip(parameters))
    assert torch.equal(gradient(parameters), before)


@pytest.mark.parametrize("clipping", [Clipping(), Clipping(value=0.1), Clipping(norm=1.0)])
def test_limits_survive_json(clipping):
    assert clipping_from_json(json.loads(json.dumps(clipping_to_json(clipping)))) == clipping


@pytest.mark.parametrize("fields", [{"value": 0.0}, {"norm": -1.0}, {"norm": math.inf}])
def test_a_limit_of_nothing_is_refused(fields):
    with pytest.raises(InvalidValueError, match="above 0"):
        Clipping(**fields)
