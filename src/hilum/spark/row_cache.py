"""The cache of rows of any columns: every row's inputs, packed into one record of bytes."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from hilum.inputs import RowSpec
from hilum.spark import cache_build
from hilum.spark.cache_build import (
    index_batch,
    is_weight,
    split_column,
    weight_column,
    write_rows,
)
from hilum.spark.row_columns import RowColumns, readable
from hilum.spark.worker_process import spare_the_collector
from hilum.training.shards import ImageCache

__all__ = ["RowContent", "selected_rows"]

SPOT_CHECK_ROWS = 4


def selected_rows(data: DataFrame, columns: RowColumns) -> DataFrame:
    """The columns of a run under names of their own: `input_N`, `label_N`, `split`, `weight`."""
    return data.select(
        *(readable(data, name).alias(f"input_{i}") for i, name in enumerate(columns.features)),
        *(readable(data, name).alias(f"label_{i}") for i, name in enumerate(columns.labels)),
        split_column(columns.split).alias("split"),
        *([] if columns.weight is None else [weight_column(columns.weight).alias("weight")]),
    ).filter("split is not null")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowContent:
    """Rows as records, as the content of a cache. Bad rows are left out, with a reason."""

    columns: RowColumns
    spec: RowSpec
    noun: str = "row"
    hint: str = "the reasons are those of hilum.inputs.ROW_REASONS."

    @property
    def has_labels(self) -> bool:
        """Not where the network learns its inputs."""
        return bool(self.columns.labels)

    def rows(self, data: DataFrame) -> DataFrame:
        """Inputs, labels, split and weight."""
        return selected_rows(data, self.columns)

    def identity(self, data: DataFrame) -> Sequence[Column]:
        """All that is read. A hash skips nulls, so where they are is part of it."""
        columns = self.columns
        features = [F.col(name) for name in columns.features]
        # As text, because of nulls inside.
        labels = [readable(data, name).cast("string") for name in columns.labels]
        weights = [] if columns.weight is None else [F.col(columns.weight)]
        hashed = [*features, *labels, *weights]
        return [*hashed, *(part.isNull() for part in hashed), split_column(columns.split)]

    def write(self, batches: Iterable[pa.RecordBatch], target: str) -> Iterator[pa.RecordBatch]:
        """Runs in a task: rows in, shard files beside, index rows out."""
        records = np.zeros((0, self.spec.record_bytes), dtype=np.uint8)
        rows: list[dict[str, Any]] = []
        full = max(1, cache_build.SHARD_BYTES // self.spec.record_bytes)
        for batch in batches:
            more, good, bad = self._packed(batch)
            if bad:
                yield index_batch(bad)
            records, rows = np.concatenate([records, more]), rows + good
            while len(rows) >= full:
                yield write_rows(_shard(records[:full]), rows[:full], target)
                records, rows = records[full:], rows[full:]
            spare_the_collector()
        if rows:
            yield write_rows(_shard(records), rows, target)

    def holds(self, opened: ImageCache, data: DataFrame) -> bool:
        """Whether a few rows, packed afresh, are in the cache: their keys are their contents."""
        keys = set(opened.keys)
        sample = self.rows(data).limit(SPOT_CHECK_ROWS).toArrow()
        fresh = (self._packed(batch)[1] for batch in sample.combine_chunks().to_batches())
        return all(row["key"] in keys for rows in fresh for row in rows)

    def to_json(self) -> dict[str, Any]:
        """The inputs and targets."""
        spec = self.spec.to_json()
        return {name: spec[name] for name in ("inputs", "targets")}

    def _packed(
        self, batch: pa.RecordBatch
    ) -> tuple[npt.NDArray[np.uint8], list[dict[str, Any]], list[dict[str, Any]]]:
        """Records of the good rows, their index rows, and the index rows of the bad ones."""
        named = dict(zip(batch.schema.names, batch.columns, strict=True))
        records, reasons = self.spec.pack([named[f"input_{i}"] for i in self._numbers("features")])
        labels, bad_labels = self.spec.read_labels(
            [named[f"label_{i}"] for i in self._numbers("labels")]
        )
        weights = named["weight"].to_pylist() if "weight" in named else None
        splits = named["split"].to_pylist()
        good, bad, kept = [], [], []
        for at, split in enumerate(splits):
            reason = reasons[at] or (bad_labels[at] if len(labels) else None)
            weight = None if weights is None else weights[at]
            if reason is None and weights is not None and not is_weight(weight):
                reason = "bad_weight"
            if reason is not None:
                bad.append({"split": split, "labels": [], "reason": reason})
                continue
            own = labels[at] if len(labels) else np.zeros(0, np.float32)
            kept.append(at)
            good.append(
                {
                    "key": _key(records[at], own, split, weight),
                    "split": split,
                    "labels": own,
                    "weight": weight,
                }
            )
        return records[kept], good, bad

    def _numbers(self, which: str) -> range:
        return range(len(getattr(self.columns, which)))


def _shard(records: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Records (N, bytes) as the images (N, 1, 1, bytes) that a cache holds."""
    return np.ascontiguousarray(records[:, None, None, :])


def _key(
    record: npt.NDArray[np.uint8], labels: npt.NDArray[np.float32], split: str, weight: float | None
) -> str:
    """A row's name: what is in it. Rows of the same name are equal, so their order is no matter."""
    digest = hashlib.blake2b(record.tobytes(), digest_size=16)
    digest.update(labels.tobytes() + repr((split, weight)).encode())
    return digest.hexdigest()
