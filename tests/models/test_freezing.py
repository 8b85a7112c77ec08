import copy

import pytest
import torch
from torch import nn

from hilum.models import (
    build_classifier,
    freeze_backbone,
    freeze_batch_norm,
    head_names,
    set_train_mode,
)

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def train_once(model):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(IMAGES).square().mean().backward()
    optimizer.step()


@pytest.fixture
def model():
    return build_classifier("resnet18", 3, weights="random", dropout=0.5)[0]


def test_a_frozen_backbone_stays_as_it_is_while_the_head_learns(model):
    freeze_backbone(model, "resnet18")
    set_train_mode(model)
    before = copy.deepcopy(model.state_dict())
    train_once(model)
    changed = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, before[n])}
    assert changed == set(head_names("resnet18"))


def test_no_backward_runs_through_a_frozen_backbone(model):
    freeze_backbone(model, "resnet18")
    reached = []
    model.layer4.register_full_backward_hook(lambda *_: reached.append("layer4"))
    set_train_mode(model)
    train_once(model)
    assert reached == []


def test_frozen_features_are_the_same_every_time_while_dropout_before_the_head_works(model):
    freeze_backbone(model, "resnet18")
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
