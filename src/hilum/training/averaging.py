"""Exponential moving average of a network's weights, which often validates better than they do."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["averaged_model"]

Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged_model(model: nn.Module, decay: float, num_updates: int = 0) -> AveragedModel:
    """Copy a network for averaging; `update_parameters(model)` follows every optimizer step.

    average <- d * average + (1 - d) * weights with d = min(decay, (1 + n) / (10 + n)) at update n
    from 0, so that the start is soon forgotten (the warm-up of TensorFlow's
    ExponentialMovingAverage). Floating-point buffers are averaged too: the batch-norm statistics
    belong to the averaged weights.
    """

    @torch.no_grad()
    def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        n = int(count) - 1
        if averaged[0].is_floating_point():  # torch passes one dtype at a time
            torch._foreach_lerp_(averaged, current, 1.0 - min(decay, (1 + n) / (10 + n)))
        else:  # batch norm's count of batches
            torch._foreach_copy_(averaged, current)

    result = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    # At a count of 0 torch copies instead of averaging; the copy is already the start.
    result.n_averaged.fill_(num_updates + 1)
    return result
