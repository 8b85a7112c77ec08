"""Steps of the engine with real gradient exchange and a delay in place of arithmetic: the worker.

`step_overhead.py` and `limited_links.py` run it, on one machine and between hosts. The steps are
those of `hilum.training`: sampler, prefetch, suffix, loss, DDP; images have a few pixels only.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from delayed_network import DelayedNetwork, NoArithmetic
from memory_cache import random_cache

from hilum.optim import LinearWarmup, OptimizerSpec
from hilum.preprocessing import Chain, ChannelNormalize, GreyToRGB
from hilum.training import TrainConfig, World, step_samples
from hilum.training.batches import prefetch
from hilum.training.devices import HostImages
from hilum.training.exchange import exchange_gradients, form_buckets
from hilum.training.loop import Learning, Rank, train_step
from hilum.training.placement import WholePlacement
from hilum.training.source import ImageSource
from hilum.training.world import all_reduce_sum

OUTPUTS = 14
TINY_PX = 8
WARM_STEPS = 2
ONE_BUCKET_MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one measurement runs with.

    Attributes:
        delay_s: what stands for the arithmetic of one step; 0 leaves the exchange alone.
        overlapped: exchange during the backward pass, bucket by bucket; else all after it.
    """

    architecture: str = "resnet50"
    delay_s: float = 0.4
    steps: int = 10
    batch_per_rank: int = 128
    overlapped: bool = True
    bucket_mb: float = 10.0
    compression: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one rank saw: seconds of a step (median), and its CPU seconds in a step (mean).

    Attributes:
        message_s: seconds of one of the ring's 2 (N - 1) messages, from an all-reduce of a number.
    """

    step_s: float
    step_s_all: list[float]
    cpu_s: float
    message_s: float
    gradient_bytes: int


def measure_steps(world: World, argument: str) -> str:
    """Run steps as one rank; `argument` is a Setting as JSON, the result a Measured."""
    setting = Setting(**json.loads(argument))
    torch.set_num_threads(1)
    rank = _rank(world, setting)
    every_step = setting.steps + WARM_STEPS
    batch = setting.batch_per_rank * world.num_ranks
    order = np.arange(len(rank.cache)).repeat(every_step)[: batch * every_step]
    batches = (step_samples(order, step, batch) for step in range(every_step))
    seconds: list[float] = []
    cpu: list[float] = []
    started, cpu_started = time.perf_counter(), time.process_time()
    for one in prefetch(rank.source.batches(batches)):
        train_step(rank, one, epoch=0)
        now, cpu_now = time.perf_counter(), time.process_time()
        seconds.append(now - started)
        cpu.append(cpu_now - cpu_started)
        started, cpu_started = now, cpu_now
    _check_exchanged(rank, world, setting)
    measured = Measured(
        step_s=statistics.median(seconds[WARM_STEPS:]),
        step_s_all=[round(value, 4) for value in seconds[WARM_STEPS:]],
        cpu_s=statistics.mean(cpu[WARM_STEPS:]),
        message_s=_message_s(world),
        gradient_bytes=4 * sum(parameter.numel() for parameter in rank.model.parameters()),
    )
    return json.dumps(asdict(measured))


def _message_s(world: World) -> float:
    if world.num_ranks == 1:
        return 0.0
    seconds = []
    for _ in range(50):
        started = time.perf_counter()
        all_reduce_sum(torch.zeros(1), world)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) / (2 * (world.num_ranks - 1))


def _check_exchanged(rank: Rank, world: World, setting: Setting) -> None:
    """Every rank contributed rank + 1, so every gradient must be the mean of those."""
    mean = (world.num_ranks + 1) / 2
    for name, parameter in rank.model.named_parameters():
        assert parameter.grad is not None, name
        ends = parameter.grad.reshape(-1)[[0, -1]]
        torch.testing.assert_close(ends, torch.full_like(ends, mean), rtol=1e-2, atol=0)


def _rank(world: World, setting: Setting) -> Rank:
    model = DelayedNetwork(setting.architecture, setting.delay_s, OUTPUTS)
    model.gradient.fill_(world.rank + 1)
    model.train()
    engine: torch.nn.Module = model
    if world.num_ranks > 1:
        engine = exchange_gradients(
            model,
            compression=setting.compression,  # type: ignore[arg-type]
            bucket_mb=setting.bucket_mb if setting.overlapped else ONE_BUCKET_MB,
        )
        form_buckets(engine, torch.zeros(1, 3, TINY_PX, TINY_PX))
    config, device = _config(setting, world), torch.device("cpu")
    cache = random_cache(setting.batch_per_rank * world.num_ranks, TINY_PX, OUTPUTS)
    placement = WholePlacement(cache=cache, num_ranks=world.num_ranks, seed=config.seed)
    images = ImageSource(
        world=world,
        config=config,
        placement=placement,
        images=HostImages(cache),
        device=device,
        chain=config.preprocessing.suffix,
    )
    return Rank(
        world=world,
        config=config,
        placement=placement,
        images=images,
        device=device,
        dtype=torch.float32,
        model=model,
        average=None,
        learning=Learning(
            frozen="",
            source=images,
            engine=engine,
            optimizer=NoArithmetic(model.parameters()),
        ),
    )


def _config(setting: Setting, world: World) -> TrainConfig:
    return TrainConfig(
        architecture=setting.architecture,
        outputs=tuple(f"finding-{i}" for i in range(OUTPUTS)),
        preprocessing=Chain((GreyToRGB(), ChannelNormalize((0.5,) * 3, (0.25,) * 3))),
        schedule=LinearWarmup(start=0.0, peak=1e-3, steps=1),
        optimizer=OptimizerSpec(name="sgd"),
        global_batch_size=setting.batch_per_rank * world.num_ranks,
        precision="float32",
    )
