"""What a session on a cluster needs and Spark's defaults do not give, unless the user says it.

Ranks start together (barrier stages), live beside the Java heap and compute with all cores of their
executor. Spark's defaults are one core, 1 GB of heap and a tenth of that for Python.
"""

import os
import re
import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import pyspark
from pyspark import SparkConf, SparkContext

from hilum.errors import require

__all__ = [
    "PACKED_PYTHON",
    "cluster_defaults",
    "environment_settings",
    "given_settings",
    "parse_properties",
]

PACKED_PYTHON = "./environment/bin/python"
"""The interpreter of a packed environment, seen from an executor's working directory."""

_ANY_CLUSTER = MappingProxyType(
    {
        # Barrier stages refuse it (SPARK-24942), and distributions of Hadoop switch it on.
        "spark.dynamicAllocation.enabled": "false",
        # A barrier stage needs all slots at once: wait for the executors that were asked for.
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "60s",
        # A host whose network is gone closes no connection, and all other ranks wait for it. Spark
        # looks every minute for executors that were silent for two.
        "spark.executor.heartbeatInterval": "5s",
        "spark.storage.blockManagerHeartbeatTimeoutMs": "20s",
        "spark.network.timeoutInterval": "5s",
    }
)
# A container holds heap and overhead; ranks and image decoding live in the overhead. Together less
# than the 8 GiB that YARN allows a container by default, and its 4 cores.
_CONTAINERS = MappingProxyType(
    {
        "spark.executor.instances": "2",
        "spark.executor.cores": "4",
        "spark.executor.memory": "2g",
        "spark.executor.memoryOverhead": "4g",
    }
)
_PROPERTY = re.compile(r"([^\s=:#!][^\s=:]*)\s*[=:\s]\s*(.*)")


def cluster_defaults(master: str) -> dict[str, str]:
    """Settings for the address of a cluster; {} for a master on this machine."""
    if master.startswith(("yarn", "k8s://")):
        return {**_ANY_CLUSTER, **_CONTAINERS}
    return dict(_ANY_CLUSTER) if master.startswith("spark://") else {}


def given_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the user has set outside the program: spark-defaults.conf, or spark-submit's options."""
    if "PYSPARK_GATEWAY_PORT" in environment:  # under spark-submit Java runs already, and knows
        SparkContext._ensure_initialized()
        return dict(SparkConf().getAll())
    home = environment.get("SPARK_HOME") or str(Path(pyspark.__file__).parent)
    folder = Path(environment.get("SPARK_CONF_DIR") or Path(home) / "conf")
    file = folder / "spark-defaults.conf"
    found = parse_properties(file.read_text(encoding="utf-8")) if file.is_file() else {}
    words = shlex.split(environment.get("PYSPARK_SUBMIT_ARGS", ""))
    for option, value in pairwise(words):
        if option in ("--conf", "-c") and "=" in value:
            name, _, text = value.partition("=")
            found[name] = text
    return found


def parse_properties(text: str) -> dict[str, str]:
    """Names and values of a spark-defaults.conf."""
    lines = (_PROPERTY.fullmatch(line.strip()) for line in text.splitlines())
    return {match.group(1): match.group(2).strip() for match in lines if match is not None}


def environment_settings(packed: str, master: str) -> tuple[dict[str, str], dict[str, str]]:
    """How executors get what `hilum pack` wrote: Spark settings, and environment variables.

    Args:
        packed: a .tar.gz with interpreter and packages, or a .zip with Hilum alone, on this machine
            or on storage that the executors read (hdfs://...).

    Raises:
        InvalidValueError: another kind of file, none, or executors that are this process.
    """
    local = master.startswith("local") and not master.startswith("local-cluster")
    require(
        not local,
        "environment",
        "left out where the executors are this process",
        packed,
        hint=f"it is for clusters; master is {master}",
    )
    kinds = (".tar.gz", ".tgz", ".zip")
    hint = "`hilum pack env.tar.gz` or `hilum pack hilum.zip` writes one"
    require(packed.endswith(kinds), "environment", f"a file of {', '.join(kinds)}", packed, hint)
    if "://" not in packed:
        require(Path(packed).is_file(), "environment", "a file that is there", packed, hint)
        packed = str(Path(packed).resolve())
    if packed.endswith(".zip"):
        return {"spark.submit.pyFiles": packed}, {}
    return {"spark.archives": f"{packed}#environment"}, {"PYSPARK_PYTHON": PACKED_PYTHON}
