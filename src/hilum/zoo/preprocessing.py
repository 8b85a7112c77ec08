"""ChainedPreprocessing, and what it becomes: a `hilum.preprocessing.Chain`.

A chain of 2019 ran in training and in prediction alike, flips and all. The modern one knows its
random steps and leaves them out where nothing is learnt; it is stored with the model, and a step
that it has no counterpart for is refused when the estimator is fitted, by name.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from hilum.errors import InvalidValueError, require
from hilum.models.recipes import PixelContract
from hilum.preprocessing import (
    CenterCrop,
    Chain,
    ChannelNormalize,
    GreyToRGB,
    RandomBrightness,
    RandomCrop,
    RandomHorizontalFlip,
    Resize,
    Step,
)
from hilum.zoo import colour_ops as colour
from hilum.zoo import conversions as to
from hilum.zoo import image_ops as ops
from hilum.zoo.strict import is_strict_2019

__all__ = ["ChainedPreprocessing", "chain_of"]

logger = logging.getLogger(__name__)

_GREY = 255.0


@dataclass(frozen=True, slots=True, init=False)
class ChainedPreprocessing:
    """Operations one after another.

    Called on one image, it does what 2019 did, by the arithmetic of this package's operations:

        tensor = ChainedPreprocessing([RowToImageFeature(), ImageMatToTensor()])(row.image)

    Attributes:
        transformers: the operations, chains within chains laid flat.
    """

    transformers: tuple[Any, ...]

    def __init__(self, transformers: Sequence[Any], *more: Any) -> None:
        given = transformers if isinstance(transformers, list | tuple) else [transformers]
        object.__setattr__(self, "transformers", tuple(_flat([*given, *more])))

    def apply(self, value: Any, rng: np.random.Generator) -> Any:
        """Apply all to one image, or to what the first of them takes."""
        for operation in self.transformers:
            value = operation.apply(value, rng)
        return value

    def __call__(self, value: Any, seed: int = 0) -> Any:
        """`apply` with random numbers from a seed."""
        return self.apply(value, np.random.default_rng(seed))


def chain_of(preprocessing: Any, pixels: PixelContract, *, channels: int = 3) -> Chain:
    """What a chain of 2019 becomes for a network.

    The radiograph stays one grey channel of bytes until the last two steps, which repeat and
    normalise it, in the order of planes that the network knows. If the network's authors say how
    they normalised, that is taken in the place of other numbers, with a warning: the 2019
    comparison fed DenseNet with inputs 59 times too large. `strict_2019` keeps the chain's.

    Args:
        preprocessing: an operation, or a chain of them.
        pixels: what the network wants to see.
        channels: 3, or 1 for a network of grey images; of three means that takes the blue one,
            as 2019 did.

    Raises:
        InvalidValueError: an operation has no counterpart; the message says which and why.
    """
    require(channels in (1, 3), "channels of the network", "1 or 3", channels)
    steps: list[Step] = []
    given: colour.ImageChannelNormalize | None = None
    to_rgb = False
    for operation in _flat([preprocessing]):
        if isinstance(operation, colour.ImageChannelScaledNormalizer):
            operation = operation.as_normalize()
        if isinstance(operation, colour.ImageChannelNormalize):
            require(given is None, "preprocessing", "normalised once", "twice")
            given = operation
            continue
        if isinstance(operation, to.ImageMatToTensor):
            to_rgb = operation.to_RGB
        added = _steps(operation)
        late = given is not None and any(isinstance(step, RandomBrightness) for step in added)
        require(not late, "preprocessing", "brightness before ImageChannelNormalize", operation)
        steps += added
    mean, std = _normalisation(given, to_rgb, pixels, channels)
    planes = (GreyToRGB(),) if channels == 3 else ()
    return Chain((*steps, *planes, ChannelNormalize(mean, std)))


_Numbers = tuple[float, ...]


def _normalisation(
    given: colour.ImageChannelNormalize | None, to_rgb: bool, pixels: PixelContract, channels: int
) -> tuple[_Numbers, _Numbers]:
    """Mean and deviation per plane, white being 1."""
    wanted = given or colour.ImageChannelNormalize(0.0, 0.0, 0.0)
    mean = (wanted.mean_r / _GREY, wanted.mean_g / _GREY, wanted.mean_b / _GREY)
    std = (wanted.std_r / _GREY, wanted.std_g / _GREY, wanted.std_b / _GREY)
    blue_first = pixels.channels == "BGR" and not to_rgb
    ours: tuple[_Numbers, _Numbers] = (mean[::-1], std[::-1]) if blue_first else (mean, std)
    if channels == 1:
        ours = (mean[-1:], std[-1:])
    if pixels.mean is None or pixels.std is None or is_strict_2019():
        return ours
    theirs = (tuple(pixels.mean), tuple(pixels.std))
    if not np.allclose(ours, theirs, atol=2e-3):
        logger.warning(
            "the network was trained on pixels normalised by mean %s and std %s, which are taken "
            "in the place of %s and %s; strict_2019() keeps those",
            *theirs,
            *ours,
        )
    return theirs


def _flat(operations: Sequence[Any]) -> Iterator[Any]:
    for operation in operations:
        if isinstance(operation, ChainedPreprocessing):
            yield from operation.transformers
        elif isinstance(operation, to.FeatureLabelPreprocessing):
            yield from _flat([operation.feature_transformer])
        elif isinstance(operation, to.FeatureToTupleAdapter):
            yield from _flat([operation.sample_transformer])
        elif isinstance(operation, to.BigDLAdapter):
            yield from _flat([operation.bigdl_transformer])
        else:
            yield operation


def _steps(operation: Any) -> tuple[Step, ...]:
    kind = type(operation)
    if kind is ops.ImageRandomPreprocessing:
        inner = type(operation.preprocessing)
        if inner in _RANDOM:
            return _RANDOM[inner](operation.preprocessing, operation.prob)
        raise InvalidValueError(
            "ImageRandomPreprocessing must hold "
            f"{' or '.join(sorted(known.__name__ for known in _RANDOM))} in a training run. "
            f"Got {inner.__name__}. Hint: {_reason(inner)}."
        )
    if kind in _NOTHING_TO_DO:
        return ()
    if kind in _FIXED:
        return _FIXED[kind](operation)
    raise InvalidValueError(
        "preprocessing must be operations that a model can take along. "
        f"Got {kind.__name__}. Hint: {_reason(kind)}."
    )


def _reason(kind: type) -> str:
    return _REFUSED.get(kind, "docs/migration.md lists those that can be used")


def _cropped(crop: ops.ImageRandomCropper) -> tuple[Step, ...]:
    random = crop.cropper_method.lower() == "random"
    cut = (RandomCrop if random else CenterCrop)(crop.crop_height, crop.crop_width)
    return (cut, RandomHorizontalFlip(0.5)) if crop.mirror else (cut,)


def _jittered(jitter: colour.ImageColorJitter) -> tuple[Step, ...]:
    none = jitter.contrast_prob == 0
    require(none, "contrast_prob", "0 in a training run", jitter.contrast_prob, hint=_CONTRAST)
    light = jitter.brightness_delta
    return (RandomBrightness(jitter.brightness_prob, -light, light),)


_CONTRAST = "the engine augments by brightness, flips, crops and small rotations, not by contrast"
_BEFORE = "apply it to the image column before the estimator, or to the files"

# What only concerns colour changes nothing in a radiograph, which is grey.
_NOTHING_TO_DO = (
    colour.ImageChannelOrder,
    colour.ImageHue,
    colour.ImageSaturation,
    to.ImageBytesToMat,
    to.ImageFeatureToSample,
    to.ImageFeatureToTensor,
    to.ImageMatToFloats,
    to.ImageMatToTensor,
    to.ImagePixelBytesToMat,
    to.ImageSetToSample,
    to.RowToImageFeature,
    to.TensorToSample,
    to.ToTuple,
)

_FIXED: Mapping[type, Callable[[Any], tuple[Step, ...]]] = MappingProxyType(
    {
        ops.ImageResize: lambda op: (Resize(op.resize_h, op.resize_w),),
        ops.ImageCenterCrop: lambda op: (CenterCrop(op.crop_height, op.crop_width),),
        ops.ImageRandomCrop: lambda op: (RandomCrop(op.crop_height, op.crop_width),),
        ops.ImageRandomCropper: _cropped,
        colour.ImageBrightness: lambda op: (
            RandomBrightness(1.0, float(op.delta_low), float(op.delta_high)),
        ),
        colour.ImageColorJitter: _jittered,
    }
)

_RANDOM: Mapping[type, Callable[[Any, float], tuple[Step, ...]]] = MappingProxyType(
    {
        ops.ImageHFlip: lambda op, p: (RandomHorizontalFlip(p),),
        colour.ImageBrightness: lambda op, p: (
            RandomBrightness(p, float(op.delta_low), float(op.delta_high)),
        ),
        colour.ImageHue: lambda op, p: (),
        colour.ImageSaturation: lambda op, p: (),
        colour.ImageChannelOrder: lambda op, p: (),
    }
)

_REFUSED: Mapping[type, str] = MappingProxyType(
    {
        colour.ImageContrast: _CONTRAST,
        colour.ImagePixelNormalize: "a network here has a mean per channel",
        colour.PerImageNormalize: "a network here has a mean per channel",
        ops.ImageHFlip: "ImageRandomPreprocessing(ImageHFlip(), 0.5) flips half of the images",
        ops.ImageAspectScale: f"all images of a run have one size; {_BEFORE}",
        ops.ImageRandomAspectScale: "all images of a run have one size",
        ops.ImageRandomResize: "all images of a run have one size",
        ops.ImageExpand: "it is for boxes, which Hilum does not train on",
        ops.ImageFiller: _BEFORE,
        ops.ImageFixedCrop: _BEFORE,
        ops.ImageMirror: _BEFORE,
        to.SeqToTensor: "features are image columns; numbers are no radiographs",
        to.SeqToMultipleTensors: "a network here has one input, the image",
        to.ArrayToTensor: "features are image columns; numbers are no radiographs",
        to.MLlibVectorToTensor: "features are image columns; numbers are no radiographs",
        to.ScalarToTensor: "features are image columns; numbers are no radiographs",
    }
)
