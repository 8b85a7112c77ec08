"""Simulated labels and scores that hang together within a patient, with known true values."""

import numpy as np

from hilum.evaluation.intervals import metric_table


def clustered(random, *, patients, images, data_sets):
    """Draw data sets side by side, as columns; returns labels, scores and the patient per image.

    All images of a patient share the label and a level of the score, so a patient's second image
    tells almost nothing new.
    """
    owner = np.repeat(np.arange(patients), images)
    sick = (random.random((patients, data_sets)) < 0.4)[owner]
    level = random.normal(size=(patients, data_sets))[owner]
    logit = 1.2 * sick - 1.1 + 0.9 * level + 0.3 * random.normal(size=sick.shape)
    return sick.astype(float), 1 / (1 + np.exp(-logit)), owner


def truth_of(random):
    """The true value of every metric, from a million patients; its own error is below 0.001."""
    labels, scores, _ = clustered(random, patients=1_000_000, images=1, data_sets=1)
    (numbers,) = metric_table(labels, scores, num_resamples=0).findings
    return {name: measured.value for name, measured in numbers.items()}
