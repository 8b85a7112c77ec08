"""Embeddings: what the network sees in an image, before its head turns it into findings."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from hilum.inference.bundle import ModelBundle
from hilum.inference.predictor import Pixels, Predictor

__all__ = ["embed"]


def embed(model: Predictor | ModelBundle, images: Iterable[Pixels]) -> npt.NDArray[np.float32]:
    """Return the pooled features of grey images (H, W) uint8 of any size, float32 (image, feature).

    They are the input of the head: what is linearly readable here, the model can act on. Images
    are taken a batch at a time, prepared exactly as for prediction.
    """
    predictor = Predictor.load(model) if isinstance(model, ModelBundle) else model
    batches = predictor.batches(map(predictor.prepare, images))
    rows = [predictor.run_batch(batch)[1] for batch in batches]
    return np.concatenate([np.empty((0, predictor.num_features), np.float32), *rows])
