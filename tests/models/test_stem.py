"""The grey form of an RGB network's first convolution: the same numbers, the same training."""

import copy

import pytest
import torch
from torch import nn

from hilum.models import ARCHITECTURES, GreyStem, build_classifier, use_grey_stem
from hilum.models.graph import GraphNetwork, NetworkSpec, Node
from hilum.models.inspection import blueprint
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


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - {"inception_v1"}))
def test_every_topology_gives_the_same_outputs_on_grey_images_borders_included(architecture):
    loaded = blueprint(architecture)
    fill(loaded.network)
    grey = copy.deepcopy(loaded.network)
    assert use_grey_stem(grey, SCALE, SHIFT)
    side = 75 if architecture == "inception_v3" else 32
    z = AS_GREEN[:, :, :side, :side] if side <= 64 else AS_GREEN.repeat(1, 1, 2, 2)[..., :75, :75]
    with torch.no_grad():
        expected = loaded.network(in_rgb(z))
        difference = (grey(z) - expected).abs().max() / expected.abs().max()
    assert difference < 1e-5
    assert expected.std() > 0


def fill(network):
    """Weights with which activations neither vanish nor explode."""
    generator = torch.Generator().manual_seed(5)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            bound = (6 / parameter[0].numel()) ** 0.5
            parameter.data.uniform_(-bound, bound, generator=generator)
        else:
            parameter.data.uniform_(0.1, 0.3, generator=generator)


def in_rgb(z, scale=SCALE, shift=SHIFT):
    """What an RGB network sees of a grey image."""
    return torch.cat([a * z + b for a, b in zip(scale, shift, strict=True)], dim=1)


@pytest.mark.parametrize("padding", [None, (0, 1, 0, 1), (3, 3, 3, 3), (2, 0)])
@pytest.mark.parametrize("order", [1, -1], ids=["RGB", "BGR"])
def test_a_network_from_a_file_gives_the_same_in_any_order_of_channels_padded_or_not(
    padding, order
):
    pad = Node(
        name="pad", layer="Pad", options={"padding": padding or (), "value": 0.0}, inputs=("data",)
    )
    options = {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1}
    source = "data" if padding is None else "pad"
    first = Node(name="conv1/7x7_s2", layer="Conv2d", options=options, inputs=(source,))
    named = (first,) if padding is None else (pad, first)
    network = GraphNetwork(NetworkSpec(inputs=("data",), nodes=named, outputs=("conv1/7x7_s2",)))
    grey = copy.deepcopy(network)
    scale, shift = SCALE[::order], SHIFT[::order]
    assert use_grey_stem(grey, scale, shift)
    expected = network(in_rgb(AS_GREEN, scale, shift))
    torch.testing.assert_close(grey(AS_GREEN), expected, rtol=1e-5, atol=1e-5)
    assert list(grey.state_dict()) == list(network.state_dict())


def test_a_border_that_is_not_zero_keeps_the_network_as_it_is():
    pad = Node(
        name="pad", layer="Pad", options={"padding": (1, 1, 1, 1), "value": 0.5}, inputs=("data",)
    )
    options = {"in_channels": 3, "out_channels": 4, "kernel_size": 3}
    first = Node(name="conv1", layer="Conv2d", options=options, inputs=("pad",))
    spec = NetworkSpec(inputs=("data",), nodes=(pad, first), outputs=("conv1",))
    assert not use_grey_stem(GraphNetwork(spec), SCALE, SHIFT)


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
