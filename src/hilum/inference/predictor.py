"""One way from pixels to probabilities, used by Spark, command line and servers alike.

Images are resized one by one (they come in all sizes), everything after runs on batches. Batches
are cut by count, not by where they came from, so that a stream of small Arrow batches or single
files fills the processor as well as one big array.

Probabilities are calibrated where the bundle holds a calibration, so that they are on the scale of
its thresholds; `Predictor.load(bundle, calibrated=False)` gives the network's own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hilum.errors import require
from hilum.evaluation.decision import DecisionRules
from hilum.inference.bundle import ModelBundle
from hilum.inference.outliers import OutlierDetector
from hilum.models import cut_before_head
from hilum.preprocessing import Chain

__all__ = ["Pixels", "Prediction", "Predictor"]

Pixels = npt.NDArray[np.uint8]


class Prediction(NamedTuple):
    """What the model says about one image.

    `probabilities` is float32 (finding,). `ood_score` says how unlike the training radiographs the
    image is: above 1, unlike 99 % of the validation radiographs; None if the bundle has no score.
    """

    probabilities: npt.NDArray[np.float32]
    ood_score: float | None


@dataclass(frozen=True, slots=True)
class Predictor:
    """A loaded network with its preprocessing; build it once per process with `Predictor.load`.

    `model` is the network as (body, head): the body makes features, the head logits of them.
    """

    findings: tuple[str, ...]
    prefix: Chain
    suffix: Chain
    model: nn.Sequential
    device: torch.device
    batch_size: int
    decision_rules: DecisionRules | None = None
    outliers: OutlierDetector | None = None

    @staticmethod
    def load(
        bundle: ModelBundle,
        *,
        batch_size: int = 32,
        calibrated: bool = True,
        shared: bool = False,
    ) -> "Predictor":
        """Build the network on the GPU if there is one, else on the CPU, in float32.

        Args:
            bundle: the model.
            batch_size: images per forward pass.
            calibrated: apply the bundle's decision rules, if it has any; False gives the network's
                own probabilities, for which its thresholds do not hold.
            shared: predict with the bundle's own tensors and not with copies.
        """
        require(batch_size > 0, "batch_size", "positive", batch_size)
        require(
            bundle.rows is None,
            "bundle",
            "one of findings in images",
            f"one of the columns {[i.column for i in bundle.rows.inputs] if bundle.rows else []}",
            hint="NNModel and NNClassifierModel of hilum.spark predict rows of any columns",
        )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = cut_before_head(bundle.network(shared=shared), bundle.blueprint)
        return Predictor(
            findings=bundle.findings,
            # The training prefix, not the evaluation chain's longer one: the same pixels as cached.
            prefix=bundle.preprocessing.prefix,
            suffix=bundle.preprocessing.suffix.evaluation(),
            model=model.to(device).to(memory_format=torch.channels_last),
            device=device,
            batch_size=batch_size,
            decision_rules=bundle.decision_rules if calibrated else None,
            outliers=bundle.outliers,
        )

    def predict(self, images: Iterable[Pixels]) -> Iterator[npt.NDArray[np.float32]]:
        """Probabilities (finding,) for each grey image (H, W) uint8 of any size, in order.

        Lazy: at most one batch of images is held at a time.
        """
        return self.predict_prepared(map(self.prepare, images))

    def predictions(self, images: Iterable[Pixels]) -> Iterator[Prediction]:
        """As `predict`, with the out-of-distribution score of each image."""
        return self.predictions_prepared(map(self.prepare, images))

    def prepare(self, pixels: Pixels) -> Tensor:
        """The deterministic part for one image (H, W) uint8: what the cache holds, (1, C, H, W)."""
        # torch wants writable memory, Arrow gives read-only: one small copy per image.
        return self.prefix(torch.from_numpy(np.array(pixels))[None, None])

    def predict_prepared(self, images: Iterable[Tensor]) -> Iterator[npt.NDArray[np.float32]]:
        """Probabilities (finding,) for each prepared image (1, C, H, W), in order; lazy."""
        for batch in self.batches(images):
            yield from self.predict_batch(batch)

    def predictions_prepared(self, images: Iterable[Tensor]) -> Iterator[Prediction]:
        """As `predict_prepared`, with the out-of-distribution score of each image."""
        for batch in self.batches(images):
            probabilities, features = self.run_batch(batch)
            scores = [None] * len(batch)
            if self.outliers is not None:
                scores = self.outliers.score(features).tolist()
            yield from map(Prediction, probabilities, scores)

    def predict_batch(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Probabilities (N, finding) of prepared images (N, C, H, W)."""
        return self.run_batch(images)[0]

    def run_batch(self, images: Tensor) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Probabilities (N, finding) and features (N, feature) of prepared images (N, C, H, W)."""
        with torch.inference_mode():
            features = self.model[0](self.inputs(images)).float()
            logits = self.model[1](features)
            probabilities: npt.NDArray[np.float32] = torch.sigmoid(logits.float()).cpu().numpy()
        if self.decision_rules is not None:
            probabilities = self.decision_rules.calibration.apply(probabilities)
        return probabilities, features.cpu().numpy()

    def present(self, probabilities: npt.NDArray[np.float32]) -> list[str] | None:
        """Findings called present in one image at the default operating point, in order.

        A finding without a threshold is never called. None where the bundle holds no threshold at
        all, or they do not apply (`calibrated=False`).
        """
        if self.decision_rules is None:
            return None
        return self.decision_rules.present(probabilities)

    def inputs(self, images: Tensor) -> Tensor:
        """What the network is given for prepared images (N, C, H, W): float32 (N, 3, h, w)."""
        return self.suffix(images.to(self.device)).contiguous(memory_format=torch.channels_last)

    def batches(self, images: Iterable[Tensor]) -> Iterator[Tensor]:
        """Cut prepared images (1, C, H, W) into batches (N, C, H, W), the last one smaller."""
        stream = iter(images)
        while batch := list(islice(stream, self.batch_size)):
            yield torch.cat(batch)

    @property
    def num_features(self) -> int:
        """Length of the embedding the head reads."""
        return next(self.model[1].parameters()).shape[1]
