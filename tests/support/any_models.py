"""Small networks that are no architecture by name: from a file, cut, or made by a function."""

import json
from dataclasses import replace

import torch
from torch import nn

from hilum.models import network_factory, recipes
from hilum.models.graph import NetworkSpec, Node
from hilum.models.recipes import GraphRecipe, LoadedModel, PixelContract
from hilum.models.weights import WeightsReport

CAFFE = PixelContract(
    channels="BGR",
    mean=(103.939 / 255, 116.779 / 255, 123.68 / 255),
    std=(1 / 255,) * 3,
    size_px=(32, 32),
)


def node(name, layer, *inputs, **options):
    return Node(name=name, layer=layer, options=options, inputs=inputs)


def spec(channels=3, end=()):
    """Two branches behind a stem, as in an Inception; a layer for somebody else's five classes."""
    return NetworkSpec(
        inputs=("data",),
        nodes=(
            node("conv1", "Conv2d", "data", in_channels=channels, out_channels=8, kernel_size=3),
            node("bn1", "BatchNorm2d", "conv1", num_features=8),
            node("relu1", "ReLU", "bn1", inplace=True),
            node("left", "Conv2d", "relu1", in_channels=8, out_channels=6, kernel_size=1),
            node("right/pool", "MaxPool2d", "relu1", kernel_size=3, stride=1, padding=1),
            node("right", "Conv2d", "right/pool", in_channels=8, out_channels=6, kernel_size=1),
            node("mixed/concat", "Concatenate", "left", "right"),
            node("mixed/relu", "ReLU", "mixed/concat"),
            node("conv2", "Conv2d", "mixed/relu", in_channels=12, out_channels=16, kernel_size=3),
            node("pool5", "GlobalAveragePool", "conv2"),
            node("pool5/drop", "Dropout", "pool5", p=0.4),
            node("fc", "Linear", "pool5/drop", in_features=16, out_features=5),
            *end,
        ),
        outputs=(end[-1].name if end else "fc",),
    )


def loaded(network_spec=None, pixels=CAFFE, seed=3):
    """As a road returns it."""
    recipe = GraphRecipe(network_spec or spec())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = recipe.build().eval()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
        network.get_submodule("bn1").running_mean.normal_()
        network.get_submodule("conv1").weight.data *= 0.02  # pixels are grey levels
    report = WeightsReport(
        source="/models/tiny.caffemodel", kind="file", loaded=len(network.state_dict())
    )
    return LoadedModel(network=network, recipe=recipe, report=report, pixels=pixels)


class FileRecipe(GraphRecipe):
    """A recipe that keeps its network in a file."""

    __slots__ = ("path",)

    def __init__(self, path):
        object.__setattr__(self, "path", path)
        data = json.loads(path.read_text())
        super().__init__(recipes.recipe_of(data).spec)

    def to_json(self):
        return {"kind": "file", "file": "net.json"}

    def files(self):
        return {"net.json": self.path}


def loaded_from_a_file(folder, monkeypatch):
    """A loaded model of a kind that keeps its network in a file, as exported programs do."""

    def read(data, place):
        return FileRecipe(place / data["file"])

    monkeypatch.setattr(recipes, "_KINDS", {**recipes._KINDS, "file": read})
    path = folder / "net.json"
    path.write_text(json.dumps(GraphRecipe(spec()).to_json()))
    return replace(loaded(), recipe=FileRecipe(path))


class Untraceable(nn.Module):
    """Its code asks for a value, which torch.fx cannot follow."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.last = nn.Linear(4, 2)

    def forward(self, images):
        if images.mean() > 1e9:
            images = -images
        return self.last(self.conv(images).mean((2, 3)))


@network_factory
def small_net(width: int = 8) -> nn.Module:
    """For grey images, one channel."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 10),
    )


@network_factory
def untraceable_net() -> nn.Module:
    return Untraceable()


@network_factory
def no_net() -> nn.Module:
    return 3


def not_marked() -> nn.Module:
    return small_net()


class Viewing(nn.Module):
    """Computes with a view of its weights, taken before they are loaded."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1, bias=False)
        self.view = self.layer.weight.detach().view(3)

    def forward(self, x):
        return (x * self.view).sum(dim=1, keepdim=True)


@network_factory
def viewing() -> nn.Module:
    return Viewing()
