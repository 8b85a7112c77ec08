"""Start-up, checkpoints and restarts, timed on a local cluster of two executors.

    .venv/bin/python benchmarks/restart_times.py [--model resnet50] [--size 224] [--repeats 3]

- start-up: from `fit()` to the first optimizer step that is done, with executors that are up:
  once with a cache to build and torch to import, once with both there.
- checkpoint: what training waits for (the copy of its tensors), the write beside it, the size.
- restart: from SIGKILL of a rank's Python worker, and of an executor's JVM, to the first step done
  by the next attempt; and how much of it passes until that attempt begins.

A step is done when rank 0 writes RUN/progress.json, which every attempt does after its first one.
"""

import argparse
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyspark.sql import DataFrame, SparkSession

from hilum import storage
from hilum.errors import TrainingError
from hilum.models import build_classifier
from hilum.optim import OptimizerSpec
from hilum.spark import BarrierLauncher, NNEstimator, local_session
from hilum.training import read_attempts, train_worker
from hilum.training.checkpoint import (
    Checkpoint,
    checkpointed_step,
    optimizer_state,
    write_checkpoint,
)
from hilum.training.heartbeat import read_heartbeats
from hilum.training.history import History
from hilum.training.retrying import launch_with_retries

RANKS, OUTPUTS, LIMIT_S = 2, 14, 600.0
IMAGE = "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    record: dict[str, Any] = {"model": options.model, "size": options.size, "ranks": RANKS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record["checkpoint"] = checkpoint_costs(options.model, folder / "checkpoint")
        spark = local_session(f"local-cluster[{RANKS},1,2048]")
        try:
            data = radiographs(spark, options.images, options.size)
            spark.range(RANKS, numPartitions=RANKS).count()  # executors are up
            first = fit_to_first_step(data, options, folder, "first")
            again = [
                fit_to_first_step(data, options, folder, f"again-{i}")
                for i in range(options.repeats)
            ]
            record["fit_to_first_step_s"] = {"cache_built": first, "cache_found": again}
            for what in ("rank", "executor"):
                runs = [folder / f"{what}-{i}" for i in range(options.repeats)]
                record[f"kill_{what}"] = [kill_to_next_step(spark, folder, r, what) for r in runs]
        finally:
            spark.stop()
    print(json.dumps(record))


def radiographs(spark: SparkSession, number: int, size: int) -> DataFrame:
    """Noise in the form of radiographs, with labels."""
    generator = np.random.default_rng(0)
    rows = [
        (
            {
                "origin": f"image-{i}",
                "height": size,
                "width": size,
                "nChannels": 1,
                "mode": 0,
                "data": generator.integers(0, 255, size * size, dtype=np.uint8).tobytes(),
            },
            generator.integers(0, 2, OUTPUTS).astype(float).tolist(),
        )
        for i in range(number)
    ]
    return spark.createDataFrame(rows, f"image {IMAGE}, labels array<float>")


def fit_to_first_step(data: DataFrame, options: Any, folder: Path, name: str) -> float:
    """Seconds from fit() to the first step; the fit is then left to end."""
    run = folder / name
    estimator = NNEstimator(
        model=options.model,
        weights="random",
        imageSize=options.size,
        maxEpochs=1,
        batchSize=options.batch,
        runDir=str(run),
        cacheDir=str(folder / "cache"),
        showProgress=False,
    )
    fit = threading.Thread(target=estimator.fit, args=(data,))
    started = time.time()
    fit.start()
    wait_for(lambda: (run / "progress.json").exists())
    taken_s = written_at(run) - started
    fit.join()
    return round(taken_s, 2)


def kill_to_next_step(
    spark: SparkSession, folder: Path, run: Path, what: str
) -> dict[str, float | int]:
    """Kill rank 1 or its executor in the middle of training; seconds until training goes on."""
    run.mkdir()
    for name in ("job.json", "initial.safetensors"):
        (run / name).write_bytes((folder / "first" / name).read_bytes())
    job = json.loads((run / "job.json").read_text())
    job["config"] |= {"max_epochs": 10_000, "checkpoint_every": {"steps": 2}}
    storage.write_json(str(run / "job.json"), job)

    def train() -> None:
        with suppress(TrainingError):  # ended below
            launch_with_retries(BarrierLauncher(spark), train_worker, str(run), RANKS)

    training = threading.Thread(target=train)
    training.start()
    wait_for(
        lambda: checkpointed_step(str(run)) >= 2 and len(read_heartbeats(str(run), RANKS)) == 2
    )
    process = read_heartbeats(str(run), RANKS)[1].process
    victim = process if what == "rank" else parent_of(parent_of(process))
    killed = time.time()
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(read_attempts(str(run))) == 2)
    began = (run / "attempts.json").stat().st_mtime_ns / 1e9
    wait_for(lambda: written_at(run) > began)
    trained = written_at(run)
    spark.interruptAll()
    training.join()
    lost, following = read_attempts(str(run))
    assert lost.outcome == "lost", lost
    return {
        "next_attempt_s": round(began - killed, 2),
        "next_step_s": round(trained - killed, 2),
        "from_step": following.first_step,
        "ranks": following.ranks,
    }


def checkpoint_costs(name: str, run: Path) -> dict[str, float]:
    """Seconds to copy and to write one checkpoint of a network and AdamW's state, and its MB."""
    model, _ = build_classifier(name, OUTPUTS, weights="random")
    optimizer = OptimizerSpec(name="adamw", weight_decay=0.01).build(model.named_parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    copied, written = [], []
    for step in range(4):
        started = time.perf_counter()
        tensors, counters = optimizer_state(optimizer)
        checkpoint = Checkpoint(
            weights={key: value.detach().clone() for key, value in model.state_dict().items()},
            optimizer={key: value.detach().clone() for key, value in tensors.items()},
            group_state=counters,
            history=History(),
            step=step,
        )
        copied.append(time.perf_counter() - started)
        started = time.perf_counter()
        write_checkpoint(str(run), checkpoint, is_best=False, keep=2)
        written.append(time.perf_counter() - started)
    size = max(path.stat().st_size for path in (run / "checkpoints").iterdir())
    return {
        "copy_s": round(float(np.median(copied[1:])), 4),
        "write_s": round(float(np.median(written[1:])), 3),
        "megabytes": round(size / 1e6, 1),
    }


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.02)


def written_at(run: Path) -> float:
    return (run / "progress.json").stat().st_mtime_ns / 1e9


def parent_of(process: int) -> int:
    said = subprocess.run(
        ["ps", "-o", "ppid=", "-p", str(process)], capture_output=True, text=True, check=True
    ).stdout
    return int(said)


if __name__ == "__main__":
    main()
