"""Ranks as one Spark barrier stage: all start together, one per executor, or none does.

The rank runs inside Spark's own Python worker, so there is no second interpreter to start and an
exception comes back as it happened (TorchDistributor starts a process per rank; decision 0003).
"""

import json
import os
import re
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pyarrow as pa
from pyspark import BarrierTaskContext
from pyspark.sql import SparkSession

from hilum.errors import InvalidValueError, TrainingError
from hilum.training.launch import Worker, run_rank
from hilum.training.world import World, serve_rendezvous

__all__ = ["BarrierLauncher", "ExecutorLayout", "executor_layout"]

_RESULT_DDL = "rank int, result string"


@dataclass(frozen=True, slots=True)
class ExecutorLayout:
    """Executors of a session and cores of each; `is_local`: all of them on this machine."""

    num_executors: int
    cores_per_executor: int
    is_local: bool


def executor_layout(spark: SparkSession) -> ExecutorLayout:
    """Read the layout from the master URL or the session's settings."""
    master = _setting(spark, "spark.master", "local[*]")
    if match := re.fullmatch(r"local(?:\[(\*|\d+)(?:,\s*\d+)?\])?", master):
        wanted = match.group(1) or "1"
        return ExecutorLayout(1, (os.cpu_count() or 1) if wanted == "*" else int(wanted), True)
    if match := re.fullmatch(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,.*\]", master):
        return ExecutorLayout(int(match.group(1)), int(match.group(2)), True)
    cores = int(_setting(spark, "spark.executor.cores", "0"))
    executors = int(_setting(spark, "spark.executor.instances", "0"))
    slots = _task_slots(spark)
    if executors == 0 and cores > 0 and slots:
        executors = max(1, slots // cores)
    if executors == 0:
        raise InvalidValueError(
            f"numRanks must be given where Spark does not say how many executors it has "
            f"(master {master}). Got 0 (automatic). "
            "Hint: set numRanks, or spark.executor.instances and spark.executor.cores."
        )
    return ExecutorLayout(executors, cores or max(1, (slots or executors) // executors), False)


@dataclass(frozen=True, slots=True)
class BarrierLauncher:
    """Launcher over Spark executors; see `hilum.training.launch.Launcher`."""

    spark: SparkSession

    def launch(self, worker: Worker, argument: str, num_ranks: int) -> list[str]:
        """Run the worker once per rank in a barrier stage.

        Ctrl-C cancels the stage, and Spark kills its Python workers.

        Raises:
            InvalidValueError: fewer task slots than ranks, or dynamic allocation is on.
            TrainingError: a rank failed, with rank, host and traceback.
        """
        self._check_slots(num_ranks)
        layout_cores = executor_layout(self.spark).cores_per_executor
        tag = f"hilum-{uuid.uuid4().hex}"
        outcome: dict[str, Any] = {}

        def collect() -> None:
            self.spark.addTag(tag)
            try:
                task = partial(
                    _run_task, worker=worker, argument=argument, executor_cores=layout_cores
                )
                ranks = self.spark.range(0, num_ranks, 1, num_ranks)
                outcome["rows"] = ranks.mapInArrow(
                    cast(Any, task), _RESULT_DDL, barrier=True
                ).collect()
            except BaseException as error:
                outcome["error"] = error
            finally:
                self.spark.removeTag(tag)

        thread = threading.Thread(target=collect, name="hilum-barrier", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.2)
        except BaseException:  # Ctrl-C among them
            self.spark.interruptTag(tag)
            thread.join(10)
            raise
        if "error" in outcome:
            raise _as_training_error(outcome["error"]) from None
        return [row["result"] for row in sorted(outcome["rows"], key=lambda row: int(row["rank"]))]

    def _check_slots(self, num_ranks: int) -> None:
        # Spark would wait ten minutes for slots that never come (SPARK-24819), then say little.
        if _setting(self.spark, "spark.dynamicAllocation.enabled", "false") == "true":
            raise InvalidValueError(
                "spark.dynamicAllocation.enabled must be false for training. Got true. "
                "Hint: barrier stages need a fixed number of executors (SPARK-24942); reading and "
                "prediction may run in another session that has it on."
            )
        slots = _task_slots(self.spark)
        if slots is not None and slots < num_ranks:
            raise InvalidValueError(
                f"numRanks must be at most the number of task slots. Got {num_ranks} for {slots}. "
                "Hint: raise spark.executor.instances or lower spark.task.cpus, or set numRanks."
            )


def _run_task(
    batches: Iterable[pa.RecordBatch], *, worker: Worker, argument: str, executor_cores: int
) -> Iterator[pa.RecordBatch]:
    """Runs in a barrier task: agree on ranks and a meeting point, then do the rank's work."""
    for _ in batches:
        pass
    context = BarrierTaskContext.get()
    executors = [info.address for info in context.getTaskInfos()]
    own = context.partitionId()
    # Ranks of one executor are neighbours, whatever partition ids they got.
    order = sorted(range(len(executors)), key=lambda task: (executors[task], task))
    rank = order.index(own)
    host = executors[own].rsplit(":", 1)[0]
    store, rendezvous = None, ""
    if len(executors) > 1:
        if rank == 0:
            store, rendezvous = serve_rendezvous(host)
        messages = [json.loads(text) for text in context.allGather(json.dumps(rendezvous))]
        rendezvous = next(filter(None, messages))
    hosts = [executors[task].rsplit(":", 1)[0] for task in order]
    world = World(
        rank=rank,
        num_ranks=len(executors),
        local_rank=hosts[:rank].count(host),
        host=host,
        rendezvous=rendezvous,
        num_threads=max(1, executor_cores // Counter(executors)[executors[own]]),
    )
    result = run_rank(worker, world, argument, store)
    yield pa.RecordBatch.from_pydict({"rank": pa.array([rank], pa.int32()), "result": [result]})


def _as_training_error(error: BaseException) -> BaseException:
    """Find the rank's own words in what Spark wraps around them."""
    match = re.search(
        r"hilum\.errors\.TrainingError: (.*?)(?=\n\s*at (?:org|java|scala)\.|\Z)", str(error), re.S
    )
    if match:
        return TrainingError(match.group(1).strip())
    if isinstance(error, Exception):
        return TrainingError(f"the Spark barrier stage failed: {error}")
    return error


def _task_slots(spark: SparkSession) -> int | None:
    """Tasks that can run at once, or None where the session cannot tell (Spark Connect)."""
    context = getattr(spark, "_jsc", None)
    if context is None:
        return None
    scala_context = context.sc()
    profile = scala_context.resourceProfileManager().defaultResourceProfile()
    return int(scala_context.maxNumConcurrentTasks(profile))


def _setting(spark: SparkSession, name: str, default: str) -> str:
    value = spark.conf.get(name, default)
    return default if value is None else value
