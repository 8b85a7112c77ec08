"""What a rank will need of memory, before it is launched.

Weights, gradients and optimizer state are counted; activations are measured on two small batches,
from which a batch of any size follows, since all but a fixed part grows with the images. Where a
container has a limit, a plan that breaks it is refused by the driver, instead of ranks being
killed by the kernel an hour later.

`benchmarks/memory_plan.py` compares plans with what ranks really took.
"""

import copy
import math
import resource
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from hilum.errors import InvalidValueError
from hilum.models import freeze_batch_norm, freeze_layers, head_names, set_train_mode
from hilum.optim import OptimizerSpec
from hilum.training.config import TrainConfig
from hilum.training.loop import compute_dtype
from hilum.training.shards import ImageCache

__all__ = [
    "Activations",
    "MemoryLimit",
    "MemoryNeed",
    "MemoryPlan",
    "measure_activations",
    "optimizer_state_bytes",
    "parameter_bytes",
    "peak_memory_bytes",
    "plan_training",
]

BASE_BYTES = 850_000_000  # interpreter, torch, torchvision and Spark's worker, as measured
SLACK = 1.35  # temporary tensors and the allocator, over what backward needs (1.19 to 1.32 seen)
BATCHES_AHEAD = 4  # two in the queue, one being read, one in use
_PROBE_IMAGES = (2, 4)  # batch norm needs two


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """What the forward pass keeps for the backward one: `fixed` plus `per_image` bytes each."""

    fixed: int
    per_image: int

    def of(self, num_images: int) -> int:
        """Bytes of a batch, with what computing it needs for a moment."""
        return int(SLACK * (self.fixed + num_images * self.per_image))


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """One line of a plan: bytes of one rank, and what they are for."""

    name: str
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimit:
    """What the ranks of one executor may use together.

    Attributes:
        num_bytes: what they cannot have more than.
        safe_bytes: what they have whatever the JVM beside them uses.
        source: the setting or machine it comes from.
        advice: what to change where it is too little; "{needed}" is replaced by "12.3 GB".
    """

    num_bytes: int
    safe_bytes: int
    source: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Memory of the ranks of one executor.

    Attributes:
        needs: of one rank.
        ranks_per_executor: ranks that share the limit.
        cache_bytes: pixels a host reads again and again: page cache, which the kernel takes back
            when memory is short, so not part of the total.
        limit: None where nobody sets one.
    """

    needs: tuple[MemoryNeed, ...]
    ranks_per_executor: int
    cache_bytes: int
    limit: MemoryLimit | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes of one rank."""
        return sum(need.num_bytes for need in self.needs)

    @property
    def executor_bytes(self) -> int:
        """Bytes of all ranks of an executor."""
        return self.num_bytes * self.ranks_per_executor

    def problem(self) -> str:
        """What is wrong with the plan and what to change; empty if nothing is.

        Raises:
            InvalidValueError: the ranks cannot have what they need.
        """
        limit = self.limit
        if limit is None or self.executor_bytes <= limit.safe_bytes:
            return ""
        needed = _gigabytes(self.executor_bytes)
        fits = self.executor_bytes <= limit.num_bytes
        text = (
            f"{limit.source} {'should' if fits else 'must'} leave {needed} for training. "
            f"Got {_gigabytes(limit.safe_bytes if fits else limit.num_bytes)}. "
            f"Hint: {limit.advice.format(needed=needed)}, or lower batchSize. "
            f"The plan: {self.summary()}"
        )
        if not fits:
            raise InvalidValueError(text)
        return text

    def summary(self) -> str:
        """The plan in one line."""
        needs = ", ".join(f"{need.name} {_gigabytes(need.num_bytes)}" for need in self.needs)
        many = self.ranks_per_executor
        together = f"; {many} ranks {_gigabytes(self.executor_bytes)}" if many > 1 else ""
        return f"{_gigabytes(self.num_bytes)} per rank ({needs}){together}"

    def rows(self) -> list[tuple[str, str]]:
        """The plan as a table: what, and how much."""
        rows = [(need.name, _gigabytes(need.num_bytes)) for need in self.needs]
        rows.append(("one rank", _gigabytes(self.num_bytes)))
        if self.ranks_per_executor > 1:
            rows.append((f"{self.ranks_per_executor} ranks", _gigabytes(self.executor_bytes)))
        rows.append(("images, in page cache", _gigabytes(self.cache_bytes)))
        if self.limit is not None:
            rows.append((f"limit: {self.limit.source}", _gigabytes(self.limit.safe_bytes)))
        return rows


def plan_training(
    config: TrainConfig,
    model: nn.Module,
    cache: ImageCache,
    *,
    num_ranks: int,
    ranks_per_executor: int = 1,
    limit: MemoryLimit | None = None,
) -> MemoryPlan:
    """Plan a run, as rank 0 needs it, in the epochs that train most layers.

    Args:
        model: the network as it starts; not changed.
        limit: of the ranks of one executor together.
    """
    model = copy.deepcopy(model)
    last = config.unfreeze[-1][1] if config.unfreeze else config.freeze
    freeze_layers(model, config.blueprint, last, also=config.frozen)
    if config.batch_norm == "frozen":
        freeze_batch_norm(model)
    set_train_mode(model)
    share = min(math.ceil(config.global_batch_size / num_ranks), len(cache))
    shape: tuple[int, ...] = ()
    if config.rows is None:
        shape = config.preprocessing.output_shape(cache.manifest.image_shape)
    example = partial(_images_of, shape) if config.rows is None else config.rows.example
    dtype = compute_dtype(config.precision, torch.device("cpu"))
    weights = parameter_bytes(model)
    average = weights if config.ema_decay else 0
    moments = optimizer_state_bytes(config.optimizer, model, head_names(config.blueprint))
    pixels = 2 * sum(one.nbytes for one in example(1))  # as they are made, and as they go in
    needs = (
        MemoryNeed("interpreter and libraries", BASE_BYTES),
        MemoryNeed("weights", weights),
        MemoryNeed("gradients", parameter_bytes(model, trained_only=True)),
        MemoryNeed(f"optimizer state ({config.optimizer.name})", moments),
        MemoryNeed("moving average of the weights", average),
        MemoryNeed(
            f"activations of {share} images", measure_example(model, example, dtype).of(share)
        ),
        MemoryNeed(
            "batches on their way", share * (BATCHES_AHEAD * cache.manifest.image_bytes + pixels)
        ),
        MemoryNeed("labels and keys", _index_bytes(cache)),
        # The copy that training takes, and the file it becomes; on rank 0.
        MemoryNeed("checkpoint being written", 2 * (weights + average + moments)),
    )
    return MemoryPlan(
        needs=tuple(need for need in needs if need.num_bytes),
        ranks_per_executor=ranks_per_executor,
        cache_bytes=cache.manifest.num_bytes,
        limit=limit,
    )


def peak_memory_bytes() -> int:
    """The most resident memory this process had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _index_bytes(cache: ImageCache) -> int:
    keys = sum(map(sys.getsizeof, cache.keys))
    arrays = (cache.labels, cache.splits, cache.shard_of, cache.row_of)
    return keys + sum(array.nbytes for array in arrays)


def parameter_bytes(model: nn.Module, *, trained_only: bool = False) -> int:
    """Bytes of a network's parameters and buffers, or of the parameters that are trained."""
    if trained_only:
        return sum(p.nbytes for p in model.parameters() if p.requires_grad)
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def optimizer_state_bytes(
    spec: OptimizerSpec, model: nn.Module, head_names: Collection[str] = ()
) -> int:
    """Bytes of moments an optimizer keeps, found by one step on tensors without memory."""
    shadow = copy.deepcopy(model).to("meta")
    optimizer = spec.build(shadow.named_parameters(), head_names)
    for parameter in shadow.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    values = [value for state in optimizer.state.values() for value in state.values()]
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def measure_activations(
    model: nn.Module, image_shape: tuple[int, int, int], dtype: torch.dtype
) -> Activations:
    """Run the forward pass on two small batches and add up what it keeps for backward.

    The network is not changed: a copy runs, and the global random generator is put back. Takes
    about a second for ResNet-50 at 224 px on two cores.

    Args:
        model: as it will be trained: frozen parts frozen, in training mode.
        image_shape: (C, H, W) of the network's input.
        dtype: what the forward pass computes in.
    """
    return measure_example(
        copy.deepcopy(model).to(memory_format=torch.channels_last),
        partial(_images_of, image_shape),
        dtype,
    )


def measure_example(
    model: nn.Module, example: Callable[[int], tuple[Tensor, ...]], dtype: torch.dtype
) -> Activations:
    """As `measure_activations`, for a network of any arguments.

    Args:
        example: makes the arguments for so many rows.
    """
    model = copy.deepcopy(model)
    few, more = _PROBE_IMAGES
    with torch.random.fork_rng(devices=[]):
        kept = [_kept_bytes(model, example(count), dtype) for count in (few, more)]
    per_image = (kept[1] - kept[0]) // (more - few)
    return Activations(fixed=max(0, kept[0] - few * per_image), per_image=per_image)


def _images_of(shape: tuple[int, ...], count: int) -> tuple[Tensor, ...]:
    return (torch.zeros(count, *shape).contiguous(memory_format=torch.channels_last),)


def _kept_bytes(model: nn.Module, inputs: tuple[Tensor, ...], dtype: torch.dtype) -> int:
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16),
    ):
        output = model(*inputs)  # held, so that no storage is counted under another's address
    assert output is not None
    return sum(sizes.values())


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB"
