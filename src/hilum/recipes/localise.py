"""`hilum localise`: heat maps against the boxes that readers drew, on a folder of images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hilum import storage
from hilum.decoding import decode
from hilum.errors import InvalidValueError, require
from hilum.evaluation.boxes import NIH_FRAME_PX, read_nih_boxes
from hilum.evaluation.localisation import Localisation, localise, localise_by_finding
from hilum.explain import Explainer, Method, boxed_maps
from hilum.inference import load_bundle

__all__ = ["LocalisationReport", "localise_boxes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalisationReport:
    """All maps together, and by finding."""

    method: str
    images: int
    overall: Localisation
    findings: Mapping[str, Localisation]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "method": self.method,
            "images": self.images,
            "overall": self.overall.to_json(),
            "findings": {name: one.to_json() for name, one in self.findings.items()},
        }


def localise_boxes(
    bundle: str,
    images: str,
    boxes: str,
    *,
    method: Method = "grad-cam",
    frame_px: int = NIH_FRAME_PX,
    threshold: float = 0.5,
    only: set[str] | None = None,
) -> LocalisationReport:
    """Explain every boxed finding of every image at hand, and compare map and box.

    Args:
        bundle: model directory.
        images: folder with files of NIH's names, PNG, JPEG or DICOM by content, of any size.
        boxes: BBox_List_2017.csv, plain or gzipped.
        method: "grad-cam" or "occlusion".
        frame_px: side of the square images the boxes were drawn on; they are scaled from it.
        threshold: see `localise`.
        only: file names to keep, such as those of patients the model was not trained on.
    """
    require(frame_px > 0, "frame_px", "positive", frame_px)
    table = read_nih_boxes(boxes)
    there = set(storage.list_names(images))
    names = sorted(name for name in table if name in there and (only is None or name in only))
    explainer = Explainer.load(load_bundle(bundle))
    contents = storage.read_ahead((storage.join(images, n) for n in names), storage.read_bytes)
    maps = [
        one
        for name, content in zip(names, contents, strict=True)
        for one in boxed_maps(
            explainer,
            decode(content.result()).pixels,
            table[name],
            patient_id=name.partition("_")[0],  # NIH names files PATIENT_FOLLOWUP.png
            frame_px=frame_px,
            method=method,
        )
    ]
    if not maps:
        raise InvalidValueError(
            f"--images must hold images with boxes. Got {images!r} with none of {len(table)}. "
            "Hint: files keep NIH's names, such as 00013118_008.png."
        )
    return LocalisationReport(
        method=method,
        images=len(names),
        overall=localise(maps, threshold=threshold),
        findings=localise_by_finding(maps, threshold=threshold),
    )
