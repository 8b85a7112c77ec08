import copy
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import nn

from any_models import loaded, spec
from hilum.errors import InvalidValueError
from hilum.models import (
    BACKBONE,
    build_classifier,
    create_model,
    freeze_batch_norm,
    freeze_layers,
    head_names,
    set_train_mode,
)
from hilum.models.graph.arithmetic import GlobalAveragePool
from hilum.models.recipes import GraphRecipe
from hilum.models.starting import start_of

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def train_once(model):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(IMAGES).square().mean().backward()
    optimizer.step()


@pytest.fixture
def model():
    return build_classifier("resnet18", 3, weights="random", dropout=0.5)[0]


def test_a_frozen_backbone_stays_as_it_is_while_the_head_learns(model):
    freeze_layers(model, "resnet18", BACKBONE)
    set_train_mode(model)
    before = copy.deepcopy(model.state_dict())
    train_once(model)
    changed = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])}
    assert changed == set(head_names("resnet18"))


def trainable(model):
    return {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("layer", "learns"),
    [
        ("", {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}),
        ("conv1", {"bn1", "layer1", "layer2", "layer3", "layer4", "fc"}),
        ("maxpool", {"layer1", "layer2", "layer3", "layer4", "fc"}),
        ("layer3", {"layer4", "fc"}),
        ("backbone", {"fc"}),
    ],
)
def test_freezing_goes_up_to_and_includes_the_layer(model, layer, learns):
    freeze_layers(model, "resnet18", layer)
    assert trainable(model) == learns


def test_a_dotted_name_freezes_up_to_the_middle_of_a_block(model):
    freeze_layers(model, "resnet18", "layer3.0.bn1")
    learns = [name for name, p in model.named_parameters() if p.requires_grad]
    assert learns[0] == "layer3.0.conv2.weight"


def test_freezing_less_lets_layers_learn_again(model):
    freeze_layers(model, "resnet18", BACKBONE)
    freeze_layers(model, "resnet18", "layer3")
    assert trainable(model) == {"layer4", "fc"}


def test_an_unknown_layer_is_refused_with_the_list_of_layers(model):
    with pytest.raises(InvalidValueError, match=r"conv1, bn1, layer1, .*layer4\. Got 'layer9'"):
        freeze_layers(model, "resnet18", "layer9")


def test_the_layers_of_one_long_container_are_listed_by_its_parts():
    densenet = build_classifier("densenet121", 2, weights="random")[0]
    with pytest.raises(InvalidValueError, match=r"features\.denseblock1, features\.transition1"):
        freeze_layers(densenet, "densenet121", "denseblock1")


@pytest.mark.parametrize("layer", ["fc", "fc.1"])
def test_freezing_the_head_too_is_refused(model, layer):
    with pytest.raises(InvalidValueError, match="nothing would learn"):
        freeze_layers(model, "resnet18", layer)


def test_no_backward_runs_through_a_frozen_backbone(model):
    freeze_layers(model, "resnet18", BACKBONE)
    reached = []
    model.layer4.register_full_backward_hook(lambda *_: reached.append("layer4"))
    set_train_mode(model)
    train_once(model)
    assert reached == []


def test_frozen_features_are_the_same_every_time_while_dropout_before_the_head_works(model):
    freeze_layers(model, "resnet18", BACKBONE)
    set_train_mode(model)
    features = []
    model.fc.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    logits = [model(IMAGES), model(IMAGES)]
    assert torch.equal(*features)
    assert not torch.equal(*logits)


def test_frozen_batch_normalisation_keeps_its_statistics_and_the_rest_learns(model):
    freeze_batch_norm(model)
    set_train_mode(model)
    before = copy.deepcopy(model.state_dict())
    train_once(model)
    after = model.state_dict()
    norms = [n for n in after if ".bn" in n or n.startswith("bn") or ".downsample.1." in n]
    assert all(torch.equal(after[n], before[n]) for n in norms)
    assert not torch.equal(after["conv1.weight"], before["conv1.weight"])


def test_without_frozen_parameters_it_is_plain_training_mode(model):
    model.eval()
    set_train_mode(model)
    assert all(module.training for module in model.modules())


def test_a_wholly_frozen_network_is_in_evaluation_mode(model):
    model.requires_grad_(False)
    set_train_mode(model)
    assert not any(module.training for module in model.modules() if list(module.parameters()))


def test_dropout_between_frozen_layers_is_off():
    """The layers of VGG's classifier."""
    layers = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4), nn.Dropout())
    model = nn.Sequential(layers, nn.Linear(4, 2))
    layers.requires_grad_(False)
    set_train_mode(model)
    assert [layer.training for layer in layers] == [False, False, False, True]
    assert model[1].training


def graph():
    design = start_of(loaded()).architecture
    return create_model(design, 2), design


@pytest.mark.parametrize(
    ("layer", "frozen"),
    [
        ("left", {"conv1", "bn1", "left"}),
        ("right", {"conv1", "bn1", "right"}),
        ("mixed/relu", {"conv1", "bn1", "left", "right"}),
        ("pool5", {"conv1", "bn1", "left", "right", "conv2"}),
        ("backbone", {"conv1", "bn1", "left", "right", "conv2"}),
        ("", set()),
    ],
)
def test_a_node_of_a_graph_is_frozen_with_all_it_is_computed_from_and_no_branch_beside(
    layer, frozen
):
    model, design = graph()
    freeze_layers(model, design, layer)
    assert {n.split(".")[0] for n, p in model.named_parameters() if not p.requires_grad} == frozen


def test_the_node_of_a_trunk_goes_by_its_own_name():
    """As `transfer` builds: the network, pooling, a linear layer."""
    _, design = graph()
    trunk = GraphRecipe(spec().up_to("conv2"))

    def build():
        parts = OrderedDict(trunk=trunk.build(), pool=GlobalAveragePool(), head=nn.Linear(16, 5))
        return nn.Sequential(parts)

    design = replace(design, build=build, head="head")
    model = create_model(design, 2)
    for layer in ("left", "trunk.left"):
        freeze_layers(model, design, layer)
        frozen = {n.split(".")[1] for n, p in model.named_parameters() if not p.requires_grad}
        assert frozen == {"conv1", "bn1", "left"}, layer
    with pytest.raises(InvalidValueError, match=r"trunk\.conv1, trunk\.bn1"):
        freeze_layers(model, design, "nowhere")


def test_freezing_a_graph_beyond_its_head_is_refused_with_names_of_nodes():
    model, design = graph()
    with pytest.raises(InvalidValueError, match="before the head"):
        freeze_layers(model, design, "fc")
    with pytest.raises(InvalidValueError, match=r"conv1, bn1, left, right, conv2\. Got 'pol5'"):
        freeze_layers(model, design, "pol5")
