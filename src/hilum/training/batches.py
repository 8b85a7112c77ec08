"""Batches out of the pixel cache, gathered by a thread while the model computes."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hilum.training.placement import Placement

__all__ = ["Batch", "prefetch", "rank_batches"]

Item = TypeVar("Item")

MIN_RANK_IMAGES = 2  # batch norm needs more than one value per channel


@dataclass(frozen=True, slots=True)
class Batch:
    """A rank's share of one global batch.

    Attributes:
        images: what the source gathers for N images: uint8 (N, C, H, W), or where those lie, or
            features (N, ...).
        labels: float32 (N, output), NaN where unknown.
        samples: int64 (N,), the images' positions in the cache.
        weights: float32 (N,), how much each image counts.
        num_real: the first `num_real` rows count; the rest pads a share that would be too small.
        global_labels, global_weights: of the whole global batch, so that every rank can weigh its
            share.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    samples: Tensor
    num_real: int
    global_labels: Tensor
    global_weights: Tensor


def rank_batches(
    placement: Placement,
    rank: int,
    global_batches: Iterable[npt.NDArray[np.int64]],
    gather: Callable[[npt.NDArray[np.int64]], Tensor],
) -> Iterator[Batch]:
    """A rank's share of each global batch (positions in the cache).

    Args:
        gather: what fills `Batch.images`.
    """
    labels, weights = placement.cache.labels, placement.cache.weights
    for samples in global_batches:
        share = padded = placement.shares(samples)[rank]
        if len(share) < MIN_RANK_IMAGES:
            filling = placement.filling(samples)
            padded = np.concatenate([share, filling, filling])[:MIN_RANK_IMAGES]
        yield Batch(
            images=gather(padded),
            labels=torch.from_numpy(labels[padded]),
            weights=torch.from_numpy(weights[padded]),
            samples=torch.from_numpy(padded),
            num_real=len(share),
            global_labels=torch.from_numpy(labels[samples]),
            global_weights=torch.from_numpy(weights[samples]),
        )


def prefetch(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Run an iterator in a thread, at most `depth` items ahead; its errors are raised here."""
    ready: queue.Queue[Item | _Ended] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(
        target=_produce, args=(items, ready, stop), name="hilum-prefetch", daemon=True
    )
    thread.start()
    try:
        while not isinstance(item := ready.get(), _Ended):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _Ended:
    """The last thing in the queue: how the iterator ended."""

    error: BaseException | None = None


def _produce(
    items: Iterable[Item], ready: "queue.Queue[Item | _Ended]", stop: threading.Event
) -> None:
    def put(item: Item | _Ended) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue
        return None

    try:
        for item in items:
            put(item)
            if stop.is_set():
                return
        put(_Ended())
    except BaseException as error:
        put(_Ended(error))
