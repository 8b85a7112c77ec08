"""`hilum evaluate`, `hilum predict` and `hilum info`."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hilum.cli.option_groups import with_options
from hilum.cli.options import Bundle, CloserLook, Glob, Images, Labels
from hilum.cli.session_options import SessionOptions
from hilum.errors import InvalidValueError, RejectedImageError, require

if TYPE_CHECKING:
    from hilum.evaluation.decision import DecisionRules
    from hilum.inference import Predictor

__all__ = ["evaluate", "info", "predict", "print_predictions"]

SOME_REJECTED = 3
BAR_CELLS = 24
FORMATS = ("table", "json", "csv")


@with_options(SessionOptions, "session")
def evaluate(
    bundle: Bundle,
    images: Images,
    labels: Labels,
    out: Annotated[
        str, typer.Option("--out", "--report", help="Directory for the report; both names do.")
    ],
    split: Annotated[
        str | None,
        typer.Option("--split", help="Only this split by the bundle's own rule, such as test."),
    ] = None,
    closer_look: CloserLook = 100,
    adjudicated: Annotated[
        str | None,
        typer.Option(
            "--adjudicated",
            help="Google's adjudicated labels (CSV, .csv.gz): how far NIH's own can be trusted.",
        ),
    ] = None,
    boxes: Annotated[
        str | None,
        typer.Option(
            "--boxes", help="NIH's BBox_List_2017.csv: do heat maps point at the boxed findings?"
        ),
    ] = None,
    glob: Glob = None,
    *,
    session: SessionOptions,
) -> None:
    """Evaluate a model on labelled radiographs and write the report.

    report.html is one file that works offline and prints; beside it lie report.json with its
    schema, metrics.json, a CSV file per table, model_card.md and claim_checklist.md.

    Examples:

        hilum evaluate runs/first/bundle --images xrays/ --labels labels.csv --report eval

        hilum evaluate runs/first/bundle --images xrays/ --labels labels.csv --out eval --split test
    """
    from hilum.recipes.references import References
    from hilum.recipes.run import evaluate_bundle

    console = Console(stderr=True)
    spark = session.start()
    try:
        evaluation = evaluate_bundle(
            spark,
            bundle,
            images,
            labels,
            out,
            split=split,
            glob=glob,
            closer_look=closer_look,
            references=References(adjudicated=adjudicated, boxes=boxes),
            say=lambda line: console.print(line, highlight=False, markup=False),
        )
    finally:
        spark.stop()
    mean = evaluation.mean_auroc
    typer.echo(f"mean AUC: {'undefined' if mean is None else f'{mean:.3f}'}")
    typer.echo(f"report: {out}/report.html")


def predict(
    bundle: Bundle,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE|DIR...", help="Radiographs, also hdfs:// and s3://."),
    ],
    format: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
) -> None:
    """Predict radiographs (PNG, JPEG, DICOM); no Spark, no Java.

    Probabilities are calibrated where the model holds a calibration. The table marks each finding's
    threshold in its bar, where the model holds one, and says whether the probability is above it.
    json prints one object per line: path, status, reason, probabilities, operating_point (rule,
    thresholds, findings called present; null for a model without), ood_score. The last says how
    unlike the training radiographs an image is: above 1, do not trust the probabilities; null if
    the model has no such score. Exit code 3 if a file could not be used; a storage that cannot be
    reached, or takes no keys, is an error.

    Examples:

        hilum predict runs/first/bundle patient.dcm

        hilum predict runs/first/bundle xrays/ --format csv > scores.csv

        hilum predict hdfs:///runs/first/bundle hdfs:///cxr/00000061_012.png
    """
    if print_predictions(bundle, files, format):
        raise typer.Exit(SOME_REJECTED)


def print_predictions(bundle: str, files: list[str], format: str) -> int:
    """Predict files and print the rows to stdout; returns how many were rejected."""
    require(format in FORMATS, "--format", f"one of {', '.join(FORMATS)}", format)
    paths = _files(files)
    require(len(paths) > 0, "FILE|DIR", "files, or directories that hold some", files)
    from hilum.inference import Predictor, load_bundle
    from hilum.processor import keep_freed_memory

    keep_freed_memory()
    predictor = Predictor.load(load_bundle(bundle))
    if predictor.outliers is None and format == "table":
        note = (
            "this model has no out-of-distribution score: it cannot tell a radiograph from others"
        )
        typer.echo(f"note: {note}", err=True)
    rows = _predicted(predictor, paths)
    return _print(rows, predictor.findings, format, predictor.decision_rules)


def info(
    bundle: Bundle,
    format: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """Show what a model is: architecture, findings, preprocessing, training, versions, thresholds.

    Examples:

        hilum info runs/first/bundle

        hilum info runs/first/bundle --format json
    """
    require(format in ("table", "json"), "--format", "table or json", format)
    from hilum.evaluation.decision import NO_RULES
    from hilum.inference import load_bundle

    loaded = load_bundle(bundle)
    facts: dict[str, Any] = {
        "architecture": loaded.architecture,
        "parameters": loaded.num_parameters,
        "findings": list(loaded.findings),
        "preprocessing": loaded.preprocessing.to_json(),
        "metrics": dict(loaded.metrics),
        "ood_score": loaded.outliers is not None,
        "provenance": dict(loaded.provenance),
        "decision_rules": loaded.decision_rules and loaded.decision_rules.to_json(),
    }
    if format == "json":
        typer.echo(json.dumps(facts, indent=1))
        return
    table = Table(show_header=False, box=None, padding=(0, 2))
    facts["decision_rules"] = NO_RULES
    if loaded.decision_rules is not None:
        facts["decision_rules"] = str(loaded.decision_rules)
        facts |= _told(loaded.decision_rules)
    for name, value in _flat(facts):
        table.add_row(name, Text(value))
    Console().print(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    path: str
    reason: str | None
    probabilities: Sequence[float]
    ood_score: float | None
    present: Sequence[str] | None = None

    @property
    def status(self) -> str:
        return "rejected" if self.reason else "ok"


def _files(given: Sequence[str]) -> list[str]:
    """The files of directories and globs, in the order given."""
    from hilum import storage

    found: dict[str, None] = {}
    for url in given:
        try:
            found |= dict.fromkeys(file.url for file in storage.list_files(url))
        except FileNotFoundError as error:
            raise InvalidValueError(f"FILE|DIR must exist. Got {url!r}.") from error
    return list(found)


def _predicted(predictor: "Predictor", paths: Sequence[str]) -> Iterator[_Row]:
    """Rows in the order of the paths, a batch at a time."""
    from hilum import storage
    from hilum.decoding import decode, read_local_file, read_remote_file

    far = (path for path in paths if storage.local_path(path) is None)
    contents = storage.read_ahead(far, read_remote_file)
    for at in range(0, len(paths), predictor.batch_size):
        batch = paths[at : at + predictor.batch_size]
        reasons: dict[str, str] = {}
        pixels = []
        for path in batch:
            here = storage.local_path(path) is not None
            try:
                data = read_local_file(path) if here else next(contents).result()
                pixels.append(decode(data).pixels)
            except RejectedImageError as rejection:
                reasons[path] = rejection.reason
            except OSError as error:
                # A server that is away or takes no keys is no property of one file.
                if not here and not isinstance(error, FileNotFoundError):
                    raise
                reasons[path] = "unreadable"
        predictions = predictor.predictions(pixels)
        for path in batch:
            reason = reasons.get(path)
            if reason:
                yield _Row(path=path, reason=reason, probabilities=[], ood_score=None)
                continue
            found, ood_score = next(predictions)
            yield _Row(
                path=path,
                reason=None,
                probabilities=found.tolist(),
                ood_score=ood_score,
                present=predictor.present(found),
            )


def _print(
    rows: Iterable[_Row], findings: Sequence[str], form: str, rules: "DecisionRules | None"
) -> int:
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
            record: dict[str, Any] = {
                "path": row.path,
                "status": row.status,
                "reason": row.reason,
            }
            record |= {"probabilities": named, "operating_point": _point(row, rules)}
            typer.echo(json.dumps(record | {"ood_score": row.ood_score}))
        else:
            Console().print(_bars(row, findings, rules))
    return rejected


def _point(row: _Row, rules: "DecisionRules | None") -> dict[str, Any] | None:
    if rules is None or row.present is None:
        return None
    return {
        "rule": rules.default.name,
        "thresholds": dict(rules.default.thresholds),
        "present": list(row.present),
    }


def _bars(row: _Row, findings: Sequence[str], rules: "DecisionRules | None") -> Table:
    # Text, because a file name may hold what rich takes for markup.
    table = Table(title=Text(row.path), box=None, show_header=False, title_justify="left")
    if row.reason:
        table.add_row("rejected:", row.reason)
    thresholds = {} if rules is None else rules.default.thresholds
    called = row.present or ()
    if row.ood_score is not None and row.ood_score > 1:
        warning = (
            f"unlike the radiographs of training (score {row.ood_score:.2f}, usual is below 1)"
        )
        table.title = Text.assemble(row.path, ("\nwarning: " + warning, "yellow"))
    for finding, value in sorted(
        zip(findings, row.probabilities, strict=False), key=lambda pair: -pair[1]
    ):
        threshold = thresholds.get(finding)
        cells = [finding.replace("_", " "), f"{value:5.1%}", _bar(value, threshold)]
        if threshold is not None:
            where = "above" if finding in called else "below"
            cells.append(f"{where} {threshold:.1%}")
        table.add_row(*cells)
    if rules is not None and not row.reason:
        table.caption = Text(f"threshold: {rules.default.rule}")
        table.caption_justify = "left"
    return table


def _bar(value: float, threshold: float | None) -> str:
    filled = round(value * BAR_CELLS)
    cells = ["█"] * filled + ["░"] * (BAR_CELLS - filled)
    if threshold is not None:
        cells[min(BAR_CELLS - 1, int(threshold * BAR_CELLS))] = "│"
    return "".join(cells)


def _told(rules: "DecisionRules") -> dict[str, Any]:
    """Calibration and thresholds as a person reads them, a line for each."""
    return {
        "calibration": {name: str(each) for name, each in rules.calibration.findings.items()},
        "thresholds": {
            point.name: [
                f"{name} {'none' if value is None else f'{value:.4f}'}"
                for name, value in point.thresholds.items()
            ]
            for point in rules.operating_points
        },
    }


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
