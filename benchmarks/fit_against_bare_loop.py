"""Training through NNEstimator.fit against a bare PyTorch loop, side by side in one run.

    .venv/bin/python benchmarks/fit_against_bare_loop.py [--models resnet50] [--images 128]
        [--precisions auto float32] [--quick]

Both train the same network on the same images with the same batch size, precision, threads and
optimizer. The bare loop has its normalised float tensors in memory, nothing to decode, nothing to
augment, no progress and no checkpoint inside the timed part; it runs as it is, and again with the
memory policy that `fit` sets itself (decision 0010). `fit` reports its steady epochs (the first is
left out), with augmentation, prefetch and progress included. The loops run before and after,
because machines drift.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

from hilum.models import build_classifier
from hilum.optim import OptimizerSpec, set_lr
from hilum.spark import NNEstimator, local_session
from hilum.training.config import Precision
from hilum.training.loop import compute_dtype

SIZE, BATCH, OUTPUTS = 224, 32, 14
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}


def bare_images_per_s(name: str, num_images: int, threads: int, precision: Precision) -> float:
    torch.set_num_threads(threads)
    dtype = compute_dtype(precision, torch.device("cpu"))
    model, _ = build_classifier(name, OUTPUTS, weights="random")
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = OptimizerSpec(name="adamw", weight_decay=0.01).build(model.named_parameters())
    set_lr(optimizer, 1e-4)
    images = torch.randn(num_images, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (num_images, OUTPUTS)).float()
    rates = []
    for _ in range(2):
        started = time.perf_counter()
        for at in range(0, num_images, BATCH):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                logits = model(images[at : at + BATCH])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits.float(), labels[at : at + BATCH]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        rates.append(num_images / (time.perf_counter() - started))
    return rates[-1]


def fit_images_per_s(name: str, num_images: int, threads: int, precision: Precision) -> float:
    spark = local_session(f"local[{threads}]")
    generator = np.random.default_rng(0)
    rows = [
        (
            {
                "origin": f"image-{i}",
                "height": 240,
                "width": 240,
                "nChannels": 1,
                "mode": 0,
                "data": generator.integers(0, 255, 240 * 240, dtype=np.uint8).tobytes(),
            },
            generator.integers(0, 2, OUTPUTS).astype(float).tolist(),
        )
        for i in range(num_images)
    ]
    schema = (
        "image struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>,"
        "labels array<float>"
    )
    data = spark.createDataFrame(rows, schema)
    estimator = NNEstimator(
        model=name,
        weights="random",
        maxEpochs=3,
        batchSize=BATCH,
        numRanks=1,
        precision=precision,
        showProgress=False,
    )
    history = estimator.fit(data).history
    spark.stop()
    return float(np.mean([record.images_per_s for record in history.epochs[1:]]))


def compare(name: str, precision: Precision, num_images: int, threads: int) -> dict[str, Any]:
    """Bare loops before and after `fit`, in processes without Spark's JVM beside them."""

    def bare(environment: dict[str, str]) -> float:
        command = [sys.executable, __file__, "--only-bare", "--models", name]
        command += ["--images", str(num_images), "--threads", str(threads)]
        command += ["--precisions", precision]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=os.environ | environment
        )
        return float(done.stdout)

    plain, kept = [bare({})], [bare(KEEP_FREED_MEMORY)]
    fit = fit_images_per_s(name, num_images, threads, precision)
    kept.append(bare(KEEP_FREED_MEMORY))
    plain.append(bare({}))
    return {
        "model": name,
        "precision": precision,
        "bare_images_per_s": [round(rate, 2) for rate in plain],
        "bare_keeping_memory_images_per_s": [round(rate, 2) for rate in kept],
        "fit_images_per_s": round(fit, 2),
        "ratio_to_bare": round(fit / float(np.mean(plain)), 3),
        "ratio_to_bare_keeping_memory": round(fit / float(np.mean(kept)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet50"])
    parser.add_argument("--precisions", nargs="+", default=["auto"])
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only-bare", action="store_true")
    options = parser.parse_args()
    num_images = BATCH if options.quick else options.images
    if options.only_bare:
        (name,), (precision,) = options.models, options.precisions
        print(bare_images_per_s(name, num_images, options.threads, precision))
        return
    for name in options.models:
        for precision in options.precisions:
            print(json.dumps(compare(name, precision, num_images, options.threads)), flush=True)


if __name__ == "__main__":
    main()
