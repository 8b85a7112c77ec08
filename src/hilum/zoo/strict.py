"""Arithmetic of 2019 that was wrong, on request: to compare with, never to use.

    with zoo.strict_2019():
        images = NNImageReader.readImages(folder, sc, resizeH=256, resizeW=256)

What it brings back is in docs/migration.md. It holds while the block runs, for objects that are
made or called inside it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import numpy.typing as npt

from hilum.errors import require

__all__ = ["auc_by_thresholds", "is_strict_2019", "lifted_grey_levels", "strict_2019"]

_strict: ContextVar[bool] = ContextVar("hilum_zoo_strict", default=False)


@contextmanager
def strict_2019() -> Iterator[None]:
    """Reproduce the errors of the 2019 stack for the duration of a block.

    Reading with a resize lifts grey levels; one broken file ends the job; `AUC()` counts at 200
    thresholds; a chain's own normalisation is kept although the network's authors used another.
    """
    token = _strict.set(True)
    try:
        yield
    finally:
        _strict.reset(token)


def is_strict_2019() -> bool:
    """Whether this runs inside `strict_2019`."""
    return _strict.get()


def lifted_grey_levels() -> npt.NDArray[np.uint8]:
    """What the 2019 reader made of each 8-bit grey level when it resized: uint8 (256,).

    Java took the levels for linear light and wrote them as sRGB (IEC 61966-2-1), so that 64 became
    137 and 128 became 188. RGB files were spared.
    """
    linear = np.arange(256) / 255
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)
    levels: npt.NDArray[np.uint8] = np.rint(255 * curve).astype(np.uint8)
    return levels


def auc_by_thresholds(
    labels: npt.ArrayLike, scores: npt.ArrayLike, num_thresholds: int = 200
) -> npt.NDArray[np.float64]:
    """The 2019 AUC: true and false positives at fixed thresholds, joined by straight lines.

    The thresholds are evenly spaced, except that the first step is left out. A label whose scores
    all lie below it, as those of rare findings do, seems no better than chance.

    Args:
        labels: 0 or 1, (N, finding).
        scores: probabilities, (N, finding).
        num_thresholds: 2019's default is 200.

    Returns:
        One value per finding; NaN where all labels are equal.
    """
    require(num_thresholds > 2, "num_thresholds", "above 2", num_thresholds)
    truth, score = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    same = truth.ndim == 2 and truth.shape == score.shape
    require(same, "labels", "of the scores' shape (N, finding)", (truth.shape, score.shape))
    inner = np.arange(2, num_thresholds) / (num_thresholds - 1)
    thresholds = np.concatenate([[-1e-7], inner, [1 + 1e-7]])
    areas = []
    for column in range(truth.shape[1]):
        called = score[:, column][:, None] > thresholds
        positive = truth[:, column]
        if positive.all() or not positive.any():
            areas.append(np.nan)
            continue
        sensitivity, fall_out = called[positive].mean(axis=0), called[~positive].mean(axis=0)
        areas.append(float(np.trapezoid(sensitivity[::-1], fall_out[::-1])))
    return np.array(areas)
