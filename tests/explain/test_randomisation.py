"""A map must change when the network forgets; one that does not explains nothing."""

from dataclasses import replace

import numpy as np
import pytest

from hilum.errors import InvalidValueError
from hilum.explain import Explainer, randomisation_check
from hilum.explain.heat_map import HeatMap
from hilum.explain.randomisation import _compared
from tiny_models import oblong_chain, patch_finder, patch_picture

PIXELS = patch_picture(8, 8, 16, 64, 96)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.load(patch_finder("timm:test_resnet", oblong_chain(64, 96)))


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_the_map_changes_as_the_weights_are_forgotten(explainer, method):
    before = {name: t.clone() for name, t in explainer.network.state_dict().items()}
    check = randomisation_check(explainer, PIXELS, "mass", method=method, num_stages=3)
    assert [stage.layers for stage in check.stages] == sorted({s.layers for s in check.stages})
    assert check.finding == "Mass"
    assert check.stages[-1].ssim < 0.9
    assert check.to_json()["passes"] == check.passes()
    for name, tensor in explainer.network.state_dict().items():
        assert (tensor == before[name]).all(), "the explainer keeps its weights"


def test_the_same_seed_forgets_in_the_same_way(explainer):
    first, second, other = (
        randomisation_check(explainer, PIXELS, "Mass", num_stages=2, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


def test_equal_maps_are_as_similar_as_can_be_and_opposite_ones_are_not():
    values = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    one = HeatMap(finding="Mass", method="grad-cam", probability=0.5, values=values, peak=1.0)
    same = _compared(one, one, layers=1)
    assert same.ssim == pytest.approx(1)
    assert same.rank_correlation == pytest.approx(1)
    opposite = _compared(one, replace(one, values=1 - values), layers=1)
    assert opposite.rank_correlation == pytest.approx(-1)
    empty = _compared(one, replace(one, values=np.zeros_like(values), peak=0.0), layers=1)
    assert empty.rank_correlation is None


def test_at_least_one_stage_is_needed(explainer):
    with pytest.raises(InvalidValueError, match="num_stages"):
        randomisation_check(explainer, PIXELS, "Mass", num_stages=0)
