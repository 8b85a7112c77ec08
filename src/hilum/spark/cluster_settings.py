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

from hilum.errors import InvalidValueError, require
from hilum.spark.yarn_room import FULL_SIZE, container_settings, nodes_of_yarn

__all__ = [
    "PACKED_PYTHON",
    "check_cluster",
    "cluster_defaults",
    "connector_settings",
    "environment_settings",
    "given_settings",
    "parse_properties",
    "start_error",
    "storage_variables",
]

PACKED_PYTHON = "./environment/bin/python"
"""The interpreter of a packed environment, seen from an executor's working directory."""

_ANY_CLUSTER = {
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
_MEMORY = ("spark.executor.memory", "spark.executor.memoryOverhead")
_OF_STORAGE = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_REGION"),
    *("HILUM_WEBHDFS", "HADOOP_USER_NAME"),
)
_TOO_LARGE = re.compile(r"Required \w+ memory .*? is above the max threshold \(\d+ MB\)[^!]*!")
_PROPERTY = re.compile(r"([^\s=:#!][^\s=:]*)\s*[=:\s]\s*(.*)")


def cluster_defaults(
    master: str, given: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Settings for the address of a cluster; {} for a master on this machine.

    A container of YARN or Kubernetes holds heap and overhead; ranks and image decoding live in the
    overhead. YARN is asked how much room it has, unless `given` holds a size of memory.

    Args:
        given: settings that the user chose, which will win.

    Raises:
        InvalidValueError: YARN has no room for any executor, or for as many as are given.
    """
    if master.startswith("spark://"):
        return _ANY_CLUSTER | storage_variables()
    if not master.startswith(("yarn", "k8s://")):
        return {}
    sized = any(name in given for name in _MEMORY)
    room = None if sized or master != "yarn" else nodes_of_yarn()
    count = given.get("spark.executor.instances", "")
    wanted = int(count) or None if count.isdecimal() else None
    sizes = dict(FULL_SIZE) if room is None else container_settings(room, wanted)
    return _ANY_CLUSTER | sizes | storage_variables()


def storage_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What executors must know to reach the storage that the driver reaches, as Spark settings.

    Spark itself sends the keys of AWS to executors, for its own connector; it hides settings with
    "secret" or "token" in their name from its pages and logs.
    """
    return {
        f"spark.executorEnv.{name}": environment[name]
        for name in _OF_STORAGE
        if environment.get(name)
    }


def connector_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What Spark's connector for S3 must know to reach the server that AWS's own tools reach.

    Spark itself takes the keys and AWS_ENDPOINT_URL from there (SparkHadoopUtil), no region and
    not how buckets are named: other servers than Amazon's have seldom a host name for each.
    """
    # In this order: Hilum's own client reads the former alone, and both shall ask one region.
    region = environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION")
    address = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    settings = {"spark.hadoop.fs.s3a.endpoint.region": region} if region else {}
    if address:
        settings["spark.hadoop.fs.s3a.endpoint"] = address
        settings["spark.hadoop.fs.s3a.path.style.access"] = "true"
    return settings


def check_cluster(master: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse what Java would end for with a page of its own words.

    Raises:
        InvalidValueError: YARN without the folder that says where it is.
    """
    names = ("HADOOP_CONF_DIR", "YARN_CONF_DIR")
    folder = next((environment[name] for name in names if environment.get(name)), "")
    is_there = bool(folder) and (Path(folder) / "yarn-site.xml").is_file()
    require(
        master != "yarn" or is_there or "PYSPARK_GATEWAY_PORT" in environment,
        "HADOOP_CONF_DIR",
        "the folder with yarn-site.xml and core-site.xml of the cluster",
        folder,
        hint="export HADOOP_CONF_DIR=/etc/hadoop/conf, or wherever the cluster's files are here",
    )


def start_error(error: Exception) -> Exception:
    """What a cluster said when it refused a session, in one sentence where it is known."""
    match = _TOO_LARGE.search(str(error))
    if match is None:
        return error
    return InvalidValueError(
        f"an executor must fit into a container of the cluster. Got: {match.group(0)} "
        "Hint: --conf spark.executor.memoryOverhead=2g (Python's part), --conf "
        "spark.executor.memory=1g (Java's part), or a larger container on the cluster's side."
    )


def given_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the user has set outside the program: spark-defaults.conf, or spark-submit's options.

    Raises:
        InvalidValueError: the file cannot be read, or PYSPARK_SUBMIT_ARGS not be split into words.
    """
    if "PYSPARK_GATEWAY_PORT" in environment:  # under spark-submit Java runs already, and knows
        SparkContext._ensure_initialized()
        return dict(SparkConf().getAll())
    home = environment.get("SPARK_HOME") or str(Path(pyspark.__file__).parent)
    folder = Path(environment.get("SPARK_CONF_DIR") or Path(home) / "conf")
    found = _defaults_of(folder / "spark-defaults.conf")
    arguments = environment.get("PYSPARK_SUBMIT_ARGS", "")
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InvalidValueError(
            "PYSPARK_SUBMIT_ARGS must be words as for a shell. "
            f"Got {arguments!r}: {error}. Hint: close the quotation mark, or unset it"
        ) from error
    for option, value in pairwise(words):
        if option in ("--conf", "-c") and "=" in value:
            name, _, text = value.partition("=")
            found[name] = text
    return found


def _defaults_of(file: Path) -> dict[str, str]:
    try:
        return parse_properties(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"{file} must be a text that can be read. Got: {error}. "
            "Hint: make it readable, or let SPARK_CONF_DIR name another folder"
        ) from error


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
