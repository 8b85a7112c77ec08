"""Looking at a learning-rate schedule before anything is trained with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import require
from hilum.optim import Measurement, Schedule

__all__ = ["Simulation", "draw", "simulate_run"]

MAX_POINTS = 2000  # more than a picture has columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Learning rates of a run that did not take place.

    Attributes:
        steps: optimizer steps, at most 2000 of them, the first and the last included.
        rates: the learning rate of each.
        steps_per_epoch: as it was assumed.
    """

    steps: tuple[int, ...]
    rates: tuple[float, ...]
    steps_per_epoch: int


def simulate_run(
    schedule: Schedule, *, epochs: int, steps_per_epoch: int, values: Sequence[float] = ()
) -> Simulation:
    """Return the learning rates of a run.

    Args:
        values: what was measured at the end of each epoch, from the first; lower is better.
            Schedules that watch a metric see no more than these.
    """
    require(epochs >= 1, "epochs", "at least 1", epochs)
    require(steps_per_epoch >= 1, "steps_per_epoch", "at least 1", steps_per_epoch)
    measured = [Measurement((epoch + 1) * steps_per_epoch, v) for epoch, v in enumerate(values)]
    last = epochs * steps_per_epoch - 1
    stride = max(1, -(-last // (MAX_POINTS - 1)))
    steps = sorted({*range(0, last + 1, stride), last})
    return Simulation(
        steps=tuple(steps),
        rates=tuple(schedule.lr(step, measured) for step in steps),
        steps_per_epoch=steps_per_epoch,
    )


def draw(simulation: Simulation, path: Path, *, title: str, log: bool = False) -> None:
    """Write a picture of the learning rate over epochs as PNG.

    Raises:
        InvalidValueError: the file's name does not end in .png.
    """
    from hilum.evaluation.figures import BLUE, clean_axes, figure_to_png, new_figure

    require(path.suffix.lower() == ".png", "--out", "a file that ends in .png", str(path))
    figure = new_figure(7.0, 3.5)
    axes = figure.subplots()
    epochs = [step / simulation.steps_per_epoch for step in simulation.steps]
    axes.plot(epochs, simulation.rates, color=BLUE, linewidth=1.5)
    axes.set_xlabel("epoch")
    axes.set_ylabel("learning rate")
    axes.set_title(title, loc="left", fontsize=10)
    if log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    clean_axes(axes, grid=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(figure_to_png(figure))
