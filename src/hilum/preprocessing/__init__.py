"""Preprocessing: frozen, named, JSON-serialisable steps on batches, and chains of them.

Random steps are pure functions of numbers derived from (seed, epoch, sample id), so augmentation
is the same on any number of ranks; grey images stay one byte a pixel until they are normalised.
"""

from hilum.preprocessing.augmentation import (
    RandomBrightness,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
)
from hilum.preprocessing.chain import Chain
from hilum.preprocessing.geometry import CenterCrop, GreyToRGB, Resize
from hilum.preprocessing.normalize import IMAGENET_MEAN, IMAGENET_STD, ChannelNormalize
from hilum.preprocessing.one_channel import OneChannel, one_channel
from hilum.preprocessing.randomness import uniform_draws
from hilum.preprocessing.ready_chains import paper_chain, radiograph_chain
from hilum.preprocessing.transform import RandomTransform, Shape, Step, Transform

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "CenterCrop",
    "Chain",
    "ChannelNormalize",
    "GreyToRGB",
    "OneChannel",
    "RandomBrightness",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomTransform",
    "Resize",
    "Shape",
    "Step",
    "Transform",
    "one_channel",
    "paper_chain",
    "radiograph_chain",
    "uniform_draws",
]
