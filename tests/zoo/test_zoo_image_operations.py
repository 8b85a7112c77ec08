"""The image operations of 2019, one image at a time, against other programs' arithmetic."""

import colorsys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from hilum import zoo
from hilum.errors import InvalidValueError


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.integers(0, 256, (12, 10, 3), np.uint8)


@pytest.fixture
def volume(rng) -> np.ndarray:
    return rng.random((7, 8, 9))


def test_brightness_saturates_bytes_and_leaves_floats_without_limit(image, rng):
    brighter = zoo.ImageBrightness(32, 32).apply(image, rng)
    assert np.array_equal(brighter, np.minimum(image.astype(int) + 32, 255))
    darker = zoo.ImageBrightness(-300, -300).apply(image, rng)
    assert darker.max() == 0
    floats = zoo.ImageBrightness(300, 300).apply(image.astype(np.float32), rng)
    assert floats.max() > 255


def test_contrast_multiplies_and_saturates(image, rng):
    stronger = zoo.ImageContrast(1.5, 1.5).apply(image, rng)
    assert np.array_equal(stronger, np.clip(np.rint(image * 1.5), 0, 255).astype(np.uint8))


def test_resizing_is_pillows_bilinear(image, rng):
    resized = zoo.ImageResize(6, 5).apply(image, rng)
    pillow = np.asarray(Image.fromarray(image).resize((5, 6), Image.Resampling.BILINEAR))
    assert np.abs(resized.astype(int) - pillow.astype(int)).max() <= 1


def test_the_short_side_is_scaled_and_the_long_one_limited(rng):
    wide = np.zeros((50, 200, 3), np.uint8)
    assert zoo.ImageAspectScale(25).apply(wide, rng).shape == (25, 100, 3)
    assert zoo.ImageAspectScale(100, max_size=300).apply(wide, rng).shape == (75, 300, 3)
    assert zoo.ImageAspectScale(25, scale_multiple_of=16).apply(wide, rng).shape == (16, 96, 3)
    sizes = {zoo.ImageRandomAspectScale([10, 20]).apply(wide, rng).shape[0] for _ in range(20)}
    assert sizes == {10, 20}


def test_crops_cut_what_they_say(image, rng):
    assert np.array_equal(zoo.ImageCenterCrop(4, 6).apply(image, rng), image[3:9, 3:7])
    assert np.array_equal(
        zoo.ImageFixedCrop(0.1, 0.25, 0.5, 0.75).apply(image, rng), image[3:9, 1:5]
    )
    fixed = zoo.ImageFixedCrop(-3, 0, 5, 40, normalized=False)
    assert np.array_equal(fixed.apply(image, rng), image[0:12, 0:5])
    places = {zoo.ImageRandomCrop(9, 11).apply(image, rng).tobytes() for _ in range(60)}
    corners = ((0, 0), (0, 1), (1, 0), (1, 1))
    every = {image[top : top + 11, left : left + 9].tobytes() for top, left in corners}
    assert places == every


def test_a_crop_larger_than_the_image_is_an_error_and_not_a_smaller_image(image, rng):
    for crop in (zoo.ImageCenterCrop(11, 12), zoo.ImageRandomCrop(10, 13)):
        with pytest.raises(InvalidValueError, match="crop"):
            crop.apply(image, rng)
    with pytest.raises(InvalidValueError, match="box within"):
        zoo.ImageFixedCrop(0, 0, 11, 12, normalized=False, is_clip=False).apply(image, rng)


def test_flips(image, rng):
    assert np.array_equal(zoo.ImageHFlip().apply(image, rng), np.fliplr(image))
    assert np.array_equal(zoo.ImageMirror().apply(image, rng), np.rot90(image, 2))


def test_an_operation_is_applied_with_its_probability(image, rng):
    flip = zoo.ImageRandomPreprocessing(zoo.ImageHFlip(), 0.25)
    flipped = sum(np.array_equal(flip.apply(image, rng), image[:, ::-1]) for _ in range(2000))
    assert flipped / 2000 == pytest.approx(0.25, abs=0.04)
    with pytest.raises(InvalidValueError, match="prob"):
        zoo.ImageRandomPreprocessing(zoo.ImageHFlip(), 1.5)


def test_a_canvas_of_the_mean_colour_holds_the_image(image, rng):
    canvas = zoo.ImageExpand(min_expand_ratio=2.0, max_expand_ratio=2.0).apply(image, rng)
    assert canvas.shape == (24, 20, 3)
    outside = (canvas == [104, 117, 123]).all(axis=2)
    assert outside.sum() >= 24 * 20 - 12 * 10
    windows = np.lib.stride_tricks.sliding_window_view(canvas, image.shape)
    assert any(np.array_equal(window, image) for window in windows.reshape(-1, *image.shape))


def test_a_box_is_filled(image, rng):
    filled = zoo.ImageFiller(0.5, 0.25, 1.0, 0.5, value=7).apply(image, rng)
    assert (filled[3:6, 5:] == 7).all()
    assert np.array_equal(filled[6:], image[6:])


def test_hue_and_saturation_are_those_of_hsv(image, rng):
    turned = zoo.ImageHue(30, 30).apply(image, rng)
    faded = zoo.ImageSaturation(0.5, 0.5).apply(image, rng)
    for place in np.ndindex(3, 3):
        blue, green, red = image[place] / 255
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        expected = np.array(colorsys.hsv_to_rgb((hue + 30 / 180) % 1, saturation, value))[::-1]
        assert np.abs(turned[place] - 255 * expected).max() <= 0.51
        expected = np.array(colorsys.hsv_to_rgb(hue, saturation / 2, value))[::-1]
        assert np.abs(faded[place] - 255 * expected).max() <= 0.51


def test_a_grey_image_has_no_hue_to_turn(rng):
    grey = rng.integers(0, 256, (5, 6, 1), np.uint8)
    three = np.repeat(grey, 3, axis=2)
    for operation in (
        zoo.ImageHue(-18, 18),
        zoo.ImageSaturation(0.5, 1.5),
        zoo.ImageChannelOrder(),
    ):
        assert np.array_equal(operation.apply(grey, rng), grey)
        assert np.array_equal(operation.apply(three, rng), three)


def test_jitter_with_no_probability_changes_nothing_and_with_all_changes_much(image, rng):
    never = zoo.ImageColorJitter(0, 32, 0, 0.5, 1.5, 0, 18, 0, 0.5, 1.5, 0)
    assert np.array_equal(never.apply(image, rng), image)
    always = zoo.ImageColorJitter(1, 32, 1, 0.5, 1.5, 1, 18, 1, 0.5, 1.5, 1, shuffle=True)
    changed = always.apply(image, rng)
    assert changed.dtype == np.uint8
    assert (changed != image).mean() > 0.5


def test_channels_are_normalised_in_the_order_of_the_pixels(image, rng):
    normal = zoo.ImageChannelNormalize(1, 2, 3, 4, 5, 6).apply(image, rng)
    assert np.allclose(normal[..., 0], (image[..., 0] - 3.0) / 6)
    assert np.allclose(normal[..., 2], (image[..., 2] - 1.0) / 4)
    scaled = zoo.ImageChannelScaledNormalizer(1, 2, 3, 0.5).apply(image, rng)
    assert np.allclose(scaled[..., 1], (image[..., 1] - 2.0) * 0.5)


def test_an_image_is_normalised_by_itself(image, rng):
    spread = zoo.PerImageNormalize(0, 1).apply(image, rng)
    assert (spread.min(), spread.max()) == (0, 1)
    assert np.linalg.norm(zoo.PerImageNormalize(3, 0, 4).apply(image, rng)) == pytest.approx(3)
    assert np.abs(zoo.PerImageNormalize(3, 0, 2).apply(image, rng)).sum() == pytest.approx(3, 1e-4)
    means = image.astype(np.float32)
    assert not zoo.ImagePixelNormalize(means.ravel()).apply(image, rng).any()


def test_planes_are_blue_first_unless_asked(image):
    assert np.array_equal(zoo.ImageMatToTensor().apply(image), image.transpose(2, 0, 1))
    red_first = zoo.ImageMatToTensor(to_RGB=True).apply(image)
    assert np.array_equal(red_first, image[..., ::-1].transpose(2, 0, 1))
    assert zoo.ImageMatToTensor(format="NHWC").apply(image).shape == image.shape
    assert zoo.ImageMatToTensor().apply(image[..., :1]).shape == (1, 12, 10)


def test_3d_crops(volume, rng):
    assert np.array_equal(zoo.Crop3D([1, 2, 3], [2, 3, 4]).apply(volume), volume[:2, 1:4, 2:6])
    assert np.array_equal(zoo.CenterCrop3D(3, 4, 5).apply(volume), volume[2:5, 2:6, 2:7])
    assert zoo.RandomCrop3D(7, 8, 2).apply(volume, rng).shape == (7, 8, 2)
    for crop in (zoo.Crop3D([6, 1, 1], [3, 1, 1]), zoo.Crop3D([0, 1, 1], [1, 1, 1])):
        with pytest.raises(InvalidValueError, match="crop"):
            crop.apply(volume)
    with pytest.raises(InvalidValueError, match="volume"):
        zoo.CenterCrop3D(8, 1, 1).apply(volume)


def test_a_quarter_turn_is_numpys(rng):
    cube = rng.random((5, 5, 5))
    quarter = np.pi / 2
    turns = {
        (quarter, 0, 0): np.rot90(cube, 1, axes=(2, 0)),  # depth and width
        (0, quarter, 0): np.rot90(cube, 1, axes=(0, 1)),  # depth and height
        (0, 0, quarter): np.rot90(cube, 1, axes=(1, 2)),  # width and height
    }
    for angles, expected in turns.items():
        assert np.allclose(zoo.Rotate3D(angles).apply(cube), expected), angles


def test_a_turned_volume_is_scipys_inside(rng):
    cube = ndimage.gaussian_filter(rng.random((15, 15, 15)), 2)
    turned = zoo.Rotate3D([0.0, 0.0, 0.3]).apply(cube)
    one_way = ndimage.rotate(cube, np.degrees(0.3), axes=(1, 2), reshape=False, order=1)
    other_way = ndimage.rotate(cube, -np.degrees(0.3), axes=(1, 2), reshape=False, order=1)
    inner = (slice(None), slice(4, 11), slice(4, 11))
    differences = [np.abs(turned - other)[inner].max() for other in (one_way, other_way)]
    assert min(differences) < 1e-9
    assert max(differences) > 1e-3
    assert turned[0, 0, 0] == 0, "nothing comes in from outside"


def test_an_affine_map_is_scipys(volume):
    matrix = np.array([[1.0, 0.1, 0.0], [0.0, 0.9, 0.2], [0.05, 0.0, 1.1]])
    shift = np.array([0.5, -1.0, 0.25])
    centre = (np.array(volume.shape) - 1) / 2
    offset = centre - matrix @ centre - shift
    for mode, theirs in (("clamp", "nearest"), ("padding", "constant")):
        pad = 9.0 if mode == "padding" else 0.0
        expected = ndimage.affine_transform(volume, matrix, offset, order=1, mode=theirs, cval=9.0)
        ours = zoo.AffineTransform3D(matrix, shift, mode, pad).apply(volume)
        assert np.allclose(ours, expected)
    assert np.array_equal(zoo.AffineTransform3D(np.eye(3)).apply(volume), volume)
    with pytest.raises(InvalidValueError, match="pad_val"):
        zoo.AffineTransform3D(np.eye(3), None, "clamp", 1.0)
