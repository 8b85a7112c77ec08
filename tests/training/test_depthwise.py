"""Convolutions that train in float32 within a bfloat16 network: same names, better numbers."""

import copy

import torch
from torch import nn

from hilum.models import create_model
from hilum.training.depthwise import use_float32_depthwise


def depthwise(kernel, stride):
    torch.manual_seed(0)
    return nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8)


def trained(layer, images, dtype=torch.bfloat16):
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = layer(images)
    output.float().square().sum().backward()
    return output, layer.weight.grad


def test_only_strided_and_large_depthwise_kernels_are_slow():
    layers = [depthwise(3, 1), depthwise(3, 2), depthwise(5, 1), nn.Conv2d(8, 8, 3, 2)]
    assert use_float32_depthwise(nn.Sequential(*layers)) == 2


def test_the_layer_computes_in_float32_and_passes_bfloat16_on():
    images = torch.randn(2, 8, 12, 12)
    exact, exact_gradient = trained(depthwise(3, 2), images, torch.float32)
    rounded, rounded_gradient = trained(depthwise(3, 2), images)
    layer = depthwise(3, 2)
    use_float32_depthwise(layer)
    output, gradient = trained(copy.deepcopy(layer), images.bfloat16())
    assert output.dtype == torch.bfloat16
    again, _ = trained(layer, images)
    torch.testing.assert_close(again, exact, rtol=0, atol=0)
    distance = (gradient - exact_gradient).norm()
    assert distance < 2 * (rounded_gradient - exact_gradient).norm()
    assert rounded.dtype == torch.bfloat16


def test_validation_and_names_stay_as_they_were():
    images, layer = torch.randn(2, 8, 12, 12), depthwise(5, 1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        before, names = layer(images), list(layer.state_dict())
        use_float32_depthwise(layer)
        assert torch.equal(layer(images), before)
    assert list(layer.state_dict()) == names
    assert isinstance(layer, nn.Conv2d)


def test_the_default_network_has_eleven_of_them():
    assert use_float32_depthwise(create_model("efficientnet_lite0", 2, dropout=0.0)) == 11
