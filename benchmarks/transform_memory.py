"""What `NNModel.transform` holds in memory on one partition of any size, and what a start costs.

    .venv/bin/python benchmarks/transform_memory.py [--megabytes 1024] [--model efficientnet_lite0]

Files of phantom radiographs are linked under many names until they make up the megabytes, and are
predicted as one partition by one worker. Peak resident memory is read from Linux for the Python
worker and for Java, after a third of the files, which is more than two Arrow batches of 256, and
after all of them: it must not grow with the partition. Then, on a cached DataFrame: the first
prediction of a session (worker forked, network loaded) and later ones, with Hilum's daemon of
workers and with Spark's own, and the overhead per forward pass against bare inference in this
process. Prints JSON.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum.findings import FINDINGS
from hilum.inference import ModelBundle, Predictor
from hilum.models import architecture, build_classifier
from hilum.phantom import PhantomConfig, write_dataset
from hilum.preprocessing import radiograph_chain
from hilum.spark import NNModel, local_session, read_radiographs

WORKER = "pyspark.worker"  # in the command line of Spark's Python workers and their daemon
ONE_PARTITION = {
    "spark.sql.files.maxPartitionBytes": "1t",
    "spark.sql.files.openCostInBytes": "0",
}
DAEMON = "spark.python.daemon.module"
BATCH = 16


def bundle_of(name: str, size_px: int) -> ModelBundle:
    """A network with random weights."""
    net = architecture(name)
    network, _ = build_classifier(net, len(FINDINGS), weights="random")
    chain = radiograph_chain(size_px, net.mean, net.std)
    return ModelBundle(
        architecture=net.name,
        findings=FINDINGS,
        preprocessing=chain,
        weights=network.state_dict(),
    )


def linked(folder: Path, sources: list[Path], megabytes: float) -> int:
    """Fill a folder with links to files until they make up so many megabytes; how many."""
    folder.mkdir()
    filled, number = 0.0, 0
    while filled < megabytes * 1e6:
        source = sources[number % len(sources)]
        os.link(source, folder / f"{number:06d}.png")
        filled += source.stat().st_size
        number += 1
    return number


def peak_mb(process: Path) -> float:
    """Most memory that a process held at any time (VmHWM of proc(5))."""
    line = next(x for x in (process / "status").read_text().splitlines() if x.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def workers() -> list[Path]:
    """The Python workers of this process's session, among them their daemon, in /proc."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[status.parent.name] = status.read_text().rpartition(")")[2].split()[1]
        except OSError:  # it has ended
            continue
    return [
        Path("/proc", number)
        for number in parents
        if _is_below(number, parents) and WORKER in Path("/proc", number, "cmdline").read_text()
    ]


def _is_below(number: str, parents: dict[str, str]) -> bool:
    while number in parents:
        number = parents[number]
        if number == str(os.getpid()):
            return True
    return False


def peaks(spark: SparkSession) -> dict[str, float]:
    """Peak megabytes of Java and of the largest Python worker of this session."""
    java = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()  # type: ignore[union-attr]
    largest = max(peak_mb(worker) for worker in workers())
    return {"java_mb": peak_mb(Path(f"/proc/{java}")), "worker_mb": largest}


def own_mb() -> list[float]:
    """Megabytes of two Python workers that no other process shares; their daemon has fewer."""
    found = []
    for worker in workers():
        lines = (worker / "smaps_rollup").read_text().splitlines()
        own = [int(line.split()[1]) for line in lines if line.startswith("Private_")]
        found.append(round(sum(own) / 1024, 1))
    return sorted(found)[-2:]


def scored(model: NNModel, data: DataFrame) -> int:
    """Predict everything and keep nothing; the number of rows with a prediction."""
    row = model.transform(data).select(F.count("prediction"), F.sum(F.col("prediction")[0])).first()
    assert row is not None
    return int(row[0])


def memory(options: argparse.Namespace, sources: list[Path], folder: Path) -> dict[str, Any]:
    """Throughput and peaks on a third of the files, then on all; each as one partition."""
    spark = local_session("local[1]", memory="1g", config=ONE_PARTITION)
    model = NNModel(bundle_of(options.model, options.size)).setPredictBatchSize(BATCH)
    result: dict[str, Any] = {}
    for name, megabytes in (("part", options.megabytes / 3), ("all", options.megabytes)):
        images = linked(folder / name, sources, megabytes)
        data = read_radiographs(spark, str(folder / name))
        started = time.perf_counter()
        assert scored(model, data) == images
        seconds = time.perf_counter() - started
        result[name] = {"megabytes": megabytes, "images": images, **peaks(spark)} | {
            "images_per_s": round(images / seconds, 1),
            "mb_per_s": round(megabytes / seconds, 1),
        }
    spark.stop()
    growth = result["all"]["worker_mb"] / result["part"]["worker_mb"]
    return result | {"worker_growth": round(growth, 3)}


def starts(options: argparse.Namespace, sources: list[Path], daemon: str) -> dict[str, Any]:
    """The first prediction of a session's workers and a later one, in seconds."""
    spark = local_session("local[2]", memory="1g", config={DAEMON: daemon})
    data = read_radiographs(spark, str(sources[0].parent)).repartition(2).cache()
    data.count()  # decoded lazily, so that workers have read files but know no network
    model = NNModel(bundle_of(options.model, options.size)).setPredictBatchSize(BATCH)
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        scored(model, data)
        seconds.append(round(time.perf_counter() - started, 2))
    own = own_mb()
    spark.stop()
    later = float(np.median(seconds[1:]))
    return {"first_s": seconds[0], "later_s": later, "rows": len(sources), "own_mb": own}


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds per forward pass that Spark adds to bare inference: one core, small images."""
    spark = local_session("local[1]", memory="1g")
    bundle = bundle_of("timm:test_resnet", 32)
    pixels = np.zeros((36, 36), np.uint8)
    number = BATCH * 64
    image = {"origin": "", "height": 36, "width": 36, "nChannels": 1, "mode": 0}
    rows = [({**image, "data": pixels.tobytes()},) for _ in range(number)]
    schema = "image struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
    data = spark.createDataFrame(rows, schema).coalesce(1).cache()
    data.count()
    model = NNModel(bundle).setPredictBatchSize(BATCH)
    predictor = Predictor.load(bundle)

    def bare_s() -> float:
        started = time.perf_counter()
        assert len(list(predictor.predict([pixels] * number))) == number
        return time.perf_counter() - started

    def spark_s() -> float:
        started = time.perf_counter()
        assert scored(model, data) == number
        return time.perf_counter() - started

    bare_s(), spark_s()
    pairs = [(bare_s(), spark_s()) for _ in range(5)]
    spark.stop()
    extra = float(np.median([ours - bare for bare, ours in pairs]))
    return {"passes": number // BATCH, "ms_per_pass": round(1000 * extra * BATCH / number, 2)} | {
        "bare_s": round(float(np.median([bare for bare, _ in pairs])), 2),
        "spark_s": round(float(np.median([ours for _, ours in pairs])), 2),
    }


def main() -> None:
    """Measure memory, starts and overhead, one after another."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=1024)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=64, help="pixels of the network's input")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "data", 32, PhantomConfig(size_px=1024, seed=1))
        sources = sorted((folder / "data" / "images").iterdir())
        print(json.dumps({"memory": memory(options, sources, folder)}), flush=True)
        for daemon in ("pyspark.daemon", "hilum.worker_daemon"):
            print(json.dumps({daemon: starts(options, sources, daemon)}), flush=True)
        print(json.dumps({"overhead": overhead(options)}), flush=True)


if __name__ == "__main__":
    main()
