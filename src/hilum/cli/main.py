"""The `hilum` command: its subcommands, and how errors become messages and exit codes.

Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage; 3 done, but some of the
files could not be used; 130 stopped by Ctrl-C.
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from hilum.cli import (
    calibration,
    comparing,
    data,
    demonstration,
    explaining,
    exporting,
    networks,
    packing,
    runs,
    schedules,
    scoring,
    training,
    watching,
)
from hilum.errors import HilumError

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="hilum",
    help="Train, evaluate and use chest-radiograph classifiers on Apache Spark.",
    epilog=__doc__.partition("\n\n")[2],
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hilum {version('hilum')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options before the subcommand."""


app.command("demo")(demonstration.demo)
app.command("run")(training.run)
app.command("ingest")(data.ingest)
app.command("train")(training.train)
app.add_typer(schedules.app, name="schedule")
app.command("evaluate")(scoring.evaluate)
app.command("compare")(comparing.compare)
app.command("leaderboard")(comparing.leaderboard)
app.add_typer(runs.app, name="runs")
app.command("calibrate")(calibration.calibrate)
app.command("predict")(scoring.predict)
app.command("watch")(watching.watch)
app.command("explain")(explaining.explain)
app.command("localise")(explaining.localise)
app.command("robustness")(explaining.robustness)
app.command("info")(scoring.info)
app.command("network")(networks.network)
app.command("networks")(networks.networks)
app.command("export")(exporting.export)
app.command("pack")(packing.pack)


def main() -> None:
    """Run the command line; errors a user can mend are one message, not a traceback."""
    try:
        app(standalone_mode=True)
    except (HilumError, OSError) as error:  # what files and servers say names the file and the way
        said = error if isinstance(error, HilumError) else f"{type(error).__name__}: {error}"
        Console(stderr=True).print(f"hilum: {said}", style="red", markup=False, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("hilum: interrupted", style="red")
        sys.exit(INTERRUPTED)
