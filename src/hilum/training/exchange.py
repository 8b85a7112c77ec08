"""Averaging gradients over ranks, bucket by bucket, while the backward pass still runs.

DistributedDataParallel does the work (Li et al. 2020). Two things are said here: how many bytes a
gradient has on the wire, and that the buckets are the same from the first step on.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from hilum.errors import require
from hilum.training.config import Compression

__all__ = ["BUCKET_MB", "exchange_gradients", "form_buckets"]

BUCKET_MB = 10.0


def exchange_gradients(
    model: nn.Module,
    *,
    compression: Compression = "none",
    bucket_mb: float = BUCKET_MB,
) -> DistributedDataParallel:
    """Wrap a network so that `backward` leaves the mean over ranks in every gradient.

    Needs a process group. Buffers are not broadcast. With "bfloat16" gradients travel rounded to
    eight significant bits, half the bytes, and sums are rounded at every rank they pass: relative
    error 0.002 for 2 ranks and 0.008 for 16; all ranks still get the same numbers.

    Args:
        bucket_mb: gradients are exchanged once this many megabytes are ready. Smaller buckets
            leave less to exchange after the backward pass and cost more messages.
    """
    require(compression in ("none", "bfloat16"), "compression", "none or bfloat16", compression)
    require(bucket_mb > 0, "bucket_mb", "above 0", bucket_mb)
    with warnings.catch_warnings():
        # torch 2.15 prefers forward_sync_buffers, which older ones do not have.
        warnings.simplefilter("ignore", FutureWarning)
        engine = DistributedDataParallel(
            model,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            bucket_cap_mb=bucket_mb,
        )
    if compression == "bfloat16":
        hook: Any = bf16_compress_hook
        engine.register_comm_hook(dist.group.WORLD, hook)
    return engine


def form_buckets(engine: nn.Module, example: Tensor | tuple[Tensor, ...]) -> None:
    """Let DDP form its final buckets before the first step; does nothing without DDP.

    In its first backward pass DDP has one bucket of everything, and forms the real ones in the
    order in which gradients came. That first step would overlap nothing, and would add the ranks'
    gradients in another order than an unbroken run did that was already past its first step: with
    three ranks or more the weights would differ in the last bit after a restart. So one backward
    pass on an example comes first. It changes neither weights nor statistics.

    Args:
        example: an input of the engine, (N, ...); its numbers do not matter.
    """
    if not isinstance(engine, DistributedDataParallel):
        return
    modes = {module: module.training for module in engine.modules()}
    engine.eval()
    try:
        with torch.enable_grad():
            arguments = example if isinstance(example, tuple) else (example,)
            _sum(engine(*arguments)).backward()
    finally:
        for module, training in modes.items():
            module.training = training
        engine.zero_grad(set_to_none=True)


def _sum(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.sum()
    parts = outputs.values() if isinstance(outputs, Mapping) else outputs
    return sum(part.sum() for part in parts)
