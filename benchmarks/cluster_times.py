"""The same training and prediction on every kind of cluster of this machine, and what it costs.

    .venv/bin/python benchmarks/cluster_times.py [--images 64] [--masters "local[2]" yarn ...]

Phantom images, two ranks everywhere but on local[2], where there is one executor. Each master gets
a process of its own; standalone and YARN are real ones, started here and gone afterwards, and not
part of the time. Their executors run what `hilum pack` wrote. Prints seconds, and ratios to the
first master: until the end of the first run (cold), and of a second run (warm).
"""

import argparse
import json
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
from hilum.packing import pack
from hilum.phantom import PhantomConfig, write_dataset
from standalone import standalone
from yarn import yarn

MASTERS = ("local[2]", "local-cluster[2,1,1024]", "standalone", "yarn")
LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


@contextmanager
def session(kind: str, folder: Path, packed: Path) -> Iterator[Any]:
    """A driver on a master of this kind."""
    with ExitStack() as stack:
        if kind == "standalone":
            cluster = stack.enter_context(standalone(folder, 2))
            made = driver(folder, cluster.address, packed, LOOPBACK)
        elif kind == "yarn":
            hdfs = stack.enter_context(Hdfs(folder / "hadoop"))
            stack.enter_context(yarn(hdfs))
            jars = f"local:{Path(pyspark.__file__).parent / 'jars'}/*"
            more = {
                "spark.executor.cores": "1",
                "spark.executor.memoryOverhead": "2g",
                "spark.yarn.am.memory": "512m",
                "spark.yarn.jars": jars,
            }
            made = driver(folder, "yarn", packed, LOOPBACK | more, HADOOP_CONF_DIR=str(hdfs.conf))
        else:
            made = driver(folder, kind, None, {})
        yield stack.enter_context(made)


def measure(kind: str, images: Path, packed: Path) -> dict[str, Any]:
    """Seconds until the session answers, of the first stage, and of training and predicting."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ExitStack() as stack:
            hosts = stack.enter_context(session(kind, folder, packed))
            started = time.monotonic()
            hosts.ask(do="ready")
            ready = time.monotonic()
            answer = hosts.ask(do="fit", images=f"file://{images}", out=str(folder / "run"))
            first = time.monotonic()
            hosts.ask(do="fit", images=f"file://{images}", out=str(folder / "again"))
            again = time.monotonic()
        return {
            "master": kind,
            "ranks": answer["ranks"],
            "session_s": round(ready - started, 1),
            "first_run_s": round(first - ready, 1),
            "second_run_s": round(again - first, 1),
        }


def main() -> None:
    """Measure each master once, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--masters", nargs="+", default=MASTERS, choices=MASTERS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "data", options.images, PhantomConfig(size_px=64, seed=1))
        packed = folder / "env.tar.gz"
        pack(packed, hilum_only=True)
        rows = [measure(kind, folder / "data" / "images", packed) for kind in options.masters]
    for row in rows:
        total = row["session_s"] + row["first_run_s"]
        base = rows[0]["session_s"] + rows[0]["first_run_s"]
        ratio = round(row["second_run_s"] / rows[0]["second_run_s"], 2)
        print(json.dumps(row | {"cold_ratio": round(total / base, 2), "warm_ratio": ratio}))


if __name__ == "__main__":
    main()
