"""Images and labels become one split table, and every count of the way is kept for the report."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum.errors import InvalidValueError
from hilum.evaluation.report import SplitCount
from hilum.findings import FINDINGS
from hilum.inference import ModelBundle
from hilum.preprocessing import Chain, Resize
from hilum.spark import (
    JoinReport,
    finding_counts,
    join_labels,
    join_report,
    read_labels,
    read_radiographs,
    split_by_image,
    split_by_list,
    split_by_patient,
)
from hilum.spark.without_connector import connector_needed

__all__ = [
    "LabelledData",
    "SplitRule",
    "label_and_split",
    "only_split",
    "parse_fractions",
    "read_again",
    "read_ingested",
    "read_size",
    "rule_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """How images are split: by patient (default), by a list, or by image as in the 2019 paper."""

    fractions: Mapping[str, float]
    seed: int = 0
    by: Literal["patient", "image"] = "patient"
    listed_in: str | None = None

    def apply(self, data: DataFrame) -> DataFrame:
        """Add the column `split`."""
        if self.listed_in is not None:
            return split_by_list(data, self.listed_in)
        if self.by == "image":
            return split_by_image(data, self.fractions, seed=self.seed)
        return split_by_patient(data, self.fractions, seed=self.seed)

    def to_json(self) -> dict[str, object]:
        """For provenance."""
        return {
            "by": "list" if self.listed_in else self.by,
            "fractions": dict(self.fractions),
            "seed": self.seed,
            "listed_in": self.listed_in,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledData:
    """The table a run works on, and its counts.

    Attributes:
        label_counts: images per finding among the matched ones.
    """

    frame: DataFrame
    labels: DataFrame
    join: JoinReport
    splits: tuple[SplitCount, ...]
    label_counts: Mapping[str, int]


def label_and_split(
    spark: SparkSession,
    images: DataFrame,
    labels_path: str,
    rule: SplitRule | None,
    findings: tuple[str, ...] = FINDINGS,
) -> LabelledData:
    """Join images with a label table on file_name and split them; decodes no image.

    Raises:
        InvalidValueError: no file name occurs on both sides.
    """
    labels = read_labels(spark, labels_path, findings=findings)
    # Spark knows cached tables by their path: one kept would hide rows that are written later.
    with _cached(labels):
        report = join_report(images, labels)
        if report.matched == 0:
            raise InvalidValueError(
                f"images and labels must share file names. Got none in common: {report} "
                "Hint: the label table's image column must hold names such as 00000001_000.png."
            )
        matched = join_labels(images, labels)
        frame = matched if rule is None else rule.apply(matched)
        # Four queries count these few columns; each would join all file names anew.
        names = ("file_name", "patient_id", "labels", "view", "split")
        rows = frame.select(*(name for name in names if name in frame.columns))
        with _cached(rows):
            return LabelledData(
                frame=frame,
                labels=labels,
                join=report,
                splits=() if rule is None else _split_counts(rows),
                label_counts={row.finding: row.positives for row in finding_counts(rows).findings},
            )


@contextmanager
def _cached(table: DataFrame) -> Iterator[None]:
    table.cache()
    try:
        yield
    finally:
        table.unpersist()


def read_ingested(spark: SparkSession, table: str) -> DataFrame:
    """The table that `hilum ingest` wrote.

    Raises:
        InvalidValueError: it is on S3, and Spark has no connector for that.
    """
    with connector_needed(table):
        return spark.read.parquet(table)


def only_split(
    spark: SparkSession, data: LabelledData, split: str, size: tuple[int, int] | None
) -> DataFrame:
    """The labelled images of one split, read by path.

    Raises:
        InvalidValueError: the split is empty.
    """
    chosen = read_again(spark, data.frame.filter(F.col("split") == split), data, size)
    if chosen is None:
        raise InvalidValueError(
            f"the {split} split must hold images. Got none of {data.join.matched}. "
            f"Splits: {', '.join(f'{s.name} {s.images}' for s in data.splits)}. "
            "Hint: change --split-fractions, or use more patients."
        )
    return chosen


def read_again(
    spark: SparkSession, rows: DataFrame, data: LabelledData, size: tuple[int, int] | None
) -> DataFrame | None:
    """The labelled images of some rows of `data.frame`, read by path; None if there are no rows.

    A filter on the joined table would do, but Spark decodes before it filters by a column of the
    other side; this way only the rows' own files are opened.
    """
    paths = rows.select("path").toArrow()["path"].to_pylist()
    if not paths:
        return None
    return join_labels(read_radiographs(spark, paths, size=size), data.labels)


def read_size(chain: Chain) -> tuple[int, int] | None:
    """What the chain's first step resizes to, so that reading does it before pixels travel."""
    first = chain.steps[0]
    return (first.height, first.width) if isinstance(first, Resize) else None


def rule_of(bundle: ModelBundle) -> SplitRule:
    """The rule a bundle's data were split by; raises InvalidValueError if it was not recorded."""
    stored = bundle.provenance.get("split")
    if stored is None:
        raise InvalidValueError(
            "--split needs a bundle that recorded how its data were split. Got one that did not. "
            "Hint: bundles written by `hilum run` and `hilum train` do; or evaluate all images."
        )
    return SplitRule(
        fractions=stored["fractions"],
        seed=stored["seed"],
        by="image" if stored["by"] == "image" else "patient",
        listed_in=stored["listed_in"],
    )


def parse_fractions(text: str) -> dict[str, float]:
    """Read "0.7,0.1,0.2" as shares of train, valid and test."""
    names = ("train", "valid", "test")
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) != len(names):
        raise InvalidValueError(
            "--split-fractions must be three shares train,valid,test that add up to 1. "
            f"Got {text!r}. Hint: --split-fractions 0.7,0.1,0.2"
        )
    return dict(zip(names, shares, strict=True))


def _split_counts(frame: DataFrame) -> tuple[SplitCount, ...]:
    rows = (
        frame.groupBy("split")
        .agg(F.count("file_name").alias("images"), F.countDistinct("patient_id").alias("patients"))
        .collect()
    )
    order = {"train": 0, "valid": 1, "test": 2}
    counts = [
        SplitCount(name=row["split"] or "none", images=row["images"], patients=row["patients"])
        for row in rows
    ]
    return tuple(sorted(counts, key=lambda count: (order.get(count.name, 9), count.name)))
