"""A real name node and data node for tests: processes of their own on loopback, gone afterwards.

The servers are those of Maven's `hadoop-client-minicluster`, in the version of the Hadoop client
that the installed pyspark ships (89 MB, downloaded once). A daemon dies with the process that
started it, also when that one is killed.

    with Hdfs(folder) as hdfs:
        hdfs.url("a", "file")     hdfs://127.0.0.1:PORT/a/file
        hdfs.conf                 what HADOOP_CONF_DIR must name
        hdfs.datanode.kill(); hdfs.datanode.start()
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from urllib.request import urlopen
from xml.sax.saxutils import escape

import pyspark

from maven import JarsMissingError, cache_folder, jars

__all__ = [
    "Daemon",
    "HadoopMissingError",
    "Hdfs",
    "classpath",
    "die_with_parent",
    "free_ports",
    "hadoop_jars",
    "hadoop_version",
    "write_site",
]

SPARK_JARS = Path(pyspark.__file__).parent / "jars"
START_S = 90.0
POLL_S = 0.05
# Small heaps and the first compiler only: the daemons of a test live for seconds.
JAVA_OPTIONS = (
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true",
)
_LOGGING = """\
rootLogger.level=warn
rootLogger.appenderRef.o.ref=c
appender.c.type=Console
appender.c.name=c
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1}: %m%n
"""


class HadoopMissingError(Exception):
    """Hadoop's servers cannot be had here; the message says why."""


def hadoop_version() -> str:
    """Version of the Hadoop client inside the installed pyspark; servers must agree with it."""
    name = next(SPARK_JARS.glob("hadoop-client-api-*.jar")).name
    return name.removeprefix("hadoop-client-api-").removesuffix(".jar")


def hadoop_jars() -> list[Path]:
    """The jars with Hadoop's servers, downloaded where they are not there yet.

    Raises:
        HadoopMissingError: no Java, no Maven, or no way to Maven's repository.
    """
    if shutil.which("java") is None:
        raise HadoopMissingError("Hadoop needs java on the PATH")
    version = hadoop_version()
    servers = f"org.apache.hadoop:hadoop-client-minicluster:{version}"
    try:
        return jars(f"hadoop-{version}", [servers, "org.bouncycastle:bcpkix-jdk18on:1.80"])
    except JarsMissingError as error:
        raise HadoopMissingError(f"the jars of Hadoop's servers: {error}") from error


def classpath(conf: Path) -> str:
    """Class path of the servers: their settings, pyspark's logger, the jars."""
    loggers = [*SPARK_JARS.glob("slf4j-api*.jar"), *SPARK_JARS.glob("log4j-*.jar")]
    return ":".join(str(path) for path in [conf, *sorted(loggers), *hadoop_jars()])


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def write_site(path: Path, properties: Mapping[str, object]) -> None:
    """Write a Hadoop settings file, such as core-site.xml."""
    lines = (
        f"<property><name>{escape(name)}</name><value>{escape(str(value))}</value></property>"
        for name, value in properties.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["<configuration>", *lines, "</configuration>\n"]))


@dataclass(kw_only=True)
class Daemon:
    """One Java server as a process, which can be killed and started again.

    Attributes:
        name: of its log, `folder/NAME.log`.
        ports: it is up when it listens on all of them.
        prefix: words before `java`, such as `ip netns exec NAME`.
        environment: variables beside those of this process.
    """

    name: str
    main: str
    folder: Path
    conf: Path
    ports: Sequence[int]
    host: str = "127.0.0.1"
    arguments: Sequence[str] = ()
    prefix: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait` until its ports are open."""
        command = [*self.prefix, "java", *JAVA_OPTIONS, "-cp", classpath(self.conf), self.main]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C of a test is not theirs
                preexec_fn=die_with_parent,
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until its ports are open."""
        deadline = time.monotonic() + START_S
        for port in self.ports:
            while not _listens(self.host, port):
                ended = self.process is None or self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    tail = self.log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.name} does not listen on {port}:\n{tail}")
                time.sleep(POLL_S)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it at once; nothing if it does not run."""
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait(timeout=30)
        self.process = None


class Hdfs:
    """A name node and a data node over a folder, in use as a context manager."""

    def __init__(self, folder: Path, site: Mapping[str, object] | None = None) -> None:
        self.folder = folder
        self.conf = folder / "conf"
        self.rpc_port, self.http_port, *data_ports = free_ports(5)
        self.conf.mkdir(parents=True)
        (self.conf / "log4j2.properties").write_text(_LOGGING)
        write_site(self.conf / "core-site.xml", {"fs.defaultFS": self.root})
        write_site(self.conf / "hdfs-site.xml", self._site(data_ports) | dict(site or {}))
        server = "org.apache.hadoop.hdfs.server"
        self.namenode = self.daemon(
            "namenode", f"{server}.namenode.NameNode", [self.rpc_port, self.http_port]
        )
        self.datanode = self.daemon("datanode", f"{server}.datanode.DataNode", data_ports)

    @property
    def root(self) -> str:
        """`hdfs://host:port`, what fs.defaultFS is."""
        return f"hdfs://127.0.0.1:{self.rpc_port}"

    def url(self, *parts: str) -> str:
        return "/".join([self.root, *parts])

    def daemon(self, name: str, main: str, ports: Sequence[int]) -> Daemon:
        """A further server of this Hadoop, not started yet."""
        return Daemon(name=name, main=main, folder=self.folder, conf=self.conf, ports=ports)

    def command(self, main: str, *arguments: str) -> str:
        """Run one of Hadoop's commands to its end; returns what it said."""
        done = subprocess.run(
            ["java", *JAVA_OPTIONS, "-cp", classpath(self.conf), main, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=START_S,
        )
        if done.returncode:
            raise RuntimeError(f"{main} {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def dfsadmin(self, *arguments: str) -> str:
        """Run `hdfs dfsadmin`."""
        return self.command("org.apache.hadoop.hdfs.tools.DFSAdmin", *arguments)

    def start(self) -> None:
        """Start both and wait until a file can be written."""
        self._format()
        self.namenode.start(wait=False)
        self.datanode.start(wait=False)
        self.namenode.wait()
        self.datanode.wait()
        self.wait_for_datanode()

    def stop(self) -> None:
        self.datanode.kill()
        self.namenode.kill()

    def wait_for_datanode(self) -> None:
        """Wait until the name node counts a live data node and is out of safe mode."""
        url = f"http://127.0.0.1:{self.http_port}/jmx?qry=Hadoop:service=NameNode,name="
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            live = urlopen(url + "FSNamesystemState", timeout=5).read().decode()
            mode = urlopen(url + "NameNodeInfo", timeout=5).read().decode()
            if re.search(r'"NumLiveDataNodes" : 1', live) and '"Safemode" : ""' in mode:
                return
            time.sleep(POLL_S)
        raise RuntimeError(f"no data node: {self.datanode.log.read_text()[-2000:]}")

    def _format(self) -> None:
        """An empty name space; formatting needs a Java of its own, so one is kept for all runs."""
        kept = cache_folder() / f"name-{hadoop_version()}"
        own = self.folder / "name"
        if not own.is_dir() and not kept.is_dir():
            self.command(self.namenode.main, "-format", "-nonInteractive")
            beside = kept.with_name(f"{kept.name}.{os.getpid()}")
            shutil.copytree(own, beside)
            with suppress(OSError):  # another run was faster
                beside.replace(kept)
            shutil.rmtree(beside, ignore_errors=True)
        elif not own.is_dir():
            shutil.copytree(kept, own)

    def _site(self, data_ports: Sequence[int]) -> dict[str, object]:
        data, http, ipc = data_ports
        return {
            "dfs.namenode.name.dir": self.folder / "name",
            "dfs.datanode.data.dir": self.folder / "data",
            "dfs.namenode.http-address": f"127.0.0.1:{self.http_port}",
            "dfs.datanode.address": f"127.0.0.1:{data}",
            "dfs.datanode.http.address": f"127.0.0.1:{http}",
            "dfs.datanode.ipc.address": f"127.0.0.1:{ipc}",
            "dfs.replication": 1,
            "dfs.blocksize": 2**20,  # so that a file of a few MB has several blocks
            "dfs.heartbeat.interval": 1,
            "dfs.namenode.heartbeat.recheck-interval": 500,  # ms; dead after 11 s
            "dfs.namenode.safemode.extension": 0,
            "dfs.namenode.edits.noeditlogchannelflush": "true",
            "dfs.namenode.redundancy.interval.seconds": "1s",
            # With one replica a file often ends before the name node knows of it: asked again then.
            "dfs.client.block.write.locateFollowingBlock.initial.delay.ms": 10,
            "dfs.permissions.superusergroup": "hadoop",
        }

    def __enter__(self) -> "Hdfs":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def die_with_parent() -> None:
    """In the child before it becomes Java: killed when the thread that started it is gone."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
