"""The pixel cache of radiographs: the deterministic part of the preprocessing, run once."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError, RejectedImageError
from hilum.preprocessing import Chain
from hilum.spark.cache_build import (
    SHARD_BYTES,
    build_content,
    index_batch,
    is_weight,
    split_column,
    weight_column,
    write_rows,
)
from hilum.spark.image_struct import grey_pixels
from hilum.spark.worker_process import spare_the_collector
from hilum.training.shards import ImageCache

__all__ = ["FILE_IDENTITY", "CacheColumns", "ImageContent", "build_cache"]

logger = logging.getLogger(__name__)

SPOT_CHECK_IMAGES = 4
FILE_IDENTITY = ("path", "length", "modification_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheColumns:
    """Names of the columns a cache is built from.

    Without `split` every image trains, without `weight` all count alike.
    """

    image: str
    labels: str
    split: str | None
    weight: str | None = None


def build_cache(data: DataFrame, columns: CacheColumns, prefix: Chain, directory: str) -> str:
    """Return the directory of a cache of `data`, building it unless an equal one is there.

    Args:
        columns: image structs, label arrays (null elements are unknown), split names and weights.
        prefix: the deterministic chain that is run once, uint8 (N, C, H, W) to uint8.
        directory: where caches live; shared by all executors and the driver.

    Returns:
        `directory/<fingerprint>`. Images that are null or unreadable are left out and counted by
        reason in the manifest, as are rows whose weight is null, negative or not finite
        (`bad_weight`); rows whose split is null are left out.
    """
    return build_content(data, ImageContent(columns=columns, prefix=prefix), directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContent:
    """Images through the prefix of a chain, as the content of a cache."""

    columns: CacheColumns
    prefix: Chain
    noun: str = "image"
    hint: str = "`hilum ingest DIR` lists every file with its reason."
    has_labels: bool = True

    def rows(self, data: DataFrame) -> DataFrame:
        """Images, labels, splits, weights where there are some, and why there is no image."""
        reason = F.col("reason") if "reason" in data.columns else F.lit(None).cast("string")
        weight = self.columns.weight
        selected = data.select(
            F.col(self.columns.image).alias("image"),
            _label_array(data, self.columns).alias("labels"),
            split_column(self.columns.split).alias("split"),
            reason.alias("reason"),
            *([] if weight is None else [weight_column(weight).alias("weight")]),
        )
        return selected.filter("split is not null")

    def identity(self, data: DataFrame) -> Sequence[Column]:
        """Image files are known by path, length and modification time.

        Frames from elsewhere have no such columns; there the pixels themselves are hashed.
        """
        known_files = set(FILE_IDENTITY) <= set(data.columns)
        identity = FILE_IDENTITY if known_files else (self.columns.image,)
        # As text, because a hash skips nulls: [null, 1] and [1, null] would be one.
        labels = _label_array(data, self.columns).cast("string")
        parts = [*map(F.col, identity), labels, split_column(self.columns.split)]
        if self.columns.weight is not None:
            # Bad weights must not find the cache of a table without weights.
            weights = weight_column(self.columns.weight).cast("string")
            parts.append(F.coalesce(weights, F.lit("null")))
        return parts

    def write(self, batches: Iterable[pa.RecordBatch], target: str) -> Iterator[pa.RecordBatch]:
        """Runs in a task: image rows in, shard files beside, index rows out."""
        return _write_shards(batches, target=target, prefix=self.prefix)

    def holds(self, opened: ImageCache, data: DataFrame) -> bool:
        """Whether a few images, made afresh, equal those of a cache.

        This catches what file names and times cannot show: another decoder version, or a user's
        own function between reading and training.
        """
        return _is_current(opened, self, data)

    def to_json(self) -> dict[str, Any]:
        """The prefix."""
        return self.prefix.to_json()


def _label_array(data: DataFrame, columns: CacheColumns) -> Column:
    column = F.col(columns.labels)
    kind = data.schema[columns.labels].dataType.typeName()
    return (column if kind == "array" else F.array(column)).cast("array<float>")


def _is_current(opened: ImageCache, content: ImageContent, data: DataFrame) -> bool:
    positions = {key: position for position, key in enumerate(opened.keys)}
    selected = content.rows(data)
    if content.columns.weight is not None:
        selected = selected.filter("weight >= 0 and weight < double('infinity')")
    sample = selected.select("image").limit(SPOT_CHECK_IMAGES).collect()
    for row in sample:
        image = row["image"].asDict() if row["image"] is not None else None
        if image is None:
            continue
        name = _name(image)
        position = positions.get(name)
        if position is None:
            return False
        cached = opened.gather(np.array([position]))[0]
        fresh = _prefixed(image, content.prefix)
        if fresh.shape != cached.shape or not np.array_equal(fresh, cached):
            logger.warning("state=stale image=%s", name)
            return False
    return True


def _name(image: dict[str, Any]) -> str:
    """The origin, or a digest of the pixels of an image that has none: the same in every run."""
    return image.get("origin") or hashlib.sha256(image["data"] or b"").hexdigest()


def _prefixed(image: dict[str, Any], prefix: Chain) -> npt.NDArray[np.uint8]:
    import torch  # late: only workers that build a cache need it

    pixels = torch.from_numpy(grey_pixels(image).copy())[None, None]
    return cast(npt.NDArray[np.uint8], prefix(pixels)[0].numpy())


def _write_shards(
    batches: Iterable[pa.RecordBatch], *, target: str, prefix: Chain
) -> Iterator[pa.RecordBatch]:
    """Runs in a task: image rows in, shard files beside, index rows out."""
    images: list[npt.NDArray[np.uint8]] = []
    rows: list[dict[str, Any]] = []
    for batch in batches:
        for record in batch.to_pylist():
            row = {name: record.get(name) for name in ("split", "labels", "weight")}
            image = record["image"]
            try:
                if image is None:
                    raise RejectedImageError(record["reason"] or "no_pixels")
                if "weight" in record and not is_weight(record["weight"]):
                    raise RejectedImageError("bad_weight")
                images.append(_prefixed(image, prefix))
                rows.append({**row, "key": _name(image)})
            except RejectedImageError as rejection:
                yield index_batch([{**row, "reason": rejection.reason}])
            if images and (
                images[-1].shape != images[0].shape or len(images) * images[0].nbytes >= SHARD_BYTES
            ):
                yield _flush(images, rows, target)
                images, rows = [], []
        spare_the_collector()
    if images:
        yield _flush(images, rows, target)


def _flush(
    images: list[npt.NDArray[np.uint8]], rows: list[dict[str, Any]], target: str
) -> pa.RecordBatch:
    shapes = Counter(image.shape for image in images)
    if len(shapes) > 1:
        raise InvalidValueError(
            f"all cached images must have one shape. Got {sorted(shapes)}. "
            "Hint: put Resize(height, width) first in the preprocessing chain."
        )
    return write_rows(np.stack(images), rows, target)
