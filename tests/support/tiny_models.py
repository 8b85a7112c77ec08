"""Small models with random weights, and a picture with one bright patch."""

import numpy as np
import numpy.typing as npt
import torch

from hilum.inference import ModelBundle
from hilum.models import build_classifier
from hilum.preprocessing import CenterCrop, Chain, ChannelNormalize, GreyToRGB, Resize

NAMES = ("Mass", "Edema", "Hernia")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def oblong_chain(height: int, width: int, margin: int = 0) -> Chain:
    """A deterministic chain to height x width, cut out of a margin."""
    return Chain(
        (
            Resize(height + 2 * margin, width + 2 * margin),
            CenterCrop(height, width),
            GreyToRGB(),
            ChannelNormalize(MEAN, STD),
        )
    )


def tiny_bundle(architecture: str = "timm:test_resnet", chain: Chain | None = None) -> ModelBundle:
    model, _ = build_classifier(architecture, len(NAMES), weights="random", seed=0)
    return ModelBundle(
        architecture=architecture,
        findings=NAMES,
        preprocessing=chain or oblong_chain(64, 96),
        weights=model.state_dict(),
    )


def patch_picture(
    row: int, column: int, side: int, height: int, width: int
) -> npt.NDArray[np.uint8]:
    """Dark, with a bright square whose upper left corner is (row, column)."""
    pixels = np.full((height, width), 40, np.uint8)
    pixels[row : row + side, column : column + side] = 250
    return pixels


def patch_finder(architecture: str, chain: Chain) -> ModelBundle:
    """A bundle whose first finding is what is bright: its head reads what a patch excites.

    The backbone is random, which keeps place and brightness; the head's first row is the mean
    feature of pictures with a patch minus that of pictures without.
    """
    from hilum.inference import Predictor, embed

    bundle = tiny_bundle(architecture, chain)
    height, width = 64, 96
    with_patch = [patch_picture(r, c, 16, height, width) for r in (8, 40) for c in (8, 40, 72)]
    without = [np.full((height, width), level, np.uint8) for level in (30, 40, 50)]
    predictor = Predictor.load(bundle)
    difference = embed(predictor, with_patch).mean(0) - embed(predictor, without).mean(0)
    weights = dict(bundle.weights)
    head = next(name for name in reversed(list(weights)) if name.endswith(".1.weight"))
    weights[head] = weights[head].clone()
    weights[head][0] = torch.from_numpy(difference / np.linalg.norm(difference))
    return ModelBundle(
        architecture=architecture, findings=NAMES, preprocessing=chain, weights=weights
    )
