"""A real Spark Connect server from the pip package, in a process of its own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hilum
import standalone
from quick_java import QUICK_JAVA

_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """Start a server of two cores and yield its address; nothing of it is left at the end.

    It works in `folder`, which gets its log and temporary files.
    """
    port = standalone.free_port()
    options = {
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": QUICK_JAVA,
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.pyspark.python": sys.executable,
        "spark.python.daemon.module": "hilum.worker_daemon",
    }
    words = ["org.apache.spark.deploy.SparkSubmit", "--master", "local[2]", "--class", _SERVER]
    for name, value in options.items():
        words += ["--conf", f"{name}={value}"]
    # Python workers of a server do not get spark.executorEnv.
    path = Path(hilum.__file__).parents[1]
    place = ("env", "-C", str(folder), f"PYTHONPATH={path}")
    process = standalone.start([*words, "spark-internal"], folder / "connect", place)
    try:
        standalone.wait_for_port("127.0.0.1", port, process)
        yield f"sc://127.0.0.1:{port}"
    finally:
        standalone.end_group(process)
