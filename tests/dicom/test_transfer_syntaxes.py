from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.encaps import get_frame

from hilum.dicom import read_dicom
from hilum.errors import RejectedImageError

NATIVE = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
]
LOSSLESS = [
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
]
LOSSY = [(uid.JPEGLSNearLossless, {"jls_error": 2}), (uid.JPEG2000, {"j2k_cr": [4]})]
by_keyword = pytest.mark.parametrize("syntax", NATIVE + LOSSLESS, ids=lambda u: u.keyword)


def shown(stored, bits):
    """Without a VOI the range of the stored bits is mapped linearly, rounded to nearest."""
    return np.floor(stored * (255 / (2**bits - 1)) + 0.5).astype(np.uint8)


def reason_of(data):
    with pytest.raises(RejectedImageError) as caught:
        read_dicom(data)
    return caught.value.reason


@by_keyword
def test_every_lossless_syntax_gives_the_same_pixels(syntax, chest15, make_dataset, transcode):
    radiograph = read_dicom(transcode(make_dataset(chest15, bits=15), syntax))
    assert np.array_equal(radiograph.pixels, shown(chest15, 15))
    assert radiograph.transfer_syntax == syntax
    assert (radiograph.source_format, radiograph.source_bits) == ("dicom", 15)
    assert radiograph.warnings == ()


@pytest.mark.parametrize(("syntax", "options"), LOSSY, ids=["JPEGLSNearLossless", "JPEG2000"])
def test_lossy_syntaxes_stay_close(syntax, options, chest15, make_dataset, transcode):
    radiograph = read_dicom(transcode(make_dataset(chest15, bits=15), syntax, **options))
    assert np.abs(radiograph.pixels.astype(int) - shown(chest15, 15)).max() <= 8


def test_jpeg_baseline_stays_close(chest15, make_dataset, transcode):
    chest8 = (chest15 >> 7).astype(np.uint8)
    radiograph = read_dicom(transcode(make_dataset(chest8), uid.JPEGBaseline8Bit))
    assert np.abs(radiograph.pixels.astype(int) - chest8).max() <= 8


def test_high_throughput_jpeg_2000_is_read(htj2k, make_dataset, with_frame):
    frame, pixels = htj2k
    for syntax in (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K):
        radiograph = read_dicom(with_frame(make_dataset(pixels, bits=16), frame, syntax))
        assert np.array_equal(radiograph.pixels, shown(pixels, 16))


def test_rows_of_odd_8_bit_images_are_not_shifted(make_dicom):
    pixels = np.arange(15, dtype=np.uint8).reshape(3, 5) * 17
    assert np.array_equal(read_dicom(make_dicom(pixels)).pixels, pixels)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("syntax", [*LOSSLESS, uid.JPEGBaseline8Bit], ids=lambda u: u.keyword)
def test_a_codestream_cut_inside_an_intact_file_is_no_half_empty_image(
    syntax, kept, chest15, make_dataset, transcode, with_frame
):
    pixels = chest15 if syntax != uid.JPEGBaseline8Bit else (chest15 >> 7).astype(np.uint8)
    dataset = make_dataset(pixels, bits=15 if pixels.itemsize == 2 else 8)
    coded = dcmread(BytesIO(transcode(dataset, syntax)))
    frame = get_frame(coded.PixelData, 0, number_of_frames=1)
    assert reason_of(with_frame(coded, frame[: int(len(frame) * kept)], syntax)) == "corrupt"


@pytest.mark.parametrize("kept", [0.6, 0.8, 0.95])
@by_keyword
def test_a_file_cut_inside_its_pixels_is_truncated(syntax, kept, chest15, make_dataset, transcode):
    data = transcode(make_dataset(chest15, bits=15), syntax)
    assert reason_of(data[: int(len(data) * kept)]) == "truncated"


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.100", "1.2.3.4", "not a uid"]
)
def test_an_unknown_transfer_syntax_is_said(syntax, chest15, make_dataset, to_bytes):
    data = to_bytes(make_dataset(chest15))
    known = uid.ExplicitVRLittleEndian.encode() + b"\0"
    # Same length, so that no other byte of the file has to change.
    data = data.replace(known, syntax.encode().ljust(len(known), b"\0")[: len(known)])
    assert reason_of(data) == "unsupported_syntax"


def test_12_bit_jpeg_extended_is_an_unsupported_syntax(chest15, make_dataset, with_frame):
    frame_header = b"\xff\xc1\0\x0b\x0c" + bytes([0, 61, 0, 45]) + b"\x01\x01\x11\0"
    scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + b"\x12\x34" * 20
    frame = b"\xff\xd8" + frame_header + scan + b"\xff\xd9"
    data = with_frame(make_dataset(chest15, bits=12), frame, uid.JPEGExtended12Bit)
    assert reason_of(data) == "unsupported_syntax"


def test_compressed_pixels_under_a_native_syntax_are_corrupt(chest15, make_dataset, transcode):
    data = transcode(make_dataset(chest15, bits=15), uid.JPEGLSLossless)
    jpeg_ls = uid.JPEGLSLossless.encode()
    native = uid.ExplicitVRLittleEndian.encode()
    assert reason_of(data.replace(jpeg_ls, native.ljust(len(jpeg_ls), b"\0"))) == "corrupt"


def test_a_frame_of_another_size_than_the_header_says_is_corrupt(
    chest15, make_dataset, transcode, to_bytes
):
    coded = dcmread(BytesIO(transcode(make_dataset(chest15, bits=15), uid.JPEG2000Lossless)))
    coded.Rows = 30
    assert reason_of(to_bytes(coded)) == "corrupt"


def test_the_depth_of_the_codestream_wins_over_a_wrong_header(
    chest15, make_dataset, transcode, to_bytes
):
    for syntax in (uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.JPEGLosslessSV1):
        coded = dcmread(BytesIO(transcode(make_dataset(chest15, bits=15), syntax)))
        coded.BitsStored, coded.HighBit = 12, 11
        radiograph = read_dicom(to_bytes(coded))
        assert np.array_equal(radiograph.pixels, shown(chest15, 15)), syntax.name
        assert radiograph.warnings == ("bits_stored_too_small",)


def test_8_bit_pixels_in_a_16_bit_header_are_read(chest15, make_dataset, transcode, to_bytes):
    chest8 = (chest15[:60] >> 7).astype(np.uint8)  # GDCM does not write an odd number of bytes
    for syntax in (uid.JPEGBaseline8Bit, uid.JPEGLosslessSV1, uid.JPEGLSLossless):
        coded = dcmread(BytesIO(transcode(make_dataset(chest8), syntax)))
        coded.BitsAllocated = 16
        radiograph = read_dicom(to_bytes(coded))
        assert np.abs(radiograph.pixels.astype(int) - chest8).max() <= 8, syntax.name
