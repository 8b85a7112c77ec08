"""Finished runs side by side: which model ranks best, and how much of it is the seed's luck.

Reads what `hilum run` leaves: RUN/report/metrics.json, RUN/report/predictions.csv and the manifest
of RUN/bundle. AUCs over different images cannot be compared, so runs are told apart by what they
were tested on, and a difference is said.
"""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from hilum import storage
from hilum.errors import InvalidValueError, require
from hilum.evaluation import Evaluation
from hilum.evaluation.bootstrap import Interval

__all__ = ["Configuration", "Leaderboard", "RunEntry", "leaderboard", "read_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One finished run.

    Attributes:
        name: its folder, as given.
        seed: of training; None if the bundle does not say, as also below.
        epoch: the one kept, counted from 0, of `max_epochs`.
        split: the split rule in words.
        test_set: hash of the tested images' names and their labels' counts; equal only if the
            runs were tested on the same images.
        configuration: hash of all settings but seeds.
    """

    name: str
    mean_auroc: float | None
    mean_auroc_ci95: Interval | None
    any_finding_auroc: float | None
    any_finding_auroc_ci95: Interval | None
    architecture: str
    seed: int | None
    epoch: int | None
    max_epochs: int | None
    findings_scored: int
    test_images: int
    test_patients: int | None
    split: str
    labels: str
    test_set: str
    configuration: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Runs that differ in seeds only.

    Attributes:
        sd: standard deviation of the mean AUC over the runs; None for one run.
        lowest: smallest mean AUC of the runs, `highest` the largest.
        one_test_set: whether all were tested on the same images; if not, the spread holds that of
            the test patients too.
    """

    runs: tuple[str, ...]
    architecture: str
    seeds: tuple[int | None, ...]
    mean: float | None
    sd: float | None
    lowest: float | None
    highest: float | None
    one_test_set: bool

    def __str__(self) -> str:
        if self.mean is None or self.lowest is None or self.highest is None:
            return f"{self.architecture}: no run has a mean AUC"
        spread = "" if self.sd is None else f", sd {self.sd:.3f}"
        seeds = ", ".join("?" if seed is None else str(seed) for seed in self.seeds)
        note = "" if self.one_test_set else "; test images differ between them"
        return (
            f"{self.architecture}, {len(self.runs)} runs (seeds {seeds}): mean AUC "
            f"{self.mean:.3f}{spread}, {self.lowest:.3f} to {self.highest:.3f}{note}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """Runs, the highest mean AUC first; configurations likewise; warnings in sentences."""

    runs: tuple[RunEntry, ...]
    configurations: tuple[Configuration, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """Return everything as JSON; null where undefined."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)

    def to_csv(self) -> str:
        """Return a row per run; empty where undefined."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = [field.name for field in fields(RunEntry)]
        columns = []
        for name in names:
            columns += [f"{name}_low", f"{name}_high"] if name.endswith("_ci95") else [name]
        writer.writerow(columns)
        for run in self.runs:
            cells: list[object] = []
            for name in names:
                value = getattr(run, name)
                cells += (value or (None, None)) if name.endswith("_ci95") else (value,)
            writer.writerow(cells)
        return text.getvalue()


def leaderboard(urls: Sequence[str]) -> Leaderboard:
    """Rank the runs in these folders.

    Raises:
        InvalidValueError: a folder holds no finished run, or is named twice.
    """
    require(len(urls) > 0, "RUN", "one or more folders of runs", list(urls))
    names = [url.rstrip("/") for url in urls]
    require(len(set(names)) == len(names), "RUN", "different folders", names)
    entries = sorted((read_run(name) for name in names), key=_rank)
    groups: dict[str, list[RunEntry]] = {}
    for entry in entries:
        groups.setdefault(entry.configuration, []).append(entry)
    configurations = [_configuration(group) for group in groups.values()]
    return Leaderboard(
        runs=tuple(entries),
        configurations=tuple(sorted(configurations, key=lambda c: -(c.mean or -1.0))),
        warnings=_warnings(entries),
    )


def read_run(url: str) -> RunEntry:
    """Read one finished run.

    Raises:
        InvalidValueError: there is no report or no bundle in it.
    """
    metrics_url = storage.join(url, "report", "metrics.json")
    manifest_url = storage.join(url, "bundle", "manifest.json")
    for needed in (metrics_url, manifest_url):
        if not storage.exists(needed):
            raise InvalidValueError(
                f"RUN must be the folder of a finished run. Got {url!r}, without {needed}. "
                "Hint: `hilum run` makes one; `hilum train` leaves no report."
            )
    evaluation = Evaluation.from_json(storage.read_bytes(metrics_url).decode())
    manifest = storage.read_json(manifest_url)
    provenance = manifest["provenance"]
    training = provenance.get("training", {})
    return RunEntry(
        name=url,
        mean_auroc=evaluation.mean_auroc,
        mean_auroc_ci95=evaluation.mean_auroc_ci95,
        any_finding_auroc=evaluation.any_finding.auroc,
        any_finding_auroc_ci95=evaluation.any_finding.auroc_ci95,
        architecture=manifest["architecture"],
        seed=training.get("seed"),
        epoch=manifest["metrics"].get("epoch"),
        max_epochs=training.get("max_epochs"),
        findings_scored=len(evaluation.scored),
        test_images=evaluation.num_images,
        test_patients=evaluation.num_patients,
        split=_split_in_words(provenance.get("split")),
        labels=str(provenance.get("source", {}).get("labels", "unknown")),
        test_set=_test_set(url, evaluation),
        configuration=_hash(_without_seeds(manifest)),
    )


def _configuration(runs: Sequence[RunEntry]) -> Configuration:
    values = [run.mean_auroc for run in runs if run.mean_auroc is not None]
    return Configuration(
        runs=tuple(run.name for run in runs),
        architecture=runs[0].architecture,
        seeds=tuple(run.seed for run in runs),
        mean=statistics.fmean(values) if values else None,
        sd=statistics.stdev(values) if len(values) > 1 else None,
        lowest=min(values, default=None),
        highest=max(values, default=None),
        one_test_set=len({run.test_set for run in runs}) == 1,
    )


def _warnings(runs: Sequence[RunEntry]) -> tuple[str, ...]:
    if len({run.test_set for run in runs}) < 2:
        return ()
    reasons = [
        f"{what}: {'; '.join(sorted(set(values)))}"
        for what, values in (
            ("split", [run.split for run in runs]),
            ("labels", [run.labels for run in runs]),
            ("test images", [str(run.test_images) for run in runs]),
            ("findings scored", [str(run.findings_scored) for run in runs]),
        )
        if len(set(values)) > 1
    ]
    told = ". They differ in " + ", in ".join(reasons) if reasons else ""
    return (
        "the runs were not tested on the same images, so their AUCs cannot be compared by number "
        f"alone{told}. `hilum compare` scores two bundles on the same images.",
    )


def _rank(run: RunEntry) -> tuple[float, str]:
    return (-run.mean_auroc if run.mean_auroc is not None else math.inf, run.name)


def _test_set(url: str, evaluation: Evaluation) -> str:
    counts = {name: (r.positives, r.images) for name, r in evaluation.findings.items()}
    names = []
    predictions = storage.join(url, "report", "predictions.csv")
    if storage.exists(predictions):
        rows = csv.reader(io.StringIO(storage.read_bytes(predictions).decode()))
        names = sorted(row[0] for row in rows)
    return _hash([counts, evaluation.num_patients, names])


def _split_in_words(split: Mapping[str, Any] | None) -> str:
    if split is None:
        return "unknown"
    if split["by"] == "list":
        return f"list {split['listed_in']}"
    shares = ", ".join(f"{name} {share:g}" for name, share in split["fractions"].items())
    return f"by {split['by']}, {shares}, seed {split['seed']}"


def _without_seeds(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two runs one configuration: settings and start, not seeds, data or versions."""
    provenance = manifest["provenance"]
    start = provenance.get("start_weights", {})
    training = dict(provenance.get("training", {}))
    training.pop("seed", None)
    # Its steps follow from the number of images, which another split changes by a few.
    schedule = training.pop("schedule", None)
    return {
        "architecture": manifest["architecture"],
        "findings": manifest["findings"],
        "preprocessing": manifest["preprocessing"],
        "training": training,
        "schedule": _without_steps(schedule),
        "start": [start.get("kind"), start.get("sha256")],
        "labels": provenance.get("source", {}).get("labels"),
    }


def _without_steps(schedule: Any) -> Any:
    if isinstance(schedule, Mapping):
        follows = ("steps", "start")  # the warm-up starts at its peak divided by its steps
        return {k: _without_steps(v) for k, v in schedule.items() if k not in follows}
    if isinstance(schedule, list):
        return [_without_steps(part) for part in schedule if not isinstance(part, int)]
    return schedule


def _hash(value: Any) -> str:
    return storage.sha256_of(json.dumps(value, sort_keys=True).encode())[:16]
