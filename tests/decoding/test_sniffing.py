import gzip
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hilum.decoding import decode, sniff
from hilum.errors import RejectedImageError
from hilum.radiograph import REASONS


def saved(image_format):
    stream = BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(stream, image_format)
    return stream.getvalue()


def rejection(data):
    with pytest.raises(RejectedImageError) as caught:
        decode(data)
    return caught.value.reason


def test_the_magic_number_decides():
    assert sniff(saved("PNG")) == "png"
    assert sniff(saved("JPEG")) == "jpeg"
    assert sniff(b"\0" * 128 + b"DICM") == "dicom"
    assert sniff(b"") is None


def test_a_dicom_preamble_may_look_like_another_format():
    """PS3.10 7.1 lets a DICOM file be a TIFF or JPEG at the same time."""
    assert sniff(saved("JPEG").ljust(128, b"\0")[:128] + b"DICM") == "dicom"


def test_no_bytes_are_empty():
    assert rejection(b"") == "empty"


@pytest.mark.parametrize(
    "data",
    [
        b"Image Index,Finding Labels\n00000001_000.png,Cardiomegaly\n",
        b"<!DOCTYPE html><title>404</title>",
        gzip.compress(b"\x89PNG\r\n\x1a\n"),
        saved("GIF"),
        saved("TIFF"),
        saved("BMP"),
        saved("WEBP"),
        b"%PDF-1.7",
        b"\x89PNG\r\n",
        b"\0" * 1000,
    ],
    ids=["csv", "html", "gzip", "gif", "tiff", "bmp", "webp", "pdf", "seven bytes of png", "zeros"],
)
def test_anything_else_is_not_an_image(data):
    assert sniff(data) is None
    assert rejection(data) == "not_an_image"


@pytest.mark.parametrize("magic", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\0" * 128 + b"DICM"])
def test_a_magic_number_alone_is_truncated(magic):
    assert rejection(magic) == "truncated"
    assert "truncated" in REASONS
