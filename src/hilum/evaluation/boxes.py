"""Boxes that readers drew around findings, and NIH's table of them.

NIH ChestX-ray14 has 984 boxes on 880 of its images, BBox_List_2017.csv: hand-labelled by a
board-certified radiologist (Wang et al., CVPR 2017), in pixels of the 1024-pixel originals, with
"Infiltrate" for Infiltration and three columns without a name or content.
"""

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hilum import storage
from hilum.errors import InvalidValueError, require
from hilum.findings import FINDINGS, canonical_finding

__all__ = ["NIH_FRAME_PX", "Box", "read_nih_boxes"]

NIH_FRAME_PX = 1024
_SPELLED_ELSEWHERE = {"Infiltrate": "Infiltration"}
_NUM_NUMBERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle around a finding, in pixels of the image it was drawn on; row 0 is on top."""

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        require(self.width > 0 and self.height > 0, "box", "of positive size", self)

    def scaled(self, factor: float, vertical: float | None = None) -> "Box":
        """Return the box on the image resized by `factor` (and by `vertical` in height)."""
        vertical = factor if vertical is None else vertical
        return replace(
            self,
            left=self.left * factor,
            top=self.top * vertical,
            width=self.width * factor,
            height=self.height * vertical,
        )


def read_nih_boxes(
    url: str, findings: Sequence[str] = FINDINGS
) -> dict[str, dict[str, tuple[Box, ...]]]:
    """Read BBox_List_2017.csv, plain or gzipped: file name to finding to its boxes.

    Raises:
        InvalidValueError: not that table, an unknown finding, or a box that is no rectangle.
    """
    data = storage.read_bytes(url)
    text = (gzip.decompress(data) if url.endswith(".gz") else data).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))
    header = [cell.strip() for cell in rows[0][:2]] if rows else []
    require(
        header == ["Image Index", "Finding Label"],
        "box table",
        "NIH's BBox_List_2017.csv (Image Index, Finding Label, Bbox [x,y,w,h])",
        rows[0] if rows else url,
    )
    boxes: dict[str, dict[str, tuple[Box, ...]]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        name, label = row[0], row[1]
        finding = canonical_finding(_SPELLED_ELSEWHERE.get(label, label), findings)
        of_image = boxes.setdefault(name, {})
        of_image[finding] = (*of_image.get(finding, ()), _box(row[2 : 2 + _NUM_NUMBERS], number))
    return boxes


def _box(cells: Sequence[str], line: int) -> Box:
    try:
        left, top, width, height = (float(cell) for cell in cells)
    except ValueError as error:
        raise InvalidValueError(
            f"line {line} of the box table must end in four numbers x, y, w, h. Got {cells}."
        ) from error
    return Box(left=left, top=top, width=width, height=height)
