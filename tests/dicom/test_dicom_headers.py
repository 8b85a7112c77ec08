import logging
import threading
import warnings
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hilum.dicom import read_dicom
from hilum.errors import InvalidValueError, RejectedImageError
from hilum.radiograph import REASONS

PIXELS = np.arange(256, dtype=np.uint8).reshape(16, 16)
GREY_RGB = np.repeat(PIXELS[..., None], 3, axis=2)


def rejection(data, **options):
    with pytest.raises(RejectedImageError) as caught:
        read_dicom(data, **options)
    assert caught.value.reason in REASONS
    return caught.value.reason, caught.value.detail


# --- what is kept ---


def test_what_is_known_about_the_image_is_kept(make_dicom):
    radiograph = read_dicom(
        make_dicom(
            PIXELS,
            Modality="DX",
            ViewPosition="pa ",
            PatientAge="062Y",
            PatientSex="F",
        )
    )
    assert radiograph.view == "PA"
    assert radiograph.modality == "DX"
    assert radiograph.patient_id == "P-17"
    assert radiograph.age_years == 62
    assert radiograph.sex == "F"
    assert radiograph.sop_instance_uid == "1.2.826.0.1.3680043.8.498.1"
    assert radiograph.transfer_syntax == uid.ExplicitVRLittleEndian
    assert radiograph.warnings == ()


def test_what_is_absent_is_none(make_dicom):
    radiograph = read_dicom(
        make_dicom(PIXELS, PatientID=None, PatientName=None, SOPInstanceUID=None, Modality=None)
    )
    values = (radiograph.view, radiograph.modality, radiograph.patient_id, radiograph.age_years)
    assert values == (None, None, None, None)
    assert (radiograph.sex, radiograph.sop_instance_uid) == (None, None)


@pytest.mark.parametrize("view", ["PA", "AP", "LL", "RL", "LATERAL"])
def test_every_view_is_passed_on(view, make_dicom):
    assert read_dicom(make_dicom(PIXELS, ViewPosition=view)).view == view


@pytest.mark.parametrize(
    ("stored", "years", "codes"),
    [
        ("062Y", 62, ()),
        ("018M", 1.5, ()),
        ("052W", 364 / 365.25, ()),
        ("000D", 0, ()),
        ("62Y", 62, ()),
        ("062y", 62, ()),
        ("62", 62, ("age_without_unit",)),
        ("120Y", 120, ()),
        ("121Y", None, ("age_implausible",)),
        ("412", None, ("age_implausible",)),
        ("old", None, ("age_implausible",)),
        ("-5Y", None, ("age_implausible",)),
        ("", None, ()),
    ],
)
def test_ages_are_read_leniently(stored, years, codes, make_dicom):
    radiograph = read_dicom(make_dicom(PIXELS, PatientAge=stored))
    assert radiograph.age_years == (pytest.approx(years) if years is not None else None)
    assert radiograph.warnings == codes


@pytest.mark.parametrize(
    ("stored", "sex"), [("M", "M"), ("f", "F"), ("O", "O"), ("X", None), ("", None), ("MALE", None)]
)
def test_sex_is_m_f_or_o(stored, sex, make_dicom):
    assert read_dicom(make_dicom(PIXELS, PatientSex=stored)).sex == sex


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "SC", "OT", "", None])
def test_projection_radiographs_are_read(modality, make_dicom):
    assert np.array_equal(read_dicom(make_dicom(PIXELS, Modality=modality)).pixels, PIXELS)


def test_unusable_optional_attributes_count_as_absent(make_dataset, to_bytes):
    dataset = make_dataset(PIXELS)
    dataset.add_new("WindowCenter", "LO", "wide")  # a VR that does not belong here
    dataset.add_new("WindowWidth", "LO", "open")
    dataset.add_new("PatientAge", "US", 7)
    radiograph = read_dicom(to_bytes(dataset))
    assert np.array_equal(radiograph.pixels, PIXELS)
    assert radiograph.age_years is None
    assert radiograph.warnings == ("window_empty",)


# --- what is refused ---


@pytest.mark.parametrize("modality", ["CT", "MR", "MG", "US", "XA", "something else"])
def test_other_modalities_are_refused(modality, make_dicom):
    reason, detail = rejection(make_dicom(PIXELS, Modality=modality))
    assert reason == "wrong_modality"
    assert "something" not in detail.lower()


@pytest.mark.parametrize(
    "keyword",
    [
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "PhotometricInterpretation",
        "SamplesPerPixel",
        "PixelRepresentation",
    ],
)
@pytest.mark.parametrize("value", [None, ""], ids=["absent", "empty"])
def test_a_missing_attribute_is_named(keyword, value, make_dicom):
    assert rejection(make_dicom(PIXELS, **{keyword: value})) == ("missing_tag", keyword)


def test_a_missing_high_bit_is_no_reason_to_refuse(make_dicom):
    assert np.array_equal(read_dicom(make_dicom(PIXELS, HighBit=None)).pixels, PIXELS)


@pytest.mark.parametrize(
    "attributes",
    [{"Rows": 0}, {"BitsAllocated": 12}, {"PixelRepresentation": 2}],
    ids=lambda a: next(iter(a)),
)
def test_impossible_attributes_are_corrupt(attributes, make_dicom):
    assert rejection(make_dicom(PIXELS, **attributes))[0] == "corrupt"


def test_several_frames_are_refused(make_dataset, to_bytes):
    dataset = make_dataset(PIXELS, NumberOfFrames=2)
    dataset.PixelData *= 2
    assert rejection(to_bytes(dataset)) == ("multi_frame", "2 frames")


def test_what_was_tolerated_is_said(make_dataset, to_bytes):
    dataset = make_dataset(PIXELS, PresentationIntentType="FOR PROCESSING")
    dataset.PixelData += b"\0" * 300
    radiograph = read_dicom(to_bytes(dataset))
    assert np.array_equal(radiograph.pixels, PIXELS)
    assert radiograph.warnings == ("excess_pixel_data", "for_processing")


@pytest.mark.parametrize("frames", [1, 0, ""])
def test_one_frame_may_be_counted(frames, make_dicom):
    assert np.array_equal(read_dicom(make_dicom(PIXELS, NumberOfFrames=frames)).pixels, PIXELS)


def test_the_size_limit_holds_before_anything_is_decoded(make_dicom):
    data = make_dicom(PIXELS, Rows=60000, Columns=60000)
    assert rejection(data) == ("too_large", "60000 x 60000 pixels, at most 100000000 allowed")
    assert rejection(make_dicom(PIXELS), max_pixels=255)[0] == "too_large"
    assert read_dicom(make_dicom(PIXELS), max_pixels=256).pixels.size == 256


def test_a_limit_of_nothing_is_a_mistake_of_the_caller(make_dicom):
    with pytest.raises(InvalidValueError, match="max_pixels must be a positive"):
        read_dicom(make_dicom(PIXELS), max_pixels=0)


# --- colour ---


def test_grey_saved_as_rgb_is_grey(make_dicom):
    assert np.array_equal(read_dicom(make_dicom(GREY_RGB)).pixels, PIXELS)


def test_grey_saved_as_rgb_by_planes_is_grey(make_dataset, to_bytes):
    dataset = make_dataset(GREY_RGB, PlanarConfiguration=1)
    dataset.PixelData = np.moveaxis(GREY_RGB, 2, 0).tobytes()
    assert np.array_equal(read_dicom(to_bytes(dataset)).pixels, PIXELS)


def test_16_bit_rgb_is_rounded_to_8(make_dicom):
    grey = np.repeat((np.arange(256, dtype=np.uint16) * 257 + 100).reshape(16, 16, 1), 3, axis=2)
    grey[-1, -1] = 65535
    assert np.array_equal(read_dicom(make_dicom(grey)).pixels, PIXELS)


def test_grey_saved_as_ybr_is_grey(make_dicom):
    ybr = np.full((16, 16, 3), 128, np.uint8)
    ybr[..., 0] = PIXELS
    data = make_dicom(ybr, PhotometricInterpretation="YBR_FULL")
    assert np.array_equal(read_dicom(data).pixels, PIXELS)


def test_colour_is_refused(make_dicom):
    red = GREY_RGB.copy()
    red[3, 3, 0] ^= 1
    assert rejection(make_dicom(red))[0] == "color"
    ybr = np.full((16, 16, 3), 100, np.uint8)
    assert rejection(make_dicom(ybr, PhotometricInterpretation="YBR_FULL"))[0] == "color"
    four = np.repeat(PIXELS[..., None], 4, axis=2)
    assert rejection(make_dicom(four, PhotometricInterpretation="ARGB"))[0] == "color"


def palette(dataset, red, green, blue):
    for name, entries in (("Red", red), ("Green", green), ("Blue", blue)):
        dataset.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        table = np.asarray(entries, "<u2").tobytes()
        dataset.add_new(f"{name}PaletteColorLookupTableData", "OW", table)
    return dataset


def test_a_grey_palette_is_grey_and_a_coloured_one_is_refused(make_dataset, to_bytes):
    dataset = make_dataset(PIXELS, PhotometricInterpretation="PALETTE COLOR")
    ramp = np.arange(256)[::-1] * 257
    grey = to_bytes(palette(dataset, ramp, ramp, ramp))
    assert np.array_equal(read_dicom(grey).pixels, PIXELS[::-1, ::-1])
    assert rejection(to_bytes(palette(dataset, ramp, ramp, ramp[::-1])))[0] == "color"


def test_one_sample_called_rgb_is_corrupt(make_dicom):
    assert rejection(make_dicom(PIXELS, PhotometricInterpretation="RGB"))[0] == "corrupt"


# --- privacy, warnings, threads ---


def nested(depth):
    item = Dataset()
    item.PatientName = "Muster^Erika"
    if depth:
        item.ReferencedImageSequence = Sequence([nested(depth - 1)])
    return item


def test_nothing_leaks_from_a_header_full_of_errors(make_dataset, to_bytes, caplog, capfd):
    dataset = make_dataset(
        PIXELS, Rows="", PatientBirthDate="Muster^Erika", PatientAge="Muster^Erika"
    )
    dataset.ReferencedImageSequence = Sequence([nested(3)])
    data = to_bytes(dataset).replace(b"CS\x02\0CR", b"CS\x02\0\xff\xfe")
    caplog.clear()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("always")
        reason, detail = rejection(data)
    captured = capfd.readouterr()
    assert reason in ("missing_tag", "wrong_modality")
    for place in (detail, caplog.text, captured.out, captured.err):
        assert "Muster" not in place


def test_warnings_of_pydicom_stay_inside_even_where_they_are_errors(make_dataset, to_bytes):
    dataset = make_dataset(PIXELS, PatientAge="62", NumberOfFrames=1)
    dataset.PixelData += b"\0" * 300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_dicom(to_bytes(dataset)).pixels, PIXELS)


def test_the_logger_of_pydicom_is_as_before(make_dicom):
    logger = logging.getLogger("pydicom")
    for propagate in (True, False):
        logger.propagate = propagate
        read_dicom(make_dicom(PIXELS))
        assert logger.propagate is propagate
    logger.propagate = True


def test_threads_read_the_right_pixels_and_leave_the_warning_filters_alone(make_dicom):
    files = [make_dicom(np.full((40, 40), n, np.uint8), PatientAge="62") for n in range(8)]
    seen = {}

    def read_all(start):
        for n in range(start, start + 8):
            seen[start, n % 8] = read_dicom(files[n % 8]).pixels

    before = list(warnings.filters)
    threads = [threading.Thread(target=read_all, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
    assert len(seen) == 32
    assert all((pixels == n).all() for (_, n), pixels in seen.items())


def test_pixels_may_be_written_to(make_dicom):
    """torch.from_numpy warns about read-only arrays."""
    assert read_dicom(make_dicom(PIXELS)).pixels.flags.writeable
    assert read_dicom(make_dicom(GREY_RGB)).pixels.flags.writeable


def test_the_fixture_is_what_pydicom_reads(make_dicom):
    assert np.array_equal(dcmread(BytesIO(make_dicom(PIXELS))).pixel_array, PIXELS)
