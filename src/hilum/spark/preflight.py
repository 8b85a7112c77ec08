"""What would make a run fail later, found before its first job.

Building a cache may take an hour; nobody wants to learn after it that no executor can write to the
run directory.
"""

import uuid
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from hilum import storage
from hilum.errors import InvalidValueError, MissingDependencyError
from hilum.models.factories import FactoryRecipe
from hilum.optim import OwnLoss, losses_of
from hilum.spark.barrier import check_slots
from hilum.spark.failures import as_hilum_error
from hilum.spark.versions import Versions, check_versions, own_versions
from hilum.training import TrainConfig

__all__ = ["make_run_directory", "preflight", "require_writable"]


def require_writable(url: str, parameter: str) -> None:
    """Write a file into a directory and delete it: results come after hours of work.

    Raises:
        InvalidValueError: no right to write, no space, no quota, or nobody answers.
    """
    probe = storage.join(url, f".probe-{uuid.uuid4().hex}")
    try:
        storage.write_bytes(probe, b"driver")
    except OSError as error:
        _forget(probe, error)
        raise _no_storage("written by the driver", url, error, parameter) from error
    _forget(probe)


def make_run_directory(run_directory: str) -> None:
    """Create a run directory where there is none.

    Raises:
        InvalidValueError: the driver cannot.
    """
    try:
        storage.make_directory(run_directory)
    except OSError as error:
        raise _no_storage("made by the driver", run_directory, error) from error


def preflight(
    spark: SparkSession,
    run_directory: str,
    num_ranks: int,
    versions: Versions | None = None,
    config: TrainConfig | None = None,
) -> None:
    """Check slots, storage and versions, on the driver and in one small job on the executors.

    Args:
        versions: what executors must have; by default what this process has.
        config: what is trained; executors must have the functions of the user's in it.

    Raises:
        InvalidValueError: dynamic allocation, too few slots, a run directory that driver or
            executors cannot write or that they do not share, other versions on executors.
        MissingDependencyError: an executor lacks a package, or such a function.
    """
    check_slots(spark, num_ranks)
    probe = storage.join(run_directory, f".probe-{uuid.uuid4().hex}")
    try:
        storage.write_bytes(storage.join(probe, "driver"), b"driver")
    except OSError as error:
        _forget(probe, error)
        raise _no_storage("written by the driver", run_directory, error) from error
    try:
        task = partial(
            _probe,
            probe=probe,
            run_directory=run_directory,
            versions=versions or own_versions(),
            recipes=_of_functions(config),
        )
        _ask_executors(spark, task, num_ranks)
    finally:
        _forget(probe)


def _of_functions(config: TrainConfig | None) -> tuple[FactoryRecipe | OwnLoss, ...]:
    """What of a run are functions of the user's."""
    if config is None:
        return ()
    recipe = config.design.recipe if config.design is not None else None
    losses = losses_of(config.loss, 1).losses
    return tuple(one for one in (recipe, *losses) if isinstance(one, FactoryRecipe | OwnLoss))


def _ask_executors(spark: SparkSession, task: Any, num_ranks: int) -> None:
    tasks = spark.range(0, num_ranks, 1, num_ranks)
    try:
        rows = tasks.mapInArrow(task, "problem string").collect()
    except Exception as error:
        raise as_hilum_error(error) from None
    problems = sorted({row["problem"] for row in rows if row["problem"]})
    if problems:
        raise InvalidValueError("\n".join(problems))


def _probe(
    batches: Iterable[pa.RecordBatch],
    *,
    probe: str,
    run_directory: str,
    versions: Versions,
    recipes: tuple[FactoryRecipe | OwnLoss, ...],
) -> Iterator[pa.RecordBatch]:
    """Runs on an executor: what is wrong there, as a row rather than as a failed task."""
    from socket import gethostname

    for _ in batches:
        pass
    problem = ""
    host = gethostname()
    own = storage.join(probe, uuid.uuid4().hex)
    try:
        check_versions(versions, host)
        for recipe in recipes:
            recipe.function()
        if not storage.exists(storage.join(probe, "driver")):
            raise FileNotFoundError("what the driver wrote there is not to be seen")
        storage.write_bytes(own, b"executor")
    except (InvalidValueError, MissingDependencyError) as error:
        problem = str(error)
    except OSError as error:
        problem = str(
            _no_storage(f"shared and written by executors ({host})", run_directory, error)
        )
    yield pa.RecordBatch.from_pydict({"problem": [problem]})


def _no_storage(
    rule: str, run_directory: str, error: OSError, parameter: str = "runDir"
) -> InvalidValueError:
    return InvalidValueError(
        f"{parameter} must be a directory that can be {rule}. Got {run_directory!r}: "
        f"{type(error).__name__}: {error}. Hint: a path that is mounted on every host, or a URL "
        "(hdfs://, s3://) that the driver and all executors have the rights to write."
    )


def _forget(probe: str, after: OSError | None = None) -> None:
    if isinstance(after, storage.NotAnsweringError):
        return  # asking once more would wait for as long again
    try:
        storage.delete_tree(probe)
    except OSError:
        return  # it could not be written either, and that is being said
