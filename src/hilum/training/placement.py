"""Where a run's images lie on each host, and which rank therefore trains which of a step.

"whole": every host has all of them, on a disk it mounts or as a copy of its own; the order of
samples is a function of seed and epoch alone. "part": every host has a share that changes every
epoch, for data larger than a host's disk; the order depends on the number of parts as well, which
a run keeps (`hilum.training.parts`).
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from hilum import storage
from hilum.errors import require
from hilum.training.config import TrainConfig
from hilum.training.local_copies import Hold, local_root, make_room, remove_unused
from hilum.training.part_files import PartFiles
from hilum.training.parts import PartLayout, deal_shards, merge_parts
from hilum.training.sampler import Samples, epoch_order, rank_share
from hilum.training.shards import (
    CacheManifest,
    ImageCache,
    open_cache,
    read_index,
    read_manifest,
)
from hilum.training.staging import stage_cache
from hilum.training.world import World, all_reduce_sum, gather_rows

__all__ = ["PartPlacement", "Placement", "WholePlacement", "open_placement"]

logger = logging.getLogger(__name__)

AGREE_EVERY_S, LOOK_EVERY_S = 1.0, 0.02


class Placement(Protocol):
    """Which images this rank can read, and which of a step are its own."""

    @property
    def cache(self) -> ImageCache:
        """All labels and keys, and the images this host holds."""
        ...

    @property
    def holds_all(self) -> bool:
        """Whether every image can be read on this host, in every epoch."""
        ...

    def enter(self, epoch: int, waiting: Callable[[], None] = lambda: None) -> None:
        """Begin an epoch: all ranks call it, and go on when all have their images.

        Args:
            waiting: called every second while images are on their way.
        """
        ...

    def order(self, epoch: int) -> Samples:
        """Positions of the training images in an epoch's order; of the one that was begun."""
        ...

    def shares(self, samples: Samples) -> list[Samples]:
        """Each rank's part of some samples, in rank order, in the epoch that was begun last."""
        ...

    def filling(self, samples: Samples) -> Samples:
        """Samples this rank can read, to fill up a share that is too small; at least one.

        Args:
            samples: of the step.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePlacement:
    """Every host has every image."""

    cache: ImageCache
    num_ranks: int
    seed: int
    holds_all: bool = True

    def enter(self, epoch: int, waiting: Callable[[], None] = lambda: None) -> None:
        """Nothing: they are all here."""

    def order(self, epoch: int) -> Samples:
        """Shuffled by (seed, epoch)."""
        positions = self.cache.positions("train")
        return positions[epoch_order(len(positions), self.seed, epoch)]

    def shares(self, samples: Samples) -> list[Samples]:
        """Contiguous parts that differ by at most one sample."""
        return [rank_share(samples, rank, self.num_ranks) for rank in range(self.num_ranks)]

    def filling(self, samples: Samples) -> Samples:
        """The step's own samples."""
        return samples


@dataclass(slots=True, kw_only=True)
class PartPlacement:
    """Every host has some shards, others each epoch.

    Attributes:
        layout: parts, and who holds them. host: this rank's host.
        max_epochs: after the last one nothing more is copied.
    """

    world: World
    cache: ImageCache
    files: PartFiles
    layout: PartLayout
    host: int
    seed: int
    max_epochs: int
    holds_all: bool = False
    _part_of_shard: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _epoch: int = -1

    def enter(self, epoch: int, waiting: Callable[[], None] = lambda: None) -> None:
        """Remove the shards of the epoch before, await those of this one, copy the next one's."""
        if epoch == self._epoch:
            return
        following = self.held(epoch + 1) if epoch + 1 < self.max_epochs else frozenset()
        self._part_of_shard, self._epoch = self._deal(epoch), epoch
        self.files.enter(self.held(epoch), following)
        _await_all(self.world, self._wait_for_shards, waiting)

    def order(self, epoch: int) -> Samples:
        """The parts' orders, merged evenly."""
        assert epoch == self._epoch, "the epoch was not entered"
        positions = self.cache.positions("train")
        parts = self._part_of_shard[self.cache.shard_of[positions]]
        return positions[merge_parts(parts, self.seed, epoch)]

    def shares(self, samples: Samples) -> list[Samples]:
        """What each rank's host holds, divided among the ranks of that host."""
        return self.layout.shares(samples, self._part_of_shard[self.cache.shard_of[samples]])

    def filling(self, samples: Samples) -> Samples:
        """Of the step where this host has some, else the first it has."""
        for some in (samples, np.arange(len(self.cache), dtype=np.int64)):
            here = some[self._is_here(some)]
            if len(here):
                return here[:2]
        raise AssertionError("a host without a single image")

    def held(self, epoch: int) -> frozenset[int]:
        """Shards this host holds in an epoch."""
        deal = self._deal(epoch)
        return frozenset(np.flatnonzero(np.isin(deal, self.layout.parts_of(self.host))).tolist())

    def _wait_for_shards(self) -> bool:
        deadline = time.monotonic() + AGREE_EVERY_S
        while (missing := self.files.num_missing()) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
        return missing == 0

    def _deal(self, epoch: int) -> npt.NDArray[np.int64]:
        # Even in training images, which are time, and in all images, which are room.
        count = len(self.cache.manifest.shards)
        train = np.bincount(self.cache.shard_of[self.cache.positions("train")], minlength=count)
        all_images = np.bincount(self.cache.shard_of, minlength=count)
        sizes = train / max(1, train.sum()) + all_images / all_images.sum()
        return deal_shards(sizes, self.layout.num_parts, self.seed, epoch)

    def _is_here(self, samples: Samples) -> npt.NDArray[np.bool_]:
        parts = self._part_of_shard[self.cache.shard_of[samples]]
        return np.isin(parts, self.layout.parts_of(self.host))


@contextmanager
def open_placement(
    world: World,
    config: TrainConfig,
    cache_directory: str,
    run_directory: str,
    root: Path | None = None,
) -> Iterator[Placement]:
    """Bring a run's images to this host as its configuration says; every rank calls this.

    Args:
        root: where local copies lie; by default `local_root()`.
    """
    if config.placement == "part":
        with _open_part(world, config, cache_directory, run_directory, root) as placement:
            yield placement
        return
    if storage.local_path(cache_directory) is not None:
        cache = open_cache(cache_directory, verify=world.local_rank == 0)
        yield WholePlacement(cache=cache, num_ranks=world.num_ranks, seed=config.seed)
        return
    hold = _staged(world, cache_directory, root or local_root())
    try:
        cache = open_cache(str(hold.path), verify=False)
        yield WholePlacement(cache=cache, num_ranks=world.num_ranks, seed=config.seed)
    finally:
        hold.close()


def _staged(world: World, cache_directory: str, root: Path) -> Hold:
    with ThreadPoolExecutor(1, thread_name_prefix="hilum-stage") as pool:
        first = world.local_rank == 0
        future = pool.submit(stage_cache, cache_directory, root, verify=first)

        def is_done() -> bool:
            wait([future], AGREE_EVERY_S)
            if future.done():
                future.result()  # raises what the thread raised
            return future.done()

        _await_all(world, is_done, lambda: None)
        return future.result()


def _await_all(world: World, is_done: Callable[[], bool], waiting: Callable[[], None]) -> None:
    """Wait until all ranks are done, which tell each other every second that they are there.

    A host that copies for an hour would else look dead to those that wait in a collective.

    Args:
        is_done: waits for a second at most.
    """
    ready = 0
    while ready < world.num_ranks:
        ready = int(all_reduce_sum(torch.tensor(float(is_done())), world))
        waiting()


@contextmanager
def _open_part(
    world: World,
    config: TrainConfig,
    cache_directory: str,
    run_directory: str,
    root: Path | None,
) -> Iterator[PartPlacement]:
    root = root or local_root()
    manifest = read_manifest(cache_directory)
    layout = _agreed_layout(world, run_directory)
    host = layout.host_of_rank[world.rank]
    run = hashlib.sha256(run_directory.encode()).hexdigest()[:16]
    require(
        layout.num_parts <= len(manifest.shards),
        "hosts that hold a part of the cache each",
        f"at most as many as it has shards ({len(manifest.shards)})",
        layout.num_parts,
        hint='so small a cache is best kept on every host: placement="whole"',
    )
    if copies := world.local_rank == 0:
        remove_unused(root)
        make_room(root, _room_for_parts(manifest, layout, host), keep="", hint="")
    hold = Hold(root, f"part-{run}-{host}")
    hold.share()
    files = PartFiles(cache_directory, manifest, hold, copies=copies)
    try:
        all_reduce_sum(torch.zeros(1), world)  # what a crash left is gone before anybody reads
        placement = PartPlacement(
            world=world,
            cache=read_index(cache_directory, manifest, files),
            files=files,
            layout=layout,
            host=host,
            seed=config.seed,
            max_epochs=config.max_epochs,
        )
        logger.info("rank=%d host=%d parts=%s", world.rank, host, layout.parts_of(host))
        yield placement
    finally:
        files.close()


def _room_for_parts(manifest: CacheManifest, layout: PartLayout, host: int) -> int:
    """Bytes of one epoch's shards and the next one's, dealt evenly but for one shard."""
    share = len(layout.parts_of(host)) / layout.num_parts
    largest = max(shard.num_images for shard in manifest.shards) / manifest.num_images
    return int(min(1.0, 2 * (share + largest)) * manifest.num_bytes)


def _agreed_layout(world: World, run_directory: str) -> PartLayout:
    """Who is on which host, and the number of parts the run began with."""
    local_ranks = gather_rows(torch.tensor([[world.local_rank]]), [1] * world.num_ranks, world)
    host_of_rank = tuple((local_ranks[:, 0] == 0).cumsum(0).sub(1).tolist())
    url = storage.join(run_directory, "parts.json")
    num_parts = torch.zeros(1)
    if world.is_leader:
        if not storage.exists(url):
            storage.write_json(url, {"num_parts": max(host_of_rank) + 1})
        num_parts += storage.read_json(url)["num_parts"]
    return PartLayout(num_parts=int(all_reduce_sum(num_parts, world)), host_of_rank=host_of_rank)
