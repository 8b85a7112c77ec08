"""Rows of any columns as a rank's inputs: records of the cache, unpacked on the device."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hilum.inputs import Moment, RowSpec
from hilum.training.batches import Batch, prefetch, rank_batches
from hilum.training.config import TrainConfig
from hilum.training.devices import Images
from hilum.training.phases import augmentation_epoch
from hilum.training.placement import Placement
from hilum.training.shards import ImageCache
from hilum.training.source import Samples
from hilum.training.world import World

__all__ = ["RecordSource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSource:
    """The arguments of a network on any columns, in their order.

    Attributes:
        placement: which rows are this rank's. images: how their records reach the device.
        rows: what lies where in a record.
    """

    world: World
    config: TrainConfig
    placement: Placement
    images: Images
    device: torch.device
    rows: RowSpec

    @property
    def cache(self) -> ImageCache:
        """All labels, and the records of this host."""
        return self.placement.cache

    def trained_part(self, network: nn.Module) -> nn.Module:
        """The whole network."""
        return network

    def prepare(self, epoch: int, report: Callable[[int, int], None]) -> None:
        """Nothing: every record is unpacked when it is needed."""

    def batches(self, global_batches: Iterable[Samples]) -> Iterator[Batch]:
        """Gather this rank's records of each global batch."""
        return rank_batches(self.placement, self.world.rank, global_batches, self.images.gather)

    def inputs(self, batch: Batch, epoch: int) -> tuple[Tensor, ...]:
        """Unpack, and augment images: a function of (seed, epoch, sample) alone."""
        moment = Moment(self.config.seed, augmentation_epoch(self.config, epoch), batch.samples)
        return self.rows.tensors(self.images.ready(batch.images), moment)

    def evaluation(self, pieces: Iterable[Samples]) -> Iterator[tuple[Tensor, ...]]:
        """Unpack without augmentation."""
        for records in prefetch(self.images.gather(piece) for piece in pieces):
            yield self.rows.tensors(self.images.ready(records))
