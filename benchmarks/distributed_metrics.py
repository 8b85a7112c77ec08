"""AUCs of ten million predictions: counted by Spark where they are, against collecting them.

    .venv/bin/python benchmarks/distributed_metrics.py [--rows 10000000] [--findings 3]

Scores are random doubles, nearly all different: the hardest case for counting. Each way runs in a
process of its own on local[2] and reads the same Parquet table. Counting has 1 GB of Java heap;
collecting ends with OutOfMemoryError in that, and has 6 GB. Memory is what the driver's Python grew
by, and the largest Python worker. Both must give the same AUCs to 1e-12.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from pyspark.sql import functions as F

from hilum.evaluation import roc_auc_score
from hilum.spark import auroc_counts, local_session
from hilum.spark.evaluator import label_matrix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--findings", type=int, default=3)
    parser.add_argument("--way", choices=("write", "counted", "collected"))
    parser.add_argument("--table", default="")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(one_way(options.way, options.table, options.rows, options.findings)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        found = {}
        for way in ("write", "counted", "collected"):
            settings = ("--rows", str(options.rows), "--findings", str(options.findings))
            command = [sys.executable, __file__, "--way", way, "--table", f"{scratch}/table"]
            done = subprocess.run([*command, *settings], stdout=subprocess.PIPE, check=True)
            found[way] = json.loads(done.stdout.splitlines()[-1])
    counted, collected = found["counted"], found["collected"]
    np.testing.assert_allclose(counted.pop("aurocs"), collected.pop("aurocs"), rtol=0, atol=1e-12)
    rows = {"rows": options.rows, "findings": options.findings}
    print(json.dumps(rows | {"counted": counted, "collected": collected}))


def one_way(way: str, table: str, rows: int, findings: int) -> dict[str, object]:
    spark = local_session("local[2]", memory="1g" if way != "collected" else "6g")
    try:
        if way == "write":
            write(spark, table, rows, findings)
            return {}
        data = spark.read.parquet(table)
        names = [f"F{k}" for k in range(findings)]
        data.limit(1).mapInArrow(lambda batches: batches, data.schema).count()  # workers are up
        memory = PythonMemory()
        memory.start()
        before = rss_mb(os.getpid())
        started = time.perf_counter()
        if way == "counted":
            aurocs = [row.auroc for row in auroc_counts(data, names).values()]
        else:
            rows_here = data.toArrow()
            labels, scores = (label_matrix(rows_here[name]) for name in data.columns)
            aurocs = roc_auc_score(labels, scores).tolist()
        seconds = time.perf_counter() - started
        memory.over.set()
        memory.join()
    finally:
        spark.stop()
    return {
        "aurocs": aurocs,
        "seconds": round(seconds, 1),
        "driver_mb_grown": max(memory.peaks.get(os.getpid(), 0) - before, 0),
        "largest_worker_mb": max(
            [mb for process, mb in memory.peaks.items() if process != os.getpid()], default=0
        ),
    }


class PythonMemory(threading.Thread):
    """Notes the largest resident memory of this process and of the Python workers below it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.peaks: dict[int, int] = {}

    def run(self) -> None:
        """Look ten times a second until it is over."""
        while not self.over.wait(0.1):
            for process in family(os.getpid()):
                self.peaks[process] = max(self.peaks.get(process, 0), rss_mb(process))


def family(root: int) -> list[int]:
    """This process and all Python processes below it."""
    parents: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            parents[int(folder.name)] = (int(rest.split()[1]), name)
    found = [root]
    for process in found:
        found += [child for child, (parent, _) in parents.items() if parent == process]
    return [p for p in found if p == root or "python" in parents.get(p, (0, ""))[1]]


def rss_mb(process: int) -> int:
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
    return 0


def write(spark, table: str, rows: int, findings: int) -> None:
    score = [F.rand(seed=k) for k in range(findings)]
    label = [
        F.when(F.rand(seed=100 + k) < 0.05, F.lit(None)).otherwise(
            (F.rand(seed=200 + k) < 0.1 + 0.2 * score[k]).cast("float")
        )
        for k in range(findings)
    ]
    columns = (F.array(*label).alias("labels"), F.array(*score).alias("prediction"))
    spark.range(rows, numPartitions=8).select(*columns).write.parquet(table)
    assert Path(table).is_dir()


if __name__ == "__main__":
    main()
