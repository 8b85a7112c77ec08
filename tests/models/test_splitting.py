"""A network in two parts computes and learns what it does in one."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hilum.errors import InvalidValueError
from hilum.models import BACKBONE, build_classifier, freeze_layers, set_train_mode, split_frozen

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(architecture, layer, dropout=0.0):
    model = build_classifier(architecture, 2, weights="random", dropout=dropout)[0]
    freeze_layers(model, architecture, layer)
    set_train_mode(model)
    return model


@pytest.mark.parametrize(
    ("architecture", "layer", "cut_shape"),
    [
        ("resnet18", BACKBONE, (512,)),
        ("resnet18", "layer3", (256, 4, 4)),
        ("resnet18", "bn1", (64, 16, 16)),  # the ReLU and the pooling behind it are fixed, too
        ("densenet121", BACKBONE, (1024,)),
        ("densenet121", "features.denseblock3", (1024, 4, 4)),
        ("googlenet", BACKBONE, (1024,)),
        ("googlenet", "inception4e", (832, 2, 2)),
        ("vgg16", BACKBONE, (4096,)),
        ("efficientnet_lite0", BACKBONE, (1280,)),
        ("efficientnet_lite0", "blocks.4", (112, 4, 4)),
        ("timm:test_vit", BACKBONE, (64,)),  # not to be traced: cut before its head
        ("torchvision:mobilenet_v3_small", BACKBONE, (1024,)),
        ("torchvision:swin_t", BACKBONE, (768,)),
    ],
)
def test_the_two_parts_are_the_network(architecture, layer, cut_shape):
    model = network(architecture, layer)
    images = IMAGES if architecture != "timm:test_vit" else torch.randn(3, 3, 160, 160)
    split = split_frozen(model, architecture)
    features = split.prefix(images)
    assert features.shape[1:] == cut_shape
    assert not features.requires_grad
    copied = copy.deepcopy(model)  # training mode moves the statistics
    assert torch.equal(split.rest(features.clone()), copied(images))
    model.eval()
    assert torch.equal(split.rest(features.clone()), model(images))


def test_training_the_rest_trains_the_network():
    model = network("resnet18", "layer3")
    twin = copy.deepcopy(model)
    split = split_frozen(model)
    features = split.prefix(IMAGES)
    split.rest(features).square().mean().backward()
    twin(IMAGES).square().mean().backward()
    for (name, mine), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert (mine.grad is None) == (other.grad is None), name
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, other.grad, msg=name)
    assert torch.equal(model.layer4[0].bn1.running_mean, twin.layer4[0].bn1.running_mean)


def test_a_branch_frozen_beyond_the_cut_is_computed_with_the_rest():
    model = network("resnet18", "layer3.0.bn1")
    split = split_frozen(model)
    features = split.prefix(IMAGES)
    assert features.shape[1:] == (128, 8, 8)  # the output of layer2, which both branches read
    assert torch.equal(split.rest(features), copy.deepcopy(model)(IMAGES))
    learns = {name for name, p in split.rest.named_parameters() if p.requires_grad}
    assert "layer3.0.conv2.weight" in learns
    assert "layer3.0.conv1.weight" not in learns


def test_dropout_that_is_on_lies_behind_the_cut():
    model = network("resnet18", BACKBONE, dropout=0.5)
    split = split_frozen(model)
    features = split.prefix(IMAGES)
    assert torch.equal(features, split.prefix(IMAGES))
    assert not torch.equal(split.rest(features), split.rest(features))


def test_a_network_of_which_nothing_is_frozen_is_refused():
    with pytest.raises(InvalidValueError, match="frozen up to one point"):
        split_frozen(network("resnet18", ""))


class DecidesByValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, images):
        return self.layer(images) if images.sum() > 0 else images


class DropsOut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, images):
        return self.head(F.dropout(self.first(images), 0.5, training=self.training))


def test_a_network_that_cannot_be_traced_is_refused_with_the_reason():
    with pytest.raises(InvalidValueError, match=r"torch\.fx can trace.*DecidesByValues"):
        split_frozen(DecidesByValues())


def test_a_network_that_cannot_be_traced_is_not_cut_inside():
    with pytest.raises(InvalidValueError, match=r"torch\.fx"):
        split_frozen(network("timm:test_vit", "blocks.2"), "timm:test_vit")


def test_dropout_written_as_a_function_lies_behind_the_cut():
    model = DropsOut()
    model.first.requires_grad_(False)
    set_train_mode(model)
    assert split_frozen(model).layer == "first"
