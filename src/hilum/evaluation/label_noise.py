"""How far labels can be trusted: a label table against one that people made with more care.

Labels mined from reports are wrong in both directions, and a model is trained and tested on them.
Where some images also have adjudicated labels, this says how often a mined positive is a true one
(PPV), how many true ones were found (sensitivity), and the agreement beyond chance (Cohen's kappa).
Adjudicated sets are often enriched with positives; PPV is then too high for the whole data set.
"""

import csv
import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hilum import storage
from hilum.errors import InvalidValueError, require
from hilum.evaluation.bootstrap import Interval, PatientIds, percentile_interval, sum_draws
from hilum.evaluation.metrics import FloatArray, as_pair
from hilum.findings import multi_hot

__all__ = ["GOOGLE_2019", "AdjudicatedTable", "LabelAgreement", "label_agreement", "read_google"]

GOOGLE_2019: Mapping[str, tuple[str, ...]] = {
    "Pneumothorax": ("Pneumothorax",),
    "Nodule or mass": ("Nodule", "Mass"),
}
"""Adjudicated columns of Majkowska et al. (Radiology 294, 2020, 421-431) that NIH's labels answer
to, with the findings of which any counts. Airspace opacity has no such set, fracture none at all.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAgreement:
    """One finding in two label tables; figures are None where undefined.

    Attributes:
        both, only_given, only_reference, neither: images by who says that they have it.
        ppv: share of the given positives that the reference confirms.
        sensitivity: share of the reference's positives that are given as such.
        kappa: Cohen's; 1 is full agreement, 0 what chance would give.
        ppv_ci95, sensitivity_ci95, kappa_ci95: bootstrap intervals over patients.
    """

    both: int
    only_given: int
    only_reference: int
    neither: int
    ppv: float | None
    ppv_ci95: Interval | None
    sensitivity: float | None
    sensitivity_ci95: Interval | None
    kappa: float | None
    kappa_ci95: Interval | None

    @property
    def images(self) -> int:
        """Images whose label is known in both tables."""
        return self.both + self.only_given + self.only_reference + self.neither

    def to_json(self) -> str:
        """Return the fields as a JSON object."""
        return json.dumps(asdict(self), allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdjudicatedTable:
    """Images with both kinds of labels, (image, finding) each."""

    file_names: tuple[str, ...]
    patient_ids: tuple[str, ...]
    findings: tuple[str, ...]
    given: FloatArray
    reference: FloatArray


def label_agreement(
    findings: Sequence[str],
    given: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    patient_ids: PatientIds | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, LabelAgreement]:
    """Compare labels with a reference on the same images, by finding.

    Args:
        findings: names of the columns.
        given: (image, finding) of 1, 0 and NaN for unknown: the labels in question.
        reference: likewise: those believed.
        patient_ids: one per image; without them each image counts as its own patient.
        num_resamples: draws of patients behind each interval; 0 for no intervals.
        seed: of the draws.

    Raises:
        InvalidValueError: names, shapes or values do not fit together.
    """
    given, _ = as_pair(given, np.zeros(np.shape(given)))
    reference, _ = as_pair(reference, np.zeros(np.shape(reference)))
    same = given.shape == reference.shape
    require(same, "reference", f"labels of shape {given.shape}", reference.shape)
    fits = len(set(findings)) == len(findings) == given.shape[1]
    require(fits, "findings", f"{given.shape[1]} different names", list(findings))
    return {
        name: _agreement(given[:, k], reference[:, k], patient_ids, num_resamples, seed)
        for k, name in enumerate(findings)
    }


def read_google(
    path: str | Path, mapping: Mapping[str, tuple[str, ...]] = GOOGLE_2019
) -> AdjudicatedTable:
    """Read Google's adjudicated labels of 2019, a CSV (or .csv.gz) that repeats NIH's own labels.

    Args:
        path: the file. It has "Image Index", "Patient ID", "Finding Labels" (NIH's) and one column
            of YES or NO per adjudicated finding.
        mapping: adjudicated column to the NIH findings of which any counts.

    Raises:
        InvalidValueError: a column is missing, or a cell is neither YES nor NO nor blank.
    """
    content = storage.read_bytes(str(path))
    data = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    needed = ("Image Index", "Patient ID", "Finding Labels", *mapping)
    missing = [name for name in needed if not rows or name not in rows[0]]
    require(not missing, str(path), f"a table with the columns {', '.join(needed)}", missing)
    mined = [multi_hot(row["Finding Labels"].split("|")) for row in rows]
    mentioned = [multi_hot(names) for names in mapping.values()]
    return AdjudicatedTable(
        file_names=tuple(row["Image Index"] for row in rows),
        patient_ids=tuple(row["Patient ID"] for row in rows),
        findings=tuple(mapping),
        given=(np.array(mined) @ np.array(mentioned).T > 0).astype(np.float64),
        reference=np.array([[_yes(row[name], name) for name in mapping] for row in rows]),
    )


def _yes(cell: str, column: str) -> float:
    values = {"YES": 1.0, "NO": 0.0, "": math.nan}
    if cell.strip().upper() not in values:
        raise InvalidValueError(f"{column} must be YES, NO or blank. Got {cell!r}.")
    return values[cell.strip().upper()]


def _agreement(
    given: FloatArray,
    reference: FloatArray,
    patient_ids: PatientIds | None,
    num_resamples: int,
    seed: int,
) -> LabelAgreement:
    cells = np.stack(
        [(given == g) & (reference == r) for g, r in ((1, 1), (1, 0), (0, 1), (0, 0))], axis=1
    )
    drawn = sum_draws(cells, patient_ids, num_resamples=num_resamples, seed=seed)
    counts = cells.sum(axis=0)
    figures: dict[str, Any] = {}
    for name, of in (("ppv", _ppv), ("sensitivity", _sensitivity), ("kappa", _kappa)):
        value = of(counts[None].astype(np.float64))[0]
        figures[name] = None if math.isnan(value) else float(value)
        figures[f"{name}_ci95"] = percentile_interval(of(drawn)) if not math.isnan(value) else None
    both, only_given, only_reference, neither = counts.tolist()
    return LabelAgreement(
        both=both,
        only_given=only_given,
        only_reference=only_reference,
        neither=neither,
        **figures,
    )


def _ppv(cells: FloatArray) -> FloatArray:
    return _ratio(cells[:, 0], cells[:, 0] + cells[:, 1])


def _sensitivity(cells: FloatArray) -> FloatArray:
    return _ratio(cells[:, 0], cells[:, 0] + cells[:, 2])


def _kappa(cells: FloatArray) -> FloatArray:
    """(observed - expected) / (1 - expected) agreement, both times the square of all images."""
    both, only_given, only_reference, neither = cells.T
    total = cells.sum(axis=1)
    observed = (both + neither) * total
    expected = (both + only_given) * (both + only_reference)
    expected = expected + (neither + only_given) * (neither + only_reference)
    return _ratio(observed - expected, total**2 - expected)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    result = np.full(len(above), np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result
