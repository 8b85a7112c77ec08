"""What ranks do in the launcher tests; module-level, so that it travels by name."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from hilum.training import World
from hilum.training.heartbeat import start_pulse
from hilum.training.world import all_reduce_sum

LONG_S = 600.0


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


def lacks_modules(world: World, names: str) -> str:
    """Which of these modules this rank's process would have to import."""
    return " ".join(name for name in names.split() if name not in sys.modules)


def fail_on_last(world: World, argument: str) -> str:
    """The last rank fails while the others wait for it."""
    if world.rank == world.num_ranks - 1:
        raise ValueError(f"the reason is {argument}")
    dist.barrier()
    return argument


def fail_alone(world: World, argument: str) -> str:
    raise KeyError(argument)


def stumble_once(world: World, directory: str) -> str:
    """Ten steps in step with the others; the last rank ends its first one as DIRECTORY/how says.

    "kill", "stop" (SIGSTOP), "sleep" (a line that never returns) or "raise", at step 5.
    """
    folder = Path(directory)
    (folder / f"process-{world.rank}-{os.getpid()}").touch()
    with start_pulse(directory, world) as pulse:
        for step in range(10):
            pulse.move(step)
            first_time = not (folder / "stumbled").exists()
            if step == 5 and world.rank == world.num_ranks - 1 and first_time:
                (folder / "stumbled").touch()
                stumble((folder / "how").read_text())
            all_reduce_sum(torch.ones(1), world)
            time.sleep(0.02)
    return f"rank {world.rank} of {world.num_ranks}"


def stumble(how: str) -> None:
    if how == "raise":
        raise ValueError("a mistake in this rank's own code")
    if how == "sleep":
        time.sleep(LONG_S)
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[how])
    time.sleep(LONG_S)


def die(world: World, directory: str) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def wait_long(world: World, directory: str) -> str:
    (Path(directory) / f"process-{world.rank}-{os.getpid()}").touch()
    time.sleep(LONG_S)
    return ""
