"""One optimizer step and one validation on one rank: synchronous, data-parallel, exact.

What it needs of the world is three collectives (`hilum.training.world`); what it needs of the data
is a `Source`. The order of steps is in `hilum.training.steps`.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from hilum.evaluation import mean_auroc, roc_auc_score
from hilum.models import (
    freeze_batch_norm,
    freeze_layers,
    head_names,
    set_train_mode,
    use_grey_stem,
)
from hilum.optim import OutputLosses, Targets, mean_loss
from hilum.preprocessing import Chain, one_channel
from hilum.processor import has_fast_bfloat16
from hilum.training.averaging import averaged_model
from hilum.training.batches import Batch
from hilum.training.checkpoint import carry_state
from hilum.training.config import Precision, TrainConfig
from hilum.training.depthwise import use_float32_depthwise
from hilum.training.devices import choose_device, compile_network, open_images
from hilum.training.dropout import seed_dropout, use_sample_dropout
from hilum.training.exchange import exchange_gradients, form_buckets
from hilum.training.features import open_source
from hilum.training.objective import RowsMeasure, batch_share, measure_rows
from hilum.training.phases import frozen_layer, is_frozen
from hilum.training.placement import Placement
from hilum.training.record_source import RecordSource
from hilum.training.shards import ImageCache
from hilum.training.source import ImageSource, Inputs, Source, arguments
from hilum.training.world import World, all_reduce_sum, gather_rows

__all__ = [
    "Learning",
    "Rank",
    "Validation",
    "average_running_statistics",
    "compute_dtype",
    "enter_epoch",
    "predict_split",
    "prepare_rank",
    "settle_buckets",
    "train_step",
    "validate",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """What is made anew when other layers begin to learn.

    Attributes:
        frozen: up to which layer the network is frozen.
        source: feeds the part that learns. engine: that part, wrapped for gradient averaging.
        notice: what the user should know, such as why features are not kept; or "".
    """

    frozen: str
    source: Source
    engine: nn.Module
    optimizer: Optimizer
    notice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """What one rank holds while it trains.

    Attributes:
        placement: which images are on this host, and which this rank trains.
        images: feeds the whole network.
        model: the bare network. average: its moving average; None without one.
        learning: the part of it that learns now, and what trains that.
    """

    world: World
    config: TrainConfig
    placement: Placement
    images: ImageSource | RecordSource
    device: torch.device
    dtype: torch.dtype
    model: nn.Module
    average: AveragedModel | None
    learning: Learning

    @property
    def source(self) -> Source:
        """What feeds the part that learns."""
        return self.learning.source

    @property
    def engine(self) -> nn.Module:
        """The part that learns, wrapped for gradient averaging."""
        return self.learning.engine

    @property
    def optimizer(self) -> Optimizer:
        """What moves the weights of the part that learns."""
        return self.learning.optimizer

    @property
    def cache(self) -> ImageCache:
        """All labels, and the images of this host."""
        return self.placement.cache

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
    """Loss and AUC per output, or how well classes are told, on the whole validation split.

    None where undefined.
    """

    loss: float | None = None
    mean_auroc: float | None = None
    auroc: tuple[float | None, ...] = ()
    accuracy: float | None = None
    log_loss: float | None = None


def prepare_rank(
    world: World,
    config: TrainConfig,
    placement: Placement,
    model: nn.Module,
    precision: Precision | None = None,
    epoch: int = 0,
) -> Rank:
    """Place the model on this rank's device and wrap it for the world it is in.

    Args:
        precision: what a former attempt computed in; by default what the configuration says.
        epoch: the one the last step belongs to, whose layers the optimizer is for.
    """
    device = choose_device(world)
    use_sample_dropout(model)
    dtype = _agreed_dtype(compute_dtype(precision or config.precision, device), world)
    if device.type == "cpu" and dtype == torch.bfloat16:
        use_float32_depthwise(model)
    images = _images(world, config, placement, model, device)
    return Rank(
        world=world,
        config=config,
        placement=placement,
        images=images,
        device=device,
        dtype=dtype,
        model=model,
        average=averaged_model(model, config.ema_decay) if config.ema_decay else None,
        learning=_learning(images, model, dtype, epoch),
    )


def _images(
    world: World,
    config: TrainConfig,
    placement: Placement,
    model: nn.Module,
    device: torch.device,
) -> ImageSource | RecordSource:
    """Bring the network to its device, and open what feeds it."""
    if config.rows is not None:
        # As it is: a network of any kind may view tensors in ways that channels last forbids.
        model.to(device)
        return RecordSource(
            world=world,
            config=config,
            placement=placement,
            images=open_images(placement, device),
            device=device,
            rows=config.rows,
        )
    chain = _input_chain(config, model, device)
    model.to(device).to(memory_format=torch.channels_last)
    return ImageSource(
        world=world,
        config=config,
        placement=placement,
        images=open_images(placement, device),
        device=device,
        chain=chain,
    )


def enter_epoch(rank: Rank, epoch: int) -> Rank:
    """Let the layers learn that learn from this epoch on; the rank itself where nothing changes.

    What was trained already keeps its moments, what begins to learn starts without.
    """
    if frozen_layer(rank.config, epoch) == rank.learning.frozen:
        return rank
    learning = _learning(rank.images, rank.model, rank.dtype, epoch)
    carry_state(rank.optimizer, learning.optimizer)
    rank = replace(rank, learning=learning)
    settle_buckets(rank)
    logger.info("rank=%d epoch=%d frozen=%r", rank.world.rank, epoch, learning.frozen)
    return rank


def _learning(
    images: ImageSource | RecordSource, model: nn.Module, dtype: torch.dtype, epoch: int
) -> Learning:
    """Freeze as the epoch wants it, and make what depends on it."""
    config = images.config
    frozen = frozen_layer(config, epoch)
    freeze_layers(model, config.blueprint, frozen, also=config.frozen)
    if config.batch_norm == "frozen":
        freeze_batch_norm(model)
    set_train_mode(model)
    optimizer = config.optimizer.build(model.named_parameters(), head_names(config.blueprint))
    source: Source = images
    notice = ""
    if is_frozen(config, epoch):
        source, notice = open_source(images, model, dtype, epoch)
    engine = source.trained_part(model)
    if config.compile:
        compile_network(engine, images.device)
    if images.world.num_ranks > 1:
        engine = exchange_gradients(engine, compression=config.gradient_compression)
    return Learning(frozen=frozen, source=source, engine=engine, optimizer=optimizer, notice=notice)


def _input_chain(config: TrainConfig, model: nn.Module, device: torch.device) -> Chain:
    """What turns cached pixels into the network's input; on a CPU one grey channel if possible.

    On a GPU pixels travel as one byte each and are expanded there; the grey form was not timed.
    """
    suffix = config.preprocessing.suffix
    grey = one_channel(suffix) if device.type == "cpu" else None
    if grey is not None and use_grey_stem(model, grey.scale, grey.shift):
        return grey.chain
    return suffix


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
    """Bring the exchange of gradients into its final form before the first step."""
    if rank.world.num_ranks == 1:
        return
    samples = rank.placement.filling(rank.cache.positions("train"))[:2]
    inputs = next(iter(rank.source.evaluation([samples])))
    with rank.autocast():
        form_buckets(rank.engine, inputs)


def train_step(rank: Rank, batch: Batch, epoch: int) -> tuple[Tensor, float, float]:
    """One optimizer step, its learning rate being set.

    The gradient is that of the weighted mean over the global batch's known labels, whatever the
    shares: DDP averages over ranks, so each rank scales its sum by ranks / global weight.

    Returns:
        This rank's summed loss (a float64 scalar on its device) and weight of known labels, and
        the gradient's global norm (NaN unless it is clipped by norm).
    """
    seed_dropout(rank.model, rank.config.seed, epoch, batch.samples)
    inputs = rank.source.inputs(batch, epoch)
    with rank.autocast():
        outputs = rank.engine(*arguments(inputs))
    share = batch_share(rank.config, rank.world, outputs, inputs, batch)
    rank.optimizer.zero_grad(set_to_none=True)
    scaled = share.summed * (rank.world.num_ranks / share.total)
    scaled.backward()  # type: ignore[no-untyped-call]
    norm = rank.config.clipping.clip(rank.model.parameters())
    rank.optimizer.step()
    if rank.average is not None:
        rank.average.update_parameters(rank.model)
    return share.summed.detach().double(), share.weight, norm


def average_running_statistics(rank: Rank) -> None:
    """Give all ranks the mean of their batch-norm running statistics.

    Updates are linear in the statistics, so averaging now and then changes nothing but rounding.
    """
    if rank.config.batch_norm == "frozen" or rank.world.num_ranks == 1:
        return
    networks = [rank.model] if rank.average is None else [rank.model, rank.average.module]
    for network in networks:
        for module, trained in zip(network.modules(), rank.model.modules(), strict=True):
            # Frozen ones are equal already, and would not survive a sum over three bit by bit.
            for buffer in module.buffers(recurse=False) if trained.training else ():
                if buffer.is_floating_point():
                    all_reduce_sum(buffer, rank.world).div_(rank.world.num_ranks)


def validate(rank: Rank) -> Validation:
    """Loss and AUC over the whole validation split, exact and equal on every rank."""
    positions = rank.cache.positions("valid")
    if len(positions) == 0:
        return Validation()
    if rank.config.rows is not None:
        of_rows = _measure_rows(rank, positions)
        return Validation(loss=of_rows.loss, accuracy=of_rows.accuracy, log_loss=of_rows.log_loss)
    assert not isinstance(rank.config.loss, OutputLosses), "findings have one loss"
    logits = predict_split(rank, positions)
    labels = rank.cache.labels[positions]
    weights = torch.from_numpy(rank.cache.weights[positions])
    auroc = roc_auc_score(labels, logits.numpy())
    return Validation(
        loss=float(mean_loss(rank.config.loss, logits, torch.from_numpy(labels), weights)),
        mean_auroc=_defined(float(mean_auroc(auroc))),
        auroc=tuple(_defined(float(value)) for value in auroc),
    )


def _measure_rows(rank: Rank, positions: npt.NDArray[np.int64]) -> RowsMeasure:
    share = rank.placement.shares(positions)[rank.world.rank]
    size = max(1, rank.config.global_batch_size // rank.world.num_ranks)
    pieces = [share[at : at + size] for at in range(0, len(share), size)]
    network = rank.validated
    part = rank.source.trained_part(network)

    def results() -> Iterator[tuple[object, Inputs, Targets]]:
        for piece, inputs in zip(pieces, rank.source.evaluation(pieces), strict=True):
            with rank.autocast():
                outputs = part(*arguments(inputs))
            labels, weights = rank.cache.labels[piece], rank.cache.weights[piece]
            yield outputs, inputs, Targets(torch.from_numpy(labels), torch.from_numpy(weights))

    network.eval()
    with torch.inference_mode():
        measure = measure_rows(rank.config, rank.world, results())
    set_train_mode(rank.model)
    return measure


def predict_split(rank: Rank, positions: npt.NDArray[np.int64]) -> Tensor:
    """Logits float32 (len(positions), output) of un-augmented images, gathered from all ranks."""
    world, network = rank.world, rank.validated
    shares = rank.placement.shares(positions)
    share = shares[world.rank]
    batch_size = max(1, rank.config.global_batch_size // world.num_ranks)
    parts = [torch.empty(0, len(rank.config.outputs))]
    pieces = (share[at : at + batch_size] for at in range(0, len(share), batch_size))
    part = rank.source.trained_part(network)
    network.eval()
    with torch.inference_mode(), rank.autocast():
        for inputs in rank.source.evaluation(pieces):
            parts.append(part(*arguments(inputs)).float().cpu())
    set_train_mode(rank.model)
    logits = gather_rows(torch.cat(parts), [len(other) for other in shares], world)
    # Ranks of a host may have what lies anywhere in the split.
    place = np.empty(len(rank.cache), dtype=np.int64)
    place[np.concatenate(shares)] = np.arange(len(positions))
    return logits[torch.from_numpy(place[positions])]


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
