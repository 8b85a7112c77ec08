"""Is this an image of the kind the model was trained on? A distance in the space of its features.

The distance is Mahalanobis' (Lee et al., NeurIPS 2018) under the covariance of probabilistic
principal components (Tipping and Bishop 1999): some directions with their own variance, the rest
with one variance in common. A few hundred radiographs determine that covariance, not a full one
of 1280 features; and it takes kilobytes in a bundle. Findings are no classes here: one image has
several, so one Gaussian stands for all radiographs.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from hilum.errors import require

__all__ = ["OutlierDetector", "fit_outlier_detector"]

Features = npt.NDArray[np.float32]

MAX_COMPONENTS = 32
MIN_TRAIN, MIN_VALID = 8, 4
NORMAL_99 = 2.326  # 99 % of a normal distribution lie below mean + 2.326 standard deviations

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutlierDetector:
    """What a bundle stores to score how unlike its training radiographs an image is.

    Attributes:
        mean: float32 (feature,).
        whitening: float32 (component, feature); maps a deviation to units of its own spread.
        residual_scale: 1 / standard deviation of the directions that have no component.
        threshold: distance that 99 % of the validation radiographs stay below.
    """

    mean: Features
    whitening: Features
    residual_scale: float
    threshold: float

    def score(self, features: Features) -> npt.NDArray[np.float32]:
        """Return distance / threshold for features (image, feature): above 1 is unusual."""
        return (self.distance(features) / self.threshold).astype(np.float32)

    def distance(self, features: Features) -> npt.NDArray[np.float64]:
        """Return the root mean square deviation per feature in units of its spread, (image,)."""
        width = len(self.mean)
        shape = getattr(features, "shape", None)
        fits = features.ndim == 2 and features.shape[1] == width
        require(fits, "features", f"(image, {width})", shape)
        deviation = features.astype(np.float64) - self.mean
        along = deviation @ self.whitening.astype(np.float64).T
        # Each row of the whitening is a unit direction divided by its spread.
        spreads = 1 / np.linalg.norm(self.whitening.astype(np.float64), axis=1)
        inside = ((along * spreads) ** 2).sum(axis=1)
        rest = np.maximum((deviation**2).sum(axis=1) - inside, 0.0) * self.residual_scale**2
        return cast(npt.NDArray[np.float64], np.sqrt(((along**2).sum(axis=1) + rest) / width))

    def to_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the arrays to store; `from_arrays` takes them back."""
        numbers = np.array([self.residual_scale, self.threshold], np.float32)
        return {"mean": self.mean, "whitening": self.whitening, "scale_threshold": numbers}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]]) -> "OutlierDetector":
        """Rebuild from what `to_arrays` gave."""
        scale, threshold = arrays["scale_threshold"].tolist()
        return OutlierDetector(
            mean=arrays["mean"],
            whitening=arrays["whitening"],
            residual_scale=scale,
            threshold=threshold,
        )


def fit_outlier_detector(train: Features, valid: Features) -> OutlierDetector | None:
    """Fit the distance on training images, and its threshold on images the network never saw.

    The threshold is the 99 % point of a log-normal distribution of the validation distances, as
    the 99th of a hundred is their largest, which hangs on one image.

    Args:
        train: features (image, feature) of training images.
        valid: features of validation images.

    Returns:
        None, with a warning in the log, where there are fewer than 8 training or 4 validation
        images, or all features are equal: no score is better than one that means nothing.
    """
    if len(train) < MIN_TRAIN or len(valid) < MIN_VALID:
        logger.warning("no out-of-distribution score: train=%d valid=%d", len(train), len(valid))
        return None
    mean = train.mean(axis=0, dtype=np.float64)
    deviation = train - mean
    _, singular, directions = np.linalg.svd(deviation, full_matrices=False)
    variances = singular**2 / (len(train) - 1)
    kept = min(MAX_COMPONENTS, len(train) // 4, train.shape[1] - 1)
    rest = float(variances[kept:].sum()) / (train.shape[1] - kept)
    if not rest > 0.0:
        logger.warning("no out-of-distribution score: the features do not vary")
        return None
    detector = OutlierDetector(
        mean=mean.astype(np.float32),
        whitening=(directions[:kept] / np.sqrt(variances[:kept, None])).astype(np.float32),
        residual_scale=float(rest**-0.5),
        threshold=1.0,
    )
    logs = np.log(np.maximum(detector.distance(valid), np.finfo(np.float32).tiny))
    threshold = float(np.exp(logs.mean() + NORMAL_99 * logs.std(ddof=1)))
    return OutlierDetector(
        mean=detector.mean,
        whitening=detector.whitening,
        residual_scale=detector.residual_scale,
        threshold=threshold,
    )
