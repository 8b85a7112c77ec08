"""Radiographs from real machines: right size, right polarity, the same in every encoding."""

import os
from pathlib import Path

import numpy as np
import pytest

from hilum.dicom import read_dicom

data_store = pytest.importorskip("data_store", reason="pydicom-data is not installed")
PUBLISHED = Path(data_store.__file__).parent / "data"


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("HILUM_REAL_DATA")
    if not root or not (Path(root) / "dicom").is_dir():
        pytest.skip("HILUM_REAL_DATA names no folder with real DICOM files")
    return Path(root) / "dicom"


def lungs_and_mediastinum(pixels):
    """Mean grey of both mid-lung fields and of the column over spine and heart."""
    H, W = pixels.shape
    rows = slice(int(0.35 * H), int(0.5 * H))
    lungs = [pixels[rows, int(a * W) : int(b * W)] for a, b in ((0.2, 0.35), (0.65, 0.8))]
    middle = pixels[rows, int(0.45 * W) : int(0.55 * W)]
    return float(np.mean([lung.mean() for lung in lungs])), float(middle.mean())


def test_a_published_chest_film_has_dark_lungs_and_a_bright_spine():
    """RG1 of pydicom-data: MONOCHROME1, 15 bits, window 15000/30000, pixel spacing 0."""
    radiograph = read_dicom((PUBLISHED / "RG1_UNCR.dcm").read_bytes())
    assert radiograph.pixels.shape == (1955, 1841)
    assert (radiograph.source_bits, radiograph.view, radiograph.sex) == (15, "PA", "F")
    lung, middle = lungs_and_mediastinum(radiograph.pixels)
    assert lung + 30 < middle


def test_published_films_are_the_same_in_every_encoding():
    for film in ("RG1", "RG3"):
        plain, coded, decoded, lossy = (
            read_dicom((PUBLISHED / f"{film}_{kind}.dcm").read_bytes()).pixels
            for kind in ("UNCR", "J2KR", "UNCI", "J2KI")
        )
        assert np.array_equal(coded, plain)
        assert np.abs(decoded.astype(int) - lossy).max() <= 1  # UNCI is J2KI, decoded elsewhere
        assert np.abs(lossy.astype(int) - plain).max() <= 12


@pytest.mark.real
def test_a_digital_radiograph_from_nih(real):
    radiograph = read_dicom((real / "nih-as-dicom.dcm").read_bytes())
    assert radiograph.pixels.shape == (1024, 1024)
    assert (radiograph.modality, radiograph.source_bits) == ("DX", 8)
    lung, middle = lungs_and_mediastinum(radiograph.pixels)
    assert lung + 30 < middle


@pytest.mark.real
def test_a_secondary_capture_from_rsna(real):
    radiograph = read_dicom((real / "rsna-secondary-capture.dcm").read_bytes())
    assert radiograph.pixels.shape == (1024, 1024)
    assert (radiograph.view, radiograph.age_years, radiograph.sex) == ("PA", 62, "M")
    assert radiograph.warnings == ("age_without_unit",)
    lung, middle = lungs_and_mediastinum(radiograph.pixels)
    assert lung + 30 < middle
