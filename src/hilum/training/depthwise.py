"""Depthwise convolutions whose bfloat16 gradients the CPU library has no fast kernel for.

With stride 2 the gradient of the input takes 10 to 30 times as long in bfloat16 as in float32, with
5 x 5 kernels that of the weights 3 to 4 times (torch 2.15, AVX-512). EfficientNet-Lite0 has eleven
such convolutions, and a step of it took twice the time it takes with those in float32 and the rest
in bfloat16 (benchmarks/depthwise.py).
"""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["use_float32_depthwise"]

FAST_KERNEL, FAST_STRIDE = (3, 3), (1, 1)


def use_float32_depthwise(model: nn.Module) -> int:
    """Let a network's slow depthwise convolutions train in float32, in place; counts them.

    Names, weights and outputs' dtype stay. Without gradients (validation) nothing changes.
    """
    found = [module for module in model.modules() if _is_slow(module)]
    for module in found:
        module.__class__ = _in_float32(type(module))
    return len(found)


def _is_slow(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d) or module.groups != module.in_channels:
        return False
    fast = module.kernel_size == FAST_KERNEL and module.stride == FAST_STRIDE
    return module.groups > 1 and not fast


def _in_float32(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass, because libraries have convolutions of their own (timm's Conv2dSame)."""

    def forward(self: Any, inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or not torch.is_autocast_enabled("cpu"):
            return kind.forward(self, inputs)  # type: ignore[no-any-return]
        with torch.autocast("cpu", enabled=False):
            return kind.forward(self, inputs.float()).to(inputs.dtype)  # type: ignore[no-any-return]

    # The module's name decides whether torch.fx looks inside, so it stays.
    members = {"forward": forward, "__module__": kind.__module__}
    return type(f"{kind.__name__}InFloat32", (kind,), members)
