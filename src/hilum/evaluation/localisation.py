"""Do heat maps point at what readers marked? Pointing game and overlap, beside what chance gives.

The pointing game (Zhang et al., ECCV 2016) asks whether the strongest pixel lies in a box. A large
box is easily hit, and findings have their usual places, so two chance levels stand beside each
rate: a point anywhere in the image, and the strongest point of the other images' maps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum.errors import require
from hilum.evaluation.bootstrap import Interval, patient_codes, patient_draws
from hilum.evaluation.boxes import Box
from hilum.evaluation.metrics import FloatArray

__all__ = [
    "BoxedMap",
    "Localisation",
    "box_mask",
    "localise",
    "localise_by_finding",
    "overlap",
    "points_into",
]

Heat = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_TAIL = 2.5  # per cent outside a 95 % interval, on each side


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoxedMap:
    """A heat map of one finding and where readers marked that finding in the same image.

    Attributes:
        heat: float (H, W) in [0, 1]; all zero if nothing speaks for the finding, which is a miss.
        boxes: in pixels of the same image.
        patient_id: for intervals over patients.
    """

    finding: str
    heat: Heat
    boxes: Sequence[Box]
    patient_id: str

    def __post_init__(self) -> None:
        require(self.heat.ndim == 2, "heat", "(H, W)", self.heat.shape)
        require(len(self.boxes) > 0, "boxes", "at least one", self.boxes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Localisation:
    """How well maps point at boxes.

    Attributes:
        maps: pairs of image and finding. patients: of these images.
        empty: maps without any evidence; each is a miss and overlaps nothing.
        hit_rate: share of maps whose strongest pixel lies in a box, with its 95 % interval over
            patients.
        chance: the same for a point anywhere: mean share of the image that boxes cover.
        chance_elsewhere: the same for the strongest points of the other images' maps of the same
            finding; None where no other image has one.
        excess_ci95: interval of hit_rate - chance; above 0 means better than chance.
        iou: mean intersection over union of the region >= threshold and the boxes.
        iobb: mean share of that region that lies in boxes (Wang et al. 2017); chance is `chance`.
    """

    maps: int
    patients: int
    empty: int
    threshold: float
    hit_rate: float
    hit_rate_ci95: Interval
    chance: float
    chance_elsewhere: float | None
    excess_ci95: Interval
    iou: float
    iobb: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def localise(
    maps: Sequence[BoxedMap],
    *,
    threshold: float = 0.5,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Localisation:
    """Compare heat maps with boxes, intervals by bootstrap over patients.

    Args:
        maps: of one finding or of several.
        threshold: of the region compared with the boxes, in (0, 1].
        num_resamples: draws of patients. seed: of the draws.
    """
    require(len(maps) > 0, "maps", "at least one", len(maps))
    require(0 < threshold <= 1, "threshold", "above 0 and at most 1", threshold)
    require(num_resamples > 0, "num_resamples", "positive", num_resamples)
    masks = [box_mask(one.boxes, *one.heat.shape) for one in maps]
    hits = np.array([points_into(one.heat, m) for one, m in zip(maps, masks, strict=True)], float)
    shares = np.array([mask.mean() for mask in masks])
    overlaps = [overlap(one.heat, m, threshold) for one, m in zip(maps, masks, strict=True)]
    codes, num_patients = patient_codes([one.patient_id for one in maps], len(maps))
    drawn = patient_draws(num_patients, num_resamples, seed=seed)
    weights = np.stack([counts[codes] for counts in drawn])
    totals = weights.sum(axis=1)
    return Localisation(
        maps=len(maps),
        patients=num_patients,
        empty=sum(not one.heat.any() for one in maps),
        threshold=threshold,
        hit_rate=float(hits.mean()),
        hit_rate_ci95=_interval(weights @ hits / totals),
        chance=float(shares.mean()),
        chance_elsewhere=_chance_elsewhere(maps, masks),
        excess_ci95=_interval(weights @ (hits - shares) / totals),
        iou=float(np.mean([iou for iou, _ in overlaps])),
        iobb=float(np.mean([iobb for _, iobb in overlaps])),
    )


def localise_by_finding(
    maps: Sequence[BoxedMap], *, threshold: float = 0.5, seed: int = 0
) -> Mapping[str, Localisation]:
    """Return `localise` for each finding that has maps, in order of appearance."""
    names = dict.fromkeys(one.finding for one in maps)
    return {
        name: localise([m for m in maps if m.finding == name], threshold=threshold, seed=seed)
        for name in names
    }


def box_mask(boxes: Sequence[Box], height: int, width: int) -> Mask:
    """Return bool (height, width): pixels whose centre lies in one of the boxes.

    A box too thin to hold a centre marks the pixel it lies in, so that none vanishes by scaling.
    """
    mask = np.zeros((height, width), dtype=np.bool_)
    for box in boxes:
        rows = _span(box.top, box.height, height)
        columns = _span(box.left, box.width, width)
        mask[rows, columns] = True
    return mask


def points_into(heat: Heat, mask: Mask) -> bool:
    """Whether the strongest pixel of a map is in the mask; no if the map is empty.

    Equal strongest pixels count by majority: a plateau half in a box is a miss.
    """
    if not heat.any():
        return False
    return bool(mask[heat == heat.max()].mean() > 0.5)


def overlap(heat: Heat, mask: Mask, threshold: float) -> tuple[float, float]:
    """Return (intersection over union, share of the region >= threshold inside the mask)."""
    region = heat >= threshold
    if not region.any():
        return 0.0, 0.0
    common = float((region & mask).sum())
    return common / float((region | mask).sum()), common / float(region.sum())


def _span(start: float, length: float, most: int) -> slice:
    first = int(np.clip(np.ceil(start - 0.5), 0, most - 1))
    last = int(np.clip(np.ceil(start + length - 0.5), first + 1, most))
    return slice(first, last)


def _chance_elsewhere(maps: Sequence[BoxedMap], masks: Sequence[Mask]) -> float | None:
    """How often the strongest point of another patient's map of the finding would hit, averaged."""
    points = [_relative_peak(one.heat) for one in maps]
    rates = []
    for one, mask in zip(maps, masks, strict=True):
        others = [
            point
            for other, point in zip(maps, points, strict=True)
            if other.finding == one.finding
            and other.patient_id != one.patient_id
            and point is not None
        ]
        if others:
            at = [(int(row * mask.shape[0]), int(col * mask.shape[1])) for row, col in others]
            rates.append(np.mean([mask[place] for place in at]))
    return float(np.mean(rates)) if rates else None


def _relative_peak(heat: Heat) -> tuple[float, float] | None:
    if not heat.any():
        return None
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return float(row) / heat.shape[0], float(column) / heat.shape[1]


def _interval(values: FloatArray) -> Interval:
    low, high = np.percentile(values, [_TAIL, 100 - _TAIL])
    return float(low), float(high)
