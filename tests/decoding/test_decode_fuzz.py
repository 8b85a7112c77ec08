"""Whatever the bytes, `decode` returns a Radiograph or raises RejectedImageError."""

import warnings
from io import BytesIO

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from hilum.decoding import decode
from hilum.errors import RejectedImageError
from hilum.radiograph import REASONS, Radiograph

PIXELS = (np.arange(40 * 33) % 250).astype(np.uint8).reshape(40, 33)


def encoded(image, image_format, **options):
    stream = BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def dicom(syntax=None):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = uid.ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.ComputedRadiographyImageStorage, "1.2.3"
    dataset.PatientAge, dataset.PatientSex, dataset.ViewPosition = "044Y", "F", "AP"
    dataset.Rows, dataset.Columns = PIXELS.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME1"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.WindowCenter, dataset.WindowWidth = 120, 240
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.PixelData = PIXELS.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax:
        dataset.compress(syntax, generate_instance_uid=False)
    stream = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


GREY = Image.fromarray(PIXELS)
EXIF = Image.Exif()
EXIF[0x0112] = 6
SEEDS = [
    encoded(GREY, "PNG"),
    encoded(GREY.convert("P"), "PNG", transparency=3),
    encoded(GREY.convert("RGBA"), "PNG"),
    encoded(Image.fromarray(PIXELS.astype(np.uint16) * 257), "PNG"),
    encoded(GREY, "JPEG", exif=EXIF),
    encoded(GREY.convert("CMYK"), "JPEG"),
    encoded(GREY, "JPEG", progressive=True),
    dicom(),
    dicom(uid.RLELossless),
    dicom(uid.JPEGLSLossless),
    dicom(uid.JPEG2000Lossless),
]


@st.composite
def damaged(draw):
    data = bytearray(draw(st.sampled_from(SEEDS)))
    reach = draw(st.sampled_from([140, 400, len(data)]))
    places = st.integers(0, min(reach, len(data)) - 1)
    for place in draw(st.lists(places, max_size=6)):
        data[place] = draw(st.sampled_from([0, 1, 127, 255]) | st.integers(0, 255))
    kind = draw(st.sampled_from(["whole", "cut", "hole", "doubled", "padded"]))
    place = draw(st.integers(0, len(data)))
    return bytes(
        {
            "whole": data,
            "cut": data[:place],
            "hole": data[:place] + data[place + draw(st.integers(1, 64)) :],
            "doubled": data[:place] + data[max(place - 20, 0) :],
            "padded": data + bytes(place),
        }[kind]
    )


def outcome(data):
    try:
        radiograph = decode(data, max_pixels=1_000_000)
    except RejectedImageError as error:
        return error.reason
    assert isinstance(radiograph, Radiograph)
    assert radiograph.pixels.dtype == np.uint8
    assert radiograph.pixels.ndim == 2
    assert 0 < radiograph.pixels.size <= 1_000_000
    return "ok"


@settings(max_examples=600, deadline=None)
@given(damaged())
def test_damaged_files_give_an_image_or_a_reason(data):
    assert outcome(data) in {"ok", *REASONS}


@given(st.binary(max_size=300))
@example(b"\0" * 128 + b"DICM" + b"\xff" * 60)
def test_random_bytes_give_a_reason(data):
    for magic in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\0" * 128 + b"DICM"):
        assert outcome(magic + data) in {"ok", *REASONS}


def test_the_undamaged_files_are_fine():
    assert [outcome(seed) for seed in SEEDS] == ["ok"] * len(SEEDS)
