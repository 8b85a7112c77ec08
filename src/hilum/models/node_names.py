"""Names of nodes in the model files of 2019, and what is called so in today's networks.

The Caffe files that BigDL and Analytics Zoo published named their layers, and programs of the time
cut and froze at those names: "pool5" of ResNet-50, "pool5/drop_7x7_s1" of Inception v1. A table
says which node of the same topology in torchvision has that value. A layer that torchvision's
network lacks (local response normalisation of Inception v1) stands for the value it got; batch
normalisation and the scale that Caffe keeps in a layer of its own are one node. Dropout behind
"pool5" of Inception v1 is for the new head to bring.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import Any

__all__ = ["names_of_2019"]

_Pairs = Iterator[tuple[str, str]]


@cache
def names_of_2019(architecture: str) -> Mapping[str, str]:
    """Names of 2019 to today's, for a network of `ARCHITECTURES`; empty for those without any.

    "pool5" is among those of every topology that has any: its pooled features, or in VGG-16 the
    last feature map.
    """
    table = _TABLES.get(architecture.removeprefix("torchvision:"))
    return MappingProxyType(dict(table()) if table else {})


def _resnet(blocks: Sequence[int], convolutions: int) -> _Pairs:
    yield from {
        "conv1": "conv1",
        "bn_conv1": "bn1",
        "scale_conv1": "bn1",
        "conv1_relu": "relu",
        "pool1": "maxpool",
        "pool5": "avgpool",
        "fc1000": "fc",
    }.items()
    for stage, count in enumerate(blocks, start=2):
        for index in range(count):
            here, block = f"layer{stage - 1}.{index}", f"{stage}{chr(ord('a') + index)}"
            for i in range(convolutions):
                branch = f"{block}_branch2{'abc'[i]}"
                yield f"res{branch}", f"{here}.conv{i + 1}"
                yield f"bn{branch}", f"{here}.bn{i + 1}"
                yield f"scale{branch}", f"{here}.bn{i + 1}"
                if i < convolutions - 1:
                    yield f"res{branch}_relu", f"{here}.relu" + (f"_{i}" if i else "")
            if index == 0 and (stage > 2 or convolutions == 3):
                yield f"res{block}_branch1", f"{here}.downsample.0"
                yield f"bn{block}_branch1", f"{here}.downsample.1"
                yield f"scale{block}_branch1", f"{here}.downsample.1"
            yield f"res{block}", f"{here}.add"
            yield f"res{block}_relu", f"{here}.relu_{convolutions - 1}"


def _densenet(blocks: Sequence[int]) -> _Pairs:
    yield from {
        "conv1": "features.conv0",
        "conv1/bn": "features.norm0",
        "conv1/scale": "features.norm0",
        "relu1": "features.relu0",
        "pool1": "features.pool0",
        "pool5": "adaptive_avg_pool2d",
        "fc6": "classifier",
    }.items()
    for stage, count in enumerate(blocks, start=2):
        block = f"features.denseblock{stage - 1}"
        for i in range(1, count + 1):
            here, layer = f"{block}.denselayer{i}", f"{stage}_{i}"
            for part in (1, 2):
                yield f"conv{layer}/x{part}", f"{here}.conv{part}"
                yield f"conv{layer}/x{part}/bn", f"{here}.norm{part}"
                yield f"conv{layer}/x{part}/scale", f"{here}.norm{part}"
                yield f"relu{layer}/x{part}", f"{here}.relu{part}"
            # torchvision concatenates at the beginning of the next layer, or at the block's end.
            yield f"concat_{layer}", f"{block}.denselayer{i + 1}.cat" if i < count else block
        last = stage == len(blocks) + 1
        after = f"features.transition{stage - 1}"
        norm = "features.norm5" if last else f"{after}.norm"
        yield f"conv{stage}_blk/bn", norm
        yield f"conv{stage}_blk/scale", norm
        yield f"relu{stage}_blk", "relu" if last else f"{after}.relu"
        if not last:
            yield f"conv{stage}_blk", f"{after}.conv"
            yield f"pool{stage}", f"{after}.pool"


def _inception_v1() -> _Pairs:
    yield from {
        "conv1/7x7_s2": "conv1.bn",
        "conv1/relu_7x7": "conv1.relu",
        "pool1/3x3_s2": "maxpool1",
        "pool1/norm1": "maxpool1",
        "conv2/3x3_reduce": "conv2.bn",
        "conv2/relu_3x3_reduce": "conv2.relu",
        "conv2/3x3": "conv3.bn",
        "conv2/relu_3x3": "conv3.relu",
        "conv2/norm2": "conv3.relu",
        "pool2/3x3_s2": "maxpool2",
        "pool3/3x3_s2": "maxpool3",
        "pool4/3x3_s2": "maxpool4",
        "pool5": "avgpool",
        "pool5/7x7_s1": "avgpool",
        "pool5/drop_7x7_s1": "avgpool",
        "loss3/classifier": "fc",
    }.items()
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        there, here = f"inception_{block}", f"inception{block}"
        yield f"{there}/output", f"{here}.cat"
        yield f"{there}/pool", f"{here}.branch4.0"
        for name, branch in {
            "1x1": "branch1",
            "3x3_reduce": "branch2.0",
            "3x3": "branch2.1",
            "5x5_reduce": "branch3.0",
            "5x5": "branch3.1",  # torchvision's is 3 x 3, as were the published weights
            "pool_proj": "branch4.1",
        }.items():
            yield f"{there}/{name}", f"{here}.{branch}.bn"
            yield f"{there}/relu_{name}", f"{here}.{branch}.relu"


def _inception_v3() -> _Pairs:
    yield from {
        "MaxPool_3a_3x3": "maxpool1",
        "MaxPool_5a_3x3": "maxpool2",
        "AvgPool_1a_8x8": "avgpool",
        "avg_pool": "avgpool",
        "pool5": "avgpool",
    }.items()
    # TensorFlow's names of the blocks are torchvision's; Keras numbers them.
    blocks = ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"]
    for index, block in enumerate(blocks):
        yield f"mixed{index}", f"Mixed_{block}"


def _vgg(convolutions: Sequence[int]) -> _Pairs:
    index = 0
    for stage, count in enumerate(convolutions, start=1):
        for i in range(1, count + 1):
            yield f"conv{stage}_{i}", f"features.{index}"
            yield f"relu{stage}_{i}", f"features.{index + 1}"
            index += 2
        yield f"pool{stage}", f"features.{index}"
        index += 1
    for index, name in enumerate(("fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8")):
        yield name, f"classifier.{index}"


def _pool5(node: str) -> _Pairs:
    yield "pool5", node


_TABLES: Mapping[str, Any] = MappingProxyType(
    {
        "resnet18": partial(_resnet, (2, 2, 2, 2), 2),
        "resnet50": partial(_resnet, (3, 4, 6, 3), 3),
        "densenet121": partial(_densenet, (6, 12, 24, 16)),
        "densenet161": partial(_densenet, (6, 12, 36, 24)),
        "googlenet": _inception_v1,
        "inception_v1": _inception_v1,
        "inception_v3": _inception_v3,
        "vgg16": partial(_vgg, (2, 2, 3, 3, 3)),
        "convnext_tiny": partial(_pool5, "classifier.0"),
    }
)
