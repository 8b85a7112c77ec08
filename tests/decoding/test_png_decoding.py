import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hilum.decoding import decode
from hilum.errors import InvalidValueError, RejectedImageError

GREY = np.random.default_rng(3).integers(0, 256, (37, 53), dtype=np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(image, **options):
    stream = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        stream, "PNG", **options
    )
    return stream.getvalue()


def chunk(kind, payload):
    crc = zlib.crc32(kind + payload)
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", crc)


def raw_png(samples, *, depth, color_type, extra=b""):
    """Write what Pillow cannot: packed low depths, 16-bit colour, extra chunks before the data."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color_type]
    H, W = samples.shape[:2]
    if depth == 16:
        rows = samples.astype(">u2").reshape(H, -1).view(np.uint8)
    elif depth == 8:
        rows = samples.reshape(H, -1)
    else:
        bits = np.unpackbits(samples[..., None].astype(np.uint8), axis=-1)[..., -depth:]
        rows = np.packbits(bits.reshape(H, W * channels * depth), axis=-1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", W, H, depth, color_type, 0, 0, 0)
    return (
        SIGNATURE
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def chunks_of(data):
    position, found = 8, []
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        found.append((data[position + 4 : position + 8], position, position + 12 + length))
        position += 12 + length
    return found


def rejection(data, **options):
    with pytest.raises(RejectedImageError) as caught:
        decode(data, **options)
    return caught.value.reason


# --- every kind of PNG becomes grey ---


def test_8_bit_grey_is_bit_exact():
    radiograph = decode(png(GREY))
    assert np.array_equal(radiograph.pixels, GREY)
    assert (radiograph.source_format, radiograph.source_bits) == ("png", 8)
    assert radiograph.warnings == ()
    assert radiograph.view is None
    assert radiograph.pixels.flags.writeable


@given(st.integers(0, 65535))
def test_16_bit_grey_is_mapped_linearly_and_rounded(value):
    pixels = decode(png(np.array([[value, 65535]], np.uint16))).pixels
    assert pixels.tolist() == [[round(value * 255 / 65535), 255]]


def test_16_bit_grey_says_so():
    radiograph = decode(png(np.array([[0, 65535]], np.uint16)))
    assert (radiograph.source_bits, radiograph.warnings) == (16, ())


def test_unscaled_12_bit_values_are_left_dark_but_said():
    """Nothing is stretched; a table of warnings shows that the data set needs a look."""
    radiograph = decode(png(np.array([[0, 4095]], np.uint16)))
    assert radiograph.pixels.tolist() == [[0, 16]]
    assert radiograph.warnings == ("range_mostly_unused",)


def test_significant_bits_do_not_change_the_mapping():
    samples = np.array([[0, 0xFFF0]], np.uint16)
    with_sbit = raw_png(samples, depth=16, color_type=0, extra=chunk(b"sBIT", b"\x0c"))
    assert decode(with_sbit).pixels.tolist() == [[0, 255]]


def test_gamma_does_not_change_brightness():
    data = raw_png(GREY, depth=8, color_type=0, extra=chunk(b"gAMA", struct.pack(">I", 100000)))
    assert np.array_equal(decode(data).pixels, GREY)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_low_depths_span_black_to_white(depth):
    top = 2**depth - 1
    samples = np.arange(64).reshape(4, 16) % (top + 1)
    radiograph = decode(raw_png(samples, depth=depth, color_type=0))
    assert np.array_equal(radiograph.pixels, samples * 255 // top)
    assert radiograph.source_bits == depth


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_in_any_mode_stays_exact(mode):
    radiograph = decode(png(Image.fromarray(GREY).convert(mode)))
    assert np.array_equal(radiograph.pixels, GREY)
    assert radiograph.warnings == ()


ADAM7 = [
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
]


def interlaced_png(passes):
    H, W = GREY.shape
    rows = [row for y, x, dy, dx in passes for row in GREY[y::dy, x::dx]]
    return (
        SIGNATURE
        + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 0, 0, 0, 1))
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
        + chunk(b"IEND", b"")
    )


def test_interlaced_grey_is_exact():
    assert np.array_equal(decode(interlaced_png(ADAM7)).pixels, GREY)


def test_colour_becomes_bt601_luma_with_a_warning():
    colour = np.random.default_rng(4).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    for mode in ("RGB", "RGBA"):
        radiograph = decode(png(Image.fromarray(colour).convert(mode)))
        assert np.abs(radiograph.pixels - luma).max() <= 0.51
        assert radiograph.warnings == ("color_converted",)


def test_alpha_is_dropped_and_said_if_it_was_used():
    alpha = np.full_like(GREY, 255)
    alpha[3, 4] = 254
    grey_alpha = Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(alpha)))
    for image in (grey_alpha, grey_alpha.convert("RGBA")):
        radiograph = decode(png(image))
        assert np.array_equal(radiograph.pixels, GREY)
        assert radiograph.warnings == ("alpha_dropped",)


def test_a_transparent_palette_entry_or_grey_level_is_said():
    palette = decode(png(Image.fromarray(GREY).convert("P"), transparency=int(GREY[0, 0])))
    level = decode(png(GREY, transparency=int(GREY[0, 0])))
    for radiograph in (palette, level):
        assert np.array_equal(radiograph.pixels, GREY)
        assert radiograph.warnings == ("alpha_dropped",)


def test_an_opaque_palette_alpha_is_no_warning():
    radiograph = decode(png(Image.fromarray(GREY).convert("P"), transparency=b"\xff" * 256))
    assert np.array_equal(radiograph.pixels, GREY)
    assert radiograph.warnings == ()


@pytest.mark.parametrize("color_type", [2, 4, 6])
def test_16_bit_colour_is_within_one_grey_level(color_type):
    channels = {2: 3, 4: 2, 6: 4}[color_type]
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    samples = np.repeat(grey[..., None], channels, axis=2)
    if color_type != 2:
        samples[..., -1] = 65535
    radiograph = decode(raw_png(samples, depth=16, color_type=color_type))
    assert np.abs(radiograph.pixels - grey / 257).max() < 1
    assert (radiograph.source_bits, radiograph.warnings) == (16, ())


# --- broken PNGs ---


@given(st.integers(8, 3000))
def test_a_file_cut_before_the_end_of_its_pixels_is_truncated(length):
    data = png(GREY)
    (end_of_pixels,) = (end for kind, _, end in chunks_of(data) if kind == b"IDAT")
    if length < end_of_pixels:
        assert rejection(data[:length]) == "truncated"


def test_a_file_without_end_marker_still_has_all_its_pixels():
    data = png(GREY)
    for length in (-1, -5, -12):
        radiograph = decode(data[:length])
        assert np.array_equal(radiograph.pixels, GREY)
        assert radiograph.warnings == ("end_marker_missing",)


def test_a_file_cut_between_two_pixel_chunks_is_truncated():
    image = np.random.default_rng(0).integers(0, 256, (400, 400), dtype=np.uint8)
    data = png(image)
    ends = [end for kind, _, end in chunks_of(data) if kind == b"IDAT"]
    assert len(ends) > 1
    for end in ends[:-1]:
        assert rejection(data[:end]) == "truncated"
        assert rejection(data[: end + 6]) == "truncated"


@pytest.mark.parametrize(("depth", "color_type"), [(8, 0), (16, 0), (1, 0), (8, 2), (8, 6)])
def test_fewer_rows_than_announced_are_no_black_rows(depth, color_type):
    channels = {0: 1, 2: 3, 6: 4}[color_type]
    samples = np.repeat(GREY[..., None] & (255 if depth > 1 else 1), channels, axis=2)
    samples = samples[..., 0] if channels == 1 else samples
    data = raw_png(samples, depth=depth, color_type=color_type)
    (_, _, header_end), *_ = chunks_of(data)
    taller = struct.pack(">IIBBBBB", 53, 38, depth, color_type, 0, 0, 0)
    assert decode(data).pixels.shape == (37, 53)
    assert rejection(SIGNATURE + chunk(b"IHDR", taller) + data[header_end:]) == "corrupt"


def test_missing_passes_of_an_interlaced_file_are_corrupt():
    for passes in range(1, 7):
        assert rejection(interlaced_png(ADAM7[:passes])) == "corrupt"


def test_every_grey_level_may_fill_the_last_row():
    for level in range(256):
        assert (decode(png(np.full((5, 9), level, np.uint8))).pixels == level).all()


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND"])
def test_a_wrong_checksum_is_corrupt(kind):
    data = bytearray(png(GREY))
    (end,) = (end for found, _, end in chunks_of(data) if found == kind)
    data[end - 1] ^= 1
    assert rejection(bytes(data)) == "corrupt"


@given(st.integers(16, 2000), st.integers(1, 255))
def test_one_flipped_byte_never_passes(position, mask):
    data = bytearray(png(GREY))
    data[position % (len(data) - 16) + 16] ^= mask
    assert rejection(bytes(data)) in ("corrupt", "truncated", "too_large")


def test_an_announced_giant_is_refused_before_memory_is_taken():
    giant = struct.pack(">IIBBBBB", 1 << 30, 1 << 30, 8, 0, 0, 0, 0)
    data = SIGNATURE + chunk(b"IHDR", giant) + chunk(b"IDAT", zlib.compress(b"\0" * 100))
    assert rejection(data + chunk(b"IEND", b"")) == "too_large"
    assert rejection(data[:40]) == "too_large"


def test_the_size_limit_is_a_parameter():
    assert rejection(png(GREY), max_pixels=GREY.size - 1) == "too_large"
    assert decode(png(GREY), max_pixels=GREY.size).pixels.size == GREY.size
    with pytest.raises(InvalidValueError, match="max_pixels"):
        decode(png(GREY), max_pixels=-1)


def test_images_above_pillows_own_limit_are_read_without_a_warning(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert np.array_equal(decode(png(GREY)).pixels, GREY)


def test_an_animation_is_refused():
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    assert rejection(png(frames[0], save_all=True, append_images=frames[1:])) == "multi_frame"


def test_an_impossible_header_is_corrupt():
    for fields in ((0, 5, 8, 0), (5, 5, 3, 0), (5, 5, 8, 9)):
        header = struct.pack(">IIBBBBB", *fields, 0, 0, 0)
        data = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        assert rejection(data + chunk(b"IEND", b"")) == "corrupt"
    assert rejection(SIGNATURE + chunk(b"IDAT", b"") + chunk(b"IEND", b"")) == "corrupt"


@pytest.mark.real
def test_the_originals_of_nih_are_bit_exact():
    root = os.environ.get("HILUM_REAL_DATA")
    if not root:
        pytest.skip("HILUM_REAL_DATA is not set")
    files = sorted((Path(root) / "nih-pneumonia" / "originals").glob("*.png"))
    assert files
    for file in files[:4]:
        radiograph = decode(file.read_bytes())
        assert radiograph.warnings == ()
        with Image.open(file) as image:
            assert np.array_equal(radiograph.pixels, np.asarray(image))
