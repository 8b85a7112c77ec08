"""Depthwise convolutions in bfloat16 and float32, and a network that trains the slow ones apart.

    .venv/bin/python benchmarks/depthwise.py [--quick]

One thread, CPU seconds, so that other work on the machine hardly counts; best of three. First the
layers of EfficientNet-Lite0, forward, gradient of the input, gradient of the weights, 32 images;
then a training pass of the whole network (8 images), in bfloat16, in float32, and as ranks train
it (`hilum.training.depthwise`). Prints a table, and a line for results.md.
"""

import argparse
import json
import time
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from hilum.models import create_model
from hilum.processor import keep_freed_memory
from hilum.training.depthwise import use_float32_depthwise

LAYERS = ((32, 112, 3, 1), (96, 112, 3, 2), (144, 56, 5, 2), (240, 28, 3, 2), (672, 14, 5, 1))


def layer_ms(channels: int, side: int, kernel: int, stride: int, dtype: torch.dtype) -> list[float]:
    conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    conv = conv.to(memory_format=torch.channels_last).to(dtype)
    images = torch.randn(32, channels, side, side).contiguous(memory_format=torch.channels_last)
    images = images.to(dtype).requires_grad_()
    best = [float("inf")] * 3
    for _ in range(3):
        moments = [time.process_time()]
        output = conv(images)
        moments.append(time.process_time())
        gradient = torch.ones_like(output)
        for wanted in (images, conv.weight):
            started = time.process_time()
            torch.autograd.grad(output, wanted, gradient, retain_graph=True)
            moments.append(moments[-1] + time.process_time() - started)
        found = [later - earlier for earlier, later in pairwise(moments)]
        best = list(map(min, best, found))
    return [round(1000 * value, 1) for value in best]


def network_s(kind: str, rounds: int) -> float:
    model = create_model("efficientnet_lite0", 14, dropout=0.0).train()
    model = model.to(memory_format=torch.channels_last)
    if kind == "apart":
        use_float32_depthwise(model)
    images = torch.randn(8, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(1 + rounds):
        started = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind != "float32"):
            logits = model(images)
        logits.float().sum().backward()
        seconds.append(time.process_time() - started)
    return round(min(seconds), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows: list[dict[str, Any]] = []
    for channels, side, kernel, stride in LAYERS[: 2 if options.quick else None]:
        for dtype in (torch.float32, torch.bfloat16):
            forward, inputs, weights = layer_ms(channels, side, kernel, stride, dtype)
            rows.append(
                {
                    "layer": f"{channels} x {side}, kernel {kernel}, stride {stride}",
                    "dtype": str(dtype).removeprefix("torch."),
                    "forward_ms": forward,
                    "input_gradient_ms": inputs,
                    "weight_gradient_ms": weights,
                }
            )
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    kinds = ("bfloat16", "float32", "apart")
    network = {kind: network_s(kind, 1 if options.quick else 3) for kind in kinds}
    print(json.dumps({"script": "depthwise.py", "network_s": network, "rows": rows}))


if __name__ == "__main__":
    main()
