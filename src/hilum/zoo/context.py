"""Starting Spark as the notebooks of 2019 did: `create_spark_conf`, `init_nncontext`."""

import logging
import os
import time

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from hilum.spark import local_session
from hilum.spark.barrier import executor_layout

__all__ = ["create_spark_conf", "init_nncontext"]

logger = logging.getLogger(__name__)

_REGISTER_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.1
_OF_2019 = {
    "spark.speculation": "false",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
}
_LOCAL_MEMORY_MIB = 3072


def create_spark_conf() -> SparkConf:
    """Settings for `init_nncontext`, with those that `spark-submit` was given.

    Without a master it is a cluster of one executor with all cores of this machine: scripts of
    2019 count the executors and divide by their number, which on a plain local master is 0.
    """
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # under spark-submit Java runs already, and knows
        SparkContext._ensure_initialized()
    conf = SparkConf()
    for name, value in _OF_2019.items():
        conf.setIfMissing(name, value)
    cores = os.cpu_count() or 1
    return conf.setIfMissing("spark.master", f"local-cluster[1,{cores},{_LOCAL_MEMORY_MIB}]")


def init_nncontext(
    conf: SparkConf | str | None = None, redirect_spark_log: bool = True
) -> SparkContext:
    """Start Spark, or take the context that runs; returns when its executors are there.

    Args:
        conf: of `create_spark_conf`, or a name for the application.
        redirect_spark_log: has no effect; Hilum's sessions are quiet.

    Raises:
        MissingDependencyError: there is no Java, or one older than 17.
    """
    if SparkContext._active_spark_context is not None:
        return SparkSession.builder.getOrCreate().sparkContext
    wanted = create_spark_conf().setAppName(conf) if isinstance(conf, str) else conf
    wanted = create_spark_conf() if wanted is None else wanted
    settings = dict(wanted.getAll())
    master = settings.pop("spark.master", "local[*]")
    name = settings.pop("spark.app.name", "hilum")
    session = local_session(master, app_name=name, config=settings)
    _wait_for_executors(session)
    return session.sparkContext


def _wait_for_executors(session: SparkSession) -> None:
    """Wait until as many executors answer as the settings promise; scripts count them next."""
    context = session.sparkContext
    if (context.master or "").startswith("local["):
        return
    layout = executor_layout(session)
    until = time.monotonic() + _REGISTER_WITHIN_S
    while _num_executors(context) < layout.num_executors:
        if time.monotonic() > until:
            logger.warning(
                "executors=%d of=%d waited_s=%g",
                _num_executors(context),
                layout.num_executors,
                _REGISTER_WITHIN_S,
            )
            return
        time.sleep(_LOOK_EVERY_S)


def _num_executors(context: SparkContext) -> int:
    tracker = context._jsc.sc().statusTracker()
    return len(tracker.getExecutorInfos()) - 1  # the driver is among them
