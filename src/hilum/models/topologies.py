"""The topologies of the 2019 paper and a modern one, as recipes for transfer learning.

The paper compared ResNet-50, DenseNet and Inception with one normalisation for all of them, and so
fed DenseNet inputs 59 times as large as its weights had learnt to expect. Here each topology says
what it wants to see, where it is cut, and what its Caffe file of 2019 called that place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hilum.models.architectures import ARCHITECTURES, Architecture

__all__ = ["TOPOLOGIES", "Topology"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Where a network is cut for transfer learning, and what the new head then reads.

    Attributes:
        name: its key in `ARCHITECTURES`, which has input size, mean and deviation.
        title: as papers call it.
        cut: the node whose values are averaged over the image and go into the head.
        features: channels there.
        cut_of_2019: what the file of 2019 called it; resolves, too.
        year: of publication.
    """

    name: str
    title: str
    cut: str
    features: int
    cut_of_2019: str
    year: int

    @property
    def architecture(self) -> Architecture:
        """The whole network, with what its published weights want to see."""
        return ARCHITECTURES[self.name]


_ALL = (
    Topology(
        name="vgg16",
        title="VGG-16",
        cut="features.30",
        features=512,
        cut_of_2019="pool5",
        year=2014,
    ),
    Topology(
        name="inception_v1",
        title="Inception v1",
        cut="avgpool",
        features=1024,
        cut_of_2019="pool5/drop_7x7_s1",
        year=2014,
    ),
    Topology(
        name="inception_v3",
        title="Inception v3",
        cut="avgpool",
        features=2048,
        cut_of_2019="pool5",
        year=2015,
    ),
    Topology(
        name="resnet50",
        title="ResNet-50",
        cut="avgpool",
        features=2048,
        cut_of_2019="pool5",
        year=2015,
    ),
    Topology(
        name="densenet121",
        title="DenseNet-121",
        cut="adaptive_avg_pool2d",
        features=1024,
        cut_of_2019="pool5",
        year=2016,
    ),
    Topology(
        name="densenet161",
        title="DenseNet-161",
        cut="adaptive_avg_pool2d",
        features=2208,
        cut_of_2019="pool5",
        year=2016,
    ),
    Topology(
        name="convnext_tiny",
        title="ConvNeXt-T",
        cut="classifier.0",  # behind the last normalisation
        features=768,
        cut_of_2019="pool5",
        year=2022,
    ),
)

TOPOLOGIES: Mapping[str, Topology] = MappingProxyType({each.name: each for each in _ALL})
"""By name, in the order of publication."""
