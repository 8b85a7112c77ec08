"""A pixel cache in memory, for benchmarks that are not about storage."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hilum.training import CacheManifest, ImageCache
from hilum.training.shards import ShardFile

__all__ = ["random_cache"]


@dataclass(frozen=True, slots=True)
class MemoryShards:
    """One shard (N, C, H, W) uint8 that lies in memory."""

    pixels: npt.NDArray[np.uint8]

    def read(self, shard: int, row: int, out: npt.NDArray[np.uint8]) -> None:
        """Copy an image."""
        out[...] = self.pixels[row]


def random_cache(num_images: int, size_px: int, num_outputs: int) -> ImageCache:
    """Grey images of noise with labels by chance, all of them for training."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (num_images, 1, size_px, size_px), dtype=np.uint8)
    manifest = CacheManifest(
        fingerprint="random",
        image_shape=(1, size_px, size_px),
        num_images=num_images,
        preprocessing={},
        shards=(),
        index=ShardFile(name="", num_images=0, sha256=""),
        rejected={},
    )
    return ImageCache(
        manifest=manifest,
        shards=MemoryShards(pixels),
        shard_of=np.zeros(num_images, np.int32),
        row_of=np.arange(num_images, dtype=np.int32),
        keys=tuple(str(i) for i in range(num_images)),
        labels=generator.integers(0, 2, (num_images, num_outputs)).astype(np.float32),
        splits=np.full(num_images, "train"),
        weights=np.ones(num_images, np.float32),
    )
