"""Cutting and freezing: by any name, exactly, and without harm to the original."""

import functools
import json

import pytest
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from hilum.errors import InvalidValueError
from hilum.models import set_train_mode
from hilum.models.graph import GraphNetwork, NetworkSpec, Node
from hilum.models.inspection import blueprint
from hilum.models.node_names import names_of_2019
from hilum.models.recipes import CutRecipe, GraphRecipe, LibraryRecipe, LoadedModel, recipe_of
from hilum.models.surgery import cut, freeze, nodes, unfreeze
from hilum.models.weights import WeightsReport

REPORT = WeightsReport(source="", kind="random")


def images(side=64, seed=0):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def filled(loaded, seed=0):
    """Numbers that differ everywhere and keep activations finite."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in loaded.network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            tensor.uniform_(-0.1, 0.1, generator=generator)
    return loaded


@functools.cache
def shown(name):
    return filled(blueprint(name))


def fresh(name="resnet18"):
    return filled(blueprint(name))


def block_with_slashes(inplace=False):
    """A block as Caffe files name it; the last node is a classifier."""
    spec = NetworkSpec(
        inputs=("data",),
        nodes=(
            Node(
                name="conv1/7x7_s2",
                layer="Conv2d",
                options={"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding": 1},
                inputs=("data",),
            ),
            Node(
                name="conv1/relu",
                layer="ReLU",
                options={"inplace": inplace},
                inputs=("conv1/7x7_s2",),
            ),
            Node(name="pool5", layer="GlobalAveragePool", inputs=("conv1/relu",)),
            Node(
                name="loss3/classifier",
                layer="Linear",
                options={"in_features": 4, "out_features": 5},
                inputs=("pool5",),
            ),
            Node(name="prob", layer="Softmax", options={"dim": 1}, inputs=("loss3/classifier",)),
        ),
        outputs=("prob",),
    )
    recipe = GraphRecipe(spec)
    return filled(LoadedModel(network=recipe.build().eval(), recipe=recipe, report=REPORT))


def state_of(loaded):
    tensors = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    flags = [(n, p.requires_grad) for n, p in loaded.network.named_parameters()]
    return tensors, flags, [module.training for module in loaded.network.modules()]


def assert_same_state(loaded, before):
    tensors, flags, modes = state_of(loaded)
    assert tensors.keys() == before[0].keys()
    assert all(torch.equal(tensors[name], before[0][name]) for name in tensors)
    assert (flags, modes) == before[1:]


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("resnet50", "layer3"),
        ("resnet50", "layer2.1.relu_1"),
        ("resnet50", "layer4.2.add"),
        ("googlenet", "inception4c"),
        ("googlenet", "inception3a.branch2.0.relu"),
        ("densenet121", "features.denseblock2"),
        ("densenet121", "features.denseblock1.denselayer3.cat"),
        ("vgg16", "features.23"),
        ("convnext_tiny", "features.5.1"),
    ],
)
def test_a_part_computes_what_torchvision_extracts_at_the_same_name(name, node):
    loaded = shown(name)
    extractor = create_feature_extractor(loaded.network, [node]).eval()
    with torch.no_grad():
        assert torch.equal(cut(loaded, node).network(images()), extractor(images())[node])


def test_the_original_stays_whole_while_a_part_is_trained():
    loaded = fresh()
    with torch.no_grad():
        expected = loaded.network(images())
    before = state_of(loaded)
    part = cut(loaded, "layer2")
    freeze(part, up_to="layer1")
    part.network.train()
    optimizer = torch.optim.SGD(part.network.parameters(), lr=0.1)
    part.network(images(seed=1)).square().mean().backward()
    optimizer.step()
    assert_same_state(loaded, before)
    with torch.no_grad():
        assert torch.equal(loaded.network(images()), expected)


def test_a_part_keeps_what_was_frozen_and_does_not_notice_the_original_learn():
    loaded = fresh()
    frozen = freeze(loaded, up_to="layer1")
    part = cut(loaded, "layer2")
    assert [n for n, p in part.network.named_parameters() if not p.requires_grad] == list(frozen)
    before = state_of(part)
    with torch.no_grad():
        for parameter in loaded.network.parameters():
            parameter.add_(1.0)
    unfreeze(loaded)
    assert_same_state(part, before)


@pytest.mark.parametrize("at", [("layer2",), ("layer1.0.add", "layer1", "layer3")])
def test_a_part_is_built_again_from_json(at):
    part = cut(fresh(), *at)
    recipe = recipe_of(json.loads(json.dumps(part.recipe.to_json())))
    assert recipe == CutRecipe(of=LibraryRecipe("resnet18"), at=at)
    again = recipe.build().eval()
    again.load_state_dict(part.network.state_dict(), strict=True)
    with torch.no_grad():
        for mine, other in zip(again(images()), part.network(images()), strict=True):
            assert torch.equal(mine, other)


def test_several_outputs_are_what_each_would_be_alone_although_layers_work_in_place():
    for loaded, names in (
        (shown("resnet50"), ("bn1", "conv1_relu", "res2a", "res2a_relu")),
        (shown("googlenet"), ("conv1.bn", "conv1.relu")),
        (block_with_slashes(inplace=True), ("conv1/7x7_s2", "conv1/relu")),
    ):
        with torch.no_grad():
            together = cut(loaded, *names).network(images())
            for name, value in zip(names, together, strict=True):
                assert torch.equal(value, cut(loaded, name).network(images())), name
        assert (together[0] < 0).any()


def test_a_part_of_a_part_is_a_part_of_the_whole():
    loaded = fresh()
    part = cut(cut(loaded, "layer3"), "layer2.0.add")
    assert part.recipe == cut(loaded, "layer2.0.add").recipe
    with torch.no_grad():
        expected = cut(loaded, "layer2.0.add").network(images())
        assert torch.equal(part.network(images()), expected)


def test_a_network_of_named_nodes_stays_one_when_it_is_cut():
    loaded = block_with_slashes()
    before = state_of(loaded)
    part = cut(loaded, "pool5")
    assert isinstance(part.network, GraphNetwork)
    assert part.network.spec.names() == ("conv1/7x7_s2", "conv1/relu", "pool5")
    assert part.network(images()).shape == (2, 4)
    again = recipe_of(json.loads(json.dumps(part.recipe.to_json()))).build()
    again.load_state_dict(part.network.state_dict(), strict=True)
    assert torch.equal(again.eval()(images()), part.network(images()))
    part.network.get_submodule("conv1/7x7_s2").weight.data.zero_()
    assert_same_state(loaded, before)


def test_an_unknown_node_is_refused_with_similar_names():
    with pytest.raises(InvalidValueError, match=r"layer4.*Got 'layer5'"):
        cut(shown("resnet50"), "layer5")
    with pytest.raises(InvalidValueError, match=r"pool5/drop_7x7_s1.*Got 'pool5/drop'"):
        cut(shown("googlenet"), "pool5/drop")
    with pytest.raises(InvalidValueError, match="Got none"):
        cut(shown("resnet50"))


class Undecided(nn.Module):
    """Code that torch.fx cannot follow."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)

    def forward(self, value):
        return self.layer(value) if value.mean() > 0 else -self.layer(value)


class Wild:
    """A recipe of a network with such code in it."""

    def build(self):
        blocks = nn.Sequential(nn.ReLU(), Undecided())
        return nn.Sequential(nn.Conv2d(3, 4, 1), blocks, nn.Conv2d(4, 6, 1), nn.Conv2d(6, 2, 1))

    def to_json(self):
        return {"kind": "wild"}

    def files(self):
        return {}


def test_a_block_whose_code_cannot_be_followed_is_one_node():
    loaded = LoadedModel(network=Wild().build().eval(), recipe=Wild(), report=REPORT)
    assert [node.name for node in nodes(loaded, (3, 8, 8))] == ["0", "1.0", "1.1", "2", "3"]
    part = cut(loaded, "2")
    assert torch.equal(part.network(images(8)), loaded.network[:3](images(8)))
    assert freeze(loaded, up_to="1") == ("0.weight", "0.bias", "1.1.layer.weight", "1.1.layer.bias")
    alone = LoadedModel(network=Undecided(), recipe=Wild(), report=REPORT)
    with pytest.raises(InvalidValueError, match=r"torch\.fx can trace"):
        cut(alone, "layer")


def test_2019_freeze_up_to_follows_the_graph_and_not_the_order_of_registration():
    loaded = fresh("googlenet")
    frozen = freeze(loaded, up_to="inception_3a/3x3")
    assert {name.split(".")[0] for name in frozen} == {"conv1", "conv2", "conv3", "inception3a"}
    branches = {".".join(n.split(".")[1:3]) for n in frozen if n.startswith("inception3a")}
    assert branches == {"branch2.0", "branch2.1"}
    assert freeze(loaded, up_to="inception_3a/3x3") == ()


def test_what_is_frozen_is_the_same_after_a_step_of_training():
    loaded = fresh()
    freeze(loaded, up_to="res3b_relu")
    freeze(loaded, names=["layer4.0.bn1", "res5b_branch2a"])
    network = loaded.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    set_train_mode(network)
    learning = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.1)
    network(images()).square().mean().backward()
    optimizer.step()
    changed = {
        name.rpartition(".")[0]
        for name, tensor in network.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    stages = {name.split(".")[0] for name in changed}
    assert stages == {"layer3", "layer4", "fc"}
    assert not {"layer4.0.bn1", "layer4.1.conv1"} & changed
    assert {"layer4.0.conv1", "layer4.1.conv2"} <= changed


def test_what_was_frozen_learns_again_by_name_or_altogether():
    loaded = block_with_slashes()
    conv = ("conv1/7x7_s2.weight", "conv1/7x7_s2.bias")
    assert freeze(loaded, up_to="pool5") == conv
    assert freeze(loaded, names="loss3/classifier") == (
        "loss3/classifier.weight",
        "loss3/classifier.bias",
    )
    assert unfreeze(loaded, "conv1/7x7_s2") == conv
    assert len(unfreeze(loaded.network)) == 2
    assert all(p.requires_grad for p in loaded.network.parameters())


def test_freezing_nothing_is_a_mistake():
    loaded = block_with_slashes()
    with pytest.raises(InvalidValueError, match="one name or more"):
        freeze(loaded)
    with pytest.raises(InvalidValueError, match=r"layers with parameters.*conv1/relu.*up_to"):
        freeze(loaded, names=["conv1/relu"])
    with pytest.raises(InvalidValueError, match="Got 'conv2'"):
        freeze(loaded, names=["conv2"])


# From the Caffe files: KaimingHe/deep-residual-networks, BVLC GoogLeNet, shicai/DenseNet-Caffe,
# VGG's 16 layers; and Keras's names of Inception v3. Without the batch, 224 px (299).
SHAPES_OF_2019 = {
    "resnet50": {
        "conv1": (64, 112, 112),
        "pool1": (64, 56, 56),
        "res2a_branch1": (256, 56, 56),
        "res2c": (256, 56, 56),
        "res3d_branch2b": (128, 28, 28),
        "res3d": (512, 28, 28),
        "res4f_relu": (1024, 14, 14),
        "res5c": (2048, 7, 7),
        "pool5": (2048, 1, 1),
        "fc1000": (1000,),
    },
    "inception_v1": {
        "conv1/7x7_s2": (64, 112, 112),
        "pool1/norm1": (64, 56, 56),
        "conv2/norm2": (192, 56, 56),
        "inception_3a/output": (256, 28, 28),
        "inception_3b/5x5_reduce": (32, 28, 28),
        "inception_4a/output": (512, 14, 14),
        "inception_4d/output": (528, 14, 14),
        "inception_4e/pool_proj": (128, 14, 14),
        "inception_5b/output": (1024, 7, 7),
        "pool5/7x7_s1": (1024, 1, 1),
        "pool5/drop_7x7_s1": (1024, 1, 1),
    },
    "inception_v3": {
        "mixed0": (256, 35, 35),
        "mixed3": (768, 17, 17),
        "mixed8": (1280, 8, 8),
        "mixed10": (2048, 8, 8),
        "pool5": (2048, 1, 1),
    },
    "densenet121": {
        "pool1": (64, 56, 56),
        "concat_2_1": (96, 56, 56),
        "concat_2_6": (256, 56, 56),
        "conv2_blk": (128, 56, 56),
        "pool2": (128, 28, 28),
        "conv3_2/x1": (128, 28, 28),
        "conv3_2/x2": (32, 28, 28),
        "concat_3_12": (512, 28, 28),
        "concat_4_24": (1024, 14, 14),
        "relu5_blk": (1024, 7, 7),
        "pool5": (1024, 1, 1),
    },
    "densenet161": {
        "concat_2_6": (384, 56, 56),
        "concat_3_12": (768, 28, 28),
        "concat_4_36": (2112, 14, 14),
        "concat_5_24": (2208, 7, 7),
        "pool5": (2208, 1, 1),
    },
    "vgg16": {"conv3_3": (256, 56, 56), "pool5": (512, 7, 7), "fc6": (4096,), "fc8": (1000,)},
    "convnext_tiny": {"pool5": (768, 1, 1)},
}


@functools.cache
def shapes(name):
    return {node.name: node.shape for node in nodes(blueprint(name))}


@pytest.mark.parametrize("name", SHAPES_OF_2019)
def test_names_of_2019_have_the_shapes_they_had_in_2019(name):
    from hilum.models.named_nodes import named_graph

    loaded = blueprint(name)
    named = named_graph(loaded.network, names_of_2019(name))
    own = {node: own_name for own_name, node in named.nodes.items()}
    found = {old: shapes(name)[own[named.find(old)]] for old in SHAPES_OF_2019[name]}
    assert found == SHAPES_OF_2019[name]
    for old in names_of_2019(name):
        assert own[named.find(old)] in shapes(name)


def test_the_paper_cuts_resolve_on_networks_of_today():
    with torch.no_grad():
        for name, old, new in (
            ("resnet50", "pool5", "avgpool"),
            ("googlenet", "pool5/drop_7x7_s1", "avgpool"),
            ("densenet121", "pool5", "adaptive_avg_pool2d"),
        ):
            loaded = shown(name)
            theirs = create_feature_extractor(loaded.network, [new]).eval()(images())[new]
            assert torch.equal(cut(loaded, old).network(images()), theirs)
