"""Ready chains: the default recipe for chest radiographs, and the 2019 paper's."""

from collections.abc import Sequence

from hilum.errors import require
from hilum.preprocessing.augmentation import (
    RandomBrightness,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
)
from hilum.preprocessing.chain import Chain
from hilum.preprocessing.geometry import CenterCrop, GreyToRGB, Resize
from hilum.preprocessing.normalize import ChannelNormalize
from hilum.preprocessing.transform import Step

__all__ = ["paper_chain", "radiograph_chain"]


def radiograph_chain(
    image_size: int | tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    resize: int | None = None,
    augment: bool = True,
    channels: int = 3,
) -> Chain:
    """Return the default chain: images come out as (channels, image_size, image_size).

    Resize, random crop, flip, brightness, small rotation, normalisation. The mild augmentation
    imitates how radiographs really vary: positioning, tilt, exposure.

    Args:
        image_size: side of the network's input in pixels, or its height and width.
        mean: the network's mean per channel, where white is 1.
        std: the network's standard deviation per channel, where white is 1.
        resize: side to resize to before cropping; by default each is 1.07 x that of image_size,
            rounded to a multiple of 8, which cuts only 3 % off every edge (apices and costophrenic
            angles lie there).
        augment: False gives the evaluation chain: resize, centre crop, normalisation.
        channels: 3 for networks that take RGB, 1 for networks that take grey.
    """
    require(channels in (1, 3), "channels", "1 or 3", channels)
    require(len(mean) == channels, "mean", f"of {channels} channel(s)", tuple(mean))
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    steps: tuple[Step, ...] = (
        Resize(*(resize or max(side, round(1.07 * side / 8) * 8) for side in (height, width))),
        RandomCrop(height, width),
        RandomHorizontalFlip(probability=0.5),
        RandomBrightness(probability=0.5, low=-16.0, high=16.0),
        RandomRotation(degrees=5.0, probability=0.5),
        *((GreyToRGB(),) if channels == 3 else ()),
        ChannelNormalize(tuple(mean), tuple(std)),
    )
    return Chain(steps) if augment else Chain(steps).evaluation()


def paper_chain() -> Chain:
    """Return the chain of the 2019 white paper (H17686) and its training notebook.

    256 x 256 at reading, centre crop 224, half the images flipped, half brightened by up to 32
    grey levels, ImageNet's mean subtracted: ImageChannelNormalize(123.68, 116.779, 103.939), whose
    std of 1 grey level is 1/255 here. Two things differ on purpose: the resize does not lift
    brightness, as the 2019 reader did for 8-bit grey files, and channels are R, G, B, not B, G, R.
    """
    return Chain(
        (
            Resize(256, 256),
            CenterCrop(224, 224),
            RandomHorizontalFlip(probability=0.5),
            RandomBrightness(probability=0.5, low=0.0, high=32.0),
            GreyToRGB(),
            ChannelNormalize((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3),
        )
    )
