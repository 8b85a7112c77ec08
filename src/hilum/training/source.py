"""Where a rank's inputs come from: pixels of the cache, preprocessed on the device."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hilum.preprocessing import Chain
from hilum.training.batches import Batch, prefetch, rank_batches
from hilum.training.config import TrainConfig
from hilum.training.devices import Images
from hilum.training.phases import augmentation_epoch
from hilum.training.placement import Placement
from hilum.training.shards import ImageCache
from hilum.training.world import World

__all__ = ["ImageSource", "Inputs", "Source", "arguments"]

Samples = npt.NDArray[np.int64]
Inputs: TypeAlias = Tensor | tuple[Tensor, ...]
"""What a network takes: one argument, or several."""


def arguments(inputs: Inputs) -> tuple[Tensor, ...]:
    """The arguments of a network."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


class Source(Protocol):
    """Feeds the part of the network that runs in every step."""

    def trained_part(self, network: nn.Module) -> nn.Module:
        """The part of a network that takes this source's inputs and returns logits."""
        ...

    def prepare(self, epoch: int, report: Callable[[int, int], None]) -> None:
        """Get ready for an epoch; all ranks call it together before its first batch.

        Args:
            report: told how much is done, of how much, where it takes long.
        """
        ...

    def batches(self, global_batches: Iterable[Samples]) -> Iterator[Batch]:
        """This rank's shares of global batches; runs in a thread, so no collective in here."""
        ...

    def inputs(self, batch: Batch, epoch: int) -> Inputs:
        """What the trained part of the network takes for a batch, on the device."""
        ...

    def evaluation(self, pieces: Iterable[Samples]) -> Iterator[Inputs]:
        """Inputs of un-augmented images, piece by piece, on the device."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Images (N, C, H, W) float32, channels last: gathered, augmented, normalised.

    Attributes:
        placement: which images are this rank's. images: how they reach the device.
        chain: what turns cached pixels into the network's input.
    """

    world: World
    config: TrainConfig
    placement: Placement
    images: Images
    device: torch.device
    chain: Chain

    @property
    def cache(self) -> ImageCache:
        """All labels, and the images of this host."""
        return self.placement.cache

    def trained_part(self, network: nn.Module) -> nn.Module:
        """The whole network."""
        return network

    def prepare(self, epoch: int, report: Callable[[int, int], None]) -> None:
        """Nothing: every image is prepared when it is needed."""

    def batches(self, global_batches: Iterable[Samples]) -> Iterator[Batch]:
        """Gather this rank's images of each global batch."""
        return rank_batches(self.placement, self.world.rank, global_batches, self.images.gather)

    def inputs(self, batch: Batch, epoch: int) -> Tensor:
        """Augment and normalise; a function of (seed, epoch, sample) alone.

        While something is frozen, a few epochs' augmentations take turns (`augmentation_epoch`).
        """
        images = self.chain(
            self.images.ready(batch.images),
            seed=self.config.seed,
            epoch=augmentation_epoch(self.config, epoch),
            sample_ids=batch.samples,
        )
        return images.contiguous(memory_format=torch.channels_last)

    def evaluation(self, pieces: Iterable[Samples]) -> Iterator[Tensor]:
        """Normalise without augmentation."""
        chain = self.chain.evaluation()
        for images in prefetch(self.images.gather(piece) for piece in pieces):
            tensor = chain(self.images.ready(images))
            yield tensor.contiguous(memory_format=torch.channels_last)
