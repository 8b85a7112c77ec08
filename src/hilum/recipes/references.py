"""What people made with more care than the labels: adjudicated labels, and boxes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyspark.sql import SparkSession

from hilum.errors import InvalidValueError
from hilum.evaluation.boxes import NIH_FRAME_PX, read_nih_boxes
from hilum.evaluation.label_noise import LabelAgreement, label_agreement, read_google
from hilum.evaluation.localisation import Localisation, localise_by_finding
from hilum.explain import Explainer, boxed_maps
from hilum.inference import Predictor
from hilum.recipes.closer_look import read_pixels
from hilum.recipes.scoring import Scored
from hilum.spark import NNModel

__all__ = ["Readings", "References", "compare_with_references"]


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Files to compare with, where there are any.

    Attributes:
        adjudicated: Google's labels of 2019, which repeat NIH's own (`read_google`).
        boxes: NIH's BBox_List_2017.csv (`read_nih_boxes`).
    """

    adjudicated: str | None = None
    boxes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """By finding, labels against adjudicated ones, and heat maps against boxes."""

    label_agreement: Mapping[str, LabelAgreement] = field(default_factory=dict)
    localisation: Mapping[str, Localisation] = field(default_factory=dict)


def compare_with_references(
    spark: SparkSession, model: NNModel, scored: Scored, references: References, *, seed: int = 0
) -> Readings:
    """Read what the references name and compare.

    Labels are compared on all images of the adjudicated table: the question is how far labels of
    that kind can be trusted, and few of its images are among the tested ones. Heat maps are made of
    the tested images that have boxes.

    Raises:
        InvalidValueError: a file is not what it should be, or no tested image has a box.
    """
    return Readings(
        label_agreement=_agreement(references.adjudicated, seed),
        localisation=_localisation(spark, model, scored, references.boxes),
    )


def _agreement(path: str | None, seed: int) -> dict[str, LabelAgreement]:
    if path is None:
        return {}
    table = read_google(path)
    return label_agreement(
        table.findings, table.given, table.reference, patient_ids=table.patient_ids, seed=seed
    )


def _localisation(
    spark: SparkSession, model: NNModel, scored: Scored, path: str | None
) -> Mapping[str, Localisation]:
    if path is None:
        return {}
    table = read_nih_boxes(path)
    rows = [row for row, name in enumerate(scored.file_names) if name in table]
    if not rows:
        raise InvalidValueError(
            f"--boxes must hold boxes of tested images. Got {path!r} with none of "
            f"{len(scored.file_names)} images. Hint: leave it out; `hilum localise` tells which "
            "images of a folder have boxes."
        )
    explainer = Explainer.load(Predictor.load(model.bundle))
    pixels = read_pixels(spark, scored, rows)
    maps = [
        one
        for row in rows
        if row in pixels
        for one in boxed_maps(
            explainer,
            pixels[row],
            table[scored.file_names[row]],
            patient_id=scored.patient_ids[row] or scored.file_names[row],
            frame_px=NIH_FRAME_PX,
        )
    ]
    return localise_by_finding(maps)
