"""The main job as functions: train on a labelled table, evaluate on the patients kept apart."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum import storage
from hilum.errors import require
from hilum.evaluation import Evaluation
from hilum.evaluation.operating import DEFAULT_RULES, Rule
from hilum.evaluation.report import DataFlow
from hilum.inference import ModelBundle, load_bundle, save_bundle
from hilum.recipes.data import (
    LabelledData,
    SplitRule,
    label_and_split,
    only_split,
    read_again,
    read_ingested,
    read_size,
    rule_of,
)
from hilum.recipes.decision import unseen_validation, with_decision_rules
from hilum.recipes.outliers import with_outliers
from hilum.recipes.references import References
from hilum.recipes.reporting import CLOSER_LOOK, report_on
from hilum.recipes.scoring import score
from hilum.spark import (
    FittedRun,
    NNEstimator,
    NNModel,
    read_radiographs,
    resume_run,
)
from hilum.spark.fitting import fit_run
from hilum.spark.leakage import shared_patients
from hilum.spark.preflight import require_writable
from hilum.training import History, RetryPolicy

__all__ = [
    "RunResult",
    "calibrate_bundle",
    "continue_training",
    "evaluate_bundle",
    "run",
    "train",
]

Say = Callable[[str], None]

logger = logging.getLogger(__name__)


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
    beside_published: bool = True,
    closer_look: int = CLOSER_LOOK,
) -> RunResult:
    """Read, label, split, cache, train, calibrate, evaluate on the test split, report.

    Args:
        images: path, directory or glob of image files. labels: the label table.
        out: run directory; gets bundle/, report/, history.json, checkpoints/ and the cache.
        estimator: its parameters but runDir are used.
        say: is told each step in one line.
        beside_published: show published results on NIH data in the report.
        closer_look: test images looked at closer, see `report_on`.
    """
    require_writable(out, "--out")
    _require_new_run(out)
    frame = read_radiographs(spark, images, size=read_size(estimator.chain()), glob=glob)
    data = label_and_split(spark, frame, labels, rule, tuple(estimator.getOrDefault("findings")))
    say(str(data.join))
    for split in data.splits:
        say(f"split {split.name}: {split.images} images of {split.patients} patients")
    source = {"images": images, "labels": labels} | ({"glob": glob} if glob else {})
    fitted = train(spark, data, out, estimator, rule, source=source, say=say)
    say(f"model: {storage.join(out, 'bundle')}")
    return _evaluate_test(spark, data, out, fitted, say, beside_published, closer_look)


def train(
    spark: SparkSession,
    data: LabelledData,
    out: str,
    estimator: NNEstimator,
    rule: SplitRule,
    *,
    source: Mapping[str, str],
    say: Say = logger.info,
) -> FittedRun:
    """Train on a split table, fit decision rules on its validation patients, write OUT/bundle.

    Args:
        source: where the data came from: "labels", and "data" (a table that was written) or
            "images" (files; those of the validation split are then read again by path).
    """
    require_writable(out, "--out")
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
    return _save_decided(spark, fitted, lambda: data, out, say)


def continue_training(
    spark: SparkSession,
    out: str,
    *,
    num_ranks: int = 0,
    show_progress: bool = True,
    policy: RetryPolicy | None = None,
    say: Say = logger.info,
) -> FittedRun:
    """Continue a run from its last checkpoint and write OUT/bundle.

    Decision rules are fitted as after `train`, on the data that the run recorded as its source.

    Args:
        policy: what to do when a rank is lost.
    """
    fitted = resume_run(spark, out, num_ranks=num_ranks, show_progress=show_progress, policy=policy)
    return _save_decided(spark, fitted, lambda: _source_again(spark, fitted.bundle), out, say)


def evaluate_bundle(
    spark: SparkSession,
    bundle: str,
    images: str,
    labels: str,
    out: str,
    *,
    split: str | None = None,
    glob: str | None = None,
    closer_look: int = CLOSER_LOOK,
    references: References | None = None,
    say: Say,
) -> Evaluation:
    """Evaluate a bundle on any labelled images, and write OUT/report.html and metrics.json.

    Args:
        split: only images of this split by the rule the bundle was trained with; None: all.
        closer_look: images looked at closer, see `report_on`.
        references: adjudicated labels and boxes to compare with.
    """
    require_writable(out, "--out")
    model = NNModel(load_bundle(bundle))
    data, chosen = _labelled_images(spark, model.bundle, images, labels, split, glob, say)
    notes = [] if split is not None else [_ALL_IMAGES_NOTE]
    return _report(
        spark,
        model,
        data,
        chosen,
        out,
        History(),
        split=split,
        notes=notes,
        closer_look=closer_look,
        references=references,
    )


def calibrate_bundle(
    spark: SparkSession,
    bundle: str,
    images: str,
    labels: str,
    out: str,
    *,
    split: str | None = None,
    rules: Sequence[Rule] = DEFAULT_RULES,
    glob: str | None = None,
    say: Say,
) -> ModelBundle:
    """Fit calibration and thresholds of a bundle anew, and write it to OUT with them.

    Args:
        images: radiographs of patients the model was not trained on.
        split: only images of this split by the rule the bundle was trained with; None: all.
        rules: the operating points wanted, the default one first.

    Raises:
        InvalidValueError: OUT holds a bundle already.
    """
    require_writable(out, "--out")
    taken = storage.exists(storage.join(out, "manifest.json"))
    require(not taken, "--out", "a directory without a bundle", out, hint="choose another one")
    model = load_bundle(bundle)
    _, chosen = _labelled_images(spark, model, images, labels, split, glob, say)
    decided = with_decision_rules(
        model, chosen, say, rules=rules, split=split or "all images given"
    )
    save_bundle(decided, out)
    return decided


def _labelled_images(
    spark: SparkSession,
    bundle: ModelBundle,
    images: str,
    labels: str,
    split: str | None,
    glob: str | None,
    say: Say,
) -> tuple[LabelledData, DataFrame]:
    """Images with labels, and those of one split by the bundle's own rule (None: all)."""
    rule = None if split is None else rule_of(bundle)
    size = read_size(bundle.preprocessing)
    frame = read_radiographs(spark, images, size=size, glob=glob)
    data = label_and_split(spark, frame, labels, rule, bundle.findings)
    say(str(data.join))
    return data, data.frame if split is None else only_split(spark, data, split, size)


_ALL_IMAGES_NOTE = (
    "All labelled images given were evaluated. If some of their patients were in the model's "
    "training data, the figures flatter it; --split test keeps to the patients kept apart."
)


def _save_decided(
    spark: SparkSession,
    fitted: FittedRun,
    trained_on: Callable[[], LabelledData | None],
    out: str,
    say: Say,
) -> FittedRun:
    """Save the bundle, fit what belongs to the finished network, save it again.

    That is the out-of-distribution score and the decision rules; a failure costs only them. Image
    files of the validation split are read again by path, a table of pixels is filtered.
    """
    directory = storage.join(out, "bundle")
    save_bundle(fitted.bundle, directory)
    say("fitting out-of-distribution score, calibration and thresholds")
    scored = with_outliers(fitted.bundle, out)
    data = trained_on()
    validation: DataFrame | None = None
    if data is not None:
        validation = unseen_validation(data.frame)
        if "images" in fitted.bundle.provenance["source"]:
            size = read_size(fitted.bundle.preprocessing)
            validation = read_again(spark, validation, data, size)
        elif validation.select("path").isEmpty():
            validation = None
    bundle = with_decision_rules(scored, validation, say)
    save_bundle(bundle, directory)
    return replace(fitted, bundle=bundle)


def _source_again(spark: SparkSession, bundle: ModelBundle) -> LabelledData | None:
    """The labelled and split table a bundle was trained on; None if it did not record it."""
    source = bundle.provenance.get("source", {})
    if "labels" not in source or not {"images", "data"} & set(source):
        return None
    size = read_size(bundle.preprocessing)
    images = (
        read_ingested(spark, source["data"])
        if "data" in source
        else read_radiographs(spark, source["images"], size=size, glob=source.get("glob"))
    )
    return label_and_split(spark, images, source["labels"], rule_of(bundle), bundle.findings)


def _evaluate_test(
    spark: SparkSession,
    data: LabelledData,
    out: str,
    fitted: FittedRun,
    say: Say,
    beside_published: bool,
    closer_look: int,
) -> RunResult:
    model = NNModel(fitted.bundle)
    directory = storage.join(out, "report")
    say("evaluating on the test split")
    if closer_look:
        say(
            f"looking closer at up to {closer_look} of its images (heat maps, robustness, "
            f"shortcuts: some {30 * closer_look:,} predictions; --closer-look 0 leaves them out)"
        )
    test = only_split(spark, data, "test", read_size(fitted.bundle.preprocessing))
    evaluation = _report(
        spark,
        model,
        data,
        test,
        directory,
        fitted.history,
        split="test",
        beside_published=beside_published,
        closer_look=closer_look,
    )
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
    split: str | None,
    notes: list[str] | None = None,
    beside_published: bool = True,
    closer_look: int,
    references: References | None = None,
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
        flow=DataFlow(
            files_found=data.join.images,
            rejected=rejected,
            splits=data.splits,
            leaking_patients=_leaking(data, split),
        ),
        label_counts=data.label_counts,
        label_images=data.join.matched,
        history=history,
        subtitle=f"{model.bundle.architecture}, {len(scored.paths)} images",
        settings=_settings(provenance),
        notes=notes or [],
        beside_published=beside_published,
        closer_look=closer_look,
        references=references,
    )


def _leaking(data: LabelledData, split: str | None) -> int | None:
    """Tested patients who also are in the training split; None if there is nothing to compare."""
    if split in (None, "train"):
        return None
    tested, trained = (data.frame.filter(F.col("split") == name) for name in (split, "train"))
    return shared_patients(tested.select("patient_id"), trained.select("patient_id")).patients


def _settings(provenance: Mapping[str, Any]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in provenance.items():
        if isinstance(value, Mapping) and key in ("training", "versions", "start_weights", "split"):
            flat |= {f"{key}.{name}": entry for name, entry in value.items()}
        else:
            flat[key] = value
    return flat


def _require_new_run(out: str) -> None:
    require(
        not storage.exists(storage.join(out, "job.json")),
        "--out",
        "a directory without a run",
        out,
        hint="choose another one, or continue that run with `hilum train --resume RUN`",
    )
