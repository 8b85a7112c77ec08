"""Building any cache with Spark: an ordinary, retryable job that runs once.

Each task writes shards under names nobody else uses; the driver collects one index row per record
and publishes the manifest in one step. So a retried or speculated task, a second job or a crash
leaves at most files that nothing names.
"""

import hashlib
import io
import json
import logging
import math
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.training.shards import CacheManifest, ImageCache, ShardFile, open_cache, write_shard

__all__ = [
    "SHARD_BYTES",
    "CacheContent",
    "build_content",
    "index_batch",
    "is_weight",
    "split_column",
    "weight_column",
    "write_rows",
]

logger = logging.getLogger(__name__)

SHARD_BYTES = 64 * 2**20

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


class CacheContent(Protocol):
    """What a cache holds of a DataFrame. It travels to the tasks, so it is small and picklable."""

    @property
    def noun(self) -> str:
        """What a record is: "image", "row"."""
        ...

    @property
    def hint(self) -> str:
        """What to look at where every record was rejected."""
        ...

    @property
    def has_labels(self) -> bool:
        """Whether every record has at least one label."""
        ...

    def rows(self, data: DataFrame) -> DataFrame:
        """What `write` reads; rows without a split are left out."""
        ...

    def identity(self, data: DataFrame) -> Sequence[Column]:
        """What tells one row from another, by a query that decodes nothing where it can be."""
        ...

    def write(self, batches: Iterable[pa.RecordBatch], target: str) -> Iterator[pa.RecordBatch]:
        """In a task: shard files beside (`write_rows`), index rows out (`index_batch`)."""
        ...

    def holds(self, opened: ImageCache, data: DataFrame) -> bool:
        """Whether a few records, made afresh, equal those of a published cache."""
        ...

    def to_json(self) -> dict[str, Any]:
        """How records are made of rows."""
        ...


def build_content(data: DataFrame, content: CacheContent, directory: str) -> str:
    """Return the directory of a cache of `data`, building it unless an equal one is there.

    Args:
        directory: where caches live; shared by all executors and the driver.
    """
    fingerprint = _fingerprint(data, content)
    cache = storage.join(directory, fingerprint)
    before = _published(cache)
    if before is not None and content.holds(open_cache(cache, verify=False), data):
        logger.info("cache=%s state=reused", cache)
        return cache
    build = f"build-{uuid.uuid4().hex[:12]}"
    try:
        task = partial(_write, content=content, target=storage.join(cache, build))
        index = content.rows(data).mapInArrow(cast(Any, task), _INDEX_DDL).toArrow()
        manifest = _manifest(index, fingerprint, content, cache, build)
    except BaseException as error:
        storage.delete_tree(storage.join(cache, build))
        raise _own_words(error) from None
    if _published(cache) == before:
        storage.write_json(storage.join(cache, "manifest.json"), manifest.to_json())
    else:  # another job published the same cache while this one was building
        storage.delete_tree(storage.join(cache, build))
    logger.info("cache=%s state=built %ss=%d", cache, content.noun, manifest.num_images)
    return cache


def _write(
    batches: Iterable[pa.RecordBatch], *, content: CacheContent, target: str
) -> Iterator[pa.RecordBatch]:
    yield from content.write(batches, target)


def split_column(name: str | None) -> Column:
    """Names of splits; without a column every row trains."""
    return F.lit("train") if name is None else F.col(name).cast("string")


def weight_column(name: str) -> Column:
    """Row weights as doubles."""
    return F.col(name).cast("double")


def is_weight(value: float | None) -> bool:
    """Whether a row may weigh this much."""
    return value is not None and 0 <= value < math.inf


def write_rows(
    records: npt.NDArray[np.uint8], rows: Sequence[Mapping[str, Any]], target: str
) -> pa.RecordBatch:
    """Write one shard of records (N, C, H, W) and return its index rows.

    Args:
        rows: key, split, labels and weight of each.
    """
    name = f"shard-{uuid.uuid4().hex}.npy"
    digest = write_shard(storage.join(target, name), records)
    shape = list(records.shape[1:])
    return index_batch(
        [
            {**row, "shard": name, "row": position, "sha256": digest, "shape": shape}
            for position, row in enumerate(rows)
        ]
    )


def index_batch(rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Index rows; of a rejected one only split, labels, weight and reason."""
    return pa.RecordBatch.from_pylist(list(rows), schema=_INDEX)


def _own_words(error: BaseException) -> BaseException:
    """The InvalidValueError that a task raised, out of what Spark wraps around it."""
    match = re.search(r"hilum\.errors\.InvalidValueError: (.*)", str(error))
    return InvalidValueError(match.group(1)) if match else error


def _fingerprint(data: DataFrame, content: CacheContent) -> str:
    """Hash of what the cache depends on."""
    rows = data.select(F.xxhash64(*content.identity(data)).alias("hash"))
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
    text = json.dumps([count, str(total), parity, content.to_json()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _published(cache: str) -> bytes | None:
    manifest = storage.join(cache, "manifest.json")
    return storage.read_bytes(manifest) if storage.exists(manifest) else None


def _manifest(
    index: pa.Table, fingerprint: str, content: CacheContent, cache: str, build: str
) -> CacheManifest:
    records = index.to_pylist()
    rejected = Counter(record["reason"] for record in records if record["shard"] is None)
    kept = sorted((r for r in records if r["shard"] is not None), key=_by("key"))
    if not kept:
        raise InvalidValueError(
            f"at least one {content.noun} must be readable. Got {len(records)} rows, all "
            f"rejected: {dict(rejected)}. Hint: {content.hint}"
        )
    _check_consistent(kept, content)
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
        preprocessing=content.to_json(),
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


def _check_consistent(records: list[dict[str, Any]], content: CacheContent) -> None:
    shapes = sorted({tuple(record["shape"]) for record in records})
    if len(shapes) > 1:
        raise InvalidValueError(
            f"all cached images must have one shape. Got {shapes}. "
            "Hint: put Resize(height, width) first in the preprocessing chain."
        )
    widths = sorted({len(record["labels"] or ()) for record in records})
    if len(widths) > 1 or (widths == [0] and content.has_labels):
        raise InvalidValueError(
            f"every label array must have the same number of elements, at least one. Got {widths}. "
            "Hint: an unknown label is a null element, not a shorter array."
        )


def _by(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda record: record[name]
