"""Ranks as one Spark barrier stage: all start together, one per executor, or none does.

The rank runs inside Spark's own Python worker, so there is no second interpreter to start and an
exception comes back as it happened (TorchDistributor starts a process per rank; decision 0003).
"""

import json
import os
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pyarrow as pa
from pyspark import BarrierTaskContext
from pyspark.sql import SparkSession

from hilum.errors import InvalidValueError, RankLostError
from hilum.spark.failures import as_hilum_error
from hilum.spark.versions import Versions, check_versions, own_versions
from hilum.training.launch import CAUSE_FIRST_S, Watch, Worker, run_rank
from hilum.training.world import World, meeting_address, serve_rendezvous

__all__ = ["BarrierLauncher", "ExecutorLayout", "check_slots", "executor_layout"]

_RESULT_DDL = "rank int, result string"
REGISTER_WITHIN_S = 30.0
LOOK_EVERY_S = 0.2
SETTLED_S = 2.0
# Counted once a session: one that is lost later still belongs to it, and is waited for.
COUNTED = "spark.hilum.countedExecutors"
TASKS_END_WITHIN_S = 15.0
WORKER_ENDS_WITHIN_S = 1.0


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
    if executors == 0:  # a standalone master gives what its workers have
        executors = int(_setting(spark, COUNTED, "0")) or _settled_executors(spark)
    slots = _task_slots(spark)
    if executors == 0:
        raise InvalidValueError(
            f"numRanks must be given where Spark does not say how many executors it has "
            f"(master {master}). Got 0 (automatic). "
            "Hint: set numRanks, or spark.executor.instances and spark.executor.cores."
        )
    return ExecutorLayout(executors, cores or max(1, (slots or executors) // executors), False)


def check_slots(spark: SparkSession, num_ranks: int) -> None:
    """Refuse what Spark would wait for in vain, with the settings to change.

    Spark waits ten minutes for slots that never come (SPARK-24819), then says little. Executors
    that are still starting are waited for.

    Raises:
        InvalidValueError: fewer task slots than ranks, or dynamic allocation is on.
    """
    if _setting(spark, "spark.dynamicAllocation.enabled", "false") == "true":
        raise InvalidValueError(
            "spark.dynamicAllocation.enabled must be false for training. Got true. "
            "Hint: barrier stages need a fixed number of executors (SPARK-24942); reading and "
            "prediction may run in another session that has it on."
        )
    executors, promised = _promised(spark)
    patience_s = REGISTER_WITHIN_S if num_ranks <= promised else 0.0
    one_each = num_ranks <= executors
    slots = _available(spark, num_ranks, patience_s, one_each=one_each)
    if slots < num_ranks and one_each:
        raise InvalidValueError(
            f"numRanks must be at most the number of executors. Got {num_ranks}; the cluster gave "
            f"{slots} of the {executors} executors that were asked for. Hint: ask for smaller ones "
            "(spark.executor.memory, spark.executor.memoryOverhead, spark.executor.cores), wait "
            "until others have left, or set numRanks."
        )
    if slots < num_ranks:
        raise InvalidValueError(
            f"numRanks must be at most the number of task slots. Got {num_ranks} for {slots}. "
            "Hint: raise spark.executor.instances or lower spark.task.cpus, or set numRanks."
        )


@dataclass(frozen=True, slots=True)
class BarrierLauncher:
    """Launcher over Spark executors; see `hilum.training.launch.Launcher`.

    Attributes:
        versions: what executors must have; by default what this process has.
    """

    spark: SparkSession
    versions: Versions = field(default_factory=own_versions)

    def launch(
        self, worker: Worker, argument: str, num_ranks: int, watch: Watch | None = None
    ) -> list[str]:
        """Run the worker once per rank in a barrier stage.

        Ctrl-C, or an error of `watch`, cancels the stage, and Spark kills its Python workers.

        Raises:
            InvalidValueError: too few task slots, dynamic allocation, or executors with other
                versions of Python, torch or hilum.
            TrainingError: a rank failed, with rank, host and traceback.
            RankLostError: a rank's Python worker or executor is gone.
        """
        check_slots(self.spark, num_ranks)
        task = partial(
            _run_task,
            worker=worker,
            argument=argument,
            executor_cores=executor_layout(self.spark).cores_per_executor,
            versions=self.versions,
        )
        tag = f"hilum-{uuid.uuid4().hex}"
        outcome: dict[str, Any] = {}
        thread = threading.Thread(
            target=self._collect,
            args=(task, num_ranks, tag, outcome),
            name="hilum-barrier",
            daemon=True,
        )
        thread.start()
        try:
            while thread.is_alive():
                thread.join(LOOK_EVERY_S)
                if watch is not None and thread.is_alive():
                    watch()
        except BaseException:  # Ctrl-C among them
            self._cancel(tag, thread)
            _await_tasks(self.spark)
            raise
        if "error" in outcome:
            _await_tasks(self.spark)
            raise as_hilum_error(outcome["error"]) from None
        return [row["result"] for row in sorted(outcome["rows"], key=lambda row: int(row["rank"]))]

    def available(self, num_ranks: int, wait_s: float) -> int:
        """Ranks that have a slot, and an executor each as far as `num_ranks` asks for that."""
        one_each = num_ranks <= executor_layout(self.spark).num_executors
        return _available(self.spark, num_ranks, wait_s, one_each=one_each)

    def _collect(
        self, task: Callable[..., Any], num_ranks: int, tag: str, outcome: dict[str, Any]
    ) -> None:
        tags = _job_tags(self.spark)
        tags.add(tag)
        try:
            ranks = self.spark.range(0, num_ranks, 1, num_ranks)
            rows = ranks.mapInArrow(cast(Any, task), _RESULT_DDL, barrier=True).collect()
            outcome["rows"] = rows
        except BaseException as error:
            outcome["error"] = error
        finally:
            with suppress(Exception):  # after Ctrl-C the session may be gone before this thread
                tags.remove(tag)

    def _cancel(self, tag: str, thread: threading.Thread) -> None:
        """Cancel the stage; again and again, for one that is not submitted yet is not cancelled."""
        deadline = time.monotonic() + TASKS_END_WITHIN_S
        while thread.is_alive() and time.monotonic() < deadline:
            _job_tags(self.spark).cancel(tag)
            thread.join(LOOK_EVERY_S)


def _run_task(
    batches: Iterable[pa.RecordBatch],
    *,
    worker: Worker,
    argument: str,
    executor_cores: int,
    versions: Versions,
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
    check_versions(versions, host)
    hosts = [executors[task].rsplit(":", 1)[0] for task in order]
    store, rendezvous = None, ""
    if len(executors) > 1:
        if rank == 0:
            store, rendezvous = serve_rendezvous(meeting_address(host, hosts))
        messages = [json.loads(text) for text in context.allGather(json.dumps(rendezvous))]
        rendezvous = next(filter(None, messages))
    world = World(
        rank=rank,
        num_ranks=len(executors),
        local_rank=hosts[:rank].count(host),
        host=host,
        rendezvous=rendezvous,
        num_threads=max(1, executor_cores // Counter(executors)[executors[own]]),
        task=own,
        gpu=_gpu_of(context),
    )
    try:
        result = run_rank(worker, world, argument, store)
    except RankLostError:
        time.sleep(CAUSE_FIRST_S)  # Spark reports the first failure; let it be the cause
        raise
    yield pa.RecordBatch.from_pydict({"rank": pa.array([rank], pa.int32()), "result": [result]})


def _gpu_of(context: BarrierTaskContext) -> str | None:
    """Address of the GPU Spark gave this task, if it manages any."""
    gpus = context.resources().get("gpu")
    return gpus.addresses[0] if gpus is not None and gpus.addresses else None


def _available(
    spark: SparkSession, num_ranks: int, wait_s: float, *, one_each: bool = False
) -> int:
    """Slots for ranks, at most `num_ranks`; waits for executors that are not there yet.

    Args:
        one_each: count executors too, so that no two ranks share one because another is missing.
    """
    deadline = time.monotonic() + wait_s
    while True:
        slots = _task_slots(spark)
        if slots is None:
            return num_ranks  # Spark Connect: Spark itself counts when the stage starts
        found = min(slots, _executors(spark)) if one_each else slots
        if found >= num_ranks or time.monotonic() >= deadline:
            return min(found, num_ranks)
        time.sleep(LOOK_EVERY_S)


def _promised(spark: SparkSession) -> tuple[int, int]:
    """Executors and task slots once all executors of the settings are there."""
    try:
        layout = executor_layout(spark)
    except InvalidValueError:
        return 0, 0  # Spark does not say; what is there now is all we know
    cpus = int(_setting(spark, "spark.task.cpus", "1"))
    return layout.num_executors, layout.num_executors * (layout.cores_per_executor // cpus)


def _executors(spark: SparkSession) -> int:
    """Executors alive now; the one of a local session is the driver itself."""
    known = len(cast(Any, spark)._jsc.sc().statusTracker().getExecutorInfos())
    in_driver = re.match(r"local(\[|$)", _setting(spark, "spark.master", ""))
    return known if in_driver else known - 1


def _settled_executors(spark: SparkSession) -> int:
    """Executors that came by themselves, once no more come; 0 where none does or nobody tells."""
    if getattr(spark, "_jsc", None) is None:
        return 0
    deadline = time.monotonic() + REGISTER_WITHIN_S
    found, since = _executors(spark), time.monotonic()
    while time.monotonic() < deadline and not (found and time.monotonic() - since > SETTLED_S):
        time.sleep(LOOK_EVERY_S)
        if (now := _executors(spark)) != found:
            found, since = now, time.monotonic()
    if found:
        spark.conf.set(COUNTED, str(found))
    return found


def _await_tasks(spark: SparkSession) -> None:
    """Wait until Spark has ended the tasks it was told to end, for ranks must not write on.

    Spark kills a Python worker two seconds after its task (spark.python.task.killTimeout), and
    calls the task ended when it has asked the worker's parent to do so: hence the moment more.
    """
    context = getattr(spark, "_jsc", None)
    if context is None:
        return  # Spark Connect does not tell; ranks see in the attempt file that they may not go on
    tracker = context.sc().statusTracker()
    deadline, pause_s = time.monotonic() + TASKS_END_WITHIN_S, 0.0
    while any(executor.numRunningTasks() for executor in tracker.getExecutorInfos()):
        if time.monotonic() > deadline:
            return
        pause_s = WORKER_ENDS_WITHIN_S
        time.sleep(LOOK_EVERY_S)
    time.sleep(pause_s)


@dataclass(frozen=True, slots=True)
class _JobTags:
    """How jobs of this thread are tagged, and how all jobs with a tag are cancelled."""

    add: Callable[[str], Any]
    remove: Callable[[str], Any]
    cancel: Callable[[str], Any]


def _job_tags(spark: SparkSession) -> _JobTags:
    if getattr(spark, "_jsc", None) is None:  # Spark Connect
        return _JobTags(spark.addTag, spark.removeTag, spark.interruptTag)
    # On Spark 4.3 classic, SparkSession.interruptTag does not find jobs of other threads.
    context = spark.sparkContext
    return _JobTags(context.addJobTag, context.removeJobTag, context.cancelJobsWithTag)


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
