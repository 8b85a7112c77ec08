"""The files: PNG, DICOM and a folder in NIH's layout."""

import csv
import io

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import apply_voi_lut

from hilum.errors import InvalidValueError
from hilum.findings import FINDINGS
from hilum.phantom import (
    BOX_HEADER,
    LABEL_HEADER,
    PhantomConfig,
    encode_dicom,
    encode_png,
    image_specs,
    label_row,
    patient,
    render,
    write_dataset,
)

CONFIG = PhantomConfig(size_px=64, seed=4, prevalence_floor=0.1)


@pytest.fixture(scope="module", params=[1, 4], ids=["MONOCHROME2", "MONOCHROME1"])
def picture(request):
    spec = patient(CONFIG, request.param).images[0]
    pixels = render(CONFIG, spec)
    return pixels, spec, encode_dicom(pixels, spec, seed=CONFIG.seed)


def test_png_gives_back_every_pixel():
    pixels = render(CONFIG, patient(CONFIG, 1).images[0])
    decoded = Image.open(io.BytesIO(encode_png(pixels)))
    assert decoded.mode == "L"
    assert np.array_equal(np.asarray(decoded), pixels)


def test_dicom_through_pydicom_is_the_same_picture(picture):
    pixels, _, content = picture
    dataset = pydicom.dcmread(io.BytesIO(content))
    shown = apply_voi_lut(dataset.pixel_array, dataset) * (255 / 4095)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 255 - shown
    assert np.abs(shown - pixels).max() <= 1


def test_dicom_through_highdicom_is_the_same_picture(picture):
    pixels, _, content = picture
    image = highdicom.imread(io.BytesIO(content))
    shown = image.get_frame(1, apply_modality_transform=None, apply_voi_transform=None,
                            voi_output_range=(0, 255), dtype=np.float32)  # fmt: skip
    assert np.abs(shown - pixels).max() <= 1


def test_dicom_says_what_it_shows(picture, request):
    _, spec, content = picture
    dataset = pydicom.dcmread(io.BytesIO(content))
    assert dataset.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
    assert dataset.PhotometricInterpretation in request.node.callspec.id
    assert (dataset.Modality, dataset.BodyPartExamined) == ("DX", "CHEST")
    assert (dataset.PatientID, dataset.PatientSex) == (str(spec.patient_id), spec.sex)
    assert int(dataset.PatientAge[:3]) == spec.age_years
    assert dataset.ViewPosition == spec.view
    assert (dataset.BitsAllocated, dataset.BitsStored) == (16, 12)
    assert dataset.pixel_array.max() < 4096
    assert float(dataset.ImagerPixelSpacing[0]) * 64 == pytest.approx(10 * spec.field_cm, rel=1e-4)


def test_dicom_identifiers_follow_from_the_seed(picture):
    pixels, spec, content = picture
    assert encode_dicom(pixels, spec, seed=CONFIG.seed) == content
    uids = {
        uid
        for seed in (4, 5)
        for dataset in [pydicom.dcmread(io.BytesIO(encode_dicom(pixels, spec, seed=seed)))]
        for uid in (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    }
    assert len(uids) == 6
    assert all(uid.is_valid for uid in uids)


def test_a_share_of_patients_has_inverted_dicom():
    blank = np.zeros((64, 64), np.uint8)
    kinds = [
        pydicom.dcmread(io.BytesIO(encode_dicom(blank, patient(CONFIG, p).images[0])))
        .PhotometricInterpretation for p in range(1, 21)
    ]  # fmt: skip
    assert kinds.count("MONOCHROME1") == 5


def test_pixels_other_than_bytes_are_refused():
    with pytest.raises(InvalidValueError, match="pixels"):
        encode_dicom(np.zeros((64, 64), np.float32), patient(CONFIG, 1).images[0])


def test_a_written_folder_reads_back(tmp_path):
    labels = write_dataset(tmp_path, 7, CONFIG)
    specs = list(image_specs(CONFIG, 7))
    with (tmp_path / "Data_Entry_2017.csv").open(newline="") as file:
        assert file.readline() == LABEL_HEADER + "\n"
        rows = [tuple(r) for r in csv.reader(file)]
    assert rows == labels == [label_row(CONFIG, s) for s in specs]
    for spec in specs:
        decoded = np.asarray(Image.open(tmp_path / "images" / spec.file_name))
        assert np.array_equal(decoded, render(CONFIG, spec))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "BBox_List_2017.csv", "Data_Entry_2017.csv", "images"
    ]  # fmt: skip


def test_box_file_has_nih_layout(tmp_path):
    write_dataset(tmp_path, 6, CONFIG)
    with (tmp_path / "BBox_List_2017.csv").open(newline="") as file:
        assert file.readline() == BOX_HEADER + "\n"
        rows = list(csv.reader(file))
    findings = {(s.file_name, f) for s in image_specs(CONFIG, 6) for f in s.findings}
    assert {(name, finding) for name, finding, *_ in rows} == findings
    assert all(finding in FINDINGS and int(w) > 0 and int(h) > 0 for _, finding, _, _, w, h in rows)


def test_a_dicom_folder_names_its_files(tmp_path):
    labels = write_dataset(tmp_path, 3, CONFIG, image_format="dicom")
    names = [row[0] for row in labels]
    assert names == sorted(p.name for p in (tmp_path / "images").iterdir())
    assert all(name.endswith(".dcm") for name in names)
    pydicom.dcmread(tmp_path / "images" / names[0])


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(InvalidValueError, match="image_format"):
        write_dataset(tmp_path, 1, CONFIG, image_format="jpeg")
