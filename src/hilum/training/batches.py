"""Batches out of the pixel cache, gathered by a thread while the model computes."""

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hilum.training.sampler import rank_share
from hilum.training.shards import ImageCache
from hilum.training.world import World

__all__ = ["Batch", "prefetch", "rank_batches"]

Item = TypeVar("Item")

MIN_RANK_IMAGES = 2  # batch norm needs more than one value per channel


@dataclass(frozen=True, slots=True)
class Batch:
    """A rank's share of one global batch.

    Attributes:
        images: uint8 (N, C, H, W). labels: float32 (N, output), NaN where unknown.
        samples: int64 (N,), the images' positions in the cache.
        num_real: the first `num_real` rows count; the rest pads a share that would be too small.
        global_labels: labels of the whole global batch, so that every rank can weigh its share.
    """

    images: Tensor
    labels: Tensor
    samples: Tensor
    num_real: int
    global_labels: Tensor


def rank_batches(
    cache: ImageCache, global_batches: Iterable[npt.NDArray[np.int64]], world: World
) -> Iterator[Batch]:
    """This rank's share of each global batch (positions in the cache)."""
    for samples in global_batches:
        share = rank_share(samples, world.rank, world.num_ranks)
        padded = np.concatenate([share, samples, samples])[: max(len(share), MIN_RANK_IMAGES)]
        yield Batch(
            images=torch.from_numpy(cache.gather(padded)),
            labels=torch.from_numpy(cache.labels[padded]),
            samples=torch.from_numpy(padded),
            num_real=len(share),
            global_labels=torch.from_numpy(cache.labels[samples]),
        )


def prefetch(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Run an iterator in a thread, at most `depth` items ahead; its errors are raised here."""
    ready: queue.Queue[tuple[str, Item | BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(kind: str, value: Item | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=produce, name="hilum-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value  # type: ignore[misc]
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
