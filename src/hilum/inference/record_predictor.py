"""From records of any columns to what the network says of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hilum.errors import InvalidValueError, require
from hilum.inference.bundle import ModelBundle
from hilum.inputs import RowSpec

__all__ = ["RecordPredictor"]


@dataclass(frozen=True, slots=True)
class RecordPredictor:
    """A loaded network on rows of any columns; build it once per process."""

    rows: RowSpec
    model: nn.Module
    device: torch.device
    batch_size: int

    @staticmethod
    def load(
        bundle: ModelBundle, *, batch_size: int = 32, shared: bool = False
    ) -> "RecordPredictor":
        """Build the network on the GPU if there is one, else on the CPU, in float32.

        Args:
            bundle: the model.
            batch_size: rows per forward pass.
            shared: predict with the bundle's own tensors and not with copies.

        Raises:
            InvalidValueError: it is a bundle of findings in images.
        """
        require(batch_size > 0, "batch_size", "positive", batch_size)
        if bundle.rows is None:
            raise InvalidValueError(
                f"bundle must be one of rows of any columns. Got {bundle.architecture!r}. "
                "Hint: hilum.inference.Predictor reads bundles of findings."
            )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = bundle.network(shared=shared).to(device)
        return RecordPredictor(bundle.rows, model, device, batch_size)

    def predict(self, records: Sequence[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.float32]]:
        """Each output (N, *shape) float32 for records (record_bytes,) uint8, in order."""
        packed = torch.from_numpy(np.stack(records)).to(self.device)
        with torch.inference_mode():
            outputs = self.rows.output_tuple(self.model(*self.rows.tensors(packed)))
        return [output.float().cpu().numpy() for output in outputs]
