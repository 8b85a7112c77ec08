"""A network whose arithmetic is a fixed delay and whose gradients are real.

Parameters, their shapes and their order are those of the network it stands for. Each layer sleeps
for its share of the delay, by multiply-adds, a third of it forward and two thirds backward; the
backward pass then hands out gradients of full size, layer by layer, as the real one would. So
everything around the arithmetic can be measured with more ranks than the machine has cores.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hilum.models import create_model

SIZE_PX = 224
FORWARD_SHARE = 1 / 3
SHORTEST_SLEEP_S = 0.006  # layers of less are slept through together


@dataclass(frozen=True, slots=True)
class Layer:
    """Parameters whose gradients are ready at the same moment, and their part of the delay."""

    parameters: tuple[tuple[str, tuple[int, ...]], ...]
    share: float


def layers_of(architecture: str, num_outputs: int = 14) -> list[Layer]:
    """The layers of a network in forward order, with their shares of its multiply-adds."""
    with torch.device("meta"):
        model = create_model(architecture, num_outputs, dropout=0.0).eval()
        work: dict[str, float] = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(_note_work(work, name))
        model(torch.zeros(1, 3, SIZE_PX, SIZE_PX))
    found: list[tuple[list[tuple[str, tuple[int, ...]]], float]] = []
    for name, module in model.named_modules():
        own = [
            (f"{name}.{key}", tuple(value.shape))
            for key, value in module.named_parameters(recurse=False)
        ]
        if name in work:
            found.append((own, work[name]))
        elif own and found:
            found[-1][0].extend(own)  # a norm is done with its convolution
        elif own:
            found.append((own, 0.0))
    total = sum(share for _, share in found)
    return [Layer(tuple(own), share / total) for own, share in found]


def _note_work(work: dict[str, float], name: str) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        positions = output[0, 0].numel() if output.dim() == 4 else 1
        work[name] = float(weight.numel() * positions)

    return hook


class DelayedNetwork(nn.Module):
    """Stands for a network: same parameters, no arithmetic, `delay_s` seconds a step."""

    def __init__(self, architecture: str, delay_s: float, num_outputs: int = 14) -> None:
        super().__init__()
        self.layers = _merged(layers_of(architecture, num_outputs), delay_s)
        self.delay_s = delay_s
        self.clock = Clock()
        self.num_outputs = num_outputs
        for layer in self.layers:
            for name, shape in layer.parameters:
                _register(self, name, nn.Parameter(torch.zeros(shape)))
        self.steps = [
            (layer.share * delay_s, [self.get_parameter(name) for name, _ in layer.parameters])
            for layer in self.layers
        ]
        largest = max(parameter.numel() for parameter in self.parameters())
        self.gradient = torch.ones(largest)

    def forward(self, images: Tensor) -> Tensor:
        """Sleep through the layers; logits are zeros (N, num_outputs)."""
        passed = images.new_zeros(len(images), self.num_outputs, dtype=torch.float32)
        passed.requires_grad_()
        for delay_s, parameters in self.steps:
            delay_s = delay_s if self.training else 0.0
            passed = _Layer.apply(passed, delay_s, self.clock, self.gradient, *parameters)
        return passed


class Clock:
    """Sleeps that add up: what one lasted too long, the next ones are shorter."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def sleep(self, seconds: float) -> None:
        """Sleep, on average for exactly this long."""
        started = time.perf_counter()
        if seconds > self.ahead_s:
            time.sleep(seconds - self.ahead_s)
        self.ahead_s += time.perf_counter() - started - seconds


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        passed: Tensor,
        delay_s: float,
        clock: Clock,
        gradient: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        context.delay_s, context.clock = delay_s * (1 - FORWARD_SHARE), clock
        context.gradients = [gradient[: p.numel()].view(p.shape) for p in parameters]
        clock.sleep(delay_s * FORWARD_SHARE)
        return passed.clone()

    @staticmethod
    def backward(context: Any, *upstream: Any) -> Any:
        context.clock.sleep(context.delay_s)
        # A new tensor over the same memory: autograd takes it as it is, as a kernel's result.
        return upstream[0], None, None, None, *(one.detach() for one in context.gradients)


class NoArithmetic(Optimizer):
    """An optimizer whose update is thought to be in the delay."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.0, "lr_factor": 1.0})

    def step(self, closure: Any = None) -> None:
        """Leave the parameters alone."""


def _merged(layers: list[Layer], delay_s: float) -> list[Layer]:
    """Join neighbours until each sleeps long enough for a sleep to be exact."""
    merged: list[Layer] = []
    for layer in layers:
        if merged and merged[-1].share * delay_s < SHORTEST_SLEEP_S:
            last = merged.pop()
            layer = Layer(last.parameters + layer.parameters, last.share + layer.share)
        merged.append(layer)
    return merged


def _register(root: nn.Module, name: str, parameter: nn.Parameter) -> None:
    *path, last = name.split(".")
    for part in path:
        if part not in dict(root.named_children()):
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.register_parameter(last, parameter)
