"""`hilum runs` and `hilum runs compare`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from hilum.errors import require

if TYPE_CHECKING:
    from hilum.recipes.runs import RunSummary

__all__ = ["app"]

FORMATS = ("table", "json")
WIDE = 240
_COLORS = {"running": "cyan", "done": "green", "failed": "red", "stopped": "yellow"}


class _FoldersOrCommand(TyperGroup):
    """`hilum runs DIR...` is `hilum runs list DIR...`."""

    default = "list"

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = [self.default, *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="runs",
    cls=_FoldersOrCommand,
    help="List training runs, and compare them. `hilum runs DIR` is `hilum runs list DIR`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command("list")
def list_runs(
    folders: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="Run folders, or folders of them.")
    ],
    format: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """List runs: model, best epoch, validation loss and AUC, speed, and whether they still run.

    Examples:

        hilum runs runs/

        hilum runs list s3://cxr/runs --format json
    """
    require(format in FORMATS, "--format", f"one of {', '.join(FORMATS)}", format)
    from dataclasses import asdict

    from hilum.recipes.runs import list_runs as find

    runs = find(folders)
    if format == "json":
        import json

        for run in runs:
            typer.echo(json.dumps(asdict(run)))
        return
    _print_runs(runs)


@app.command("compare")
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Run folders.")],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write the curves over each other (.png), or everything as a page (.html).",
        ),
    ] = None,
) -> None:
    """Say in what runs differ, and draw their curves over each other.

    Examples:

        hilum runs compare runs/first runs/second

        hilum runs compare runs/first runs/second --out runs.html
    """
    from hilum.recipes.runs import compare_runs, write_comparison

    comparison = compare_runs(runs)
    _print_runs(comparison.runs)
    names = [run.name for run in comparison.runs]
    table = Table(box=None, padding=(0, 1))
    for name in ("setting", *names):
        table.add_column(Text(name), overflow="fold")
    for row in comparison.differences:
        table.add_row(*(Text(cell) for cell in (row.name, *row.values)))
    typer.echo()
    if comparison.differences:
        _show(table)
    else:
        typer.echo("No setting differs: settings, data and versions are the same.")
    if out is not None:
        write_comparison(comparison, out)
        typer.echo(f"\n{'page' if out.endswith('.html') else 'picture'}: {out}")


def _print_runs(runs: "list[RunSummary] | tuple[RunSummary, ...]") -> None:
    from hilum.evaluation.training_page import clock

    left = ("run", "model", "state")
    columns = ("run", "model", "epochs", "best", "valid loss", "mean AUC", "img/s", "time", "state")
    table = Table(box=None, padding=(0, 1))
    for name in columns:
        justify: Literal["left", "right"] = "left" if name in left else "right"
        table.add_column(name, justify=justify, no_wrap=name != "state")
    for run in runs:
        state = f"{run.state}: {run.reason}" if run.reason else run.state
        table.add_row(
            Text(run.name),
            Text(run.architecture),
            f"{run.epochs} of {run.max_epochs}",
            "-" if run.best_epoch is None else str(run.best_epoch),
            _number(run.valid_loss, 4),
            _number(run.valid_mean_auroc, 3),
            _number(run.images_per_s, 1),
            clock(run.seconds),
            Text(state, style=_COLORS[run.state]),
        )
    _show(table)


def _show(table: Table) -> None:
    # Into a file or a pipe, where no terminal says how wide it is, rows are not cut.
    width = None if sys.stdout.isatty() else WIDE
    Console(width=width).print(table, highlight=False)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
