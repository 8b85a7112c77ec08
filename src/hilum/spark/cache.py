"""Building the pixel cache with Spark: an ordinary, retryable job that runs once.

Each task runs the deterministic part of the preprocessing and writes shards under names nobody
else uses; the driver collects one index row per image and publishes the manifest in one step.
So a retried or speculated task, a second job or a crash leaves at most files that nothing names.
"""

import hashlib
import io
import json
import logging
import math
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from hilum import storage
from hilum.errors import InvalidValueError, RejectedImageError
from hilum.preprocessing import Chain
from hilum.spark.image_struct import grey_pixels
from hilum.spark.worker_process import spare_the_collector
from hilum.training.shards import CacheManifest, ShardFile, open_cache, write_shard

__all__ = ["CacheColumns", "build_cache"]

logger = logging.getLogger(__name__)

SHARD_BYTES = 64 * 2**20
SPOT_CHECK_IMAGES = 4
FILE_IDENTITY = ("path", "length", "modification_time")

_INDEX = pa.schema(
    [
        ("key", pa.string()),
        ("split", pa.string()),
        ("labels", pa.list_(pa.float32())),
        ("shard", pa.string()),
        ("row", pa.int32()),
        ("sha256", pa.string()),
        ("shape", pa.list_(pa.int32())),
        ("reason", pa.string()),
        ("weight", pa.float64()),
    ]
)
_INDEX_DDL = (
    "key string, split string, labels array<float>, shard string, row int, sha256 string, "
    "shape array<int>, reason string, weight double"
)


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
    fingerprint = _fingerprint(data, columns, prefix)
    cache = storage.join(directory, fingerprint)
    if _is_current(cache, data, columns, prefix):
        logger.info("cache=%s state=reused", cache)
        return cache
    before = _published(cache)
    build = f"build-{uuid.uuid4().hex[:12]}"
    try:
        index = (
            _selected(data, columns)
            .mapInArrow(
                cast(Any, partial(_write_shards, target=storage.join(cache, build), prefix=prefix)),
                _INDEX_DDL,
            )
            .toArrow()
        )
        manifest = _manifest(index, fingerprint, prefix, cache, build)
    except BaseException as error:
        storage.delete_tree(storage.join(cache, build))
        raise _own_words(error) from None
    if _published(cache) == before:
        storage.write_json(storage.join(cache, "manifest.json"), manifest.to_json())
    else:  # another job published the same cache while this one was building
        storage.delete_tree(storage.join(cache, build))
    logger.info("cache=%s state=built images=%d", cache, manifest.num_images)
    return cache


def _own_words(error: BaseException) -> BaseException:
    """The InvalidValueError that a task raised, out of what Spark wraps around it."""
    match = re.search(r"hilum\.errors\.InvalidValueError: (.*)", str(error))
    return InvalidValueError(match.group(1)) if match else error


def _selected(data: DataFrame, columns: CacheColumns) -> DataFrame:
    reason = F.col("reason") if "reason" in data.columns else F.lit(None).cast("string")
    selected = data.select(
        F.col(columns.image).alias("image"),
        _label_array(data, columns).alias("labels"),
        _split(columns).alias("split"),
        reason.alias("reason"),
        *([] if columns.weight is None else [_weight(columns).alias("weight")]),
    )
    return selected.filter("split is not null")


def _label_array(data: DataFrame, columns: CacheColumns) -> Column:
    column = F.col(columns.labels)
    kind = data.schema[columns.labels].dataType.typeName()
    return (column if kind == "array" else F.array(column)).cast("array<float>")


def _weight(columns: CacheColumns) -> Column:
    return F.col(str(columns.weight)).cast("double")


def _split(columns: CacheColumns) -> Column:
    return F.lit("train") if columns.split is None else F.col(columns.split).cast("string")


def _fingerprint(data: DataFrame, columns: CacheColumns, prefix: Chain) -> str:
    """Hash of what the cache depends on, by a query that decodes no pixel where files are known.

    Image files are identified by path, length and modification time. Frames from elsewhere have
    no such columns; there the pixels themselves are hashed.
    """
    known_files = set(FILE_IDENTITY) <= set(data.columns)
    identity = FILE_IDENTITY if known_files else (columns.image,)
    # As text, because a hash skips nulls: [null, 1] and [1, null] would be one.
    labels = _label_array(data, columns).cast("string")
    parts = [*identity, labels, _split(columns)]
    if columns.weight is not None:
        # A hash skips nulls, and bad weights must not find the cache of a table without weights.
        parts.append(F.coalesce(_weight(columns).cast("string"), F.lit("null")))
    rows = data.select(F.xxhash64(*parts).alias("hash"))
    count, total, parity = cast(
        tuple[int, object, int],
        rows.agg(
            F.count("hash"), F.sum(F.col("hash").cast("decimal(38,0)")), F.bit_xor("hash")
        ).first(),
    )
    if count == 0:
        raise InvalidValueError(
            "the DataFrame to train on must have rows. Got none. "
            "Hint: after a join on file_name, compare a few names of both sides."
        )
    text = json.dumps([count, str(total), parity, prefix.to_json()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _published(cache: str) -> bytes | None:
    manifest = storage.join(cache, "manifest.json")
    return storage.read_bytes(manifest) if storage.exists(manifest) else None


def _is_current(cache: str, data: DataFrame, columns: CacheColumns, prefix: Chain) -> bool:
    """Whether a published cache is there and a few images, made afresh, equal its own.

    The comparison catches what file names and times cannot show: another decoder version, or a
    user's own function between reading and training.
    """
    if _published(cache) is None:
        return False
    opened = open_cache(cache, verify=False)
    positions = {key: position for position, key in enumerate(opened.keys)}
    selected = _selected(data, columns)
    if columns.weight is not None:
        selected = selected.filter("weight >= 0 and weight < double('infinity')")
    sample = selected.select("image").limit(SPOT_CHECK_IMAGES).collect()
    for row in sample:
        image = row["image"].asDict() if row["image"] is not None else None
        if image is None:
            continue
        position = positions.get(image["origin"])
        if position is None:
            return False
        cached = opened.gather(np.array([position]))[0]
        fresh = _prefixed(image, prefix)
        if fresh.shape != cached.shape or not np.array_equal(fresh, cached):
            logger.warning("cache=%s state=stale image=%s", cache, image["origin"])
            return False
    return True


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
                if "weight" in record and not _is_weight(record["weight"]):
                    raise RejectedImageError("bad_weight")
                images.append(_prefixed(image, prefix))
                rows.append({**row, "key": image["origin"]})
            except RejectedImageError as rejection:
                yield _index_batch([{**row, "reason": rejection.reason}])
            if images and (
                images[-1].shape != images[0].shape or len(images) * images[0].nbytes >= SHARD_BYTES
            ):
                yield _flush(images, rows, target)
                images, rows = [], []
        spare_the_collector()
    if images:
        yield _flush(images, rows, target)


def _is_weight(value: float | None) -> bool:
    return value is not None and 0 <= value < math.inf


def _flush(
    images: list[npt.NDArray[np.uint8]], rows: list[dict[str, Any]], target: str
) -> pa.RecordBatch:
    shapes = Counter(image.shape for image in images)
    if len(shapes) > 1:
        raise InvalidValueError(
            f"all cached images must have one shape. Got {sorted(shapes)}. "
            "Hint: put Resize(height, width) first in the preprocessing chain."
        )
    name = f"shard-{uuid.uuid4().hex}.npy"
    digest = write_shard(storage.join(target, name), np.stack(images))
    shape = list(images[0].shape)
    return _index_batch(
        [
            {**row, "shard": name, "row": position, "sha256": digest, "shape": shape}
            for position, row in enumerate(rows)
        ]
    )


def _index_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=_INDEX)


def _manifest(
    index: pa.Table, fingerprint: str, prefix: Chain, cache: str, build: str
) -> CacheManifest:
    records = index.to_pylist()
    rejected = Counter(record["reason"] for record in records if record["shard"] is None)
    kept = sorted((r for r in records if r["shard"] is not None), key=_by("key"))
    if not kept:
        raise InvalidValueError(
            f"at least one image must be readable. Got {len(records)} rows, all rejected: "
            f"{dict(rejected)}. Hint: `hilum ingest DIR` lists every file with its reason."
        )
    _check_consistent(kept)
    shards: dict[str, tuple[int, str]] = {}
    for record in kept:
        count = shards.get(record["shard"], (0, ""))[0]
        shards[record["shard"]] = (count + 1, record["sha256"])
    order = {name: position for position, name in enumerate(sorted(shards))}
    table = pa.table(
        {
            "key": [record["key"] for record in kept],
            "split": [record["split"] for record in kept],
            "labels": pa.array([r["labels"] for r in kept], type=pa.list_(pa.float32())),
            "shard": pa.array([order[record["shard"]] for record in kept], type=pa.int32()),
            "row": pa.array([record["row"] for record in kept], type=pa.int32()),
        }
    )
    weights = pa.array([record["weight"] for record in kept], type=pa.float32())
    if weights.null_count == 0:  # an index without weights is that of a cache without them
        table = table.append_column("weight", weights)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    storage.write_bytes(storage.join(cache, build, "index.parquet"), buffer.getvalue())
    return CacheManifest(
        fingerprint=fingerprint,
        image_shape=tuple(kept[0]["shape"]),
        num_images=len(kept),
        preprocessing=prefix.to_json(),
        shards=tuple(
            ShardFile(name=f"{build}/{name}", num_images=shards[name][0], sha256=shards[name][1])
            for name in sorted(shards)
        ),
        index=ShardFile(
            name=f"{build}/index.parquet",
            num_images=len(kept),
            sha256=storage.sha256_of(buffer.getvalue()),
        ),
        rejected=dict(rejected),
    )


def _check_consistent(records: list[dict[str, Any]]) -> None:
    shapes = sorted({tuple(record["shape"]) for record in records})
    if len(shapes) > 1:
        raise InvalidValueError(
            f"all cached images must have one shape. Got {shapes}. "
            "Hint: put Resize(height, width) first in the preprocessing chain."
        )
    widths = sorted({len(record["labels"] or ()) for record in records})
    if len(widths) > 1 or widths == [0]:
        raise InvalidValueError(
            f"every label array must have the same number of elements, at least one. Got {widths}. "
            "Hint: an unknown label is a null element, not a shorter array."
        )


def _by(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda record: record[name]
