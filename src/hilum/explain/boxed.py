"""Heat maps of the findings that readers boxed in one radiograph."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from hilum.evaluation.boxes import Box
from hilum.evaluation.localisation import BoxedMap
from hilum.explain.explainer import Explainer, Method

__all__ = ["boxed_maps"]


def boxed_maps(
    explainer: Explainer,
    pixels: npt.NDArray[np.uint8],
    boxes: Mapping[str, tuple[Box, ...]],
    *,
    patient_id: str,
    frame_px: int,
    method: Method = "grad-cam",
) -> Iterator[BoxedMap]:
    """Explain every boxed finding that the model knows; nothing where it knows none.

    Args:
        pixels: uint8 (H, W), of any size.
        boxes: by finding, in a square frame of `frame_px` pixels.
    """
    findings = [name for name in boxes if name in explainer.predictor.findings]
    if not findings:
        return
    height, width = pixels.shape
    for one in explainer.explain(pixels, findings, method=method):
        yield BoxedMap(
            finding=one.finding,
            heat=one.values,
            boxes=[box.scaled(width / frame_px, height / frame_px) for box in boxes[one.finding]],
            patient_id=patient_id,
        )
