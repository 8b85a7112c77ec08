"""Which patients and images a phantom set has, and their label rows in NIH's own layout.

The plan is cheap and separate from the pixels: 20,000 rows take a second, so a cluster can be
handed specs to draw, and label statistics can be tested without drawing anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np

from hilum.errors import require
from hilum.findings import FINDINGS, NO_FINDING
from hilum.phantom.config import PhantomConfig, Purpose, stream
from hilum.phantom.prevalence import IMAGES_PER_PATIENT, LatentFindings

__all__ = [
    "LABEL_HEADER",
    "ImageSpec",
    "Patient",
    "image_specs",
    "label_row",
    "patient",
    "patients",
]

# The header of Data_Entry_2017_v2020.csv, commas inside column names included.
LABEL_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_MALE_SHARE = 16630 / 30805
# Quantiles of the age at a patient's first image in NIH ChestX-ray14.
_AGE_SHARES = (0.0, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 1.0)
_AGE_YEARS = (1, 6, 11, 17, 23, 33, 47, 58, 66, 71, 75, 79, 95)
# Share of successive images of a patient that lie 0, 1, 2 ... years apart.
_YEARS_BETWEEN = (0.828, 0.115, 0.028, 0.013, 0.006, 0.010)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """One image to draw; with a PhantomConfig it determines every pixel.

    Attributes:
        index: 0, 1, 2 ... within the patient; also NIH's "Follow-up #".
        findings: names from `hilum.findings.FINDINGS`, in their order; empty for "No Finding".
        view: "PA" or "AP".
        field_cm: side of the square detector area the image shows.
    """

    patient_id: int
    index: int
    findings: tuple[str, ...]
    age_years: int
    sex: str
    view: str
    field_cm: float

    @property
    def file_name(self) -> str:
        """Name as in NIH ChestX-ray14: 00000001_000.png."""
        return f"{self.patient_id:08d}_{self.index:03d}.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A synthetic patient and their images in order."""

    patient_id: int
    sex: str
    images: tuple[ImageSpec, ...]


def patient(config: PhantomConfig, patient_id: int) -> Patient:
    """Return patient 1, 2, 3 ...; a function of (seed, prevalences, patient_id) only."""
    require(patient_id >= 1, "patient_id", "1 or greater", patient_id)
    rng = stream(config, Purpose.PLAN, patient_id)
    sizes, weights = np.array(IMAGES_PER_PATIENT).T
    num_images = int(sizes[np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random())])
    sex = "M" if rng.random() < _MALE_SHARE else "F"
    first_age = np.interp(rng.random(), _AGE_SHARES, _AGE_YEARS)
    passed = rng.choice(len(_YEARS_BETWEEN), size=num_images, p=_YEARS_BETWEEN)
    passed[0] = 0
    ages = np.minimum(np.floor(first_age) + np.cumsum(passed), 95).astype(int)
    present = _latent_findings(config).draw(rng, num_images)
    fields = rng.normal(0.0, 1.4) + rng.normal(0.0, 0.6, num_images)
    images = tuple(
        ImageSpec(
            patient_id=patient_id,
            index=i,
            findings=tuple(f for f, here in zip(FINDINGS, present[i, :-1], strict=True) if here),
            age_years=int(ages[i]),
            sex=sex,
            view="AP" if present[i, -1] else "PA",
            field_cm=_field_cm(int(ages[i]), bool(present[i, -1]), float(fields[i])),
        )
        for i in range(num_images)
    )
    return Patient(patient_id=patient_id, sex=sex, images=images)


@lru_cache(maxsize=8)
def _latent_findings(config: PhantomConfig) -> LatentFindings:
    return LatentFindings.of(config.prevalence_scale, config.prevalence_floor)


def _field_cm(age_years: int, is_ap: bool, jitter: float) -> float:
    grown = min(1.0, 0.62 + 0.38 * age_years / 16)
    return round((41.5 if is_ap else 38.0) * grown + min(max(jitter, -3.5), 3.5), 1)


def patients(config: PhantomConfig, num_images: int) -> Iterator[Patient]:
    """Yield patients until they have `num_images` images; the last may keep only some of theirs.

    Asking for more images never changes the earlier ones.
    """
    require(num_images >= 0, "num_images", "0 or greater", num_images)
    patient_id, left = 1, num_images
    while left > 0:
        whole = patient(config, patient_id)
        kept = whole.images[:left]
        yield Patient(patient_id=patient_id, sex=whole.sex, images=kept)
        patient_id, left = patient_id + 1, left - len(kept)


def image_specs(config: PhantomConfig, num_images: int) -> Iterator[ImageSpec]:
    """Yield the first `num_images` specs, patient by patient."""
    everything = (spec for one in patients(config, num_images) for spec in one.images)
    return islice(everything, num_images)


def label_row(config: PhantomConfig, spec: ImageSpec) -> tuple[str, ...]:
    """Return the 11 fields of the image in Data_Entry_2017_v2020.csv's order."""
    spacing_mm = f"{10 * spec.field_cm / config.size_px:.6g}"
    return (
        spec.file_name,
        "|".join(sorted(spec.findings)) or NO_FINDING,
        str(spec.index),
        str(spec.patient_id),
        str(spec.age_years),
        spec.sex,
        spec.view,
        str(config.size_px),
        str(config.size_px),
        spacing_mm,
        spacing_mm,
    )
