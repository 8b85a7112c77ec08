"""Findings of radiographs as a `RowPredictor`: one column of Spark image structs in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from hilum.errors import HilumError, RejectedImageError
from hilum.inference import Prediction, Predictor
from hilum.spark.image_struct import grey_pixels, image_rows
from hilum.spark.prediction import Output, RowError
from hilum.spark.shipping import shipped_bundle

__all__ = ["RadiographPredictor", "ShippedRadiographModel"]

NOT_FINITE = "not_finite"  # the network gave NaN or infinity
PREPROCESSING_FAILED = "preprocessing_failed"


@dataclass(frozen=True, slots=True)
class ShippedRadiographModel:
    """A bundle that `ship_bundle` sent under `name`, as a `PredictorSource`."""

    name: str
    batch_size: int

    @property
    def outputs(self) -> Sequence[Output]:
        """Probabilities by finding, out-of-distribution score, findings called present."""
        return (
            Output("prediction", pa.list_(pa.float32()), "array<float>"),
            Output("ood_score", pa.float32(), "float"),
            Output("present", pa.list_(pa.string()), "array<string>"),
        )

    def load(self) -> "RadiographPredictor":
        """The network, ready, in this process."""
        bundle = shipped_bundle(self.name)
        return RadiographPredictor(Predictor.load(bundle, batch_size=self.batch_size, shared=True))


@dataclass(frozen=True, slots=True)
class RadiographPredictor:
    """A `RowPredictor` over one column of image structs."""

    predictor: Predictor

    @property
    def batch_size(self) -> int:
        """Images per forward pass."""
        return self.predictor.batch_size

    def prepare(self, columns: Sequence[pa.Array]) -> Iterator[Tensor | RowError]:
        """Each image as the cache holds it, (1, C, H, W), or why not."""
        (images,) = columns
        for image in image_rows(images):
            yield self._prepared(image)

    def _prepared(self, image: dict[str, Any] | None) -> Tensor | RowError:
        try:
            if image is None:
                raise RejectedImageError("no_image")
            return self.predictor.prepare(grey_pixels(image))
        except HilumError as error:
            return RowError.of(error)
        except Exception as error:  # a chain may hold a function of the user's
            return RowError.of_unforeseen(PREPROCESSING_FAILED, error)

    def predict(self, prepared: Sequence[Tensor]) -> Sequence[Mapping[str, Any] | RowError]:
        """Values of the outputs for each prepared image; `NOT_FINITE` where one is NaN."""
        return [
            self._row(prediction) for prediction in self.predictor.predictions_prepared(prepared)
        ]

    def _row(self, prediction: Prediction) -> Mapping[str, Any] | RowError:
        probabilities, ood_score = prediction
        if not np.isfinite(probabilities).all():
            return RowError(NOT_FINITE)
        return {
            "prediction": probabilities,
            "ood_score": ood_score,
            "present": self.predictor.present(probabilities),
        }
