"""One optimizer step and one validation on one rank: synchronous, data-parallel, exact.

What it needs of the world is three collectives (`hilum.training.world`); what it needs of the data
is a `Source`. The order of steps is in `hilum.training.steps`.
"""

import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from hilum.evaluation import mean_auroc, roc_auc_score
from hilum.models import freeze_batch_norm, freeze_layers, head_names, set_train_mode
from hilum.optim import mean_loss
from hilum.processor import has_fast_bfloat16
from hilum.training.averaging import averaged_model
from hilum.training.batches import Batch
from hilum.training.config import Precision, TrainConfig
from hilum.training.dropout import seed_dropout, use_sample_dropout
from hilum.training.sampler import rank_share
from hilum.training.shards import ImageCache
from hilum.training.source import ImageSource, Source
from hilum.training.world import World, all_reduce_sum, gather_rows

__all__ = [
    "Rank",
    "Validation",
    "average_running_statistics",
    "compute_dtype",
    "predict_split",
    "prepare_rank",
    "settle_buckets",
    "train_step",
    "validate",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """What one rank holds while it trains.

    Attributes:
        model: the bare network. engine: the same network, wrapped for gradient averaging.
        average: its moving average; None without one.
    """

    world: World
    config: TrainConfig
    cache: ImageCache
    source: Source
    device: torch.device
    dtype: torch.dtype
    model: nn.Module
    engine: nn.Module
    average: AveragedModel | None
    optimizer: Optimizer

    @property
    def validated(self) -> nn.Module:
        """The network that is validated and kept: the average where there is one."""
        return self.model if self.average is None else self.average.module

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the rank's precision; parameters and gradients stay float32."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        )


@dataclass(frozen=True, slots=True)
class Validation:
    """Loss and AUC per output on the whole validation split; None where undefined."""

    loss: float | None = None
    mean_auroc: float | None = None
    auroc: tuple[float | None, ...] = ()


def prepare_rank(
    world: World,
    config: TrainConfig,
    cache: ImageCache,
    model: nn.Module,
    precision: Precision | None = None,
) -> Rank:
    """Place the model on this rank's device and wrap it for the world it is in.

    Args:
        precision: what a former attempt computed in; by default what the configuration says.
    """
    use_cuda = torch.cuda.is_available()
    device = torch.device("cuda", world.local_rank) if use_cuda else torch.device("cpu")
    if not use_cuda:
        # Spark starts Python workers with OMP_NUM_THREADS=1 (SPARK-42613); say what we want.
        torch.set_num_threads(world.num_threads)
    freeze_layers(model, config.architecture, config.freeze)
    if config.batch_norm == "frozen":
        freeze_batch_norm(model)
    use_sample_dropout(model)
    model = model.to(device).to(memory_format=torch.channels_last)
    optimizer = config.optimizer.build(model.named_parameters(), head_names(config.architecture))
    set_train_mode(model)
    engine: nn.Module = model
    if world.num_ranks > 1:
        # Buffers are averaged where they are used (average_running_statistics), not each step.
        with warnings.catch_warnings():
            # torch 2.15 prefers forward_sync_buffers, which older ones do not have.
            warnings.simplefilter("ignore", FutureWarning)
            engine = DistributedDataParallel(
                model, broadcast_buffers=False, gradient_as_bucket_view=True
            )
    return Rank(
        world=world,
        config=config,
        cache=cache,
        source=ImageSource(world=world, config=config, cache=cache, device=device),
        device=device,
        dtype=_agreed_dtype(compute_dtype(precision or config.precision, device), world),
        model=model,
        engine=engine,
        average=averaged_model(model, config.ema_decay) if config.ema_decay else None,
        optimizer=optimizer,
    )


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The forward pass's dtype; "auto" is bfloat16 where the hardware is faster with it."""
    if precision == "float32":
        return torch.float32
    if precision == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    return torch.bfloat16 if has_fast_bfloat16() else torch.float32


def _agreed_dtype(dtype: torch.dtype, world: World) -> torch.dtype:
    """bfloat16 only if every rank computes in it, so that hosts of two kinds do the same."""
    willing = all_reduce_sum(torch.tensor(float(dtype == torch.bfloat16)), world)
    return torch.bfloat16 if int(willing) == world.num_ranks else torch.float32


def settle_buckets(rank: Rank) -> None:
    """Let DDP put its gradient buckets in their final order before the first step.

    DDP orders buckets anew after its first backward pass, and with the bucket the order of
    summation changes where more than two ranks add up. Without this a run that was resumed would
    differ in the last bits from an unbroken one in its first step.
    """
    if rank.world.num_ranks <= 2:
        return
    buffers = [buffer.clone() for buffer in rank.model.buffers()]
    samples = rank.cache.positions("train")[:2]
    inputs = next(iter(rank.source.evaluation([samples])))
    seed_dropout(rank.model, rank.config.seed, 0, torch.from_numpy(samples))
    with rank.autocast():
        logits = rank.engine(inputs)
    logits.float().sum().backward()
    rank.optimizer.zero_grad(set_to_none=True)
    for buffer, before in zip(rank.model.buffers(), buffers, strict=True):
        buffer.copy_(before)


def train_step(rank: Rank, batch: Batch, epoch: int) -> tuple[Tensor, float, float]:
    """One optimizer step, its learning rate being set.

    The gradient is that of the mean over the global batch's known labels, whatever the shares:
    DDP averages over ranks, so each rank scales its sum by ranks / global count.

    Returns:
        This rank's summed loss (a float64 scalar on its device) and number of known labels, and
        the gradient's global norm (NaN unless it is clipped by norm).
    """
    loss = rank.config.loss
    seed_dropout(rank.model, rank.config.seed, epoch, batch.samples)
    inputs = rank.source.inputs(batch, epoch)
    with rank.autocast():
        logits = rank.engine(inputs)
    losses = loss.elementwise(logits.float(), batch.labels.to(rank.device, non_blocking=True))
    summed = losses[: batch.num_real].sum()
    global_weight = loss.weights(batch.global_labels).sum().clamp(min=1)
    rank.optimizer.zero_grad(set_to_none=True)
    scaled = summed * (rank.world.num_ranks / float(global_weight))
    scaled.backward()  # type: ignore[no-untyped-call]
    norm = rank.config.clipping.clip(rank.model.parameters())
    rank.optimizer.step()
    if rank.average is not None:
        rank.average.update_parameters(rank.model)
    known = float(loss.weights(batch.labels[: batch.num_real]).sum())
    return summed.detach().double(), known, norm


def average_running_statistics(rank: Rank) -> None:
    """Give all ranks the mean of their batch-norm running statistics.

    Updates are linear in the statistics, so averaging now and then changes nothing but rounding.
    """
    if rank.config.batch_norm == "frozen" or rank.world.num_ranks == 1:
        return
    networks = [rank.model] if rank.average is None else [rank.model, rank.average.module]
    for network in networks:
        for buffer in network.buffers():
            if buffer.is_floating_point():
                all_reduce_sum(buffer, rank.world).div_(rank.world.num_ranks)


def validate(rank: Rank) -> Validation:
    """Loss and AUC over the whole validation split, exact and equal on every rank."""
    positions = rank.cache.positions("valid")
    if len(positions) == 0:
        return Validation()
    logits = predict_split(rank, positions)
    labels = rank.cache.labels[positions]
    auroc = roc_auc_score(labels, logits.numpy())
    return Validation(
        loss=float(mean_loss(rank.config.loss, logits, torch.from_numpy(labels))),
        mean_auroc=_defined(float(mean_auroc(auroc))),
        auroc=tuple(_defined(float(value)) for value in auroc),
    )


def predict_split(rank: Rank, positions: npt.NDArray[np.int64]) -> Tensor:
    """Logits float32 (len(positions), output) of un-augmented images, gathered from all ranks."""
    world, network = rank.world, rank.validated
    share = rank_share(positions, world.rank, world.num_ranks)
    sizes = [len(rank_share(positions, other, world.num_ranks)) for other in range(world.num_ranks)]
    batch_size = max(1, rank.config.global_batch_size // world.num_ranks)
    parts = [torch.empty(0, len(rank.config.outputs))]
    pieces = (share[at : at + batch_size] for at in range(0, len(share), batch_size))
    network.eval()
    with torch.inference_mode(), rank.autocast():
        for inputs in rank.source.evaluation(pieces):
            parts.append(network(inputs).float().cpu())
    set_train_mode(rank.model)
    return gather_rows(torch.cat(parts), sizes, world)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
