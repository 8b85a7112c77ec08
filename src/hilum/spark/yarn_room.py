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

__all__ = ["FULL_SIZE", "NodeRoom", "YarnRoom", "container_settings", "nodes_of_yarn"]

logger = logging.getLogger(__name__)

ASK_S = 5.0
STEP_MIB = 256
MASTER_MIB = 896  # spark.yarn.am.memory, 512 MiB, with its overhead of 384
SMALLEST_MIB = 1536  # below that PyTorch itself has no room beside Java
EXECUTORS, LARGEST_MIB, MOST_CORES = 2, 6144, 4
HEAP_SHARE = 3  # a third of a container is Java's
_ADDRESS, _HOST = "yarn.resourcemanager.webapp.address", "yarn.resourcemanager.hostname"
_LARGEST, _SMALLEST = "yarn.scheduler.maximum-allocation-mb", "yarn.scheduler.minimum-allocation-mb"
_LARGEST_MIB, _SMALLEST_MIB = 8192, 1024  # without a word of the site: yarn-default.xml

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


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnRoom:
    """What a cluster has left, and how it hands that out.

    Attributes:
        nodes: every running node.
        largest_mib: the largest container it allows.
        step_mib: a container takes a multiple of this, however little more it asks for.
    """

    nodes: Sequence[NodeRoom]
    largest_mib: int = _LARGEST_MIB
    step_mib: int = _SMALLEST_MIB

    def taken_mib(self, asked_mib: int) -> int:
        """What a container of this size takes of its node."""
        return -(-asked_mib // self.step_mib) * self.step_mib

    def holds(self, size_mib: int) -> int:
        """How many executors of this size fit, wherever Spark's own container is put."""
        master, taken = self.taken_mib(MASTER_MIB), self.taken_mib(size_mib)
        left = [node.memory_mib for node in self.nodes]
        beside = (
            sum(max(0, mib - master * (place == at)) // taken for place, mib in enumerate(left))
            for at, room in enumerate(left)
            if room >= master
        )
        return min(beside, default=0)


def nodes_of_yarn() -> YarnRoom | None:
    """What the manager that HADOOP_CONF_DIR names says of its nodes; None if nobody tells.

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
            told = json.load(answer)["nodes"] or {}  # null: no node at all
        nodes = [
            NodeRoom(memory_mib=int(one["availMemoryMB"]), cores=int(one["availableVirtualCores"]))
            for one in told.get("node", [])
        ]
    except (URLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.info("yarn not asked address=%s error=%s", address, error)
        return None
    return YarnRoom(
        nodes=nodes,
        largest_mib=_mib(site.get(_LARGEST, ""), _LARGEST_MIB),
        step_mib=_mib(site.get(_SMALLEST, ""), _SMALLEST_MIB),
    )


def _mib(text: str, default: int) -> int:
    """A number of a site file; what is none (empty, ${...}) leaves YARN's default."""
    return int(text) or default if text.isdecimal() else default


def container_settings(room: YarnRoom, executors: int | None = None) -> dict[str, str]:
    """Sizes of executors for these nodes: two of 6 GiB if they fit, else smaller ones, else one.

    Args:
        executors: how many the user wants; then so many, as large as they fit.

    Raises:
        InvalidValueError: the nodes have no room for so many that could train.
    """
    most = min(LARGEST_MIB, room.largest_mib)
    counts = (EXECUTORS, 1) if executors is None else (executors,)
    for count in counts:
        for size in range(most - most % STEP_MIB, SMALLEST_MIB - 1, -STEP_MIB):
            if room.holds(size) >= count:
                return _settings(count, size, sum(node.cores for node in room.nodes))
    many = "an executor" if counts[-1] == 1 else f"{counts[-1]} executors"
    fewer = "" if counts[-1] == 1 else "ask for fewer (--conf spark.executor.instances), "
    raise InvalidValueError(
        f"YARN must have room for {many} of {room.taken_mib(SMALLEST_MIB)} MiB beside Spark's own "
        f"container of {room.taken_mib(MASTER_MIB)}. Got nodes with "
        f"{[node.memory_mib for node in room.nodes]} MiB left, and containers of up to "
        f"{room.largest_mib}. Hint: {fewer}wait until others have left, enlarge "
        f"yarn.nodemanager.resource.memory-mb or {_LARGEST}, or give sizes of your own (--conf "
        "spark.executor.memory, spark.executor.memoryOverhead)."
    )


def _settings(executors: int, size_mib: int, cores: int) -> dict[str, str]:
    if size_mib == LARGEST_MIB and cores >= executors * MOST_CORES:
        return FULL_SIZE | {"spark.executor.instances": str(executors)}
    heap = size_mib // HEAP_SHARE
    sizes = {
        "spark.executor.instances": str(executors),
        "spark.executor.cores": str(max(1, min(MOST_CORES, cores // executors))),
        "spark.executor.memory": f"{heap}m",
        "spark.executor.memoryOverhead": f"{size_mib - heap}m",
    }
    logger.warning("smaller executors for the room that YARN has: %s", sizes)
    return sizes
