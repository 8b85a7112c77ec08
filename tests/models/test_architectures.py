import functools
import sys

import pytest
import torch
import torchvision
from torch import nn

from hilum.errors import InvalidValueError, MissingDependencyError
from hilum.models import (
    ARCHITECTURES,
    architecture,
    build_classifier,
    create_model,
    head_names,
)

NAMES = sorted(set(ARCHITECTURES) - {"inception_v1"})
OTHERS = ["torchvision:mobilenet_v3_small", "torchvision:regnet_y_400mf", "timm:test_vit"]
FROM_TORCHVISION = [name for name in NAMES if name != "efficientnet_lite0"]


def images(name, num=2):
    side = {"inception_v3": 75, "timm:test_vit": 160}.get(name, 32)
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[*NAMES, *OTHERS])
def built(request):
    return request.param, build_once(request.param)


@functools.cache  # tests run in random order, which would rebuild a module's fixture every time
def build_once(name):
    return build_classifier(name, 5, weights="random", seed=3)[0]


def test_every_network_gives_one_logit_per_finding_in_training_and_evaluation(built):
    name, model = built
    for mode in (True, False):
        logits = model.train(mode)(images(name))
        assert isinstance(logits, torch.Tensor)
        assert logits.shape == (2, 5)
        assert logits.isfinite().all()


def test_the_gradient_reaches_every_parameter(built):
    name, model = built
    model.train().zero_grad()
    model(images(name)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(model.get_parameter(n).grad.abs().sum() > 0 for n in head_names(name))
    model.zero_grad(set_to_none=True)


def test_an_empty_network_takes_the_weights_of_a_trained_one(built):
    name, model = built
    copy = create_model(name, 5)
    copy.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        expected = model.eval()(images(name))
        assert torch.equal(copy.eval()(images(name)), expected)


def test_the_head_is_what_head_names_says(built):
    name, model = built
    shapes = [tuple(model.get_parameter(n).shape) for n in head_names(name)]
    assert shapes[0][0] == 5
    assert shapes[1] == (5,)


def test_a_name_finds_itself_again(built):
    name, _ = built
    assert architecture(name).name == name
    assert architecture(architecture(name)) == architecture(name)


@pytest.mark.parametrize("name", ["vgg16", "googlenet", "torchvision:mobilenet_v3_small"])
def test_features_are_dropped_once_before_the_head_and_with_the_given_probability(name):
    model = create_model(name, 5, dropout=0.3)
    layers = [m for m in model.modules() if isinstance(m, nn.Dropout | nn.Linear)]
    assert [m.p for m in layers[-3:] if isinstance(m, nn.Dropout)] == [0.0, 0.3]


def test_the_2019_name_of_googlenet_is_known():
    assert architecture("inception_v1") is architecture("googlenet")
    assert architecture("torchvision:googlenet") is architecture("googlenet")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(
        InvalidValueError, match=r"densenet121, densenet161, googlenet.*'resnet51'.*timm:NAME"
    ):
        architecture("resnet51")
    with pytest.raises(InvalidValueError, match="regnet_y_16gf"):
        architecture("torchvision:resnet51")
    with pytest.raises(InvalidValueError, match="'resnet51'"):
        architecture("timm:resnet51")


def test_networks_without_one_linear_head_are_refused():
    with pytest.raises(InvalidValueError, match="ends in a linear layer"):
        architecture("torchvision:squeezenet1_0")
    with pytest.raises(InvalidValueError, match="one head"):
        architecture("timm:deit_tiny_distilled_patch16_224")


def test_without_timm_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for name in ("efficientnet_lite0", "timm:resnet18"):
        with pytest.raises(MissingDependencyError, match=r"pip install hilum\[timm\]"):
            create_model(name, 5)


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_the_table_agrees_with_torchvision(name):
    weights = torchvision.models.get_weight(architecture(name).published.enum)
    assert weights is torchvision.models.get_model_weights(name).DEFAULT
    sees = weights.transforms()
    assert sees.crop_size == [architecture(name).image_size_px]
    if name not in ("googlenet", "inception_v3"):
        assert tuple(sees.mean) == architecture(name).mean
        assert tuple(sees.std) == architecture(name).std


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_inceptions_see_what_torchvision_shows_theirs(name):
    """torchvision's published Inceptions take ImageNet's mean and std and undo them inside."""
    ours = architecture(name)
    theirs = torchvision.models.get_model(name, weights=None, init_weights=False, aux_logits=False)
    theirs.transform_input = True
    imagenet = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    model = create_model(name, 5)
    inputs = torch.rand(1, 3, 75, 75, generator=torch.Generator().manual_seed(0))

    def normalised(mean, std):
        return (inputs - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    expected = theirs._transform_input(normalised(imagenet.mean, imagenet.std))
    torch.testing.assert_close(normalised(ours.mean, ours.std), expected)
    assert model.transform_input is False
