"""A heat map lies over what the model saw, in the radiograph's own pixels."""

import copy

import numpy as np
import pytest
import torch

from hilum.errors import InvalidValueError
from hilum.explain import Explainer
from hilum.explain.geometry import to_original
from hilum.explain.heat_map import scaled
from hilum.inference import Predictor
from hilum.preprocessing import CenterCrop, Chain, Resize, radiograph_chain
from image_files import picture
from tiny_models import NAMES, oblong_chain, patch_finder, patch_picture, tiny_bundle

CHAIN = oblong_chain(64, 96)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.load(patch_finder("timm:test_resnet", CHAIN))


@pytest.fixture(scope="module")
def finders() -> dict[str, Explainer]:
    names = ("timm:test_resnet", "timm:test_efficientnet")
    return {name: Explainer.load(patch_finder(name, CHAIN)) for name in names}


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_efficientnet"])
@pytest.mark.parametrize(("row", "column"), [(8, 8), (40, 8), (8, 72), (40, 72)])
def test_a_planted_patch_is_where_the_map_is_strongest(finders, name, method, row, column):
    # Twice the network's size, so that rows and columns of the answer are the picture's own.
    pixels = patch_picture(2 * row, 2 * column, 32, 128, 192)
    (found,) = finders[name].explain(pixels, ["Mass"], method=method)
    assert found.values.shape == pixels.shape
    patch = (slice(2 * row, 2 * row + 32), slice(2 * column, 2 * column + 32))
    assert found.values[patch].mean() > found.values.mean() + 0.25
    at = found.peak_position
    cell = 32  # a cell of the coarsest map is 16 input pixels
    assert 2 * row - cell <= at[0] < 2 * row + 32 + cell
    assert 2 * column - cell <= at[1] < 2 * column + 32 + cell


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_maps_are_between_0_and_1_in_the_pictures_shape(explainer, method):
    for shape in ((50, 70), (33, 20)):
        maps = explainer.explain(picture(1, *shape), method=method, top=2)
        for one in maps:
            assert one.values.shape == shape
            assert one.values.dtype == np.float32
            assert one.values.min() >= 0
            assert one.values.max() == (0 if one.is_empty else 1)
            assert one.method == method


def test_without_names_the_most_probable_findings_come_first(explainer):
    pixels = picture(1, 50, 70)
    maps = explainer.explain(pixels)
    (probabilities,) = explainer.predictor.predict([pixels])
    assert [one.finding for one in maps] == [NAMES[i] for i in probabilities.argsort()[::-1]]
    np.testing.assert_allclose([one.probability for one in maps], sorted(probabilities)[::-1])


def test_a_finding_explained_alone_has_the_map_it_has_among_others(explainer):
    pixels = picture(1, 50, 70)
    together = {one.finding: one for one in explainer.explain(pixels, list(NAMES))}
    for name in NAMES:
        (alone,) = explainer.explain(pixels, [name])
        np.testing.assert_allclose(alone.values, together[name].values, atol=1e-4)


def test_grad_cam_is_the_gradient_weighted_map_of_the_paper(explainer):
    """Selvaraju et al. 2017, equations 1 and 2, written out with autograd."""
    inputs = explainer.predictor.inputs(explainer.predictor.prepare(picture(1, 64, 96)))
    network = copy.deepcopy(explainer.network)
    kept = []
    layer = network.get_submodule(explainer.target_layer(inputs))
    layer.register_forward_hook(lambda m, i, out: kept.append(out))
    network(inputs.requires_grad_())[0, 0].backward(inputs=kept)
    weights = kept[0].grad.mean(dim=(2, 3), keepdim=True)
    expected = torch.relu((weights * kept[0]).sum(dim=1)).detach()
    torch.testing.assert_close(explainer._grad_cam(inputs.detach(), [0]), expected)
    assert expected.max() > 0


def test_explaining_leaves_the_predictor_as_it_was(explainer):
    bundle = tiny_bundle()
    predictor = Predictor.load(bundle)
    pixels = picture(1, 50, 70)
    before = next(predictor.predict([pixels]))
    Explainer.load(predictor).explain(pixels)
    np.testing.assert_array_equal(next(predictor.predict([pixels])), before)
    assert all(parameter.grad is None for parameter in predictor.model.parameters())


def test_nothing_is_shown_where_the_network_saw_nothing():
    explainer = Explainer.load(patch_finder("timm:test_resnet", oblong_chain(64, 96, margin=8)))
    pixels = patch_picture(0, 0, 60, 160, 224)  # twice 80 x 112, of which it sees 64 x 96
    (one,) = explainer.explain(pixels, ["Mass"])
    shown = np.nonzero(one.values > 1e-2)
    assert shown[0].min() >= 15
    assert shown[0].max() in range(140, 145)
    assert shown[1].min() >= 15
    assert shown[1].max() in range(200, 209)


def test_a_map_goes_back_through_crop_and_resize_to_its_place():
    chain = Chain((Resize(40, 60), CenterCrop(20, 30)))
    values = torch.zeros(1, 20, 30)
    values[0, 5, 7] = 1  # row 5 + 10, column 7 + 15 of 40 x 60
    back = to_original(values, chain, 80, 120)[0]
    assert back.shape == (80, 120)
    rows, columns = np.nonzero(back == back.max())
    assert abs(rows.mean() + 0.5 - 2 * 15.5) < 0.6
    assert abs(columns.mean() + 0.5 - 2 * 22.5) < 0.6


def test_augmentation_moves_nothing_in_an_explanation():
    bundle = tiny_bundle(chain=radiograph_chain(64, (0.5,) * 3, (0.25,) * 3))
    explainer = Explainer.load(bundle)
    assert explainer.chain.is_deterministic
    first, second = (explainer.explain(picture(1, 50, 70), top=1)[0] for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)


def test_evidence_against_only_is_an_empty_map_that_says_so():
    values, peak = scaled(np.full((2, 3), -1.0, np.float32))
    assert peak == 0
    assert not values.any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"findings": ["Fever"]}, "Fever"),
        ({"findings": []}, "findings"),
        ({"method": "guess"}, "grad-cam, occlusion"),
        ({"top": 0}, "top"),
    ],
)
def test_what_cannot_be_explained_is_said(explainer, arguments, said):
    with pytest.raises(InvalidValueError, match=said):
        explainer.explain(picture(1), **arguments)
