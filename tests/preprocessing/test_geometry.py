"""Resize, centre crop and grey to RGB against Pillow and torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from hilum.errors import InvalidValueError
from hilum.preprocessing import CenterCrop, GreyToRGB, Resize


def grey_images(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("source", "target"),
    [((128, 128), (32, 32)), ((97, 131), (40, 24)), ((20, 30), (48, 64)), ((64, 50), (64, 25))],
)
def test_resize_gives_pillows_pixels(source: tuple[int, int], target: tuple[int, int]) -> None:
    images = grey_images(1, 1, *source)
    pillow = Image.fromarray(images[0, 0].numpy()).resize(target[::-1], Image.Resampling.BILINEAR)
    ours = Resize(*target)(images)[0, 0].numpy()
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - np.asarray(pillow).astype(int)).max() <= 1


def test_resizing_bytes_and_floats_agree_to_one_grey_level() -> None:
    images = grey_images(2, 1, 90, 70)
    as_float = Resize(32, 24)(images.float())
    assert as_float.dtype == torch.float32
    assert (Resize(32, 24)(images).float() - as_float).abs().max() <= 1


@pytest.mark.parametrize("target", [(7, 9), (60, 61), (128, 100)])
def test_resize_keeps_mean_brightness(target: tuple[int, int]) -> None:
    for level in (0, 16, 64, 128, 255):
        flat = torch.full((1, 1, 61, 47), level, dtype=torch.uint8)
        assert torch.equal(Resize(*target)(flat), torch.full((1, 1, *target), level).byte())
    ramp = torch.arange(0, 256, 2, dtype=torch.uint8).repeat(128, 1)[None, None]
    assert abs(Resize(*target)(ramp).double().mean() - ramp.double().mean()) < 0.6


def test_resize_averages_fine_structure_instead_of_aliasing() -> None:
    stripes = torch.arange(256) // 2 % 2
    checker = ((stripes[:, None] ^ stripes[None, :]) * 255).byte()[None, None]
    shrunk = Resize(32, 32)(checker)[0, 0, 1:-1, 1:-1].float()
    assert (shrunk - 127.5).abs().max() <= 2


def test_resize_to_the_same_size_changes_nothing() -> None:
    images = grey_images(2, 1, 30, 40)
    assert torch.equal(Resize(30, 40)(images), images)


@pytest.mark.parametrize("size", [(10, 10), (13, 12), (12, 13), (9, 16)])
@pytest.mark.parametrize("crop", [(9, 9), (4, 7), (7, 4)])
def test_centre_crop_cuts_where_torchvision_cuts(
    size: tuple[int, int], crop: tuple[int, int]
) -> None:
    images = grey_images(2, 1, *size)
    assert torch.equal(CenterCrop(*crop)(images), v2.CenterCrop(list(crop))(images))


def test_crop_larger_than_the_image_says_so() -> None:
    with pytest.raises(InvalidValueError, match=r"crop of 224 x 224 .* images of 200 x 256"):
        CenterCrop(224, 224)(grey_images(1, 1, 200, 256))


def test_grey_to_rgb_copies_no_pixel() -> None:
    images = grey_images(2, 1, 8, 8)
    rgb = GreyToRGB()(images)
    assert rgb.shape == (2, 3, 8, 8)
    assert rgb.data_ptr() == images.data_ptr()
    assert all(torch.equal(rgb[:, channel], images[:, 0]) for channel in range(3))


def test_grey_to_rgb_refuses_colour() -> None:
    with pytest.raises(InvalidValueError, match="leave GreyToRGB out"):
        GreyToRGB()(grey_images(1, 3, 8, 8))


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (2.5, 5), (True, 5)])
def test_sizes_must_be_positive_whole_numbers(size: tuple[int, int]) -> None:
    for step in (Resize, CenterCrop):
        with pytest.raises(InvalidValueError, match="positive whole number of pixels"):
            step(*size)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(8, 8).byte(), torch.zeros(0, 1, 8, 8).byte(), torch.zeros(1, 1, 8, 8).short()],
)
def test_anything_but_a_batch_of_grey_levels_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(InvalidValueError, match="images must be"):
        Resize(4, 4)(images)
