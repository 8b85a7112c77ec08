"""One training run on Spark, from DataFrame to bundle: cache, start weights, ranks, best weights.

The estimator and the command line both call this; it takes plain values, so that what a run
depends on can be read in one place.
"""

import logging
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from hilum import storage
from hilum.errors import InvalidValueError, TrainingError, require
from hilum.inference import ModelBundle, bundle_versions
from hilum.models import freeze_layers, head_names
from hilum.models.starting import build_start
from hilum.spark.barrier import BarrierLauncher, executor_layout
from hilum.spark.cache import CacheColumns, ImageContent
from hilum.spark.cache_build import CacheContent, build_content
from hilum.spark.display import show_progress
from hilum.spark.driver_networks import one_at_a_time
from hilum.spark.executor_memory import check_memory
from hilum.spark.preflight import make_run_directory, preflight
from hilum.spark.queueing import executors_for
from hilum.spark.row_cache import RowContent
from hilum.spark.row_columns import RowColumns
from hilum.spark.settings import FitSettings, settle_frozen, train_config
from hilum.spark.watching import write_down
from hilum.training import (
    History,
    ImageCache,
    RetryPolicy,
    TrainConfig,
    TrainJob,
    launch_with_retries,
    load_checkpoint,
    open_cache,
    prepare_run,
    train_worker,
)
from hilum.training.tracking import followed_by_mlflow

__all__ = ["FittedRun", "fit_run", "fresh_run_directory", "resume_run"]

_RUN = "{run}"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRun:
    """What a run leaves: the best epoch's model and the whole history."""

    bundle: ModelBundle
    history: History


def fresh_run_directory(given: str) -> str:
    """Fill in `{run}` with a name that no other fit has: the time in UTC and some random digits.

    `CrossValidator` and lists of parameters fit one estimator many times, each a run of its own.
    """
    now = datetime.now(UTC)
    return given.replace(_RUN, f"{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}")


def fit_run(
    data: DataFrame, columns: CacheColumns | RowColumns, settings: FitSettings
) -> FittedRun:
    """Train on the executors of the DataFrame's session and return the best epoch's model."""
    spark = data.sparkSession
    num_ranks = settings.num_ranks or executor_layout(spark).num_executors
    draft = settings.draft
    with _run_directory(spark, settings.run_directory) as run_directory:
        if storage.exists(storage.join(run_directory, "job.json")):
            raise InvalidValueError(
                f"runDir must not hold a run already. Got {run_directory!r}. "
                "Hint: choose another directory, let every fit name its own with "
                "runDir='.../{run}', or continue that run with `hilum train --resume`."
            )
        preflight(spark, run_directory, num_ranks, config=draft)
        cache_root = settings.cache_directory or storage.join(run_directory, "cache")
        content = _content(columns, draft)
        cache = open_cache(build_content(data, content, cache_root), verify=False)
        if draft.rows is None:
            _check_labels(cache, draft.outputs)
        cache_directory = storage.join(cache_root, cache.manifest.fingerprint)
        _prepare(spark, settings, cache, cache_directory, run_directory, num_ranks)
        return _train(spark, run_directory, num_ranks, settings.show_progress, settings.retry)


@one_at_a_time
def _prepare(
    spark: SparkSession,
    settings: FitSettings,
    cache: ImageCache,
    cache_directory: str,
    run_directory: str,
    num_ranks: int,
) -> None:
    """Write all that ranks need to the run directory: start weights, configuration, provenance."""
    draft = settings.draft
    model, report = build_start(
        draft.blueprint,
        settings.start,
        draft.num_outputs,
        weights=settings.weights,
        dropout=draft.dropout,
        seed=draft.seed,
    )
    settings = settle_frozen(settings, model)
    config = train_config(settings, report, cache.labels[cache.positions("train")])
    # A layer that is not there and a missing package are said here, not by a rank.
    config.optimizer.build(model.named_parameters(), head_names(config.blueprint))
    for layer in (config.freeze, *(layer for _, layer in config.unfreeze)):
        freeze_layers(model, config.blueprint, layer, also=config.frozen)
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
    check_memory(spark, config, model, cache, num_ranks, show=settings.show_progress)
    write_down(spark, run_directory, config, settings.mlflow)
    prepare_run(run_directory, job, model)


def resume_run(
    spark: SparkSession,
    run_directory: str,
    *,
    num_ranks: int = 0,
    show_progress: bool = True,
    policy: RetryPolicy | None = None,
) -> FittedRun:
    """Continue a run from its last checkpoint; also with another number of ranks.

    Args:
        policy: what to do when a rank is lost; not a part of the run, so it may change.
    """
    require(
        storage.exists(storage.join(run_directory, "job.json")),
        "run directory",
        "one that `hilum train` or `hilum run` began (it holds job.json)",
        run_directory,
    )
    num_ranks = num_ranks or executor_layout(spark).num_executors
    preflight(spark, run_directory, num_ranks, config=TrainJob.read(run_directory).config)
    return _train(spark, run_directory, num_ranks, show_progress, policy)


def _train(
    spark: SparkSession,
    run_directory: str,
    num_ranks: int,
    show: bool,
    policy: RetryPolicy | None,
) -> FittedRun:
    with (
        executors_for(spark, num_ranks),
        followed_by_mlflow(run_directory),
        show_progress(run_directory) if show else nullcontext(),
    ):
        digests = launch_with_retries(
            BarrierLauncher(spark), train_worker, run_directory, num_ranks, policy
        )
    if len(set(digests)) != 1:
        raise TrainingError(
            f"ranks must end with the same weights. Got {digests}. Hint: one host computes "
            "differently (another CPU or library version?); train with numRanks=1 to compare."
        )
    config = TrainJob.read(run_directory).config
    best, last = load_checkpoint(run_directory, "best"), load_checkpoint(run_directory, "last")
    assert best is not None, "the ranks returned without a checkpoint"
    assert last is not None, "best without last"
    record = best.history.epochs[-1]
    bundle = ModelBundle(
        architecture=config.architecture,
        design=config.design,
        findings=config.outputs,
        rows=config.rows,
        preprocessing=config.preprocessing,
        dropout=config.dropout,
        weights=best.kept_weights,
        provenance={
            **storage.read_json(storage.join(run_directory, "provenance.json")),
            "training": replace(config, design=None, rows=None).to_json(),
            "versions": {**bundle_versions(), "spark": spark.version},
        },
        metrics={
            "epoch": record.epoch,
            "valid_loss": record.valid_loss,
            "valid_mean_auroc": record.valid_mean_auroc,
        },
    )
    return FittedRun(bundle=bundle, history=last.history)


def _content(columns: CacheColumns | RowColumns, draft: TrainConfig) -> CacheContent:
    if isinstance(columns, RowColumns):
        assert draft.rows is not None
        return RowContent(columns=columns, spec=draft.rows)
    return ImageContent(columns=columns, prefix=draft.preprocessing.prefix)


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
        make_run_directory(given)
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
