import json

import pytest
import torch
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models.graph import LAYERS, GraphNetwork, NetworkSpec, Node
from hilum.models.recipes import GraphRecipe, LibraryRecipe, recipe_of
from hilum.models.splitting import trace


def node(name, layer, *inputs, **options):
    return Node(name=name, layer=layer, options=options, inputs=inputs)


SPEC = NetworkSpec(
    inputs=("image",),
    nodes=(
        node("conv1", "Conv2d", "image", in_channels=3, out_channels=4, kernel_size=(3, 3)),
        node("relu1", "ReLU", "conv1"),
        node("left", "Conv2d", "relu1", in_channels=4, out_channels=2, kernel_size=1),
        node("right", "MaxPool2d", "relu1", kernel_size=3, stride=1, padding=1),
        node("pool5/concat", "Concatenate", "left", "right", dim=1),
        node("pool5", "GlobalAveragePool", "pool5/concat"),
        node("fc", "Linear", "pool5", in_features=6, out_features=2),
    ),
    outputs=("fc",),
)


def test_a_network_computes_what_its_layers_do():
    network = GraphNetwork(SPEC).eval()
    image = torch.randn(2, 3, 9, 9)
    part = network.get_submodule
    seen = part("relu1")(part("conv1")(image))
    joined = torch.cat([part("left")(seen), part("right")(seen)], 1)
    expected = part("fc")(joined.mean((2, 3)))
    assert torch.equal(network(image), expected)
    assert torch.equal(nn.Sequential(network)(image), expected)


def test_a_network_goes_through_json_and_back():
    text = json.dumps(GraphRecipe(SPEC).to_json())
    again = recipe_of(json.loads(text))
    assert again == GraphRecipe(SPEC)
    assert list(again.build().state_dict()) == list(GraphNetwork(SPEC).state_dict())
    assert recipe_of(LibraryRecipe("resnet18").to_json()) == LibraryRecipe("resnet18")


def test_a_part_leaves_the_whole_as_it_was():
    part = SPEC.up_to("left")
    assert part.names() == ("conv1", "relu1", "left")
    assert part.outputs == ("left",)
    assert len(SPEC.nodes) == 7
    whole, cut = GraphNetwork(SPEC), GraphNetwork(SPEC.up_to("left", "pool5"))
    cut.load_state_dict(whole.state_dict(), strict=False)
    left, pooled = cut(torch.randn(1, 3, 5, 5))
    assert left.shape == (1, 2, 3, 3)
    assert pooled.shape == (1, 6)


def test_torch_fx_sees_the_nodes():
    assert [n.target for n in trace(GraphNetwork(SPEC)).nodes if n.op == "call_module"] == list(
        SPEC.names()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ("image", "conv1")}, "used once"),
        ({"outputs": ("prob",)}, "names of nodes"),
        ({"nodes": (node("a", "ReLU", "b"), node("b", "ReLU", "a"))}, "come before it"),
        ({"nodes": (node("a.b", "ReLU", "image"),)}, "without dots"),
        ({"nodes": (node('a"), print("b', "ReLU", "image"),)}, "without quotes"),
        ({"nodes": (node("a\n", "ReLU", "image"),)}, "printable"),
        ({"inputs": ()}, "one name or more"),
    ],
)
def test_what_is_no_network_is_refused(change, message):
    parts = {"inputs": SPEC.inputs, "nodes": SPEC.nodes, "outputs": SPEC.outputs} | change
    with pytest.raises(InvalidValueError, match=message):
        NetworkSpec(**parts)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (node("a", "Lambda", "image"), "layer of node 'a' must be one of"),
        (node("a", "Conv2d", "image", kernel=3), "options of node 'a' must be those of Conv2d"),
        (
            node("a", "Linear", "image", in_features=10**9, out_features=10**9, device="cpu"),
            "options of node 'a' must be those of Linear .*Got 'device'",
        ),
        (node("a", "Linear", "image", in_features=10**9, out_features=10**9), "parameters must be"),
    ],
)
def test_layers_that_cannot_be_built_are_said(wrong, message):
    with pytest.raises(InvalidValueError, match=message):
        GraphNetwork(NetworkSpec(inputs=("image",), nodes=(wrong,), outputs=("a",)))


def test_a_misspelt_node_is_told_the_likely_one():
    with pytest.raises(InvalidValueError, match="pool5"):
        SPEC.up_to("pol5")


@pytest.mark.parametrize(
    "text", ["{}", '{"kind": "graph"}', '{"kind": "graph", "network": {"format": 1, "nodes": 3}}']
)
def test_damaged_recipes_are_said(text):
    with pytest.raises(InvalidValueError):
        recipe_of(json.loads(text))


def test_every_layer_is_listed_under_its_class_name():
    assert all(name == layer.__name__ for name, layer in LAYERS.items())


@pytest.mark.parametrize(
    "name", ["forward", "class", "_modules", "spec", "self", "training", "\ufb01"]
)
def test_a_node_cannot_take_the_place_of_what_a_module_has(name):
    spec = NetworkSpec(inputs=("image",), nodes=(node(name, "ReLU", "image"),), outputs=(name,))
    with pytest.raises(InvalidValueError, match="no attribute or keyword"):
        GraphNetwork(spec)
