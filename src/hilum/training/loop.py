"""The training loop: synchronous data-parallel steps, exact validation, one record per epoch.

It reads top to bottom. What it needs of the world is three collectives (`hilum.training.world`);
what it needs of the data is positions in the cache (`hilum.training.sampler`).
"""

import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from hilum.evaluation import mean_auroc, roc_auc_score
from hilum.models import freeze_backbone, freeze_batch_norm, head_names, set_train_mode
from hilum.optim import mean_loss, set_lr
from hilum.processor import has_fast_bfloat16
from hilum.training.batches import Batch, prefetch, rank_batches
from hilum.training.config import Precision, TrainConfig
from hilum.training.dropout import seed_dropout, use_sample_dropout
from hilum.training.history import EpochRecord, History
from hilum.training.progress import Progress
from hilum.training.sampler import epoch_order, num_steps, rank_share, step_samples
from hilum.training.shards import ImageCache
from hilum.training.world import World, all_reduce_sum, gather_rows

__all__ = ["Rank", "compute_dtype", "predict_split", "prepare_rank", "train_epoch", "validate"]

Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """What one rank holds while it trains.

    Attributes:
        model: the bare network. engine: the same network, wrapped for gradient averaging.
    """

    world: World
    config: TrainConfig
    cache: ImageCache
    device: torch.device
    dtype: torch.dtype
    model: nn.Module
    engine: nn.Module
    optimizer: Optimizer

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the rank's precision; parameters and gradients stay float32."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        )


def prepare_rank(world: World, config: TrainConfig, cache: ImageCache, model: nn.Module) -> Rank:
    """Place the model on this rank's device and wrap it for the world it is in."""
    use_cuda = torch.cuda.is_available()
    device = torch.device("cuda", world.local_rank) if use_cuda else torch.device("cpu")
    if not use_cuda:
        # Spark starts Python workers with OMP_NUM_THREADS=1 (SPARK-42613); say what we want.
        torch.set_num_threads(world.num_threads)
    if config.freeze_backbone:
        freeze_backbone(model, config.architecture)
    if config.batch_norm == "frozen":
        freeze_batch_norm(model)
    use_sample_dropout(model)
    model = model.to(device).to(memory_format=torch.channels_last)
    optimizer = config.optimizer.build(model.named_parameters(), head_names(config.architecture))
    engine: nn.Module = model
    if world.num_ranks > 1:
        # Buffers are averaged once an epoch (average_running_statistics), not broadcast each step.
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
        device=device,
        dtype=_agreed_dtype(compute_dtype(config.precision, device), world),
        model=model,
        engine=engine,
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


def train_epoch(rank: Rank, history: History, report: Report) -> EpochRecord:
    """One pass over the training split, then validation; returns the epoch's record."""
    config, epoch = rank.config, len(history)
    positions = rank.cache.positions("train")
    order = positions[epoch_order(len(positions), config.seed, epoch)]
    steps = num_steps(len(order), config.global_batch_size)
    first_step = history.epochs[-1].step if len(history) else 0
    measurements = history.measurements()
    batches = (step_samples(order, step, config.global_batch_size) for step in range(steps))
    set_train_mode(rank.model)
    totals = torch.zeros(2, dtype=torch.float64)  # summed loss, known labels: of this rank
    lr, images_per_s, started = 0.0, 0.0, time.perf_counter()
    for step, batch in enumerate(prefetch(rank_batches(rank.cache, batches, rank.world))):
        lr = config.schedule.lr(first_step + step, measurements)
        set_lr(rank.optimizer, lr)
        totals += train_step(rank, batch, epoch)
        elapsed = time.perf_counter() - started
        images_per_s = min((step + 1) * config.global_batch_size, len(order)) / elapsed
        report(
            Progress(
                phase="training",
                epoch=epoch,
                max_epochs=config.max_epochs,
                step=step + 1,
                num_steps=steps,
                images_per_s=images_per_s,
                loss=float(totals[0] / totals[1].clamp(min=1)),
                lr=lr,
                seconds_left=_seconds_left(epoch, step, steps, elapsed, history, config.max_epochs),
            )
        )
    all_reduce_sum(totals, rank.world)
    average_running_statistics(rank)
    report(
        Progress(
            phase="validating",
            epoch=epoch,
            max_epochs=config.max_epochs,
            step=steps,
            num_steps=steps,
            images_per_s=images_per_s,
            loss=float(totals[0] / totals[1].clamp(min=1)),
            lr=lr,
        )
    )
    valid_loss, valid_mean_auroc = validate(rank)
    return EpochRecord(
        epoch=epoch,
        step=first_step + steps,
        train_loss=float(totals[0] / totals[1].clamp(min=1)),
        valid_loss=valid_loss,
        valid_mean_auroc=valid_mean_auroc,
        lr=lr,
        images_per_s=images_per_s,
        seconds=time.perf_counter() - started,
    )


def train_step(rank: Rank, batch: Batch, epoch: int) -> Tensor:
    """One optimizer step; returns this rank's summed loss and its number of known labels.

    The gradient is that of the mean over the global batch's known labels, whatever the shares:
    DDP averages over ranks, so each rank scales its sum by ranks / global count.
    """
    loss = rank.config.loss
    seed_dropout(rank.model, rank.config.seed, epoch, batch.samples)
    images = rank.config.preprocessing.suffix(
        batch.images.to(rank.device, non_blocking=True),
        seed=rank.config.seed,
        epoch=epoch,
        sample_ids=batch.samples,
    )
    with rank.autocast():
        logits = rank.engine(images.contiguous(memory_format=torch.channels_last))
    labels = batch.labels.to(rank.device)
    losses = loss.elementwise(logits.float(), labels)
    summed = losses[: batch.num_real].sum()
    global_weight = loss.weights(batch.global_labels).sum().clamp(min=1)
    rank.optimizer.zero_grad(set_to_none=True)
    scaled = summed * (rank.world.num_ranks / float(global_weight))
    scaled.backward()  # type: ignore[no-untyped-call]
    rank.optimizer.step()
    known = loss.weights(batch.labels[: batch.num_real]).sum()
    return torch.stack([summed.detach().double().cpu(), known.double()])


def average_running_statistics(rank: Rank) -> None:
    """Give all ranks the mean of their batch-norm running statistics."""
    for buffer in rank.model.buffers():
        if buffer.is_floating_point():
            all_reduce_sum(buffer, rank.world).div_(rank.world.num_ranks)


def validate(rank: Rank) -> tuple[float | None, float | None]:
    """Loss and mean AUC over the whole validation split, exact and equal on every rank."""
    positions = rank.cache.positions("valid")
    if len(positions) == 0:
        return None, None
    logits = predict_split(rank, positions)
    labels = rank.cache.labels[positions]
    loss = float(mean_loss(rank.config.loss, logits, torch.from_numpy(labels)))
    mean = float(mean_auroc(roc_auc_score(labels, logits.numpy())))
    return loss, None if np.isnan(mean) else mean


def predict_split(rank: Rank, positions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
    """Logits float32 (len(positions), output) of un-augmented images, gathered from all ranks."""
    world, chain = rank.world, rank.config.preprocessing.suffix.evaluation()
    share = rank_share(positions, world.rank, world.num_ranks)
    sizes = [len(rank_share(positions, other, world.num_ranks)) for other in range(world.num_ranks)]
    batch_size = max(1, rank.config.global_batch_size // world.num_ranks)
    parts = [torch.empty(0, len(rank.config.outputs))]
    rank.model.eval()
    pieces = (share[at : at + batch_size] for at in range(0, len(share), batch_size))
    with torch.inference_mode(), rank.autocast():
        for images in prefetch(rank.cache.gather(piece) for piece in pieces):
            tensor = chain(torch.from_numpy(images).to(rank.device))
            logits = rank.model(tensor.contiguous(memory_format=torch.channels_last))
            parts.append(logits.float().cpu())
    return gather_rows(torch.cat(parts), sizes, world)


def _seconds_left(
    epoch: int, step: int, steps: int, elapsed_s: float, history: History, max_epochs: int
) -> float:
    epoch_s = elapsed_s * steps / (step + 1)
    if len(history):  # includes validation
        epoch_s = max(epoch_s, history.epochs[-1].seconds)
    return epoch_s * (max_epochs - epoch) - elapsed_s
