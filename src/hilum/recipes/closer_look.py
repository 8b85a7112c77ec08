"""What takes the pixels again: heat maps of the cases, shortcut probes, robustness.

Scores come from the cluster for all images; this runs on the driver, for a few. Images are read in
their own size and held in memory.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pyspark.sql import SparkSession

from hilum.errors import MissingDependencyError
from hilum.evaluation.cases import Case
from hilum.evaluation.overlays import overlay
from hilum.evaluation.robustness import Robustness, measure_robustness
from hilum.evaluation.shortcuts import FEWEST_PATIENTS, Probe, probe
from hilum.explain import Explainer
from hilum.inference import Predictor, embed
from hilum.recipes.scoring import Scored
from hilum.spark import NNModel, read_radiographs
from hilum.spark.image_struct import grey_pixels

__all__ = ["CloserLook", "look_closer", "read_pixels"]

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]
RESAMPLES = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CloserLook:
    """What was seen.

    Attributes:
        pixels: of the cases, by row of the scored images.
        overlays: the same under the heat map of the case's finding.
        probes: by attribute.
        robustness: None where it was not measured.
    """

    pixels: Mapping[int, Pixels]
    overlays: Mapping[int, Pixels] = field(default_factory=dict)
    probes: Mapping[str, Sequence[Probe]] = field(default_factory=dict)
    robustness: Robustness | None = None


def look_closer(
    spark: SparkSession,
    model: NNModel,
    scored: Scored,
    cases: Sequence[Case],
    patients: Sequence[str],
    *,
    num_images: int,
    seed: int = 0,
) -> CloserLook:
    """Read the cases and some of the scored images again, and measure what needs pixels.

    Args:
        cases: radiographs to show.
        patients: one per scored image.
        num_images: drawn by `seed` for probes and robustness; 0 for the pixels of the cases alone.
    """
    drawn = np.random.default_rng(seed).permutation(len(scored.paths))[:num_images]
    wanted = sorted({case.image for case in cases} | set(drawn.tolist()))
    pixels = read_pixels(spark, scored, wanted)
    shown = {case.image: pixels[case.image] for case in cases if case.image in pixels}
    if num_images == 0:
        return CloserLook(pixels=shown)
    predictor = Predictor.load(model.bundle)
    rows = [row for row in sorted(drawn.tolist()) if row in pixels]
    images, whose = [pixels[row] for row in rows], [patients[row] for row in rows]
    return CloserLook(
        pixels=shown,
        overlays=_overlays(predictor, cases, shown),
        probes=_probes(predictor, scored, rows, images, whose, seed),
        robustness=measure_robustness(
            predictor.predict,
            images,
            scored.labels[rows],
            model.findings,
            patient_ids=whose,
            num_resamples=RESAMPLES,
            seed=seed,
        )
        if rows
        else None,
    )


def read_pixels(spark: SparkSession, scored: Scored, rows: Sequence[int]) -> dict[int, Pixels]:
    """Pixels in their own size, by row of the scored images; unreadable ones are left out."""
    if not rows:
        return {}
    of_path = {scored.paths[row]: row for row in rows}
    images = read_radiographs(spark, sorted(of_path)).select("path", "image").collect()
    return {
        of_path[one["path"]]: grey_pixels(one["image"].asDict()) for one in images if one["image"]
    }


def _overlays(
    predictor: Predictor, cases: Sequence[Case], pixels: Mapping[int, Pixels]
) -> dict[int, Pixels]:
    try:
        explainer = Explainer.load(predictor)
    except MissingDependencyError as missing:
        logger.warning("no heat maps in the report why=%s", missing)
        return {}
    return {
        case.image: overlay(
            pixels[case.image], explainer.explain(pixels[case.image], [case.finding])[0].values
        )
        for case in cases
        if case.image in pixels
    }


def _probes(
    predictor: Predictor,
    scored: Scored,
    rows: Sequence[int],
    images: Sequence[Pixels],
    patients: Sequence[str],
    seed: int,
) -> dict[str, list[Probe]]:
    attributes = {"view": scored.views, "sex": scored.sexes}
    chosen = {
        name: [values[row] for row in rows]
        for name, values in attributes.items()
        if values and _enough([values[row] for row in rows], patients)
    }
    if not chosen:
        return {}
    features = embed(predictor, images)
    return {
        name: probe(features, values, patient_ids=patients, num_resamples=RESAMPLES, seed=seed)
        for name, values in chosen.items()
    }


def _enough(values: Sequence[str | None], patients: Sequence[str]) -> bool:
    """Whether each of two or more values is carried by enough patients for a probe."""
    carriers: dict[str, set[str]] = defaultdict(set)
    for value, patient in zip(values, patients, strict=True):
        if value:
            carriers[value].add(patient)
    return len(carriers) > 1 and min(map(len, carriers.values())) >= FEWEST_PATIENTS
