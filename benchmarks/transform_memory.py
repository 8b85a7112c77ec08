"""One partition of 1 GB of radiographs: speed against a bare loop, and memory, in one run.

    .venv/bin/python benchmarks/transform_memory.py [--images 1024] [--model efficientnet_lite0]

Images of 1024 px are made in the partition, so no file is kept. `local[1]`: one task slot, one
thread on either side. The bare loop is `Predictor.predict` over the same images in this process.
Memory is sampled ten times a second: PSS of every Python process that Spark started (shared pages
are divided among their users), RSS of Java. Peaks of the first and the last third of the partition
are set side by side: equal means that it does not grow.
"""

import argparse
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from hilum.findings import FINDINGS
from hilum.inference import ModelBundle, Predictor
from hilum.models import architecture, build_classifier
from hilum.preprocessing import radiograph_chain
from hilum.spark import NNModel, local_session

SIZE = 1024
SCHEMA = "image struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
BARE_IMAGES = 192
EVERY_S = 0.1


def pixels(number: int) -> np.ndarray:
    """A picture (1024, 1024) uint8 that differs from the others; cheap to make."""
    row = np.arange(SIZE, dtype=np.uint32)
    return ((row[:, None] * (number % 7 + 1) + row * 3 + number) % 256).astype(np.uint8)


def made(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Numbers in, image structs out, 16 at a time."""
    for batch in batches:
        numbers = batch.column(0).to_pylist()
        for at in range(0, len(numbers), 16):
            images = [
                {"origin": "", "height": SIZE, "width": SIZE, "nChannels": 1, "mode": 0,
                 "data": pixels(number).tobytes()}
                for number in numbers[at : at + 16]
            ]  # fmt: skip
            kind = pa.struct(
                [("origin", pa.string())]
                + [(name, pa.int32()) for name in ("height", "width", "nChannels", "mode")]
                + [("data", pa.binary())]
            )
            yield pa.RecordBatch.from_arrays([pa.array(images, kind)], ["image"])


def partition(spark: SparkSession, images: int) -> DataFrame:
    """So many images in one partition."""
    return spark.range(0, images, 1, 1).mapInArrow(made, SCHEMA)


class Memory:
    """Samples (seconds, MiB) of the processes below this one, by process id."""

    def __init__(self) -> None:
        self.python: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self.java: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(EVERY_S):
            for process, name in descendants():
                with suppress(OSError, StopIteration):  # it has ended meanwhile
                    if name == "java":
                        value = kibibytes(f"/proc/{process}/status", "VmRSS:") / 1024
                        self.java.append((time.perf_counter(), value))
                    elif name.startswith("python"):
                        value = kibibytes(f"/proc/{process}/smaps_rollup", "Pss:") / 1024
                        self.python[process].append((time.perf_counter(), value))

    def largest(self) -> list[tuple[float, float]]:
        """Samples of the Python process that grew largest: the one with the network."""
        return max(self.python.values(), key=lambda samples: max(v for _, v in samples))


def thirds(samples: list[tuple[float, float]], start: float, end: float) -> dict[str, int]:
    """Peaks (MiB) of the first and the last third of a span of time, and of all."""
    third = (end - start) / 3
    first = [value for at, value in samples if at < start + third]
    last = [value for at, value in samples if at > end - third]
    whole = [value for _, value in samples]
    return {"first": round(max(first)), "last": round(max(last)), "all": round(max(whole))}


def kibibytes(file: str, field: str) -> int:
    """A figure of a file in /proc."""
    lines = Path(file).read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def descendants() -> Iterator[tuple[int, str]]:
    """Process id and name of what this process started, directly or not."""
    waiting = ["self"]
    while waiting:
        for tasks in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with suppress(OSError):
                for child in tasks.read_text().split():
                    waiting.append(child)
                    yield int(child), Path(f"/proc/{child}/comm").read_text().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--records", type=int, default=256, help="maxRecordsPerBatch of Arrow.")
    options = parser.parse_args()
    net = architecture(options.model)
    network, _ = build_classifier(net, len(FINDINGS), weights="random")
    bundle = ModelBundle(
        architecture=net.name,
        findings=FINDINGS,
        preprocessing=radiograph_chain(224, net.mean, net.std),
        weights=network.state_dict(),
    )
    records = {"spark.sql.execution.arrow.maxRecordsPerBatch": str(options.records)}
    spark = local_session("local[1]", memory="1g", config=records)
    model = NNModel(bundle)

    def seconds(images: int) -> float:
        started = time.perf_counter()
        scored = model.transform(partition(spark, images))
        count, good = scored.select(
            F.count("*"), F.count(F.element_at("prediction", 1))
        ).first() or (0, 0)
        assert count == good == images
        return time.perf_counter() - started

    spark.range(1).mapInArrow(lambda batches: batches, "id long").count()  # Java and Python are up
    cold, warm = seconds(1), min(seconds(1) for _ in range(3))
    with Memory() as memory:
        start = time.perf_counter()
        took = seconds(options.images)
        end = time.perf_counter()
    spark.stop()
    torch.set_num_threads(1)
    predictor = Predictor.load(bundle)
    list(predictor.predict(map(pixels, range(32))))
    started = time.perf_counter()
    list(predictor.predict(map(pixels, range(BARE_IMAGES))))
    bare = BARE_IMAGES / (time.perf_counter() - started)
    rate = options.images / took
    report = {
        "model": options.model,
        "images": options.images,
        "records_per_batch": options.records,
        "cold_first_image_s": round(cold, 2),
        "warm_job_of_one_image_s": round(warm, 2),
        "bare_images_per_s": round(bare, 1),
        "transform_images_per_s": round(rate, 1),
        "ratio": round(rate / bare, 3),
        "extra_ms_per_pass_of_32": round(32_000 * (1 / rate - 1 / bare)),
        "worker_pss_mib": thirds(memory.largest(), start, end),
        "java_rss_mib": thirds(memory.java, start, end),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
