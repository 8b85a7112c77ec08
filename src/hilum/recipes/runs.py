"""Run folders as a list and against each other: what is running, what was best, what differed.

Reads what every run keeps: job.json (settings), history.json, progress.json, environment.json,
provenance.json and attempts.json. A run need not have ended, and files that a run does not have
yet are no error.
"""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hilum import storage
from hilum.errors import require
from hilum.evaluation.figures import figure_to_png
from hilum.evaluation.training_page import Difference, render_runs
from hilum.evaluation.training_plots import MAX_RUNS, RunCurve, plot_runs
from hilum.training.event_files import flat_settings
from hilum.training.history import EpochRecord, History

__all__ = [
    "RunComparison",
    "RunState",
    "RunSummary",
    "compare_runs",
    "find_runs",
    "list_runs",
    "write_comparison",
]

RunState = Literal["running", "stopped", "failed", "done"]

ALIVE_S = 300.0  # a run that gave no sign of life for so long has ended without a word
_ENDED: Mapping[str, RunState] = {"lost": "failed", "failed": "failed", "stopped": "stopped"}
_PICTURES = (".png", ".html")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run in one line.

    Attributes:
        name: its folder, as given or found.
        state: "running"; "done", by one of its rules or after its last epoch; "failed"; "stopped",
            by Ctrl-C or because its driver was killed. Stopped and failed runs can be resumed.
        reason: why it ended, where that is known.
        epochs: begun or finished ones that were validated, of `max_epochs`.
        best_epoch: the one that becomes the model, counted from 1; with its `valid_loss` and
            `valid_mean_auroc`. None before the first validation.
        images_per_s: median over validations.
        seconds: of training and validation.
    """

    name: str
    architecture: str
    state: RunState
    reason: str
    epochs: int
    max_epochs: int
    best_epoch: int | None
    valid_loss: float | None
    valid_mean_auroc: float | None
    images_per_s: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Several runs: their lines, the settings that are not the same, and their curves."""

    runs: tuple[RunSummary, ...]
    differences: tuple[Difference, ...]
    curves: tuple[RunCurve, ...]


def list_runs(urls: Sequence[str]) -> list[RunSummary]:
    """Summarise the runs in these folders and directly below them, in the order of their names.

    Raises:
        InvalidValueError: there is no run in any of them.
    """
    found = find_runs(urls)
    require(
        len(found) > 0,
        "DIR",
        "a run folder (it holds job.json) or a folder of them",
        [*urls],
        hint="hilum run and hilum train make one at --out",
    )
    return [_summary(url) for url in found]


def find_runs(urls: Sequence[str]) -> list[str]:
    """Run folders among these folders and directly below them."""
    found = []
    for url in (url.rstrip("/") or url for url in urls):
        if _is_run(url):
            found.append(url)
        else:
            below = (storage.join(url, name) for name in storage.list_names(url))
            found += [inner for inner in below if _is_run(inner)]
    return list(dict.fromkeys(found))


def compare_runs(urls: Sequence[str]) -> RunComparison:
    """Put runs side by side: their results, the settings that differ, their curves.

    Raises:
        InvalidValueError: fewer than two different runs, more than can be told apart in a
            picture, or a folder that holds none.
    """
    names = list(dict.fromkeys(url.rstrip("/") for url in urls))
    require(1 < len(names) <= MAX_RUNS, "RUN", f"2 to {MAX_RUNS} different folders", [*urls])
    for name in names:
        require(_is_run(name), "RUN", "the folder of a run (it holds job.json)", name)
    return RunComparison(
        runs=tuple(_summary(name) for name in names),
        differences=_differences([_settings(name) for name in names]),
        curves=tuple(_curve(name) for name in names),
    )


def write_comparison(comparison: RunComparison, out: str) -> None:
    """Write the curves as a picture (.png), or everything as one page (.html).

    Raises:
        InvalidValueError: the file's name ends otherwise.
    """
    require(out.endswith(_PICTURES), "--out", f"a file ending in {' or '.join(_PICTURES)}", out)
    if out.endswith(".png"):
        storage.write_bytes(out, figure_to_png(plot_runs(comparison.curves)))
        return
    page = render_runs(
        [asdict(run) for run in comparison.runs], comparison.differences, comparison.curves
    )
    storage.write_bytes(out, page.encode())


def _summary(url: str) -> RunSummary:
    config = _read(url, "job.json").get("config", {})
    history = _history(url)
    state, reason = _state(url, history)
    best = history.best(config.get("best_metric", "valid_loss"))
    return RunSummary(
        name=url,
        architecture=str(config.get("architecture", "unknown")),
        state=state,
        reason=reason,
        epochs=max((record.epoch + 1 for record in history), default=0),
        max_epochs=int(config.get("max_epochs", 0)),
        best_epoch=None if best is None else best.epoch + 1,
        valid_loss=None if best is None else best.valid_loss,
        valid_mean_auroc=None if best is None else best.valid_mean_auroc,
        images_per_s=_median(history.epochs),
        seconds=sum(record.seconds for record in history),
    )


def _state(url: str, history: History) -> tuple[RunState, str]:
    attempts = _read(url, "attempts.json").get("attempts") or [{}]
    outcome, reason = attempts[-1].get("outcome", "running"), attempts[-1].get("reason", "")
    if outcome in _ENDED:
        return _ENDED[outcome], reason
    finished = outcome == "done" or _read(url, "progress.json").get("phase") == "done"
    if finished:
        return "done", history.stopped
    return ("running" if _is_alive(url) else "stopped"), reason


def _is_alive(url: str) -> bool:
    signs = (("progress.json",), ("heartbeats", "rank-0.json"))
    times = [storage.modified_s(storage.join(url, *parts)) for parts in signs]
    return max((at for at in times if at is not None), default=0.0) > time.time() - ALIVE_S


def _settings(url: str) -> dict[str, Any]:
    """Everything that may explain a difference, by dotted name."""
    environment = _read(url, "environment.json")
    provenance = _read(url, "provenance.json")
    parts = {
        **flat_settings(_read(url, "job.json").get("config", {})),
        **flat_settings(provenance, "data."),
        **flat_settings(environment.get("versions") or {}, "version."),
        **flat_settings(environment.get("leader") or environment.get("driver") or {}, "machine."),
        **flat_settings(environment.get("spark") or {}, "spark."),
        **flat_settings(environment.get("git") or {}, "git."),
    }
    # Rank 0's versions are its driver's (checked before every run), told once.
    return {name: value for name, value in parts.items() if not name.startswith("machine.version")}


def _differences(settings: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    names = dict.fromkeys(name for one in settings for name in one)
    rows = []
    for name in names:
        values = tuple(_words(one.get(name)) for one in settings)
        if len(set(values)) > 1:
            rows.append(Difference(name=name, values=values))
    return tuple(rows)


def _words(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _curve(url: str) -> RunCurve:
    steps = _read(url, "progress.json").get("num_steps") or None
    rows = [asdict(record) for record in _history(url)]
    return RunCurve(name=url, rows=rows, steps_per_epoch=steps)


def _median(records: Sequence[EpochRecord]) -> float | None:
    return statistics.median(r.images_per_s for r in records) if records else None


def _history(url: str) -> History:
    found = _read(url, "history.json")
    return History.from_json(found) if found else History()


def _is_run(url: str) -> bool:
    return storage.exists(storage.join(url, "job.json"))


def _read(url: str, name: str) -> dict[str, Any]:
    """A JSON file of the run; empty where there is none, or none that can be read now."""
    try:
        return storage.read_json(storage.join(url, name))
    except (OSError, json.JSONDecodeError):
        return {}
