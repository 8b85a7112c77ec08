"""Perturbations are graded, pure and seeded; AUC is measured at every level on the same images."""

import json

import numpy as np
import pytest
from PIL import Image

from hilum.errors import InvalidValueError
from hilum.evaluation import roc_auc_score
from hilum.evaluation.figures import figure_to_png
from hilum.evaluation.perturbations import PERTURBATIONS
from hilum.evaluation.robustness import measure_robustness
from hilum.evaluation.robustness_plot import plot_robustness
from hilum.phantom import PhantomConfig, image_specs, render

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def chest():
    config = PhantomConfig(size_px=256)
    return render(config, next(image_specs(config, 1)))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_each_is_grey_pure_and_the_same_for_the_same_seed(chest, name):
    perturbation = PERTURBATIONS[name]
    before = chest.copy()
    for level in perturbation.levels:
        first = perturbation(chest, level, seed=5)
        assert first.dtype == np.uint8
        assert first.ndim == 2
        np.testing.assert_array_equal(first, perturbation(chest, level, seed=5))
    np.testing.assert_array_equal(chest, before)


@pytest.mark.parametrize("name", sorted(set(PERTURBATIONS) - {"crop"}))
def test_the_levels_go_from_slight_to_severe(chest, name):
    perturbation = PERTURBATIONS[name]
    worse = [perturbation(chest, level).astype(float) for level in perturbation.levels]
    changes = [np.abs(image - chest).mean() for image in worse]
    assert changes[0] > 0
    assert changes == sorted(changes)


def test_each_does_what_its_unit_says():
    flat = np.full((400, 300), 128, np.uint8)
    assert PERTURBATIONS["noise"](flat, 20.0).std() == pytest.approx(20, rel=0.05)
    edge = np.zeros((400, 300), np.uint8)
    edge[:, 150:] = 200
    blurred = PERTURBATIONS["blur"](edge, 1.0)[200].astype(float)
    gradient = np.diff(blurred)
    spread = np.sqrt((gradient * (np.arange(299) - 149) ** 2).sum() / gradient.sum())
    assert spread == pytest.approx(3.0, rel=0.1), "1 % of 300 pixels"
    assert PERTURBATIONS["contrast"](edge, 50.0).std() == pytest.approx(edge.std() / 2, rel=0.01)
    assert PERTURBATIONS["crop"](edge, 10.0).shape == (320, 240)
    np.testing.assert_array_equal(PERTURBATIONS["inversion"](edge, 1.0), 255 - edge)
    small = PERTURBATIONS["resolution"](edge, 32.0)
    assert small.shape == edge.shape
    expected = Image.fromarray(edge).resize((32, 43), Image.Resampling.BOX)
    assert np.abs(small.mean() - np.asarray(expected).mean()) < 1
    turned = PERTURBATIONS["rotation"](flat, 45.0)
    assert turned[0, 0] == 0
    assert turned[200, 150] == 128


def test_a_small_image_is_not_made_larger_and_smaller_again():
    small = RANDOM.integers(0, 256, (30, 50)).astype(np.uint8)
    np.testing.assert_array_equal(PERTURBATIONS["resolution"](small, 64.0), small)


def test_images_of_any_shape_are_taken_and_others_refused():
    for perturbation in PERTURBATIONS.values():
        perturbation(RANDOM.integers(0, 256, (37, 21)).astype(np.uint8), perturbation.levels[-1])
        with pytest.raises(InvalidValueError, match="pixels"):
            perturbation(np.zeros((4, 4, 3), np.uint8), perturbation.levels[0])


def brightness(images):
    """A model whose first finding is "bright", whose second is the noise of the picture."""
    for pixels in images:
        noise = np.abs(np.diff(pixels.astype(float), axis=0)).mean()
        yield np.array([pixels.mean() / 255, min(1.0, noise / 255)], np.float32)


@pytest.fixture(scope="module")
def measured():
    levels = np.linspace(60, 180, 40).astype(np.uint8)
    images = [np.full((32, 32), level, np.uint8) for level in levels]
    labels = np.stack([levels > 120, np.arange(40) % 2], axis=1).astype(float)
    return measure_robustness(brightness, images, labels, ("Bright", "Noisy"), num_resamples=50)


def test_points_are_aucs_of_the_changed_images(measured):
    assert measured.num_images == 40
    assert measured.unchanged.aurocs == (1.0, 0.5)
    assert measured.unchanged.mean_auroc == 0.75
    assert measured.unchanged.mean_change == 0
    curves = {curve.perturbation: curve for curve in measured.curves}
    assert list(curves) == list(PERTURBATIONS)
    assert curves["inversion"].points[0].aurocs[0] == 0.0, "what was bright is dark"
    assert all(point.aurocs[0] > 0.95 for point in curves["noise"].points)
    assert all(point.mean_change > 0 for point in curves["noise"].points)
    low, high = curves["blur"].points[0].mean_auroc_ci95
    assert low <= curves["blur"].points[0].mean_auroc <= high


def test_a_point_is_what_scoring_the_images_by_hand_gives(chest):
    images = [np.roll(chest, shift, axis=0) for shift in range(12)]
    labels = np.stack([np.arange(12) % 2, np.arange(12) % 3 == 0], axis=1).astype(float)
    noise = PERTURBATIONS["noise"]
    found = measure_robustness(
        brightness, images, labels, ("A", "B"), perturbations=[noise], num_resamples=0, seed=9
    )
    worse = [noise(image, 40.0, seed=9 + i) for i, image in enumerate(images)]
    expected = roc_auc_score(labels, np.stack(list(brightness(worse))))
    np.testing.assert_allclose(found.curves[0].points[-1].aurocs, expected)


def test_an_undefined_auc_is_null_in_json(chest):
    labels = np.array([[1.0, np.nan], [1.0, 0.0]])
    found = measure_robustness(
        brightness,
        [chest, chest],
        labels,
        ("A", "B"),
        perturbations=[PERTURBATIONS["inversion"]],
    )
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["unchanged"]["aurocs"] == [None, None]
    assert document["curves"][0]["points"][0]["mean_auroc"] is None
    assert figure_to_png(plot_robustness(found)), "a picture without a line is still a picture"


def test_the_picture_has_a_panel_per_harm_and_says_its_unit(measured):
    figure = plot_robustness(measured)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.lower() for title in titles] == [name.lower() for name in PERTURBATIONS]
    assert figure.axes[0].get_xlabel() == "grey levels (sd)"


def test_labels_of_another_shape_are_refused(chest):
    with pytest.raises(InvalidValueError, match="labels"):
        measure_robustness(brightness, [chest], np.zeros((1, 3)), ("A", "B"))
