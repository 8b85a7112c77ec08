"""Dropout whose mask belongs to the sample, not to the process.

torch draws dropout from the process's generator, so the masks change with the number of ranks and
are lost on restart. Here a mask is a function of (seed, epoch, sample, layer, unit), as the
augmentation is: 1, 2 or 4 ranks train the same network, and resuming needs no generator state.
"""

import torch
from torch import Tensor, nn

from hilum.preprocessing import uniform_draws

__all__ = ["SampleDropout", "seed_dropout", "use_sample_dropout"]

FIRST_LAYER = 1_000_000  # draw streams far away from those of the preprocessing steps


class SampleDropout(nn.Module):
    """Inverted dropout (Srivastava et al. 2014) with one reproducible mask per sample.

    `seed_dropout` must have named the N samples of the batch. They are the first dimension of that
    size, or lie one after the other in the first dimension, as words do in a flattened batch. Where
    there is neither, one mask of the first sample's is for all: it can be repeated, but differs
    with the number of ranks.
    """

    def __init__(self, probability: float, layer: int) -> None:
        super().__init__()
        self.probability = probability
        self.layer = layer
        self.seed, self.epoch = 0, 0
        self.samples: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Drop units in training mode; the identity in evaluation mode."""
        if not self.training or self.probability == 0.0:
            return features
        assert self.samples is not None, "seed_dropout comes first"
        draws = self._draws(self.samples, features.shape)
        keep = (draws >= self.probability).to(features.device)
        scale = 1.0 / (1.0 - self.probability)
        return features * keep.to(features.dtype).mul_(scale)

    def _draws(self, samples: Tensor, shape: torch.Size) -> Tensor:
        """Numbers of this shape, those of a sample where the sample is."""
        at, sizes = 0, list(shape)
        if len(samples) in sizes:
            at = sizes.index(len(samples))
            sizes.insert(0, sizes.pop(at))
        elif not sizes or sizes[0] % len(samples):
            samples = samples[:1]
        units = shape.numel() // len(samples)
        draws = uniform_draws(self.seed, self.epoch, samples, step=self.layer, num_draws=units)
        return draws.view(sizes).movedim(0, at) if sizes else draws.view(())


def use_sample_dropout(model: nn.Module) -> None:
    """Replace every nn.Dropout of a model, in place; parameter names stay."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Dropout
    ]
    for layer, (parent, name, child) in enumerate(found, start=FIRST_LAYER):
        setattr(parent, name, SampleDropout(child.p, layer))


def seed_dropout(model: nn.Module, seed: int, epoch: int, samples: Tensor) -> None:
    """Name the samples (N,) of the batch that comes next."""
    for module in model.modules():
        if isinstance(module, SampleDropout):
            module.seed, module.epoch, module.samples = seed, epoch, samples
