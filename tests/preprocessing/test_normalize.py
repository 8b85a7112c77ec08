"""Normalisation against torchvision."""

import pytest
import torch
from torchvision.transforms import v2

from hilum.errors import InvalidValueError
from hilum.preprocessing import IMAGENET_MEAN, IMAGENET_STD, ChannelNormalize, GreyToRGB


def test_normalisation_is_torchvisions() -> None:
    images = torch.randint(0, 256, (3, 3, 5, 7), dtype=torch.uint8)
    reference = v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD))(images / 255)
    ours = ChannelNormalize(IMAGENET_MEAN, IMAGENET_STD)
    assert ours(images).dtype == torch.float32
    torch.testing.assert_close(ours(images), reference, rtol=1e-6, atol=1e-6, check_stride=False)
    torch.testing.assert_close(ours(images.float()), ours(images))


def test_normalised_colour_lies_in_memory_as_channels_last() -> None:
    grey = torch.randint(0, 256, (2, 1, 6, 4), dtype=torch.uint8)
    normalised = ChannelNormalize(IMAGENET_MEAN, IMAGENET_STD)(GreyToRGB()(grey))
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    expected = (grey.double() / 255 - 0.485) / 0.229
    torch.testing.assert_close(normalised[:, :1].double(), expected, rtol=1e-6, atol=1e-6)


def test_normalisation_leaves_its_input_alone() -> None:
    images = torch.full((1, 1, 4, 4), 51.0)
    torch.testing.assert_close(ChannelNormalize((0.1,), (0.5,))(images)[0, 0, 0, 0].item(), 0.2)
    assert (images == 51).all()


def test_three_means_on_grey_images_name_the_way_out() -> None:
    with pytest.raises(InvalidValueError, match=r"GreyToRGB\(\) before ChannelNormalize"):
        ChannelNormalize(IMAGENET_MEAN, IMAGENET_STD)(torch.zeros(1, 1, 4, 4).byte())
    with pytest.raises(InvalidValueError, match="give 3 means"):
        ChannelNormalize((0.5,), (0.5,))(torch.zeros(1, 3, 4, 4).byte())


def test_lists_are_welcome_and_equal_to_tuples() -> None:
    from_lists = ChannelNormalize([0.5], [1])  # type: ignore[arg-type]
    assert from_lists == ChannelNormalize((0.5,), (1.0,))
    assert hash(from_lists) == hash(ChannelNormalize((0.5,), (1.0,)))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((123.68,), (1.0,), "divide means in grey levels"),
        ((0.5,), (0.0,), "std must be positive"),
        ((0.5,), (float("nan"),), "std must be positive"),
        ((0.5, 0.5), (0.5,), "as long as mean"),
        ((), (), "as long as mean"),
        (0.5, 0.5, "one number a channel"),
    ],
)
def test_impossible_means_and_deviations_are_refused(
    mean: tuple[float, ...], std: tuple[float, ...], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        ChannelNormalize(mean, std)
