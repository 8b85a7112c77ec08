"""Chains of 2019 give the pixels they gave, and become chains that know what is random."""

import numpy as np
import pytest
import torch

from hilum import zoo
from hilum.errors import InvalidValueError
from hilum.models.recipes import PixelContract
from hilum.preprocessing import (
    CenterCrop,
    Chain,
    ChannelNormalize,
    GreyToRGB,
    RandomBrightness,
    RandomCrop,
    RandomHorizontalFlip,
    Resize,
    paper_chain,
)
from hilum.zoo.preprocessing import chain_of

CAFFE = PixelContract(channels="BGR")
RGB = PixelContract()


def notebook_chain() -> zoo.ChainedPreprocessing:
    return zoo.ChainedPreprocessing(
        [
            zoo.RowToImageFeature(),
            zoo.ImageCenterCrop(224, 224),
            zoo.ImageRandomPreprocessing(zoo.ImageHFlip(), 0.5),
            zoo.ImageRandomPreprocessing(zoo.ImageBrightness(0.0, 32.0), 0.5),
            zoo.ImageChannelNormalize(123.68, 116.779, 103.939),
            zoo.ImageMatToTensor(),
            zoo.ImageFeatureToTensor(),
        ]
    )


def row(height: int, width: int, seed: int = 0) -> dict[str, object]:
    """A grey image struct as Spark has it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    return {"height": height, "width": width, "nChannels": 1, "data": pixels.tobytes()}


def as_batch(image: dict[str, object]) -> torch.Tensor:
    pixels = np.frombuffer(image["data"], np.uint8).reshape(image["height"], image["width"])
    return torch.from_numpy(pixels.copy())[None, None]


def test_the_notebooks_chain_is_the_papers_chain_after_the_reader_s_resize():
    assert chain_of(notebook_chain(), RGB) == Chain(paper_chain().steps[1:])


def test_blue_comes_first_for_a_network_that_was_trained_so():
    means = chain_of(notebook_chain(), CAFFE).steps[-1].mean
    assert np.allclose(np.array(means) * 255, [103.939, 116.779, 123.68])
    to_rgb = zoo.ChainedPreprocessing(
        [zoo.ImageChannelNormalize(1, 2, 3), zoo.ImageMatToTensor(to_RGB=True)]
    )
    assert np.allclose(np.array(chain_of(to_rgb, CAFFE).steps[-1].mean) * 255, [1, 2, 3])


@pytest.mark.parametrize("size", [(256, 256), (255, 231)])
def test_a_row_through_the_operations_of_2019_equals_the_chain_in_evaluation(size):
    fixed = [step for step in notebook_chain().transformers if not hasattr(step, "prob")]
    image = row(*size)
    one_by_one = zoo.ChainedPreprocessing(fixed)(image)
    batch = chain_of(notebook_chain(), CAFFE).evaluation()(as_batch(image))
    assert one_by_one.shape == (3, 224, 224)
    assert np.allclose(one_by_one, batch[0].numpy(), atol=1e-4)


def test_prediction_is_not_augmented_as_it_was_in_2019():
    chain = chain_of(notebook_chain(), CAFFE)
    assert not chain.is_deterministic
    assert chain.evaluation().is_deterministic
    assert chain.evaluation().steps == (CenterCrop(224, 224), *chain.steps[-2:])


def test_crops_take_the_width_first():
    chain = chain_of([zoo.ImageRandomCrop(10, 20)][0], RGB)
    assert chain.steps[0] == RandomCrop(height=20, width=10)
    assert chain_of(zoo.ImageCenterCrop(10, 20), RGB).steps[0] == CenterCrop(height=20, width=10)
    image = zoo.ImageCenterCrop(10, 20).apply(np.zeros((30, 40, 3), np.uint8), None)
    assert image.shape == (20, 10, 3)


def test_operations_that_become_steps():
    chain = chain_of(
        zoo.ChainedPreprocessing(
            [
                zoo.ImageBytesToMat(),
                zoo.ImageResize(40, 30),
                zoo.ImageRandomCropper(20, 24, mirror=True),
                zoo.ImageColorJitter(contrast_prob=0.0, brightness_delta=10.0),
                zoo.ImageRandomPreprocessing(zoo.ImageHue(-18, 18), 0.5),
                zoo.ImageChannelScaledNormalizer(127, 127, 127, 1 / 127),
                zoo.ImageMatToTensor(),
                zoo.ImageSetToSample(),
            ]
        ),
        RGB,
    )
    assert chain.steps[:-1] == (
        Resize(40, 30),
        RandomCrop(24, 20),
        RandomHorizontalFlip(0.5),
        RandomBrightness(0.5, -10.0, 10.0),
        GreyToRGB(),
    )
    assert np.allclose(chain.steps[-1].mean, 127 / 255)
    assert np.allclose(chain.steps[-1].std, 127 / 255)


def test_a_chain_without_normalisation_gives_grey_levels():
    chain = chain_of(zoo.ChainedPreprocessing([zoo.ImageMatToTensor()]), RGB)
    image = row(4, 5)
    assert torch.allclose(chain(as_batch(image)), as_batch(image).float().expand(1, 3, 4, 5))


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (zoo.ImageHFlip(), "ImageRandomPreprocessing"),
        (zoo.ImageContrast(0.5, 1.5), "contrast"),
        (zoo.ImageColorJitter(), "contrast_prob"),
        (zoo.ImageAspectScale(256), "one size"),
        (zoo.ImageExpand(), "boxes"),
        (zoo.ImageRandomPreprocessing(zoo.ImageExpand(), 0.5), "ImageHFlip"),
        (zoo.SeqToTensor([3]), "image columns"),
        (object(), "migration"),
    ],
)
def test_what_a_model_cannot_take_along_is_refused_with_the_reason(operation, why):
    with pytest.raises(InvalidValueError, match=why):
        chain_of(zoo.ChainedPreprocessing([operation]), RGB)


def test_brightness_after_normalising_is_refused_and_so_is_normalising_twice():
    normalize = zoo.ImageChannelNormalize(1, 2, 3)
    with pytest.raises(InvalidValueError, match="before ImageChannelNormalize"):
        chain_of(zoo.ChainedPreprocessing([normalize, zoo.ImageBrightness(0, 3)]), RGB)
    with pytest.raises(InvalidValueError, match="once"):
        chain_of(zoo.ChainedPreprocessing([normalize, normalize]), RGB)


def test_densenet_is_fed_what_it_was_trained_on_and_not_59_times_as_much(caplog):
    densenet = PixelContract(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    chain = chain_of(notebook_chain(), densenet)
    assert chain.steps[-1] == ChannelNormalize(densenet.mean, densenet.std)
    assert "strict_2019" in caplog.text
    with zoo.strict_2019():
        strict = chain_of(notebook_chain(), densenet)
    image = as_batch(row(224, 224))
    as_in_2019, today = strict.evaluation()(image), chain.evaluation()(image)
    assert float(as_in_2019.std() / today.std()) == pytest.approx(58, abs=1)


def test_the_right_normalisation_gives_no_warning(caplog):
    contract = PixelContract(
        channels="BGR",
        mean=(103.939 / 255, 116.779 / 255, 123.68 / 255),
        std=(1 / 255, 1 / 255, 1 / 255),
    )
    chain_of(notebook_chain(), contract)
    assert caplog.text == ""


def test_chains_in_chains_and_adapters_lie_flat():
    inner = zoo.ChainedPreprocessing([zoo.ImageResize(8, 8), zoo.ImageMatToTensor()])
    adapted = zoo.FeatureToTupleAdapter(zoo.FeatureLabelPreprocessing(inner, zoo.ScalarToTensor()))
    assert chain_of(adapted, RGB) == chain_of(zoo.ChainedPreprocessing(inner), RGB)
    assert chain_of(zoo.BigDLAdapter(inner), RGB) == chain_of(inner, RGB)


def test_labels_and_numbers_become_arrays():
    assert zoo.SeqToTensor([2, 2]).apply([1, 2, 3, 4]).tolist() == [[1, 2], [3, 4]]
    first, second = zoo.SeqToMultipleTensors([[2], [1, 2]]).apply([1, 2, 3, 4])
    assert (first.tolist(), second.tolist()) == ([1, 2], [[3, 4]])
    assert zoo.ScalarToTensor().apply(3.0).tolist() == [3.0]
    assert zoo.ArrayToTensor([2]).apply(np.ones(2)).dtype == np.float32
    with pytest.raises(InvalidValueError, match="size"):
        zoo.SeqToMultipleTensors([[3]]).apply([1, 2])
