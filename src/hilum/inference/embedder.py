"""What a network sees in an image before its head judges it: the penultimate features.

Pixels go the predictor's way; only the last linear layer is cut off. These features show what a
model has learned besides findings, such as who or how was imaged.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hilum.inference.bundle import ModelBundle
from hilum.inference.predictor import Pixels, Predictor
from hilum.models import architecture

__all__ = ["Embedder"]


@dataclass(frozen=True, slots=True)
class Embedder:
    """A loaded network without its head; build it with `Embedder.load`."""

    predictor: Predictor

    @staticmethod
    def load(bundle: ModelBundle, *, batch_size: int = 32) -> "Embedder":
        """Build the network and cut its head off; any architecture a bundle may hold."""
        predictor = Predictor.load(bundle, batch_size=batch_size)
        parent_name, _, name = architecture(bundle.architecture).head.rpartition(".")
        setattr(predictor.model.get_submodule(parent_name), name, nn.Identity())
        return Embedder(predictor)

    def embed(self, images: Iterable[Pixels]) -> Iterator[npt.NDArray[np.float32]]:
        """Features (feature,) for each grey image (H, W) uint8 of any size, in order; lazy."""
        stream = map(self.predictor.prepare, images)
        while batch := list(islice(stream, self.predictor.batch_size)):
            yield from self._embed_batch(torch.cat(batch))

    def _embed_batch(self, images: Tensor) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            tensor = self.predictor.suffix(images.to(self.predictor.device))
            features = self.predictor.model(tensor.contiguous(memory_format=torch.channels_last))
            values: npt.NDArray[np.float32] = features.float().cpu().numpy()
        return values
