"""A real YARN beside a real HDFS: a resource manager and a node manager, gone afterwards.

with Hdfs(folder) as hdfs, yarn(hdfs):
    ...     HADOOP_CONF_DIR=hdfs.conf and master "yarn"
"""

import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from hadoop import Daemon, Hdfs, free_ports, write_site

_SERVER = "org.apache.hadoop.yarn.server"
_SCHEDULER = f"{_SERVER}.resourcemanager.scheduler.capacity.CapacityScheduler"


@contextmanager
def yarn(hdfs: Hdfs, memory_mib: int = 12288) -> Iterator[tuple[Daemon, Daemon]]:
    """Start both daemons on the settings folder of an HDFS; yields them."""
    ports = free_ports(10)
    write_site(hdfs.conf / "yarn-site.xml", _site(hdfs.folder, ports, memory_mib))
    write_site(hdfs.conf / "capacity-scheduler.xml", _QUEUES)
    java = {"JAVA_HOME": str(Path(shutil.which("java") or "").resolve().parents[1])}
    resources = hdfs.daemon(
        "resourcemanager", f"{_SERVER}.resourcemanager.ResourceManager", ports[:5]
    )
    nodes = hdfs.daemon("nodemanager", f"{_SERVER}.nodemanager.NodeManager", ports[5:8])
    try:
        for daemon in (resources, nodes):
            daemon.environment = java
            daemon.start(wait=False)
        for daemon in (resources, nodes):
            daemon.wait()
        yield resources, nodes
    finally:
        nodes.kill()
        resources.kill()
        _end_containers(hdfs.folder)


def _end_containers(folder: Path) -> None:
    """Containers outlive a node manager that is killed."""
    mark = str(folder / "local").encode()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


_QUEUES: Mapping[str, object] = {
    "yarn.scheduler.capacity.root.queues": "default",
    "yarn.scheduler.capacity.root.default.capacity": 100,
    "yarn.scheduler.capacity.root.default.maximum-capacity": 100,
    "yarn.scheduler.capacity.root.default.state": "RUNNING",
    "yarn.scheduler.capacity.maximum-am-resource-percent": 0.5,
}


def _site(folder: Path, ports: list[int], memory_mib: int) -> dict[str, object]:
    host = "127.0.0.1"
    names = [
        *("resourcemanager.address", "resourcemanager.scheduler.address"),
        *("resourcemanager.resource-tracker.address", "resourcemanager.admin.address"),
        *("resourcemanager.webapp.address", "nodemanager.address"),
        *("nodemanager.localizer.address", "nodemanager.webapp.address"),
    ]
    addresses = {f"yarn.{name}": f"{host}:{port}" for name, port in zip(names, ports, strict=False)}
    return addresses | {
        "yarn.resourcemanager.hostname": host,
        "yarn.resourcemanager.scheduler.class": _SCHEDULER,
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": 200,
        "yarn.nodemanager.hostname": host,
        "yarn.nodemanager.bind-host": host,
        "yarn.nodemanager.local-dirs": folder / "local",
        "yarn.nodemanager.log-dirs": folder / "logs",
        "yarn.nodemanager.resource.memory-mb": memory_mib,
        "yarn.nodemanager.resource.cpu-vcores": 4,
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.pmem-check-enabled": "false",
        "yarn.nodemanager.disk-health-checker.enable": "false",
        "yarn.nodemanager.delete.debug-delay-sec": 0,
    }
