"""A 95 % interval holds the truth 95 times of 100, if patients are drawn and not images.

Data sets are simulated side by side, as columns of one table that share the draws, which changes no
column's chance of covering. 2,000 of them give a Monte Carlo error of 0.5 points at 95 %.
"""

import numpy as np
import pytest

from clustered_tables import clustered, truth_of
from hilum.evaluation.intervals import METRICS, metric_table

DATA_SETS, PER_TABLE = 2000, 100


@pytest.fixture(scope="module")
def truth():
    return truth_of(np.random.default_rng(0))


def coverage(truth, *, data_sets, by_patient):
    """Share of the data sets whose interval holds the truth, by metric."""
    random = np.random.default_rng(1)
    covered = dict.fromkeys(METRICS, 0)
    for seed in range(data_sets // PER_TABLE):
        labels, scores, owner = clustered(random, patients=200, images=2, data_sets=PER_TABLE)
        ids = owner if by_patient else None
        table = metric_table(labels, scores, ids, num_resamples=400, seed=seed)
        for finding in table.findings:
            for name in METRICS:
                low, high = finding[name].ci95
                covered[name] += low <= truth[name] <= high
    return {name: count / data_sets for name, count in covered.items()}


def test_intervals_over_patients_cover_93_to_97_percent(truth):
    for name, share in coverage(truth, data_sets=DATA_SETS, by_patient=True).items():
        assert 0.93 <= share <= 0.97, name


def test_intervals_over_images_cover_too_rarely(truth):
    """Two images a patient, nearly alike: the interval is too narrow by the root of two."""
    for name, share in coverage(truth, data_sets=300, by_patient=False).items():
        assert share < 0.90, name
