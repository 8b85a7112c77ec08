"""The out-of-distribution score of a trained model, fitted on the pixels the run cached.

No image is decoded again, and a capped sample is enough: the score is a mean and a covariance.
"""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hilum.evaluation import roc_auc_score
from hilum.evaluation.strangers import strangers
from hilum.inference import ModelBundle, OutlierDetector, Predictor, embed, fit_outlier_detector
from hilum.training import ImageCache, TrainJob, open_cache

__all__ = ["measure_outliers", "with_outliers"]

MAX_TRAIN, MAX_VALID, MAX_MEASURED, NUM_STRANGERS = 400, 200, 50, 30

logger = logging.getLogger(__name__)

Prepared = npt.NDArray[np.uint8]


def with_outliers(bundle: ModelBundle, run_directory: str, *, seed: int = 0) -> ModelBundle:
    """Return the bundle with a score fitted on the run's cached images, and how good it is.

    Without enough images (there must be a validation split) the bundle comes back as it is, and
    the log says so.
    """
    job = TrainJob.read(run_directory)
    cache = open_cache(job.cache_directory, verify=False)
    predictor = Predictor.load(replace(bundle, outliers=None))
    train = _features(predictor, _sample(cache, "train", MAX_TRAIN, seed))
    valid_images = _sample(cache, "valid", MAX_VALID, seed)
    detector = fit_outlier_detector(train, _features(predictor, valid_images))
    if detector is None:
        return replace(bundle, outliers=None)
    measured = measure_outliers(predictor, detector, valid_images[:MAX_MEASURED], seed=seed)
    logger.info("fitted out-of-distribution score train=%d valid=%d", len(train), len(valid_images))
    return replace(bundle, outliers=detector, metrics={**bundle.metrics, "ood": measured})


def measure_outliers(
    predictor: Predictor, detector: OutlierDetector, radiographs: Prepared, *, seed: int = 0
) -> dict[str, Any]:
    """Return how well a score tells prepared radiographs from other images, by kind.

    Args:
        predictor: of the model the detector belongs to.
        detector: the score.
        radiographs: uint8 (image, C, H, W) as `Predictor.prepare` makes them, not trained on.
        seed: of the images that are drawn.

    Returns:
        "images": radiographs; "above": their share above 1; "auroc" and "found" (share above 1)
        by kind of stranger.
    """
    usual = detector.score(_features(predictor, radiographs))
    auroc, found = {}, {}
    # Turned radiographs go through `prepare` again: a turned oblong needs a new resize.
    for kind, images in strangers(
        [i[0] for i in radiographs], count=NUM_STRANGERS, seed=seed
    ).items():
        scores = detector.score(embed(predictor, images))
        labels = np.repeat([0.0, 1.0], [len(usual), len(scores)])
        auroc[kind] = float(roc_auc_score(labels, np.concatenate([usual, scores]))[0])
        found[kind] = float((scores > 1).mean())
    return {
        "images": len(usual),
        "above": float((usual > 1).mean()),
        "auroc": auroc,
        "found": found,
    }


def _sample(cache: ImageCache, split: str, most: int, seed: int) -> Prepared:
    positions = cache.positions(split)
    drawn = np.random.default_rng(seed).permutation(len(positions))[:most]
    return cache.gather(positions[np.sort(drawn)])


def _features(predictor: Predictor, images: Prepared) -> npt.NDArray[np.float32]:
    batches = predictor.batches(torch.from_numpy(image[None]) for image in images)
    rows = [predictor.run_batch(batch)[1] for batch in batches]
    return np.concatenate([np.empty((0, predictor.num_features), np.float32), *rows])
