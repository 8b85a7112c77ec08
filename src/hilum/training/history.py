"""What a run measured, validation by validation: frozen records that print, plot and resume."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from hilum import storage
from hilum.errors import MissingDependencyError, require
from hilum.optim import Measurement

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BestMetric", "EpochRecord", "History", "WatchedMetric", "load_history"]

BestMetric = Literal["valid_loss", "valid_mean_auroc"]
WatchedMetric = Literal["valid_loss", "train_loss", "valid_mean_auroc"]


_OF_CLASSES = ("valid_accuracy", "valid_log_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One validation and the steps since the one before; by default that is one epoch.

    Attributes:
        epoch: counted from 0. step: optimizer steps taken so far in the run.
        train_loss: mean over all known labels since the last record, while the weights move.
        valid_loss, valid_mean_auroc: on the whole validation split; None without one, and for the
            AUC where no finding has both label values.
        valid_auroc: one AUC per output, None where undefined; empty without validation.
        valid_accuracy, valid_log_loss: of classifiers, on the whole validation split: the share of
            rows called right, and the mean of -log of the true class's probability.
        lr: the learning rate of the last step.
        images_per_s: training images per second, all ranks together, validation not counted.
        seconds: since the last record, validation included.
    """

    epoch: int
    step: int
    train_loss: float
    valid_loss: float | None
    valid_mean_auroc: float | None
    valid_auroc: tuple[float | None, ...] = ()
    valid_accuracy: float | None = None
    valid_log_loss: float | None = None
    lr: float
    images_per_s: float
    seconds: float

    def cost(self, metric: WatchedMetric) -> float | None:
        """The metric as something to minimise, or None where it was not measured.

        A validation loss that was not measured is replaced by the training loss.
        """
        if metric == "valid_mean_auroc":
            return None if self.valid_mean_auroc is None else -self.valid_mean_auroc
        if metric == "train_loss" or self.valid_loss is None:
            return self.train_loss
        return self.valid_loss


@dataclass(frozen=True, slots=True)
class History:
    """All records so far, oldest first.

    Attributes:
        stopped: why the run ended; empty while it may go on.
    """

    epochs: tuple[EpochRecord, ...] = ()
    stopped: str = ""

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self.epochs)

    def append(self, record: EpochRecord) -> "History":
        """Return the history with one more record."""
        return replace(self, epochs=(*self.epochs, record))

    def ended(self, reason: str) -> "History":
        """Return the history with why the run ended."""
        return replace(self, stopped=reason)

    def measurements(self, metric: WatchedMetric = "valid_loss") -> list[Measurement]:
        """What a plateau schedule watches; lower is better, so a mean AUC counts as 1 - AUC.

        Where it was not measured, validation loss and then training loss stand in for it.
        """
        return [
            Measurement(step=record.step, value=_watched(record, metric)) for record in self.epochs
        ]

    def best(self, metric: BestMetric = "valid_loss") -> EpochRecord | None:
        """The record to keep: the best by the metric; by training loss where none was measured."""
        if not self.epochs:
            return None
        return min(self.epochs, key=lambda record: _rank(record, metric))

    def rows(self, outputs: Sequence[str] = ()) -> list[dict[str, Any]]:
        """One flat mapping per record; the AUC of each output as `valid_auroc_NAME` where named.

        Args:
            outputs: names of the outputs, in order: `TrainConfig.outputs`, `NNModel.findings`.
        """
        rows = []
        for record in self.epochs:
            row = asdict(record)
            aurocs = row.pop("valid_auroc")
            if not self._of_classes:
                for name in _OF_CLASSES:
                    del row[name]
            padded = (*aurocs, *[None] * (len(outputs) - len(aurocs)))
            row |= {f"valid_auroc_{name}": padded[at] for at, name in enumerate(outputs)}
            rows.append(row)
        return rows

    def to_csv(self, outputs: Sequence[str] = ()) -> str:
        """The rows as CSV; empty where undefined."""
        text = io.StringIO()
        left_out = {"valid_auroc", *(() if self._of_classes else _OF_CLASSES)}
        names = [name for name in EpochRecord.__dataclass_fields__ if name not in left_out]
        names += [f"valid_auroc_{name}" for name in outputs]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows(outputs))
        return text.getvalue()

    @property
    def _of_classes(self) -> bool:
        """Whether classes were told apart; other runs have no such columns."""
        return any(getattr(record, name) is not None for record in self for name in _OF_CLASSES)

    def to_pandas(self, outputs: Sequence[str] = ()) -> "pd.DataFrame":
        """The rows as a table; NaN where undefined.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingDependencyError(
                "a table of the history needs pandas. Hint: pip install 'hilum[spark]'; or use "
                "History.rows()."
            ) from error
        table = pd.DataFrame(self.rows(outputs))
        measured = [name for name in table.columns if name not in ("epoch", "step")]
        return table.astype(dict.fromkeys(measured, float))

    def to_json(self) -> dict[str, Any]:
        """A JSON object with one entry per record."""
        records = [
            {**asdict(record), "valid_auroc": list(record.valid_auroc)} for record in self.epochs
        ]
        return {"epochs": records, "stopped": self.stopped}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "History":
        """Read what `to_json` wrote."""
        return History(
            tuple(
                EpochRecord(**{**record, "valid_auroc": tuple(record.get("valid_auroc", ()))})
                for record in value["epochs"]
            ),
            value.get("stopped", ""),
        )


def load_history(run_directory: str) -> History:
    """Read the history of a run that is going on or has ended.

    Raises:
        InvalidValueError: there is no run, or nothing was validated yet.
    """
    url = storage.join(run_directory, "history.json")
    require(
        storage.exists(url),
        "run directory",
        "one with a history.json (the first validation writes it)",
        run_directory,
    )
    return History.from_json(storage.read_json(url))


def _watched(record: EpochRecord, metric: WatchedMetric) -> float:
    cost = record.cost(metric)
    if cost is None:
        cost = record.cost("valid_loss")
        assert cost is not None, "there is always a training loss"
        return cost
    return 1.0 + cost if metric == "valid_mean_auroc" else cost


def _rank(record: EpochRecord, metric: BestMetric) -> tuple[bool, float, float]:
    """Sort key: measured before unmeasured, then by the metric, then by loss; NaN comes last."""
    cost, loss = record.cost(metric), record.cost("valid_loss")
    assert loss is not None
    return (cost is None, _finite(cost or 0.0), _finite(loss))


def _finite(value: float) -> float:
    return math.inf if math.isnan(value) else value
