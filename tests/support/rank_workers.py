"""What ranks do in the launcher tests; module-level, so that it travels by name."""

import json
import os

import torch
import torch.distributed as dist

from hilum.training import World
from hilum.training.world import all_reduce_sum


def report_place(world: World, argument: str) -> str:
    """Where this rank stands, and the sum of all ranks' numbers by one collective."""
    total = all_reduce_sum(torch.tensor([float(world.rank + 1)]), world)
    place = [world.rank, world.num_ranks, world.local_rank, world.num_threads]
    grouped = dist.get_world_size() if dist.is_initialized() else 1
    return json.dumps(
        {
            "place": place,
            "sum": total.item(),
            "group": grouped,
            "argument": argument,
            "process": os.getpid(),
        }
    )


def fail_on_last(world: World, argument: str) -> str:
    """The last rank fails while the others wait for it."""
    if world.rank == world.num_ranks - 1:
        raise ValueError(f"the reason is {argument}")
    dist.barrier()
    return argument


def fail_alone(world: World, argument: str) -> str:
    raise KeyError(argument)
