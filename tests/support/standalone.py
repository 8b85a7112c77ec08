"""A real standalone cluster from the pip package: a master and workers on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
MASTER, WORKER = (f"org.apache.spark.deploy.{name}" for name in ("master.Master", "worker.Worker"))
START_S = 60.0
JAVA = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


@dataclass(frozen=True)
class Standalone:
    """Address of the master, processes of the workers, and where they write."""

    address: str
    workers: list[subprocess.Popen[bytes]]
    folder: Path

    def said(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("*.log")))


@contextmanager
def standalone(
    folder: Path,
    workers: int,
    *,
    host: str = "127.0.0.1",
    hosts: Sequence[tuple[str, Sequence[str]]] = (),
) -> Iterator[Standalone]:
    """Master and workers of one core each; nothing of them is left at the end.

    Args:
        hosts: address of each worker, and what its command line begins with (`ip netns exec ...`).
    """
    port = free_port(host)
    places = hosts or [("127.0.0.1", [])] * workers
    processes = []
    try:
        master = start(
            [MASTER, "--host", host, "--port", str(port), "--webui-port", "0"], folder / "master"
        )
        processes.append(master)
        wait_for_port(host, port, master)
        address = f"spark://{host}:{port}"
        for number, (own, before) in enumerate(places):
            work = folder / f"worker-{number}"
            arguments = [
                WORKER,
                "--host",
                own,
                "--cores",
                "1",
                "--memory",
                "1g",
                "--webui-port",
                "0",
            ]
            arguments += ["--work-dir", str(work), address]
            processes.append(start(arguments, work, before, own))
        yield Standalone(address, processes[1:], folder)
    finally:
        for process in processes:
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
