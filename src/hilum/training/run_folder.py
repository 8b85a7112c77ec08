"""history.csv and history.png of a run, kept beside history.json for people and spreadsheets."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

from torch import nn

from hilum import storage
from hilum.training.config import TrainConfig
from hilum.training.history import EpochRecord, History

__all__ = ["RunFolder", "learning_rates"]

REDRAW_S = 60.0  # drawing takes half a second: less than one in a hundred
_MAX_POINTS = 400


class RunFolder:
    """An observer that writes RUN/history.csv at every validation and RUN/history.png now and then.

    Args:
        history: what was validated before the run was resumed.
        clock: seconds, for how old the picture is.
    """

    def __init__(
        self,
        run_directory: str,
        config: TrainConfig,
        history: History,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_directory = run_directory
        self._config = config
        self._history = history
        self._clock = clock
        self._drawn_s = clock()
        self._is_drawn = True

    def step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Nothing: the files are about validations."""

    def record(self, record: EpochRecord, outputs: tuple[str, ...], model: nn.Module) -> None:
        """Write the table again, and the picture if it is old."""
        self._history = self._history.append(record)
        url = storage.join(self._run_directory, "history.csv")
        storage.write_bytes(url, self._history.to_csv(outputs).encode())
        self._is_drawn = False
        if self._clock() - self._drawn_s >= REDRAW_S:
            self._draw()

    def close(self) -> None:
        """Bring the picture up to date."""
        if not self._is_drawn:
            self._draw()

    def _draw(self) -> None:
        # matplotlib takes half a second to import, and most processes never draw.
        from hilum.evaluation.figures import figure_to_png
        from hilum.evaluation.training_plots import plot_training

        rows = [asdict(record) for record in self._history]
        rates = learning_rates(self._config, self._history)
        figure = plot_training(rows, over="steps", rates=rates)
        url = storage.join(self._run_directory, "history.png")
        storage.write_bytes(url, figure_to_png(figure))
        self._drawn_s, self._is_drawn = self._clock(), True


def learning_rates(config: TrainConfig, history: History) -> list[tuple[int, float]]:
    """(step, learning rate) over the run so far: what the schedule said, at most 400 points."""
    if not len(history):
        return []
    steps = history.epochs[-1].step
    measurements = history.measurements(config.watched_metric)
    every = max(1, -(-steps // _MAX_POINTS))
    # The rate before step n was used for it; steps are counted when they are done.
    return [
        (step + 1, config.schedule.lr(step, measurements))
        for step in sorted({*range(0, steps, every), steps - 1})
    ]
