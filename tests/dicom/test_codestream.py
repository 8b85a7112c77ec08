"""Damaged codestreams through the decoders written in C and C++.

An abort or an endless loop in one of them would end this test run, which is the point.
"""

import random
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, uid
from pydicom.encaps import get_frame

from hilum.dicom import read_dicom
from hilum.dicom.codestream import read_frame_header
from hilum.errors import RejectedImageError

SYNTAXES = [
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.JPEGBaseline8Bit,
    uid.RLELossless,
]
by_keyword = pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda u: u.keyword)
with_header = pytest.mark.parametrize("syntax", SYNTAXES[:-1], ids=lambda u: u.keyword)


@pytest.fixture(scope="module")
def coded(chest15, make_dataset, transcode):
    """Return a function: syntax to a compressed data set and its codestream."""

    def code(syntax):
        depth = 8 if syntax == uid.JPEGBaseline8Bit else 15
        pixels = (chest15 >> 7).astype(np.uint8) if depth == 8 else chest15
        dataset = dcmread(BytesIO(transcode(make_dataset(pixels, bits=depth), syntax)))
        return dataset, get_frame(dataset.PixelData, 0, number_of_frames=1).rstrip(b"\0")

    return code


def reads_or_refuses(data):
    try:
        return read_dicom(data).pixels.shape == (61, 45)
    except RejectedImageError as error:
        return error.reason in ("corrupt", "unsupported_syntax")


@by_keyword
def test_damage_gives_an_image_or_a_refusal(syntax, coded, with_frame):
    dataset, frame = coded(syntax)
    rng = random.Random(7)
    for _ in range(60):
        damaged = bytearray(frame)
        reach = min(len(frame), rng.choice([60, 200, len(frame)]))
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(reach)] = rng.choice([0, 255, rng.randrange(256)])
        if rng.random() < 0.2:
            del damaged[rng.randrange(2, len(damaged)) :]
        assert reads_or_refuses(with_frame(dataset, bytes(damaged), syntax))


@with_header
def test_the_announced_size_is_found(syntax, coded):
    _, frame = coded(syntax)
    header = read_frame_header(frame, syntax)
    assert (header.rows, header.columns) == (61, 45)
    assert header.precision in ((8,) if syntax == uid.JPEGBaseline8Bit else (15, 16))


@with_header
def test_a_cut_header_is_refused_whatever_its_length(syntax, coded):
    _, frame = coded(syntax)
    for length in range(0, 40):
        with pytest.raises(RejectedImageError, match="corrupt"):
            read_frame_header(frame[:length], syntax)


@pytest.mark.parametrize("syntax", SYNTAXES[:2], ids=lambda u: u.keyword)
def test_a_stream_without_end_marker_never_reaches_the_decoder(syntax, coded, with_frame):
    dataset, frame = coded(syntax)
    assert frame.endswith(b"\xff\xd9")
    with pytest.raises(RejectedImageError, match="no end marker"):
        read_dicom(with_frame(dataset, frame[:-2], syntax))


@pytest.mark.parametrize(
    "segment",
    [
        b"\xff\xe0\0\x10JFIF\0\x09\0\0\0\x01\0\x01\0\0",  # a JFIF version libjpeg warns about
        b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\xff",  # an Adobe colour transform it warns about
        b"\x12\x34",  # bytes between two segments
        b"\xff\xc4\0\x13\0\xff" + b"\0" * 15,  # more codes of one bit than there are
        b"\xff\x01\0\x02",  # a marker that has no place here
    ],
    ids=["jfif", "adobe", "garbage", "huffman", "marker"],
)
def test_what_makes_gdcm_abort_never_reaches_it(segment, coded, with_frame):
    dataset, frame = coded(uid.JPEGLosslessSV1)
    with pytest.raises(RejectedImageError, match="the compressed frame has"):
        read_dicom(with_frame(dataset, frame[:2] + segment + frame[2:], uid.JPEGLosslessSV1))


def test_comments_and_usual_application_segments_are_no_obstacle(coded, with_frame):
    dataset, frame = coded(uid.JPEGLosslessSV1)
    usual = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0" + b"\xff\xfe\0\x04hi"
    data = with_frame(dataset, frame[:2] + usual + frame[2:], uid.JPEGLosslessSV1)
    plain = with_frame(dataset, frame, uid.JPEGLosslessSV1)
    assert np.array_equal(read_dicom(data).pixels, read_dicom(plain).pixels)


def test_a_stream_that_announces_a_huge_image_is_refused_unread(coded, with_frame):
    dataset, frame = coded(uid.JPEG2000Lossless)
    start = frame.find(b"\xff\x51")
    huge = frame[: start + 6] + b"\x00\x0f\xff\xff" * 2 + frame[start + 14 :]
    with pytest.raises(RejectedImageError, match="1048575 x 1048575"):
        read_dicom(with_frame(dataset, huge, uid.JPEG2000Lossless))


def test_jpeg_2000_inside_the_boxes_of_a_file_is_read(coded, with_frame, chest15):
    dataset, frame = coded(uid.JPEG2000Lossless)
    boxed = BytesIO()
    Image.open(BytesIO(frame)).save(boxed, "JPEG2000", no_jp2=False)
    assert boxed.getvalue().startswith(b"\0\0\0\x0cjP  ")
    pixels = read_dicom(with_frame(dataset, boxed.getvalue(), uid.JPEG2000Lossless)).pixels
    assert pixels.shape == chest15.shape
