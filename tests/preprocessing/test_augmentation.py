"""Random steps, with their random numbers given."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import InterpolationMode, functional

from hilum.errors import InvalidValueError
from hilum.preprocessing import (
    CenterCrop,
    RandomBrightness,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    Step,
)

LARGEST_DRAW = 1 - 2**-24


def grey_images(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_flip_twice_is_identity() -> None:
    images, flip = grey_images(4, 1, 5, 6), RandomHorizontalFlip(0.5)
    draws = torch.tensor([[0.1], [0.49], [0.5], [0.9]])
    once = flip(images, draws)
    assert torch.equal(once[:2], images[:2].flip(3))
    assert torch.equal(once[2:], images[2:])
    assert torch.equal(flip(once, draws), images)


def test_probability_one_always_flips_and_zero_never() -> None:
    images, draws = grey_images(2, 1, 4, 4), torch.tensor([[0.0], [LARGEST_DRAW]])
    assert torch.equal(RandomHorizontalFlip(1)(images, draws), images.flip(3))
    assert torch.equal(RandomHorizontalFlip(0)(images, draws), images)


@settings(max_examples=50, deadline=None)
@given(margin=st.integers(0, 2000), vertical=st.booleans())
def test_random_crop_reaches_both_ends_and_never_beyond(margin: int, vertical: bool) -> None:
    line = torch.arange(margin + 1, dtype=torch.float32)
    images = line[None, None, :, None] if vertical else line[None, None, None, :]
    images = images.expand(2, -1, -1, -1)
    draws = torch.tensor([[0.0, 0.0], [LARGEST_DRAW, LARGEST_DRAW]])
    assert RandomCrop(1, 1)(images, draws).flatten().tolist() == [0, margin]


def test_random_crop_places_each_image_by_its_own_numbers() -> None:
    images = grey_images(2, 3, 10, 12)
    crops = RandomCrop(8, 8)(images, torch.tensor([[0.0, 0.99], [0.5, 0.21]]))
    assert torch.equal(crops[0], images[0, :, 0:8, 4:12])
    assert torch.equal(crops[1], images[1, :, 1:9, 1:9])


def test_random_crop_is_a_centre_crop_in_evaluation() -> None:
    assert RandomCrop(8, 6).evaluation() == CenterCrop(8, 6)
    for step in (RandomHorizontalFlip(0.5), RandomBrightness(0.5, 0, 32), RandomRotation(5)):
        assert step.evaluation() is None


@settings(max_examples=50, deadline=None)
@given(low=st.floats(-255, 255), span=st.floats(0, 100), draw=st.floats(0, LARGEST_DRAW, width=32))
def test_brightness_adds_one_value_and_saturates(low: float, span: float, draw: float) -> None:
    high = min(low + span, 255)
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    step, draws = RandomBrightness(1, low, high), torch.tensor([[0.0, draw]])
    shift = round((torch.tensor(low) + (high - low) * draws[0, 1]).item())
    expected = (images.int() + shift).clamp(0, 255)
    assert torch.equal(step(images, draws), expected.byte())
    assert torch.equal(step(images.float(), draws), expected.float())


def test_brightness_changes_only_the_chosen_images() -> None:
    images = grey_images(2, 1, 4, 4)
    changed = RandomBrightness(0.5, 10, 10)(images, torch.tensor([[0.4, 0.0], [0.6, 0.0]]))
    assert not torch.equal(changed[0], images[0])
    assert torch.equal(changed[1], images[1])


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
@pytest.mark.parametrize("draw", [0.0, 0.3, 0.9])
def test_rotation_is_torchvisions(size: tuple[int, int], draw: float) -> None:
    images, step = grey_images(11, 1, *size).float(), RandomRotation(20)
    ours = step(images, torch.tensor([[0.0, draw]]).expand(11, 2))
    degrees = (2 * draw - 1) * 20
    reference = functional.rotate(images, degrees, InterpolationMode.BILINEAR)
    torch.testing.assert_close(ours, reference, rtol=0, atol=0.02)
    in_bytes = step(images.byte(), torch.tensor([[0.0, draw]]).expand(11, 2))
    assert (in_bytes.float() - ours).abs().max() <= 0.51


def test_a_quarter_turn_is_exact_and_what_comes_in_is_black() -> None:
    images, quarter = grey_images(2, 3, 9, 9), torch.tensor([[0.0, 0.0], [0.7, 0.0]])
    turned = RandomRotation(90, probability=0.5)(images, quarter)
    assert torch.equal(turned[0], images[0].rot90(-1, (1, 2)))
    assert torch.equal(turned[1], images[1])
    white = torch.full((1, 1, 32, 32), 255, dtype=torch.uint8)
    corner = RandomRotation(45)(white, quarter[:1])[0, 0, 0, 0]
    assert corner == 0


@pytest.mark.parametrize(
    "step",
    [RandomCrop(5, 5), RandomHorizontalFlip(1), RandomBrightness(1, -9, 9), RandomRotation(9)],
    ids=lambda step: type(step).__name__,
)
def test_random_steps_leave_their_input_alone_and_keep_its_type(step: Step) -> None:
    draws = torch.full((3, step.num_draws), 0.8)  # type: ignore[union-attr]
    for images in (grey_images(3, 1, 6, 7), grey_images(3, 1, 6, 7).float()):
        before = images.clone()
        after = step(images, draws)  # type: ignore[call-arg]
        assert after.dtype == images.dtype
        assert tuple(after.shape[1:]) == step.output_shape((1, 6, 7))
        assert torch.equal(images, before)


def test_random_steps_check_their_numbers() -> None:
    images = grey_images(2, 1, 4, 4)
    for draws in (torch.zeros(2), torch.zeros(3, 1), torch.zeros(2, 2)):
        with pytest.raises(InvalidValueError, match=r"draws must be .* \(2, 1\)"):
            RandomHorizontalFlip(0.5)(images, draws)
    with pytest.raises(InvalidValueError, match="crop must not be larger"):
        RandomCrop(5, 4)(images, torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomHorizontalFlip(1.5), "probability must be between 0 and 1"),
        (lambda: RandomBrightness(0.5, 32, 0), "low not above high"),
        (lambda: RandomBrightness(-0.5, 0, 32), "probability must be between 0 and 1"),
        (lambda: RandomRotation(0), "degrees must be above 0"),
        (lambda: RandomRotation(5, float("nan")), "probability must be between 0 and 1"),
    ],
)
def test_impossible_settings_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidValueError, match=message):
        make()
