"""What an executor leaves for Python, and the plan that is held against it before the launch.

Spark's own memory setting is the JVM's. Ranks live beside it: in the overhead of a YARN or
Kubernetes container, under spark.executor.pyspark.memory where that is set, else in what the
machine has.
"""

import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table
from torch import nn

from hilum.errors import InvalidValueError
from hilum.spark.barrier import executor_layout
from hilum.training import ImageCache, TrainConfig
from hilum.training.memory import MemoryLimit, MemoryPlan, plan_training

__all__ = ["check_memory", "executor_memory_limit"]

logger = logging.getLogger(__name__)

_UNITS = {"": 2**20, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_SMALLEST_OVERHEAD, _DEFAULT_HEAP = "384m", "1g"
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_FACTOR_YARN, _FACTOR_KUBERNETES = 0.1, 0.4  # the latter is Spark's for Python applications


def check_memory(
    spark: SparkSession,
    config: TrainConfig,
    model: nn.Module,
    cache: ImageCache,
    num_ranks: int,
    *,
    show: bool,
) -> MemoryPlan:
    """Plan a run's memory, say it, and refuse a run that its executors would be killed for.

    Args:
        show: print the plan as a table to stderr.

    Raises:
        InvalidValueError: the plan is larger than what the executors leave for Python.
    """
    layout = executor_layout(spark)
    # Executors of a local session share this machine.
    ranks_per_executor = num_ranks if layout.is_local else -(-num_ranks // layout.num_executors)

    def setting(name: str) -> str | None:
        return spark.conf.get(name, None)

    limit = executor_memory_limit(setting, layout.cores_per_executor, ranks_per_executor)
    plan = plan_training(
        config,
        model,
        cache,
        num_ranks=num_ranks,
        ranks_per_executor=ranks_per_executor,
        limit=limit,
    )
    logger.info("memory plan: %s", plan.summary())
    if show:
        _print(plan)
    if problem := plan.problem():
        logger.warning(problem)
    return plan


def executor_memory_limit(
    setting: Callable[[str], str | None], cores_per_executor: int, ranks_per_executor: int
) -> MemoryLimit | None:
    """Memory for the ranks of one executor; None where Spark sets no limit.

    Args:
        setting: value of a Spark setting, None where it is not set.
    """
    python_memory = setting("spark.executor.pyspark.memory")
    if python_memory is not None:
        # Spark divides it by the cores, not by the workers there are, and limits address space.
        per_rank = memory_bytes(python_memory) // max(1, cores_per_executor)
        return MemoryLimit(
            num_bytes=per_rank * ranks_per_executor,
            safe_bytes=per_rank * ranks_per_executor,
            source=f"spark.executor.pyspark.memory={python_memory} over {cores_per_executor} cores",
            advice="leave it unset and raise spark.executor.memoryOverhead to {needed}",
        )
    master = setting("spark.master") or "local[*]"
    if master.startswith(("yarn", "k8s")):
        return _container(setting, master)
    if master.startswith("local"):
        return _this_machine()
    return None  # a standalone worker sets no limit for what executors start


def memory_bytes(text: str) -> int:
    """Bytes of a Spark memory setting such as "384m" or "2g"; a bare number is MiB.

    Raises:
        InvalidValueError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([bkmgtp]?)b?\s*", text.lower())
    if match is None:
        raise InvalidValueError(
            f'a memory setting of Spark must be a number with a unit. Got {text!r}. Hint: "8g"'
        )
    return int(match.group(1)) * _UNITS[match.group(2)]


def _container(setting: Callable[[str], str | None], master: str) -> MemoryLimit:
    """A container holds heap and overhead; only the overhead is Python's for sure."""
    heap = memory_bytes(setting("spark.executor.memory") or _DEFAULT_HEAP)
    name = "spark.executor.memoryOverhead"
    given = setting(name)
    if given is None:
        usual = _FACTOR_KUBERNETES if master.startswith("k8s") else _FACTOR_YARN
        factor = float(setting("spark.executor.memoryOverheadFactor") or usual)
        smallest = setting("spark.executor.minMemoryOverhead") or _SMALLEST_OVERHEAD
        overhead = max(int(factor * heap), memory_bytes(smallest))
        source = f"{name} (not set: {factor:g} of spark.executor.memory)"
    else:
        overhead, source = memory_bytes(given), f"{name}={given}"
    return MemoryLimit(
        num_bytes=heap + overhead,
        safe_bytes=overhead,
        source=source,
        advice="set spark.executor.memoryOverhead to {needed}",
    )


def _this_machine() -> MemoryLimit:
    """Of a local session, whose executors are all here: memory there is, or a container's."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # no cgroup, or "max"
        total = min(total, int(_CGROUP_LIMIT.read_text()))
    return MemoryLimit(
        num_bytes=total,
        safe_bytes=total,
        source="memory of this machine",
        advice="use a machine or container with more than {needed}",
    )


def _print(plan: MemoryPlan) -> None:
    table = Table("memory of a rank", "", title_justify="left", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, amount in plan.rows():
        table.add_row(name, amount)
    Console(stderr=True).print(table)
