"""Broken files: each is refused with its own reason, none as a half-empty image."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import uid

from hilum.dicom import read_dicom
from hilum.errors import RejectedImageError
from hilum.radiograph import REASONS

PIXELS = (np.arange(64 * 64) % 251).astype(np.uint8).reshape(64, 64)
PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def reason_of(data):
    with pytest.raises(RejectedImageError) as caught:
        read_dicom(data)
    assert caught.value.reason in REASONS
    return caught.value.reason


def outcome(data):
    try:
        return read_dicom(data).pixels.dtype.name
    except RejectedImageError as error:
        return error.reason


@pytest.fixture(scope="module")
def good(make_dicom):
    return make_dicom(PIXELS)


@pytest.fixture(scope="module")
def compressed(make_dataset, transcode):
    return transcode(make_dataset(PIXELS), uid.JPEGLSLossless)


def test_no_bytes_are_empty():
    assert reason_of(b"") == "empty"


@pytest.mark.parametrize("data", [b"\x89PNG" + b"\0" * 500, b"DICM" * 10, b"\0" * 200])
def test_files_without_the_prefix_are_not_forced(data):
    assert reason_of(data) == "not_an_image"


def test_a_file_cut_in_its_pixels_is_truncated(good, compressed):
    for kept in (-1, -100, -3000):
        assert reason_of(good[:kept]) == "truncated"
    for kept in (-9, -100, -500):
        assert reason_of(compressed[:kept]) == "truncated"


def test_a_missing_pad_byte_is_no_missing_pixel(make_dicom):
    odd = PIXELS[:63, :63]
    assert np.array_equal(read_dicom(make_dicom(odd)[:-1]).pixels, odd)


@pytest.mark.parametrize("length", [132, 140, 160, 200, 300, 350])
def test_a_file_cut_in_its_header_is_truncated(length, good):
    assert reason_of(good[:length]) == "truncated"


def test_a_report_has_no_pixels():
    for name in ("test-SR.dcm", "reportsi.dcm"):
        assert reason_of((PYDICOM_FILES / name).read_bytes()) == "no_pixels"


def test_a_dicomdir_has_no_pixels():
    data = (PYDICOM_FILES / "dicomdirtests" / "DICOMDIR").read_bytes()
    assert reason_of(data) == "no_pixels"


def test_a_header_without_its_pixels_has_no_pixels(make_dicom):
    assert reason_of(make_dicom(PIXELS, PixelData=None)) == "no_pixels"
    assert reason_of(make_dicom(PIXELS, PixelData=b"")) == "no_pixels"


def test_a_missing_transfer_syntax_is_named(good):
    element = b"\x02\0\x10\0UI\x14\0" + uid.ExplicitVRLittleEndian.encode() + b"\0"
    assert element in good
    renamed = good.replace(element, b"\x02\0\x99\0" + element[4:])
    with pytest.raises(RejectedImageError, match="missing_tag: TransferSyntaxUID"):
        read_dicom(renamed)


def test_a_deflated_bomb_is_too_large(make_dataset, transcode):
    dataset = make_dataset(PIXELS)
    dataset.PixelData += b"\0" * 70_000_000
    data = transcode(dataset, uid.DeflatedExplicitVRLittleEndian)
    assert len(data) < 100_000
    with pytest.raises(RejectedImageError, match="too_large"):
        read_dicom(data, max_pixels=PIXELS.size)


def test_a_damaged_deflate_stream_is_corrupt(make_dataset, transcode):
    data = transcode(make_dataset(PIXELS), uid.DeflatedExplicitVRLittleEndian)
    assert reason_of(data[:400] + b"\xff" * 40 + data[440:]) in ("corrupt", "truncated")


def test_pixel_data_written_as_a_sequence_is_corrupt(make_dataset, to_bytes):
    dataset = make_dataset(PIXELS)
    sequence = b"\xe0\x7f\x10\0UN\0\0\xff\xff\xff\xff" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    data = to_bytes(dataset)
    assert reason_of(data[: data.index(b"\xe0\x7f\x10\0")] + sequence) == "corrupt"


def test_an_encapsulation_without_a_frame_is_corrupt(make_dataset, with_frame, to_bytes):
    dataset = pydicom.dcmread(
        pydicom.filebase.DicomBytesIO(
            with_frame(make_dataset(PIXELS), b"\xff\xd8", uid.JPEGLSLossless)
        )
    )
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0"  # an empty offset table and nothing else
    assert reason_of(to_bytes(dataset)) == "corrupt"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "wrong_modality"),
        ("rtplan_truncated.dcm", "truncated"),
        ("badVR.dcm", "wrong_modality"),
        ("meta_missing_tsyntax.dcm", "missing_tag"),
        ("SC_rgb_rle_2frame.dcm", "multi_frame"),
        ("SC_rgb_jpeg_dcmtk.dcm", "color"),
        ("examples_palette.dcm", "wrong_modality"),
        ("examples_ybr_color.dcm", "wrong_modality"),
    ],
)
def test_the_odd_files_of_pydicom_have_reasons(name, reason):
    assert reason_of((PYDICOM_FILES / name).read_bytes()) == reason


@given(length=st.integers(0, 5000))
def test_every_cut_is_refused(length, good, compressed):
    for data in (good, compressed):
        if length < len(data) - 8:  # the delimiter of the pixel data
            assert reason_of(data[:length]) in ("empty", "not_an_image", "truncated", "no_pixels")


@given(data=st.data())
def test_flipped_bytes_give_an_image_or_a_reason(data, good, compressed):
    original = data.draw(st.sampled_from([good, compressed]))
    damaged = bytearray(original)
    flips = st.tuples(st.integers(0, len(original) - 1), st.integers(0, 255))
    for position, value in data.draw(st.lists(flips, min_size=1, max_size=8)):
        damaged[position] = value
    assert outcome(bytes(damaged)) in {"uint8", *REASONS}
