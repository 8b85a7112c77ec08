"""Two models on the same labelled images: scored, aligned, tested, written down."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pyspark.sql import SparkSession

from hilum import storage
from hilum.errors import InvalidValueError, require
from hilum.evaluation.comparison import Correction, compare
from hilum.evaluation.comparison_page import render_comparison
from hilum.evaluation.comparison_result import Comparison
from hilum.inference import load_bundle
from hilum.recipes.data import label_and_split, only_split, read_size, rule_of
from hilum.recipes.scoring import score
from hilum.spark import NNModel, read_labels, read_radiographs
from hilum.spark.evaluator import label_matrix
from hilum.spark.tables import FILE_NAME_COLUMNS, fold

__all__ = ["compare_bundles", "compare_predictions", "is_predictions"]

Say = Callable[[str], None]
_NOT_FINDINGS = ("status", "reason")  # columns of `hilum predict --format csv`
_EVERYBODY_NOTE = (
    "All labelled images given were compared. If some of their patients were in the training data "
    "of a model, the figures flatter that model; --split test keeps to the patients kept apart."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scores:
    """Scores of one model by file name, (image, finding)."""

    findings: tuple[str, ...]
    rows: Mapping[str, npt.NDArray[np.float64]]

    def of(self, names: Sequence[str], findings: Sequence[str]) -> npt.NDArray[np.float64]:
        columns = [self.findings.index(finding) for finding in findings]
        return np.array([self.rows[name] for name in names])[:, columns]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Labels:
    """Labels and patients by file name; a row is in the order of `findings`."""

    findings: tuple[str, ...]
    rows: Mapping[str, tuple[str | None, npt.NDArray[np.float64]]]


def compare_bundles(
    spark: SparkSession,
    a: str,
    b: str,
    images: str,
    labels: str,
    out: str,
    *,
    split: str | None = None,
    glob: str | None = None,
    correction: Correction = "holm",
    seed: int = 0,
    say: Say,
) -> Comparison:
    """Score two bundles on the same images and write OUT/comparison.{html,json,csv}.

    Args:
        a: bundle of model A.
        b: bundle of model B; a difference above 0 is in its favour.
        images: path, directory or glob of image files. labels: the label table.
        split: only images of this split, by the rule that both bundles were trained with.
        correction: for testing several findings.
        seed: of the bootstrap.
        say: is told each step in one line.

    Raises:
        InvalidValueError: no finding or image in common, or, with `split`, different split rules.
    """
    models = [NNModel(load_bundle(url)) for url in (a, b)]
    shared = _shared(models[0].findings, models[1].findings)
    if split is not None:
        _require_one_rule(models)
    scored = []
    known: dict[str, tuple[str | None, npt.NDArray[np.float64]]] = {}
    for url, model in zip((a, b), models, strict=True):
        size = read_size(model.bundle.preprocessing)
        frame = read_radiographs(spark, images, size=size, glob=glob)
        rule = None if split is None else rule_of(model.bundle)
        data = label_and_split(spark, frame, labels, rule, model.findings)
        chosen = data.frame if split is None else only_split(spark, data, split, size)
        found = score(model, chosen)
        say(
            f"{url}: scored {len(found.file_names)} images, rejected {sum(found.rejected.values())}"
        )
        scored.append(
            _Scores(
                findings=model.findings,
                rows=dict(zip(found.file_names, found.scores, strict=True)),
            )
        )
        columns = [model.findings.index(name) for name in shared]
        rows = zip(found.patient_ids, found.labels[:, columns], strict=True)
        known |= dict(zip(found.file_names, rows, strict=True))
    table = _Labels(findings=shared, rows=known)
    notes = () if split is not None else (_EVERYBODY_NOTE,)
    return _compare(_named(a, b), scored, table, out, notes, correction, seed, say)


def compare_predictions(
    spark: SparkSession,
    a: str,
    b: str,
    labels: str,
    out: str,
    *,
    correction: Correction = "holm",
    seed: int = 0,
    say: Say,
) -> Comparison:
    """Compare two predictions.csv on the images of a label table; as `compare_bundles`.

    The files have a column with the image's file name (or path) and one per finding, as
    `hilum evaluate`, `hilum run` and `hilum predict --format csv` write them.
    """
    scored = [_read_predictions(url) for url in (a, b)]
    shared = _shared(scored[0].findings, scored[1].findings)
    table = read_labels(spark, labels, findings=shared).select("file_name", "patient_id", "labels")
    rows = table.toArrow()
    pairs = zip(rows["patient_id"].to_pylist(), label_matrix(rows["labels"]), strict=True)
    known = _Labels(
        findings=shared, rows=dict(zip(rows["file_name"].to_pylist(), pairs, strict=True))
    )
    return _compare(_named(a, b), scored, known, out, (), correction, seed, say)


def is_predictions(url: str) -> bool:
    """Whether a model is given as its predictions, a CSV file, and not as a bundle."""
    return url.lower().endswith(".csv")


def _compare(
    names: tuple[str, str],
    scored: Sequence[_Scores],
    labels: _Labels,
    out: str,
    notes: tuple[str, ...],
    correction: Correction,
    seed: int,
    say: Say,
) -> Comparison:
    a, b = scored
    both = sorted(set(a.rows) & set(b.rows) & set(labels.rows))
    if not both:
        raise InvalidValueError(
            "both models and the labels must share images. Got none in common of "
            f"{len(a.rows)}, {len(b.rows)} and {len(labels.rows)} file names."
        )
    notes += _left_out(names, a, b, labels, len(both))
    for note in notes:
        say(note)
    patients = [labels.rows[name][0] or f"file:{name}" for name in both]
    comparison = compare(
        labels.findings,
        np.stack([labels.rows[name][1] for name in both]),
        a.of(both, labels.findings),
        b.of(both, labels.findings),
        patient_ids=patients,
        names=names,
        correction=correction,
        seed=seed,
    )
    comparison = replace(comparison, notes=notes)
    for name, content in (
        ("comparison.json", comparison.to_json() + "\n"),
        ("comparison.csv", comparison.to_csv()),
        ("comparison.html", render_comparison(comparison)),
    ):
        storage.write_bytes(storage.join(out, name), content.encode())
    return comparison


def _left_out(
    names: tuple[str, str], a: _Scores, b: _Scores, labels: _Labels, compared: int
) -> tuple[str, ...]:
    """Say plainly which findings and images are not in the comparison."""
    notes = []
    for name, scores in zip(names, (a, b), strict=True):
        alone = [finding for finding in scores.findings if finding not in labels.findings]
        if alone:
            notes.append(f"Not compared, because only {name} has them: {', '.join(alone)}.")
    some = max(len(a.rows), len(b.rows)) - compared
    if some:
        notes.append(
            f"Compared: the {compared} images that both models scored and that have labels; "
            f"up to {some} others of a model were left out."
        )
    return tuple(notes)


def _shared(a: Sequence[str], b: Sequence[str]) -> tuple[str, ...]:
    shared = tuple(finding for finding in a if finding in b)
    if not shared:
        raise InvalidValueError(
            "the models must have a finding in common. Got "
            f"{', '.join(a)} against {', '.join(b)}. Hint: names must be equal letter by letter."
        )
    return shared


def _require_one_rule(models: Sequence[NNModel]) -> None:
    first, second = (rule_of(model.bundle).to_json() for model in models)
    require(
        first == second,
        "--split",
        "used on bundles trained with one and the same split",
        [first, second],
        hint="train both with one --seed, or compare on patients that neither has seen, "
        "without --split",
    )


def _read_predictions(url: str) -> _Scores:
    rows = list(csv.DictReader(io.StringIO(storage.read_bytes(url).decode("utf-8-sig"))))
    columns = list(rows[0]) if rows else []
    wanted = {fold(name) for name in FILE_NAME_COLUMNS}
    name_column = next((column for column in columns if fold(column) in wanted), None)
    if name_column is None:
        raise InvalidValueError(
            f"{url} must have rows and a column file_name or path. Got columns: "
            f"{', '.join(columns) or 'none'}. Hint: `hilum predict --format csv` writes one."
        )
    findings = [c for c in columns if c != name_column and fold(c) not in _NOT_FINDINGS]
    scores: dict[str, npt.NDArray[np.float64]] = {}
    for number, row in enumerate(rows, start=2):
        if row.get("status") == "rejected":
            continue
        name = row[name_column].replace("\\", "/").rpartition("/")[2]
        require(name not in scores, url, "a table with each file name once", name)
        try:
            scores[name] = np.array([float(row[finding]) for finding in findings])
        except (TypeError, ValueError) as error:
            raise InvalidValueError(
                f"{url} must hold a number per finding. Got {error} in line {number}."
            ) from error
    return _Scores(findings=tuple(findings), rows=scores)


def _named(a: str, b: str) -> tuple[str, str]:
    """The shortest ends of two paths that tell them apart: "seed-0", not "/runs/seed-0/bundle"."""
    parts = [url.rstrip("/").split("/") for url in (a, b)]
    while len(parts[0]) > 1 and len(parts[1]) > 1 and parts[0][-1] == parts[1][-1]:
        parts = [part[:-1] for part in parts]
    first, second = parts[0][-1], parts[1][-1]
    return (first, second) if first != second else ("A", "B")
