"""Joining images with labels, and saying what did not match.

Both sides know something about a patient: the label table by its columns, the image by its DICOM
header. Where both have a column, the label table's value wins and the header fills its gaps. The
image column is never touched here: it is decoded only where somebody looks at it.
"""

from collections import Counter
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructField

from hilum.errors import require

__all__ = ["JoinReport", "join_labels", "join_report", "merge_duplicate_columns"]

_KEY = "file_name"
_EXAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReport:
    """How well a set of images and a label table fit each other.

    Attributes:
        images: image files.
        labels: rows of the label table.
        matched: images that have a label.
        images_without_labels: image files no row is about; they are not trained on.
        labels_without_images: rows about files that are not there.
        repeated_images: image files whose name an image in another folder has too.
        unlabelled: up to 10 file names of images without labels.
        missing: up to 10 file names of labels without images.
    """

    images: int
    labels: int
    matched: int
    images_without_labels: int
    labels_without_images: int
    repeated_images: int
    unlabelled: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.matched:,} of {self.images:,} images have a label"]
        if self.images_without_labels:
            names = _some(self.unlabelled, self.images_without_labels)
            lines.append(f"{self.images_without_labels:,} images have no label: {names}")
        if self.labels_without_images:
            names = _some(self.missing, self.labels_without_images)
            lines.append(
                f"{self.labels_without_images:,} of {self.labels:,} labels have no image: {names}"
            )
        if self.repeated_images:
            lines.append(f"{self.repeated_images:,} images share their name with another image")
        return "\n".join(lines)


def join_labels(images: DataFrame, labels: DataFrame) -> DataFrame:
    """Return the images that have labels, with both sides' columns, joined on file_name.

    Columns of both sides (view, age_years, sex, patient_id) become one: the label table's value,
    or the image header's where that is null. `join_report` says what did not match.
    """
    _require_key(images, labels)
    # Labels are small, pixels are not: without the hint a label table of more than 10 MB would make
    # Spark send every image through a shuffle.
    return merge_duplicate_columns(images.join(F.broadcast(labels), _KEY))


def join_report(images: DataFrame, labels: DataFrame) -> JoinReport:
    """Compare two sets of file names; reads no image."""
    _require_key(images, labels)
    sides = images.select(_KEY, F.lit(1).alias("images"), F.lit(0).alias("labels")).unionAll(
        labels.select(_KEY, F.lit(0).alias("images"), F.lit(1).alias("labels"))
    )
    names = sides.groupBy(_KEY).agg(
        F.sum("images").alias("images"), F.sum("labels").alias("labels")
    )
    unlabelled, missing = F.col("labels") == 0, F.col("images") == 0
    sums = (
        F.sum("images"),
        F.sum("labels"),
        F.sum(F.when(~unlabelled, F.col("images"))),
        F.sum(F.when(unlabelled, F.col("images"))),
        F.sum(F.when(missing, F.col("labels"))),
        F.sum(F.when(F.col("images") > 1, F.col("images"))),
    )
    counted = names.agg(*(F.coalesce(column, F.lit(0)) for column in sums)).collect()[0]
    num_images, num_labels, matched, no_label, no_image, repeated = counted
    return JoinReport(
        images=num_images,
        labels=num_labels,
        matched=matched,
        images_without_labels=no_label,
        labels_without_images=no_image,
        repeated_images=repeated,
        unlabelled=_first_names(names.filter(unlabelled)) if no_label else (),
        missing=_first_names(names.filter(missing)) if no_image else (),
    )


def merge_duplicate_columns(df: DataFrame) -> DataFrame:
    """Make one column of those that have the same name, at the place of the first.

    After `images.join(labels, "file_name")` both sides' `view` are there and Spark can use neither.
    The last one's value counts, or the one before it where that is null; so do its type and its
    metadata. Without duplicates `df` itself is returned.
    """
    names = df.columns
    if len(set(names)) == len(names):
        return df
    fields = df.schema.fields
    positional = df.toDF(*(f"c{position}" for position in range(len(names))))
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        places.setdefault(name, []).append(position)
    return positional.select(*(_merged(fields, positions) for positions in places.values()))


def _merged(fields: list[StructField], positions: list[int]) -> Column:
    last = fields[positions[-1]]
    if len(positions) == 1:
        return F.col(f"c{positions[0]}").alias(last.name)
    values = []
    for position in reversed(positions):
        value = F.col(f"c{position}")
        alike = fields[position].dataType == last.dataType
        values.append(value if alike else value.try_cast(last.dataType))
    return F.coalesce(*values).alias(last.name, metadata=last.metadata)


def _require_key(images: DataFrame, labels: DataFrame) -> None:
    for side, df in (("images", images), ("labels", labels)):
        once = Counter(df.columns)[_KEY] == 1
        require(once, side, f"a DataFrame with one column {_KEY}", df.columns)


def _first_names(names: DataFrame) -> tuple[str, ...]:
    rows = names.select(_KEY).orderBy(_KEY).limit(_EXAMPLES).collect()
    return tuple(row[_KEY] for row in rows)


def _some(names: tuple[str, ...], total: int) -> str:
    return ", ".join(names) + (", ..." if total > len(names) else "")
