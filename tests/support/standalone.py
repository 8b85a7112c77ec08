"""A real standalone cluster from the pip package: a master and workers on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyspark

from quick_java import QUICK_JAVA

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
MASTER, WORKER = (f"org.apache.spark.deploy.{name}" for name in ("master.Master", "worker.Worker"))
START_S = 60.0
JAVA = {"JDK_JAVA_OPTIONS": QUICK_JAVA}


@dataclass(frozen=True)
class Standalone:
    """A master's address, its workers, and the folder that all of them write to."""

    address: str
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self, host: str = "127.0.0.1", before: Sequence[str] = ()) -> None:
        """Start a worker of one core; `before`: what its command line begins with."""
        work = self.folder / f"worker-{len(self.processes)}"
        arguments = [WORKER, *f"--host {host} --cores 1 --memory 1g --webui-port 0".split()]
        arguments += ["--work-dir", str(work), self.address]
        self.processes.append(start(arguments, work, before, host))


@contextmanager
def standalone(folder: Path, host: str = "127.0.0.1") -> Iterator[Standalone]:
    """A master, for workers that are added; nothing of them is left at the end."""
    port = free_port(host)
    cluster = Standalone(f"spark://{host}:{port}", folder)
    arguments = [MASTER, *f"--host {host} --port {port} --webui-port 0".split()]
    master = start(arguments, folder / "master", host=host)
    try:
        wait_for_port(host, port, master)
        yield cluster
    finally:
        for process in (*cluster.processes, master):
            end_group(process)


def start(
    arguments: Sequence[str], log: Path, before: Sequence[str] = (), host: str = "127.0.0.1"
) -> subprocess.Popen[bytes]:
    with log.with_suffix(".log").open("wb") as file:
        return subprocess.Popen(
            [*before, str(SPARK_CLASS), *arguments],
            env=os.environ | JAVA | {"SPARK_LOCAL_IP": host, "PYSPARK_PYTHON": sys.executable},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """The process and all that it started (executors and their Python workers)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def wait_for_port(host: str, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nobody listens on {host}:{port} (exit {process.poll()})")


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
