"""What was wrong in 2019 is right here, and can be brought back to compare with."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hilum import zoo
from hilum.errors import InvalidValueError
from hilum.zoo.strict import auc_by_thresholds, is_strict_2019, lifted_grey_levels

# What the reader of 2019 made of grey levels, as OpenJDK 17 computes it.
LIFTED = {16: 71, 32: 99, 64: 137, 96: 165, 128: 188, 160: 208, 192: 225, 224: 241}


@pytest.fixture
def rare() -> tuple[np.ndarray, np.ndarray]:
    """A rare finding, whose scores are small, and a common one: labels and scores (N, 2)."""
    rng = np.random.default_rng(0)
    labels = np.stack([rng.random(40_000) < 0.005, rng.random(40_000) < 0.3], axis=1)
    logits = rng.normal(size=labels.shape) + 1.7 * labels
    return labels.astype(float), 1 / (1 + np.exp(-(logits - np.array([7.5, 1.0]))))


def test_grey_levels_are_lifted_as_java_did():
    levels = lifted_grey_levels()
    assert {level: int(levels[level]) for level in LIFTED} == LIFTED
    assert (levels[0], levels[255]) == (0, 255)


def test_the_auc_of_2019_is_blind_to_rare_findings_and_ours_is_not(rare):
    labels, scores = rare
    exact = [roc_auc_score(labels[:, k], scores[:, k]) for k in (0, 1)]
    old = auc_by_thresholds(labels, scores)
    assert old[1] == pytest.approx(exact[1], abs=0.002)
    assert exact[0] > 0.85
    assert old[0] < 0.65
    assert zoo.AUC()(labels, scores) == pytest.approx(np.mean(exact), abs=1e-12)
    with zoo.strict_2019():
        assert zoo.AUC()(labels, scores) == pytest.approx(np.mean(old), abs=1e-12)


def test_the_auc_of_2019_leaves_out_its_first_step():
    # Between the first two of evenly spaced thresholds lie both scores: apart today, not in 2019.
    labels, scores = [[0.0], [1.0]], [[0.004], [0.006]]
    assert auc_by_thresholds(labels, scores)[0] == 0.5
    assert zoo.AUC()(labels, scores) == 1.0


def test_a_finding_with_one_kind_of_label_has_no_auc():
    assert np.isnan(auc_by_thresholds([[1.0], [1.0]], [[0.1], [0.2]])[0])
    assert np.isnan(zoo.AUC()([[1.0], [1.0]], [[0.1], [0.2]]))
    with pytest.raises(InvalidValueError, match="labels"):
        auc_by_thresholds([1.0], [0.1])


def test_strictness_ends_with_its_block_also_after_an_error():
    def fail() -> None:
        with zoo.strict_2019():
            assert is_strict_2019()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not is_strict_2019()
