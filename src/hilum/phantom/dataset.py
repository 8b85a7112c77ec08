"""Write a folder of phantoms in NIH ChestX-ray14's layout, in one process.

    images/00000001_000.png ...   Data_Entry_2017.csv   BBox_List_2017.csv

Label files come last and are renamed into place, so a folder that has them is complete.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from hilum.errors import require
from hilum.phantom.config import PhantomConfig
from hilum.phantom.drawing import Box, phantom
from hilum.phantom.encode import encode_dicom, encode_png
from hilum.phantom.plan import LABEL_HEADER, ImageSpec, image_specs, label_row

__all__ = ["BOX_HEADER", "box_rows", "write_dataset", "write_rows"]

# The header of NIH's BBox_List_2017.csv as published, trailing commas included.
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def write_dataset(
    directory: str | Path,
    num_images: int,
    config: PhantomConfig,
    *,
    image_format: Literal["png", "dicom"] = "png",
) -> list[tuple[str, ...]]:
    """Draw `num_images` phantoms into `directory` and return their label rows.

    In DICOM sets the first column of the label file names the .dcm files.
    """
    require(image_format in ("png", "dicom"), "image_format", "'png' or 'dicom'", image_format)
    directory = Path(directory)
    images = directory / "images"
    images.mkdir(parents=True, exist_ok=True)
    labels: list[tuple[str, ...]] = []
    boxes: list[tuple[str, ...]] = []
    for spec in image_specs(config, num_images):
        drawn = phantom(config, spec)
        name, content = spec.file_name, b""
        if image_format == "png":
            content = encode_png(drawn.pixels)
        else:
            name = Path(name).with_suffix(".dcm").name
            content = encode_dicom(drawn.pixels, spec, seed=config.seed)
        (images / name).write_bytes(content)
        labels.append((name, *label_row(config, spec)[1:]))
        boxes.extend((name, *row[1:]) for row in box_rows(spec, drawn.boxes))
    write_rows(directory / "BBox_List_2017.csv", BOX_HEADER, boxes)
    write_rows(directory / "Data_Entry_2017.csv", LABEL_HEADER, labels)
    return labels


def box_rows(spec: ImageSpec, boxes: Iterable[Box]) -> list[tuple[str, ...]]:
    """Return rows for NIH's box file: image, finding, x, y, width, height in pixels."""
    return [
        (spec.file_name, box.finding, *map(str, (box.x, box.y, box.width, box.height)))
        for box in boxes
    ]


def write_rows(path: Path, header: str, rows: Iterable[tuple[str, ...]]) -> None:
    """Write a CSV file with LF line ends, as NIH's, in one step (written beside, then renamed)."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        file.write(header + "\n")
        csv.writer(file, lineterminator="\n").writerows(rows)
    unfinished.replace(path)
