"""Stored values to display values, against the formulas of the standard, pydicom and highdicom."""

import numpy as np
import pytest
from highdicom.image import Image as ReferenceImage
from highdicom.pixels import apply_voi_window
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi, apply_windowing

from hilum.dicom import read_dicom
from hilum.dicom.grayscale import Window

RAMP12 = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def eight_bit(display):
    return np.floor(np.clip(display, 0, 1) * 255 + 0.5).astype(np.uint8)


@pytest.fixture
def shown(make_dicom):
    """Return a function: attributes to the displayed pixels of a 12-bit ramp."""

    def show(pixels=RAMP12, bits=12, **attributes):
        return read_dicom(make_dicom(pixels, bits=bits, **attributes)).pixels

    return show


@pytest.fixture
def warned(make_dicom):
    """Return a function: attributes to the warning codes of a 12-bit ramp."""

    def read(pixels=RAMP12, bits=12, **attributes):
        return read_dicom(make_dicom(pixels, bits=bits, **attributes)).warnings

    return read


def lut(entries, first, bits, *, as_bytes=True):
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries) % 65536, first, bits])
    if as_bytes:
        item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    else:
        item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return item


# --- range without a VOI ---


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
def test_without_a_window_the_range_of_the_stored_bits_is_shown(bits, make_dicom):
    top = 2**bits - 1
    stored = np.array([[0, top // 2, top]], np.uint8 if bits == 8 else np.uint16)
    pixels = read_dicom(make_dicom(stored, bits=bits)).pixels
    assert np.array_equal(pixels, eight_bit(stored / top))


def test_a_dark_exposure_is_not_brightened(make_dicom):
    dark = RAMP12 // 2
    full = read_dicom(make_dicom(RAMP12, bits=12)).pixels
    assert abs(int(read_dicom(make_dicom(dark, bits=12)).pixels.max()) - full.max() // 2) <= 1


def test_12_bit_values_in_a_16_bit_range_are_left_dark_but_said(make_dicom):
    radiograph = read_dicom(make_dicom(RAMP12, bits=16))
    assert radiograph.pixels.max() == 16
    assert radiograph.warnings == ("range_mostly_unused",)
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert read_dicom(make_dicom(RAMP12, bits=16, **window)).warnings == ()


def test_rescale_alone_changes_nothing_visible(shown):
    plain = shown()
    assert np.array_equal(shown(RescaleSlope=2.5, RescaleIntercept=-1000), plain)


def test_a_negative_slope_inverts(shown):
    assert np.array_equal(shown(RescaleSlope=-1, RescaleIntercept=4095), shown()[::-1, ::-1])


def test_signed_pixels_span_their_signed_range(shown):
    signed = RAMP12.astype(np.int16) - 2048
    assert np.array_equal(shown(signed), shown())


# --- windows ---


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@given(center=st.floats(-500, 5000), width=st.floats(2, 6000))
def test_windows_agree_with_highdicom(function, center, width):
    values = np.linspace(-100, 5000, 501)
    ours = Window(center=center, width=width, function=function)(values)
    with np.errstate(over="ignore"):
        theirs = apply_voi_window(values, center, width, function)
    assert np.allclose(ours, theirs, atol=1e-9)


def test_windows_agree_with_pydicom(make_dataset, to_bytes):
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        dataset = make_dataset(
            RAMP12, bits=12, WindowCenter=1800, WindowWidth=1501, VOILUTFunction=function
        )
        expected = eight_bit(apply_windowing(RAMP12, dataset) / 4095)
        assert np.abs(read_dicom(to_bytes(dataset)).pixels.astype(int) - expected).max() <= 1


def test_the_window_of_the_standard_example():
    """PS3.3 C.11.2.1.2.1, note 2: the first and last values that are not clipped."""
    assert Window(center=2048, width=4096)(np.array([0.0, 4095.0])).tolist() == [0, 1]
    assert Window(center=0, width=100)(np.array([-50.0, 49.0])).tolist() == [0, 1]
    assert Window(center=0, width=1)(np.array([-1.0, -0.5, 0.0])).tolist() == [0, 0, 1]


def test_a_window_applies_after_rescale(shown):
    moved = shown(RescaleSlope=2, RescaleIntercept=100, WindowCenter=3100, WindowWidth=2001)
    assert np.abs(moved.astype(int) - shown(WindowCenter=1500, WindowWidth=1001)).max() <= 1


def test_the_first_of_several_windows_is_taken(shown):
    several = shown(WindowCenter=[1000, 3000], WindowWidth=[500, 600])
    assert np.array_equal(several, shown(WindowCenter=1000, WindowWidth=500))


@pytest.mark.parametrize(
    ("window", "code"),
    [
        ({"WindowCenter": 2000, "WindowWidth": 0}, "window_width_zero"),
        ({"WindowCenter": 2000, "WindowWidth": -5}, "window_width_invalid"),
        ({"WindowCenter": 2000, "WindowWidth": 0.5}, "window_width_invalid"),
        ({"WindowCenter": "", "WindowWidth": ""}, "window_empty"),
        ({"WindowCenter": 2000, "WindowWidth": ""}, "window_empty"),
    ],
)
def test_an_unusable_window_counts_as_absent(window, code, shown, warned):
    assert np.array_equal(shown(**window), shown())
    assert warned(**window) == (code,)


def test_an_unknown_voi_function_is_read_as_linear(shown, warned):
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    assert np.array_equal(shown(**window, VOILUTFunction="FOO"), shown(**window))
    assert warned(**window, VOILUTFunction="FOO") == ("voi_function_unknown",)


# --- lookup tables ---


@pytest.mark.parametrize("as_bytes", [True, False])
def test_a_voi_lut_agrees_with_pydicom(as_bytes, make_dataset, to_bytes):
    entries = np.sqrt(np.arange(4096) / 4095) * 1023
    sequence = [lut(entries.astype(int), 0, 10, as_bytes=as_bytes)]
    dataset = make_dataset(RAMP12, bits=12, VOILUTSequence=sequence)
    dataset.set_original_encoding(False, True)
    expected = eight_bit(apply_voi(RAMP12, dataset) / 1023)
    assert np.array_equal(read_dicom(to_bytes(dataset)).pixels, expected)


def test_values_outside_a_lut_take_its_ends(shown):
    pixels = shown(VOILUTSequence=[lut(np.arange(256) + 0, 1000, 8)]).ravel()
    assert pixels[999] == 0
    assert pixels[1100] == 100
    assert pixels[2000] == 255


def test_a_long_lut_with_8_bit_entries_is_not_wrapped(shown):
    """8-bit output for 12-bit input is legal (PS3.3 C.8.11.3.1.5) and easily overflows an index."""
    entries = np.arange(4096) // 16
    assert np.array_equal(shown(VOILUTSequence=[lut(entries, 0, 8)]).ravel(), entries)
    packed = Dataset()
    packed.add_new("LUTDescriptor", "US", [4096, 0, 8])
    packed.add_new("LUTData", "OW", entries.astype(np.uint8).tobytes())
    assert np.array_equal(shown(VOILUTSequence=[packed]).ravel(), entries)


def test_a_lut_wins_over_a_window(shown):
    sequence = [lut(np.arange(4096), 0, 12)]
    both = shown(VOILUTSequence=sequence, WindowCenter=100, WindowWidth=10)
    assert np.array_equal(both, shown())


def test_an_unreadable_voi_lut_falls_back_to_the_window(shown, warned):
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    broken = [lut(np.arange(10), 0, 99)]
    assert np.array_equal(shown(**window, VOILUTSequence=broken), shown(**window))
    assert warned(**window, VOILUTSequence=broken) == ("voi_lut_invalid",)


def test_a_modality_lut_replaces_rescale(shown):
    entries = np.arange(4096)[::-1]
    assert np.array_equal(shown(ModalityLUTSequence=[lut(entries, 0, 12)]), shown()[::-1, ::-1])


def test_a_lut_may_start_below_zero(shown):
    signed = RAMP12.astype(np.int16) - 2048
    assert np.array_equal(shown(signed, VOILUTSequence=[lut(np.arange(4096), -2048, 12)]), shown())


# --- rescale oddities ---


def test_an_empty_intercept_is_zero(shown, warned):
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    odd = {"RescaleSlope": 1, "RescaleIntercept": "", **window}
    assert np.array_equal(shown(**odd), shown(**window))
    assert warned(**odd) == ("rescale_empty",)


def test_a_slope_of_zero_does_not_erase_the_image(shown, warned):
    assert np.array_equal(shown(RescaleSlope=0, RescaleIntercept=0), shown())
    assert warned(RescaleSlope=0, RescaleIntercept=0) == ("rescale_slope_zero",)


# --- polarity ---


def test_monochrome1_is_inverted_exactly(shown):
    assert np.array_equal(shown(PhotometricInterpretation="MONOCHROME1"), shown()[::-1, ::-1])


def test_inversion_comes_after_the_window(shown):
    window = {"WindowCenter": 1000, "WindowWidth": 500}
    inverted = shown(PhotometricInterpretation="MONOCHROME1", **window)
    assert np.abs(inverted.astype(int) + shown(**window) - 255).max() <= 1


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted", "codes"),
    [
        ("MONOCHROME2", "IDENTITY", False, ()),
        ("MONOCHROME1", "INVERSE", True, ()),
        ("MONOCHROME2", "INVERSE", True, ("presentation_lut_conflict",)),
        ("MONOCHROME1", "IDENTITY", True, ("presentation_lut_conflict",)),
        ("MONOCHROME2", "", False, ()),
    ],
)
def test_presentation_lut_shape_never_inverts_twice(
    photometric, shape, inverted, codes, shown, warned
):
    attributes = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    assert np.array_equal(shown(**attributes), shown()[::-1, ::-1] if inverted else shown())
    assert warned(**attributes) == codes


# --- bits ---


def test_too_small_bits_stored_does_not_wrap_bright_areas(make_dicom, chest15):
    radiograph = read_dicom(make_dicom(chest15, bits=12))
    assert np.array_equal(radiograph.pixels, eight_bit(chest15 / (2**15 - 1)))
    assert radiograph.source_bits == 15
    assert radiograph.warnings == ("bits_stored_too_small",)


def test_unsigned_pixels_called_signed_do_not_wrap(make_dicom, chest15):
    radiograph = read_dicom(make_dicom(chest15, bits=15, PixelRepresentation=1))
    assert np.array_equal(radiograph.pixels, eight_bit(chest15 / (2**15 - 1)))
    assert radiograph.warnings == ("pixel_representation_wrong",)


@pytest.mark.parametrize("bits", [0, 17, 200])
def test_impossible_bits_stored_are_replaced_by_those_in_use(bits, make_dicom, chest15):
    radiograph = read_dicom(make_dicom(chest15, BitsStored=bits))
    assert np.array_equal(radiograph.pixels, eight_bit(chest15 / (2**15 - 1)))
    assert radiograph.warnings == ("bits_stored_invalid",)


def test_an_overlay_in_unused_bits_is_not_taken_for_pixels(make_dataset, to_bytes):
    dataset = make_dataset(RAMP12 | 0x8000, bits=12)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 15)
    radiograph = read_dicom(to_bytes(dataset))
    assert np.array_equal(radiograph.pixels, eight_bit(RAMP12 / 4095))
    assert radiograph.warnings == ()


def test_32_bit_pixels_are_shown_without_a_table(make_dicom):
    wide = RAMP12.astype(np.uint32) << 20
    assert np.array_equal(read_dicom(make_dicom(wide)).pixels, eight_bit(wide / (2**32 - 1)))


# --- the whole chain ---


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (0.5, -100), (-1, 4095)])
def test_the_whole_chain_agrees_with_highdicom(
    photometric, function, slope, intercept, make_dataset, to_bytes
):
    dataset = make_dataset(
        RAMP12,
        bits=12,
        PhotometricInterpretation=photometric,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        WindowCenter=900,
        WindowWidth=1200,
        VOILUTFunction=function,
    )
    ours = read_dicom(to_bytes(dataset)).pixels
    expected = ReferenceImage.from_dataset(dataset).get_frame(
        1,
        apply_modality_transform=None,
        apply_voi_transform=None,
        apply_presentation_lut=True,
        voi_output_range=(0.0, 1.0),
        dtype="float64",
    )
    assert np.abs(ours.astype(int) - eight_bit(expected)).max() <= 1
