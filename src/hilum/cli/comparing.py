"""`hilum compare` and `hilum leaderboard`."""

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hilum.cli.option_groups import with_options
from hilum.cli.options import Glob, Labels, Out
from hilum.cli.session_options import SessionOptions
from hilum.errors import require

if TYPE_CHECKING:
    from hilum.evaluation.comparison_result import Comparison
    from hilum.recipes.leaderboard import Leaderboard

__all__ = ["compare", "leaderboard"]

CORRECTIONS = ("holm", "benjamini-hochberg")
FORMATS = ("table", "json", "csv")
WIDE = 160
_LEFT = ("run", "architecture")


@with_options(SessionOptions, "session")
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Bundle, or predictions.csv.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other; above 0 speaks for it.")],
    labels: Labels,
    out: Out,
    images: Annotated[
        str | None,
        typer.Option("--images", help="File, directory or glob; needed for bundles."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Only this split by the bundles' own rule, such as test."),
    ] = None,
    correction: Annotated[
        str, typer.Option("--correction", help="holm or benjamini-hochberg, over the findings.")
    ] = "holm",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0,
    glob: Glob = None,
    *,
    session: SessionOptions,
) -> None:
    """Compare two models on the same images: is the difference of AUC more than chance?

    Paired DeLong test and paired bootstrap over patients, corrected for testing several findings.
    Writes comparison.html, comparison.json and comparison.csv.

    Examples:

        hilum compare runs/a/bundle runs/b/bundle --images xrays/ --labels labels.csv --out ab

        hilum compare a/predictions.csv b/predictions.csv --labels labels.csv --out ab
    """
    require(correction in CORRECTIONS, "--correction", " or ".join(CORRECTIONS), correction)
    from hilum.recipes.comparing import compare_bundles, compare_predictions, is_predictions

    from_files = is_predictions(a)
    require(from_files == is_predictions(b), "A and B", "two bundles or two CSV files", [a, b])
    require(from_files or images is not None, "--images", "given to compare bundles", images)
    require(
        not from_files or split is None,
        "--split",
        "left out with CSV files, which hold the images to compare",
        split,
    )
    console = Console(stderr=True)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    options = {"correction": correction, "seed": seed, "say": say}
    spark = session.start()
    try:
        if from_files:
            result = compare_predictions(spark, a, b, labels, out, **options)  # type: ignore[arg-type]  # checked above
        else:
            result = compare_bundles(
                spark,
                a,
                b,
                images or "",
                labels,
                out,
                split=split,
                glob=glob,
                **options,  # type: ignore[arg-type]
            )
    finally:
        spark.stop()
    _print_comparison(result)
    typer.echo(f"report: {out}/comparison.html")


def leaderboard(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of hilum run.")],
    format: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
) -> None:
    """Rank finished runs by mean AUC, and repeated seeds by their mean and spread.

    Runs that were tested on other images are named, as their figures cannot be compared.

    Examples:

        hilum leaderboard runs/first runs/second

        hilum leaderboard runs/* --format csv > runs.csv
    """
    require(format in FORMATS, "--format", f"one of {', '.join(FORMATS)}", format)
    from hilum.recipes.leaderboard import leaderboard as rank

    board = rank(runs)
    if format == "json":
        typer.echo(board.to_json())
    elif format == "csv":
        typer.echo(board.to_csv(), nl=False)
    else:
        _print_leaderboard(board)
    for warning in board.warnings:
        typer.echo(f"warning: {warning}", err=True)


def _print_comparison(comparison: "Comparison") -> None:
    from hilum.evaluation.comparison_page import conclusions, probability

    a, b = comparison.names
    table = Table(box=None, padding=(0, 1))
    for name in ("finding", "with it", a, b, "B - A", "95 % interval", "p", "p corrected"):
        justify: Literal["left", "right"] = "left" if name == "finding" else "right"
        table.add_column(Text(name), justify=justify, no_wrap=True)
    for name, row in comparison.rows():
        # The mean is not among the findings that are corrected; its bootstrap always has a p.
        p_value = row.p_value if row.p_value is not None else row.p_bootstrap
        low, high = row.ci95 or (None, None)
        table.add_row(
            name.replace("_", " "),
            f"{row.positives:,}",
            _number(row.auroc_a),
            _number(row.auroc_b),
            _number(row.difference, sign="+"),
            "-" if low is None or high is None else f"{low:+.3f} to {high:+.3f}",
            probability(p_value),
            probability(row.p_adjusted),
        )
    _show(table)
    for sentence in conclusions(comparison):
        typer.echo(sentence)


def _print_leaderboard(board: "Leaderboard") -> None:
    table = Table(box=None, padding=(0, 1))
    columns = ("run", "mean AUC", "95 % interval", "any finding", "architecture", "seed", "epoch")
    for name in (*columns, "test images"):
        justify: Literal["left", "right"] = "left" if name in _LEFT else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    for run in board.runs:
        low, high = run.mean_auroc_ci95 or (None, None)
        table.add_row(
            Text(run.name),
            _number(run.mean_auroc),
            "-" if low is None or high is None else f"{low:.3f} to {high:.3f}",
            _number(run.any_finding_auroc),
            run.architecture,
            "-" if run.seed is None else str(run.seed),
            "-" if run.epoch is None else f"{run.epoch + 1} of {run.max_epochs}",
            f"{run.test_images:,}",
        )
    _show(table)
    for group in board.configurations:
        if len(group.runs) > 1:
            typer.echo(str(group))


def _show(table: Table) -> None:
    # Into a file or a pipe, where no terminal says how wide it is, rows are not cut.
    width = None if sys.stdout.isatty() else WIDE
    Console(width=width).print(table, highlight=False)


def _number(value: float | None, *, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3f}"
