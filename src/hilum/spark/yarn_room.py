"""How large an executor may be on the YARN that HADOOP_CONF_DIR names, by asking its manager.

An executor that no node can hold is asked for and never comes, and Spark waits without a word.
The resource manager tells over HTTP what every node has left.
"""

import json
import logging
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.error import URLError

from hilum.errors import InvalidValueError
from hilum.storage.hadoop_settings import read_site

__all__ = ["NodeRoom", "container_settings", "nodes_of_yarn"]

logger = logging.getLogger(__name__)

ASK_S = 5.0
STEP_MIB = 256
MASTER_MIB = 1024  # spark.yarn.am.memory, 512 MiB, with its overhead of 384
SMALLEST_MIB = 1536  # below that PyTorch itself has no room beside Java
EXECUTORS, LARGEST_MIB, MOST_CORES = 2, 6144, 4
HEAP_SHARE = 3  # a third of a container is Java's
_ADDRESS, _HOST = "yarn.resourcemanager.webapp.address", "yarn.resourcemanager.hostname"
_LARGEST = "yarn.scheduler.maximum-allocation-mb"

FULL_SIZE = MappingProxyType(
    {
        "spark.executor.instances": str(EXECUTORS),
        "spark.executor.cores": str(MOST_CORES),
        "spark.executor.memory": "2g",
        "spark.executor.memoryOverhead": "4g",
    }
)
"""What a cluster with room is asked for: less than the 8 GiB and 4 cores that YARN's own defaults
allow a container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRoom:
    """What a node has left: MiB, and cores as YARN counts them."""

    memory_mib: int
    cores: int


def nodes_of_yarn() -> tuple[list[NodeRoom], int] | None:
    """Room of every running node, and the largest container allowed (MiB); None if nobody tells.

    A manager that asks for a login, or is a pair, is not asked: Spark's own words must do then.
    """
    names = ("HADOOP_CONF_DIR", "YARN_CONF_DIR")
    folder = next((os.environ[name] for name in names if os.environ.get(name)), None)
    site = read_site(Path(folder) / "yarn-site.xml") if folder else {}
    address = site.get(_ADDRESS, "") or (f"{site[_HOST]}:8088" if site.get(_HOST) else "")
    if not address or "${" in address:
        return None
    url = f"http://{address}/ws/v1/cluster/nodes?states=RUNNING"
    try:
        with urllib.request.urlopen(url, timeout=ASK_S) as answer:
            found = json.load(answer)["nodes"]["node"]
    except (URLError, OSError, ValueError, KeyError, TypeError) as error:
        logger.info("yarn not asked address=%s error=%s", address, error)
        return None
    nodes = [
        NodeRoom(memory_mib=int(one["availMemoryMB"]), cores=int(one["availableVirtualCores"]))
        for one in found
    ]
    return nodes, int(site.get(_LARGEST, 8192))


def container_settings(nodes: Sequence[NodeRoom], largest_mib: int) -> dict[str, str]:
    """Sizes of executors for these nodes: two of 6 GiB if they fit, else smaller ones, else one.

    Raises:
        InvalidValueError: no node has room for one that could train.
    """
    room = sorted((node.memory_mib for node in nodes), reverse=True)
    if room:
        room[0] -= MASTER_MIB
    most = min(LARGEST_MIB, largest_mib)
    for executors in (EXECUTORS, 1):
        for size in range(most - most % STEP_MIB, SMALLEST_MIB - 1, -STEP_MIB):
            if sum(max(0, mib) // size for mib in room) >= executors:
                return _settings(executors, size, sum(node.cores for node in nodes))
    raise InvalidValueError(
        f"YARN must have room for an executor of {SMALLEST_MIB} MiB beside Spark's own container "
        f"of {MASTER_MIB}. Got nodes with {[node.memory_mib for node in nodes]} MiB left, and "
        f"containers of up to {largest_mib}. Hint: wait until others have left, enlarge "
        f"yarn.nodemanager.resource.memory-mb or {_LARGEST}, or give sizes of your own (--conf "
        "spark.executor.memory, spark.executor.memoryOverhead)."
    )


def _settings(executors: int, size_mib: int, cores: int) -> dict[str, str]:
    if size_mib == LARGEST_MIB and executors == EXECUTORS and cores >= executors * MOST_CORES:
        return dict(FULL_SIZE)
    heap = size_mib // HEAP_SHARE
    sizes = {
        "spark.executor.instances": str(executors),
        "spark.executor.cores": str(max(1, min(MOST_CORES, cores // executors))),
        "spark.executor.memory": f"{heap}m",
        "spark.executor.memoryOverhead": f"{size_mib - heap}m",
    }
    logger.warning("smaller executors for the room that YARN has: %s", sizes)
    return sizes
