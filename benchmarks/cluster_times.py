"""The same training and prediction on every cluster and storage of this machine, and what it costs.

    .venv/bin/python benchmarks/cluster_times.py [--images 64] [--kinds local yarn-hdfs ...]

Phantom images, two ranks everywhere but in local sessions, where there is one executor. Each kind
gets a driver of its own; clusters and servers are real ones, started here and gone afterwards, and
not part of the time. Executors of clusters run what `hilum pack` wrote. Images, cache, checkpoints
and the run's folder are on this machine's disk, on HDFS (one data node) or on S3 (versitygw), all
of them here. Prints seconds, and ratios to the first kind: until the end of the first run (cold),
and of a second run (warm).
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import pyspark

from cluster_session import driver
from hadoop import Hdfs
from hilum import storage
from hilum.packing import pack
from hilum.phantom import PhantomConfig, write_dataset
from s3_server import s3_gateway
from standalone import standalone
from yarn import yarn

KINDS = ("local", "local-s3", "local-cluster", "standalone", "yarn-hdfs")
LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
YARN = {
    "spark.executor.cores": "1",
    "spark.executor.memoryOverhead": "2g",
    "spark.yarn.am.memory": "512m",
    "spark.yarn.jars": f"local:{Path(pyspark.__file__).parent / 'jars'}/*",
}


@contextmanager
def place(kind: str, folder: Path, packed: Path) -> Iterator[tuple[Any, str]]:
    """A driver on a cluster of this kind, and the root of the storage that goes with it."""
    with ExitStack() as stack:
        root, variables = f"file://{folder}", {}
        if kind == "local-s3":
            s3 = stack.enter_context(s3_gateway(folder / "s3"))
            root, variables = s3.root, dict(s3.variables)
        elif kind == "yarn-hdfs":
            hdfs = stack.enter_context(Hdfs(folder / "hadoop"))
            stack.enter_context(yarn(hdfs))
            root, variables = hdfs.root, {"HADOOP_CONF_DIR": str(hdfs.conf)}
        stack.enter_context(environment(variables))  # for the upload, too
        if kind == "standalone":
            cluster = stack.enter_context(standalone(folder))
            for _ in range(2):
                cluster.add_worker()
            made = driver(folder, cluster.address, packed, LOOPBACK)
        elif kind == "yarn-hdfs":
            made = driver(folder, "yarn", packed, LOOPBACK | YARN)
        else:
            master = "local-cluster[2,1,1024]" if kind == "local-cluster" else "local[2]"
            made = driver(folder, master, None, {})
        yield stack.enter_context(made), root


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """These variables, for this process and what it starts."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def measure(kind: str, images: Path, packed: Path) -> dict[str, Any]:
    """Seconds until the session answers, of the first run and of a second: train and predict."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        hosts, root = stack.enter_context(place(kind, Path(name), packed))
        for file in images.iterdir():
            storage.write_bytes(storage.join(root, "images", file.name), file.read_bytes())
        there = storage.join(root, "images")
        started = time.monotonic()
        hosts.ask(do="ready")
        ready = time.monotonic()
        answer = hosts.ask(do="fit", images=there, out=storage.join(root, "run"))
        first = time.monotonic()
        hosts.ask(do="fit", images=there, out=storage.join(root, "again"))
        again = time.monotonic()
    return {
        "kind": kind,
        "ranks": answer["ranks"],
        "session_s": round(ready - started, 1),
        "first_run_s": round(first - ready, 1),
        "second_run_s": round(again - first, 1),
    }


def main() -> None:
    """Measure each kind once, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "data", options.images, PhantomConfig(size_px=64, seed=1))
        packed = folder / "env.tar.gz"
        pack(packed, hilum_only=True)
        first = None
        for kind in options.kinds:
            row = measure(kind, folder / "data" / "images", packed)
            first = first or row
            cold = cold_s(row) / cold_s(first)
            warm = row["second_run_s"] / first["second_run_s"]
            ratios = {"cold_ratio": round(cold, 2), "warm_ratio": round(warm, 2)}
            print(json.dumps(row | ratios), flush=True)


def cold_s(row: dict[str, Any]) -> float:
    """Seconds from nothing to the end of the first run."""
    return float(row["session_s"] + row["first_run_s"])


if __name__ == "__main__":
    main()
