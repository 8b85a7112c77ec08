"""Phantom radiographs drawn by all executors at once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa
from pyspark.sql import SparkSession

from hilum import storage
from hilum.errors import InvalidValueError
from hilum.phantom import (
    LABEL_HEADER,
    PhantomConfig,
    encode_dicom,
    encode_png,
    image_specs,
    label_row,
    render,
    write_rows,
)

__all__ = ["PhantomSet", "write_phantoms"]

TASKS_PER_SLOT = 4
ImageFormat = Literal["png", "dicom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSet:
    """Where a phantom data set lies: a directory of images and a label table in NIH's layout."""

    images: str
    labels: str
    num_images: int


def write_phantoms(
    spark: SparkSession,
    directory: str,
    num_images: int,
    config: PhantomConfig,
    *,
    image_format: ImageFormat = "png",
) -> PhantomSet:
    """Draw phantoms on the executors into DIRECTORY/images, and DIRECTORY/Data_Entry_2017.csv.

    Every task walks the cheap plan and draws its share, so nothing but counts travels. The same
    files come out on any number of executors.

    Args:
        directory: local or shared disk that driver and executors see under the same path.
    """
    root = storage.local_path(directory)
    if root is None:
        raise InvalidValueError(
            f"directory of phantoms must be on a mounted file system. Got {directory!r}. "
            "Hint: write to local or shared disk and copy from there."
        )
    root = root.resolve()
    (root / "images").mkdir(parents=True, exist_ok=True)
    num_tasks = max(1, min(num_images, TASKS_PER_SLOT * _slots(spark)))
    draw = partial(
        _draw_share,
        images=str(root / "images"),
        num_images=num_images,
        num_tasks=num_tasks,
        config=config,
        image_format=image_format,
    )
    drawn = spark.range(0, num_tasks, 1, num_tasks).mapInArrow(cast(Any, draw), "images long")
    total = sum(row["images"] for row in drawn.collect())
    rows = [
        (_file_name(spec.file_name, image_format), *label_row(config, spec)[1:])
        for spec in image_specs(config, num_images)
    ]
    write_rows(root / "Data_Entry_2017.csv", LABEL_HEADER, rows)
    return PhantomSet(
        images=str(root / "images"), labels=str(root / "Data_Entry_2017.csv"), num_images=total
    )


def _draw_share(
    batches: Iterable[pa.RecordBatch],
    *,
    images: str,
    num_images: int,
    num_tasks: int,
    config: PhantomConfig,
    image_format: ImageFormat,
) -> Iterator[pa.RecordBatch]:
    """Runs in a task: every `num_tasks`-th image of the plan, counted from the task's number."""
    for batch in batches:
        for task in batch.column(0).to_pylist():
            count = 0
            for position, spec in enumerate(image_specs(config, num_images)):
                if position % num_tasks != task:
                    continue
                pixels = render(config, spec)
                if image_format == "png":
                    content = encode_png(pixels)
                else:
                    content = encode_dicom(pixels, spec, seed=config.seed)
                name = _file_name(spec.file_name, image_format)
                storage.write_bytes(str(Path(images) / name), content)
                count += 1
            yield pa.RecordBatch.from_pydict({"images": pa.array([count], pa.int64())})


def _file_name(png_name: str, image_format: ImageFormat) -> str:
    return png_name if image_format == "png" else str(Path(png_name).with_suffix(".dcm"))


def _slots(spark: SparkSession) -> int:
    return int(spark.conf.get("spark.sql.shuffle.partitions", "2") or 2)
