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

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hilum.errors import require
from hilum.evaluation.decision import DecisionRules
from hilum.inference.bundle import ModelBundle
from hilum.preprocessing import Chain

__all__ = ["Predictor"]

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Predictor:
    """A loaded network with its preprocessing; build it once per process with `Predictor.load`."""

    findings: tuple[str, ...]
    prefix: Chain
    suffix: Chain
    model: nn.Module
    device: torch.device
    batch_size: int
    decision_rules: DecisionRules | None = None

    @staticmethod
    def load(bundle: ModelBundle, *, batch_size: int = 32, calibrated: bool = True) -> "Predictor":
        """Build the network on the GPU if there is one, else on the CPU, in float32.

        Args:
            bundle: the model.
            batch_size: images per forward pass.
            calibrated: apply the bundle's decision rules, if it has any; False gives the network's
                own probabilities, for which its thresholds do not hold.
        """
        require(batch_size > 0, "batch_size", "positive", batch_size)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return Predictor(
            findings=bundle.findings,
            # The training prefix, not the evaluation chain's longer one: the same pixels as cached.
            prefix=bundle.preprocessing.prefix,
            suffix=bundle.preprocessing.suffix.evaluation(),
            model=bundle.network().to(device).to(memory_format=torch.channels_last),
            device=device,
            batch_size=batch_size,
            decision_rules=bundle.decision_rules if calibrated else None,
        )

    def predict(self, images: Iterable[Pixels]) -> Iterator[npt.NDArray[np.float32]]:
        """Probabilities (finding,) for each grey image (H, W) uint8 of any size, in order.

        Lazy: at most one batch of images is held at a time.
        """
        return self.predict_prepared(map(self.prepare, images))

    def prepare(self, pixels: Pixels) -> Tensor:
        """The deterministic part for one image (H, W) uint8: what the cache holds, (1, C, H, W)."""
        # torch wants writable memory, Arrow gives read-only: one small copy per image.
        return self.prefix(torch.from_numpy(np.array(pixels))[None, None])

    def predict_prepared(self, images: Iterable[Tensor]) -> Iterator[npt.NDArray[np.float32]]:
        """Probabilities (finding,) for each prepared image (1, C, H, W), in order; lazy."""
        stream = iter(images)
        while batch := list(islice(stream, self.batch_size)):
            yield from self.predict_batch(torch.cat(batch))

    def predict_batch(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Probabilities (N, finding) of prepared images (N, C, H, W)."""
        with torch.inference_mode():
            tensor = self.suffix(images.to(self.device))
            logits = self.model(tensor.contiguous(memory_format=torch.channels_last))
            probabilities: npt.NDArray[np.float32] = torch.sigmoid(logits.float()).cpu().numpy()
        if self.decision_rules is None:
            return probabilities
        return self.decision_rules.calibration.apply(probabilities)

    def present(self, probabilities: npt.NDArray[np.float32]) -> list[str] | None:
        """Findings called present in one image at the default operating point, in order.

        A finding without a threshold is never called. None where the bundle holds no threshold at
        all, or they do not apply (`calibrated=False`).
        """
        if self.decision_rules is None:
            return None
        return self.decision_rules.present(probabilities)
