"""The main job as functions: train on a labelled table, evaluate on the patients kept apart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from hilum import storage
from hilum.errors import InvalidValueError, require
from hilum.evaluation import Evaluation
from hilum.evaluation.report import DataFlow
from hilum.inference import load_bundle, save_bundle
from hilum.preprocessing import Chain, Resize
from hilum.recipes.data import LabelledData, SplitRule, label_and_split, only_split
from hilum.recipes.outliers import with_outliers
from hilum.recipes.scoring import report_on, score
from hilum.spark import FittedRun, NNEstimator, NNModel, read_radiographs, resume_run
from hilum.spark.fitting import fit_run
from hilum.training import History

__all__ = ["RunResult", "continue_training", "evaluate_bundle", "run", "stored_rule", "train"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Where a run's results are, and the evaluation on its test split."""

    bundle_directory: str
    report_directory: str
    evaluation: Evaluation


def run(
    spark: SparkSession,
    images: str,
    labels: str,
    out: str,
    estimator: NNEstimator,
    rule: SplitRule,
    *,
    say: Say,
    glob: str | None = None,
) -> RunResult:
    """Read, label, split, cache, train, evaluate on the test split, report.

    Args:
        images: path, directory or glob of image files. labels: the label table.
        out: run directory; gets bundle/, report/, history.json, checkpoints/ and the cache.
        estimator: its parameters but runDir are used.
        say: is told each step in one line.
    """
    _require_new_run(out)
    frame = read_radiographs(spark, images, size=_read_size(estimator.chain()), glob=glob)
    data = label_and_split(spark, frame, labels, rule, tuple(estimator.getOrDefault("findings")))
    say(str(data.join))
    for split in data.splits:
        say(f"split {split.name}: {split.images} images of {split.patients} patients")
    fitted = train(spark, data, out, estimator, rule, source={"images": images, "labels": labels})
    say(f"model: {storage.join(out, 'bundle')}")
    return _evaluate_test(spark, data, out, fitted, say)


def train(
    spark: SparkSession,
    data: LabelledData,
    out: str,
    estimator: NNEstimator,
    rule: SplitRule,
    *,
    source: Mapping[str, str],
) -> FittedRun:
    """Train on a split table and write OUT/bundle."""
    _require_new_run(out)
    configured = estimator.copy({estimator.runDir: out})
    settings = replace(
        configured.settings(),
        provenance={
            "source": dict(source),
            "split": rule.to_json(),
            "files_found": data.join.images,
            "splits": [
                {"name": s.name, "images": s.images, "patients": s.patients} for s in data.splits
            ],
        },
    )
    fitted = fit_run(data.frame, configured.columns(split="split"), settings)
    return _saved(fitted, out)


def continue_training(
    spark: SparkSession, out: str, *, num_ranks: int = 0, show_progress: bool = True
) -> FittedRun:
    """Continue a run from its last checkpoint and write OUT/bundle."""
    fitted = resume_run(spark, out, num_ranks=num_ranks, show_progress=show_progress)
    return _saved(fitted, out)


def _saved(fitted: FittedRun, out: str) -> FittedRun:
    """Write OUT/bundle with what is fitted to the finished network."""
    fitted = replace(fitted, bundle=with_outliers(fitted.bundle, out))
    save_bundle(fitted.bundle, storage.join(out, "bundle"))
    return fitted


def evaluate_bundle(
    spark: SparkSession,
    bundle: str,
    images: str,
    labels: str,
    out: str,
    *,
    split: str | None = None,
    glob: str | None = None,
    say: Say,
) -> Evaluation:
    """Evaluate a bundle on any labelled images, and write OUT/report.html and metrics.json.

    Args:
        split: only images of this split by the rule the bundle was trained with; None: all.
    """
    model = NNModel(load_bundle(bundle))
    rule = None if split is None else stored_rule(model)
    size = _read_size(model.bundle.preprocessing)
    frame = read_radiographs(spark, images, size=size, glob=glob)
    data = label_and_split(spark, frame, labels, rule, model.findings)
    say(str(data.join))
    chosen = data.frame if split is None else only_split(spark, data, split, size)
    notes = [] if split is not None else [_ALL_IMAGES_NOTE]
    return _report(spark, model, data, chosen, out, History(), notes=notes)


_ALL_IMAGES_NOTE = (
    "All labelled images given were evaluated. If some of their patients were in the model's "
    "training data, the figures flatter it; --split test keeps to the patients kept apart."
)


def _evaluate_test(
    spark: SparkSession, data: LabelledData, out: str, fitted: FittedRun, say: Say
) -> RunResult:
    model = NNModel(fitted.bundle)
    directory = storage.join(out, "report")
    say("evaluating on the test split")
    test = only_split(spark, data, "test", _read_size(fitted.bundle.preprocessing))
    evaluation = _report(spark, model, data, test, directory, fitted.history)
    return RunResult(
        bundle_directory=storage.join(out, "bundle"),
        report_directory=directory,
        evaluation=evaluation,
    )


def _report(
    spark: SparkSession,
    model: NNModel,
    data: LabelledData,
    chosen: DataFrame,
    directory: str,
    history: History,
    *,
    notes: list[str] | None = None,
) -> Evaluation:
    scored = score(model, chosen)
    provenance = model.bundle.provenance
    rejected = dict(provenance.get("images_rejected", {})) if history else {}
    for reason, count in scored.rejected.items():
        rejected[reason] = rejected.get(reason, 0) + count
    return report_on(
        spark,
        model,
        scored,
        directory,
        flow=DataFlow(files_found=data.join.images, rejected=rejected, splits=data.splits),
        label_counts=data.label_counts,
        label_images=data.join.matched,
        history=history,
        subtitle=f"{model.bundle.architecture}, {len(scored.paths)} images",
        settings=_settings(provenance),
        notes=notes or [],
    )


def _settings(provenance: Mapping[str, Any]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in provenance.items():
        if isinstance(value, Mapping) and key in ("training", "versions", "start_weights", "split"):
            flat |= {f"{key}.{name}": entry for name, entry in value.items()}
        else:
            flat[key] = value
    return flat


def _read_size(chain: Chain) -> tuple[int, int] | None:
    """What the chain's first step resizes to, so that reading does it before pixels travel."""
    first = chain.steps[0]
    return (first.height, first.width) if isinstance(first, Resize) else None


def stored_rule(model: NNModel) -> SplitRule:
    """How the data of the model's run were split.

    Raises:
        InvalidValueError: its bundle does not say.
    """
    stored = model.bundle.provenance.get("split")
    if stored is None:
        raise InvalidValueError(
            "--split needs a bundle that recorded how its data were split. Got one that did not. "
            "Hint: bundles written by `hilum run` and `hilum train` do; or evaluate all images."
        )
    return SplitRule(
        fractions=stored["fractions"],
        seed=stored["seed"],
        by="image" if stored["by"] == "image" else "patient",
        listed_in=stored["listed_in"],
    )


def _require_new_run(out: str) -> None:
    require(
        not storage.exists(storage.join(out, "job.json")),
        "--out",
        "a directory without a run",
        out,
        hint="choose another one, or continue that run with `hilum train --resume RUN`",
    )
