"""Images a second of the engine's steps, beside a bare loop and the machine's matrix products.

    .venv/bin/python benchmarks/throughput.py [--quick] [--models resnet50 ...] [--batch 32]

Each network trains in a process of its own, in both precisions, on the GPU where there is one. In
turns, three times: steps of the engine (gather from the cache, prefetch, augmentation, loss, AdamW)
and of a bare PyTorch loop (normalised float tensors in memory, the same network, precision, batch
and optimizer, in the same process, so with the same memory policy). The share of the peak is the
network's multiply-adds, forward and backward, over the time, in units of the best product of two
4096 x 4096 bfloat16 matrices in that process.

Prints a table, and a line for results.md.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from memory_cache import random_cache
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hilum.models import architecture, create_model
from hilum.optim import LinearWarmup, OptimizerSpec, set_lr
from hilum.preprocessing import radiograph_chain
from hilum.processor import keep_freed_memory
from hilum.training import TrainConfig, World
from hilum.training.batches import prefetch
from hilum.training.loop import Rank, prepare_rank, train_step
from hilum.training.placement import WholePlacement

SIZE_PX, OUTPUTS, MATRIX = 224, 14, 4096
MODELS = ("resnet50", "densenet121", "inception_v1", "efficientnet_lite0")
OPTIMIZER = OptimizerSpec(name="adamw", weight_decay=0.01)


def flops_per_image(name: str) -> float:
    """Floating-point operations of one image in training: three times those of the forward pass.

    (torch 2.15 counts the backward pass of grouped convolutions as if they had no groups.)
    """
    with torch.device("meta"):
        model = create_model(name, OUTPUTS, dropout=0.0).eval()
        counter = FlopCounterMode(display=False)
        with counter:
            model(torch.zeros(1, 3, SIZE_PX, SIZE_PX))
    return 3.0 * counter.get_total_flops()


def matmul_flops_per_s(device: torch.device, dtype: torch.dtype, rounds: int) -> float:
    one, two = (torch.randn(MATRIX, MATRIX, device=device).to(dtype) for _ in range(2))
    seconds = [_seconds(lambda: torch.mm(one, two), device) for _ in range(1 + rounds)]
    return 2 * MATRIX**3 / min(seconds)


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def engine_steps(rank: Rank, batch: int) -> Generator[None, None, None]:
    """Endless steps of the engine, one at each `next`."""
    set_lr(rank.optimizer, 1e-4)
    for one in prefetch(rank.source.batches(_endless(len(rank.cache), batch))):
        train_step(rank, one, epoch=0)
        yield


def _endless(num_images: int, batch: int) -> Iterator[npt.NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    while True:
        yield generator.permutation(num_images)[:batch].astype(np.int64)


def bare_steps(model: nn.Module, rank: Rank, batch: int) -> Generator[None, None, None]:
    """Endless steps of a loop as one would write it by hand."""
    model = model.to(rank.device).to(memory_format=torch.channels_last).train()
    optimizer = OPTIMIZER.build(model.named_parameters())
    set_lr(optimizer, 1e-4)
    images = torch.randn(batch, 3, SIZE_PX, SIZE_PX, device=rank.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (batch, OUTPUTS), device=rank.device).float()
    while True:
        with rank.autocast():
            logits = model(images)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield


def measure(name: str, precision: str, batch: int, steps: int, rounds: int) -> dict[str, Any]:
    """Run in the child: engine and bare loop in turns, and the machine's matrix products."""
    keep_freed_memory()
    threads = os.cpu_count() or 1
    network = architecture(name)
    config = TrainConfig(
        architecture=name,
        outputs=tuple(f"finding-{i}" for i in range(OUTPUTS)),
        preprocessing=radiograph_chain(SIZE_PX, network.mean, network.std),
        schedule=LinearWarmup(start=0.0, peak=1e-4, steps=1),
        optimizer=OPTIMIZER,
        global_batch_size=batch,
        precision=precision,  # type: ignore[arg-type]
        dropout=0.0,
    )
    side = 8 * round(1.07 * SIZE_PX / 8)
    cache = random_cache(4 * batch, side, OUTPUTS)
    placement = WholePlacement(cache=cache, num_ranks=1, seed=config.seed)
    rank = prepare_rank(World(num_threads=threads), config, placement, create_model(name, OUTPUTS))
    rank.model.train()
    kinds = {
        "engine": engine_steps(rank, batch),
        "bare": bare_steps(create_model(name, OUTPUTS), rank, batch),
    }
    for running in kinds.values():
        next(running)
        next(running)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    peaks = [matmul_flops_per_s(rank.device, torch.bfloat16, 3)]
    for _ in range(rounds):
        for kind, running in kinds.items():
            for _ in range(steps):
                seconds[kind].append(_seconds(running.__next__, rank.device))
    peaks.append(matmul_flops_per_s(rank.device, torch.bfloat16, 3))
    kinds["engine"].close()
    rates = {kind: batch / statistics.median(values) for kind, values in seconds.items()}
    peak = max(peaks)
    on_gpu = rank.device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() if on_gpu else _resident_bytes()
    return {
        "model": name,
        "device": torch.cuda.get_device_name() if on_gpu else f"CPU, {threads} threads",
        "precision": str(rank.dtype).removeprefix("torch."),
        "batch": batch,
        "images_per_s": round(rates["engine"], 2),
        "bare_images_per_s": round(rates["bare"], 2),
        "ratio_to_bare": round(rates["engine"] / rates["bare"], 3),
        "step_spread": round(statistics.pstdev(seconds["engine"]) / np.mean(seconds["engine"]), 3),
        "gflop_per_image": round(flops_per_image(name) / 1e9, 2),
        "matmul_bfloat16_gflops": round(peak / 1e9, 1),
        "share_of_peak": round(rates["engine"] * flops_per_image(name) / peak, 3),
        "memory_gb": round(memory / 1e9, 2),
    }


def _resident_bytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--batch", type=int, default=256 if torch.cuda.is_available() else 32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.models, options.batch = options.models[:1], 8
        options.steps, options.rounds = 1, 1
    work = (options.batch, options.steps, options.rounds)
    if options.child:
        print(json.dumps(measure(options.models[0], options.precisions[0], *work)))
        return
    rows = []
    for name in options.models:
        for precision in options.precisions:
            command = [sys.executable, __file__, "--child", "--models", name]
            command += ["--precisions", precision, "--batch", str(work[0])]
            command += ["--steps", str(work[1]), "--rounds", str(work[2])]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    print(json.dumps({"script": "throughput.py", "rows": rows}))


if __name__ == "__main__":
    main()
