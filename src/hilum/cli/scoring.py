"""`hilum evaluate`, `hilum predict` and `hilum info`."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hilum.cli.options import Bundle, Glob, Images, Labels, Master, Out
from hilum.errors import InvalidValueError, RejectedImageError, require

if TYPE_CHECKING:
    from hilum.inference import Predictor

__all__ = ["evaluate", "info", "predict", "print_predictions"]

SOME_REJECTED = 3
BAR_CELLS = 24
FORMATS = ("table", "json", "csv")


def evaluate(
    bundle: Bundle,
    images: Images,
    labels: Labels,
    out: Out,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Only this split by the bundle's own rule, such as test."),
    ] = None,
    glob: Glob = None,
    master: Master = "local[*]",
) -> None:
    """Evaluate a model on labelled radiographs: AUC per finding with intervals, as HTML and JSON.

    Examples:

        hilum evaluate runs/first/bundle --images xrays/ --labels labels.csv --out eval

        hilum evaluate runs/first/bundle --images xrays/ --labels labels.csv --out eval --split test
    """
    from hilum.recipes.run import evaluate_bundle
    from hilum.spark import local_session

    console = Console(stderr=True)
    spark = local_session(master)
    try:
        evaluation = evaluate_bundle(
            spark,
            str(bundle),
            images,
            labels,
            out,
            split=split,
            glob=glob,
            say=lambda line: console.print(line, highlight=False, markup=False),
        )
    finally:
        spark.stop()
    mean = evaluation.mean_auroc
    typer.echo(f"mean AUC: {'undefined' if mean is None else f'{mean:.3f}'}")
    typer.echo(f"report: {out}/report.html")


def predict(
    bundle: Bundle,
    files: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="Radiographs.")],
    format: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
) -> None:
    """Predict radiographs (PNG, JPEG, DICOM); no Spark, no Java.

    json prints one object per line: path, status, reason, probabilities, ood_score. The last says
    how unlike the training radiographs an image is: above 1, do not trust the probabilities; null
    if the model has no such score. Exit code 3 if a file could not be used.

    Examples:

        hilum predict runs/first/bundle patient.dcm

        hilum predict runs/first/bundle xrays/ --format csv > scores.csv
    """
    if print_predictions(bundle, files, format):
        raise typer.Exit(SOME_REJECTED)


def print_predictions(bundle: Path, files: list[Path], format: str) -> int:
    """Predict files and print the rows to stdout; returns how many were rejected."""
    require(format in FORMATS, "--format", f"one of {', '.join(FORMATS)}", format)
    paths = list(_files(files))
    require(
        len(paths) > 0, "FILE|DIR", "files, or directories that hold some", list(map(str, files))
    )
    from hilum.inference import Predictor, load_bundle
    from hilum.processor import keep_freed_memory

    keep_freed_memory()
    predictor = Predictor.load(load_bundle(str(bundle)))
    if predictor.outliers is None and format == "table":
        note = (
            "this model has no out-of-distribution score: it cannot tell a radiograph from others"
        )
        typer.echo(f"note: {note}", err=True)
    return _print(_predicted(predictor, paths), predictor.findings, format)


def info(
    bundle: Bundle,
    format: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """Show what a model is: architecture, findings, preprocessing, training, versions.

    Examples:

        hilum info runs/first/bundle

        hilum info runs/first/bundle --format json
    """
    require(format in ("table", "json"), "--format", "table or json", format)
    from hilum.inference import load_bundle

    loaded = load_bundle(str(bundle))
    facts: dict[str, Any] = {
        "architecture": loaded.architecture,
        "parameters": loaded.num_parameters,
        "findings": list(loaded.findings),
        "preprocessing": loaded.preprocessing.to_json(),
        "metrics": dict(loaded.metrics),
        "ood_score": loaded.outliers is not None,
        "provenance": dict(loaded.provenance),
    }
    if format == "json":
        typer.echo(json.dumps(facts, indent=1))
        return
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in _flat(facts):
        table.add_row(name, Text(value))
    Console().print(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    path: Path
    reason: str | None
    probabilities: Sequence[float]
    ood_score: float | None

    @property
    def status(self) -> str:
        return "rejected" if self.reason else "ok"


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = (file for file in sorted(path.rglob("*")) if file.is_file())
            yield from (f for f in found if not f.name.startswith((".", "_")))
        elif path.is_file():
            yield path
        else:
            raise InvalidValueError(f"FILE|DIR must exist. Got {str(path)!r}.")


def _predicted(predictor: "Predictor", paths: Sequence[Path]) -> Iterator[_Row]:
    """Rows in the order of the paths, a batch at a time."""
    from hilum.decoding import decode

    for at in range(0, len(paths), predictor.batch_size):
        batch = paths[at : at + predictor.batch_size]
        reasons: dict[Path, str] = {}
        pixels = []
        for path in batch:
            try:
                pixels.append(decode(path.read_bytes()).pixels)
            except RejectedImageError as rejection:
                reasons[path] = rejection.reason
            except OSError:
                reasons[path] = "unreadable"
        predictions = predictor.predictions(pixels)
        for path in batch:
            reason = reasons.get(path)
            probabilities, ood_score = (None, None) if reason else next(predictions)
            yield _Row(
                path=path,
                reason=reason,
                probabilities=[] if probabilities is None else probabilities.tolist(),
                ood_score=ood_score,
            )


def _print(rows: Iterable[_Row], findings: Sequence[str], form: str) -> int:
    rejected = 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        writer.writerow(["path", "status", "reason", *findings, "ood_score"])
    for row in rows:
        rejected += row.reason is not None
        if form == "csv":
            scores = [f"{value:.6f}" for value in row.probabilities] or [""] * len(findings)
            ood_score = "" if row.ood_score is None else f"{row.ood_score:.3f}"
            writer.writerow([row.path, row.status, row.reason or "", *scores, ood_score])
        elif form == "json":
            named = dict(zip(findings, row.probabilities, strict=False)) or None
            record = {"path": str(row.path), "status": row.status, "reason": row.reason}
            typer.echo(json.dumps(record | {"probabilities": named, "ood_score": row.ood_score}))
        else:
            Console().print(_bars(row, findings))
    return rejected


def _bars(row: _Row, findings: Sequence[str]) -> Table:
    # Text, because a file name may hold what rich takes for markup.
    table = Table(title=Text(str(row.path)), box=None, show_header=False, title_justify="left")
    if row.reason:
        table.add_row("rejected:", row.reason)
    if row.ood_score is not None and row.ood_score > 1:
        warning = (
            f"unlike the radiographs of training (score {row.ood_score:.2f}, usual is below 1)"
        )
        table.title = Text.assemble(str(row.path), ("\nwarning: " + warning, "yellow"))
    for finding, value in sorted(
        zip(findings, row.probabilities, strict=False), key=lambda pair: -pair[1]
    ):
        cells = round(value * BAR_CELLS)
        table.add_row(
            finding.replace("_", " "), f"{value:5.1%}", "█" * cells + "░" * (BAR_CELLS - cells)
        )
    return table


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, entry in value.items():
            yield from _flat(entry, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield prefix, "; ".join(json.dumps(entry) for entry in value)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value))
    else:
        yield prefix, f"{value:,}" if isinstance(value, int) else str(value)
