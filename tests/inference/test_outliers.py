"""How unlike the training images an image is: a distance, stored and returned with predictions."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from hilum.errors import ChecksumError, InvalidValueError
from hilum.inference import (
    OutlierDetector,
    Predictor,
    embed,
    fit_outlier_detector,
    load_bundle,
    save_bundle,
)
from image_files import picture
from tiny_models import tiny_bundle

RANDOM = np.random.default_rng(0)
MIXING = RANDOM.standard_normal((12, 12)) * np.geomspace(3, 0.3, 12)


def draw(count: int, seed: int) -> np.ndarray:
    """Correlated normal features around 1, spread over three directions more than others."""
    return (np.random.default_rng(seed).standard_normal((count, 12)) @ MIXING + 1).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def detector() -> OutlierDetector:
    found = fit_outlier_detector(draw(400, 1), draw(400, 2))
    assert found is not None
    return found


def test_the_distance_is_mahalanobis_under_the_components_covariance():
    train, points = draw(30, 1), draw(5, 3)
    detector = fit_outlier_detector(train, draw(10, 2))
    values, vectors = np.linalg.eigh(np.cov(train.T.astype(np.float64)))
    kept = 30 // 4
    values[: 12 - kept] = values[: 12 - kept].mean()  # ascending: the smallest share one variance
    inverse = np.linalg.inv(vectors * values @ vectors.T)
    expected = [mahalanobis(point, train.mean(axis=0), inverse) / 12**0.5 for point in points]
    np.testing.assert_allclose(detector.distance(points), expected, rtol=1e-4)


def test_about_one_usual_image_in_a_hundred_is_above_1(detector):
    assert 0.002 < (detector.score(draw(5000, 4)) > 1).mean() < 0.03


def test_what_lies_in_an_unusual_direction_is_found_though_it_is_near(detector):
    usual = draw(100, 5)
    quiet = np.linalg.svd(draw(400, 1) - 1)[2][-1]
    shifted = usual + np.float32(3.0) * quiet.astype(np.float32)
    assert np.linalg.norm(3 * quiet) < usual.std(axis=0).max()
    assert (detector.score(shifted) > 1).all()


def test_too_few_or_equal_images_give_no_score(caplog):
    assert fit_outlier_detector(draw(7, 1), draw(40, 2)) is None
    assert fit_outlier_detector(draw(40, 1), draw(3, 2)) is None
    assert fit_outlier_detector(np.ones((40, 12), np.float32), draw(40, 2)) is None
    assert caplog.text.count("no out-of-distribution score") == 3


def test_features_of_another_network_are_refused(detector):
    with pytest.raises(InvalidValueError, match="12"):
        detector.score(np.zeros((2, 5), np.float32))


@pytest.fixture(scope="module")
def bundle():
    plain = tiny_bundle()
    predictor = Predictor.load(plain)
    smooth = [
        np.full((40, 40), 60 + i, np.uint8) + np.arange(40, dtype=np.uint8) for i in range(48)
    ]
    features = embed(predictor, smooth)
    return replace(plain, outliers=fit_outlier_detector(features[::2], features[1::2]))


def test_the_score_travels_with_the_bundle_and_comes_with_every_prediction(bundle, tmp_path):
    save_bundle(bundle, str(tmp_path))
    images = [picture(i, 40, 40) for i in range(3)]
    loaded = Predictor.load(load_bundle(str(tmp_path)), batch_size=2)
    made = list(loaded.predictions(images))
    expected = bundle.outliers.score(embed(bundle, images))
    np.testing.assert_allclose([one.ood_score for one in made], expected, rtol=1e-4)
    assert min(one.ood_score for one in made) > 1, "noise is unlike smooth pictures"
    np.testing.assert_array_equal([one.probabilities for one in made], list(loaded.predict(images)))


def test_a_bundle_without_a_score_loads_and_says_so(bundle, tmp_path):
    save_bundle(replace(bundle, outliers=None), str(tmp_path))
    manifest = tmp_path / "manifest.json"
    fields = json.loads(manifest.read_text())
    assert fields.pop("outliers_sha256") is None
    manifest.write_text(json.dumps(fields))  # as the first bundles were
    predictor = Predictor.load(load_bundle(str(tmp_path)))
    assert predictor.outliers is None
    assert next(predictor.predictions([picture(1)])).ood_score is None


def test_a_damaged_score_is_refused(bundle, tmp_path):
    save_bundle(bundle, str(tmp_path))
    path = tmp_path / "outliers.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ChecksumError, match=r"outliers\.safetensors"):
        load_bundle(str(tmp_path))
