"""A heat map: how much each pixel of a radiograph speaks for one finding."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["HeatMap", "scaled"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeatMap:
    """An explanation in the geometry of the radiograph it explains.

    Attributes:
        finding: what the map speaks for.
        method: "grad-cam" or "occlusion".
        probability: what the model gives the finding in this image.
        values: float32 (H, W), as large as the radiograph; 0 nothing, 1 the strongest place.
            Where the network saw nothing (cropped edges) it is 0.
        peak: the strongest evidence in logits, before scaling to 1. Maps of different findings
            compare by `peak`, never by colour; 0 means that the map is empty.
    """

    finding: str
    method: str
    probability: float
    values: npt.NDArray[np.float32]
    peak: float

    @property
    def is_empty(self) -> bool:
        """Whether nothing in the image speaks for the finding: all values are 0."""
        return self.peak == 0.0

    @property
    def peak_position(self) -> tuple[int, int] | None:
        """(row, column) of the strongest pixel, the middle one of a plateau; None if empty."""
        if self.is_empty:
            return None
        rows, columns = np.nonzero(self.values >= self.values.max())
        middle = len(rows) // 2
        return int(rows[middle]), int(columns[middle])


def scaled(evidence: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], float]:
    """Drop evidence against (negative), scale the rest to [0, 1]; return it and the peak."""
    positive = np.maximum(evidence, 0.0)
    peak = float(positive.max())
    if not peak > 0.0:
        return np.zeros_like(positive), 0.0
    # Divide in float64: a subnormal peak would overflow the quotient.
    return (positive.astype(np.float64) / peak).astype(np.float32), peak
