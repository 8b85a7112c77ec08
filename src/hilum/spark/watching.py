"""What a run writes down about itself before its ranks start: the environment, and MLflow's run."""

from typing import Any

from pyspark.sql import SparkSession

from hilum.spark.barrier import executor_layout
from hilum.training import TrainConfig
from hilum.training.environment import write_environment
from hilum.training.tracking import begin_mlflow_run

__all__ = ["describe_spark", "write_down"]

_SETTINGS = (
    "spark.master",
    "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.executor.pyspark.memory",
    "spark.task.cpus",
)


def write_down(spark: SparkSession, run_directory: str, config: TrainConfig, mlflow: str) -> None:
    """Write RUN/environment.json, and make the MLflow run where an address is given."""
    write_environment(run_directory, describe_spark(spark))
    if mlflow:
        begin_mlflow_run(mlflow, run_directory, config)


def describe_spark(spark: SparkSession) -> dict[str, Any]:
    """Return version, executors, cores of each, and the memory settings that were given."""
    layout = executor_layout(spark)
    given = {name: spark.conf.get(name, None) for name in _SETTINGS}
    return {
        "version": spark.version,
        "executors": layout.num_executors,
        "cores_per_executor": layout.cores_per_executor,
        **{name.removeprefix("spark."): value for name, value in given.items() if value},
    }
