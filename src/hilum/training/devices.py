"""The device a rank computes on, and how images get there.

On a CPU there is nothing to move: images are read into the batch itself. On a GPU the data set
lies in its memory where it fits; else images go through a ring of page-locked buffers, copied by
a stream of their own while the GPU computes. The augmentation runs where the images are.

The parts that need a GPU are few lines, marked below, and were not run where this was written; the
ring and the resident images run on a CPU too, and that is how they are tested.
"""

import logging
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hilum.errors import MissingDependencyError, require
from hilum.training.dropout import SampleDropout
from hilum.training.placement import Placement
from hilum.training.shards import ImageCache
from hilum.training.world import World

__all__ = [
    "HostImages",
    "Images",
    "ResidentImages",
    "RingImages",
    "choose_device",
    "compile_network",
    "cuda_index",
    "open_images",
]

logger = logging.getLogger(__name__)

Samples = npt.NDArray[np.int64]

RESIDENT_FRACTION = 0.5  # of the device memory that is free once the network is there
RING_SLOTS = 4  # two batches ahead, one in use, one being filled
_LOAD_IMAGES = 256


def choose_device(world: World) -> torch.device:
    """The device of this rank; a CPU's threads and a GPU's context are set on the way.

    A rank takes the GPU that Spark gave its task, else the one of its place on the host.
    """
    if not torch.cuda.is_available():
        # Spark starts Python workers with OMP_NUM_THREADS=1 (SPARK-42613); say what we want.
        torch.set_num_threads(world.num_threads)
        return torch.device("cpu")
    index = cuda_index(
        world.gpu, world.local_rank, torch.cuda.device_count(), os.environ.get(_VISIBLE)
    )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    torch.backends.cudnn.benchmark = True  # image sizes do not change within a run
    logger.info("rank=%d device=%s name=%s", world.rank, device, torch.cuda.get_device_name(device))
    return device


_VISIBLE = "CUDA_VISIBLE_DEVICES"


def cuda_index(address: str | None, local_rank: int, num_devices: int, visible: str | None) -> int:
    """Which of the devices torch sees a rank should use.

    Args:
        address: the GPU Spark gave the task ("3"), None where it manages no GPUs.
        local_rank: the rank's place on its host.
        num_devices: how many torch sees.
        visible: CUDA_VISIBLE_DEVICES; where it is set, torch counts within it.

    Raises:
        InvalidValueError: there are fewer GPUs than ranks on the host.
    """
    if address is not None:
        names = [name.strip() for name in visible.split(",")] if visible else []
        return names.index(address) if address in names else int(address)
    require(
        local_rank < num_devices,
        "ranks of one host",
        f"at most as many as it has GPUs ({num_devices})",
        local_rank + 1,
        hint="set spark.executor.resource.gpu.amount and spark.task.resource.gpu.amount=1, "
        "or lower numRanks",
    )
    return local_rank


class Images(Protocol):
    """Cached images as tensors (N, C, H, W) uint8 on a device."""

    def gather(self, samples: Samples) -> Tensor:
        """Bring images to the device; called by the thread that works ahead."""
        ...

    def ready(self, images: Tensor) -> Tensor:
        """Make sure the images are there; called by the thread that computes with them."""
        ...


@dataclass(frozen=True, slots=True)
class HostImages:
    """Images in host memory, each read into its place in the batch: no copy in between."""

    cache: ImageCache

    def gather(self, samples: Samples) -> Tensor:
        """Read images."""
        return torch.from_numpy(self.cache.gather(samples))

    def ready(self, images: Tensor) -> Tensor:
        """Return them: they are there."""
        return images


class ResidentImages:
    """Images that all lie on the device; a batch is an index, and no byte leaves the host.

    Args:
        positions: of the images that will be asked for, in the cache.
    """

    def __init__(self, cache: ImageCache, positions: Samples, device: torch.device) -> None:
        self._row_of = np.full(len(cache), -1, dtype=np.int64)
        self._row_of[positions] = np.arange(len(positions))
        shape = (len(positions), *cache.manifest.image_shape)
        self._images = torch.empty(shape, dtype=torch.uint8, device=device)
        ring = RingImages(cache, device)
        for at in range(0, len(positions), _LOAD_IMAGES):
            piece = ring.ready(ring.gather(positions[at : at + _LOAD_IMAGES]))
            self._images[at : at + len(piece)] = piece

    def gather(self, samples: Samples) -> Tensor:
        """Name images: their rows, in host memory."""
        rows = self._row_of[samples]
        assert (rows >= 0).all(), "an image that was not loaded"
        return torch.from_numpy(rows)

    def ready(self, images: Tensor) -> Tensor:
        """Pick the rows that `gather` named."""
        return self._images.index_select(0, images.to(self._images.device, non_blocking=True))


class RingImages:
    """Images through a few host buffers that are used again and again.

    A buffer is filled again only when its copy to the device is done, so reading, copying and
    computing overlap and the memory stays what it is.
    """

    def __init__(self, cache: ImageCache, device: torch.device, slots: int = RING_SLOTS) -> None:
        self._cache, self._copies = cache, _Copies(device)
        self._slots: list[_Slot] = [_Slot() for _ in range(slots)]
        self._next = 0
        self._lock = threading.Lock()

    def gather(self, samples: Samples) -> Tensor:
        """Read images into the next buffer and send them on their way."""
        with self._lock:
            slot = self._slots[self._next]
            self._next = (self._next + 1) % len(self._slots)
            buffer = slot.buffer(len(samples), self._cache.manifest.image_shape, self._copies)
            self._cache.gather(samples, buffer.numpy())
            images, slot.copied = self._copies.send(buffer)
        return images

    def ready(self, images: Tensor) -> Tensor:
        """Let the computing stream wait for what is on its way."""
        return self._copies.received(images)


class _Slot:
    """One host buffer, and when its last copy was done."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)
        self.copied: _Event | None = None

    def buffer(self, count: int, shape: Sequence[int], copies: "_Copies") -> Tensor:
        if self.copied is not None:
            self.copied.synchronize()
        num_bytes = count * int(np.prod(shape))
        if self._memory.numel() < num_bytes:
            self._memory = copies.host_memory(num_bytes)
        return self._memory[:num_bytes].view(count, *shape)


class _Event(Protocol):
    def synchronize(self) -> None: ...


class _Copies:
    """Copies from host to device: beside the computation on a GPU, at once on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        on_gpu = device.type == "cuda"
        self._stream: Any = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]

    def host_memory(self, num_bytes: int) -> Tensor:
        return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=self._stream is not None)

    def send(self, buffer: Tensor) -> tuple[Tensor, _Event | None]:
        if self._stream is None:
            return buffer.clone(), None
        with torch.cuda.stream(self._stream):  # needs a GPU
            images = buffer.to(self._device, non_blocking=True)
            event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self._stream)
        return images, event

    def received(self, images: Tensor) -> Tensor:
        if self._stream is not None:  # needs a GPU
            computing = torch.cuda.current_stream(self._device)
            computing.wait_stream(self._stream)
            # Its memory must not be given away while the computing stream still reads it.
            images.record_stream(computing)
        return images


def open_images(placement: Placement, device: torch.device) -> Images:
    """Choose how images reach a device; the network must be there already."""
    cache = placement.cache
    if device.type == "cpu":
        return HostImages(cache)
    positions = np.concatenate([cache.positions("train"), cache.positions("valid")])
    free_bytes, _ = torch.cuda.mem_get_info(device)  # needs a GPU
    num_bytes = len(positions) * cache.manifest.image_bytes
    if placement.holds_all and fits_on_device(num_bytes, free_bytes):
        logger.info("device=%s images=resident bytes=%d free=%d", device, num_bytes, free_bytes)
        return ResidentImages(cache, positions, device)
    logger.info("device=%s images=streamed bytes=%d free=%d", device, num_bytes, free_bytes)
    return RingImages(cache, device)


def fits_on_device(num_bytes: int, free_bytes: int) -> bool:
    """Whether images may take this much of the memory that is free; the rest is for activations."""
    return num_bytes <= RESIDENT_FRACTION * free_bytes


def compile_network(model: nn.Module, device: torch.device) -> None:
    """Let torch.compile translate a network, in place: names of parameters stay.

    Translation happens in the first steps and takes minutes for a large network. Losses differ
    from uncompiled ones in the last digits.

    Raises:
        MissingDependencyError: on a CPU, without a C++ compiler.
    """
    compiler = os.environ.get("CXX", "")
    if device.type == "cpu" and not any(
        map(shutil.which, filter(None, (compiler, "g++", "clang++")))
    ):
        raise MissingDependencyError(
            "compile=True needs a C++ compiler on every host, and none is installed. "
            "Hint: install g++ (Debian: apt-get install g++), or train with compile=False."
        )
    # Its pool of compiling processes would outlive the rank.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    for module in model.modules():
        if isinstance(module, SampleDropout):
            # Its mask is drawn in host memory for named samples: no part of a static graph.
            module.forward = torch.compiler.disable(module.forward)  # type: ignore
    model.compile()
