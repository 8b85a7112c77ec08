"""How long do intervals over patients take, and do they cover?

Speed: 10,000 images of 2,750 patients, 14 findings, 2,000 resamples, every number (AUC, average
precision, Brier score, log loss, their averages). The goal is 60 s on two cores; this uses one.

Coverage: of how many simulated data sets does the 95 % interval hold the true value, with patients
drawn and with images drawn; Monte Carlo error in brackets.

    OMP_NUM_THREADS=1 python benchmarks/bootstrap_intervals.py [--data-sets 4000]
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from hilum.evaluation import auroc_intervals
from hilum.evaluation.confusion import measure_at
from hilum.evaluation.intervals import METRICS, metric_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from clustered_tables import clustered, truth_of

IMAGES, PATIENTS, FINDINGS, RESAMPLES = 10_000, 2_750, 14, 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-sets", type=int, default=4000)
    wanted = parser.parse_args().data_sets
    for prevalence in (0.05, 0.5):
        measure_speed(prevalence)
    measure_coverage(wanted)


def measure_speed(prevalence: float) -> None:
    random = np.random.default_rng(0)
    labels = (random.random((IMAGES, FINDINGS)) < prevalence).astype(float)
    scores, owner = random.random((IMAGES, FINDINGS)), random.integers(0, PATIENTS, IMAGES)
    thresholds = np.full(FINDINGS, 0.5)
    for name, call in (
        ("AUC alone", lambda: auroc_intervals(labels, scores, owner, num_resamples=RESAMPLES)),
        ("all numbers", lambda: metric_table(labels, scores, owner, num_resamples=RESAMPLES)),
        ("one operating point", lambda: measure_at(labels, scores, thresholds, owner)),
    ):
        start = time.perf_counter()
        call()
        print(f"prevalence {prevalence:.0%}, {name}: {time.perf_counter() - start:.1f} s")


def measure_coverage(wanted: int) -> None:
    truth = truth_of(np.random.default_rng(0))
    random, size = np.random.default_rng(1), 100
    covered = {(name, by): 0 for name in METRICS for by in ("patient", "image")}
    for seed in range(wanted // size):
        labels, scores, owner = clustered(random, patients=200, images=2, data_sets=size)
        for by, ids in (("patient", owner), ("image", None)):
            table = metric_table(labels, scores, ids, num_resamples=500, seed=seed)
            for finding in table.findings:
                for name in METRICS:
                    low, high = finding[name].ci95 or (np.nan, np.nan)
                    covered[name, by] += bool(low <= truth[name] <= high)
    drawn = wanted // size * size
    for (name, by), count in covered.items():
        share = count / drawn
        error = np.sqrt(share * (1 - share) / drawn)
        print(f"{name} drawn by {by}: {share:.1%} of {drawn} (+- {error:.1%})")


if __name__ == "__main__":
    main()
