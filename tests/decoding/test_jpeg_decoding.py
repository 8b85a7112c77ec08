import struct
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from hilum.decoding import decode
from hilum.errors import RejectedImageError

y, x = np.mgrid[0:48, 0:80]
GREY = (127 + 60 * np.sin(y / 9) + 60 * np.cos(x / 11)).astype(np.uint8)


def jpeg(image, **options):
    stream = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        stream, "JPEG", **{"quality": 95, **options}
    )
    return stream.getvalue()


def rejection(data, **options):
    with pytest.raises(RejectedImageError) as caught:
        decode(data, **options)
    return caught.value.reason


def test_grey_is_what_the_codec_decodes():
    data = jpeg(GREY)
    radiograph = decode(data)
    assert np.array_equal(radiograph.pixels, np.asarray(Image.open(BytesIO(data))))
    assert (radiograph.source_format, radiograph.source_bits) == ("jpeg", 8)
    assert radiograph.warnings == ()
    assert radiograph.pixels.flags.writeable


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"quality": 30}])
def test_every_flavour_of_grey_is_read(options):
    assert np.abs(decode(jpeg(GREY, **options)).pixels.astype(int) - GREY).max() <= 20


def test_grey_saved_as_rgb_or_cmyk_stays_grey():
    for mode in ("RGB", "CMYK"):
        data = jpeg(Image.fromarray(GREY).convert("RGB").convert(mode), subsampling=0)
        radiograph = decode(data)
        assert np.abs(radiograph.pixels.astype(int) - GREY).max() <= 4, mode


def test_colour_becomes_luma_with_a_warning():
    colour = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)
    radiograph = decode(jpeg(colour, subsampling=0))
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(radiograph.pixels - luma).max() <= 4
    assert radiograph.warnings == ("color_converted",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation):
    """The eight ways of the EXIF standard to store an image, and how each is turned back."""
    stored = {
        1: GREY,
        2: GREY[:, ::-1],
        3: GREY[::-1, ::-1],
        4: GREY[::-1],
        5: GREY.T,
        6: np.rot90(GREY),
        7: GREY[::-1, ::-1].T,
        8: np.rot90(GREY, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(jpeg(np.ascontiguousarray(stored), exif=exif)).pixels
    assert pixels.shape == GREY.shape
    assert np.abs(pixels.astype(int) - GREY).max() <= 6


def test_damaged_exif_does_not_cost_the_image():
    """Nor may Pillow's warning escape: in these tests a warning is an error."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0" + b"\x12\x01\x03\0\xff\xff\xff\x7f\xff\xff\xff\xff" * 2
    radiograph = decode(jpeg(GREY, exif=exif))
    assert np.abs(radiograph.pixels.astype(int) - GREY).max() <= 6


@given(st.integers(3, 3000), st.booleans())
def test_a_cut_file_is_truncated(length, progressive):
    data = jpeg(GREY, progressive=progressive)
    if length < len(data):
        assert rejection(data[:length]) == "truncated"


def test_a_cut_file_is_truncated_even_if_pillow_was_told_to_accept_it(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = jpeg(GREY)
    assert decode(data).pixels.shape == GREY.shape
    assert rejection(data[: len(data) * 2 // 3]) == "truncated"


def test_an_announced_giant_is_refused_before_memory_is_taken():
    data = jpeg(GREY)
    start = data.index(b"\xff\xc0")
    giant = data[: start + 5] + struct.pack(">HH", 65500, 65500) + data[start + 9 :]
    assert rejection(giant) == "too_large"
    assert rejection(data, max_pixels=GREY.size - 1) == "too_large"


def test_12_bit_jpeg_is_refused_as_undecodable():
    data = jpeg(GREY)
    start = data.index(b"\xff\xc0")
    assert rejection(data[: start + 4] + b"\x0c" + data[start + 5 :]) == "corrupt"


def test_a_frame_without_a_scan_is_corrupt():
    assert rejection(b"\xff\xd8\xff\xd9") == "corrupt"
    assert rejection(b"\xff\xd8\xff\xe0\0\x04ab\xff\xd9") == "corrupt"
