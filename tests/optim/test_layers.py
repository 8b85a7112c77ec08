"""Learning rates and weight decay by layer, and how far from the head a layer is."""

import pytest
from torch import nn

from hilum.errors import InvalidValueError
from hilum.models import create_model, head_names
from hilum.optim import LayerRule, OptimizerSpec
from hilum.optim.layers import depths, rule_from_text, rule_to_text


def blocks_of(architecture):
    """Block names by depth, from the last before the head on, of a real network."""
    model = create_model(architecture, 14)
    named, head = list(model.named_parameters()), head_names(architecture)
    found = {}
    for name, depth in depths(named, head).items():
        found.setdefault(depth, []).append(name)
    assert sorted(found[0]) == sorted(head)
    return {depth: names for depth, names in sorted(found.items()) if depth}


@pytest.mark.parametrize(
    ("architecture", "firsts"),
    [
        ("resnet18", ["layer4", "layer3", "layer2", "layer1", "conv1"]),
        ("efficientnet_lite0", ["conv_head", *[f"blocks.{b}" for b in range(6, -1, -1)], "conv"]),
        (
            "densenet121",
            [
                "features.denseblock4",
                "features.transition3",
                "features.denseblock3",
                "features.transition2",
                "features.denseblock2",
                "features.transition1",
                "features.denseblock1",
                "features.conv0",
            ],
        ),
    ],
)
def test_blocks_are_counted_from_the_head(architecture, firsts):
    blocks = blocks_of(architecture)
    assert list(blocks) == list(range(1, len(firsts) + 1))
    for names, first in zip(blocks.values(), firsts, strict=True):
        assert names[0].startswith(first), names


def small_network():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(2, 1)
    )


def groups_of(spec, model=None):
    model = small_network() if model is None else model
    optimizer = spec.build(model.named_parameters(), ("4.weight", "4.bias"))
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        group["name"]: (
            group["lr_factor"],
            group["weight_decay"],
            [names[id(p)] for p in group["params"]],
        )
        for group in optimizer.param_groups
    }


def test_learning_rates_fall_towards_the_input():
    spec = OptimizerSpec(layer_decay=0.5, head_lr_factor=10.0, weight_decay=0.1)
    assert groups_of(spec) == {
        "backbone-2": (0.5, 0.1, ["0.weight"]),
        "backbone-2_undecayed": (0.5, 0.0, ["0.bias", "1.weight", "1.bias"]),
        "backbone-1": (1.0, 0.1, ["2.weight"]),
        "backbone-1_undecayed": (1.0, 0.0, ["2.bias"]),
        "head": (10.0, 0.1, ["4.weight"]),
        "head_undecayed": (10.0, 0.0, ["4.bias"]),
    }


def test_freezing_a_layer_does_not_change_the_rates_of_the_others():
    model = small_network()
    model[2].requires_grad_(False)
    groups = groups_of(OptimizerSpec(layer_decay=0.5), model)
    assert groups["backbone-2"] == (0.5, 0.0, ["0.weight"])
    assert "backbone-1" not in groups


def test_the_first_rule_that_matches_a_name_counts():
    rules = (
        LayerRule(pattern="0.*", lr_factor=0.25),
        LayerRule(pattern="[02].weight", lr_factor=0.5, weight_decay=0.2),
        LayerRule(pattern="4.*", weight_decay=0.0),
    )
    spec = OptimizerSpec(
        layer_rules=rules, weight_decay=0.1, head_lr_factor=10.0, head_weight_decay=0.3
    )
    assert groups_of(spec) == {
        "backbone:0.*": (0.25, 0.1, ["0.weight"]),
        "backbone:0.*_undecayed": (0.25, 0.0, ["0.bias"]),
        "backbone_undecayed": (1.0, 0.0, ["1.weight", "1.bias", "2.bias"]),
        "backbone:[02].weight": (0.5, 0.2, ["2.weight"]),
        "head:4.*": (10.0, 0.0, ["4.weight"]),
        "head:4.*_undecayed": (10.0, 0.0, ["4.bias"]),
    }


def test_a_rule_for_no_layer_is_refused_with_names_there_are():
    spec = OptimizerSpec(layer_rules=(LayerRule(pattern="layer9.*", lr_factor=0.1),))
    with pytest.raises(InvalidValueError, match=r"pattern must be .*0\.weight.*'layer9"):
        groups_of(spec)


@pytest.mark.parametrize(
    "fields",
    [
        {"pattern": ""},
        {"pattern": "0.*"},
        {"pattern": "0.*", "lr_factor": 0.0},
        {"pattern": "0.*", "weight_decay": -1.0},
    ],
)
def test_a_rule_that_says_nothing_or_nonsense_is_refused(fields):
    with pytest.raises(InvalidValueError):
        LayerRule(**fields)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("layer4.*:lr_factor=0.1", LayerRule(pattern="layer4.*", lr_factor=0.1)),
        ("*.bn?.* : weight_decay=0", LayerRule(pattern="*.bn?.*", weight_decay=0.0)),
        (
            "fc.*:lr_factor=2,weight_decay=0.5",
            LayerRule(pattern="fc.*", lr_factor=2.0, weight_decay=0.5),
        ),
    ],
)
def test_a_rule_can_be_typed(text, rule):
    assert rule_from_text(text) == rule
    assert rule_from_text(rule_to_text(rule)) == rule


@pytest.mark.parametrize("text", ["", "layer4.*", "layer4.*:0.1", "a:rate=1", "a:lr_factor=x"])
def test_a_rule_typed_wrongly_is_refused_with_its_form(text):
    with pytest.raises(InvalidValueError, match="a layer rule must be PATTERN"):
        rule_from_text(text)
