"""The grey form of an RGB network's first convolution: the same numbers, the same training."""

import copy

import pytest
import torch
from torch import nn

from hilum.models import GreyStem, build_classifier, use_grey_stem
from hilum.preprocessing import IMAGENET_MEAN, IMAGENET_STD, ChannelNormalize, GreyToRGB

GREY = torch.randint(
    0, 256, (3, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
AS_RGB = ChannelNormalize(IMAGENET_MEAN, IMAGENET_STD)(GreyToRGB()(GREY))
AS_GREEN = ChannelNormalize(IMAGENET_MEAN[1:2], IMAGENET_STD[1:2])(GREY)
SCALE = tuple(IMAGENET_STD[1] / std for std in IMAGENET_STD)
SHIFT = tuple(
    (IMAGENET_MEAN[1] - mean) / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)
)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("kernel", [3, 7])
def test_every_pixel_is_that_of_the_rgb_convolution_also_at_the_borders(kernel, padding, stride):
    convolution = nn.Conv2d(3, 4, kernel, stride=stride, padding=padding)
    grey = GreyStem(convolution, SCALE, SHIFT)
    torch.testing.assert_close(grey(AS_GREEN), convolution(AS_RGB), rtol=1e-4, atol=1e-5)


def test_one_mean_for_all_channels_needs_one_channel_only():
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    grey = GreyStem(convolution, (1.0,) * 3, (0.0,) * 3)
    half = ChannelNormalize((0.5,), (0.5,))(GREY)
    torch.testing.assert_close(grey(half), convolution(half.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    "architecture", ["resnet18", "efficientnet_lite0", "googlenet", "densenet121"]
)
def test_a_whole_network_gives_the_same_logits_and_gradients(architecture):
    rgb = build_classifier(architecture, 2, weights="random", dropout=0.0)[0].eval().double()
    grey = copy.deepcopy(rgb)
    assert use_grey_stem(grey, SCALE, SHIFT)
    grey.double()
    logits = [rgb(AS_RGB.double()), grey(AS_GREEN.double())]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    for output in logits:
        output.square().sum().backward()
    for (name, mine), other in zip(grey.named_parameters(), rgb.parameters(), strict=True):
        scale = other.grad.abs().max().item() + 1e-9
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-4 * scale, msg=name)


def test_names_and_shapes_of_tensors_stay_those_of_the_rgb_network():
    model = build_classifier("resnet18", 2, weights="random")[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert use_grey_stem(model, SCALE, SHIFT)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert next(iter(dict(model.named_parameters()))) == "conv1.weight"


def test_a_network_that_does_not_begin_with_one_rgb_convolution_is_left_alone():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3))
    assert not use_grey_stem(model, SCALE, SHIFT)
    assert isinstance(model[0], nn.Conv2d)
    branches = nn.ModuleDict({"a": nn.Conv2d(3, 4, 1)})
    assert not use_grey_stem(branches, SCALE, SHIFT)


def test_the_convolution_keeps_the_fast_memory_layout():
    convolution = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    for shift in (SHIFT, (0.0,) * 3):
        output = GreyStem(convolution, SCALE, shift)(AS_GREEN)
        assert output.is_contiguous(memory_format=torch.channels_last)
