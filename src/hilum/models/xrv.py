"""torchxrayvision's DenseNet-121, trained on radiographs, as a network for three equal channels.

Its files are pickled modules, which run code when they are read, so Hilum does not read them. Who
trusts them saves the tensors once, where torchxrayvision is installed, with `three_channels`; the
result is a file like any other, of the architecture "xrv:densenet121".

There pixels are grey, -1024 to 1024, in one channel. Here the mean 0.5 and the deviation 0.5 / 1024
make the same numbers of pixels from 0 to 1, and each of three equal channels meets a third of the
kernel.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from hilum.errors import require

__all__ = ["FINDINGS", "MEAN", "STD", "three_channels"]

MEAN = (0.5, 0.5, 0.5)
STD = (0.5 / 1024,) * 3
FINDINGS = 18
"""Outputs of the published head, as `torchxrayvision.datasets.default_pathologies` names them."""

_STEM = "features.conv0.weight"
_EXTRA = ("op_threshs",)  # of its calibration, no part of the network


def three_channels(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn a state dict of torchxrayvision's DenseNet into one for three equal channels.

    Args:
        state: `torchxrayvision.models.DenseNet(weights="densenet121-res224-all").state_dict()`.

    Raises:
        InvalidValueError: not the state dict of that network.
    """
    stem = state.get(_STEM)
    shape = None if stem is None else tuple(stem.shape)
    require(shape == (64, 1, 7, 7), _STEM, "of shape (64, 1, 7, 7)", shape)
    assert stem is not None
    kept = {name: tensor for name, tensor in state.items() if name not in _EXTRA}
    return kept | {_STEM: torch.cat([stem / 3] * 3, dim=1)}
