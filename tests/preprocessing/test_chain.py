"""Chains: order, split, evaluation, storage, and augmentation that no batching can change."""

import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import InvalidValueError
from hilum.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    Chain,
    ChannelNormalize,
    GreyToRGB,
    RandomBrightness,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    Resize,
    Step,
    paper_chain,
    radiograph_chain,
)


def grey_images(count: int, height: int = 48, width: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 1, height, width), dtype=torch.uint8, generator=generator)


def small_chain() -> Chain:
    return radiograph_chain(32, IMAGENET_MEAN, IMAGENET_STD, resize=40)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """Any chain that fits images of 24 x 24 or more."""
    probability = st.floats(0, 1)
    anywhere = st.one_of(
        st.builds(Resize, st.integers(24, 40), st.integers(24, 40)),
        st.builds(RandomHorizontalFlip, probability),
        st.builds(RandomBrightness, probability, st.floats(-255, 0), st.floats(0, 255)),
        st.builds(RandomRotation, st.floats(0.5, 180), probability),
    )
    steps: list[Step] = draw(st.lists(anywhere, max_size=4))
    side = st.integers(1, 24)
    crops = st.one_of(st.builds(CenterCrop, side, side), st.builds(RandomCrop, side, side))
    steps += draw(st.lists(crops, max_size=1))
    channels = draw(st.sampled_from([1, 3]))
    steps += [GreyToRGB()] if channels == 3 else []
    if draw(st.booleans()):
        mean, std = st.floats(0, 1), st.floats(0.001, 1)
        several = [draw(st.tuples(*[value] * channels)) for value in (mean, std)]
        steps.append(ChannelNormalize(*several))
    return Chain(tuple(steps))


@settings(deadline=None)
@given(chain=chains())
def test_a_stored_chain_comes_back_equal(chain: Chain) -> None:
    text = json.dumps(chain.to_json(), allow_nan=False)
    restored = Chain.from_json(json.loads(text))
    assert restored == chain
    assert hash(restored) == hash(chain)
    assert restored.fingerprint() == chain.fingerprint()
    assert pickle.loads(pickle.dumps(chain)) == chain
    assert eval(repr(chain)) == chain


@settings(max_examples=25, deadline=None)
@given(chain=chains())
def test_prefix_then_suffix_is_the_chain(chain: Chain) -> None:
    images, ids = grey_images(3), np.array([5, 6, 7])
    cached = chain.prefix(images)
    assert cached.dtype == torch.uint8
    assert cached.shape[1] == 1
    assert chain.prefix.is_deterministic
    assert Chain(chain.prefix.steps + chain.suffix.steps) == chain
    whole = chain(images, seed=3, epoch=2, sample_ids=ids)
    assert torch.equal(chain.suffix(cached, seed=3, epoch=2, sample_ids=ids), whole)
    assert tuple(whole.shape[1:]) == chain.output_shape((1, 48, 40))


@settings(max_examples=25, deadline=None)
@given(chain=chains())
def test_evaluation_is_deterministic_and_of_the_same_shape(chain: Chain) -> None:
    images, evaluation = grey_images(3), chain.evaluation()
    assert evaluation.is_deterministic
    assert evaluation.output_shape((1, 48, 40)) == chain.output_shape((1, 48, 40))
    assert evaluation.evaluation() == evaluation
    on_cached = chain.suffix.evaluation()(chain.prefix(images))
    assert torch.equal(on_cached, evaluation(images))


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(20)), cut=st.integers(1, 19))
def test_shuffling_or_splitting_a_batch_changes_no_image(order: list[int], cut: int) -> None:
    images, ids, chain = grey_images(20), torch.arange(100, 120), small_chain()
    together = chain(images, seed=1, epoch=4, sample_ids=ids)
    rows = torch.tensor(order)
    shuffled = torch.cat(
        [
            chain(images[part], seed=1, epoch=4, sample_ids=ids[part])
            for part in (rows[:cut], rows[cut:])
        ]
    )
    assert torch.equal(shuffled, together[rows])


def test_the_prefix_gives_the_same_pixels_per_image_and_per_batch() -> None:
    images, prefix = grey_images(4, 70, 90), small_chain().prefix
    one_by_one = torch.cat([prefix(image[None]) for image in images])
    assert torch.equal(prefix(images), one_by_one)


def test_each_epoch_and_seed_augments_anew_and_repeats_exactly() -> None:
    images, ids, chain = grey_images(8), torch.arange(8), small_chain()
    first = chain(images, seed=1, epoch=0, sample_ids=ids)
    assert torch.equal(first, chain(images, seed=1, epoch=0, sample_ids=ids))
    assert not torch.equal(first, chain(images, seed=1, epoch=1, sample_ids=ids))
    assert not torch.equal(first, chain(images, seed=2, epoch=0, sample_ids=ids))


def test_a_memory_mapped_batch_is_never_written_to() -> None:
    images = grey_images(4)
    before = images.clone()
    for chain in (small_chain(), small_chain().evaluation(), Chain()):
        chain(images, sample_ids=np.arange(4))
    assert torch.equal(images, before)


def test_random_steps_need_a_sample_id_for_each_image() -> None:
    with pytest.raises(InvalidValueError, match=r"sample_ids .*chain\.evaluation\(\)"):
        small_chain()(grey_images(2))
    with pytest.raises(InvalidValueError, match=r"Got \(3,\) for 2 images"):
        small_chain()(grey_images(2), sample_ids=np.arange(3))


def test_grey_stays_one_byte_a_pixel_in_the_cache() -> None:
    chain = radiograph_chain(32, IMAGENET_MEAN, IMAGENET_STD, resize=40, augment=False)
    assert chain.prefix == Chain((Resize(40, 40), CenterCrop(32, 32)))
    assert small_chain().prefix == Chain((Resize(40, 40),))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((Resize(200, 200), CenterCrop(224, 224)), r"step 1 \(CenterCrop\): crop .*200 x 200"),
        ((RandomCrop(8, 8), RandomCrop(8, 9)), r"step 1 \(RandomCrop\): crop"),
        ((GreyToRGB(), GreyToRGB()), r"step 1 \(GreyToRGB\): images must have 1 channel"),
        (
            (GreyToRGB(), ChannelNormalize((0.5,), (0.5,))),
            r"step 1 \(ChannelNormalize\): .*give 3 means",
        ),
        (
            (ChannelNormalize((0.5,), (0.5,)), RandomBrightness(0.5, 0, 32)),
            "ChannelNormalize must be the last step.*RandomBrightness after it",
        ),
        ((Resize(8, 8), torch.nn.Identity()), "step 1 must be one of Hilum's steps"),
    ],
)
def test_contradictory_steps_are_refused_when_the_chain_is_made(
    steps: tuple[Step, ...], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Chain(steps)


def test_images_that_do_not_fit_name_the_step() -> None:
    chain = Chain((RandomHorizontalFlip(0.5), CenterCrop(50, 32)))
    with pytest.raises(InvalidValueError, match=r"step 1 \(CenterCrop\): .*images of 48 x 40"):
        chain(grey_images(1), sample_ids=np.arange(1))
    normalize = Chain((ChannelNormalize(IMAGENET_MEAN, IMAGENET_STD),))
    with pytest.raises(InvalidValueError, match=r"step 0 \(ChannelNormalize\): .*GreyToRGB"):
        normalize.output_shape((1, 48, 40))


def stored(**changes: Any) -> dict[str, Any]:
    document = Chain((Resize(8, 9), ChannelNormalize((0.5,), (0.5,)))).to_json()
    document["steps"][0] |= changes
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (stored(type="Posterize"), "type of step 0 of the chain must be one of Resize"),
        (stored(type=["Resize"]), "type of step 0"),
        (stored(depth=3), r"fields of step 0 of the chain \(Resize\) must be exactly .*depth"),
        (stored(height="8"), r"height of step 0 .* must be a whole number. Got '8'"),
        (stored(height=True), "must be a whole number"),
        (stored(height=-8), "height must be a positive"),
        (stored() | {"version": 2}, "update this one"),
        (stored() | {"format": "other"}, "JSON object with format"),
        (stored() | {"steps": "Resize"}, "steps of the chain must be a list"),
        (stored() | {"steps": ["Resize"]}, "step 0 of the chain"),
        ({}, "JSON object with format"),
        ([], "JSON object with format"),
    ],
)
def test_a_damaged_document_is_refused_with_the_place(document: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Chain.from_json(document)


def test_a_field_left_out_or_of_the_wrong_kind_is_refused() -> None:
    document = stored()
    del document["steps"][0]["width"]
    with pytest.raises(InvalidValueError, match=r"exactly \['height', 'width'\]"):
        Chain.from_json(document)
    document = stored()
    document["steps"][1]["mean"] = [0.5, "a"]
    with pytest.raises(InvalidValueError, match=r"mean of step 1 .* list of numbers"):
        Chain.from_json(document)


def test_the_fingerprint_is_of_the_meaning_not_of_the_spelling() -> None:
    as_int, as_float = (Chain((RandomHorizontalFlip(one),)) for one in (1, 1.0))
    assert as_int == as_float
    assert as_int.fingerprint() == as_float.fingerprint()
    assert Chain((Resize(8, 9),)).fingerprint() != Chain((Resize(9, 8),)).fingerprint()
    assert Chain([Resize(8, 9)]) == Chain((Resize(8, 9),))  # type: ignore[arg-type]


def test_the_default_chain_resizes_a_little_above_the_crop() -> None:
    for size, side in {224: 240, 299: 320, 240: 256, 64: 72, 18: 18}.items():
        chain = radiograph_chain(size, (0.5,), (0.5,), channels=1)
        assert chain.steps[0] == Resize(side, side)


def test_the_default_chain_without_augmentation_is_its_evaluation() -> None:
    trained = radiograph_chain(224, IMAGENET_MEAN, IMAGENET_STD)
    plain = radiograph_chain(224, IMAGENET_MEAN, IMAGENET_STD, augment=False)
    assert plain == trained.evaluation()
    assert plain.output_shape((1, 1024, 1024)) == (3, 224, 224)
    grey = radiograph_chain(224, [0.5], [0.25], channels=1)
    assert grey.output_shape((1, 1024, 1024)) == (1, 224, 224)
    with pytest.raises(InvalidValueError, match=r"mean must be of 1 channel"):
        radiograph_chain(224, IMAGENET_MEAN, IMAGENET_STD, channels=1)


def test_the_papers_chain_subtracts_imagenets_mean_in_grey_levels() -> None:
    flat = torch.full((2, 1, 300, 280), 200, dtype=torch.uint8)
    inputs = paper_chain().evaluation()(flat)
    assert inputs.shape == (2, 3, 224, 224)
    expected = torch.tensor([200 - 123.68, 200 - 116.779, 200 - 103.939])
    torch.testing.assert_close(inputs[0, :, 0, 0], expected, rtol=0, atol=1e-3)
    brightened = paper_chain()(flat, seed=5, sample_ids=np.arange(2))[:, :, 0, 0] - expected
    assert ((brightened > -1e-3) & (brightened < 32.001)).all()
