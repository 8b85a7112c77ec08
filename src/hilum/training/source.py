"""Where a rank's inputs come from: pixels of the cache, preprocessed on the device."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hilum.training.batches import Batch, prefetch, rank_batches
from hilum.training.config import TrainConfig
from hilum.training.shards import ImageCache
from hilum.training.world import World

__all__ = ["ImageSource", "Source"]

Samples = npt.NDArray[np.int64]


class Source(Protocol):
    """Feeds the part of the network that runs in every step."""

    def batches(self, global_batches: Iterable[Samples]) -> Iterator[Batch]:
        """This rank's shares of global batches; runs in a thread, so no collective in here."""
        ...

    def inputs(self, batch: Batch, epoch: int) -> Tensor:
        """What the trained part of the network takes for a batch, on the device."""
        ...

    def evaluation(self, pieces: Iterable[Samples]) -> Iterator[Tensor]:
        """Inputs of un-augmented images, piece by piece, on the device."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Images (N, C, H, W) float32, channels last: gathered, augmented, normalised."""

    world: World
    config: TrainConfig
    cache: ImageCache
    device: torch.device

    def batches(self, global_batches: Iterable[Samples]) -> Iterator[Batch]:
        """Gather this rank's images of each global batch."""
        return rank_batches(self.cache, global_batches, self.world)

    def inputs(self, batch: Batch, epoch: int) -> Tensor:
        """Augment and normalise; a function of (seed, epoch, sample) alone."""
        images = self.config.preprocessing.suffix(
            batch.images.to(self.device, non_blocking=True),
            seed=self.config.seed,
            epoch=epoch,
            sample_ids=batch.samples,
        )
        return images.contiguous(memory_format=torch.channels_last)

    def evaluation(self, pieces: Iterable[Samples]) -> Iterator[Tensor]:
        """Normalise without augmentation."""
        chain = self.config.preprocessing.suffix.evaluation()
        for images in prefetch(self.cache.gather(piece) for piece in pieces):
            tensor = chain(torch.from_numpy(images).to(self.device))
            yield tensor.contiguous(memory_format=torch.channels_last)
