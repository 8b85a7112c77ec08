"""The first convolution and normalisation on grey images: as RGB and as one channel.

    .venv/bin/python benchmarks/grey_stem.py [--batch 32] [--repeats 20]

Both start from uint8 pixels (N, 1, 224, 224) and end at the convolution's output (and, for
training, the gradient of its kernel). ImageNet's means need a channel of ones, mean = std = 0.5
does not. Best of the repeats, the two forms taking turns.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hilum.models import GreyStem
from hilum.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Chain,
    ChannelNormalize,
    GreyToRGB,
    one_channel,
)
from hilum.training.loop import compute_dtype

SIZE = 224
CASES = {
    "ResNet-50 (7x7, 64)": (7, 64, IMAGENET_MEAN, IMAGENET_STD),
    "EfficientNet-Lite0 (3x3, 32)": (3, 32, (0.5,) * 3, (0.5,) * 3),
}


def best_ms(steps: list[Callable[[], None]], repeats: int) -> list[float]:
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats + 1):
        for step, own in zip(steps, times, strict=True):
            started = time.perf_counter()
            step()
            own.append(1e3 * (time.perf_counter() - started))
    return [min(own[1:]) for own in times]


def forms(name: str, batch: int, *, train: bool) -> list[Callable[[], None]]:
    kernel, channels, mean, std = CASES[name]
    dtype = compute_dtype("auto", torch.device("cpu"))
    convolution = nn.Conv2d(3, channels, kernel, stride=2, padding=kernel // 2, bias=False)
    convolution = convolution.to(memory_format=torch.channels_last)
    rgb = Chain((GreyToRGB(), ChannelNormalize(mean, std)))
    grey = one_channel(rgb)
    assert grey is not None
    pixels = torch.randint(0, 256, (batch, 1, SIZE, SIZE), dtype=torch.uint8)

    def run(chain: Chain, layer: nn.Module) -> None:
        images: Tensor = chain(pixels).contiguous(memory_format=torch.channels_last)
        with (
            torch.set_grad_enabled(train),
            torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
        ):
            output = layer(images)
        if train:
            output.backward(torch.ones_like(output))

    stem = GreyStem(convolution, grey.scale, grey.shift)
    return [lambda: run(rgb, convolution), lambda: run(grey.chain, stem)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    for name in CASES:
        for train in (False, True):
            rgb, grey = best_ms(forms(name, options.batch, train=train), options.repeats)
            what = "training" if train else "forward"
            print(f"{name:30} {what:8} RGB {rgb:6.1f} ms  grey {grey:6.1f} ms  {rgb / grey:.2f}x")


if __name__ == "__main__":
    main()
