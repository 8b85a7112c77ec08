"""What happened epoch by epoch: frozen records that print, plot, resume and drive the schedule."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hilum.optim import Measurement

__all__ = ["BestMetric", "EpochRecord", "History"]

BestMetric = Literal["valid_loss", "valid_mean_auroc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: counted from 0. step: optimizer steps taken so far, this epoch included.
        train_loss: mean over all known labels of the epoch, while the weights move.
        valid_loss, valid_mean_auroc: on the whole validation split after the epoch; None without
            one, and for the AUC where no finding has both label values.
        lr: the learning rate of the epoch's last step.
        images_per_s: training images per second, all ranks together, validation not counted.
    """

    epoch: int
    step: int
    train_loss: float
    valid_loss: float | None
    valid_mean_auroc: float | None
    lr: float
    images_per_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """All epochs so far, oldest first."""

    epochs: tuple[EpochRecord, ...] = ()

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self.epochs)

    def append(self, record: EpochRecord) -> "History":
        """Return the history with one more epoch."""
        return History((*self.epochs, record))

    def measurements(self) -> list[Measurement]:
        """What a plateau schedule watches: validation loss, or training loss without validation."""
        return [
            Measurement(
                step=record.step,
                value=record.train_loss if record.valid_loss is None else record.valid_loss,
            )
            for record in self.epochs
        ]

    def best(self, metric: BestMetric = "valid_loss") -> EpochRecord | None:
        """The epoch to keep: the best by the metric; by training loss where none was measured."""
        if not self.epochs:
            return None
        return max(self.epochs, key=_auroc_merit if metric == "valid_mean_auroc" else _loss_merit)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with one entry per epoch."""
        return {"epochs": [asdict(record) for record in self.epochs]}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "History":
        """Read what `to_json` wrote."""
        return History(tuple(EpochRecord(**record) for record in value["epochs"]))


def _loss_merit(record: EpochRecord) -> float:
    return -(record.train_loss if record.valid_loss is None else record.valid_loss)


def _auroc_merit(record: EpochRecord) -> tuple[bool, float, float]:
    auroc = record.valid_mean_auroc
    return (auroc is not None, auroc if auroc is not None else 0.0, _loss_merit(record))
