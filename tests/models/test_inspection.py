"""What nodes say about a network: against figures that others publish."""

import pytest
import torch
import torchvision
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models import architecture
from hilum.models.graph import GraphNetwork, NetworkSpec, Node
from hilum.models.inspection import blueprint, nodes, output_shapes
from hilum.models.recipes import LoadedModel, PixelContract
from hilum.models.surgery import cut, freeze
from hilum.models.weights import WeightsReport

TORCHVISION = [
    *("resnet18", "resnet50", "densenet121", "densenet161", "googlenet", "inception_v3"),
    *("vgg16", "convnext_tiny", "torchvision:mobilenet_v3_small", "torchvision:vit_b_16"),
]


@pytest.mark.parametrize("name", TORCHVISION)
def test_multiply_adds_are_those_that_torchvision_publishes(name):
    listed = nodes(blueprint(name))
    published = torchvision.models.get_weight(architecture(name).published.enum).meta
    total = sum(node.multiply_adds for node in listed) / 1e9
    assert total == pytest.approx(published["_ops"], rel=0.005, abs=0.001)
    if name not in ("googlenet", "inception_v3"):  # published with or without auxiliary heads
        assert sum(node.parameters for node in listed) == published["num_params"]


def test_multiply_adds_grow_with_the_image():
    loaded = blueprint("resnet18")
    small, large = (
        sum(n.multiply_adds for n in nodes(loaded, (3, side, side)) if n.name != "fc")
        for side in (64, 128)
    )
    assert large == 4 * small


def loaded_of(network, **pixels):
    report = WeightsReport(source="", kind="random")
    recipe = blueprint("resnet18").recipe
    return LoadedModel(
        network=network, recipe=recipe, report=report, pixels=PixelContract(**pixels)
    )


def test_every_node_says_what_it_is_reads_and_gives():
    loaded = blueprint("resnet18")
    freeze(loaded, names=["layer1"])
    listed = {node.name: node for node in nodes(loaded)}
    conv = listed["conv1"]
    assert (conv.layer, conv.shape, conv.parameters) == ("Conv2d", (64, 112, 112), 9408)
    assert conv.multiply_adds == 9408 * 112 * 112
    assert (conv.inputs, conv.frozen) == (("input",), False)
    add = listed["layer2.0.add"]
    assert add.inputs == ("layer2.0.bn2", "layer2.0.downsample.1")
    assert (add.layer, add.parameters, add.frozen) == ("add", 0, None)
    assert add.modules == (("layer2", "Sequential"), ("layer2.0", "BasicBlock"))
    assert listed["layer1.0.conv1"].frozen is True


def test_nodes_are_told_without_touching_the_network():
    loaded = blueprint("resnet18")
    before = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    loaded.network.layer1.train()
    modes = [module.training for module in loaded.network.modules()]
    nodes(loaded, (3, 32, 32))
    assert modes == [module.training for module in loaded.network.modules()]
    after = loaded.network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(tensor.device.type == "cpu" for tensor in after.values())


def test_a_layer_that_is_called_twice_counts_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, image):
            return self.layer(self.layer(image))

    listed = nodes(loaded_of(Twice()), (3, 4, 4))
    assert [(node.name, node.parameters) for node in listed] == [("layer", 12), ("layer_1", 0)]
    assert {node.multiply_adds for node in listed} == {9 * 16}


def test_images_are_as_the_file_says_or_as_the_first_convolution_wants():
    grey = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    assert output_shapes(loaded_of(grey, size_px=(40, 30))) == ((2, 40, 30),)
    assert output_shapes(blueprint("inception_v3"))[0] == (1000,)
    assert nodes(blueprint("inception_v3"))[0].shape == (32, 149, 149)
    with pytest.raises(InvalidValueError, match=r"image_shape.*\(3, 8, 8\)"):
        nodes(loaded_of(grey), (3, 8, 8))


def test_networks_in_half_precision_are_followed_too():
    loaded = blueprint("resnet18")
    expected = nodes(loaded, (3, 32, 32))
    loaded.network.bfloat16()
    assert nodes(loaded, (3, 32, 32)) == expected


def test_a_layer_that_needs_real_numbers_is_run_with_zeros():
    class Counting(nn.Module):
        def forward(self, value):
            return value * int(value.sum())

    network = nn.Sequential(nn.Conv2d(3, 2, 1), Counting(), nn.Dropout())
    listed = nodes(loaded_of(network), (3, 4, 4))
    assert [node.layer for node in listed] == ["Conv2d", "Counting", "Dropout"]
    assert [node.shape for node in listed] == [(2, 4, 4)] * 3
    assert network.training


def test_a_crafted_network_takes_no_memory_when_it_is_looked_at():
    spec = NetworkSpec(
        inputs=("data",),
        nodes=(
            Node(name="up", layer="Upsample", options={"scale_factor": 1e5}, inputs=("data",)),
            Node(
                name="fc",
                layer="Linear",
                options={"in_features": 7, "out_features": 2},
                inputs=("up",),
            ),
        ),
        outputs=("fc",),
    )
    with pytest.raises(InvalidValueError, match=r"image_shape.*\(3, 64, 64\)"):
        nodes(loaded_of(GraphNetwork(spec)), (3, 64, 64))
    assert nodes(loaded_of(GraphNetwork(spec.up_to("up"))), (3, 64, 64))[0].shape[1] == 6_400_000


def test_several_outputs_have_several_shapes():
    part = cut(blueprint("resnet18"), "layer1", "layer2")
    assert output_shapes(part, (3, 64, 64)) == ((64, 16, 16), (128, 8, 8))
