"""Synthetic chest radiographs with implanted findings: Hilum's embedded default data.

    config = PhantomConfig(size_px=256, seed=1)
    for spec in image_specs(config, 100):
        png = encode_png(render(config, spec))

Every image is a function of (config, patient, index), so any process can draw any of them.
"""

from hilum.phantom.config import PhantomConfig
from hilum.phantom.dataset import BOX_HEADER, box_rows, write_dataset, write_rows
from hilum.phantom.drawing import Box, Phantom, phantom, render
from hilum.phantom.encode import encode_dicom, encode_png
from hilum.phantom.plan import (
    LABEL_HEADER,
    ImageSpec,
    Patient,
    image_specs,
    label_row,
    patient,
    patients,
)
from hilum.phantom.prevalence import nih_prevalences

__all__ = [
    "BOX_HEADER",
    "LABEL_HEADER",
    "Box",
    "ImageSpec",
    "Patient",
    "Phantom",
    "PhantomConfig",
    "box_rows",
    "encode_dicom",
    "encode_png",
    "image_specs",
    "label_row",
    "nih_prevalences",
    "patient",
    "patients",
    "phantom",
    "render",
    "write_dataset",
    "write_rows",
]
