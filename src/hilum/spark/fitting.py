"""One training run on Spark, from DataFrame to bundle: cache, start weights, ranks, best weights.

The estimator and the command line both call this; it takes plain values, so that what a run
depends on can be read in one place.
"""

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pyspark.sql import DataFrame, SparkSession

from hilum import storage
from hilum.errors import InvalidValueError, TrainingError, require
from hilum.inference import ModelBundle, bundle_versions
from hilum.models import WeightsReport, build_classifier
from hilum.optim import (
    Constant,
    Cosine,
    OptimizerSpec,
    Schedule,
    warmup_then,
    warmup_then_plateau,
)
from hilum.preprocessing import Chain
from hilum.spark.barrier import BarrierLauncher, executor_layout
from hilum.spark.cache import CacheColumns, build_cache
from hilum.spark.display import show_progress
from hilum.training import (
    BatchNormMode,
    BestMetric,
    History,
    ImageCache,
    Precision,
    TrainConfig,
    TrainJob,
    load_checkpoint,
    num_steps,
    open_cache,
    prepare_run,
    train_worker,
)

__all__ = ["FitSettings", "FittedRun", "fit_run", "resume_run", "train_config"]

logger = logging.getLogger(__name__)

TRAINED_HEAD_LR_FACTOR = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """What a run depends on besides its data; see `TrainParams` for meanings.

    `provenance` is copied into the bundle: what the caller knows about where the data came from.
    """

    architecture: str
    findings: tuple[str, ...]
    weights: str
    preprocessing: Chain
    max_epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: float
    schedule: Literal["cosine", "plateau", "constant"]
    head_lr_factor: float
    optimizer: OptimizerSpec
    dropout: float
    batch_norm: BatchNormMode | Literal["auto"]
    freeze_backbone: bool
    best_metric: BestMetric
    precision: Precision
    seed: int
    num_ranks: int
    run_directory: str
    cache_directory: str
    show_progress: bool
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRun:
    """What a run leaves: the best epoch's model and the whole history."""

    bundle: ModelBundle
    history: History


def fit_run(data: DataFrame, columns: CacheColumns, settings: FitSettings) -> FittedRun:
    """Train on the executors of the DataFrame's session and return the best epoch's model."""
    spark = data.sparkSession
    num_ranks = settings.num_ranks or executor_layout(spark).num_executors
    chain = settings.preprocessing
    with _run_directory(spark, settings.run_directory) as run_directory:
        if storage.exists(storage.join(run_directory, "job.json")):
            raise InvalidValueError(
                f"runDir must not hold a run already. Got {run_directory!r}. "
                "Hint: choose another directory, or continue that run with `hilum train --resume`."
            )
        cache_root = settings.cache_directory or storage.join(run_directory, "cache")
        cache = open_cache(build_cache(data, columns, chain.prefix, cache_root), verify=False)
        _check_labels(cache, settings.findings)
        model, report = build_classifier(
            settings.architecture,
            len(settings.findings),
            weights=settings.weights,
            dropout=settings.dropout,
            seed=settings.seed,
        )
        config = train_config(settings, report, len(cache.positions("train")))
        cache_directory = storage.join(cache_root, cache.manifest.fingerprint)
        job = TrainJob(config=config, cache_directory=cache_directory)
        provenance = {
            **settings.provenance,
            "start_weights": asdict(report),
            "num_ranks": num_ranks,
            "images_per_split": dict(Counter(cache.splits.tolist())),
            "images_rejected": dict(cache.manifest.rejected),
            "cache_fingerprint": cache.manifest.fingerprint,
        }
        storage.write_json(storage.join(run_directory, "provenance.json"), provenance)
        prepare_run(run_directory, job, model)
        return _train(spark, run_directory, num_ranks, settings.show_progress)


def resume_run(
    spark: SparkSession, run_directory: str, *, num_ranks: int = 0, show_progress: bool = True
) -> FittedRun:
    """Continue a run from its last checkpoint; also with another number of ranks."""
    require(
        storage.exists(storage.join(run_directory, "job.json")),
        "run directory",
        "one that `hilum train` or `hilum run` began (it holds job.json)",
        run_directory,
    )
    num_ranks = num_ranks or executor_layout(spark).num_executors
    return _train(spark, run_directory, num_ranks, show_progress)


def _train(spark: SparkSession, run_directory: str, num_ranks: int, show: bool) -> FittedRun:
    with show_progress(run_directory) if show else nullcontext():
        digests = BarrierLauncher(spark).launch(train_worker, run_directory, num_ranks)
    if len(set(digests)) != 1:
        raise TrainingError(
            f"ranks must end with the same weights. Got {digests}. Hint: one host computes "
            "differently (another CPU or library version?); train with numRanks=1 to compare."
        )
    job = TrainJob.from_json(storage.read_json(storage.join(run_directory, "job.json")))
    best, last = load_checkpoint(run_directory, "best"), load_checkpoint(run_directory, "last")
    assert best is not None, "the ranks returned without a checkpoint"
    assert last is not None, "best without last"
    record = best.history.epochs[-1]
    bundle = ModelBundle(
        architecture=job.config.architecture,
        findings=job.config.outputs,
        preprocessing=job.config.preprocessing,
        dropout=job.config.dropout,
        weights=best.kept_weights,
        provenance={
            **storage.read_json(storage.join(run_directory, "provenance.json")),
            "training": job.config.to_json(),
            "versions": {**bundle_versions(), "spark": spark.version},
        },
        metrics={
            "epoch": record.epoch,
            "valid_loss": record.valid_loss,
            "valid_mean_auroc": record.valid_mean_auroc,
        },
    )
    return FittedRun(bundle=bundle, history=last.history)


def train_config(settings: FitSettings, start: WeightsReport, num_train: int) -> TrainConfig:
    """What the ranks train: the settings, with "auto" resolved by what the weights start from."""
    if num_train == 0:
        raise InvalidValueError(
            "the training split must hold images. Got none. "
            'Hint: the column named by splitCol needs rows with the value "train".'
        )
    # A trained backbone needs small steps and keeps its statistics, which a few hundred images
    # only blur; its new head starts from nothing and has far to go (decision 0009).
    fine_tunes = start.kind != "random" and not settings.freeze_backbone
    factor = settings.head_lr_factor or (TRAINED_HEAD_LR_FACTOR if fine_tunes else 1.0)
    batch_norm = settings.batch_norm
    if batch_norm == "auto":
        batch_norm = "frozen" if fine_tunes or settings.freeze_backbone else "batch"
    return TrainConfig(
        architecture=settings.architecture,
        outputs=settings.findings,
        preprocessing=settings.preprocessing,
        schedule=_schedule(settings, num_steps(num_train, settings.batch_size)),
        optimizer=replace(settings.optimizer, head_lr_factor=factor),
        max_epochs=settings.max_epochs,
        global_batch_size=settings.batch_size,
        dropout=settings.dropout,
        precision=settings.precision,
        batch_norm=batch_norm,
        freeze="backbone" if settings.freeze_backbone else "",
        best_metric=settings.best_metric,
        seed=settings.seed,
    )


def _schedule(settings: FitSettings, steps_per_epoch: int) -> Schedule:
    peak, warmup_steps = settings.learning_rate, round(settings.warmup_epochs * steps_per_epoch)
    # Step 1 of n takes 1/n of the peak: a first step at 0 would train nothing.
    start = peak / max(1, warmup_steps)
    if settings.schedule == "plateau":
        return warmup_then_plateau(peak, warmup_steps, start=start)
    if settings.schedule == "constant":
        return warmup_then(Constant(base=peak), peak, warmup_steps, start=start)
    left = settings.max_epochs * steps_per_epoch - warmup_steps
    return warmup_then(Cosine(base=peak, steps=max(1, left)), peak, warmup_steps, start=start)


def _check_labels(cache: ImageCache, findings: tuple[str, ...]) -> None:
    width = cache.labels.shape[1]
    require(
        width == len(findings),
        "findings",
        f"as many names as the label arrays have elements ({width})",
        len(findings),
        hint="set findings=[...] on the estimator, in label order",
    )


@contextmanager
def _run_directory(spark: SparkSession, given: str) -> Iterator[str]:
    if given:
        storage.make_directory(given)
        local = storage.local_path(given)
        yield given if local is None else str(local.resolve())
        return
    if not executor_layout(spark).is_local:
        raise InvalidValueError(
            "runDir must be set on a cluster: a directory that driver and executors share. "
            "Got none. Hint: NNEstimator(runDir=...) or --out on shared storage."
        )
    temporary = Path(tempfile.mkdtemp(prefix="hilum-run-"))
    try:
        yield str(temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
