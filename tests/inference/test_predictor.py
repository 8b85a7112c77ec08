"""One way from pixels to probabilities, whatever the batch and whatever stands around it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hilum.errors import InvalidValueError
from hilum.evaluation.calibration import Calibration, FindingCalibration
from hilum.evaluation.decision import DecisionRules
from hilum.evaluation.operating import OperatingPoint, Youden
from hilum.inference import ModelBundle, Predictor
from hilum.models import build_classifier
from hilum.preprocessing import radiograph_chain
from image_files import picture

PICTURES = [picture(i, 30 + 3 * i, 50 - 2 * i) for i in range(7)]


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    model, _ = build_classifier("timm:test_resnet", 3, weights="random", seed=0)
    return ModelBundle(
        architecture="timm:test_resnet",
        findings=("Mass", "Edema", "Hernia"),
        preprocessing=radiograph_chain(32, (0.5,) * 3, (0.25,) * 3),
        weights=model.state_dict(),
    )


@pytest.fixture(scope="module")
def predictor(bundle) -> Predictor:
    return Predictor.load(bundle)


def all_of(predictor, pictures=PICTURES):
    return np.stack(list(predictor.predict(pictures)))


def test_probabilities_are_between_0_and_1_in_the_order_of_images_and_findings(predictor):
    found = all_of(predictor)
    assert found.shape == (7, 3)
    assert found.dtype == np.float32
    assert ((found > 0) & (found < 1)).all()
    np.testing.assert_allclose(all_of(predictor, PICTURES[::-1])[::-1], found, atol=1e-6)


def test_predictions_are_those_of_the_network_on_the_evaluation_chain(bundle, predictor):
    chain, network = bundle.preprocessing.evaluation(), bundle.network()
    with torch.inference_mode():
        for pixels, found in zip(PICTURES, all_of(predictor), strict=True):
            logits = network(chain(torch.from_numpy(pixels)[None, None]))
            np.testing.assert_allclose(found, torch.sigmoid(logits)[0].numpy(), atol=1e-6)


def test_predicting_twice_gives_the_same_bits(bundle, predictor):
    first = all_of(predictor)
    assert np.array_equal(first, all_of(predictor))
    assert np.array_equal(first, all_of(Predictor.load(bundle)))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_one_image_alone_is_predicted_as_in_a_batch(bundle, predictor, batch_size):
    other = Predictor.load(bundle, batch_size=batch_size)
    np.testing.assert_allclose(all_of(other), all_of(predictor), atol=1e-6)


def test_images_are_read_a_batch_at_a_time(bundle):
    read = []

    def stream():
        for i in range(10):
            read.append(i)
            yield PICTURES[0]

    predictions = Predictor.load(bundle, batch_size=4).predict(stream())
    assert read == []
    next(predictions)
    assert len(read) == 4


def test_no_images_give_no_predictions(predictor):
    assert list(predictor.predict([])) == []


def test_read_only_pixels_are_fine_and_never_written_to(predictor):
    pixels = PICTURES[0].copy()
    pixels.setflags(write=False)
    (found,) = predictor.predict([pixels])
    assert np.array_equal(pixels, PICTURES[0])
    np.testing.assert_allclose(found, all_of(predictor)[0], atol=1e-6)


def test_an_impossible_batch_size_is_refused(bundle):
    with pytest.raises(InvalidValueError, match="batch_size"):
        Predictor.load(bundle, batch_size=0)


def with_rules(bundle):
    """Calibrated by hand; a threshold that some of the pictures reach, and a finding without."""
    steep = FindingCalibration(method="platt", slope=2.0, intercept=-0.5)
    calibration = Calibration(
        findings={"Mass": steep, "Edema": FindingCalibration(method="none"), "Hernia": steep}
    )
    scores = calibration.apply(all_of(Predictor.load(bundle)))
    middle = float(np.median(scores[:, 0])) + 1e-6
    point = OperatingPoint(
        rule=Youden(),
        thresholds={"Mass": middle, "Edema": 0.0, "Hernia": None},
        images=7,
        patients=7,
    )
    rules = DecisionRules(
        calibration=calibration, operating_points=(point,), split="valid", images=7, patients=7
    )
    return replace(bundle, decision_rules=rules)


def test_probabilities_are_calibrated_where_the_bundle_says_how(bundle, predictor):
    decided = with_rules(bundle)
    raw, found = all_of(predictor), all_of(Predictor.load(decided))
    assert found.dtype == np.float32
    assert np.array_equal(found, decided.decision_rules.calibration.apply(raw))
    assert np.array_equal(found[:, 1], raw[:, 1]), "a finding without calibration stays"
    assert np.array_equal(found.argsort(axis=0), raw.argsort(axis=0)), "order stays"


def test_the_networks_own_probabilities_can_be_had(bundle, predictor):
    plain = Predictor.load(with_rules(bundle), calibrated=False)
    assert np.array_equal(all_of(plain), all_of(predictor))
    assert plain.present(all_of(plain)[0]) is None, "thresholds do not hold for them"


def test_findings_are_present_at_or_above_their_threshold(bundle, predictor):
    decided = Predictor.load(with_rules(bundle))
    called = [decided.present(row) for row in all_of(decided)]
    assert sum("Mass" in names for names in called) == 3
    assert all("Edema" in names and "Hernia" not in names for names in called)
    assert predictor.present(all_of(predictor)[0]) is None
