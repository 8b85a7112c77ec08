"""Training steps with glibc's own memory policy against freed memory kept, process by process.

    .venv/bin/python benchmarks/freed_memory.py [--models resnet50 efficientnet_lite0] [--steps 6]

Each process trains a bare PyTorch loop on random images (batch 32, 224 px, float32). The two kinds
take turns, twice; the first two steps of each are left out. Prints images/s, page faults of one
step, and the largest resident memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import torch

from hilum.models import build_classifier
from hilum.optim import OptimizerSpec, set_lr
from hilum.processor import keep_freed_memory

BATCH, SIZE_PX, OUTPUTS, WARM_STEPS = 32, 224, 14, 2


def measure(model_name: str, steps: int) -> dict[str, float]:
    torch.set_num_threads(os.cpu_count() or 1)
    model, _ = build_classifier(model_name, OUTPUTS, weights="random")
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = OptimizerSpec(name="adamw").build(model.named_parameters())
    set_lr(optimizer, 1e-4)
    images = torch.randn(BATCH, 3, SIZE_PX, SIZE_PX).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (BATCH, OUTPUTS)).float()
    seconds, faults = [], []
    for _ in range(WARM_STEPS + steps):
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return {
        "images_per_s": BATCH / statistics.median(seconds[WARM_STEPS:]),
        "faults_per_step": statistics.median(faults[WARM_STEPS:]),
        "max_resident_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet50", "efficientnet_lite0"])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--child", choices=["returned", "kept"])
    options = parser.parse_args()
    if options.child:
        if options.child == "kept" and not keep_freed_memory():
            raise SystemExit("this C library cannot keep freed memory")
        print(json.dumps(measure(options.models[0], options.steps)))
        return
    for name in options.models:
        found: dict[str, list[dict[str, float]]] = {"returned": [], "kept": []}
        for kind in ("returned", "kept", "kept", "returned"):
            command = [sys.executable, __file__, "--child", kind, "--models", name]
            command += ["--steps", str(options.steps)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[kind].append(json.loads(done.stdout))
        means = {
            kind: {key: statistics.mean(row[key] for row in rows) for key in rows[0]}
            for kind, rows in found.items()
        }
        ratio = means["kept"]["images_per_s"] / means["returned"]["images_per_s"]
        print(json.dumps({"model": name, "ratio": round(ratio, 3), **means}), flush=True)


if __name__ == "__main__":
    main()
