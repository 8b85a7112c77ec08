"""A Spark session on one machine or a cluster, with defaults for images and a terminal.

Spark's own defaults suit a cluster of another decade: 10,000 images in one Arrow batch, 200 shuffle
partitions, a web page that shows patient file names to the network, a warehouse folder in the
current directory, log lines across the progress display, and on a host without a network name a
driver that cannot find itself. `local_session` sets these, what executors of a cluster need to
train (`cluster_defaults`), and server and region of S3; what is set outside the program wins over
the latter two, but for dynamic allocation. Every other part of Hilum takes any session.
"""

import atexit
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

from hilum.errors import InvalidValueError, MissingDependencyError, require
from hilum.spark.cluster_settings import (
    check_cluster,
    cluster_defaults,
    connector_settings,
    environment_settings,
    given_settings,
    start_error,
)

__all__ = ["check_java", "local_session"]

logger = logging.getLogger(__name__)

_JAVA_NEEDED = 17  # Spark 4: spark.apache.org/docs/4.0.0, "Spark runs on Java 17/21"
_LOOPBACK = "127.0.0.1"
_LOCAL = re.compile(r"local(\[(\d+|\*)(,\d+)?\])?")
_LOCAL_CLUSTER = re.compile(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]")
_REMOTE = re.compile(r"(spark|k8s)://.+|yarn")
_JAVA_OPTIONS = "spark.driver.extraJavaOptions"


def local_session(
    master: str = "local[*]",
    *,
    app_name: str = "hilum",
    memory: str = "4g",
    config: Mapping[str, str] | None = None,
    environment: str | None = None,
) -> SparkSession:
    """Start Spark on this machine, or return the session that already runs here.

    Args:
        master: "local[4]" (threads of one process), "local-cluster[2,1,2048]" (separate executors:
            how many, cores of each, MiB of each), or the address of a cluster ("spark://host:7077",
            "yarn", "k8s://..."), for which nothing about hosts is set, and about executors what
            `cluster_defaults` says, unless spark-defaults.conf or spark-submit set it.
        app_name: shown in Spark's own lists.
        memory: upper limit of the driver's Java heap; with "local[...]" that is all the Java there
            is. Python workers, where images are decoded and models run, are not counted.
        config: Spark settings, which win over the defaults here. Java options are appended.
        environment: what `hilum pack` wrote, for executors of a cluster that have no Hilum: with a
            .tar.gz they run the interpreter and the packages in it, with a .zip Hilum's code only.

    Executors run this interpreter unless PYSPARK_PYTHON says otherwise. Stop with `.stop()`; a
    later session in the same process keeps the first one's Java heap and log settings.

    Raises:
        MissingDependencyError: no Java, or one older than 17.
        InvalidValueError: `master` is not one Spark knows, YARN's settings are not there or
            it has no room for an executor, `environment` is no packed one, or a session with
            another master or another value of a key in `config` is running.
    """
    known = any(form.fullmatch(master) for form in (_LOCAL, _LOCAL_CLUSTER, _REMOTE))
    require(known, "master", "local[N], local-cluster[N,CORES,MIB] or a cluster's address", master)
    shipped, variables = environment_settings(environment, master) if environment else ({}, {})
    wanted = shipped | dict(config or {})
    running = SparkSession.getActiveSession()
    if running is not None:
        return _same(running, {"spark.master": master} | wanted)
    check_java()
    check_cluster(master)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    scratch = Path(tempfile.mkdtemp(prefix="hilum-spark-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    given = given_settings()
    connector = {name: text for name, text in connector_settings().items() if name not in given}
    settings = _defaults(memory) | connector | _placement(master, wanted, given)
    settings |= _warehouse(scratch) | wanted
    settings[_JAVA_OPTIONS] = f"{_quiet()} {wanted.get(_JAVA_OPTIONS, '')}".strip()
    builder = SparkSession.builder.master(master).appName(app_name)
    for key, value in settings.items():
        builder = builder.config(key, value)
    with _environment(_launch_environment(master, scratch) | variables):
        try:
            session = builder.getOrCreate()
        except Exception as error:
            raise start_error(error) from None
    atexit.register(_stop_at_exit, session)  # exit hooks run last one first
    logger.info("session started master=%s spark=%s", master, session.version)
    return session


def check_java() -> None:
    """Make sure that the Java which Spark would start is there and new enough.

    Raises:
        MissingDependencyError: it is not; the message says what to install.
    """
    home = os.environ.get("JAVA_HOME")  # looked at first, as Spark's bin/spark-class does
    program = str(Path(home) / "bin" / "java") if home else "java"
    way_out = (
        "Hint: install one (Debian, Ubuntu: apt-get install openjdk-17-jre-headless; `make setup` "
        "in Hilum's source does it), or set JAVA_HOME to one."
    )
    try:
        answer = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        found = f"JAVA_HOME is {home}, without bin/java" if home else "there is no java on the PATH"
        raise MissingDependencyError(
            f"Spark needs Java {_JAVA_NEEDED} or newer; {found}. {way_out}"
        ) from error
    said = answer.stderr + answer.stdout
    version = _java_version(said)
    if version is None or version < _JAVA_NEEDED:
        first_line = said.strip().partition("\n")[0]
        raise MissingDependencyError(
            f"Spark needs Java {_JAVA_NEEDED} or newer; {program} says: {first_line!r}. {way_out}"
        )


def _java_version(said: str) -> int | None:
    match = re.search(r'version "(\d+)(?:\.(\d+))?', said)
    if match is None:
        return None
    major, minor = match.groups()
    return int(minor) if major == "1" and minor else int(major)  # "1.8.0_392" is Java 8


def _stop_at_exit(session: SparkSession) -> None:
    """Stop the session if the user has not.

    Otherwise the executors of a local cluster see their driver vanish and are started anew,
    with an error message each, until Java has gone too.
    """
    with suppress(Exception):  # Java may be dead already, and nobody is left to be told
        session.stop()


def _same(running: SparkSession, wanted: Mapping[str, str]) -> SparkSession:
    for key, value in wanted.items():
        found = running.conf.get(key, None)
        # Spark puts options of its own before the user's.
        same = value in (found or "") if key == _JAVA_OPTIONS else found == str(value)
        if not same:
            raise InvalidValueError(
                f"{key} must be that of the running session, {found!r}. Got {value!r}. "
                "Hint: stop that session first (spark.stop()), or use it as it is."
            )
    return running


def _defaults(memory: str) -> dict[str, str]:
    return {
        "spark.driver.memory": memory,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # A batch holds whole files or pixels. 256 rows of 1024 x 1024 grey PNG are about 100 MB.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "256",
        "spark.sql.execution.arrow.maxBytesPerBatch": "64m",
        # Spark counts 4 MB for opening a file and then puts only 29 radiographs into a task. With
        # 1 MB a cache was built 1.2 times as fast (benchmarks/results.md).
        "spark.sql.files.openCostInBytes": "1m",
        # A crash in native code (a decoder, libtorch) then names the Python line it came from.
        "spark.python.worker.faulthandler.enabled": "true",
    }


def _placement(master: str, wanted: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Hosts, memory and parallelism: ours to say only where the executors are on this machine."""
    if _REMOTE.fullmatch(master):
        always = "spark.dynamicAllocation.enabled"  # what the cluster's owner set is for other jobs
        defaults = cluster_defaults(master, {**given, **wanted})
        return {
            name: text for name, text in defaults.items() if name == always or name not in given
        }
    settings = {"spark.driver.host": _LOOPBACK, "spark.driver.bindAddress": _LOOPBACK}
    cluster = _LOCAL_CLUSTER.fullmatch(master)
    if cluster is not None:
        executors, cores, mebibytes = cluster.groups()
        # An executor that asks for more than its worker has is never started, and nothing says so.
        settings["spark.executor.memory"] = f"{mebibytes}m"
        settings["spark.executor.cores"] = cores
        slots = int(executors) * int(cores)
    else:
        slots = _local_slots(master)
    # On a cluster, --py-files reach workers, not their daemon, so that Hilum may not be there.
    return settings | {
        "spark.sql.shuffle.partitions": str(slots),
        "spark.python.daemon.module": "hilum.worker_daemon",
    }


def _local_slots(master: str) -> int:
    match = _LOCAL.fullmatch(master)
    number = match.group(2) if match is not None else None
    if number == "*":
        return os.cpu_count() or 1
    return int(number) if number else 1


def _warehouse(scratch: Path) -> dict[str, str]:
    return {"spark.sql.warehouse.dir": (scratch / "warehouse").as_uri()}


def _quiet() -> str:
    # as_uri() escapes spaces, at which Spark would split the options.
    return f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}"


def _launch_environment(master: str, scratch: Path) -> dict[str, str]:
    if _REMOTE.fullmatch(master):
        return {}
    variables = {"SPARK_LOCAL_IP": _LOOPBACK}
    if _LOCAL_CLUSTER.fullmatch(master):
        variables["SPARK_HOME"] = str(_spark_home_with_own_work_folder(scratch))
    return variables


def _spark_home_with_own_work_folder(scratch: Path) -> Path:
    """Links to the Spark installation, in a folder of our own.

    The workers of a local cluster write `work/` beside the installation and have no setting to
    change that. With pip that is inside site-packages: litter, or a failure where it is read-only.
    """
    home = Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)
    ours = scratch / "spark"
    ours.mkdir()
    for entry in home.iterdir():
        if entry.name != "work":
            (ours / entry.name).symlink_to(entry)
    return ours


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
