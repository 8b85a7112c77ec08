"""One rank on one host: `host_rank.py RANK OWN_NAME OTHER_NAME MEETING`; prints what it saw."""

import json
import os
import sys
import time
from pathlib import Path

import torch

from hilum.training import World
from hilum.training.launch import run_rank
from hilum.training.world import all_reduce_sum, meeting_address, serve_rendezvous


def work(world: World, argument: str) -> str:
    total = all_reduce_sum(torch.tensor([world.rank + 1.0]), world)
    return json.dumps({"sum": total.item(), "interface": os.environ["GLOO_SOCKET_IFNAME"]})


def main() -> None:
    rank, own, other, meeting = int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])
    store = None
    if rank == 0:
        store, rendezvous = serve_rendezvous(meeting_address(own, [own, other]))
        meeting.with_suffix(".new").write_text(rendezvous)
        meeting.with_suffix(".new").rename(meeting)
    while not meeting.exists():
        time.sleep(0.05)
    world = World(rank=rank, num_ranks=2, host=own, rendezvous=meeting.read_text())
    print(run_rank(work, world, "", store))


if __name__ == "__main__":
    main()
