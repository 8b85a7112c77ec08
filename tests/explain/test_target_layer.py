"""Grad-CAM reads the last feature map before pooling, in every topology and on any shape."""

import pytest
import torch

from hilum.errors import InvalidValueError
from hilum.explain.target_layer import find_target_layer, prepare_for_gradients
from hilum.models import create_model, cut_before_head

LAST_MAPS = {
    "resnet18": ("0.layer4", (3, 5)),
    "resnet50": ("0.layer4", (3, 5)),
    "densenet121": ("0.features", (3, 5)),
    "googlenet": ("0.inception5b", (3, 5)),
    "inception_v3": ("0.Mixed_7c", (1, 3)),
    "vgg16": ("0.features.29", (6, 10)),  # before both poolings
    "efficientnet_lite0": ("0.bn2", (3, 5)),
    "torchvision:convnext_tiny": ("0.features", (3, 5)),
    "torchvision:swin_t": ("0.permute", (3, 5)),  # its blocks work with channels last
}


def network(name: str) -> torch.nn.Module:
    return prepare_for_gradients(cut_before_head(create_model(name, 2).eval(), name))


@pytest.mark.parametrize("name", LAST_MAPS)
def test_the_rule_finds_the_last_map_of_every_topology_on_oblong_input(name):
    model = network(name)
    layer, size = LAST_MAPS[name]
    inputs = torch.rand(1, 3, 96, 160)
    assert find_target_layer(model, inputs) == layer
    seen = []
    hook = model.get_submodule(layer).register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        model(inputs)
    hook.remove()
    assert seen[-1].shape[2:] == size


def test_a_transformer_without_maps_is_refused_with_the_way_out():
    with pytest.raises(InvalidValueError, match="occlusion"):
        find_target_layer(network("timm:test_vit"), torch.rand(1, 3, 160, 160))


def test_nothing_of_the_search_stays_in_the_network():
    model = network("resnet18")
    find_target_layer(model, torch.rand(1, 3, 64, 64))
    assert all(not module._forward_hooks for module in model.modules())


def test_densenet_shows_the_map_its_head_reads_and_computes_the_same():
    torch.manual_seed(0)
    from torchvision.models import DenseNet

    def small():
        return DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=3)

    before = small().eval()
    inputs = torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        expected = before(inputs)
        after = prepare_for_gradients(before)
        torch.testing.assert_close(after(inputs), expected, rtol=0, atol=0)
        maps = after.features(inputs)
    assert find_target_layer(after, inputs) == "features"
    assert maps.min() == 0, "evidence that the ReLU takes away is not in the map"
    pooled = maps.mean(dim=(2, 3))
    torch.testing.assert_close(after.classifier(pooled), expected)
