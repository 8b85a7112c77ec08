"""The pixel cache's format and its reader: fixed-stride uint8 shards behind one manifest.

    CACHE/<fingerprint>/manifest.json            published last, in one step: there or not there
    CACHE/<fingerprint>/build-<id>/shard-*.npy   (N, C, H, W) uint8
    CACHE/<fingerprint>/build-<id>/index.parquet row per image: key, split, labels, weight

Every image has the same number of bytes, so image i is an address, not a search: one core gathers
tens of thousands of them a second, where it decodes a hundred. Two jobs that build at once write
into directories of their own; whoever publishes first is used by both.
"""

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hilum import storage
from hilum.errors import ChecksumError, InvalidValueError
from hilum.training.shard_files import LocalShards, RemoteShards, ShardReader

__all__ = [
    "CacheManifest",
    "ImageCache",
    "ShardFile",
    "is_intact",
    "open_cache",
    "read_index",
    "read_manifest",
    "write_shard",
]

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """One shard on storage: name relative to the cache directory, rows, and its SHA-256."""

    name: str
    num_images: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheManifest:
    """What a cache holds and how to check it.

    Attributes:
        fingerprint: hash of everything the pixels and the index depend on.
        image_shape: (C, H, W) of every image.
        preprocessing: the deterministic chain that made the pixels, as JSON.
        rejected: images left out, by reason code.
    """

    fingerprint: str
    image_shape: tuple[int, int, int]
    num_images: int
    preprocessing: Mapping[str, Any]
    shards: tuple[ShardFile, ...]
    index: ShardFile
    rejected: Mapping[str, int]

    @property
    def num_bytes(self) -> int:
        """Bytes of all pixels."""
        return self.num_images * self.image_bytes

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.image_shape)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "CacheManifest":
        """Read a manifest; one of a newer format is refused."""
        if value.get("format_version") != FORMAT_VERSION:
            raise InvalidValueError(
                f"cache format_version must be {FORMAT_VERSION}. "
                f"Got {value.get('format_version')!r}. "
                "Hint: delete the cache directory to rebuild it."
            )
        fields = {name: value[name] for name in value if name != "format_version"}
        fields["image_shape"] = tuple(fields["image_shape"])
        fields["shards"] = tuple(ShardFile(**shard) for shard in fields["shards"])
        fields["index"] = ShardFile(**fields["index"])
        return CacheManifest(**fields)


def write_shard(url: str, images: npt.NDArray[np.uint8]) -> str:
    """Write (N, C, H, W) uint8 images as one .npy file and return its SHA-256."""
    buffer = io.BytesIO()
    np.save(buffer, images, allow_pickle=False)
    data = buffer.getbuffer()
    storage.write_bytes(url, data)
    return storage.sha256_of(data)


@dataclass(frozen=True, slots=True)
class ImageCache:
    """Images on storage with their labels and splits in memory; rows are sorted by key.

    Attributes:
        keys: one name per image (its origin, if it has one), sorted.
        labels: float32 (image, output), NaN where unknown.
        splits: one split name per image.
        weights: float32 (image,), how much each counts in the loss; 1 where the index holds none.
    """

    manifest: CacheManifest
    shards: ShardReader
    shard_of: npt.NDArray[np.int32]
    row_of: npt.NDArray[np.int32]
    keys: tuple[str, ...]
    labels: npt.NDArray[np.float32]
    splits: npt.NDArray[np.str_]
    weights: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keys)

    def positions(self, split: str) -> npt.NDArray[np.int64]:
        """Positions of the images of one split, int64, ascending."""
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def gather(
        self, samples: npt.NDArray[np.int64], out: npt.NDArray[np.uint8] | None = None
    ) -> npt.NDArray[np.uint8]:
        """Read images (N, C, H, W) uint8, in the order asked for."""
        if out is None:
            out = np.empty((len(samples), *self.manifest.image_shape), dtype=np.uint8)
        shards, rows = self.shard_of[samples].tolist(), self.row_of[samples].tolist()
        for position, (shard, row) in enumerate(zip(shards, rows, strict=True)):
            self.shards.read(shard, row, out[position])
        return out


def open_cache(directory: str, *, verify: bool = True) -> ImageCache:
    """Open a published cache.

    One that lies on this machine, or on a file system it mounts, is read as training needs it.
    From other storage images come one request at a time: for looking at a few.

    Args:
        directory: directory or URL that holds manifest.json.
        verify: compare every file with its SHA-256 first (about 1 GB/s, and it warms the page
            cache that training reads from).

    Raises:
        ChecksumError: a file is missing or its bytes are not those that were written.
    """
    manifest = read_manifest(directory)
    urls = tuple(storage.join(directory, shard.name) for shard in manifest.shards)
    if verify:
        for file in (*manifest.shards, manifest.index):
            _verify(directory, file)
    paths = [path for url in urls if (path := storage.local_path(url)) is not None]
    shards = LocalShards(paths) if len(paths) == len(urls) else RemoteShards(urls)
    return read_index(directory, manifest, shards)


def read_manifest(directory: str) -> CacheManifest:
    """Read what a published cache holds."""
    return CacheManifest.from_json(storage.read_json(storage.join(directory, "manifest.json")))


def read_index(directory: str, manifest: CacheManifest, shards: ShardReader) -> ImageCache:
    """Join a cache's index, from any storage, with a reader of its images."""
    data = storage.read_bytes(storage.join(directory, manifest.index.name))
    index = pq.read_table(io.BytesIO(data))
    return ImageCache(
        manifest=manifest,
        shards=shards,
        shard_of=index["shard"].to_numpy().astype(np.int32),
        row_of=index["row"].to_numpy().astype(np.int32),
        keys=tuple(index["key"].to_pylist()),
        labels=_label_matrix(index["labels"].combine_chunks()),
        splits=np.asarray(index["split"].to_pylist(), dtype=np.str_),
        weights=_weights(index),
    )


def _weights(index: pa.Table) -> npt.NDArray[np.float32]:
    if "weight" not in index.column_names:
        return np.ones(len(index), dtype=np.float32)
    return cast(npt.NDArray[np.float32], index["weight"].to_numpy().astype(np.float32))


def _label_matrix(column: pa.ListArray) -> npt.NDArray[np.float32]:
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return cast(npt.NDArray[np.float32], flat.reshape(len(column), -1))


def is_intact(directory: str, file: ShardFile) -> bool:
    """Whether a file of a cache holds the bytes that were written."""
    return _sha256(storage.join(directory, file.name)) == file.sha256


def _verify(directory: str, file: ShardFile) -> None:
    found = _sha256(url := storage.join(directory, file.name))
    if found != file.sha256:
        raise ChecksumError(
            f"{url} must have SHA-256 {file.sha256}. Got {found}. "
            "Hint: the storage damaged it; delete the cache directory, it will be rebuilt."
        )


def _sha256(url: str) -> str:
    path = storage.local_path(url)
    try:
        if path is None:
            return storage.sha256_of(storage.read_bytes(url))
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "no such file"
