"""Which layer Grad-CAM reads: the last one that still knows where things are.

By name it would have to be chosen for every network; by rule it is found in a forward pass with
hooks: the last feature map before pooling. The tests name what the rule finds in each of Hilum's
architectures.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from hilum.errors import require

__all__ = ["find_target_layer", "prepare_for_gradients"]


def prepare_for_gradients(model: nn.Module) -> nn.Module:
    """Change a network in place so that its feature maps can be read; it computes the same.

    Activations no longer overwrite their input, which hooks would see changed. torchvision's
    DenseNet applies its last ReLU as a function, in place, outside any layer: its `features` would
    show the map before the ReLU, with evidence the head never sees. The ReLU becomes a layer of it.
    """
    from torchvision.models import DenseNet

    for module in model.modules():
        if isinstance(getattr(module, "inplace", None), bool):
            cast(Any, module).inplace = False
        if isinstance(module, DenseNet):
            module.features = nn.Sequential(module.features, nn.ReLU())
    return model.requires_grad_(False)


def find_target_layer(model: nn.Module, inputs: Tensor) -> str:
    """Return the dotted name of the layer that makes the last feature map before pooling.

    A feature map is (N, C, h, w) with more than one cell and the proportions of the input. What
    a pooling layer puts out is none: VGG ends in two poolings, which only blur.

    Args:
        model: any network for images, in evaluation mode.
        inputs: one batch as the network takes it, (N, C, H, W).

    Raises:
        InvalidValueError: no layer puts out such a map, as in transformers that work on tokens.
    """
    found: list[str] = []
    pooled: list[Tensor] = []

    def see(name: str, module: nn.Module, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim < 3 or output[0, 0].numel() == 1:
            return  # pooled already
        if _is_pooling(module):
            pooled.append(output)
        elif not _is_map(output, inputs):
            found.clear()  # tokens, or channels last: what came before is not the last map
        elif not any(output is other for other in pooled):
            found.append(name)

    with _watched(model, see), torch.no_grad():
        model(inputs)
    require(
        bool(found),
        "network",
        "one with a feature map (N, C, h, w) for Grad-CAM",
        type(model).__name__,
        hint="use occlusion, which needs none: --method occlusion",
    )
    return found[-1]


@contextmanager
def _watched(model: nn.Module, see: Callable[[str, nn.Module, object], None]) -> Iterator[None]:
    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda module, inputs, output: see(name, module, output)

    handles = [m.register_forward_hook(watch(name)) for name, m in model.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_map(output: Tensor, inputs: Tensor) -> bool:
    if output.ndim != 4 or len(output) != len(inputs):
        return False
    height, width = inputs.shape[2:]
    h, w = output.shape[2:]
    # Equal strides to within a cell, which a map with channels last does not have.
    same_proportions = abs(h * width - w * height) <= max(height, width)
    return h <= height and w <= width and same_proportions


def _is_pooling(module: nn.Module) -> bool:
    return "Pool" in type(module).__name__
