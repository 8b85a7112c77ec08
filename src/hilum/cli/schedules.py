"""`hilum schedule list` and `hilum schedule plot`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hilum.errors import InvalidValueError

__all__ = ["app"]

app = typer.Typer(
    name="schedule",
    help="Look at learning-rate schedules without training.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command("list")
def list_schedules() -> None:
    """Print the names of schedules and what they do."""
    from hilum.optim import SCHEDULES

    width = max(map(len, SCHEDULES))
    for name, meaning in SCHEDULES.items():
        typer.echo(f"{name:<{width}}  {meaning}")


@app.command("plot")
def plot(
    schedule: Annotated[
        str, typer.Argument(metavar="NAME|JSON", help="A name of `hilum schedule list`, or JSON.")
    ],
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Epochs of the run.")] = 8,
    steps_per_epoch: Annotated[
        int, typer.Option("--steps-per-epoch", min=1, help="Optimizer steps in one epoch.")
    ] = 100,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="Peak, for schedules given by name.")
    ] = 3e-4,
    warmup_epochs: Annotated[
        float, typer.Option("--warmup-epochs", min=0, help="Epochs of linear warm-up.")
    ] = 1.0,
    measured: Annotated[
        str,
        typer.Option(
            "--measured",
            metavar="NUMBERS",
            help="What plateau schedules shall see: a value per epoch, comma-separated; lower is "
            "better.",
        ),
    ] = "",
    log: Annotated[bool, typer.Option("--log", help="Logarithmic axis.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="Also write a picture.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the schedule as JSON instead of the curve.")
    ] = False,
) -> None:
    """Draw the learning rate over a run in the terminal, and as a picture.

    Examples:

        hilum schedule plot cosine --epochs 8 --steps-per-epoch 240

        hilum schedule plot paper --epochs 15 --measured 0.18,0.17,0.16,0.16,0.16 --log --out lr.png
    """
    from hilum.optim import Span, schedule_of, schedule_to_json, text_plot
    from hilum.recipes.schedules import draw, simulate_run

    span = Span(
        peak=learning_rate,
        steps=epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=warmup_epochs,
    )
    chosen = schedule_of(schedule, span)
    if as_json:
        typer.echo(json.dumps(schedule_to_json(chosen)))
        return
    simulation = simulate_run(
        chosen, epochs=epochs, steps_per_epoch=steps_per_epoch, values=_numbers(measured)
    )
    typer.echo(text_plot(simulation.steps, simulation.rates, log=log))
    if out is not None:
        title = schedule if not schedule.lstrip().startswith("{") else type(chosen).__name__
        draw(simulation, out, title=title, log=log)
        typer.echo(f"picture: {out}")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise InvalidValueError(
            f"--measured must be numbers with commas between them. Got {text!r}."
        ) from error
