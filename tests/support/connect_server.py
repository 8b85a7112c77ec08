"""A real Spark Connect server from the pip package, in a process of its own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import standalone
from quick_java import QUICK_JAVA

_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"


@contextmanager
def connect_server(folder: Path, settings: dict[str, str] | None = None) -> Iterator[str]:
    """Start a server of two cores and yield its address; nothing of it is left at the end.

    Args:
        folder: gets the server's log, warehouse and temporary files.
        settings: of Spark, besides.
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
        **(settings or {}),
    }
    words = ["org.apache.spark.deploy.SparkSubmit", "--master", "local[2]", "--class", _SERVER]
    for name, value in options.items():
        words += ["--conf", f"{name}={value}"]
    process = standalone.start([*words, "spark-internal"], folder / "connect")
    try:
        standalone.wait_for_port("127.0.0.1", port, process)
        yield f"sc://127.0.0.1:{port}"
    finally:
        standalone.end_group(process)
